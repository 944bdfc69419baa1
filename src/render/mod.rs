//! How a record looks: as a table for people, as JSON for scripts. Computes nothing: each number that is printed is a
//! field of the record.

pub mod json;
mod numbers;
pub mod table;
