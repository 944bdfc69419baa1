//! The reference gateway in this process, on a real PostgreSQL: who may do what, and who may know what.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as loudly as the test itself")]

mod accounts;
mod entities;
mod gates;
mod gateway;
mod hostile;
mod masks;
mod matrix;
mod methods;
mod same_answers;
#[allow(dead_code, reason = "nobody looks at sessions here")]
#[path = "../support/mod.rs"]
mod support;
