//! Each session by itself, for a look at an incident: what it does, since when, its last statement, and who is in
//! its way.
//!
//! By the monitor's query, with all sessions in its answer: it is taken about once a second, on a connection of its own,
//! which is made anew when it was lost.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::activity::{ActivityPoll, SessionRow, SessionState, Statements, poll};
use super::clock::ServerTime;
pub use super::connection::ServerLimits;
use super::connection::{Link, POLL_TIMEOUT};
use super::session_filter::Wanted;
use super::{MonitorError, SessionFilter, blocking};
use crate::database::Database;

/// At most this many waiters are asked for who is in their way, those that wait longest: in a queue each is blocked by
/// all before it, so that the answers grow with the square.
const TRACED: usize = 250;

/// The longest pause between two attempts to connect again.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// A poll may take this share of the time; otherwise the next one is put off.
const COST_SHARE: u32 = 10;

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

impl Session {
    fn of(seen: &ActivityPoll, row: SessionRow, user: Option<String>, blocked_by: Vec<i32>) -> Self {
        Self {
            pid: row.pid,
            user,
            state: row.state,
            waits_for_lock: row.waits_for_lock(),
            transaction_s: seen.transaction_s(&row),
            state_s: seen.state_s(&row),
            application_name: row.application_name,
            client: row.client,
            wait: row.wait_event.map(|wait| format!("{}:{}", wait.kind, wait.event)),
            statement: row.statement,
            blocked_by,
        }
    }
}

/// All sessions at one instant, by process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionSnapshot {
    /// The sessions, ascending by process.
    pub sessions: Vec<Session>,
    /// Duration in milliseconds, measured here.
    pub took_ms: f64,
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
    link: Link,
    whose: SessionFilter,
    wanted: Wanted,
}

impl Looker {
    /// Connects, and checks that the role sees what it must. It will poll the sessions of `whose`.
    ///
    /// # Errors
    /// [`MonitorError`] when there is no connection, or it would show nothing.
    pub async fn connect(database: &Database, whose: &SessionFilter) -> Result<Self, MonitorError> {
        let connecting = async {
            let link = Link::open(database, whose).await?;
            let wanted = whose.wanted(&link.server.roles)?;
            Ok(Self { link, wanted, whose: whose.clone() })
        };
        tokio::time::timeout(POLL_TIMEOUT, connecting).await.map_err(|_elapsed| MonitorError::Silent)?
    }

    /// The server at the other end.
    pub fn server(&self) -> &ServerLimits {
        &self.link.server.limits
    }

    /// Takes one poll.
    ///
    /// # Errors
    /// [`MonitorError`] when the server does not answer.
    pub async fn poll(&mut self) -> Result<SessionSnapshot, MonitorError> {
        tokio::time::timeout(POLL_TIMEOUT, self.poll_sessions())
            .await
            .map_err(|_elapsed| MonitorError::Silent)?
            .map_err(|source| MonitorError::Query { what: "pg_stat_activity", source })
    }

    async fn poll_sessions(&mut self) -> Result<SessionSnapshot, tokio_postgres::Error> {
        let asked = Instant::now();
        let Link { client, rows, blockers, server, .. } = &self.link;
        let mut seen =
            poll(client, rows, server.database, ServerTime::EVER, &self.wanted, Statements::OfAllAtWork).await?;
        let unknown = seen.rows.iter().any(|row| !server.roles.contains_key(&row.user));
        let mut waiters: Vec<&SessionRow> = seen.rows.iter().filter(|row| row.waits_for_lock()).collect();
        waiters.sort_by_key(|row| row.state_change);
        let waiters: Vec<i32> = waiters.iter().take(TRACED).map(|row| row.pid).collect();
        let mut edges = blocking::edges(client, blockers, &waiters).await?;
        if unknown {
            self.link.read_roles().await?;
        }
        let rows = std::mem::take(&mut seen.rows);
        let session = |row: SessionRow| {
            let blocked_by = edges.remove(&row.pid).unwrap_or_default();
            let user = self.link.server.roles.get(&row.user).cloned();
            Session::of(&seen, row, user, blocked_by)
        };
        let mut sessions: Vec<Session> = rows.into_iter().map(session).collect();
        sessions.sort_by_key(|session| session.pid);
        Ok(SessionSnapshot { sessions, took_ms: asked.elapsed().as_secs_f64() * 1e3 })
    }

    /// Says goodbye: a client that vanishes would be counted among the sessions that were lost.
    pub async fn close(self) {
        self.link.close().await;
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
                match &mut poller {
                    Some(poller) => poller.poll().await.map(PollEvent::Poll),
                    None => Self::connect(&database, &whose).await.map(|fresh| {
                        let server = fresh.server().clone();
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
