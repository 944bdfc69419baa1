//! Error rates of the gate on this machine, from trials in which both arms were the same.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::{PairsEnd, Trial};
use crate::gate::Verdict;
use crate::stats::paired::{PairedFinding, Worsening, judge};
use crate::stats::power::{scatter, smallest_ratio};
use crate::stats::proportion::clopper_pearson;
use crate::stats::signed_rank::CoverageInterval;

/// Trials that are drawn from the pairs.
const DRAWS: u32 = 20_000;

const SEED: u64 = 2318;

/// Confidence level of the intervals.
const CONFIDENCE: f64 = 0.95;

/// Count of an error, and the interval of its rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ErrorRate {
    /// It happened so often.
    pub hits: u64,
    pub trials: u64,
    /// Lower end of the Clopper–Pearson interval at 95 %, 0–1.
    pub low: f64,
    pub high: f64,
}

impl ErrorRate {
    /// `None` without a trial.
    fn of(hits: u64, trials: u64) -> Option<Self> {
        let CoverageInterval { low, high, .. } = clopper_pearson(hits, trials, CONFIDENCE)?;
        Some(Self { hits, trials, low, high })
    }

    /// The rate itself, 0–1.
    pub fn value(&self) -> f64 {
        self.hits as f64 / self.trials as f64
    }
}

/// Noise of one rule's figures on this machine while nothing changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleNoise {
    pub rule: String,
    /// Standard deviation of the pairs' log ratios; `None` when a figure was not to be used, or with one pair.
    pub scatter: Option<f64>,
    /// The smallest ratio that the planned pairs would find worse four times of five; `None` as before.
    pub smallest_effect: Option<f64>,
}

/// Error rates and noise of the gate on this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Trials as they were measured, in the order of time: how many of those with a verdict failed. `None` when there was
    /// none.
    pub measured: Option<ErrorRate>,
    /// Complete trials beside them that were inconclusive.
    pub inconclusive: u64,
    /// Trials drawn from the measured pairs, arms swapped at random: how many failed. Its interval is about the drawing
    /// alone, not about the pairs that were never measured. `None` without a pair to draw.
    pub drawn: Option<ErrorRate>,
    /// The noise of each rule.
    pub rules: Vec<RuleNoise>,
    /// Pairs that were measured in all, and whose figures are all to be used.
    pub sound_pairs: usize,
}

/// Calibrates from trials with the same variant in both arms. All have the same rules and the same plan.
pub fn calibrate(trials: &[Trial]) -> Calibration {
    let complete: Vec<&Trial> = trials.iter().filter(|trial| trial.is_complete()).collect();
    let verdicts: Vec<Verdict> = complete.iter().map(|trial| trial.verdict(PairsEnd::AllPairs)).collect();
    let count = |wanted: Verdict| verdicts.iter().filter(|it| **it == wanted).count() as u64;
    let sound = trials.iter().flat_map(|trial| &trial.pairs).filter(|pair| pair.fault().is_none()).cloned().collect();
    let pooled = trials.first().map(|first| Trial { pairs: sound, ..first.clone() });
    let (failed, passed) = (count(Verdict::Failed), count(Verdict::Passed));
    Calibration {
        measured: ErrorRate::of(failed, failed + passed),
        inconclusive: count(Verdict::Inconclusive),
        drawn: pooled.as_ref().and_then(drawn),
        rules: pooled.as_ref().map(noise).unwrap_or_default(),
        sound_pairs: pooled.map_or(0, |it| it.pairs.len()),
    }
}

/// Draws trials of as many pairs as planned, with replacement, and swaps the arms of each with an even chance.
///
/// Failure rate of a rule with differences as large as this machine makes them, when their signs
/// are chance alone. It cannot show that the order of the windows matters; the trials as they were measured can.
fn drawn(pooled: &Trial) -> Option<ErrorRate> {
    let Trial { pairs, plan, .. } = pooled;
    if pairs.is_empty() {
        return None;
    }
    let worsenings = pooled.worsenings();
    let mut random = SmallRng::seed_from_u64(SEED);
    let fails = |_: &u32| {
        let draws: Vec<(usize, f64)> = (0..plan.pairs)
            .map(|_| (random.random_range(0..pairs.len()), if random.random() { 1.0 } else { -1.0 }))
            .collect();
        let redrawn = |it: &Worsening| Worsening {
            differences: draws.iter().map(|(index, sign)| sign * it.differences[*index]).collect(),
            margin: it.margin,
        };
        let judged = judge(&worsenings.iter().map(redrawn).collect::<Vec<_>>(), plan.alpha);
        judged.is_some_and(|all| all.iter().any(|it| it.finding == PairedFinding::Worse))
    };
    ErrorRate::of((0..DRAWS).filter(fails).count() as u64, DRAWS.into())
}

fn noise(pooled: &Trial) -> Vec<RuleNoise> {
    let alpha = pooled.plan.alpha / pooled.rules.len() as f64;
    let of_rule = |(worsening, rule): (Worsening, &super::PairedRule)| {
        let scatter = scatter(&worsening.differences);
        let smallest = scatter.and_then(|it| smallest_ratio(pooled.plan.pairs, it, worsening.margin, alpha));
        RuleNoise { rule: rule.rule().text.clone(), scatter, smallest_effect: smallest.map(|it| rule.ratio(it.ln())) }
    };
    pooled.worsenings().into_iter().zip(&pooled.rules).map(of_rule).collect()
}
