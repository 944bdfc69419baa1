//! A run record of what was watched, which `diagnose`, `report` and `gate` read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::Recording;
use super::plan::{WatchError, WatchPlan};
use crate::database::Database;
use crate::monitor::sessions::ServerLimits;
use crate::monitor::{MonitorResult as Monitored, ServerCounters, read_counters};
use crate::record::store::{RunFolder, SampleWriter, for_each_sample};
use crate::record::summary::{Measured, RequestTotals};
use crate::record::{
    EpisodeSample, Format, Outcome, Phases, RunRecord, Sample, SessionsLost, Stamped, Summary, VariantRecord,
};
use crate::run::this_machine;
use crate::scenario::{Experiment, VariantName, Watched};
use crate::units::Span;

/// Name of the record's one variant.
const VARIANT: &str = "watched";

/// A record that is being kept.
pub(super) struct WatchRecorder {
    folder: RunFolder,
    writer: SampleWriter,
    record: RunRecord,
    variant: VariantName,
    postgres_version: String,
    pools: u32,
    database: Database,
    /// The server's counters at the beginning; `None` when they could not be read.
    before: Option<ServerCounters>,
    samples: u64,
}

impl WatchRecorder {
    /// Makes the folder, which must not exist, and writes down what is watched.
    pub(super) async fn begin(folder: &Path, plan: &WatchPlan, server: &ServerLimits) -> Result<Self, WatchError> {
        let name = folder.file_name().map_or_else(|| "watch".to_owned(), |name| name.to_string_lossy().into_owned());
        if folder.exists() {
            return Err(WatchError::Exists(folder.to_owned()));
        }
        let parent = folder.parent().unwrap_or(Path::new(""));
        let folder = RunFolder::create(parent, &name)?.with_reserve()?;
        let variant = VARIANT.parse().unwrap_or(VariantName::HELD);
        let pools = u32::try_from(plan.metrics.len()).unwrap_or(u32::MAX);
        let watched = Watched {
            name,
            title: format!("watching {}", plan.target.url),
            watched: plan.target.url.clone(),
            variant,
            interval: millis(plan.counts_interval),
            pool_capacity: None,
            pools,
        };
        let record = RunRecord {
            format: Format::default(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_s: plan.target.started_unix_s,
            outcome: Outcome::Running,
            scenario: Experiment::Watched(watched),
            machine: this_machine(),
            variants: std::collections::BTreeMap::new(),
        };
        folder.write_record(&record)?;
        Ok(Self {
            writer: folder.samples()?,
            folder,
            record,
            variant,
            postgres_version: server.version.clone(),
            pools,
            before: counters(&plan.database).await,
            database: plan.database.clone(),
            samples: 0,
        })
    }

    pub(super) fn append(&mut self, at_s: f64, sample: Sample) -> Result<(), WatchError> {
        self.samples += 1;
        Ok(self.writer.append(&Stamped { variant: self.variant, at_s, sample })?)
    }

    pub(super) fn flush(&mut self) -> Result<(), WatchError> {
        Ok(self.writer.flush()?)
    }

    pub(super) fn shown(&self) -> Recording {
        Recording { folder: self.folder.path().display().to_string(), samples: self.samples }
    }

    /// Computes the figures from what was written, and gives the folder.
    pub(super) async fn finish(
        mut self,
        outcome: Outcome,
        ended_s: f64,
        monitored: Option<Monitored>,
        dropped: u64,
    ) -> Result<PathBuf, WatchError> {
        self.writer.flush()?;
        let counted = counters(&self.database).await.zip(self.before).map(|(now, before)| now.since(&before));
        // What its figures are computed from, and no more, is kept of a record that may be of hours.
        let mut samples = Vec::new();
        for_each_sample(self.folder.path(), |stamped| samples.extend(counted_on(stamped)))?;
        samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let measured = self.measured(&samples, counted.as_ref(), ended_s, monitored, dropped, &outcome);
        self.record.outcome = outcome;
        self.record.variants.insert(self.variant, measured);
        self.folder.write_last(&self.record)?;
        Ok(self.folder.path().to_owned())
    }

    fn measured(
        &self,
        samples: &[Stamped],
        counted: Option<&ServerCounters>,
        ended_s: f64,
        monitored: Option<Monitored>,
        dropped: u64,
        outcome: &Outcome,
    ) -> VariantRecord {
        let phases = Phases { steady_from_s: 0.0, steady_to_s: ended_s, ended_s };
        let nothing = RequestTotals::default();
        let polls = monitored.as_ref().map(|monitored| monitored.polls).unwrap_or_default();
        let summary = Summary::of(&Measured {
            phases,
            steady: &nothing,
            since_start: &nothing,
            cut_off: 0,
            samples,
            replicas: self.pools,
            pages: self.pools,
            pool_capacity: None,
            // It counts an episode whole when it ends, also what lay before the watching.
            counted_s: None,
            counted_is_lower_bound: None,
            polls_missed: polls.missed,
        });
        let open_at_end = samples.iter().rev().find_map(|stamped| match &stamped.sample {
            Sample::Activity(activity) => Some(i64::from(activity.idle_in_transaction_total())),
            _ => None,
        });
        // Nobody counted requests, and without pools nobody counted who gave up.
        let pool_timeouts = summary.pool_timeouts.filter(|_| self.pools > 0);
        let summary = Summary { throughput_rps: None, goodput_rps: None, pool_timeouts, ..summary };
        VariantRecord {
            postgres_version: self.postgres_version.clone(),
            pgbouncer_version: None,
            complete: *outcome == Outcome::Finished,
            startup_s: 0.0,
            phases,
            summary,
            routes: Vec::new(),
            errors: Vec::new(),
            sessions_lost: counted
                .and_then(|counted| counted.lost)
                .map(|lost| SessionsLost { open_at_end: open_at_end.unwrap_or(0), ..lost }),
            generator: crate::record::GeneratorRecord {
                samples_dropped: dropped,
                polls_late: polls.late,
                ..crate::record::GeneratorRecord::default()
            },
            latency_distribution: Vec::new(),
            scan: None,
            sessions_elsewhere: Vec::new(),
            software: None,
            machine_load: None,
            monitor: monitored.map(|monitored| monitored.record),
        }
    }
}

/// A sample, if the figures of a summary rest on it, without its texts.
fn counted_on(mut stamped: Stamped) -> Option<Stamped> {
    match &mut stamped.sample {
        Sample::Activity(_) | Sample::Pulse(_) => {}
        Sample::Pools(pools) => pools.errors.clear(),
        Sample::Episode(episode) => {
            *episode = EpisodeSample { statement: None, user: None, client: None, ..episode.clone() };
            episode.application_name.clear();
        }
        _ => return None,
    }
    Some(stamped)
}

/// Before PostgreSQL 14 there are none.
async fn counters(database: &Database) -> Option<ServerCounters> {
    let read = read_counters(database).await;
    read.inspect_err(|error| tracing::debug!(%error, "no counters of the server")).ok()
}

fn millis(duration: Duration) -> Span {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
