//! The testbed: a private PostgreSQL cluster, gateway replicas, the slow backend.
//!
//! PostgreSQL comes from [`binaries`] (found, or fetched by [`download`]), lives in a temporary [`folder`] as an
//! unprivileged account, is the child of a [`supervisor`], and is seen by the run as a [`cluster`]; so does a [`pgbouncer`]
//! in front of it, where the scenario asks for one. The gateway replicas and the backend are [`service`]s: this program
//! again, as child processes. Nothing outlives the run: every child ends when the pipe to its standard input closes,
//! which the system does even after SIGKILL.

mod account;
pub mod binaries;
mod child;
mod child_settings;
pub mod cluster;
pub mod command;
pub mod database;
pub mod download;
pub mod folder;
mod lifeline;
pub mod limits;
mod names;
pub mod pgbouncer;
mod plan;
mod process;
mod seed;
mod server_folder;
mod server_log;
pub mod service;
mod serving;
pub mod speed;
pub mod supervisor;
pub mod sweep;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_under_test::settings::Settings;
use reqwest::header::HeaderValue;

use crate::scenario::{Scenario, SessionScope};
use child_settings::{backend_settings, replica_settings};
use cluster::{ClusterHome, ClusterPlan, PgCluster};
use database::{Database, OwnDatabase};
use pgbouncer::PgBouncerPlan;
use seed::Callers;
use service::Service;

pub use account::AccountError;
pub use seed::SeedError;
pub use serving::ServedGateway;

/// Hidden subcommand of a gateway replica.
pub const REPLICA_SUBCOMMAND: &str = "serve-replica";
/// Hidden subcommand of the slow service behind the gateway.
pub const BACKEND_SUBCOMMAND: &str = "serve-backend";

/// Connections beside the gateway's: the monitor's, the counters', and what PostgreSQL reserves for superusers.
const OTHER_CONNECTIONS: u32 = 16;

/// Server connections that `PgBouncer` has given up may be there a moment longer than in its own count.
const CLOSING_CONNECTIONS: u32 = 32;

/// Deadline of a replica's `/ready`.
const READY_DEADLINE: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(20);

