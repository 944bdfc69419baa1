//! Gauges and counters of a pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::HoldClock;

#[derive(Debug, Default)]
pub struct PoolGauges {
    /// Connections that may exist: size + overflow.
    pub max: AtomicU64,
    /// Connections that a session has.
    pub checked_out: AtomicU64,
    /// Connections that wait in the pool.
    pub checked_in: AtomicU64,
    /// Connections beyond `size`; never negative, where SQLAlchemy's starts at −size.
    pub overflow: AtomicU64,
    pub waiters: AtomicU64,
    /// Checkouts that gave up waiting, since the start.
    pub timeouts: AtomicU64,
    /// Waits of checkouts, those that waited for nothing or gave up included.
    pub waits: WaitHistogram,
    /// Hold time of its sessions.
    pub holds: Arc<HoldClock>,
}

/// Upper bounds of the waits' buckets in seconds; a last one has all that waited longer.
pub const WAIT_BOUNDS_S: [f64; 19] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0];

/// Waits of checkouts since the start.
#[derive(Debug, Default)]
pub struct WaitHistogram {
    counts: [AtomicU64; WAIT_BOUNDS_S.len() + 1],
    sum_micros: AtomicU64,
}

impl WaitHistogram {
    pub(crate) fn record(&self, waited: Duration) {
        let bucket = WAIT_BOUNDS_S.iter().take_while(|bound| waited.as_secs_f64() > **bound).count();
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Checkouts that waited no longer than each bound, and all of them.
    #[must_use]
    pub fn cumulative(&self) -> [u64; WAIT_BOUNDS_S.len() + 1] {
        let mut sum = 0;
        self.counts.each_ref().map(|count| {
            sum += count.load(Ordering::Relaxed);
            sum
        })
    }

    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
    }
}
