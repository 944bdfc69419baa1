//! Who starts and stops all that: testbed, load and monitor of each variant, and the record of what they saw.
//!
//! The record is on disk before the first request: the samples are appended as they come, and `record.json` is
//! replaced when a variant ends. Teardown does not listen to the token that ended the run; it has its own deadlines.

mod collector;
mod errors;
mod machine;
pub mod progress;
mod variant;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::monitor::{Console, MonitorError};
use crate::record::store::{RunFolder, StoreError};
use crate::record::{Format, Outcome, RunRecord};
use crate::scenario::Scenario;
use crate::swarm::SwarmError;
use crate::testbed::{DatabaseSource, Premises, TestbedError, limits, sweep_leftovers};
use collector::Collector;
pub(crate) use machine::this as this_machine;
use progress::Progress;

/// How to run, apart from the scenario.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Folder in which the run's own is made.
    pub out: PathBuf,
    /// Folder of PostgreSQL's binaries, when the user names one.
    pub pg_bin: Option<PathBuf>,
    /// The console of a `PgBouncer` of the user's own, to watch.
    pub pgbouncer: Option<Console>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// What came of it.
    pub record: RunRecord,
    /// Its folder.
    pub folder: PathBuf,
}

/// Why a run could not measure.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The testbed could not be set up, or a part of it died.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// The database could not be watched.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The load could not run.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The record could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two of them: whose figures would be whose?
    #[error("the scenario has a PgBouncer of its own: no other one can be watched beside it")]
    TwoPgBouncers,
    /// The thread that writes samples is gone.
    #[error("the thread that writes the samples has crashed")]
    CollectorCrashed,
}

impl RunError {
    /// Whether the monitor's role may not see other sessions: then nothing can be said of the gateway.
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Monitor(MonitorError::Blind { .. }))
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Testbed(error) => error.hint(),
            Self::Monitor(MonitorError::Blind { .. }) => Some("grant it pg_monitor".to_owned()),
            _ => None,
        }
    }
}

/// Runs all variants of a scenario, one after the other, each on a fresh testbed.
///
/// A run that `stop` interrupts ends normally, with the outcome [`Outcome::Interrupted`].
///
/// # Errors
/// [`RunError`] when something could not be measured; what was written so far stays in the run folder, whose record
/// says why it ended.
pub async fn execute(
    scenario: Scenario,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<Finished, RunError> {
    let name = folder_name(SystemTime::now(), &scenario.name);
    execute_as(&name, scenario, options, progress, stop).await
}

/// The same, in a folder of this name.
///
/// # Errors
/// As [`execute`].
pub async fn execute_as(
    name: &str,
    scenario: Scenario,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<Finished, RunError> {
    if scenario.pgbouncer.is_some() && options.pgbouncer.is_some() {
        return Err(RunError::TwoPgBouncers);
    }
    limits::raise_descriptor_limit(scenario.load.users.get()).map_err(TestbedError::from)?;
    let asked = scenario.clone();
    let mut record = new_record(scenario);
    let folder = RunFolder::create(&options.out, name)?;
    folder.write_record(&record)?;
    let collector = Collector::start(folder.samples()?)?;
    let ended = match stop.run_until_cancelled(find_server(options, &asked)).await {
        Some(Ok(database)) => {
            let premises = Premises { database, logs: Some(folder.path().to_owned()), port: 0, password: None };
            let own = options.pgbouncer.as_ref();
            run_variants(&mut record, &folder, (&premises, own), &collector, progress, stop).await
        }
        Some(Err(error)) => Err(error.into()),
        None => Ok(()),
    };
    record.outcome = match &ended {
        Ok(()) if stop.is_cancelled() => Outcome::Interrupted,
        Ok(()) => Outcome::Finished,
        Err(error) => Outcome::Failed { error: error.to_string() },
    };
    let written = folder.write_record(&record);
    collector.close().await?;
    ended?;
    written?;
    Ok(Finished { record, folder: folder.path().to_owned() })
}

/// Clears the ground, and finds a server or downloads one, which can take minutes.
async fn find_server(options: &RunOptions, scenario: &Scenario) -> Result<DatabaseSource, TestbedError> {
    sweep_leftovers().await;
    DatabaseSource::private(options.pg_bin.as_deref(), scenario).await
}

async fn run_variants(
    record: &mut RunRecord,
    folder: &RunFolder,
    (premises, pgbouncer): (&Premises, Option<&Console>),
    collector: &Collector,
    progress: Arc<dyn Progress>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let Some(scenario) = record.scenario.gateway().cloned() else { return Ok(()) };
    for scope in &scenario.variants {
        let run = variant::Variant {
            scenario: &scenario,
            scope: *scope,
            premises,
            pgbouncer,
            collector,
            progress: &*progress,
            stop,
        };
        if let Some(measured) = Box::pin(run.execute()).await? {
            record.variants.insert((*scope).into(), measured);
            folder.write_record(record)?;
        }
        if stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

fn new_record(scenario: Scenario) -> RunRecord {
    RunRecord {
        format: Format::default(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        outcome: Outcome::Running,
        scenario: scenario.into(),
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
