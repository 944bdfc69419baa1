//! The run record: a run, as data on disk.
//!
//! A run is a folder: `samples.ndjson` is appended while it goes, so that whatever ends the process, everything up to
//! the last second can be read; `record.json` says what was run, and, once a variant has ended, what came of it.
//! Everything that is printed is computed from these. The formats are described in `docs/FORMATS.md`.

mod observed;
pub mod pool_wait;
pub mod presence;
pub mod sample;
pub mod scan;
mod software;
pub mod store;
pub mod summary;
pub mod timeline;
mod wait_histogram;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{Experiment, VariantName};
pub use observed::{MachineLoad, SessionsElsewhere, elsewhere_in_words, not_observed};
pub use presence::{Presence, Spanning};
pub use sample::{
    ActivitySample, BlockingRoot, BlockingSample, BreakdownSample, CountersSample, EpisodeEnd, EpisodeSample, Event,
    HealthSample, HoldGroup, LoadSample, OtherSessions, PgBouncerPool, PgBouncerSample, PgBouncerStats, PoolSample,
    PulseSample, Sample, SessionProcess, Stamped, TransactionSample, WindowLatency,
};
pub use scan::ScanRecord;
pub use software::Software;
pub use summary::Summary;
pub use wait_histogram::WaitHistogram;

/// Version of the format of `record.json` and `samples.ndjson`. Raised when a reader of the old one would misread the
/// new one; a new key is no reason.
pub const FORMAT_VERSION: u32 = 2;

/// Name and version of a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Format {
    /// `rbac-bench/run`.
    pub name: String,
    /// [`FORMAT_VERSION`].
    pub version: u32,
}

impl Default for Format {
    fn default() -> Self {
        Self { name: "rbac-bench/run".to_owned(), version: FORMAT_VERSION }
    }
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Which format this is.
    pub format: Format,
    /// Version of the program that wrote it.
    pub tool_version: String,
    /// When it began, seconds since 1970 UTC.
    pub started_unix_s: f64,
    pub outcome: Outcome,
    /// Scenario with all defaults and overrides resolved.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub scenario: Experiment,
    /// Machine of the run.
    pub machine: Machine,
    /// Results of each variant that was run to its end, or until the run was interrupted.
    #[schemars(with = "BTreeMap<String, VariantRecord>")]
    pub variants: BTreeMap<VariantName, VariantRecord>,
}

impl RunRecord {
    /// All variants, measured or not, in the scenario's order, those that it does not name last.
    pub fn all_names(&self) -> Vec<VariantName> {
        let mut names = self.scenario.variant_names();
        let others: Vec<_> = self.variants.keys().filter(|name| !names.contains(name)).copied().collect();
        names.extend(others);
        names
    }

    /// True if nothing went wrong in a variant that this instrument looks for, by what there was to see of it.
    pub fn is_healthy(&self, variant: &VariantRecord) -> bool {
        match self.scenario {
            Experiment::Gateway(_) => variant.summary.is_healthy(),
            Experiment::Service(_) | Experiment::Watched(_) => variant.summary.is_healthy_from_outside(),
        }
    }

    /// Results of each variant, in that order.
    pub fn in_order(&self) -> Vec<(VariantName, &VariantRecord)> {
        self.all_names().into_iter().filter_map(|name| Some((name, self.variants.get(&name)?))).collect()
    }
}

/// End of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not ended, or its process was killed.
    Running,
    /// To its end.
    Finished,
    /// By a signal; the record is partial.
    Interrupted,
    /// By an error; the record is partial.
    Failed {
        /// The error.
        error: String,
    },
}

