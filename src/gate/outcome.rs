//! Outcome of a gate.

use serde::Serialize;

use super::Severity;
use crate::scenario::VariantName;
use crate::units::Unit;

/// Verdict on a rule, or of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// The measurement does not suffice.
    Inconclusive,
}

impl Verdict {
    /// `passed`, `failed`, `inconclusive`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Outcome of one rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleOutcome {
    /// The rule as it was written.
    pub rule: String,
    /// The variant that was judged; `None` where two are judged against each other.
    pub variant: Option<VariantName>,
    pub verdict: Verdict,
    /// Effect of a broken rule. A rule against a baseline that is only advisory is a warning, whatever was asked for.
    pub severity: Severity,
    /// The figure, in `unit`; `None` when it could not be had.
    pub measured: Option<f64>,
    /// The limit, in `unit`; `None` when it depends on a baseline that could not be had.
    pub limit: Option<f64>,
    /// In what both are counted.
    pub unit: Unit,
    /// Reason why it is inconclusive, or something else to be known about the verdict.
    pub reason: Option<String>,
    /// Reason for the rule, in the words of its author.
    pub because: Option<String>,
    /// The statistics of a paired rule.
    #[serde(flatten)]
    pub paired: Option<Paired>,
}

impl RuleOutcome {
    /// True if it makes the gate fail.
    pub fn fails_the_gate(&self) -> bool {
        self.verdict == Verdict::Failed && self.severity == Severity::Error
    }
}

/// The statistics of a rule that was judged on pairs of windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// One-sided p of the exact signed-rank test, adjusted by Holm's method for all rules of the gate; `None` with too
    /// few pairs.
    pub p_value: Option<f64>,
    pub ratio: Option<RatioEstimate>,
    /// Pairs of windows that were measured.
    pub pairs: usize,
    /// The smallest ratio that the planned pairs find four times of five, or the measured ones where the time was over;
    /// `None` when unknown.
    pub smallest_effect: Option<f64>,
    /// Measurement that would settle an inconclusive rule.
    pub would_settle: Option<String>,
}

/// A ratio and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RatioEstimate {
    /// The Hodges–Lehmann estimate.
    pub value: f64,
    /// Lower end; `None` with too few pairs for an interval.
    pub low: Option<f64>,
    /// Upper end; `None` as before.
    pub high: Option<f64>,
}

/// Outcome of a gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateReport {
    /// Failed when a rule of severity `error` is broken; else inconclusive when one could not be judged, or none could;
    /// else passed.
    pub verdict: Verdict,
    /// Each rule, in the order in which it was asked.
    pub rules: Vec<RuleOutcome>,
}

impl GateReport {
    /// The verdict over all rules. A gate without any judged rule has shown nothing.
    pub fn of(rules: Vec<RuleOutcome>) -> Self {
        let unsettled = |rule: &RuleOutcome| rule.verdict == Verdict::Inconclusive;
        let verdict = if rules.iter().any(RuleOutcome::fails_the_gate) {
            Verdict::Failed
        } else if rules.iter().all(unsettled)
            || rules.iter().any(|rule| unsettled(rule) && rule.severity == Severity::Error)
        {
            Verdict::Inconclusive
        } else {
            Verdict::Passed
        };
        Self { verdict, rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(verdict: Verdict, severity: Severity) -> RuleOutcome {
        RuleOutcome {
            rule: "pool_timeouts==0".to_owned(),
            variant: None,
            verdict,
            severity,
            measured: None,
            limit: Some(0.0),
            unit: Unit::Count,
            reason: None,
            because: None,
            paired: None,
        }
    }

    fn verdict(rules: &[(Verdict, Severity)]) -> Verdict {
        GateReport::of(rules.iter().map(|(verdict, severity)| outcome(*verdict, *severity)).collect()).verdict
    }

    #[test]
    fn a_gate_that_judged_nothing_has_not_passed() {
        assert_eq!(verdict(&[]), Verdict::Inconclusive);
        assert_eq!(verdict(&[(Verdict::Inconclusive, Severity::Warn)]), Verdict::Inconclusive);
    }

    #[test]
    fn a_warning_never_fails_a_gate_and_a_failure_wins_over_what_is_unsettled() {
        use Severity::{Error, Warn};
        use Verdict::{Failed, Inconclusive, Passed};
        assert_eq!(verdict(&[(Failed, Warn), (Passed, Error)]), Passed);
        assert_eq!(verdict(&[(Failed, Warn)]), Passed);
        assert_eq!(verdict(&[(Inconclusive, Error), (Passed, Error)]), Inconclusive);
        assert_eq!(verdict(&[(Inconclusive, Error), (Failed, Error)]), Failed);
    }

    proptest! {
        #[test]
        fn the_order_of_rules_does_not_matter(mut rules in prop::collection::vec((0..3usize, any::<bool>()), 0..8)) {
            let read = |rules: &[(usize, bool)]| -> Vec<(Verdict, Severity)> {
                let verdicts = [Verdict::Passed, Verdict::Failed, Verdict::Inconclusive];
                rules.iter().map(|(v, s)| (verdicts[*v], if *s { Severity::Warn } else { Severity::Error })).collect()
            };
            let before = verdict(&read(&rules));
            rules.reverse();
            prop_assert_eq!(verdict(&read(&rules)), before);
        }
    }
}
