//! Each session by itself, for a look at an incident: what it does, since when, its last statement, and who is in
//! its way.
//!
//! A poll costs more than the counts of the monitor's tiers: it is taken about once a second, on a connection of its
//! own, which is made anew when it was lost.

use std::time::{Duration, Instant};

use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row, Statement};
use tokio_util::sync::CancellationToken;

use super::connection::{POLL_TIMEOUT, check_sight, close, connect};
use super::{APPLICATION_NAME, MonitorError, SessionFilter};
use crate::database::{Database, Ending};

/// At most this many waiters are asked for who is in their way, those that wait longest: in a queue each is blocked by
/// all before it, so that the answers grow with the square.
const TRACED: u32 = 250;

/// Everything of the sessions of this database, or of those that are wanted. The last statement of an idle session is of no interest, and would be
/// most of what is sent. An aborted transaction has no `xact_start` and is aged by `state_change`.
const SESSIONS: &str = "\
SELECT pid, usename::text, application_name, host(client_addr), state, wait_event_type, wait_event,
       extract(epoch FROM clock_timestamp() - coalesce(xact_start,
           CASE WHEN state = 'idle in transaction (aborted)' THEN state_change END))::float8,
       extract(epoch FROM clock_timestamp() - state_change)::float8,
       CASE WHEN state <> 'idle' THEN left(query, 4000) END,
       CASE WHEN wait_event_type = 'Lock'
             AND row_number() OVER (PARTITION BY wait_event_type = 'Lock' ORDER BY state_change) <= $2::int4::int8
            THEN pg_blocking_pids(pid) END
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND datname = current_database() AND application_name <> $1
  AND ($3::text[] IS NULL OR usename = ANY ($3)) AND ($4::text[] IS NULL OR application_name LIKE ANY ($4))
ORDER BY pid";

/// Statement timeout: a statement that takes longer than a poll may is not to burden the server any further.
const SETTINGS: &str = "SET statement_timeout = 5000";

const SERVER: &str = "\
SELECT current_setting('server_version'), current_setting('max_connections')::int4, current_database()::text";

/// A role of those that are wanted which is not there.
const MISSING: &str = "\
SELECT wanted FROM unnest($1::text[]) AS wanted WHERE wanted NOT IN (SELECT rolname::text FROM pg_roles) LIMIT 1";

/// The longest pause between two attempts to connect again.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// A poll may take this share of the time; otherwise the next one is put off.
const COST_SHARE: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionState {
    /// It runs a statement, or waits within one.
    Active,
    /// It has no transaction.
    Idle,
    /// It holds a transaction open and does nothing.
    IdleInTransaction,
    /// The same, after an error.
    Aborted,
    /// Something rarer, or the server does not say.
    Other,
}

impl SessionState {
    pub(super) fn of(state: Option<&str>) -> Self {
        match state {
            Some("active") => Self::Active,
            Some("idle") => Self::Idle,
            Some("idle in transaction") => Self::IdleInTransaction,
            Some("idle in transaction (aborted)") => Self::Aborted,
            _ => Self::Other,
        }
    }

    /// As `PostgreSQL` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle in transaction",
            Self::Aborted => "idle in transaction (aborted)",
            Self::Other => "other",
        }
    }

    /// True if it holds a transaction and does nothing.
    pub fn is_idle_in_transaction(self) -> bool {
        matches!(self, Self::IdleInTransaction | Self::Aborted)
    }
}

/// One session. Texts are as the server has them: whatever a client chose to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub pid: i32,
    /// The role; `None` when the server does not say.
    pub user: Option<String>,
    /// Application name; empty when the client gives none.
    pub application_name: String,
    /// Address of the client; `None` over a socket.
    pub client: Option<String>,
    pub state: SessionState,
    /// Wait event, `Lock:transactionid`; `None` when it does not wait.
    pub wait: Option<String>,
    /// True if that is a heavyweight lock.
    pub waits_for_lock: bool,
    /// Age of its transaction in seconds; `None` when it has none.
    pub transaction_s: Option<f64>,
    /// Seconds in this state.
    pub state_s: Option<f64>,
    /// Its statement, or its last one; `None` for an idle session.
    pub statement: Option<String>,
    /// Processes in its way; 0 is a prepared transaction. Empty when it waits for none, or was not asked.
    pub blocked_by: Vec<i32>,
}

/// All sessions at one instant, by process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionSnapshot {
    /// The sessions, ascending by process.
    pub sessions: Vec<Session>,
    /// Duration in milliseconds, measured here.
    pub took_ms: f64,
}

/// The server that is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Its version, as it says it: `15.18`.
    pub version: String,
    /// Sessions that it allows.
    pub max_connections: u32,
    pub database: String,
}

/// Result of polling.
#[derive(Clone, Debug, PartialEq)]
pub enum PollEvent {
    Poll(SessionSnapshot),
    /// The server does not answer, and why. Reported once.
    Lost(String),
    Back(ServerLimits),
}

/// The connection that polls.
pub struct Looker {
    client: Client,
    ending: Ending,
    sessions: Statement,
    whose: SessionFilter,
    server: ServerLimits,
}

