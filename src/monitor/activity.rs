//! The sessions one by one, from `pg_stat_activity`: who does what, and since when. Everything that polls sessions polls
//! them by one query: the monitor ten times a second, a scan a hundred times, `watch` once.
//!
//! One row comes back, with an array for each column: PostgreSQL makes it in half the time of as many rows. It reads
//! `pg_stat_get_activity` directly: `pg_stat_activity` is the same function joined with the databases and the roles.
//! Sessions that were idle at the last poll and still are, are counted and not reported.

use std::time::{Duration, Instant};

use tokio_postgres::types::{FromSql, FromSqlOwned, Type};
use tokio_postgres::{Client, Row, Statement};

use super::clock::{Clocks, ServerTime};
use super::session_filter::Wanted;
use super::{APPLICATION_NAME, count};

/// $1: the database; $2: what has changed since is reported; $3: our own name; $4, $5: whose sessions are ours, users and
/// patterns of applications, null for any; $6: whose statements come with them, see [`Statements`].
pub(super) const ROWS: &str = "\
SELECT statement_timestamp(), clock_timestamp(),
       count(*) FILTER (WHERE ours)::int8,
       count(*) FILTER (WHERE ours AND state = 'idle')::int8,
       count(*) FILTER (WHERE NOT here AND backend_type = 'client backend')::int8,
       count(*) FILTER (WHERE backend_type = 'walsender')::int8,
       count(*) FILTER (WHERE strange)::int8,
       count(*) FILTER (WHERE strange AND state LIKE 'idle in transaction%')::int8,
       array_agg(pid) FILTER (WHERE strange OR here AND NOT ours AND xact_start IS NOT NULL),
       array_agg(pid) FILTER (WHERE reported),
       array_agg(backend_start) FILTER (WHERE reported),
       array_agg(usesysid) FILTER (WHERE reported),
       array_agg(application_name) FILTER (WHERE reported),
       array_agg(state) FILTER (WHERE reported),
       array_agg(CASE WHEN waits THEN wait_event_type END) FILTER (WHERE reported),
       array_agg(CASE WHEN waits THEN wait_event END) FILTER (WHERE reported),
       array_agg(xact_start) FILTER (WHERE reported),
       array_agg(query_start) FILTER (WHERE reported),
       array_agg(state_change) FILTER (WHERE reported),
       array_agg(host(client_addr)) FILTER (WHERE reported),
       array_agg(client_port) FILTER (WHERE reported),
       array_agg(CASE WHEN state LIKE 'idle in transaction%' AND state_change >= $2 OR $6 AND state <> 'idle'
                      THEN left(query, 10000) END) FILTER (WHERE reported)
FROM (SELECT *, client AND NOT wanted AS strange, client AND wanted AS ours,
             client AND wanted AND (state IS DISTINCT FROM 'idle' OR state_change >= $2) AS reported,
             state = 'active' OR wait_event_type <> 'Client' AS waits
      FROM (SELECT pid, backend_start, usesysid, application_name, state, wait_event_type, wait_event, xact_start,
                   query_start, state_change, client_addr, client_port, query, backend_type, datid IS NOT DISTINCT FROM $1 AS here,
                   datid IS NOT DISTINCT FROM $1 AND backend_type = 'client backend'
                       AND application_name IS DISTINCT FROM $3 AS client,
                   ($4::oid[] IS NULL OR usesysid = ANY ($4)) AND ($5::text[] IS NULL OR application_name LIKE ANY ($5))
                       AS wanted
            FROM pg_stat_get_activity(NULL)) AS a
      OFFSET 0) AS b";

/// `pg_stat_activity.state`, in PostgreSQL's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionState {
    /// It runs a statement, or waits within one.
    Active,
    /// It has no transaction.
    #[default]
    Idle,
    /// It holds a transaction open and does nothing.
    IdleInTransaction,
    /// The same, after an error.
    IdleInTransactionAborted,
    /// `fastpath function call`, `disabled`, one of a later server, or none that we may see.
    Other,
}

impl SessionState {
    fn of(text: Option<&str>) -> Self {
        match text {
            Some("active") => Self::Active,
            Some("idle") => Self::Idle,
            Some("idle in transaction") => Self::IdleInTransaction,
            Some("idle in transaction (aborted)") => Self::IdleInTransactionAborted,
            _ => Self::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle in transaction",
            Self::IdleInTransactionAborted => "idle in transaction (aborted)",
            Self::Other => "other",
        }
    }

