//! Statistics of samples: latency histograms, and gauges over time.
//!
//! Pure and exact as far as that goes: percentiles come from merged histograms (never from averaged percentiles), and
//! the mean of a gauge is weighted by time, not by the number of samples.
//!
//! Beside the samples, what two series of windows say about each other: [`signed_rank`] tests, [`paired`] decides,
//! [`power`] says what could have been seen, [`multiple`] and [`proportion`] keep the error rates honest.

pub mod multiple;
pub mod paired;
pub mod power;
pub mod proportion;
pub mod signed_rank;

pub mod reduced;

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies of one route in one phase: 1 µs to 10 min at 3 significant digits.
///
/// The counters are 32 bits wide, which halves the memory to about 80 KB; a route would need four thousand million
/// requests of one latency to overflow one.
#[derive(Clone, Debug)]
pub struct LatencyHistogram(Histogram<u32>);

/// The longest latency that is kept apart, in microseconds; longer ones count as this.
const LONGEST_MICROS: u64 = 600_000_000;

impl Default for LatencyHistogram {
    fn default() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("1 < 2·1 ≤ 10 min and 3 digits are allowed");
        Self(histogram)
    }
}

impl LatencyHistogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.clamp(1, LONGEST_MICROS));
    }

    /// Adds all of `other`.
    #[expect(clippy::missing_panics_doc, reason = "all histograms of this type have the same bounds")]
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both histograms have the same bounds");
    }

    /// Latencies counted.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency in milliseconds that a share `quantile` (0–1) of the requests did not exceed; `None` without any.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// The latencies up to p99.99, evenly spaced as a log scale of what remains: a share 1 − 10^(−k/10) for k = 0…40,
    /// beside them the p50 and p95 that everybody asks for, and the longest. A percentile that fewer than one request would exceed is left out. Empty without any.
    pub fn distribution(&self) -> Vec<(f64, f64)> {
        let reached = |share: &f64| (1.0 - share) * self.len() as f64 >= 1.0 - 1e-9;
        let even = (0..=40).map(|step| 1.0 - 10f64.powf(-f64::from(step) / 10.0));
        let mut shares: Vec<f64> = even.chain([0.50, 0.95]).filter(reached).collect();
        shares.sort_by(f64::total_cmp);
        // Eight digits: 1 − 10^−1 is not quite 0.9 in binary.
        let percentile = |share: f64| (share * 1e8).round() / 1e6;
        let points = shares.into_iter().filter_map(|share| Some((percentile(share), self.quantile_ms(share)?)));
        points.chain(self.max_ms().map(|longest| (100.0, longest))).collect()
    }

    /// The longest latency in milliseconds; `None` without any.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e3)
    }
}

/// A gauge over time: (seconds, value), ascending in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series(Vec<(f64, f64)>);

impl FromIterator<(f64, f64)> for Series {
    fn from_iter<I: IntoIterator<Item = (f64, f64)>>(points: I) -> Self {
        Self(points.into_iter().collect())
    }
}

impl Series {
    /// The largest value; `None` without any.
    pub fn max(&self) -> Option<f64> {
        self.0.iter().map(|(_, value)| *value).max_by(f64::total_cmp)
    }

    /// The smallest value; `None` without any.
    pub fn min(&self) -> Option<f64> {
        self.0.iter().map(|(_, value)| *value).min_by(f64::total_cmp)
    }

    /// The last value; `None` without any.
    pub fn last(&self) -> Option<f64> {
        self.0.last().map(|(_, value)| *value)
    }

