//! Is it good enough? Rules, judged on what was recorded.
//!
//! Pure: a record and its samples in, a [`GateReport`] out. Data that are missing, or that the instrument itself does
//! not vouch for, make a rule inconclusive; they never make it pass.

mod hold;
mod judge;
mod learn;
mod measure;
mod missing;
mod outcome;
pub mod paired;
mod pool_wait;
mod quality;
mod rule;
mod time_slice;

pub use crate::scenario::gate::{GateRule, Severity, Windows};
pub use judge::{Baseline, ParsedRule, ReadBack, Trust, judge, nothing_measured, routes, windows_of};
pub use learn::{LearnError, Learned, LearnedRule, learn};
pub use measure::{gauge, measure, measure_in};
pub use missing::Missing;
pub use outcome::{GateReport, Paired, RatioEstimate, RuleOutcome, Verdict};
pub use quality::{QualityIssue, quality_issues};
pub use rule::{Aggregate, Limit, Metric, MetricKind, Op, Rule, RuleError, RuleFault};
pub use time_slice::TimeSlice;
