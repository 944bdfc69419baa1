//! A private, throw-away PostgreSQL server.
//!
//! Reached through a Unix socket in a folder that only this user can enter, durability off, gone at the end. The
//! server is not a child of this process but of a [`supervisor`](super::supervisor), which outlives it by as long as it
//! takes to stop the server and to remove the folder.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::NoTls;

use super::binaries::ServerBinaries;
use super::lifeline::Supervisor;
use super::names::{CONSOLE, POOLER_PORT, SUPERUSER};
use super::server_log::{log_reason, log_tail};
use super::supervisor::{StartedServer, SupervisorPlan};
use super::sweep::sweep;

pub use super::lifeline::SupervisionError;
pub use super::names::DATABASE;
pub use super::plan::ClusterPlan;

/// Disk space of a new cluster, with its log of transactions.
const SPACE_MB: u64 = 96;

/// Deadline of `initdb`: a second is usual, a slow disk is not a failure.
const INIT_DEADLINE: Duration = Duration::from_mins(1);
/// Deadline of the server's first answer after its start.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Timeout of one attempt to connect, or of one statement of the setup.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts to connect.
const READY_POLL: Duration = Duration::from_millis(20);

/// Place of a cluster, and the program that supervises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterHome {
    /// The program with the subcommand [`super::supervisor::SUBCOMMAND`].
    pub supervisor: PathBuf,
    /// The folder in which the cluster's own is made; `/tmp` is used when it is too deep for a socket.
    pub temp_dir: PathBuf,
}

impl ClusterHome {
    /// This program, and the system's folder for temporary files.
    ///
    /// # Errors
    /// When the system does not tell which program this is.
    pub fn of_this_program() -> io::Result<Self> {
        Ok(Self { supervisor: env::current_exe()?, temp_dir: env::temp_dir() })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Supervision(#[from] SupervisionError),
    #[error("the supervisor of PostgreSQL made no cluster within {INIT_DEADLINE:?}")]
    NoReport,
    #[error(
        "the temporary folder `{}` is full: {free_mb} MB are free, and a private PostgreSQL needs {SPACE_MB} MB",
        .folder.display()
    )]
    NoSpace { folder: PathBuf, free_mb: u64 },
    #[error("PostgreSQL gave no answer within {READY_DEADLINE:?}, its log says `{}`", log_reason(.log))]
    NoAnswer {
        /// Error of the last attempt; `None` when it was still waiting.
        #[source]
        source: Option<tokio_postgres::Error>,
        /// The last lines of the server's log, oldest first.
        log: Vec<String>,
    },
    #[error("making the database `{DATABASE}`")]
    CreateDatabase {
        /// Message of the server; `None` when it reported nothing in time.
        #[source]
        source: Option<tokio_postgres::Error>,
    },
    #[error("PgBouncer gave no answer within {READY_DEADLINE:?}, its log says `{}`", log_reason(.log))]
    NoPooler {
        /// Error of the last attempt.
        #[source]
        source: tokio_postgres::Error,
        /// The last lines of its log, oldest first.
        log: Vec<String>,
    },
    #[error("the folder of PostgreSQL, `{}`, could not be removed", .folder.display())]
    LeftBehind { folder: PathBuf },
}

/// Refuses a temporary folder without room for a cluster: `initdb` would say something else of it.
fn check_space(folder: &Path) -> Result<(), ClusterError> {
    // Where the system does not tell, the attempt does.
    let Ok(stat) = nix::sys::statvfs::statvfs(folder) else { return Ok(()) };
    // How wide these are depends on the system.
    #[allow(clippy::useless_conversion, reason = "it is one elsewhere")]
    let free = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    let free_mb = free >> 20;
    if free_mb < SPACE_MB { Err(ClusterError::NoSpace { folder: folder.to_owned(), free_mb }) } else { Ok(()) }
}

/// A private PostgreSQL server, running.
///
/// Ended by [`stop`](Self::stop). A value that is dropped without it, or a process that is killed, ends it too, a
/// moment later and without a word.
#[derive(Debug)]
pub struct PgCluster {
    version: String,
    server: StartedServer,
    supervisor: Supervisor,
    /// True if [`stop`](Self::stop) came to its end: one that was given up half way must be repeatable.
    stopped: bool,
}

impl PgCluster {
    /// Makes a cluster of its own and starts it; returns when it answers and has the database [`DATABASE`].
    ///
    /// # Errors
    /// When any step fails; nothing is left behind then.
    ///
    /// # Cancel safety
    /// The supervisor removes a cluster whose start was dropped.
    pub async fn start(
        binaries: &ServerBinaries,
        plan: &ClusterPlan,
        home: &ClusterHome,
    ) -> Result<Self, ClusterError> {
        check_space(&home.temp_dir)?;
        let mut supervisor = Supervisor::spawn(&home.supervisor)?;
        let order = SupervisorPlan {
            initdb: binaries.initdb(),
            postgres: binaries.postgres(),
            temp_dir: home.temp_dir.clone(),
            settings: plan.all_settings(),
            pgbouncer: plan.pgbouncer.clone(),
        };
        match Box::pin(start_server(&mut supervisor, &order)).await {
            Ok(server) => Ok(Self { version: binaries.version.clone(), server, supervisor, stopped: false }),
            Err(error) => {
                supervisor.end().await;
                Err(error)
            }
        }
    }

    /// The folder of the server's socket: the `host` of a connection string.
    pub fn socket_dir(&self) -> &Path {
        &self.server.socket_dir
    }

    /// The port in the name of the socket; nothing listens on it.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The version, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file that the server logs to, removed at the end: anyone who wants to keep it copies it before.
    pub fn log_path(&self) -> &Path {
        &self.server.log
    }

