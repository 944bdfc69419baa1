//! Runs: starting and stopping testbed, load and monitor of each variant, and recording what they saw.
//!
//! The record is on disk before the first request: the samples are appended as they come, and `record.json` is
//! replaced when a variant ends. Teardown does not listen to the token that ended the run; it has its own deadlines.

mod access;
mod ask;
mod collector;
pub mod dry;
mod errors;
mod fetch;
mod gateway;
mod identities;
mod machine;
mod machine_load;
mod pooler;
mod pooler_process;
mod preflight;
#[cfg_attr(not(target_os = "linux"), path = "processes_unknown.rs")]
mod processes;
pub mod progress;
mod remote_guard;
mod restarts;
mod run_queue;
mod scan;
mod secrets;
mod service;
mod software;
mod started;
mod target;
mod target_database;
mod target_sessions;
mod variant_run;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::monitor::{Console, MonitorError};
use crate::record::store::{RunFolder, StoreError};
use crate::record::{Format, Outcome, RunRecord};
use crate::scenario::{Experiment, Scenario, Workload};
use crate::swarm::SwarmError;
use crate::testbed::{DatabaseSource, TestbedConfig, TestbedError, limits, sweep_leftovers};
use access::Access;
pub use access::{AccessError, DatabaseUrl, check_host};
pub use ask::{Answer, AskError, AskedBody, Asker};
use collector::Collector;
pub use fetch::{FetchError, LONGEST_DOCUMENT, fetch};
use gateway::GatewayTarget;
pub(crate) use machine::this as this_machine;
pub use pooler::PoolerError;
pub use preflight::{Preflight, PreflightState, preflight};
use progress::Progress;
pub use remote_guard::GuardError;
pub use scan::ScanSettings;
use service::ServiceTarget;
pub use started::StartError;
use target::{LoadTarget, RunParts, run_variant};
pub use target_database::{TargetDatabase, databases_of};
pub use target_sessions::sessions_of;

/// Options of a run, apart from the scenario.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Folder in which the run's own is made.
    pub out: PathBuf,
    /// Folder of PostgreSQL's binaries, when the user names one.
    pub pg_bin: Option<PathBuf>,
    /// Hosts other than this machine that may be spoken to, for an external service.
    pub allow_remote: Vec<String>,
    /// The console of a `PgBouncer` of the user's own, to watch.
    pub pgbouncer: Option<Console>,
    /// The database of an external service, in place of the one that its scenario names.
    pub database_url: Option<DatabaseUrl>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    pub record: RunRecord,
    pub folder: PathBuf,
}

/// Reasons why a run could not measure.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error(transparent)]
    Pooler(#[from] PoolerError),
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the scenario has a PgBouncer of its own: no other one can be watched beside it")]
    TwoPgBouncers,
    #[error("the thread that writes the samples has crashed")]
    CollectorCrashed,
}

impl RunError {
    /// True if the monitor's role may not see other sessions: then nothing can be stated of the gateway.
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Monitor(MonitorError::Blind { .. }))
    }

    /// True if the request itself is invalid.
    pub fn is_bad_request(&self) -> bool {
        match self {
            Self::Access(_) | Self::Pooler(_) | Self::Monitor(MonitorError::NoSuchRole { .. }) => true,
            Self::Monitor(error) => error.is_of_pooler(),
            Self::Start(error) => error.is_bad_request(),
            _ => false,
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Testbed(error) => error.hint(),
            Self::Access(AccessError::Guard(error)) => error.hint(),
            Self::Start(error) => error.hint(),
            Self::Pooler(error) => Some(error.hint()),
            Self::Monitor(error) => error.hint(),
            _ => None,
        }
    }
}

