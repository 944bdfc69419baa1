//! A histogram of waits, as a pool publishes it.

use serde::{Deserialize, Serialize};

/// A histogram as Prometheus has it: for each upper bound in seconds (`null`: none), ascending, how many checkouts have
/// waited no longer, since the pool began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WaitHistogram(Vec<(Option<f64>, u64)>);

impl WaitHistogram {
    /// From bounds in any order; `None` when there is no bucket without a bound, which has all checkouts.
    pub fn new(mut buckets: Vec<(Option<f64>, u64)>) -> Option<Self> {
        let rank = |bound: Option<f64>| bound.unwrap_or(f64::INFINITY);
        buckets.sort_by(|a, b| rank(a.0).total_cmp(&rank(b.0)));
        let is_whole = buckets.last()?.0.is_none() && buckets.is_sorted_by_key(|(_, count)| *count);
        is_whole.then_some(Self(buckets))
    }

    /// Checkouts that have waited no longer than this.
    pub(super) fn up_to(&self, bound: f64) -> u64 {
        let within = self.0.iter().filter(|(it, _)| it.unwrap_or(f64::INFINITY) <= bound);
        within.map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// Upper bounds in seconds, ascending; infinite without one.
    pub(super) fn bounds(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|(bound, _)| bound.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_put_in_order_and_each_has_its_count() {
        let buckets = vec![(None, 900), (Some(0.01), 800), (Some(0.001), 700)];
        let kept = WaitHistogram::new(buckets).unwrap();
        assert_eq!(serde_json::to_string(&kept).unwrap(), "[[0.001,700],[0.01,800],[null,900]]");
        assert_eq!((kept.up_to(0.5), kept.up_to(0.0001)), (800, 0));
    }
}
