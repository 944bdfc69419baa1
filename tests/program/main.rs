//! The program from outside: real PostgreSQL, real gateways, real signals.

mod addresses;
mod apps;
mod begun;
mod by_url;
mod ci_files;
mod command;
mod diagnose;
mod errors;
mod gate;
mod gateway;
mod holds;
mod hostile;
mod incident;
mod init;
mod interrupt;
mod kills;
mod load;
mod mcp;
mod orders;
mod paired;
mod patterns;
mod pgbouncer;
mod program;
mod report;
mod scan;
mod secrets;
mod service;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "others use the rest; a helper of a test fails as loudly as the test"
)]
mod support;
mod tcp_server;
mod tls;
mod truth;
mod verdicts;
mod watch;
mod whose;
