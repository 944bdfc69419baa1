//! `rbac-bench` finds the route, the statement and the mistake that hold `PostgreSQL` sessions idle in transaction.
//!
//! The modules, in the order in which data flows (the map is in `docs/ARCHITECTURE.md`):
//!
//! ```text
//! scenario → testbed → ┌ swarm   ┐ → record → diagnose · compare → gate → render
//!                      └ monitor ┘
//!            └──────── run ───────────────┘
//! ```

pub mod access;
pub mod cli;
pub mod compare;
pub mod database;
pub mod diagnose;
pub mod discover;
pub mod gate;
pub mod init;
pub mod logs;
pub mod monitor;
pub mod paired;
pub mod record;
mod redact;
pub mod render;
pub mod run;
pub mod scan;
pub mod scenario;
pub mod stats;
pub mod swarm;
pub mod testbed;
pub mod texts;
pub mod tls;
pub mod units;
pub mod watch;
