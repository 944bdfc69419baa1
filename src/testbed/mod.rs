//! Where an experiment runs: a private PostgreSQL cluster, gateway replicas, the slow backend.
//!
//! PostgreSQL comes from [`binaries`] (found, or fetched by [`download`]), lives in a temporary [`folder`] as an
//! unprivileged account, is the child of a [`keeper`], and is seen by the run as a [`cluster`]. The gateway replicas
//! and the backend are [`service`]s: this program again, as child processes. Nothing outlives the run: every child ends
//! when the pipe to its standard input closes, which the system does even after SIGKILL.

mod account;
pub mod binaries;
mod child;
pub mod cluster;
pub mod database;
pub mod download;
pub mod folder;
pub mod keeper;
mod lifeline;
pub mod limits;
mod seed;
pub mod service;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_under_test::settings::{
    BackendSettings, DelaySettings, PoolSettings, PrePing, Settings, SlowWorkSettings, UsageCounterSettings,
};
use reqwest::header::HeaderValue;

use crate::scenario::{Scenario, SessionScope};
use cluster::{ClusterHome, ClusterPlan, PgCluster};
use database::{Database, OwnDatabase};
use seed::Callers;
use service::Service;

pub use account::AccountError;
pub use seed::SeedError;

/// Hidden subcommand of a gateway replica.
pub const REPLICA_SUBCOMMAND: &str = "serve-replica";
/// Hidden subcommand of the slow service behind the gateway.
pub const BACKEND_SUBCOMMAND: &str = "serve-backend";

/// Connections beside the gateway's: the monitor's, the counters', and what PostgreSQL reserves for superusers.
const OTHER_CONNECTIONS: u32 = 16;

/// How long a replica may take until `/ready` says so.
const READY_DEADLINE: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(20);

