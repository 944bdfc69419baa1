//! A gate judged on pairs of windows: baseline and candidate, measured in turn on one machine.
//!
//! Pure. A [`Trial`] takes the figures of one pair after the other, says when nothing can change its verdict any more,
//! and gives the report. Measuring is the business of the module `paired` at the top; the statistics are in
//! [`crate::stats::paired`]. How often a verdict is wrong is in `docs/GATE-PAIRED.md`.

pub mod calibration;
mod figures;
mod outcome;
mod rules;
#[cfg(test)]
mod simulation;

use serde::{Deserialize, Serialize};

use super::{GateReport, ParsedRule, Verdict};
use crate::stats::paired::{Worsening, fewest_pairs, is_settled};
use crate::stats::signed_rank::MOST_PAIRS;

pub use figures::{Arm, WindowFigure, WindowFigures};
pub use rules::{DEFAULT_RULES, PairedRule, PairedRuleError};

/// Number of pairs, and the error rate to keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairPlan {
    pub pairs: usize,
    /// α: how often a gate may fail though nothing is worse, 0–1.
    pub alpha: f64,
}

/// Reasons why a plan is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error(
        "{pairs} pairs can never fail {rules} rules at α = {} %: at least {fewest} are needed, so that 2^-pairs ≤ α ÷ rules",
        alpha * 100.0
    )]
    TooFewPairs { pairs: usize, rules: usize, alpha: f64, fewest: usize },
    #[error("{pairs} pairs are too many: expected at most {MOST_PAIRS}")]
    TooManyPairs { pairs: usize },
    #[error("α is {} %: expected above 0 %, at most 50 %", alpha * 100.0)]
    Alpha { alpha: f64 },
    #[error("there is no rule to judge")]
    NoRules,
}

impl PairPlan {
    /// The plan, if any of `rules` rules can fail by it.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn checked(self, rules: usize) -> Result<Self, PlanError> {
        let Self { pairs, alpha } = self;
        if rules == 0 {
            return Err(PlanError::NoRules);
        }
        if !(alpha > 0.0 && alpha <= 0.5) {
            return Err(PlanError::Alpha { alpha });
        }
        if pairs > MOST_PAIRS {
            return Err(PlanError::TooManyPairs { pairs });
        }
        match fewest_pairs(rules, alpha) {
            Some(fewest) if fewest <= pairs => Ok(self),
            fewest => Err(PlanError::TooFewPairs { pairs, rules, alpha, fewest: fewest.unwrap_or(MOST_PAIRS + 1) }),
        }
    }
}

/// One pair of windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The baseline's figures, in the order of the rules.
    pub baseline: WindowFigures,
    /// The candidate's, in the same order.
    pub candidate: WindowFigures,
}

impl Pair {
    /// The first reason why a figure of it is not to be used; `None` when all are.
    pub fn fault(&self) -> Option<&str> {
        self.baseline.fault().or_else(|| self.candidate.fault())
    }
}

/// Reason why no more pairs were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairsEnd {
    /// All that were planned have been.
    AllPairs,
    /// The rest could not change the verdict.
    Settled,
    /// The longest duration was reached.
    OutOfTime,
    Interrupted,
}

/// A paired gate at work.
#[derive(Clone, Debug)]
pub struct Trial {
    rules: Vec<PairedRule>,
    plan: PairPlan,
    pairs: Vec<Pair>,
}

impl Trial {
    /// A trial of these rules.
    ///
    /// # Errors
    /// [`PlanError`] when no rule could ever fail.
    pub fn new(rules: Vec<PairedRule>, plan: PairPlan) -> Result<Self, PlanError> {
        let plan = plan.checked(rules.len())?;
        Ok(Self { rules, plan, pairs: Vec::new() })
    }

    /// The rules, in the order of all figures.
    pub fn rules(&self) -> &[PairedRule] {
        &self.rules
    }

    pub fn plan(&self) -> PairPlan {
        self.plan
    }

    /// The pairs so far.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// candidate ÷ baseline of one pair, for each rule, as it is compared; `None` where a figure is not to be used.
    pub fn ratios(&self, pair: &Pair) -> Vec<Option<f64>> {
        let ratio = |(index, rule): (usize, &PairedRule)| Some(rule.ratio(difference(rule, index, pair)?));
        self.rules.iter().enumerate().map(ratio).collect()
    }

    /// Takes the next pair.
    pub fn push(&mut self, pair: Pair) {
        self.pairs.push(pair);
    }

    /// True if all planned pairs are there.
    pub fn is_complete(&self) -> bool {
        self.pairs.len() >= self.plan.pairs
    }

    /// True if the pairs that are still to come can change no rule's verdict.
    pub fn is_settled(&self) -> bool {
        is_settled(&self.worsenings(), self.plan.pairs, self.plan.alpha)
    }

    /// The verdict on what was measured, with its reasons.
    pub fn report(&self, ended: PairsEnd) -> GateReport {
        outcome::report(self, ended)
    }

    /// The verdict alone, which is much quicker to have.
    pub fn verdict(&self, ended: PairsEnd) -> Verdict {
        outcome::verdict(self, ended)
    }

    /// Test of each rule's pairs. A rule with a figure that is not to be used is without a say, and takes its share of
    /// α all the same.
    fn worsenings(&self) -> Vec<Worsening> {
        let of_rule = |(index, rule): (usize, &PairedRule)| {
            let differences: Option<Vec<f64>> = self.pairs.iter().map(|pair| difference(rule, index, pair)).collect();
            Worsening { differences: differences.unwrap_or_else(|| vec![0.0; self.pairs.len()]), margin: rule.margin() }
        };
        self.rules.iter().enumerate().map(of_rule).collect()
    }

    /// The first reason why a figure of a rule is not to be used, and the number of its pair, counted from 1.
    fn fault(&self, rule: usize) -> Option<(usize, &str)> {
        self.pairs.iter().enumerate().find_map(|(index, pair)| {
            let fault = pair.baseline.reading(rule).and(pair.candidate.reading(rule)).err()?;
            Some((index + 1, fault))
        })
    }

    /// The first reason why the candidate's figures of a rule do not show that it is good, and the number of its pair.
    fn caveat(&self, rule: usize) -> Option<(usize, &str)> {
        self.pairs.iter().enumerate().find_map(|(index, pair)| Some((index + 1, pair.candidate.caveat(rule)?)))
    }
}

/// Worsening of the candidate in one pair; `None` without a figure.
fn difference(rule: &PairedRule, index: usize, pair: &Pair) -> Option<f64> {
    let (baseline, candidate) = (pair.baseline.reading(index).ok()?, pair.candidate.reading(index).ok()?);
    Some(rule.worse_by(candidate.log - baseline.log))
}

/// Rules of the command line or of a scenario, each of which must be one that pairs can judge.
///
/// # Errors
/// [`PairedRuleError`].
pub fn paired_rules(asked: Vec<ParsedRule>) -> Result<Vec<PairedRule>, PairedRuleError> {
    asked.into_iter().map(PairedRule::new).collect()
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
