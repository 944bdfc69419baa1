//! Output of a record, a comparison and a verdict: a table for people, JSON for scripts, files that CI systems
//! read, and one HTML file for everybody else.
//! Computes nothing: each number that is printed is a field of what it was given. Text of others passes through
//! [`text`].

pub mod calibration;
pub mod compare;
pub mod diagnosis;
mod fitted;
pub mod gate;
pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod logs;
mod numbers;
pub mod openmetrics;
mod quality_issues;
pub mod scan;
pub mod table;
pub mod text;

#[cfg(test)]
mod documents_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod width_tests;
