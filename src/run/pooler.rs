//! A pooler where a server was expected: sessions are the server's, and behind a pooler only what it hands on can be asked.

use std::net::SocketAddr;

use tokio_postgres::config::Host;

use super::pooler_process::pooler_at;
use super::remote_guard::on_loopback;
use super::target_database::servers_behind;
use crate::database::Database;

/// A pooler that was given as the database.
#[derive(Debug, thiserror::Error)]
#[error("the database's URL is of a pooler, `{pooler}` at port {port}: sessions are watched at the server itself")]
pub struct PoolerError {
    pooler: String,
    port: u16,
    /// The server behind it, where that is known.
    server: Option<SocketAddr>,
}

impl PoolerError {
    pub fn hint(&self) -> String {
        let server = self.server.map_or_else(|| "SERVER:5432".to_owned(), |it| it.to_string());
        format!("give the server's own URL: postgresql://USER:PASSWORD@{server}/DATABASE")
    }
}

/// Refuses a pooler of this machine, as far as its process shows.
pub(super) async fn refuse_pooler(database: &Database) -> Result<(), PoolerError> {
    let here = |host: &Host| match host {
        Host::Tcp(name) => on_loopback(name),
        #[cfg(unix)]
        Host::Unix(_) => None,
    };
    for ip in database.config().get_hosts().iter().filter_map(here) {
        for port in database.ports() {
            if let Some(pooler) = pooler_at(SocketAddr::new(ip, port)) {
                let server = servers_behind(&[port]).await.first().map(|(_, server)| *server);
                return Err(PoolerError { pooler, port, server });
            }
        }
    }
    Ok(())
}
