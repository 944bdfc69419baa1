//! Which route holds a session: from polls of the sessions, while each route is asked for alone, to a verdict.
//!
//! Pure. [`design`] says what is asked for when; [`observation`] is what came of it; [`tally`] adds up what the sessions did for
//! each batch of requests; [`estimate`] makes seconds per request of that; [`verdict`] judges; [`traffic`] says how much it
//! harms; [`report`] puts all of it into the record. Who asks and polls is `run::scan`. `docs/SCAN.md` says how exact
//! it is.

pub mod design;
pub mod estimate;
mod mix;
pub mod observation;
pub mod report;
#[cfg(test)]
mod simulated_tests;
pub mod tally;
pub mod traffic;
pub mod verdict;

use crate::record::scan::ScanThresholds;

/// Thresholds of a verdict.
pub const THRESHOLDS: ScanThresholds = ScanThresholds { pause_s: 0.01, held_s: 0.02, left_behind_after_s: 2.0 };
