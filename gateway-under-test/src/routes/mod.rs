//! The HTTP surface, a file for each kind of route.

pub mod admin;
pub mod entities;
pub mod health;
pub mod metrics;
pub mod rpc;
pub mod tool_call;
