//! The reference gateway: an RBAC gateway on PostgreSQL that can hold its database session across slow work, as IBM
//! ContextForge's issue #2318 did, and the slow MCP service behind it.
//!
//! It knows nothing of the instrument that loads and watches it.

pub mod auth;
pub mod backend;
pub mod db;
pub mod error;
pub mod garbage;
pub mod gauges;
mod http;
pub mod lifeline;
mod masks;
pub mod plugins;
pub mod rbac;
pub mod registry;
pub mod replica;
pub mod request;
pub mod routes;
pub mod serving;
pub mod settings;
pub mod waits;
pub mod worker;