    /// The value that the gauge did not exceed for a share `quantile` (0–1) of the time; `None` without any. Each value
    /// stands for half the time to its neighbours, as in the trapezoidal rule.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let points = &self.0;
        let time = |index: usize| points.get(index).map_or(0.0, |(at, _)| *at);
        let last = points.len().saturating_sub(1);
        let weight = |index: usize| (time((index + 1).min(last)) - time(index.saturating_sub(1))).max(0.0);
        let mut weighted: Vec<(f64, f64)> = (0..points.len()).map(|index| (points[index].1, weight(index))).collect();
        weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = quantile * weighted.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut reached = 0.0;
        let found = weighted.iter().find(|(_, weight)| {
            reached += weight;
            reached >= wanted
        });
        found.or(weighted.last()).map(|(value, _)| *value)
    }

    /// Times of the values, ascending.
    pub fn times(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().map(|(at, _)| *at)
    }

    /// The integral over time by the trapezoidal rule, in value × seconds; `None` with fewer than two points.
    pub fn integral(&self) -> Option<f64> {
        let area = |pair: &[(f64, f64)]| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0;
        (self.0.len() >= 2).then(|| self.0.windows(2).map(area).sum())
    }

    /// The integral without what lies in gaps: two values further apart than [`Series::gap_s`] say nothing of the time
    /// between them. `None` with fewer than two points, or nothing but gaps.
    pub fn integral_seen(&self) -> Option<f64> {
        let (area, covered) = self.seen();
        (covered > 0.0).then_some(area)
    }

    /// The mean over the time that is no gap; the value itself with only one, `None` without any.
    pub fn mean_seen(&self) -> Option<f64> {
        let (area, covered) = self.seen();
        if covered > 0.0 { Some(area / covered) } else { self.0.first().map(|(_, value)| *value) }
    }

    /// A longer time between two values is a gap: a second, or ten times the usual time where that is longer.
    pub fn gap_s(&self) -> f64 {
        let mut steps: Vec<f64> = self.0.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).map_or(1.0, |usual| (10.0 * usual).max(1.0))
    }

    fn seen(&self) -> (f64, f64) {
        let gap_s = self.gap_s();
        let seen = self.0.windows(2).filter(|pair| pair[1].0 - pair[0].0 <= gap_s);
        seen.fold((0.0, 0.0), |(area, covered), pair| {
            let step = pair[1].0 - pair[0].0;
            (area + step * f64::midpoint(pair[0].1, pair[1].1), covered + step)
        })
    }

    /// The standard error of [`Series::integral_seen`] when the gauge counts things that come and go in between; `None`
    /// with fewer than three points.
    ///
    /// Difference of two values as a function of their distance tells two kinds of change apart: one that grows with the distance
    /// (things that last longer than a step: each of their ends lies somewhere in its step, which the trapezoidal rule
    /// gets wrong by step/√12), and one that does not (things that come and go within one: values that know nothing of
    /// each other). With D1 and D2 the sums of squared differences at one and two steps, the first is (D2 − D1)/12 and
    /// the second D1 − D2/2, in squared steps: a linear variogram with a nugget, as for Cavalieri's estimator (Kiêu,
    /// Souchet, Istas, "Precision of systematic sampling and transitive methods", J. Statist. Plann. Inference 1999).
    pub fn integral_error(&self) -> Option<f64> {
        let gap_s = self.gap_s();
        if self.0.len() < 3 {
            return None;
        }
        let squared = |points: &[(f64, f64)], steps: usize| {
            let (from, to) = (points[0], points[steps]);
            let step = (to.0 - from.0) / steps as f64;
            if step > gap_s { 0.0 } else { ((to.1 - from.1) * step).powi(2) }
        };
        let one: f64 = self.0.windows(2).map(|pair| squared(pair, 1)).sum();
        let two: f64 = self.0.windows(3).map(|three| squared(three, 2)).sum();
        let lasting = (two - one).max(0.0) / 12.0;
        let passing = (one - two / 2.0).max(0.0);
        Some((lasting + passing).sqrt())
    }

    /// The mean weighted by time; `None` without any, the value itself with only one.
    pub fn mean(&self) -> Option<f64> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        let span = last.0 - first.0;
        if span > 0.0 { self.integral().map(|area| area / span) } else { Some(first.1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    fn histogram(micros: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        for value in micros {
            histogram.record(Duration::from_micros(*value));
        }
        histogram
    }

    #[test]
    fn nothing_measured_is_none_and_never_zero() {
        assert_eq!(LatencyHistogram::default().quantile_ms(0.5), None);
        assert_eq!(LatencyHistogram::default().max_ms(), None);
        let empty = Series::default();
        assert_eq!((empty.max(), empty.mean(), empty.integral()), (None, None, None));
    }

    #[test]
    fn a_distribution_rises_to_the_longest_and_ends_where_the_requests_do() {
        assert_eq!(LatencyHistogram::default().distribution(), []);
        let points = histogram(&(1..=1000).map(|ms| ms * 1000).collect::<Vec<_>>()).distribution();
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{points:?}");
        let [.., before, last] = points[..] else { panic!("{points:?}") };
        assert!(
            (before.0 - 99.9).abs() < 1e-6,
            "one request in a thousand is the last that can be distinguished: {before:?}"
        );
        assert!((last.0 - 100.0).abs() < 1e-9 && (last.1 / 1000.0 - 1.0).abs() < 1.1e-3, "{last:?}");
    }

    #[test]
    fn a_latency_beyond_ten_minutes_counts_as_ten_minutes() {
        let longest = histogram(&[3_600_000_000]).max_ms().unwrap();
        assert!((longest / 600_000.0 - 1.0).abs() < 1e-3, "{longest}");
    }

    #[test]
    fn the_mean_is_weighted_by_time_and_not_by_samples() {
        // 10 for 9 s, then a burst of samples while it falls to 0 within 1 s.
        let series: Series = [(0.0, 10.0), (9.0, 10.0), (9.5, 5.0), (9.9, 1.0), (10.0, 0.0)].into_iter().collect();
        let mean = series.mean().unwrap();
        assert!((mean - 9.5).abs() < 0.05, "{mean}");
    }

    #[test]
    fn a_quantile_of_a_gauge_is_weighted_by_time_too() {
        // 10 for 9 s of 10; the samples of the last second are many.
        let series: Series =
            [(0.0, 10.0), (9.0, 10.0), (9.5, 500.0), (9.6, 500.0), (9.7, 500.0), (10.0, 500.0)].into_iter().collect();
        assert_eq!(series.quantile(0.5), Some(10.0));
        assert_eq!(series.quantile(0.99), Some(500.0));
        assert_eq!(Series::default().quantile(0.5), None);
        assert_eq!([(1.0, 7.0)].into_iter().collect::<Series>().quantile(0.95), Some(7.0));
    }

    #[test]
    fn what_lies_in_a_gap_is_neither_counted_nor_taken_for_zero() {
        let points = (0..=20).map(|tick| (f64::from(tick) * 0.1, 10.0));
        let later = (0..=20).map(|tick| (9.0 + f64::from(tick) * 0.1, 30.0));
        let series: Series = points.chain(later).collect();
        assert!((series.integral_seen().unwrap() - (20.0 + 60.0)).abs() < 1e-6);
        assert!((series.mean_seen().unwrap() - 20.0).abs() < 1e-6);
        let slow: Series = (0..5).map(|tick| (f64::from(tick) * 8.0, 1.0)).collect();
        assert!((slow.integral_seen().unwrap() - 32.0).abs() < 1e-6, "a slow monitor has no gaps");
        assert_eq!(Series::default().integral_seen(), None);
    }

    #[test]
    fn the_stated_error_of_an_integral_matches_its_real_error() {
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for length_s in [0.005, 0.02, 0.05, 0.1, 0.5, 2.0] {
            let (mut squared, mut estimated) = (0.0, 0.0);
            for _ in 0..60 {
                let mut span = |_| {
                    let from = random.random_range(0.0..18.0);
                    (from, from + length_s * random.random_range(0.8..1.2))
                };
                let spans: Vec<(f64, f64)> = (0..400).map(&mut span).collect();
                let truth: f64 = spans.iter().map(|(from, to)| to - from).sum();
                let phase = random.random_range(0.0..0.05);
                let there = |at: f64| spans.iter().filter(|(from, to)| (*from..*to).contains(&at)).count() as f64;
                let series: Series =
                    (0..450).map(|tick| phase + f64::from(tick) * 0.05).map(|at| (at, there(at))).collect();
                squared += (series.integral_seen().unwrap() - truth).powi(2);
                estimated += series.integral_error().unwrap().powi(2);
            }
            let ratio = (estimated / squared).sqrt();
            // What lasts exactly a step is seen exactly once, which no sample can know: there too much is stated.
            let most = if (0.03..0.08).contains(&length_s) { 4.0 } else { 1.7 };
            assert!((0.6..most).contains(&ratio), "{length_s} s: reported to be off by {ratio} of what it is");
        }
    }

    proptest! {
        #[test]
        fn merging_in_any_order_gives_the_same_percentiles(a in prop::collection::vec(1u64..9_000_000, 1..50),
                                                           b in prop::collection::vec(1u64..9_000_000, 1..50)) {
            let (mut ab, mut ba) = (histogram(&a), histogram(&b));
            ab.merge(&histogram(&b));
            ba.merge(&histogram(&a));
            for quantile in [0.5, 0.95, 0.99] {
                prop_assert_eq!(ab.quantile_ms(quantile), ba.quantile_ms(quantile));
            }
            prop_assert_eq!(ab.len(), (a.len() + b.len()) as u64);
        }

        #[test]
        fn a_percentile_is_within_a_thousandth_of_the_true_one(mut micros in prop::collection::vec(1u64..500_000_000, 1..200)) {
            let measured = histogram(&micros).quantile_ms(0.5).unwrap();
            micros.sort_unstable();
            let truth = micros[(micros.len() - 1) / 2] as f64 / 1e3;
            prop_assert!((measured / truth - 1.0).abs() <= 1.1e-3 + 0.001 / truth, "{} for {}", measured, truth);
        }
    }
}