    /// Aborted or not.
    pub fn is_idle_in_transaction(self) -> bool {
        matches!(self, Self::IdleInTransaction | Self::IdleInTransactionAborted)
    }
}

/// One session. Texts are as the server has them: whatever a client chose to send.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub pid: i32,
    pub(super) backend_start: ServerTime,
    /// The role's oid.
    pub(super) user: u32,
    /// Empty when the client gives none.
    pub application_name: String,
    pub state: SessionState,
    /// `Lock:transactionid`; `None` when it does not wait, or is idle and waits for its client.
    pub wait_event: Option<WaitEvent>,
    pub(super) xact_start: Option<ServerTime>,
    pub(super) query_start: Option<ServerTime>,
    pub(super) state_change: Option<ServerTime>,
    /// Address of the client; `None` over a socket.
    pub client: Option<String>,
    /// Its port; `None` over a socket.
    pub(super) client_port: Option<u16>,
    /// The last statement, where it was reported.
    pub statement: Option<String>,
}

/// `wait_event_type` and `wait_event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitEvent {
    pub kind: String,
    pub event: String,
}

impl Default for SessionRow {
    fn default() -> Self {
        Self {
            pid: 0,
            backend_start: ServerTime(0),
            user: 0,
            application_name: String::new(),
            state: SessionState::default(),
            wait_event: None,
            xact_start: None,
            query_start: None,
            state_change: None,
            client: None,
            client_port: None,
            statement: None,
        }
    }
}

impl SessionRow {
    /// True if its statement waits for a heavyweight lock.
    pub fn waits_for_lock(&self) -> bool {
        self.wait_event.as_ref().is_some_and(|wait| wait.kind == "Lock")
    }

    /// True if its statement waits for the client: to read what it gives, or to send what it takes.
    pub fn waits_for_client(&self) -> bool {
        self.state == SessionState::Active && self.wait_event.as_ref().is_some_and(|wait| wait.kind == "Client")
    }

    /// The client's port on this machine; `None` of a client elsewhere, or over a socket.
    pub(super) fn local_port(&self) -> Option<u16> {
        let address = self.client.as_deref()?.parse::<std::net::IpAddr>().ok()?;
        self.client_port.filter(|_| address.is_loopback())
    }

    /// False outside a transaction, and in an aborted one, which hides it.
    pub fn has_transaction(&self) -> bool {
        self.xact_start.is_some()
    }

    /// Identifies its transaction among those of its process: when it began, by the server. Where the server does not show that, when its
    /// state began; `None` where it shows neither.
    pub fn transaction_number(&self) -> Option<i64> {
        self.transaction_since().or(self.state_change).map(|since| since.0)
    }

    /// When its transaction began. An aborted one has no `xact_start`, and is as old as its state.
    pub(super) fn transaction_since(&self) -> Option<ServerTime> {
        self.xact_start.or(self.state_change.filter(|_| self.state == SessionState::IdleInTransactionAborted))
    }
}

/// Which statements come with the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statements {
    /// Of those that have just become idle in transaction: each is reported once.
    OfNewHolds,
    /// Of all that are not idle.
    OfAllAtWork,
}

/// One poll of all sessions.
#[derive(Debug)]
pub struct ActivityPoll {
    /// When it was asked for: everything that changes later is reported next time.
    pub(super) began: ServerTime,
    pub(super) now: ServerTime,
    /// When the question left here, and the answer came.
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// The instant that it is about.
    pub(super) at: Instant,
    /// Client sessions of our database, and those of them that are idle.
    pub sessions: u32,
    pub(super) idle: u32,
    pub(super) other_database: u32,
    pub(super) replication: u32,
    /// Client sessions of our database that do not count, and those of them that are idle in transaction.
    pub(super) other_sessions: u32,
    pub(super) other_sessions_idle: u32,
    /// Processes in a transaction in our database that are no client's session, or our own.
    pub(super) no_clients: Vec<i32>,
    /// Those that do something, or did since the last poll.
    pub rows: Vec<SessionRow>,
}

