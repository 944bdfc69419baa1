//! `PgBouncer`'s view of its pools, once a second, and the errors in its log.
//!
//! Its console speaks the simple query protocol only, and its columns change with the version, so they are read by name:
//! what a version does not have is unknown. The kills of `idle_transaction_timeout` rarely reach a client and leave no
//! trace in PostgreSQL: they are counted in the log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_util::sync::CancellationToken;

use super::{APPLICATION_NAME, MonitorError, Sink};
use crate::database::{Database, Ending};
use crate::record::{PgBouncerPool, PgBouncerSample, PgBouncerStats, Sample};

const INTERVAL: Duration = Duration::from_secs(1);

/// The console answers from one thread, which is also busy with the clients.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The database that is the console.
const CONSOLE: &str = "pgbouncer";

/// Prefix of each error that it has reported to a client.
const MARK: &str = "pooler error: ";

/// Bytes of the log that are read at a time; what is left is read a second later.
const READ_MAX: u64 = 1 << 20;

/// Bytes of an error text, and how many different ones are kept: texts that others had a hand in have no end.
const TEXT_MAX: usize = 200;
const TEXTS_MAX: usize = 64;

/// A `PgBouncer` to watch.
#[derive(Clone, Debug)]
pub struct PgBouncerWatch {
    pub console: Console,
    /// The file that it logs to, where that can be read.
    pub log: Option<PathBuf>,
}

/// The console of a `PgBouncer`.
#[derive(Clone, Debug)]
pub struct Console(Database);

impl From<Config> for Console {
    fn from(config: Config) -> Self {
        Self(config.into())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("invalid URL of PgBouncer: {reason}; expected the form `postgresql://user:password@host:6432/pgbouncer`")]
pub struct ConsoleUrlError {
    pub reason: String,
}

impl FromStr for Console {
    type Err = ConsoleUrlError;

    /// Reads a libpq URL, or its `key=value` form. The database is `pgbouncer`, whichever it names.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let mut database = Database::from_url(url).map_err(|error| ConsoleUrlError { reason: error.to_string() })?;
        let config = database.config_mut();
        if config.get_hosts().is_empty() {
            return Err(ConsoleUrlError { reason: "it names no host".to_owned() });
        }
        if config.get_user().is_none() {
            return Err(ConsoleUrlError { reason: "no user name".to_owned() });
        }
        config.dbname(CONSOLE).connect_timeout(TIMEOUT);
        Ok(Self(database))
    }
}

impl Console {
    /// The hosts that it names.
    pub fn database_mut(&mut self) -> &mut Database {
        &mut self.0
    }

    async fn open(&self) -> Result<(Client, Ending), tokio_postgres::Error> {
        let mut database = self.0.clone();
        database.config_mut().application_name(APPLICATION_NAME);
        database.connect().await
    }
}

/// A console that has answered, and the log beside it.
pub(super) struct PgBouncerWatcher {
    console: Console,
    /// `None` after it was lost.
    client: Option<(Client, Ending)>,
    log: Option<PgBouncerLog>,
}

impl PgBouncerWatcher {
    pub(super) async fn connect(watch: PgBouncerWatch) -> Result<Self, MonitorError> {
        let mut watcher = Self { console: watch.console, client: None, log: watch.log.map(PgBouncerLog::new) };
        watcher.rows("SHOW POOLS").await.map_err(MonitorError::PgBouncer)?;
        Ok(watcher)
    }

