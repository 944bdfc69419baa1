//! Interval of a counted rate.

use statrs::distribution::{Beta, ContinuousCDF};

use super::signed_rank::CoverageInterval;

/// The exact interval of Clopper and Pearson (1934) for a rate, after `hits` of `trials`.
///
/// It covers the true rate at least as often as `confidence` (0–1) says. `None` without a trial, and for more hits than
/// trials.
///
/// ```
/// use rbac_bench::stats::proportion::clopper_pearson;
/// // None of three: the rule may still be wrong seven times of ten.
/// assert!((clopper_pearson(0, 3, 0.95).unwrap().high - 0.7076).abs() < 1e-4);
/// ```
pub fn clopper_pearson(hits: u64, trials: u64, confidence: f64) -> Option<CoverageInterval> {
    if trials == 0 || hits > trials {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let quantile = |a: u64, b: u64, p: f64| Some(Beta::new(a as f64, b as f64).ok()?.inverse_cdf(p));
    let misses = trials - hits;
    let low = if hits == 0 { 0.0 } else { quantile(hits, misses + 1, tail)? };
    let high = if misses == 0 { 1.0 } else { quantile(hits + 1, misses, 1.0 - tail)? };
    Some(CoverageInterval { low, high, confidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `scipy.stats.binomtest(hits, trials).proportion_ci(confidence, "exact")`, scipy 1.17.1.
    #[expect(clippy::unreadable_literal, reason = "as scipy prints them")]
    const SCIPY: [(u64, u64, f64, f64, f64); 8] = [
        (0, 3, 0.95, 0.0, 0.7075982261787133),
        (1, 10, 0.95, 0.0025285785444625728, 0.44501611702819543),
        (0, 100, 0.95, 0.0, 0.03621669264519054),
        (5, 100, 0.95, 0.016431879181728278, 0.11283491110546288),
        (12, 1000, 0.99, 0.0049581631083461175, 0.023998498536639986),
        (100, 100, 0.95, 0.9637833073548094, 1.0),
        (37, 10000, 0.95, 0.002606439007958165, 0.005096391252834182),
        (9, 20, 0.9, 0.2586506097489105, 0.6530686023569755),
    ];

    #[test]
    fn the_interval_is_scipys() {
        for (hits, trials, confidence, low, high) in SCIPY {
            let mine = clopper_pearson(hits, trials, confidence).unwrap();
            let differs = (mine.low - low).abs().max((mine.high - high).abs());
            assert!(differs < 1e-9, "{hits} of {trials}: {mine:?} beside {low} to {high}");
        }
    }

    #[test]
    fn without_a_trial_there_is_no_interval() {
        assert_eq!(clopper_pearson(0, 0, 0.95), None);
        assert_eq!(clopper_pearson(2, 1, 0.95), None);
    }

    #[test]
    fn hits_and_misses_mirror_each_other() {
        for hits in 0..=20 {
            let (one, other) = (clopper_pearson(hits, 20, 0.9).unwrap(), clopper_pearson(20 - hits, 20, 0.9).unwrap());
            assert!((one.low - (1.0 - other.high)).abs() < 1e-9, "{one:?} {other:?}");
        }
    }
}
