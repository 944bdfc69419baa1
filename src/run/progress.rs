//! Progress of a run.

use crate::record::scan::{ScanRoute, ScanVerdict};
use crate::scenario::VariantName;

pub trait Progress: Send + Sync {
    /// Shows where the run is; called about once a second, and whenever the stage changes.
    fn show(&self, update: &Update);

    /// Tells which routes a scan would name by what it has seen in a round, and did not name before; none when all of them
    /// are fine.
    fn so_far(&self, _variant: VariantName, _named: &[ScanRoute]) {}

    /// Shows the routes of a scan, in the scenario's order; called after each turn.
    fn routes(&self, _variant: VariantName, _routes: &[RouteProgress]) {}
}

/// A route of a scan that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteProgress {
    pub route: String,
    pub verdict: ScanVerdict,
    /// True if more requests of it alone would not change that.
    pub is_settled: bool,
    /// Seconds held per request; `None` when it is not known yet.
    pub held_s: Option<f64>,
    /// Requests alone that were judged, and how many there will be at most.
    pub requests: u64,
    pub most: u64,
}

/// Progress of a run.
#[derive(Clone, Debug)]
pub struct Update {
    pub variant: VariantName,
    pub stage: RunStage,
    /// Seconds since its load began, and seconds that the load will take.
    pub elapsed_s: f64,
    /// Seconds that ramp and steady phase take together.
    pub total_s: f64,
    /// Estimated seconds to the end, of what has no set duration; in place of `total_s`.
    pub left_s: Option<f64>,
    /// The figures, once there is a load.
    pub live: Option<Live>,
    /// Detail, where the stage does not say all.
    pub detail: Option<String>,
}

/// A part of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStage {
    /// PostgreSQL, backend and replicas are starting.
    Starting,
    RampUp,
    Steady,
    /// A scan asks for each route for the first time.
    Warmup,
    /// A scan asks for each route alone.
    Isolation,
    /// A scan asks for all routes together.
    Concurrent,
    /// A scan hangs up on requests.
    HangUp,
    /// The load has ended, requests are still being worked on.
    Draining,
    /// Everything is being stopped.
    Stopping,
}

impl RunStage {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::RampUp => "ramp",
            Self::Steady => "steady",
            Self::Warmup => "warmup",
            Self::Isolation => "isolation",
            Self::Concurrent => "concurrent",
            Self::HangUp => "hang-up",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// Figures of this moment. `None` has not been seen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    /// Users that have started and do not rest; of an open workload, those with a request in flight.
    pub users: u32,
    /// Requests that finished in the last second or so, a second.
    pub rps: f64,
    /// Requests that failed since the load began.
    pub failed: u64,
    /// Sessions idle in transaction.
    pub idle_in_transaction: Option<u32>,
    /// Age of the oldest transaction in seconds; 0 when there is none.
    pub oldest_transaction_s: Option<f64>,
    /// Connections out of the pools.
    pub checked_out: Option<u32>,
    /// Replicas that the health probe calls up.
    pub replicas_up: Option<u32>,
}