    /// Samples until `stop`, and once more at the end.
    pub(super) async fn run(mut self, sink: Arc<dyn Sink>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let ended = stop.run_until_cancelled(ticks.tick()).await.is_none();
            let sample = self.sample().await;
            sink.take(Instant::now(), Sample::PgBouncer(sample));
            if ended {
                return;
            }
        }
    }

    async fn sample(&mut self) -> PgBouncerSample {
        PgBouncerSample {
            pools: self.known("SHOW POOLS", pool).await,
            stats: self.known("SHOW STATS", stats).await,
            errors: self.log.as_mut().and_then(PgBouncerLog::errors),
        }
    }

    /// The rows of a command, those of the console itself left out; `None` when it did not answer.
    async fn known<T>(&mut self, command: &str, read: fn(&dyn Columns) -> Option<T>) -> Option<Vec<T>> {
        match self.rows(command).await {
            Ok(rows) => Some(rows.iter().filter_map(|row| read(row)).collect()),
            Err(error) => {
                tracing::debug!(%error, "PgBouncer did not answer `{command}`");
                self.client = None;
                None
            }
        }
    }

    async fn rows(&mut self, command: &str) -> Result<Vec<SimpleQueryRow>, PgBouncerFault> {
        let Self { console, client, .. } = self;
        let asked = async {
            let (client, _) = match client {
                Some(client) => client,
                None => client.insert(console.open().await?),
            };
            client.simple_query(command).await
        };
        let messages = tokio::time::timeout(TIMEOUT, asked).await.map_err(|_elapsed| PgBouncerFault::Silent)??;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}

/// Errors of a console.
#[derive(Debug, thiserror::Error)]
pub enum PgBouncerFault {
    #[error(transparent)]
    Refused(#[from] tokio_postgres::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Silent,
}

/// A row by the names of its columns.
trait Columns {
    fn text(&self, name: &str) -> Option<&str>;
}

impl Columns for SimpleQueryRow {
    fn text(&self, name: &str) -> Option<&str> {
        // An unknown column is an error of the driver's, here it is one that this version does not have.
        self.try_get(name).ok().flatten()
    }
}

impl dyn Columns + '_ {
    fn count<N: FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }

    /// Microseconds, in seconds.
    fn micros(&self, name: &str) -> Option<f64> {
        self.count::<f64>(name).map(|micros| micros / 1e6)
    }
}

fn database(row: &dyn Columns) -> Option<String> {
    row.text("database").filter(|name| *name != CONSOLE).map(str::to_owned)
}

fn pool(row: &dyn Columns) -> Option<PgBouncerPool> {
    let wait_s = row.count::<f64>("maxwait").map(|secs| secs + row.micros("maxwait_us").unwrap_or(0.0));
    Some(PgBouncerPool {
        database: database(row)?,
        user: row.text("user").unwrap_or_default().to_owned(),
        cl_active: row.count("cl_active"),
        cl_waiting: row.count("cl_waiting"),
        sv_active: row.count("sv_active"),
        sv_idle: row.count("sv_idle"),
        sv_used: row.count("sv_used"),
        maxwait_s: wait_s,
    })
}

fn stats(row: &dyn Columns) -> Option<PgBouncerStats> {
    Some(PgBouncerStats {
        database: database(row)?,
        xact_count: row.count("total_xact_count"),
        query_count: row.count("total_query_count"),
        xact_time_s: row.micros("total_xact_time"),
        query_time_s: row.micros("total_query_time"),
        wait_time_s: row.micros("total_wait_time"),
    })
}

/// A log that grows.
struct PgBouncerLog {
    path: PathBuf,
    read_to: u64,
    /// A line whose end is yet to be written.
    begun: Vec<u8>,
    errors: BTreeMap<String, u64>,
}

impl PgBouncerLog {
    fn new(path: PathBuf) -> Self {
        Self { path, read_to: 0, begun: Vec::new(), errors: BTreeMap::new() }
    }

    /// Errors that it reported to its clients since it started, by text; `None` when the log cannot be read.
    fn errors(&mut self) -> Option<BTreeMap<String, u64>> {
        match self.read_on() {
            Ok(bytes) => {
                self.take(&bytes);
                Some(self.errors.clone())
            }
            Err(error) => {
                tracing::debug!(%error, "the log of PgBouncer cannot be read");
                None
            }
        }
    }