/// The machine of a run, since figures of different machines cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// `linux`, `macos`.
    pub os: String,
    /// `x86_64`, `aarch64`.
    pub arch: String,
    /// Cores that the program may use; `None` when the system would not say.
    pub cores: Option<usize>,
    /// The processor's name; `None` when the system does not say, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Tells this machine from others, and nothing about it: the first 16 digits of a hash of the system's own
    /// identifier and the host's name. `None` as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// One variant of a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VariantRecord {
    /// The server's version, as it says it: `15.18`.
    pub postgres_version: String,
    /// The version of the `PgBouncer` before it; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgbouncer_version: Option<String>,
    /// True if it ran to its end; `false` when it was cut short.
    pub complete: bool,
    /// From the first step of the testbed to the moment in which the load could begin, in seconds.
    pub startup_s: f64,
    /// The phases, in order. Seconds since the variant's load began.
    pub phases: Phases,
    /// The figures that tables and gates read.
    pub summary: Summary,
    /// Requests by route, over the steady phase, most requests first.
    pub routes: Vec<RouteRecord>,
    /// Errors by text, over the whole load, most frequent first.
    pub errors: Vec<ErrorRecord>,
    /// Sessions that ended abnormally, which makes the server's counter a lower bound.
    pub sessions_lost: Option<SessionsLost>,
    /// Cost of the load generator.
    pub generator: GeneratorRecord,
    /// Achievement and cost of the monitor; `None` in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<MonitorRecord>,
    /// Latency of the steady phase by percentile, ascending up to p99.99 and the longest, as far as there were enough
    /// requests to tell; empty in records of earlier programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_distribution: Vec<LatencyPoint>,
    /// Sessions outside the monitor's filter that ran queries, where none of the filter did; otherwise empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions_elsewhere: Vec<SessionsElsewhere>,
    /// What the service is made of; `None` where nothing shows, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<Software>,
    /// Use of this machine; `None` where the system does not tell, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_load: Option<MachineLoad>,
    /// Result of a scan; `None` when it was loaded by users, and not scanned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanRecord>,
}

/// One point of a latency distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyPoint {
    /// 0–100.
    pub percentile: f64,
    /// The latency that this share of the requests did not exceed.
    pub ms: f64,
}

/// When each phase of the load began and ended, in seconds since the load began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phases {
    /// From here on all users run: the steady phase begins.
    pub steady_from_s: f64,
    /// The steady phase ends; users stop.
    pub steady_to_s: f64,
    /// The last sample.
    pub ended_s: f64,
}

/// One route over the steady phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteRecord {
    /// Method, path template, JSON-RPC method: `POST /rpc tools/call`.
    pub route: String,
    /// Finished requests.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Median latency of all finished requests.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile.
    pub latency_p95_ms: Option<f64>,
    /// 99th percentile.
    pub latency_p99_ms: Option<f64>,
    /// The longest.
    pub latency_max_ms: Option<f64>,
}

/// One error text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorRecord {
    /// Observer of the error.
    pub seen_by: SeenBy,
    /// The exact text.
    pub text: String,
    /// Number of occurrences.
    pub count: u64,
}

/// Observer of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeenBy {
    /// A user's request ended in it.
    Client,
    /// The gateway raised it, whether a client was still there or not.
    Gateway,
    /// `PgBouncer` reported it to a client of its own, by its log.
    #[serde(rename = "pgbouncer")]
    PgBouncer,
}

/// Sessions whose last episode `pg_stat_database.idle_in_transaction_time` does not count: those that ended
/// abnormally during the load, and those in a transaction when the gateway was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsLost {
    /// `sessions_abandoned`: the client vanished.
    pub abandoned: i64,
    /// `sessions_fatal`: a fatal error, such as the idle-in-transaction timeout.
    pub fatal: i64,
    /// `sessions_killed`: an operator ended it.
    pub killed: i64,
    /// Sessions idle in transaction at the last poll, after which the gateway was stopped.
    pub open_at_end: i64,
    /// Sessions that `PgBouncer` ended for being idle in a transaction, by its log; the server takes them for closed.
    /// `None` where there is a `PgBouncer` whose log could not be read.
    #[serde(default = "none_ended")]
    pub pgbouncer: Option<i64>,
}

