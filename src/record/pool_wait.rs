//! Waits for a pool, from the histogram that the pool publishes: a percentile is known to lie in a bucket, not more.

use std::collections::BTreeMap;

use super::{Sample, Stamped, WaitHistogram};

/// A figure that lies between two bounds of a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaitBounds {
    pub low_ms: f64,
    /// `None`: the histogram has no bound above it.
    pub high_ms: Option<f64>,
}

/// Gauges come once a second, and may take two to answer.
const SLACK_S: f64 = 3.5;

/// Waits that ended in a window, over all pages of gauges.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolWaits {
    /// Upper bound in seconds, and the checkouts that waited no longer.
    cumulative: Vec<(f64, u64)>,
}

impl PoolWaits {
    /// The waits between two times; `None` unless each of `pages` pages had its histogram before or at the window's
    /// beginning (or soon after it) and later, and none began anew.
    pub fn between(samples: &[Stamped], pages: u32, from_s: f64, to_s: f64) -> Option<Self> {
        let mut ends: BTreeMap<u32, (&WaitHistogram, &WaitHistogram)> = BTreeMap::new();
        // Of each page, the times of these two.
        let mut times: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for stamped in samples.iter().filter(|stamped| stamped.at_s <= to_s) {
            let Sample::Pools(pools) = &stamped.sample else { continue };
            let Some(now) = &pools.wait else { continue };
            let first = ends.get(&pools.replica).map_or(now, |(first, _)| first);
            // What was counted before the window is none of it.
            let first = if stamped.at_s <= from_s { now } else { first };
            if is_older(now, ends.get(&pools.replica).map(|(_, last)| *last)) {
                return None;
            }
            ends.insert(pools.replica, (first, now));
            let since_s = times.get(&pools.replica).map_or(stamped.at_s, |(since_s, _)| *since_s);
            let since_s = if stamped.at_s <= from_s { stamped.at_s } else { since_s };
            times.insert(pools.replica, (since_s, stamped.at_s));
        }
        let covered =
            times.values().all(|(since_s, until_s)| *since_s <= from_s + SLACK_S && *until_s >= to_s - SLACK_S);
        if pages == 0 || ends.len() != pages as usize || !covered {
            return None;
        }
        let mut bounds: Vec<f64> =
            ends.values().flat_map(|(first, last)| first.bounds().chain(last.bounds())).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let waits =
            |bound: f64| ends.values().map(|(first, last)| last.up_to(bound).saturating_sub(first.up_to(bound))).sum();
        Some(Self { cumulative: bounds.into_iter().map(|bound| (bound, waits(bound))).collect() })
    }

    /// Checkouts that have ended their wait.
    pub fn count(&self) -> u64 {
        self.cumulative.last().map_or(0, |(_, count)| *count)
    }

    /// The quantile's bucket: the wait that this share of the checkouts did not exceed. `1.0` is the longest.
    pub fn quantile(&self, share: f64) -> Option<WaitBounds> {
        let rank = (share * self.count() as f64).ceil().max(1.0);
        let place = self.cumulative.iter().position(|(_, count)| *count as f64 >= rank)?;
        let millis = |bound: f64| bound.is_finite().then_some(bound * 1e3);
        let below = place.checked_sub(1).map_or(0.0, |before| self.cumulative[before].0);
        Some(WaitBounds { low_ms: below * 1e3, high_ms: millis(self.cumulative[place].0) })
    }
}

/// True if a counter is below what it was: the pool has begun anew.
fn is_older(now: &WaitHistogram, before: Option<&WaitHistogram>) -> bool {
    before.is_some_and(|before| before.bounds().any(|bound| now.up_to(bound) < before.up_to(bound)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PoolSample;
    use crate::scenario::VariantName;

    fn at(at_s: f64, replica: u32, buckets: &[(Option<f64>, u64)]) -> Stamped {
        let wait = WaitHistogram::new(buckets.to_vec());
        Stamped {
            at_s,
            variant: VariantName::HELD,
            sample: Sample::Pools(PoolSample { replica, wait, ..PoolSample::default() }),
        }
    }

    const START: [(Option<f64>, u64); 4] = [(Some(0.001), 900), (Some(0.01), 900), (Some(1.0), 900), (None, 900)];

    #[test]
    fn percentiles_are_of_the_waits_that_ended_in_the_window() {
        let samples = [
            at(9.0, 1, &START),
            at(20.0, 1, &[(Some(0.001), 950), (Some(0.01), 990), (Some(1.0), 999), (None, 1000)]),
            at(40.0, 1, &[(Some(0.001), 9950), (Some(0.01), 9990), (Some(1.0), 9999), (None, 10_000)]),
        ];
        let waits = PoolWaits::between(&samples, 1, 10.0, 22.0).unwrap();
        assert_eq!(waits.count(), 100);
        let bounds = |share| waits.quantile(share).map(|it| (it.low_ms, it.high_ms)).unwrap();
        assert_eq!(bounds(0.5), (0.0, Some(1.0)));
        assert_eq!(bounds(0.51), (1.0, Some(10.0)));
        assert_eq!(bounds(0.95), (10.0, Some(1000.0)));
        assert_eq!(bounds(1.0), (1000.0, None), "longer than every bound");
    }

    #[test]
    fn pages_are_added_up_and_one_that_is_missing_makes_it_unknown() {
        let later = [(Some(0.001), 910), (Some(0.01), 910), (Some(1.0), 910), (None, 910)];
        let slow = [(Some(0.5), 10), (None, 20)];
        let samples =
            [at(9.0, 1, &START), at(9.0, 2, &[(Some(0.5), 0), (None, 0)]), at(20.0, 1, &later), at(20.0, 2, &slow)];
        let waits = PoolWaits::between(&samples, 2, 10.0, 22.0).unwrap();
        assert_eq!((waits.count(), waits.quantile(0.3).unwrap().high_ms), (30, Some(1.0)));
        assert_eq!(waits.quantile(0.6).unwrap(), WaitBounds { low_ms: 10.0, high_ms: Some(500.0) });
        assert_eq!(waits.quantile(1.0).unwrap(), WaitBounds { low_ms: 1000.0, high_ms: None });
        assert_eq!(PoolWaits::between(&samples, 3, 10.0, 22.0), None);
        assert_eq!(PoolWaits::between(&samples[..0], 0, 10.0, 30.0), None);
    }

    #[test]
    fn a_pool_that_began_anew_and_a_histogram_without_its_end_are_unknown() {
        let anew = [at(9.0, 1, &START), at(20.0, 1, &[(Some(0.001), 5), (None, 5)])];
        assert_eq!(PoolWaits::between(&anew, 1, 10.0, 22.0), None);
        let silent = [at(9.0, 1, &START), at(12.0, 1, &START)];
        assert_eq!(PoolWaits::between(&silent, 1, 10.0, 22.0), None, "a page that does not answer any more");
        assert_eq!(WaitHistogram::new(vec![(Some(0.001), 5), (Some(0.01), 7)]), None);
        assert_eq!(WaitHistogram::new(vec![(Some(0.001), 7), (None, 5)]), None, "not cumulative");
        let none = PoolWaits::between(&[at(9.0, 1, &START), at(20.0, 1, &START)], 1, 10.0, 22.0).unwrap();
        assert_eq!((none.count(), none.quantile(0.5)), (0, None), "nobody asked: no zero");
    }
}
