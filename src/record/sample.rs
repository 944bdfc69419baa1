//! One line of `samples.ndjson`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scenario::VariantName;

/// A sample, and when it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// The variant that was running.
    pub variant: VariantName,
    /// Seconds since this variant's load began: the real time of the sample, not of the tick that asked for it.
    pub at_s: f64,
    /// What was seen.
    #[serde(flatten)]
    pub sample: Sample,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sample {
    /// PostgreSQL's sessions, at each poll.
    Activity(ActivitySample),
    /// The idle-in-transaction sessions in detail, once a second.
    Breakdown(BreakdownSample),
    /// The pools of a replica, once a second.
    Pools(PoolSample),
    /// One probe of a replica.
    Health(HealthSample),
    /// The load, at each poll.
    Load(LoadSample),
    /// Something happened.
    Event(Event),
}

/// Sessions of the database under test, from `pg_stat_activity`, client backends other than our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivitySample {
    /// All of them.
    pub sessions: u32,
    /// State `active`.
    pub active: u32,
    /// State `idle`.
    pub idle: u32,
    /// State `idle in transaction`.
    pub idle_in_transaction: u32,
    /// State `idle in transaction (aborted)`.
    pub idle_in_transaction_aborted: u32,
    /// Sessions that wait for a heavyweight lock.
    pub waiting_for_lock: u32,
    /// Age of the oldest transaction in seconds, aborted ones by `state_change`; `None` when there is none.
    pub oldest_transaction_s: Option<f64>,
    /// How long the poll took, seen from here, in milliseconds.
    pub poll_ms: f64,
}

impl ActivitySample {
    /// Sessions idle in a transaction, aborted or not.
    pub fn idle_in_transaction_total(&self) -> u32 {
        self.idle_in_transaction + self.idle_in_transaction_aborted
    }
}

/// Who is idle in transaction, most sessions first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakdownSample {
    /// Sessions grouped by their last statement and application.
    pub groups: Vec<HoldGroup>,
}

/// Sessions idle in transaction with one last statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldGroup {
    /// The last statement, as the server keeps it.
    pub statement: String,
    /// `application_name`, up to its first `/`: the replica.
    pub application_name: String,
    /// How many.
    pub sessions: u32,
    /// Age of the oldest of them in seconds.
    pub oldest_s: f64,
}

/// The pools of one replica, summed over its workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSample {
    /// The replica, counted from 1.
    pub replica: u32,
    /// Connections out; `None` when the gauges did not answer, and so for the rest.
    pub checked_out: Option<u32>,
    /// Checkouts that wait.
    pub pending: Option<u32>,
    /// Checkouts that have given up since the replica started.
    pub timeouts: Option<u64>,
    /// Workers whose event loop has not taken its turn for a second.
    pub stalled_workers: Option<u32>,
    /// Errors raised since the replica started, by text.
    pub errors: BTreeMap<String, u64>,
}

/// One probe of one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthSample {
    /// The replica, counted from 1.
    pub replica: u32,
    /// Whether the replica counts as up, this probe included.
    pub up: bool,
    /// What was wrong with this probe; `None` when it was good.
    pub error: Option<String>,
}

/// The load at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// Users that have started.
    pub users: u32,
    /// Requests finished since the load began.
    pub finished: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Requests in flight by route; routes with none are left out.
    pub in_flight: BTreeMap<String, u32>,
    /// Latencies of the requests that finished since the last sample that has them: once a second, and never when none
    /// finished.
    #[serde(flatten)]
    pub latency: Option<WindowLatency>,
}

/// Latencies of the requests that finished within a second or so, failed ones included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowLatency {
    /// Their median.
    pub latency_p50_ms: f64,
    /// Their 95th percentile.
    pub latency_p95_ms: f64,
    /// Their 99th percentile.
    pub latency_p99_ms: f64,
}

/// Something that happened at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The health probe calls a replica down.
    ReplicaDown {
        /// Counted from 1.
        replica: u32,
    },
    /// The health probe calls it up again.
    ReplicaUp {
        /// Counted from 1.
        replica: u32,
    },
    /// A poll of the database failed: there is a gap in the samples.
    PollFailed {
        /// Why.
        error: String,
    },
}
