//! Which rules pairs can judge.

use crate::gate::{Aggregate, Limit, Metric, Op, ParsedRule, Rule};

/// Default rules: the two signs of a held session, and the latency that users feel of it.
pub const DEFAULT_RULES: [&str; 3] = [
    "idle_in_transaction.mean<=+10% vs baseline",
    "transaction_age.p50<=+10% vs baseline",
    "latency.p95<=+10% vs baseline",
];

/// Reasons why a rule cannot be judged on pairs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PairedRuleError {
    #[error("`{rule}` is about one run alone: a paired gate judges rules such as `{}`", DEFAULT_RULES[0])]
    Absolute { rule: String },
    #[error("`{rule}` compares for equality, which two windows never have: use `<=` or `>=`")]
    Equality { rule: String },
    #[error("`{rule}` wants the candidate to be better: a paired gate shows that it is not worse, expected {allowed}")]
    Improvement {
        rule: String,
        /// Which changes make sense.
        allowed: &'static str,
    },
    #[error("`{rule}` is about a scan, and a paired gate loads: use rules such as `{}`", DEFAULT_RULES[0])]
    Scan { rule: String },
    #[error("`{rule}`: the {aggregate} of a window is one sample of many, which pairs judge badly: use {instead}")]
    OneSample { rule: String, aggregate: Aggregate, instead: &'static str },
}

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worse {
    Up,
    Down,
}

/// A rule that pairs can judge.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedRule {
    asked: ParsedRule,
    worse: Worse,
    /// 0.10 for `<=+10%`, −0.10 for `>=-10%`.
    change: f64,
}

impl PairedRule {
    /// The rule, if pairs can judge it.
    ///
    /// # Errors
    /// [`PairedRuleError`].
    pub fn new(asked: ParsedRule) -> Result<Self, PairedRuleError> {
        let rule = asked.rule.text.clone();
        if asked.rule.metric == Metric::Hold {
            return Err(PairedRuleError::Scan { rule });
        }
        let Limit::Relative { change } = asked.rule.limit else { return Err(PairedRuleError::Absolute { rule }) };
        let worse = match asked.rule.op {
            Op::Less | Op::AtMost if change >= 0.0 => Worse::Up,
            Op::More | Op::AtLeast if change <= 0.0 && change > -1.0 => Worse::Down,
            Op::Less | Op::AtMost => {
                return Err(PairedRuleError::Improvement { rule, allowed: "`<=` with +0% or more" });
            }
            Op::More | Op::AtLeast => {
                return Err(PairedRuleError::Improvement { rule, allowed: "`>=` with -0% or less, above -100%" });
            }
            Op::Equal | Op::Unequal => return Err(PairedRuleError::Equality { rule }),
        };
        if let Some(aggregate @ (Aggregate::Max | Aggregate::Min | Aggregate::Last)) = asked.rule.aggregate {
            return Err(PairedRuleError::OneSample { rule, aggregate, instead: "`mean`, `p50` or `p95`" });
        }
        Ok(Self { asked, worse, change })
    }

    /// The rule as it was asked.
    pub fn asked(&self) -> &ParsedRule {
        &self.asked
    }

    /// The rule itself.
    pub fn rule(&self) -> &Rule {
        &self.asked.rule
    }

    /// Tolerated centre of the differences, as a logarithm.
    pub(super) fn margin(&self) -> f64 {
        self.worse_by(self.change.ln_1p())
    }

    /// candidate ÷ baseline up to (or down to) which the rule holds.
    pub(super) fn allowed_ratio(&self) -> f64 {
        1.0 + self.change
    }

    /// Worsening from a difference.
    pub(super) fn worse_by(&self, more_by: f64) -> f64 {
        match self.worse {
            Worse::Up => more_by,
            Worse::Down => -more_by,
        }
    }

    /// candidate ÷ baseline, from how much worse.
    pub(super) fn ratio(&self, worse_by: f64) -> f64 {
        match self.worse {
            Worse::Up => worse_by.exp(),
            Worse::Down => (-worse_by).exp(),
        }
    }
}
