//! The sessions one by one, ten times a second: who does what, and since when.
//!
//! One row comes back, with an array for each column: PostgreSQL makes it in half the time of as many rows. It reads
//! `pg_stat_get_activity` directly: `pg_stat_activity` is the same function joined with the databases and the roles.
//! Sessions that were idle at the last poll and still are, are counted and not reported; a statement's text is reported once,
//! when its session has just become idle in transaction.

use std::time::Instant;

use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Row, Statement};

use super::clock::ServerTime;
use super::session_filter::Wanted;
use super::{APPLICATION_NAME, count};

/// $1: the database; $2: what has changed since is reported; $3: our own name; $4, $5: whose sessions are ours, users and
/// patterns of applications, null for any.
pub(super) const ROWS: &str = "\
SELECT statement_timestamp(), clock_timestamp(),
       count(*) FILTER (WHERE ours)::int8,
       count(*) FILTER (WHERE ours AND state = 'idle')::int8,
       count(*) FILTER (WHERE NOT here AND backend_type = 'client backend')::int8,
       count(*) FILTER (WHERE backend_type = 'walsender')::int8,
       count(*) FILTER (WHERE strange)::int8,
       count(*) FILTER (WHERE strange AND state LIKE 'idle in transaction%')::int8,
       array_agg(pid) FILTER (WHERE reported),
       array_agg(backend_start) FILTER (WHERE reported),
       array_agg(usesysid) FILTER (WHERE reported),
       array_agg(application_name) FILTER (WHERE reported),
       array_agg(state) FILTER (WHERE reported),
       array_agg(wait_event_type = 'Lock') FILTER (WHERE reported),
       array_agg(xact_start) FILTER (WHERE reported),
       array_agg(query_start) FILTER (WHERE reported),
       array_agg(state_change) FILTER (WHERE reported),
       array_agg(host(client_addr)) FILTER (WHERE reported),
       array_agg(CASE WHEN state LIKE 'idle in transaction%' AND state_change >= $2 THEN query END)
           FILTER (WHERE reported),
       array_agg(pid) FILTER (WHERE strange OR here AND NOT ours AND xact_start IS NOT NULL)
FROM (SELECT *, client AND NOT wanted AS strange, client AND wanted AS ours,
             client AND wanted AND (state IS DISTINCT FROM 'idle' OR state_change >= $2) AS reported
      FROM (SELECT pid, backend_start, usesysid, application_name, state, wait_event_type, xact_start, query_start,
                   state_change, client_addr, query, backend_type, datid IS NOT DISTINCT FROM $1 AS here,
                   datid IS NOT DISTINCT FROM $1 AND backend_type = 'client backend'
                       AND application_name IS DISTINCT FROM $3 AS client,
                   ($4::oid[] IS NULL OR usesysid = ANY ($4)) AND ($5::text[] IS NULL OR application_name LIKE ANY ($5))
                       AS wanted
            FROM pg_stat_get_activity(NULL)) AS a
      OFFSET 0) AS b";

/// `pg_stat_activity.state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RowState {
    Active,
    #[default]
    Idle,
    IdleInTransaction,
    IdleInTransactionAborted,
    /// `fastpath function call`, `disabled`, or one of a later server.
    Other,
}

impl RowState {
    fn of(text: Option<&str>) -> Self {
        match text {
            Some("active") => Self::Active,
            Some("idle") => Self::Idle,
            Some("idle in transaction") => Self::IdleInTransaction,
            Some("idle in transaction (aborted)") => Self::IdleInTransactionAborted,
            _ => Self::Other,
        }
    }

    /// Aborted or not.
    pub(super) fn is_idle_in_transaction(self) -> bool {
        matches!(self, Self::IdleInTransaction | Self::IdleInTransactionAborted)
    }
}

#[derive(Clone, Debug)]
pub(super) struct SessionRow {
    pub(super) pid: i32,
    pub(super) backend_start: ServerTime,
    /// The role's oid.
    pub(super) user: u32,
    pub(super) application_name: String,
    pub(super) state: RowState,
    pub(super) waits_for_lock: bool,
    pub(super) xact_start: Option<ServerTime>,
    pub(super) query_start: Option<ServerTime>,
    pub(super) state_change: Option<ServerTime>,
    pub(super) client: Option<String>,
    /// The last statement, where it was reported.
    pub(super) statement: Option<String>,
}