/// Records of earlier programs had no `PgBouncer`.
#[expect(clippy::unnecessary_wraps, reason = "it is the default of a field that may be unknown")]
fn none_ended() -> Option<i64> {
    Some(0)
}

impl Default for SessionsLost {
    /// Nobody, of anyone who counts.
    fn default() -> Self {
        Self { abandoned: 0, fatal: 0, killed: 0, open_at_end: 0, pgbouncer: none_ended() }
    }
}

impl SessionsLost {
    /// All of them that are known.
    pub fn total(&self) -> i64 {
        self.abandoned + self.fatal + self.killed + self.open_at_end + self.pgbouncer.unwrap_or(0)
    }

    /// True if any was lost; `None` when that is not known.
    pub fn any(&self) -> Option<bool> {
        if self.total() > 0 { Some(true) } else { self.pgbouncer.map(|_| false) }
    }
}

/// Cost of the load generator, monitor included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorRecord {
    /// CPU seconds of this process over the load; `None` when the system would not say.
    pub cpu_s: Option<f64>,
    /// Samples that could not be written because the disk was too slow.
    pub samples_dropped: u64,
    /// Polls of the database that began more than half an interval late.
    pub polls_late: u64,
    /// Schedule of an open workload; `None` for a closed one, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleRecord>,
    /// Age of the oldest request that the end of the load cut off, in seconds; `None` when none was
    /// cut off, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off_oldest_s: Option<f64>,
    /// Requests that users gave up after the client timeout; `None` in records of earlier programs, whose error texts tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<u64>,
}

/// Schedule of an open workload, over the requests that were due in the steady phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRecord {
    /// Requests that began.
    pub started: u64,
    /// Requests that could not, because the most were in flight: no latency tells of them.
    pub not_started: u64,
    /// Delay of their begin against the plan, which is in their latency: 99th percentile; `None` when none began.
    pub lag_p99_ms: Option<f64>,
    /// The longest.
    pub lag_max_ms: Option<f64>,
}

/// Achievement and cost of the monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MonitorRecord {
    /// Duration of monitoring, in seconds.
    pub watched_s: f64,
    /// Of it, time without a connection.
    pub unwatched_s: f64,
    /// Pulses that gave a sample, those among them that the rows gave.
    pub pulses: u64,
    /// Their rate over the time watched; `None` when that was none, and so for the next.
    pub pulse_rate_hz: Option<f64>,
    /// Rate of the rows.
    pub rows_rate_hz: Option<f64>,
    /// 95th percentile of a pulse's duration, seen from here; `None` when there was none, and so for the next.
    pub pulse_p95_ms: Option<f64>,
    /// 95th percentile of the rows' duration.
    pub rows_p95_ms: Option<f64>,
    /// CPU seconds of the monitor's thread, health probes and gauges included; `None` when the system would not say.
    pub client_cpu_s: Option<f64>,
    /// CPU seconds of the server processes that answered it; `None` when they do not run on this machine.
    pub backend_cpu_s: Option<f64>,
    /// Idle-in-transaction episodes that ended, or were open at the end.
    pub episodes: u64,
    /// Those of them that have a line among the samples: the longest.
    #[serde(alias = "episodes_told")]
    pub episodes_recorded: u64,
    /// True if the server counts idle-in-transaction time: PostgreSQL 14 and later.
    pub counts_idle_time: bool,
    /// Connections that were lost.
    pub connections_lost: u32,
    /// Restarts of the server.
    pub server_restarts: u32,
    /// Jumps of a clock.
    pub clock_jumps: u32,
    /// Times that the rate of polls was changed.
    pub pace_changes: u32,
    /// Sessions of the filter that ran a query or began a transaction while it watched, as far as polls saw them; `None` in
    /// records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_with_activity: Option<u64>,
    /// Sessions that were opened to the database meanwhile, by the server's count; `None` before PostgreSQL 14, and in records
    /// of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_opened: Option<u64>,
}