    fn read_on(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut bytes = Vec::new();
        self.read_to += file.take(READ_MAX).read_to_end(&mut bytes)? as u64;
        Ok(bytes)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.begun.split_off(end + 1);
        let lines = std::mem::replace(&mut self.begun, rest);
        for text in String::from_utf8_lossy(&lines).lines().filter_map(error_in) {
            if self.errors.len() < TEXTS_MAX || self.errors.contains_key(text) {
                *self.errors.entry(text.to_owned()).or_default() += 1;
            }
        }
    }
}

/// The error in a line such as `… WARNING C-0x55: rbac/postgres@unix(7):6432 pooler error: idle transaction timeout`.
fn error_in(line: &str) -> Option<&str> {
    let (_, text) = line.split_once(MARK)?;
    let end = (0..=TEXT_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Some(text[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Columns for BTreeMap<&str, &str> {
        fn text(&self, name: &str) -> Option<&str> {
            self.get(name).copied()
        }
    }

    #[test]
    fn columns_are_read_by_name_and_one_that_is_missing_is_unknown() {
        let row = BTreeMap::from([
            ("database", "rbac"),
            ("user", "postgres"),
            ("sv_active", "433"),
            ("maxwait", "2"),
            ("maxwait_us", "500000"),
        ]);
        let pool = pool(&row).unwrap();
        assert_eq!((pool.sv_active, pool.cl_waiting, pool.maxwait_s), (Some(433), None, Some(2.5)));
        let row = BTreeMap::from([("database", "rbac"), ("total_xact_time", "1500000"), ("total_xact_count", "7")]);
        let stats = stats(&row).unwrap();
        assert_eq!((stats.xact_time_s, stats.xact_count, stats.wait_time_s), (Some(1.5), Some(7), None));
    }

    #[test]
    fn the_console_is_no_pool() {
        assert_eq!(pool(&BTreeMap::from([("database", "pgbouncer"), ("sv_active", "0")])), None);
    }

    #[test]
    fn what_it_told_its_clients_is_counted_once_each() {
        let mut log = PgBouncerLog::new(PathBuf::new());
        let killed = "2026-11-24 23:37:59.517 UTC [7] WARNING C-0x56: rbac/postgres@unix(9):6432 pooler error: idle transaction timeout\n";
        let server = "2026-11-24 23:37:59.517 UTC [7] LOG S-0x57: rbac/postgres@unix(8):5432 closing because: idle transaction timeout (age=2s)\n";
        let (first, second) = killed.split_at(70);
        log.take(format!("{killed}{server}{first}").as_bytes());
        assert_eq!(log.errors, BTreeMap::from([("idle transaction timeout".to_owned(), 1)]));
        log.take(second.as_bytes());
        assert_eq!(log.errors, BTreeMap::from([("idle transaction timeout".to_owned(), 2)]), "a line in two reads");
    }

    #[test]
    fn texts_without_end_do_not_fill_the_memory() {
        let mut log = PgBouncerLog::new(PathBuf::new());
        for number in 0..10_000 {
            log.take(format!("{MARK}{number} {}\n", "ü".repeat(500)).as_bytes());
        }
        assert_eq!(log.errors.len(), TEXTS_MAX);
        assert!(log.errors.keys().all(|text| text.len() <= TEXT_MAX));
    }

    #[test]
    fn a_log_that_is_not_there_has_unknown_errors_and_not_none() {
        assert_eq!(PgBouncerLog::new(PathBuf::from("/nowhere/pgbouncer.log")).errors(), None);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_repeating_the_password() {
        for (url, reason) in
            [("postgresql://me:secret@host:port", "port"), ("postgresql://host", "no user"), ("user=me", "no host")]
        {
            let error = url.parse::<Console>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
        let console: Console = "postgresql://me:secret@localhost:6432/anything".parse().unwrap();
        assert_eq!(console.0.config().get_dbname(), Some(CONSOLE));
        assert!(!format!("{console:?}").contains("secret"));
    }
}
