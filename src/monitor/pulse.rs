//! The open transactions in three figures, twenty times a second: from the backend-id functions, which copy the shared
//! table once and make no row of it.

use std::time::Instant;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::clock::ServerTime;
use super::session_filter::Wanted;
use super::{APPLICATION_NAME, count};

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

/// The same of some sessions alone. $1: the database; $2: our own name; $3, $4: whose sessions are ours, users and patterns of
/// applications, null for any. The backend-id functions know no `application_name`, and a session that has come since the
/// last rows may be anybody's: so this reads `pg_stat_get_activity`, at some three times the cost.
pub(super) const FILTERED_PULSE: &str = "\
SELECT statement_timestamp(), clock_timestamp(), count(*)::int8,
       count(*) FILTER (WHERE wait_event = 'ClientRead')::int8, min(xact_start)
FROM pg_stat_get_activity(NULL)
WHERE xact_start IS NOT NULL AND datid = $1 AND backend_type = 'client backend'
  AND application_name IS DISTINCT FROM $2 AND pid <> pg_backend_pid()
  AND ($3::oid[] IS NULL OR usesysid = ANY ($3)) AND ($4::text[] IS NULL OR application_name LIKE ANY ($4))";

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
    poll(client, statement, &[&database, &no_clients]).await
}

/// Polls those that are wanted, by [`FILTERED_PULSE`].
pub(super) async fn feel_wanted(
    client: &Client,
    statement: &Statement,
    database: u32,
    wanted: &Wanted,
) -> Result<Pulse, tokio_postgres::Error> {
    poll(client, statement, &[&database, &APPLICATION_NAME, &wanted.users, &wanted.applications]).await
}

async fn poll(
    client: &Client,
    statement: &Statement,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Pulse, tokio_postgres::Error> {
    let asked = Instant::now();
    let row = client.query_one(statement, parameters).await?;
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
