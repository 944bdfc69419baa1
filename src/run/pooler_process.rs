//! Poolers of this machine, by their processes.

use std::net::SocketAddr;

use super::processes;

/// Programs that pool PostgreSQL's connections.
const POOLERS: [&str; 6] = ["pgbouncer", "pgcat", "odyssey", "pgpool", "pgdog", "supavisor"];

/// The pooler of this machine that is reached at an address, by its process.
pub(super) fn pooler_at(address: SocketAddr) -> Option<String> {
    let name = processes::listener(address)?;
    let program = name.split(' ').next().unwrap_or_default().to_lowercase();
    POOLERS.contains(&program.as_str()).then_some(program)
}
