//! Monitoring of PostgreSQL, the pools and the health checks while the load runs.
//!
//! The monitor has a thread of its own with its own event loop, so that thousands of users on the others do not delay
//! its polls, and talks to the database on one dedicated connection outside any transaction (inside one the view would
//! be frozen). It hands every sample on with its real time, and every tick it missed is counted.
//!
//! Three tiers: `pulse` for totals, `rows` for who (`episodes` and `holds` make more of them), `counters` to
//! check both by; `blocking` where somebody waits for a lock. `docs/MONITOR.md` says how exact each is.

pub mod activity;
mod blocking;
mod clock;
mod connection;
mod cost;
mod counters;
mod elsewhere;
mod episodes;
mod figures;
mod health;
mod holds;
mod interval;
mod pgbouncer;
mod pools;
mod prometheus;
mod pulse;
mod reconnecting;
pub mod scan_poll;
mod session_filter;
pub mod sessions;
mod surroundings;
mod transactions;
mod watcher;
mod working;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::record::{Presence, Sample, SessionProcess, Spanning};
use crate::scenario::Health;

pub use crate::scenario::service::GaugeName;
pub use counters::ServerCounters;
pub use elsewhere::{Elsewhere, elsewhere};
pub use health::{Good, HealthProbe};
pub use pgbouncer::{Console, ConsoleUrlError, PgBouncerFault, PgBouncerWatch};
pub use pools::{Counted, GaugeNames, read_once as read_pools};
pub use session_filter::SessionFilter;
pub use watcher::{MonitorResult, PollStats};

#[derive(Clone, Debug)]
pub struct Watch {
    /// The database under test.
    pub database: Database,
    /// Time between two polls of its sessions.
    pub interval: Duration,
    /// Time between two polls of how many transactions are open, and how old.
    pub pulse: Duration,
    /// Filter of the main figures.
    pub whose: SessionFilter,
    /// When the record's clock begins: what samples say of time counts from here.
    pub epoch: Instant,
    /// Base URL of each replica.
    pub replicas: Vec<String>,
    /// Gauges URL of each replica, in the same order.
    pub gauges: Vec<String>,
    /// Names of those gauges.
    pub gauge_names: GaugeNames,
    /// Interval and thresholds of health checks.
    pub health: Health,
    /// The health check itself.
    pub probe: HealthProbe,
    /// The `PgBouncer` on the way to the database, if any.
    pub pgbouncer: Option<PgBouncerWatch>,
}

/// Receiver of samples: called from the monitor's thread with the instant at which each was taken.
pub trait Sink: Send + Sync + 'static {
    /// Takes one sample.
    fn take(&self, at: Instant, sample: Sample);

    /// Requests at a moment of the last seconds, which is known to within `error`, by route; none where the load is not ours.
    fn present_at(&self, _at: Instant, _error: Duration) -> BTreeMap<String, Presence> {
        BTreeMap::new()
    }

    /// Requests by route that were in flight when a transaction `began` and when it `ended`, between two times; `None` where the
    /// load is not ours.
    fn spanning(&self, _began: Instant, _ended: (Instant, Instant)) -> Option<BTreeMap<String, Spanning>> {
        None
    }

    /// The process on this machine that has a session from this port; `None` where that is not known.
    fn process_of(&self, _client_port: u16) -> Option<SessionProcess> {
        None
    }
}