    /// The folder of the cluster, removed at the end.
    pub fn folder(&self) -> &Path {
        &self.server.folder
    }

    /// The process of the supervisor; `None` once it has ended.
    pub fn supervisor_pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// The process of the server itself.
    pub fn postmaster_pid(&self) -> u32 {
        self.server.postmaster
    }

    /// Connection settings to [`DATABASE`] as superuser.
    pub fn config(&self) -> tokio_postgres::Config {
        connection_to(&self.server, DATABASE)
    }

    /// Connection settings to the console of its `PgBouncer`, and the file which that logs to; `None` without one.
    pub fn pgbouncer(&self) -> Option<(tokio_postgres::Config, &Path)> {
        let log = self.server.pgbouncer_log.as_deref()?;
        Some((console_of(&self.server), log))
    }

    /// The port under which a gateway reaches the database: `PgBouncer`'s where there is one.
    pub fn gateway_port(&self) -> u16 {
        if self.server.pgbouncer_log.is_some() { POOLER_PORT } else { self.server.port }
    }

    /// The same as a connection string, such as `postgresql://postgres@/rbac?host=/tmp/…/s&port=5432`.
    pub fn url(&self) -> String {
        let host = percent_encode(&self.server.socket_dir.to_string_lossy());
        format!("postgresql://{SUPERUSER}@/{DATABASE}?host={host}&port={}", self.server.port)
    }

    /// Waits until the server is gone, which it should not be before [`stop`](Self::stop), and tells why.
    ///
    /// # Cancel safety
    /// Safe: nothing that was read is lost.
    pub async fn gone(&mut self) -> ClusterError {
        self.supervisor.next_failure().await.into()
    }

    /// Stops the server and waits until its folder is gone, at most about 16 s. A second call does nothing.
    ///
    /// # Errors
    /// When the server had ended before by itself, or its folder cannot be removed.
    pub async fn stop(&mut self) -> Result<(), ClusterError> {
        if self.stopped {
            return Ok(());
        }
        let outcome = self.supervisor.end().await;
        self.sweep_leftovers().await?;
        self.stopped = true;
        outcome.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Does the supervisor's work when the supervisor could not.
    async fn sweep_leftovers(&self) -> Result<(), ClusterError> {
        let folder = self.server.folder.clone();
        let swept = spawn_blocking(move || !folder.exists() || sweep(&folder)).await;
        if matches!(swept, Ok(true)) {
            return Ok(());
        }
        Err(ClusterError::LeftBehind { folder: self.server.folder.clone() })
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        // Closing the lifeline is the killing: the supervisor stops the server, and SIGKILL to it would only prevent that.
        if !self.stopped {
            tracing::warn!(
                "the PostgreSQL in `{}` was not stopped before it was dropped",
                self.server.folder.display()
            );
        }
    }
}

async fn start_server(supervisor: &mut Supervisor, plan: &SupervisorPlan) -> Result<StartedServer, ClusterError> {
    supervisor.order(plan).await?;
    let server = timeout(INIT_DEADLINE, supervisor.started()).await.ok().ok_or(ClusterError::NoReport)??;
    let outcome = tokio::select! {
        outcome = async { set_up(&server).await?; wait_for_pooler(&server).await } => outcome,
        error = supervisor.next_failure() => Err(error.into()),
    };
    outcome.map(|()| server)
}

/// Waits for the server's first answer and makes the database.
async fn set_up(server: &StartedServer) -> Result<(), ClusterError> {
    let config = connection_to(server, "postgres");
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        let attempt = timeout(ANSWER_DEADLINE, config.connect(NoTls)).await;
        match attempt {
            Ok(Ok((client, connection))) => return create_database(client, connection).await,
            _ if Instant::now() < deadline => sleep(READY_POLL).await,
            last => {
                let source = last.ok().and_then(Result::err);
                return Err(ClusterError::NoAnswer { source, log: log_tail(&server.log) });
            }
        }
    }
}

/// Waits for the first answer of the console of a `PgBouncer`, where there is one.
async fn wait_for_pooler(server: &StartedServer) -> Result<(), ClusterError> {
    let Some(log) = &server.pgbouncer_log else { return Ok(()) };
    let config = console_of(server);
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        match config.connect(NoTls).await {
            Ok(_) => return Ok(()),
            Err(_) if Instant::now() < deadline => sleep(READY_POLL).await,
            Err(source) => return Err(ClusterError::NoPooler { source, log: log_tail(log) }),
        }
    }
}

async fn create_database(
    client: tokio_postgres::Client,
    connection: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<(), ClusterError> {
    let statement = format!("CREATE DATABASE {DATABASE}");
    let create = async move { client.batch_execute(&statement).await };
    // The connection ends when its client is dropped, so both are done when the statement is.
    let both = async { tokio::join!(create, connection).0 };
    match timeout(ANSWER_DEADLINE, both).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ClusterError::CreateDatabase { source: Some(error) }),
        Err(_elapsed) => Err(ClusterError::CreateDatabase { source: None }),
    }
}

fn connection_to(server: &StartedServer, database: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host_path(&server.socket_dir).port(server.port).user(SUPERUSER).dbname(database);
    config
}

fn console_of(server: &StartedServer) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host_path(&server.socket_dir).port(POOLER_PORT).user(SUPERUSER).dbname(CONSOLE);
    config.connect_timeout(ANSWER_DEADLINE);
    config
}

/// Encodes what could end a value in a URL's query; a path's slashes may stay.
fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_any_name_survives_the_url() {
        for path in ["/tmp/a-b_c.d/s", "/tmp/with space&more/ü?"] {
            let url = format!("postgresql://postgres@/rbac?host={}&port=5432", percent_encode(path));
            let config: tokio_postgres::Config = url.parse().unwrap();
            assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix(path.into())], "{url}");
        }
    }
}
