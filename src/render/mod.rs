//! How a record looks: as a table for people, as JSON for scripts, as one HTML file for who was not there. Computes nothing: each number that is printed is a
//! field of the record.

pub mod html;
pub mod json;
mod numbers;
pub mod table;
