//! Limits from healthy runs.
//!
//! The steady phases of healthy runs are cut into windows of one length. The limit of a figure is the largest of its n
//! windows; a new run breaks it when at least two of its first m windows exceed it. As long as windows are exchangeable
//! a healthy run does so with probability m(m−1) / ((n+m)(n+m−1)), whatever the distribution: the two largest of n+m
//! are equally likely to be any two of them.

use super::measure::measure_in;
use super::missing::Missing;
use super::rule::Rule;
use super::{GateRule, Severity, Windows, quality_issues, windows_of};
use crate::compare::Side;
use crate::units::{Count, Span};

/// Learned figures: those whose growth is an incident. By window there are only gauges, and what the load's samples
/// count.
const FIGURES: [&str; 5] = [
    "idle_in_transaction.mean<=0",
    "idle_in_transaction.max<=0",
    "transaction_age.max<=0s",
    "pool_checked_out.max<=0",
    "failure_rate<=0%",
];

/// Windows of a new run that are judged.
const JUDGED: u32 = 3;

/// With fewer healthy windows a limit alarms too often to be of use: with ten, in 3.8 % of healthy runs for each rule.
const FEWEST: usize = 10;

/// Limits, and what they cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Windows for judging them.
    pub windows: Windows,
    pub rules: Vec<LearnedRule>,
    /// Metrics without a limit, because at least one window has no figure of them.
    pub without_limit: Vec<String>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedRule {
    /// As it is written into a scenario.
    pub rule: GateRule,
    /// The largest figure of the healthy windows, in the metric's unit.
    pub largest: f64,
}

impl Learned {
    /// Upper bound of the share of healthy runs that break at least one of the rules.
    #[must_use]
    pub fn false_alarm_rate(&self) -> f64 {
        (self.windows.false_alarm_rate() * self.rules.len() as f64).min(1.0)
    }
}

/// Reasons why nothing can be learned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LearnError {
    #[error("run {number} is not to be learned from: {reason}")]
    Unfit {
        /// Which of the runs, from 1.
        number: usize,
        reason: String,
    },
    #[error(
        "the runs have {found} windows of {length}, at least {FEWEST} are needed: give more or longer runs, or a shorter --window"
    )]
    TooFew { found: usize, length: Span },
}

/// Learns limits from the variants of healthy runs.
///
/// # Errors
/// [`LearnError`] when a run is not healthy or not sound, or there are too few windows.
#[expect(clippy::missing_panics_doc, reason = "the texts of the rules are constants")]
pub fn learn(healthy: &[Side<'_>], length: Span) -> Result<Learned, LearnError> {
    for (index, side) in healthy.iter().enumerate() {
        if let Some(reason) = unfit(*side) {
            return Err(LearnError::Unfit { number: index + 1, reason });
        }
    }
    let spans: Vec<_> = healthy
        .iter()
        .flat_map(|side| windows_of(*side, length.secs()).into_iter().map(move |it| (*side, it)))
        .collect();
    let too_few = LearnError::TooFew { found: spans.len(), length };
    let learned = u32::try_from(spans.len()).ok().filter(|_| spans.len() >= FEWEST).ok_or(too_few)?;
    let windows = Windows { length, learned: Count::of(learned), judged: Count::of(JUDGED) };
    let (mut rules, mut without_limit) = (Vec::new(), Vec::new());
    for text in FIGURES {
        let rule: Rule = text.parse().expect("the texts above are rules");
        let figures: Result<Vec<f64>, Missing> =
            spans.iter().map(|(side, span)| measure_in(&rule, *side, *span)).collect();
        match figures.ok().and_then(|figures| figures.into_iter().max_by(f64::total_cmp)) {
            Some(largest) => rules.push(learned_rule(&rule, largest, windows)),
            None => without_limit.push(rule.name()),
        }
    }
    Ok(Learned { windows, rules, without_limit })
}

/// Reason why a run is none to learn from; `None` when it is.
fn unfit(side: Side<'_>) -> Option<String> {
    if let Some(doubt) = quality_issues(side).first() {
        return Some(doubt.to_string());
    }
    let healthy = side.record.is_healthy(side.measured);
    (!healthy).then(|| "it is not healthy: checkouts timed out, requests failed or replicas were down".to_owned())
}

fn learned_rule(rule: &Rule, largest: f64, windows: Windows) -> LearnedRule {
    let because = format!(
        "above all of {} healthy windows of {}; {:.2} % of healthy runs break this rule",
        windows.learned.get(),
        windows.length,
        windows.false_alarm_rate() * 100.0
    );
    let rule = GateRule {
        rule: rule.text_with_limit(largest),
        severity: Severity::Error,
        because: Some(because),
        variants: Vec::new(),
        windows: Some(windows),
    };
    LearnedRule { rule, largest }
}