/// Runs all variants of a scenario, one after the other: the reference gateway's each on a fresh testbed.
///
/// A run that `stop` interrupts ends normally, with the outcome [`Outcome::Interrupted`].
///
/// # Errors
/// [`RunError`] when something could not be measured; what was written so far stays in the run folder, whose record
/// says why it ended.
pub async fn execute(
    experiment: impl Into<Experiment>,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<Finished, RunError> {
    let experiment = experiment.into();
    let name = folder_name(SystemTime::now(), experiment.name());
    execute_as(&name, experiment, options, progress, stop).await
}

/// Scans all variants of a scenario in place of loading them: every route alone, and all concurrently.
///
/// # Errors
/// As [`execute`].
pub async fn scan(
    experiment: impl Into<Experiment>,
    settings: ScanSettings,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<Finished, RunError> {
    let experiment = experiment.into();
    let name = folder_name(SystemTime::now(), &format!("{}-scan", experiment.name()));
    carry_out(&name, experiment, Some(settings), options, progress, stop).await
}

/// The same, in a folder of this name.
///
/// # Errors
/// As [`execute`].
pub async fn execute_as(
    name: &str,
    experiment: impl Into<Experiment>,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<Finished, RunError> {
    carry_out(name, experiment.into(), None, options, progress, stop).await
}

async fn carry_out(
    name: &str,
    experiment: Experiment,
    scan: Option<ScanSettings>,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<Finished, RunError> {
    if experiment.gateway().is_some_and(|it| it.pgbouncer.is_some()) && options.pgbouncer.is_some() {
        return Err(RunError::TwoPgBouncers);
    }
    match experiment.pace().map_or(Workload::Closed { users: 0 }, |pace| pace.workload) {
        Workload::Closed { users } => limits::raise_descriptor_limit(users),
        Workload::Open { max_in_flight, .. } => limits::raise_for_requests(max_in_flight),
    }
    .map_err(TestbedError::from)?;
    let mut options = options.clone();
    if let Some(console) = options.pgbouncer.as_ref().filter(|_| experiment.gateway().is_some()) {
        options.pgbouncer = Some(access::admitted(console, &options.allow_remote).await?);
    }
    let options = &options;
    // What cannot be reached is reported before anything is written.
    let access = match &experiment {
        Experiment::Service(scenario) => Some(Access::open(scenario, options).await?),
        _ => None,
    };
    let mut record = new_record(experiment.clone());
    let folder = RunFolder::create(&options.out, name)?.with_reserve()?;
    folder.write_record(&record)?;
    let collector = Collector::start(folder.samples()?)?;
    let parts = RunParts { collector: &collector, progress: &*progress, stop, scan };
    let ended = match (&experiment, &access) {
        (Experiment::Gateway(scenario), _) => gateway_variants(scenario, options, parts, &folder, &mut record).await,
        (Experiment::Service(scenario), Some(access)) => {
            let target = ServiceTarget { scenario, access, folder: folder.path(), is_scanned: scan.is_some() };
            run_variants(&target, parts, &folder, &mut record).await
        }
        (Experiment::Service(_) | Experiment::Watched(_), _) => Ok(()),
    };
    // A disk that is full stops the thread that writes the samples: its error says more than that it is gone.
    let ended = match (collector.close().await, ended) {
        (Err(error), Ok(()) | Err(RunError::CollectorCrashed)) => Err(error),
        (_, ended) => ended,
    };
    record.outcome = match &ended {
        Ok(()) if stop.is_cancelled() => Outcome::Interrupted,
        Ok(()) => Outcome::Finished,
        Err(error) => Outcome::Failed { error: with_causes(error) },
    };
    let written = folder.write_last(&record);
    ended?;
    written?;
    Ok(Finished { record, folder: folder.path().to_owned() })
}

/// An error and what is behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Clears the ground, and finds a server or downloads one, which can take minutes.
async fn find_server(options: &RunOptions, scenario: &Scenario) -> Result<DatabaseSource, TestbedError> {
    sweep_leftovers().await;
    DatabaseSource::private(options.pg_bin.as_deref(), scenario).await
}

async fn gateway_variants(
    scenario: &Scenario,
    options: &RunOptions,
    parts: RunParts<'_>,
    folder: &RunFolder,
    record: &mut RunRecord,
) -> Result<(), RunError> {
    let finding = find_server(options, scenario);
    let Some(found) = parts.stop.run_until_cancelled(finding).await else { return Ok(()) };
    let logs = Some(folder.path().to_owned());
    let premises = TestbedConfig { database: found?, logs, port: 0, password: None, jwt_secret: None };
    let target = GatewayTarget { scenario, premises: &premises, pgbouncer: options.pgbouncer.as_ref() };
    run_variants(&target, parts, folder, record).await
}

/// One variant after the other; each is in the record as soon as it has ended.
async fn run_variants(
    target: &impl LoadTarget,
    parts: RunParts<'_>,
    folder: &RunFolder,
    record: &mut RunRecord,
) -> Result<(), RunError> {
    for name in target.variants() {
        if let Some(measured) = Box::pin(run_variant(target, name, parts)).await? {
            record.variants.insert(name, measured);
            folder.write_record(record)?;
        }
        if parts.stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

fn new_record(scenario: Experiment) -> RunRecord {
    RunRecord {
        format: Format::default(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        outcome: Outcome::Running,
        scenario,
        machine: machine::this(),
        variants: std::collections::BTreeMap::new(),
    }
}

/// `2026-11-23T10-12-04-issue-2318`, in UTC.
pub fn folder_name(started: SystemTime, name: &str) -> String {
    let started = jiff::Timestamp::try_from(started);
    let started = started.map_or_else(|_| "unknown-time".to_owned(), |it| it.strftime("%Y-%m-%dT%H-%M-%S").to_string());
    format!("{started}-{name}")
}
