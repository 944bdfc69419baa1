//! What samples say: latency histograms, and gauges over time.
//!
//! Pure and exact as far as that goes: percentiles come from merged histograms (never from averaged percentiles), and
//! the mean of a gauge is weighted by time, not by the number of samples.

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

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency in milliseconds that a share `quantile` (0–1) of the requests did not exceed; `None` without any.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
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
