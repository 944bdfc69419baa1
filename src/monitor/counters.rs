//! The server's own cumulative counters, against which the samples are reconciled.
//!
//! `pg_stat_database.idle_in_transaction_time` (PostgreSQL 14 and later) counts an episode when its transaction ends
//! normally, and arrives when the session reports: within milliseconds when it closes. It loses the last episode of
//! every session that is killed or vanishes, hence the other three.

use super::{MonitorError, connect};
use crate::record::SessionsLost;

const COUNTERS: &str = "\
SELECT idle_in_transaction_time, sessions_abandoned, sessions_fatal, sessions_killed
FROM pg_stat_database WHERE datname = current_database()";

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerCounters {
    /// `idle_in_transaction_time` in seconds.
    pub idle_in_transaction_s: f64,
    /// Sessions that ended abnormally.
    pub lost: SessionsLost,
}

impl ServerCounters {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            idle_in_transaction_s: self.idle_in_transaction_s - earlier.idle_in_transaction_s,
            lost: SessionsLost {
                abandoned: self.lost.abandoned - earlier.lost.abandoned,
                fatal: self.lost.fatal - earlier.lost.fatal,
                killed: self.lost.killed - earlier.lost.killed,
                ..self.lost
            },
        }
    }
}

pub(super) async fn read(database: &tokio_postgres::Config) -> Result<ServerCounters, MonitorError> {
    let client = connect(database).await?;
    let row = client
        .query_one(COUNTERS, &[])
        .await
        .map_err(|source| MonitorError::Query { what: "pg_stat_database", source })?;
    Ok(ServerCounters {
        idle_in_transaction_s: row.get::<_, f64>(0) / 1e3,
        lost: SessionsLost { abandoned: row.get(1), fatal: row.get(2), killed: row.get(3), ..SessionsLost::default() },
    })
}