impl Default for SessionRow {
    fn default() -> Self {
        Self {
            pid: 0,
            backend_start: ServerTime(0),
            user: 0,
            application_name: String::new(),
            state: RowState::default(),
            waits_for_lock: false,
            xact_start: None,
            query_start: None,
            state_change: None,
            client: None,
            statement: None,
        }
    }
}

impl SessionRow {
    /// When its transaction began. An aborted one has no `xact_start`, and is as old as its state.
    pub(super) fn transaction_since(&self) -> Option<ServerTime> {
        self.xact_start.or(self.state_change.filter(|_| self.state == RowState::IdleInTransactionAborted))
    }
}

/// One poll of all sessions.
#[derive(Debug)]
pub(super) struct RowPoll {
    /// When it was asked for: everything that changes later is reported next time.
    pub(super) began: ServerTime,
    pub(super) now: ServerTime,
    /// When the question left here, and the answer came.
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// Client sessions of our database, and those of them that are idle.
    pub(super) sessions: u32,
    pub(super) idle: u32,
    pub(super) other_database: u32,
    pub(super) replication: u32,
    /// Client sessions of our database that do not count, and those of them that are idle in transaction.
    pub(super) other_sessions: u32,
    pub(super) other_sessions_idle: u32,
    /// Those that do something, or did since the last poll.
    pub(super) rows: Vec<SessionRow>,
    /// Processes in a transaction in our database that are no client's session, or our own.
    pub(super) no_clients: Vec<i32>,
}

/// Polls; tells what has changed since `since`.
pub(super) async fn poll(
    client: &Client,
    statement: &Statement,
    database: u32,
    since: ServerTime,
    wanted: &Wanted,
) -> Result<RowPoll, tokio_postgres::Error> {
    let asked = Instant::now();
    let row = client
        .query_one(statement, &[&database, &since, &APPLICATION_NAME, &wanted.users, &wanted.applications])
        .await?;
    let answered = Instant::now();
    Ok(RowPoll {
        began: row.try_get(0)?,
        now: row.try_get(1)?,
        asked,
        answered,
        sessions: count(&row, 2),
        idle: count(&row, 3),
        other_database: count(&row, 4),
        replication: count(&row, 5),
        other_sessions: count(&row, 6),
        other_sessions_idle: count(&row, 7),
        rows: sessions(&row)?,
        no_clients: row.try_get::<_, Option<Vec<i32>>>(19)?.unwrap_or_default(),
    })
}

fn sessions(row: &Row) -> Result<Vec<SessionRow>, tokio_postgres::Error> {
    let pids: Vec<i32> = column(row, 8)?.into_iter().flatten().collect();
    let mut starts = column::<ServerTime>(row, 9)?.into_iter();
    let mut users = column::<u32>(row, 10)?.into_iter();
    let mut names = column::<String>(row, 11)?.into_iter();
    let states: Vec<Option<&str>> = row.try_get::<_, Option<_>>(12)?.unwrap_or_default();
    let mut states = states.into_iter();
    let mut waits = column::<bool>(row, 13)?.into_iter();
    let mut xacts = column::<ServerTime>(row, 14)?.into_iter();
    let mut queries = column::<ServerTime>(row, 15)?.into_iter();
    let mut changes = column::<ServerTime>(row, 16)?.into_iter();
    let mut clients = column::<String>(row, 17)?.into_iter();
    let mut statements = column::<String>(row, 18)?.into_iter();
    let session = |pid| SessionRow {
        pid,
        backend_start: starts.next().flatten().unwrap_or(ServerTime::EVER),
        user: users.next().flatten().unwrap_or_default(),
        application_name: names.next().flatten().unwrap_or_default(),
        state: RowState::of(states.next().flatten()),
        waits_for_lock: waits.next().flatten().unwrap_or_default(),
        xact_start: xacts.next().flatten(),
        query_start: queries.next().flatten(),
        state_change: changes.next().flatten(),
        client: clients.next().flatten(),
        statement: statements.next().flatten(),
    };
    Ok(pids.into_iter().map(session).collect())
}

/// An array over all sessions that are reported; `NULL` where none is.
fn column<T: FromSqlOwned>(row: &Row, index: usize) -> Result<Vec<Option<T>>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<Vec<Option<T>>>>(index)?.unwrap_or_default())
}
