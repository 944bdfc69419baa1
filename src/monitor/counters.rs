//! The server's own cumulative counters, against which the samples are reconciled.
//!
//! `pg_stat_database.idle_in_transaction_time` (PostgreSQL 14 and later) counts an episode when its transaction ends
//! normally, and arrives when the session reports: within milliseconds when it closes. It loses the last episode of
//! every session that is killed or vanishes, hence the other three.

use tokio_postgres::{Client, Statement};

use super::clock::ServerTime;
use super::{MonitorError, count};
use crate::record::SessionsLost;

/// The first version that counts idle-in-transaction time and lost sessions.
const COUNTS_SINCE: i32 = 140_000;

/// The functions under `pg_stat_database`, which would ask for all databases and all their columns.
const COUNTERS: &str = "\
SELECT pg_postmaster_start_time(), pg_stat_get_db_stat_reset_time(oid),
       (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())::int8,
       {}, current_setting('server_version_num')::int4,
       (SELECT extract(epoch FROM clock_timestamp() - min(prepared)) FROM pg_prepared_xacts
        WHERE database = current_database())::float8, {sessions} FROM pg_database WHERE datname = current_database()";

const COUNTED: &str = "\
pg_stat_get_db_idle_in_transaction_time(oid), pg_stat_get_db_sessions_abandoned(oid),
       pg_stat_get_db_sessions_fatal(oid), pg_stat_get_db_sessions_killed(oid)";

const NOT_COUNTED: &str = "NULL::float8, NULL::int8, NULL::int8, NULL::int8";

/// The query for a server of this version.
pub(super) fn query(version: i32) -> String {
    let (counted, sessions) =
        if version >= COUNTS_SINCE { (COUNTED, "pg_stat_get_db_sessions(oid)") } else { (NOT_COUNTED, "NULL::int8") };
    COUNTERS.replace("{}", counted).replace("{sessions}", sessions)
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerCounters {
    /// `idle_in_transaction_time` in seconds; `None` before PostgreSQL 14.
    pub idle_in_transaction_s: Option<f64>,
    /// Sessions that ended abnormally; `None` as before.
    pub lost: Option<SessionsLost>,
    /// Prepared transactions of the database, now.
    pub prepared_transactions: u32,
    /// Age of the oldest of them in seconds; `None` without any.
    pub prepared_oldest_s: Option<f64>,
    /// Sessions that were ever opened to the database; `None` before PostgreSQL 14.
    pub sessions: Option<i64>,
    started: ServerTime,
    reset: Option<ServerTime>,
    version: i32,
}

/// Before it, a database's first statistics come with a time of reset, and no reset.
const RESET_IS_RESET_SINCE: i32 = 150_000;

impl ServerCounters {
    /// Increase since `earlier`. A server that was restarted, counters that were reset or that went back: nobody
    /// knows what was added, and so it is `None`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let added = self.added(earlier).filter(|_| self.continues(earlier));
        Self { idle_in_transaction_s: added.map(|it| it.0), lost: added.map(|it| it.1), ..*self }
    }

    /// The same without what is counted: nobody knows what was added.
    #[must_use]
    pub fn unknown(&self) -> Self {
        Self { idle_in_transaction_s: None, lost: None, ..*self }
    }

    pub(super) fn is_same_server(&self, earlier: &Self) -> bool {
        self.started == earlier.started
    }

    fn continues(&self, earlier: &Self) -> bool {
        let first = earlier.reset.is_none() && self.version < RESET_IS_RESET_SINCE;
        self.is_same_server(earlier) && (first || self.reset == earlier.reset)
    }

    fn added(&self, earlier: &Self) -> Option<(f64, SessionsLost)> {
        let (idle, before) = (self.idle_in_transaction_s?, earlier.idle_in_transaction_s?);
        let (lost, lost_before) = (self.lost?, earlier.lost?);
        let lost = SessionsLost {
            abandoned: lost.abandoned - lost_before.abandoned,
            fatal: lost.fatal - lost_before.fatal,
            killed: lost.killed - lost_before.killed,
            ..SessionsLost::default()
        };
        let back = idle < before || lost.abandoned < 0 || lost.fatal < 0 || lost.killed < 0;
        (!back).then_some((idle - before, lost))
    }
}

pub(super) async fn read(client: &Client, statement: &Statement) -> Result<ServerCounters, tokio_postgres::Error> {
    let row = client.query_one(statement, &[]).await?;
    let lost = |column| row.try_get::<_, Option<i64>>(column);
    let lost = match (lost(4)?, lost(5)?, lost(6)?) {
        (Some(abandoned), Some(fatal), Some(killed)) => {
            Some(SessionsLost { abandoned, fatal, killed, ..SessionsLost::default() })
        }
        _ => None,
    };
    Ok(ServerCounters {
        idle_in_transaction_s: row.try_get::<_, Option<f64>>(3)?.map(|millis| millis / 1e3),
        lost,
        prepared_transactions: count(&row, 2),
        prepared_oldest_s: row.try_get::<_, Option<f64>>(8)?.map(|age| age.max(0.0)),
        started: row.try_get(0)?,
        reset: row.try_get(1)?,
        version: row.try_get(7)?,
        sessions: row.try_get(9)?,
    })
}

pub(super) async fn read_once(client: &Client) -> Result<ServerCounters, MonitorError> {
    let failed = |source| MonitorError::Query { what: "pg_stat_database", source };
    let version = version(client).await.map_err(failed)?;
    let statement = client.prepare(&query(version)).await.map_err(failed)?;
    read(client, &statement).await.map_err(failed)
}

/// `server_version_num`.
pub(super) async fn version(client: &Client) -> Result<i32, tokio_postgres::Error> {
    client.query_one("SELECT current_setting('server_version_num')::int4", &[]).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(idle_s: f64, killed: i64) -> ServerCounters {
        ServerCounters {
            idle_in_transaction_s: Some(idle_s),
            lost: Some(SessionsLost { killed, ..SessionsLost::default() }),
            prepared_transactions: 0,
            prepared_oldest_s: None,
            sessions: Some(9),
            started: ServerTime(1),
            reset: None,
            version: 150_018,
        }
    }

    #[test]
    fn what_was_added_is_known_only_while_the_counters_go_on() {
        let before = reading(10.0, 3);
        let after = reading(12.5, 4).since(&before);
        assert_eq!((after.idle_in_transaction_s, after.lost.map(|it| it.killed)), (Some(2.5), Some(1)));
        let unknown = |after: ServerCounters| {
            let since = after.since(&before);
            (since.idle_in_transaction_s, since.lost) == (None, None)
        };
        assert!(unknown(reading(9.0, 4)), "counters that went back");
        assert!(unknown(reading(11.0, 2)));
        assert!(unknown(ServerCounters { started: ServerTime(2), ..reading(12.5, 4) }), "a restart");
        assert!(unknown(ServerCounters { reset: Some(ServerTime(2)), ..reading(12.5, 4) }), "a reset");
        let first = ServerCounters { reset: Some(ServerTime(2)), version: 140_000, ..reading(12.5, 4) };
        assert!(!unknown(first), "the first statistics of PostgreSQL 14 say that they were reset");
        assert!(unknown(ServerCounters { idle_in_transaction_s: None, lost: None, ..before }), "an old server");
    }
}