/// Reasons why the monitor could not watch.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error("cannot connect to the database to watch it")]
    Connect(#[source] tokio_postgres::Error),
    #[error("cannot read {what}")]
    Query {
        what: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("role `{role}` cannot see other sessions in pg_stat_activity")]
    Blind { role: String },
    #[error("the database has no role `{role}` whose sessions could be counted")]
    NoSuchRole { role: String },
    #[error("cannot watch PgBouncer at its console")]
    PgBouncer(#[source] PgBouncerFault),
    #[error("cannot prepare the probes")]
    Http(#[source] reqwest::Error),
    #[error("cannot start the monitor")]
    Start(#[source] std::io::Error),
    #[error("the database did not answer within {} s", connection::POLL_TIMEOUT.as_secs())]
    Silent,
    #[error("the monitor has crashed")]
    Crashed,
}

impl MonitorError {
    /// True if only a pooler answers so: a prepared statement is gone with the server's connection, or is another client's, or its console
    /// knows none at all.
    pub fn is_of_pooler(&self) -> bool {
        let (Self::Connect(error) | Self::Query { source: error, .. }) = self else { return false };
        let Some(error) = error.as_db_error() else { return false };
        let is_consoles =
            || ["admin console", "unsupported startup parameter"].iter().any(|it| error.message().contains(it));
        matches!(*error.code(), SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT)
            || *error.code() == SqlState::PROTOCOL_VIOLATION && is_consoles()
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Blind { .. } => Some("grant it pg_monitor".to_owned()),
            it if it.is_of_pooler() => Some(
                "the URL is a pooler's: give the server's own, to which the pooler is connected; sessions are watched there"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// A monitor at work.
pub struct Monitor {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<MonitorResult>,
}

impl Monitor {
    /// Connects, checks that the role sees what it must, and starts to watch.
    ///
    /// # Errors
    /// [`MonitorError`] when the database cannot be watched.
    pub async fn start(watch: Watch, sink: Arc<dyn Sink>) -> Result<Self, MonitorError> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (ready, started) = tokio::sync::oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(MonitorError::Start)?;
        let thread = std::thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(move || runtime.block_on(watch_all(watch, sink, stopped, ready)))
            .map_err(MonitorError::Start)?;
        started.await.map_err(|_crashed| MonitorError::Crashed)??;
        Ok(Self { stop, thread })
    }

    /// Stops watching, and says how the polls went.
    ///
    /// # Errors
    /// [`MonitorError::Crashed`].
    pub async fn stop(self) -> Result<MonitorResult, MonitorError> {
        self.stop.cancel();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        joined.ok().and_then(Result::ok).ok_or(MonitorError::Crashed)
    }
}

async fn watch_all(
    watch: Watch,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
    ready: tokio::sync::oneshot::Sender<Result<(), MonitorError>>,
) -> MonitorResult {
    let prepared = async {
        let connecting = watcher::Watcher::start(watch.clone());
        let watcher = tokio::time::timeout(connection::POLL_TIMEOUT, connecting)
            .await
            .map_err(|_elapsed| MonitorError::Silent)??;
        let probe = health::client(&watch.health, &watch.probe).map_err(MonitorError::Http)?;
        let gauges = pools::client(&watch.probe).map_err(MonitorError::Http)?;
        let pgbouncer = match watch.pgbouncer.clone() {
            Some(it) => Some(pgbouncer::PgBouncerWatcher::connect(it).await?),
            None => None,
        };
        Ok((watcher, probe, gauges, pgbouncer))
    };
    let (watcher, probe, gauges, pgbouncer) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => {
            // The caller may have gone: then nobody needs the result.
            let _gone = ready.send(Err(error));
            return MonitorResult::default();
        }
    };
    let _gone = ready.send(Ok(()));
    let mut others = JoinSet::new();
    for (index, url) in watch.replicas.iter().enumerate() {
        let prober = health::Prober::new(index, url, watch.health.clone(), &watch.probe, probe.clone());
        others.spawn(prober.run(Arc::clone(&sink), stop.clone()));
    }
    for (index, url) in watch.gauges.into_iter().enumerate() {
        let gauges = pools::Gauges { url, names: watch.gauge_names.clone(), client: gauges.clone() };
        others.spawn(pools::run(index, gauges, Arc::clone(&sink), stop.clone()));
    }
    if let Some(pgbouncer) = pgbouncer {
        others.spawn(pgbouncer.run(Arc::clone(&sink), stop.clone()));
    }
    let came_to = Box::pin(watcher.run(&*sink, &stop)).await;
    while others.join_next().await.is_some() {}
    came_to
}

/// Reads the server's own counters once, on a connection made for it.
///
/// # Errors
/// [`MonitorError`].
pub async fn read_counters(database: impl Into<Database>) -> Result<ServerCounters, MonitorError> {
    let database = database.into();
    let reading = async {
        let (client, ending) = connection::connect(&database).await?;
        let read = counters::read_once(&client).await;
        connection::close(client, ending).await;
        read
    };
    tokio::time::timeout(connection::POLL_TIMEOUT, reading).await.map_err(|_elapsed| MonitorError::Silent)?
}

/// The filter as far as the role of a connection sees, and that role where it sees its own sessions alone, for want of `pg_monitor`.
///
/// # Errors
/// [`MonitorError`].
pub async fn within_sight(
    database: impl Into<Database>,
    whose: SessionFilter,
) -> Result<(SessionFilter, Option<String>), MonitorError> {
    let database = database.into();
    let reading = async {
        let (client, ending) = connection::connect(&database).await?;
        let sight = connection::sight(&client).await;
        connection::close(client, ending).await;
        sight
    };
    let (role, sees_all) =
        tokio::time::timeout(connection::POLL_TIMEOUT, reading).await.map_err(|_elapsed| MonitorError::Silent)??;
    // Of other roles that are asked for it sees nothing.
    if sees_all || whose.users.iter().any(|user| *user != role) {
        return Ok((whose, None));
    }
    Ok((SessionFilter { users: vec![role.clone()], ..whose }, Some(role)))
}

/// The server's version, as it says it: `15.18`.
///
/// # Errors
/// [`MonitorError`].
pub async fn server_version(database: impl Into<Database>) -> Result<String, MonitorError> {
    let database = database.into();
    let reading = async {
        let (client, ending) = connection::connect(&database).await?;
        let read = client.query_one("SHOW server_version", &[]).await;
        connection::close(client, ending).await;
        let version = read.and_then(|row| row.try_get::<_, String>(0));
        version.map_err(|source| MonitorError::Query { what: "the server's version", source })
    };
    let version =
        tokio::time::timeout(connection::POLL_TIMEOUT, reading).await.map_err(|_elapsed| MonitorError::Silent)??;
    // Debian's builds say more.
    Ok(version.split(' ').next().unwrap_or_default().to_owned())
}

/// The `application_name` of our own connections, by which they are left out of what is counted.
pub const APPLICATION_NAME: &str = "rbac-bench";

/// A count that PostgreSQL gives as `int8`.
fn count(row: &tokio_postgres::Row, column: usize) -> u32 {
    u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX)
}

fn count_of(sessions: usize) -> u32 {
    u32::try_from(sessions).unwrap_or(u32::MAX)
}

/// Counted from 1, as people count.
fn replica_number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