impl Looker {
    /// Connects, and checks that the role sees what it must. It will poll the sessions of `whose`.
    ///
    /// # Errors
    /// [`MonitorError`] when there is no connection, or it would show nothing.
    pub async fn connect(database: &Database, whose: &SessionFilter) -> Result<Self, MonitorError> {
        let connecting = async {
            let (client, ending) = connect(database).await?;
            let failed = |source| MonitorError::Query { what: "pg_stat_activity", source };
            check_sight(&client).await?;
            client.batch_execute(SETTINGS).await.map_err(failed)?;
            let missing = client.query_opt(MISSING, &[&whose.users]).await.map_err(failed)?;
            if let Some(row) = missing {
                return Err(MonitorError::NoSuchRole { role: row.get(0) });
            }
            let row = client.query_one(SERVER, &[]).await.map_err(failed)?;
            let version = row.get::<_, String>(0).split(' ').next().unwrap_or_default().to_owned();
            let max_connections = u32::try_from(row.get::<_, i32>(1)).unwrap_or_default();
            let server = ServerLimits { version, max_connections, database: row.get(2) };
            let sessions = client.prepare(SESSIONS).await.map_err(failed)?;
            Ok(Self { client, ending, sessions, server, whose: whose.clone() })
        };
        tokio::time::timeout(POLL_TIMEOUT, connecting).await.map_err(|_elapsed| MonitorError::Silent)?
    }

    /// The server at the other end.
    pub fn server(&self) -> &ServerLimits {
        &self.server
    }

    /// Takes one poll.
    ///
    /// # Errors
    /// [`MonitorError`] when the server does not answer.
    pub async fn poll(&self) -> Result<SessionSnapshot, MonitorError> {
        let asked = Instant::now();
        let traced = i32::try_from(TRACED).unwrap_or(i32::MAX);
        let (users, applications) = (self.whose.names(), self.whose.patterns());
        let parameters: [&(dyn ToSql + Sync); 4] = [&APPLICATION_NAME, &traced, &users, &applications];
        let polling = self.client.query(&self.sessions, &parameters);
        let rows = tokio::time::timeout(POLL_TIMEOUT, polling)
            .await
            .map_err(|_elapsed| MonitorError::Silent)?
            .map_err(|source| MonitorError::Query { what: "pg_stat_activity", source })?;
        let sessions = rows.iter().map(session).collect();
        Ok(SessionSnapshot { sessions, took_ms: asked.elapsed().as_secs_f64() * 1e3 })
    }

    /// Says goodbye: a client that vanishes would be counted among the sessions that were lost.
    pub async fn close(self) {
        close(self.client, self.ending).await;
    }

    /// Polls every `interval` until `stop`, and connects again when the server was lost. `take` gets the instant at
    /// which each thing was seen.
    pub async fn run(
        self,
        database: Database,
        interval: Duration,
        take: impl Fn(Instant, PollEvent) + Send,
        stop: CancellationToken,
    ) {
        let whose = self.whose.clone();
        let mut poller = Some(self);
        let mut pause = interval;
        loop {
            let began = Instant::now();
            let seeing = async {
                match &poller {
                    Some(poller) => poller.poll().await.map(PollEvent::Poll),
                    None => Self::connect(&database, &whose).await.map(|fresh| {
                        let server = fresh.server.clone();
                        poller = Some(fresh);
                        PollEvent::Back(server)
                    }),
                }
            };
            let Some(seen) = stop.run_until_cancelled(seeing).await else { break };
            match seen {
                Ok(seen) => {
                    pause = if matches!(seen, PollEvent::Poll(_)) {
                        interval.max(began.elapsed() * COST_SHARE).saturating_sub(began.elapsed())
                    } else {
                        Duration::ZERO
                    };
                    take(began, seen);
                }
                Err(error) if poller.is_some() => {
                    take(began, PollEvent::Lost(with_causes(&error)));
                    poller = None;
                    pause = Duration::from_millis(250);
                }
                Err(error) => {
                    tracing::debug!(%error, "the server does not answer");
                    pause = (2 * pause).min(RECONNECT_MAX);
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        if let Some(poller) = poller {
            poller.close().await;
        }
    }
}

/// An error and what is behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn session(row: &Row) -> Session {
    let event_type: Option<String> = read(row, 5);
    let event: Option<String> = read(row, 6);
    let state: Option<String> = read(row, 4);
    Session {
        pid: read(row, 0).unwrap_or_default(),
        user: read(row, 1),
        application_name: read(row, 2).unwrap_or_default(),
        client: read(row, 3),
        state: SessionState::of(state.as_deref()),
        waits_for_lock: event_type.as_deref() == Some("Lock"),
        // An idle session waits for its client, which says nothing.
        wait: event_type.filter(|it| it != "Client").map(|it| format!("{it}:{}", event.unwrap_or_default())),
        transaction_s: read::<f64>(row, 7).map(|age| age.max(0.0)),
        state_s: read::<f64>(row, 8).map(|age| age.max(0.0)),
        statement: read(row, 9),
        blocked_by: read(row, 10).unwrap_or_default(),
    }
}

/// A column; `None` when it is null, or cannot be read: a database in `SQL_ASCII` may send anything.
fn read<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Option<T> {
    row.try_get::<_, Option<T>>(column).ok().flatten()
}