impl ActivityPoll {
    /// The instant that it is about: the middle between question and answer, unless the clocks tell better.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Takes the server's time for the instant that it is about, by clocks that count from `epoch`: an answer may be late.
    pub(super) fn locate(&mut self, clocks: &Clocks, epoch: Instant) {
        let located = clocks.located(self.now).and_then(|(at_s, _)| Duration::try_from_secs_f64(at_s).ok());
        if let Some(since) = located {
            self.at = (epoch + since).clamp(self.asked, self.answered);
        }
    }

    /// Seconds since its transaction began, by the server's clock; never negative, `None` without one.
    pub fn transaction_s(&self, row: &SessionRow) -> Option<f64> {
        row.transaction_since().map(|since| self.age_s(since))
    }

    /// Seconds in its state, in the same way.
    pub fn state_s(&self, row: &SessionRow) -> Option<f64> {
        row.state_change.map(|since| self.age_s(since))
    }

    fn age_s(&self, since: ServerTime) -> f64 {
        self.now.0.saturating_sub(since.0).max(0) as f64 / 1e6
    }
}

/// Polls; tells what has changed since `since`.
pub(super) async fn poll(
    client: &Client,
    statement: &Statement,
    database: u32,
    since: ServerTime,
    wanted: &Wanted,
    statements: Statements,
) -> Result<ActivityPoll, tokio_postgres::Error> {
    let asked = Instant::now();
    let all = statements == Statements::OfAllAtWork;
    let row = client
        .query_one(statement, &[&database, &since, &APPLICATION_NAME, &wanted.users, &wanted.applications, &all])
        .await?;
    let answered = Instant::now();
    Ok(ActivityPoll {
        began: row.try_get(0)?,
        now: row.try_get(1)?,
        asked,
        answered,
        at: asked + (answered - asked) / 2,
        sessions: count(&row, 2),
        idle: count(&row, 3),
        other_database: count(&row, 4),
        replication: count(&row, 5),
        other_sessions: count(&row, 6),
        other_sessions_idle: count(&row, 7),
        no_clients: row.try_get::<_, Option<Vec<i32>>>(8)?.unwrap_or_default(),
        rows: rows(&row)?,
    })
}

fn rows(row: &Row) -> Result<Vec<SessionRow>, tokio_postgres::Error> {
    let pids: Vec<i32> = column(row, 9)?.into_iter().flatten().collect();
    let mut starts = column::<ServerTime>(row, 10)?.into_iter();
    let mut users = column::<u32>(row, 11)?.into_iter();
    let mut names = column::<ServerText>(row, 12)?.into_iter();
    let states: Vec<Option<&str>> = row.try_get::<_, Option<_>>(13)?.unwrap_or_default();
    let mut states = states.into_iter();
    let mut kinds = column::<String>(row, 14)?.into_iter();
    let mut events = column::<String>(row, 15)?.into_iter();
    let mut xacts = column::<ServerTime>(row, 16)?.into_iter();
    let mut queries = column::<ServerTime>(row, 17)?.into_iter();
    let mut changes = column::<ServerTime>(row, 18)?.into_iter();
    let mut clients = column::<String>(row, 19)?.into_iter();
    let mut ports = column::<i32>(row, 20)?.into_iter();
    let mut statements = column::<ServerText>(row, 21)?.into_iter();
    let session = |pid| SessionRow {
        pid,
        backend_start: starts.next().flatten().unwrap_or(ServerTime::EVER),
        user: users.next().flatten().unwrap_or_default(),
        application_name: names.next().flatten().unwrap_or_default().0,
        state: SessionState::of(states.next().flatten()),
        wait_event: kinds.next().flatten().zip(events.next().flatten()).map(|(kind, event)| WaitEvent { kind, event }),
        xact_start: xacts.next().flatten(),
        query_start: queries.next().flatten(),
        state_change: changes.next().flatten(),
        client: clients.next().flatten(),
        // −1 over a socket.
        client_port: ports.next().flatten().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        statement: statements.next().flatten().map(|text| text.0),
    };
    Ok(pids.into_iter().map(session).collect())
}

/// An array over all sessions that are reported; `NULL` where none is.
fn column<T: FromSqlOwned>(row: &Row, index: usize) -> Result<Vec<Option<T>>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<Vec<Option<T>>>>(index)?.unwrap_or_default())
}

/// A text that may be no UTF-8: a database in `SQL_ASCII` keeps, and sends, whatever its clients sent.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerText(pub(super) String);

impl<'a> FromSql<'a> for ServerText {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8_lossy(raw).into_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TEXT | Type::VARCHAR | Type::NAME)
    }
}
