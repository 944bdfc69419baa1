//! Does a candidate do worse than its baseline? Decided from pairs of measured windows.
//!
//! Each pair gives one difference per metric, ln(candidate ÷ baseline). A metric is *worse* when two things hold: the
//! exact signed-rank test is significant (Holm over all metrics), and the Hodges–Lehmann ratio exceeds 1 + δ. It is
//! *unclear* when the ratio exceeds 1 + δ and the test is not significant, and *no worse* otherwise. How often this is
//! wrong is in `docs/GATE-PAIRED.md`; the simulation behind the figures is `src/gate/paired/simulation.rs`.

use super::multiple::holm;
use super::signed_rank::{CoverageInterval, MOST_PAIRS, estimate, interval, p_greater};

/// One metric over all pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Worsening {
    /// The log ratios of candidate to baseline, one of each pair, turned so that up is worse.
    pub differences: Vec<f64>,
    /// ln(1 + δ): a centre up to here is no failure, however significant.
    pub margin: f64,
}

/// Finding on one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairedFinding {
    /// The ratio is within 1 + δ.
    NoWorse,
    /// The ratio is beyond 1 + δ, but chance alone could have made it.
    Unclear,
    /// The ratio is beyond 1 + δ, and chance alone would not have made it.
    Worse,
}

/// Evidence of all pairs on one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedEvidence {
    pub finding: PairedFinding,
    pub pairs: usize,
    /// The exact one-sided p-value.
    pub p_value: f64,
    /// The same after Holm's correction over all metrics of the gate: this is held against α.
    pub p_adjusted: f64,
    /// Hodges–Lehmann estimate of the differences' centre: the logarithm of a ratio, up is worse.
    pub centre: f64,
    /// Its distribution-free interval, with at most α on either side; `None` with too few pairs for that.
    pub interval: Option<CoverageInterval>,
}

/// Judges each metric, so that with a chance of `alpha` at most any of them is called worse by mistake.
///
/// `None` without a metric, without a pair, with more than [`MOST_PAIRS`], or when a difference is not a number.
pub fn judge(metrics: &[Worsening], alpha: f64) -> Option<Vec<PairedEvidence>> {
    let p_values: Vec<f64> = metrics.iter().map(|it| p_greater(&it.differences)).collect::<Option<_>>()?;
    let adjusted = holm(&p_values);
    let judged = metrics.iter().zip(p_values).zip(adjusted).map(|((metric, p_value), p_adjusted)| {
        let centre = estimate(&metric.differences)?;
        Some(PairedEvidence {
            finding: finding(centre > metric.margin, p_adjusted <= alpha),
            pairs: metric.differences.len(),
            p_value,
            p_adjusted,
            centre,
            interval: interval(&metric.differences, alpha),
        })
    });
    judged.collect::<Option<Vec<_>>>().filter(|judged| !judged.is_empty())
}

fn finding(is_large: bool, is_significant: bool) -> PairedFinding {
    match (is_large, is_significant) {
        (false, _) => PairedFinding::NoWorse,
        (true, false) => PairedFinding::Unclear,
        (true, true) => PairedFinding::Worse,
    }
}

/// True if the pairs that are still to come, of `planned` in all, can change what is found of any metric.
///
/// Tried at both ends: all that come point up, further than any before, or all point down. What is found rises with
/// each difference, so what comes of anything else lies between, and to stop here costs no error rate. (Strictly so
/// without ties; a tie to come can move the p-value past α by a pattern or two.)
pub fn is_settled(metrics: &[Worsening], planned: usize, alpha: f64) -> bool {
    let findings = |metrics: &[Worsening]| -> Option<Vec<PairedFinding>> {
        Some(judge(metrics, alpha)?.iter().map(|it| it.finding).collect())
    };
    let with_rest = |direction: f64| -> Option<Vec<PairedFinding>> {
        let completed: Vec<_> = metrics.iter().map(|it| completed(it, planned, direction)).collect();
        findings(&completed)
    };
    findings(metrics).is_some_and(|now| [-1.0, 1.0].iter().all(|end| with_rest(*end).as_ref() == Some(&now)))
}

/// Larger than the logarithm of any ratio that two windows can have.
const BEYOND_ALL: f64 = 1e4;

/// The metric with the pairs that are still to come, each further out than all before.
fn completed(metric: &Worsening, planned: usize, direction: f64) -> Worsening {
    let to_come = planned.saturating_sub(metric.differences.len());
    let further = (1..=to_come).map(|step| direction * BEYOND_ALL * step as f64);
    Worsening { differences: metric.differences.iter().copied().chain(further).collect(), margin: metric.margin }
}

/// The fewest pairs with which any of `metrics` can be worse at this α: 2⁻ᴷ ≤ α ÷ metrics. `None` when not even
/// [`MOST_PAIRS`] can.
///
/// ```
/// use rbac_bench::stats::paired::fewest_pairs;
/// assert_eq!(fewest_pairs(1, 0.01), Some(7));
/// assert_eq!(fewest_pairs(3, 0.01), Some(9));
/// ```
pub fn fewest_pairs(metrics: usize, alpha: f64) -> Option<usize> {
    (1..=MOST_PAIRS).find(|pairs| metrics as f64 * 0.5_f64.powi(i32::try_from(*pairs).unwrap_or(i32::MAX)) <= alpha)
}

#[cfg(test)]
#[path = "paired_tests.rs"]
mod tests;