/// Why a testbed could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// No PostgreSQL server was found.
    #[error(transparent)]
    Binaries(#[from] binaries::BinariesError),
    /// The cluster could not be started or stopped.
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    /// A database of the user's own cannot be used.
    #[error(transparent)]
    OwnDatabase(#[from] database::OwnDatabaseError),
    /// The data set could not be loaded.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// A replica or the backend could not be started.
    #[error(transparent)]
    Service(#[from] service::ServiceError),
    /// Too few file descriptors.
    #[error(transparent)]
    Descriptors(#[from] limits::DescriptorError),
    /// A replica serves, but does not become ready.
    #[error("gateway `{name}` gave no ready answer within {} s: {last}", READY_DEADLINE.as_secs())]
    NotReady {
        /// Which replica.
        name: String,
        /// What it said last.
        last: String,
    },
    /// The HTTP client could not be built.
    #[error("cannot prepare to ask whether a replica is ready")]
    Http(#[source] reqwest::Error),
    /// There is no room for the logs.
    #[error("cannot make a folder for the logs")]
    Logs(#[source] std::io::Error),
    /// The program cannot find itself.
    #[error("cannot find this program's own executable")]
    Executable(#[source] std::io::Error),
}

impl TestbedError {
    /// Whether the request itself makes no sense.
    pub fn is_bad_request(&self) -> bool {
        match self {
            Self::OwnDatabase(error) => error.is_bad_request(),
            Self::Seed(SeedError::SomebodyElses { .. }) => true,
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Descriptors(error) => Some(error.hint()),
            _ => None,
        }
    }
}

/// What a testbed is made of, apart from the scenario.
#[derive(Clone, Debug)]
pub struct Premises {
    /// The PostgreSQL to use.
    pub database: DatabaseSource,
    /// Where children write their logs; in the private cluster's own folder when there is no other.
    pub logs: Option<PathBuf>,
    /// Port of the first replica; 0 lets the system choose. The others' is always chosen.
    pub port: u16,
    /// The password of every user of the data set; without one, nobody can log in.
    pub password: Option<String>,
}

/// Where the data of an experiment are to be stored.
#[derive(Clone, Debug)]
pub enum DatabaseSource {
    /// In a throw-away cluster.
    Private {
        /// The server's programs.
        binaries: binaries::ServerBinaries,
        /// Where it lives, and which program keeps it.
        home: ClusterHome,
    },
    /// In a database of the user's own, empty or once filled by this program.
    Own(Box<OwnDatabase>),
}

impl DatabaseSource {
    /// A private cluster of the programs in `pg_bin`, or else of those that are found.
    ///
    /// # Errors
    /// [`TestbedError::Binaries`] when there are none.
    pub async fn private(pg_bin: Option<&Path>) -> Result<Self, TestbedError> {
        let binaries = binaries::find(pg_bin, &binaries::SearchPlaces::from_env()).await?;
        let home = ClusterHome::of_this_program().map_err(TestbedError::Executable)?;
        Ok(Self::Private { binaries, home })
    }

    async fn open(&self, connections: u32) -> Result<Database, TestbedError> {
        match self {
            Self::Private { binaries, home } => {
                let plan = ClusterPlan::for_connections(connections);
                Ok(Database::Private(Box::new(PgCluster::start(binaries, &plan, home).await?)))
            }
            Self::Own(own) => Ok(Database::own(own).await?),
        }
    }
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
    pub async fn start(scenario: &Scenario, scope: SessionScope, premises: &Premises) -> Result<Self, TestbedError> {
        // One of each replica's reads who is not let in.
        let replicas = scenario.gateway.replicas.get();
        let connections = scenario.gateway.pool_capacity() + replicas + OTHER_CONNECTIONS;
        let database = premises.database.open(connections).await?;
        let jwt_secret = format!("{:032x}", rand::random::<u128>());
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

    /// How to connect to the database under test.
    pub fn database(&self) -> tokio_postgres::Config {
        self.database.config()
    }

    /// How to connect to it as `role`, to watch; as [`Testbed::database`] does, without one.
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
    premises: &Premises,
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

fn backend_settings(scenario: &Scenario) -> BackendSettings {
    let delays = scenario.backend.delays.iter().map(|(tool, delay)| {
        let settings = DelaySettings {
            min: delay.min.duration(),
            exponential_mean: delay.exponential_mean.duration(),
            max: delay.max.duration(),
        };
        (tool.clone(), settings)
    });
    BackendSettings { port: 0, delays: delays.collect(), seed: scenario.load.seed }
}

fn replica_settings(
    name: &str,
    scenario: &Scenario,
    scope: SessionScope,
    database: &Database,
    backend: &Service,
    jwt_secret: &str,
) -> Settings {
    let gateway = &scenario.gateway;
    Settings {
        name: name.to_owned(),
        port: 0,
        workers: gateway.workers.get(),
        session_scope: scope,
        also: gateway.also.clone(),
        checkout: gateway.checkout,
        pool: PoolSettings {
            size: gateway.pool.size.get(),
            max_overflow: gateway.pool.max_overflow,
            timeout: gateway.pool.timeout.duration(),
            pre_ping: PrePing::Off,
            recycle: None,
        },
        database: database.settings(scenario),
        backend_url: format!("{}/mcp", backend.listening().url),
        jwt_secret: jwt_secret.to_owned(),
        platform_admin_email: seed::PLATFORM_ADMIN.to_owned(),
        usage_counter: UsageCounterSettings {
            share: gateway.usage_counter.share.get(),
            rows: gateway.usage_counter.rows.map_or(0, crate::units::Count::get),
        },
        slow_work: SlowWorkSettings { hook: gateway.hook_delay.duration(), render: gateway.render_delay.duration() },
        audit: gateway.audit,
        masks: gateway.masks,
        garbage_after: gateway.garbage_after.duration(),
        header_timeout: gateway.header_timeout.duration(),
    }
}

/// Clients that a gateway served alone should be able to take at once.
const GATEWAY_CLIENTS: u32 = 1000;

/// Removes what a run that was killed has left behind.
pub async fn sweep_leftovers() {
    let swept = tokio::task::spawn_blocking(|| folder::sweep_stale(&std::env::temp_dir())).await;
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

/// A testbed that serves by itself: what `rbac-bench gateway` runs.
#[derive(Debug)]
pub struct Running {
    /// The testbed.
    pub testbed: Testbed,
    /// Its variant.
    pub scope: SessionScope,
    /// A token of the demo platform administrator.
    pub admin_token: String,
    /// A token of a regular user, whom only their roles let through.
    pub user_token: String,
    /// The password of every user; `None` when the data were there before.
    pub password: Option<String>,
    /// Holds the logs of a gateway whose database is the user's own.
    _logs: Option<tempfile::TempDir>,
}

impl Running {
    /// Starts the first variant of a scenario, its first replica on `port`.
    ///
    /// # Errors
    /// [`TestbedError`].
    pub async fn start(scenario: &Scenario, port: u16, database: DatabaseSource) -> Result<Self, TestbedError> {
        let scope = scenario.variants.first().copied().unwrap_or_default();
        limits::raise_descriptor_limit(GATEWAY_CLIENTS)?;
        sweep_leftovers().await;
        let logs = match database {
            DatabaseSource::Private { .. } => None,
            DatabaseSource::Own(_) => Some(tempfile::tempdir().map_err(TestbedError::Logs)?),
        };
        let password = format!("{:016x}", rand::random::<u64>());
        let premises = Premises {
            database,
            logs: logs.as_ref().map(|folder| folder.path().to_owned()),
            port,
            password: Some(password.clone()),
        };
        let testbed = Box::pin(Testbed::start(scenario, scope, &premises)).await?;
        let admin_token = seed::admin_token(&testbed.jwt_secret)?;
        let user_token = testbed.callers.user_token.clone();
        let password = testbed.callers.loaded.then_some(password);
        Ok(Self { testbed, scope, admin_token, user_token, password, _logs: logs })
    }

    /// Ends everything.
    ///
    /// # Errors
    /// As [`Testbed::stop`].
    pub async fn stop(self) -> Result<(), TestbedError> {
        self.testbed.stop().await
    }
}
