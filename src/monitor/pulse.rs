//! The open transactions in three figures, twenty times a second: from the backend-id functions, which copy the shared
//! table once and make no row of it.
//!
//! They know no `application_name`, and a session that has come since the last rows may be anybody's: where only some
//! sessions are wanted there is no cheaper query than that of the rows, and no pulse.

use std::time::Instant;

use tokio_postgres::{Client, Statement};

use super::clock::ServerTime;
use super::count;

/// $1: the database; $2: processes that are no client's session. An idle transaction waits for its client; an aborted
/// one has no `xact_start`, and is not seen here.
pub(super) const PULSE: &str = "\
SELECT statement_timestamp(), clock_timestamp(), count(*)::int8,
       count(*) FILTER (WHERE wait_event = 'ClientRead')::int8, min(xact_start)
FROM (SELECT xact_start, pg_stat_get_backend_wait_event(id) AS wait_event
      FROM (SELECT id, pg_stat_get_backend_xact_start(id) AS xact_start
            FROM pg_stat_get_backend_idset() AS id OFFSET 0) AS a
      WHERE xact_start IS NOT NULL AND pg_stat_get_backend_dbid(id) = $1
        AND pg_stat_get_backend_pid(id) <> pg_backend_pid() AND pg_stat_get_backend_pid(id) <> ALL ($2)
      OFFSET 0) AS b";

/// Result of a pulse.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) began: ServerTime,
    pub(super) now: ServerTime,
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    pub(super) in_transaction: u32,
    pub(super) idle_in_transaction: u32,
    pub(super) oldest: Option<ServerTime>,
}

/// Polls all client sessions of the database, but for `no_clients`.
pub(super) async fn feel(
    client: &Client,
    statement: &Statement,
    database: u32,
    no_clients: &[i32],
) -> Result<Pulse, tokio_postgres::Error> {
    let asked = Instant::now();
    let row = client.query_one(statement, &[&database, &no_clients]).await?;
    Ok(Pulse {
        began: row.try_get(0)?,
        now: row.try_get(1)?,
        asked,
        answered: Instant::now(),
        in_transaction: count(&row, 2),
        idle_in_transaction: count(&row, 3),
        oldest: row.try_get(4)?,
    })
}
