//! The figures of one window, and their logarithms.

use serde::{Deserialize, Serialize};

use super::PairedRule;
use crate::compare::Side;
use crate::gate::{Metric, MetricKind, Missing, Rule, measure, quality_issues};
use crate::units::Unit;

/// Which of the two is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    Baseline,
    Candidate,
}

impl Arm {
    /// The order of the two arms of a pair, by a fair coin: then, when nothing is worse, each sign pattern is as likely
    /// as any other by design, whatever the machine does meanwhile.
    pub const fn in_drawn_order(coin: bool) -> [Self; 2] {
        if coin { [Self::Baseline, Self::Candidate] } else { [Self::Candidate, Self::Baseline] }
    }

    /// `baseline`, `candidate`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowFigure {
    /// In the metric's unit.
    pub value: f64,
    /// The logarithm that is compared; see [`WindowFigure::of_count`] and its sisters for what was added before.
    pub log: f64,
}

/// Added to a count: half of one, so that none has a logarithm and hardly any differences are none.
const HALF: f64 = 0.5;

/// Added to an age, in seconds: what a poll of the database takes, and less than anybody would call a long transaction.
const POLL_S: f64 = 1e-3;

impl WindowFigure {
    /// A number of things, whole or a mean: ln(x + ½).
    pub fn of_count(value: f64) -> Self {
        Self { value, log: (value + HALF).ln() }
    }

    /// An age in seconds: ln(x + 1 ms).
    pub fn of_age(value: f64) -> Self {
        Self { value, log: (value + POLL_S).ln() }
    }

    /// A share of `of` things: ln((n + ½) ÷ (of + 1)).
    pub fn of_share(value: f64, of: f64) -> Self {
        Self { value, log: (value.mul_add(of, HALF) / (of + 1.0)).ln() }
    }

    /// A rate over `seconds`: ln((n + ½) ÷ seconds).
    pub fn of_rate(value: f64, seconds: f64) -> Self {
        Self { value, log: (value + HALF / seconds).ln() }
    }

    /// A latency in milliseconds, which the histogram keeps at 1 µs at least.
    pub fn of_latency(value: f64) -> Self {
        Self { value, log: value.ln() }
    }
}

/// The figures of one window, in the order of the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WindowFigures(Vec<FigureJson>);

/// A figure, or why it is not to be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum FigureJson {
    Read {
        #[serde(flatten)]
        reading: WindowFigure,
        /// Reason why it is no evidence that a candidate is good, such as requests that failed; worse it may be all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caveat: Option<String>,
    },
    Faulty {
        fault: String,
    },
}

impl WindowFigures {
    /// The figures that `rules` ask for, from a window's own record.
    pub fn of(rules: &[PairedRule], side: Side<'_>, arm: Arm) -> Self {
        let issues = quality_issues(side);
        let figure = |rule: &PairedRule| {
            let allowed_ratio = rule.allowed_ratio();
            let rule = rule.rule();
            let concerning = || issues.iter().filter(|issue| issue.concerns(rule));
            // A candidate that answers nothing, or only errors, is no fault of the instrument.
            let fault = concerning().find(|issue| match arm {
                Arm::Baseline => issue.voids_baseline(rule),
                Arm::Candidate => issue.spares_failures(),
            });
            match (fault, reading(rule, side)) {
                (Some(issue), _) => FigureJson::Faulty { fault: issue.to_string() },
                (None, Err(missing)) => FigureJson::Faulty { fault: missing.to_string() },
                // A share ends at 1: a limit that no candidate can exceed proves nothing.
                (None, Ok(reading)) if arm == Arm::Baseline && is_beyond_all(rule, reading.value * allowed_ratio) => {
                    let fault = "the limit would be 100 % or more, which no candidate can exceed".to_owned();
                    FigureJson::Faulty { fault }
                }
                (None, Ok(reading)) => {
                    FigureJson::Read { reading, caveat: concerning().next().map(ToString::to_string) }
                }
            }
        };
        Self(rules.iter().map(figure).collect())
    }

    /// Figures that were read before.
    pub fn from_readings(readings: Vec<WindowFigure>) -> Self {
        Self(readings.into_iter().map(|reading| FigureJson::Read { reading, caveat: None }).collect())
    }

    /// The figure of a rule, or why it is not to be used.
    pub(super) fn reading(&self, rule: usize) -> Result<WindowFigure, &str> {
        match self.0.get(rule) {
            Some(FigureJson::Read { reading, .. }) if reading.log.is_finite() => Ok(*reading),
            Some(FigureJson::Read { .. }) => Err("the figure has no logarithm"),
            Some(FigureJson::Faulty { fault }) => Err(fault),
            None => Err("the figure was not recorded"),
        }
    }

    /// Reason why the figure of a rule is no evidence that a candidate is good; `None` when it is.
    pub(super) fn caveat(&self, rule: usize) -> Option<&str> {
        match self.0.get(rule)? {
            FigureJson::Read { caveat, .. } => caveat.as_deref(),
            FigureJson::Faulty { .. } => None,
        }
    }

    /// The first reason why a figure is not to be used; `None` when all are.
    pub fn fault(&self) -> Option<&str> {
        (0..self.0.len()).find_map(|rule| self.reading(rule).err())
    }
}

/// True if a limit is beyond every value of its metric.
pub(super) fn is_beyond_all(rule: &Rule, limit: f64) -> bool {
    rule.metric.unit() == Unit::Ratio && rule.op.is_upper_bound() && limit >= 1.0
}

fn reading(rule: &Rule, side: Side<'_>) -> Result<WindowFigure, Missing> {
    let value = measure(rule, side)?;
    let phases = side.measured.phases;
    let finished = Rule { metric: Metric::Requests, aggregate: None, ..rule.clone() };
    Ok(match (rule.metric.unit(), rule.metric.kind()) {
        (Unit::Ratio, _) => WindowFigure::of_share(value, measure(&finished, side)?),
        (Unit::PerSecond, _) => WindowFigure::of_rate(value, phases.steady_to_s - phases.steady_from_s),
        (Unit::Seconds, MetricKind::Gauge) => WindowFigure::of_age(value),
        (Unit::Milliseconds | Unit::Seconds, _) => WindowFigure::of_latency(value),
        (Unit::Count | Unit::SessionSeconds, _) => WindowFigure::of_count(value),
    })
}
