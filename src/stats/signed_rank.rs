//! Wilcoxon's signed-rank test, exactly, with the estimate and the interval that belong to it.
//!
//! The question: do paired differences lie above zero? Under "no difference" each of them could as well have had the
//! other sign, so that all 2ᴷ sign patterns are equally likely, whatever the differences' distribution; the p-value is
//! the share of patterns whose rank sum reaches the one that was seen. Nothing is approximated: the distribution of the
//! rank sum is counted out.
//!
//! *Ties* share their mid-rank, and the distribution is counted for those very ranks. *Zeros* are ranked with the
//! others and then bear no sign (Pratt, 1959): a difference of zero speaks for "no difference", and dropping it before
//! ranking, as Wilcoxon did, can turn a result that is not significant into one that is.

/// The most differences that are taken: 2⁶⁰ patterns still fit the counters.
pub const MOST_PAIRS: usize = 60;

/// An interval that covers the true value at least this often, whatever the distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoverageInterval {
    pub low: f64,
    pub high: f64,
    /// Share of such intervals that cover the true value, 0–1.
    pub confidence: f64,
}

/// The exact one-sided p-value: how often rank sums as large as this one come about when nothing is above zero.
///
/// `None` for no difference at all, for more than [`MOST_PAIRS`], and when one is not a number.
///
/// ```
/// use rbac_bench::stats::signed_rank::p_greater;
/// // Seven pairs that all point up: one pattern of 128.
/// assert_eq!(p_greater(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), Some(1.0 / 128.0));
/// ```
pub fn p_greater(differences: &[f64]) -> Option<f64> {
    if !is_usable(differences) {
        return None;
    }
    let ranks = doubled_ranks(differences);
    let signed = || differences.iter().zip(&ranks).filter(|(difference, _)| **difference != 0.0);
    let seen: usize = signed().filter(|(difference, _)| **difference > 0.0).map(|(_, rank)| rank).sum();
    let distribution = patterns_by_sum(signed().map(|(_, rank)| *rank));
    let reaching: u64 = distribution[seen..].iter().sum();
    let all: u64 = distribution.iter().sum();
    Some(reaching as f64 / all as f64)
}

fn is_usable(differences: &[f64]) -> bool {
    (1..=MOST_PAIRS).contains(&differences.len()) && differences.iter().all(|it| it.is_finite())
}

/// Twice the mid-rank of each absolute difference, zeros included: doubled, mid-ranks are whole numbers.
fn doubled_ranks(differences: &[f64]) -> Vec<usize> {
    let rank = |size: f64| {
        let below = differences.iter().filter(|it| it.abs() < size).count();
        let same = differences.iter().filter(|it| it.abs().total_cmp(&size).is_eq()).count();
        // The mean of below + 1 … below + same, times two.
        2 * below + same + 1
    };
    differences.iter().map(|it| rank(it.abs())).collect()
}

/// Number of sign patterns for each sum of positive ranks; the index is the sum.
fn patterns_by_sum(ranks: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut patterns = vec![1];
    for rank in ranks {
        let mut longer = patterns.clone();
        longer.resize(patterns.len() + rank, 0);
        for (sum, count) in patterns.iter().enumerate() {
            longer[sum + rank] += count;
        }
        patterns = longer;
    }
    patterns
}

/// All means of two differences, each with itself included (the Walsh averages), ascending.
pub fn walsh_averages(differences: &[f64]) -> Vec<f64> {
    let mut averages = Vec::with_capacity(differences.len() * (differences.len() + 1) / 2);
    for (index, a) in differences.iter().enumerate() {
        averages.extend(differences[index..].iter().map(|b| f64::midpoint(*a, *b)));
    }
    averages.sort_by(f64::total_cmp);
    averages
}

/// The Hodges–Lehmann estimate of the differences' centre: the median of their Walsh averages. `None` as for
/// [`p_greater`].
pub fn estimate(differences: &[f64]) -> Option<f64> {
    is_usable(differences).then(|| median_of_sorted(&walsh_averages(differences)))
}

fn median_of_sorted(values: &[f64]) -> f64 {
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// The interval of Walsh averages (Tukey) that misses the centre on either side with at most probability `tail`.
///
/// Distribution-free, and exact without ties; with ties it covers at least as often. `None` as for [`p_greater`], and
/// when there are too few differences for so small a tail: K of them leave out at least 2⁻ᴷ.
pub fn interval(differences: &[f64], tail: f64) -> Option<CoverageInterval> {
    if !is_usable(differences) {
        return None;
    }
    let (left_out, missed) = left_out(differences.len(), tail)?;
    let averages = walsh_averages(differences);
    let (low, high) = (averages[left_out], averages[averages.len() - 1 - left_out]);
    Some(CoverageInterval { low, high, confidence: 1.0 - 2.0 * missed })
}

/// Number of the smallest Walsh averages of `pairs` differences that lie below an interval with this tail, and how often
/// the centre lies below it, too. `None` when even the smallest belongs to it.
pub(super) fn left_out(pairs: usize, tail: f64) -> Option<(usize, f64)> {
    let distribution = patterns_by_sum(1..=pairs);
    let all: u64 = distribution.iter().sum();
    let mut below = 0;
    let mut found = None;
    for (sum, count) in distribution.iter().enumerate() {
        below += count;
        let missed = below as f64 / all as f64;
        if missed > tail {
            break;
        }
        found = Some((sum, missed));
    }
    found
}

#[cfg(test)]
#[path = "signed_rank_tests.rs"]
mod tests;