/// Reasons why a testbed could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    #[error(transparent)]
    Binaries(#[from] binaries::BinariesError),
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    #[error(transparent)]
    OwnDatabase(#[from] database::OwnDatabaseError),
    #[error(transparent)]
    PgBouncer(#[from] pgbouncer::PgBouncerError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error(transparent)]
    Service(#[from] service::ServiceError),
    #[error(transparent)]
    Descriptors(#[from] limits::DescriptorError),
    #[error("gateway `{name}` gave no ready answer within {} s: {last}", READY_DEADLINE.as_secs())]
    NotReady {
        name: String,
        /// Last report.
        last: String,
    },
    #[error("cannot prepare to ask whether a replica is ready")]
    Http(#[source] reqwest::Error),
    #[error("cannot make a folder for the logs")]
    Logs(#[source] std::io::Error),
    #[error("cannot find this program's own executable")]
    Executable(#[source] std::io::Error),
}

impl TestbedError {
    /// True if the request itself is invalid.
    pub fn is_bad_request(&self) -> bool {
        match self {
            Self::OwnDatabase(error) => error.is_bad_request(),
            Self::Seed(SeedError::SomebodyElses { .. }) | Self::PgBouncer(pgbouncer::PgBouncerError::OwnDatabase) => {
                true
            }
            _ => false,
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Descriptors(error) => Some(error.hint()),
            Self::Cluster(cluster::ClusterError::NoSpace { .. }) => {
                Some("set TMPDIR to a folder with more room".to_owned())
            }
            _ => None,
        }
    }
}

/// Settings of a testbed, apart from the scenario.
#[derive(Clone, Debug)]
pub struct TestbedConfig {
    /// The PostgreSQL to use.
    pub database: DatabaseSource,
    /// Folder of the children's logs; in the private cluster's own folder when there is no other.
    pub logs: Option<PathBuf>,
    /// Port of the first replica; 0 lets the system choose. The others' is always chosen.
    pub port: u16,
    /// The password of every user of the data set; without one, nobody can log in.
    pub password: Option<String>,
    /// The key that tokens are signed with; `None` makes one up.
    pub jwt_secret: Option<String>,
}

/// Database for the data of an experiment.
#[derive(Clone, Debug)]
pub enum DatabaseSource {
    /// In a throw-away cluster.
    Private {
        binaries: binaries::ServerBinaries,
        /// Place of the cluster, and the program that supervises it.
        home: ClusterHome,
        /// The `PgBouncer` in front of it, where the scenario asks for one.
        pgbouncer: Option<pgbouncer::Program>,
    },
    /// In a database of the user's own, empty or once filled by this program.
    Own(Box<OwnDatabase>),
}

impl DatabaseSource {
    /// A private cluster of the programs in `pg_bin`, or else of those that are found.
    ///
    /// # Errors
    /// [`TestbedError::Binaries`] when there are none, [`TestbedError::PgBouncer`] when the scenario asks for one and
    /// there is none.
    pub async fn private(pg_bin: Option<&Path>, scenario: &Scenario) -> Result<Self, TestbedError> {
        let places = binaries::SearchPlaces::from_env();
        let pgbouncer = scenario.pgbouncer.is_some().then(|| pgbouncer::find(&places)).transpose()?;
        let binaries = binaries::find(pg_bin, &places).await?;
        let home = ClusterHome::of_this_program().map_err(TestbedError::Executable)?;
        Ok(Self::Private { binaries, home, pgbouncer })
    }

    async fn open(&self, scenario: &Scenario, logs: Option<PathBuf>) -> Result<Database, TestbedError> {
        match self {
            Self::Private { binaries, home, pgbouncer } => {
                let mut plan = ClusterPlan::for_connections(connections(scenario));
                if let (Some(asked), Some(program)) = (&scenario.pgbouncer, pgbouncer) {
                    limits::raise_for_pgbouncer(asked.max_client_conn.get(), asked.server_connections())?;
                    plan.pgbouncer = Some(PgBouncerPlan::of(asked, program, logs));
                }
                let cluster = PgCluster::start(binaries, &plan, home).await?;
                Ok(Database::Private(Box::new(cluster)))
            }
            Self::Own(_) if scenario.pgbouncer.is_some() => Err(pgbouncer::PgBouncerError::OwnDatabase.into()),
            Self::Own(own) => Ok(Database::own(own).await?),
        }
    }

    /// The version of the `PgBouncer` in front of it.
    pub fn pgbouncer_version(&self) -> Option<&str> {
        match self {
            Self::Private { pgbouncer, .. } => pgbouncer.as_ref().map(|it| it.version.as_str()),
            Self::Own(_) => None,
        }
    }
}

/// Connections that the server must allow.
fn connections(scenario: &Scenario) -> u32 {
    let of_gateway = match &scenario.pgbouncer {
        Some(pgbouncer) => pgbouncer.server_connections() + CLOSING_CONNECTIONS,
        // One of each replica's reads who is not let in.
        None => scenario.gateway.pool_capacity() + scenario.gateway.replicas.get(),
    };
    of_gateway + OTHER_CONNECTIONS
}

/// Everything an experiment runs on.
#[derive(Debug)]
pub struct Testbed {
    database: Database,
    backend: Service,
    replicas: Vec<Service>,
    callers: Callers,
    jwt_secret: String,
}

impl Testbed {
    /// Starts PostgreSQL, loads the data, starts the backend and the replicas, and waits until all are ready.
    ///
    /// # Errors
    /// [`TestbedError`]; whatever had been started is stopped.
    ///
    /// # Cancel safety
    /// Dropped halfway, every child ends on its own, a moment later.
    pub async fn start(
        scenario: &Scenario,
        scope: SessionScope,
        premises: &TestbedConfig,
    ) -> Result<Self, TestbedError> {
        let log = premises.logs.as_ref().map(|folder| folder.join(format!("pgbouncer.{}.log", scope.name())));
        let database = premises.database.open(scenario, log).await?;
        let jwt_secret = premises.jwt_secret.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        match start_services(scenario, scope, premises, &database, &jwt_secret).await {
            Ok((backend, replicas, callers)) => Ok(Self { database, backend, replicas, callers, jwt_secret }),
            Err(error) => {
                if let Err(stopping) = database.stop().await {
                    tracing::warn!(error = %stopping, "PostgreSQL was not stopped cleanly");
                }
                Err(error)
            }
        }
    }

    /// Connection settings to the database under test.
    pub fn database(&self) -> tokio_postgres::Config {
        self.database.config()
    }

    /// Connection settings to it as `role`, to watch; as [`Testbed::database`] does, without one.
    pub fn monitor_database(&self, role: Option<&str>) -> tokio_postgres::Config {
        let mut config = self.database.config();
        if let Some(role) = role {
            config.user(role);
        }
        config
    }

    /// The database as a connection string, without the password.
    pub fn database_url(&self) -> String {
        self.database.masked_url()
    }

    /// The console of the `PgBouncer` in front of it, and the file which that logs to.
    pub fn pgbouncer(&self) -> Option<(tokio_postgres::Config, PathBuf)> {
        self.database.pgbouncer()
    }

    /// The server's version, as it says it.
    pub fn postgres_version(&self) -> &str {
        self.database.version()
    }

    /// The `Authorization` header of each user.
    pub fn authorizations(&self) -> &[HeaderValue] {
        &self.callers.authorizations
    }

    /// Base URL of each replica.
    pub fn replica_urls(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| replica.listening().url.clone()).collect()
    }

    /// Gauges URL of each replica.
    pub fn gauge_urls(&self) -> Vec<String> {
        self.replicas.iter().filter_map(|replica| replica.listening().gauges_url.clone()).collect()
    }

    /// Waits until something that should run has ended, and says what.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn died(&mut self) -> TestbedError {
        let Self { database, backend, replicas, .. } = self;
        let mut services = futures_util::stream::FuturesUnordered::new();
        services.push(backend.ended());
        services.extend(replicas.iter_mut().map(Service::ended));
        tokio::select! {
            error = database.gone() => error.into(),
            Some(error) = futures_util::StreamExt::next(&mut services) => error.into(),
        }
    }

    /// Ends the replicas, and with them their sessions; PostgreSQL goes on, so that its counters can be read.
    pub async fn stop_gateway(&mut self) {
        for replica in &mut self.replicas {
            replica.stop().await;
        }
        // The pooler would keep them open, and what they have to report to the server's counters with them.
        if let Some((console, _)) = self.pgbouncer()
            && let Err(error) = pgbouncer::close_servers(&console).await
        {
            tracing::warn!(%error, "PgBouncer did not close its server connections");
        }
    }

    /// Ends everything.
    ///
    /// # Errors
    /// [`TestbedError::Cluster`] when PostgreSQL had ended by itself or left something behind.
    pub async fn stop(mut self) -> Result<(), TestbedError> {
        self.stop_gateway().await;
        self.backend.stop().await;
        Ok(self.database.stop().await?)
    }
}

async fn start_services(
    scenario: &Scenario,
    scope: SessionScope,
    premises: &TestbedConfig,
    database: &Database,
    jwt_secret: &str,
) -> Result<(Service, Vec<Service>, Callers), TestbedError> {
    let program = std::env::current_exe().map_err(TestbedError::Executable)?;
    let logs = premises.logs.as_deref().unwrap_or(database.log_folder());
    let log = |name: &str| logs.join(format!("{name}.{}.log", scope.name()));
    let callers = seed::seed(database, scenario, jwt_secret, premises.password.as_deref()).await?;
    let backend =
        Service::start(&program, BACKEND_SUBCOMMAND, "the backend", &backend_settings(scenario), &log("backend"))
            .await?;
    let mut replicas = Vec::new();
    for number in 1..=scenario.gateway.replicas.get() {
        let name = format!("gw-{number}");
        let port = if number == 1 { premises.port } else { 0 };
        let settings = Settings { port, ..replica_settings(&name, scenario, scope, database, &backend, jwt_secret) };
        replicas.push(Service::start(&program, REPLICA_SUBCOMMAND, &name, &settings, &log(&name)).await?);
    }
    for (index, replica) in replicas.iter().enumerate() {
        wait_until_ready(&format!("gw-{}", index + 1), &replica.listening().url).await?;
    }
    Ok((backend, replicas, callers))
}

/// Removes what a run that was killed has left behind.
pub async fn sweep_leftovers() {
    let swept = tokio::task::spawn_blocking(|| sweep::sweep_stale(&std::env::temp_dir())).await;
    if let Ok(count @ 1..) = swept {
        tracing::info!("removed what {count} killed run(s) had left behind");
    }
}

/// Polls `/ready` until it says so.
async fn wait_until_ready(name: &str, url: &str) -> Result<(), TestbedError> {
    let deadline = tokio::time::Instant::now() + READY_DEADLINE;
    let url = format!("{url}/ready");
    let client = reqwest::Client::builder().no_proxy().timeout(READY_DEADLINE).build().map_err(TestbedError::Http)?;
    loop {
        let last = match client.get(&url).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => answer.text().await.unwrap_or_else(|error| error.to_string()),
            Err(error) => error.to_string(),
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(TestbedError::NotReady { name: name.to_owned(), last });
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
