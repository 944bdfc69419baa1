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
    /// Time that checkouts have waited, since the start, in microseconds.
    pub wait_micros: AtomicU64,
    /// Hold time of its sessions.
    pub holds: Arc<HoldClock>,
}

impl PoolGauges {
    pub(crate) fn record_wait(&self, waited: Duration) {
        self.wait_micros.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
