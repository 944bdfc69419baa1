//! When each tier is due, and when the next of them is.

use std::time::{Duration, Instant};

use super::schedule::{TierPace, next_tick};
use crate::record::Event;

/// Counters, breakdown, episodes; and blocking, while there is some.
const SECOND: Duration = Duration::from_secs(1);

/// When each tier is due. Ticks are as far apart as the most frequent of them.
pub(super) struct Paces {
    pub(super) tick: Duration,
    pub(super) pulse: TierPace,
    pub(super) rows: TierPace,
    pub(super) second: TierPace,
    pub(super) blocking: TierPace,
}

impl Paces {
    pub(super) fn new(pulse: Duration, rows: Duration) -> Self {
        Self {
            tick: pulse.min(rows),
            pulse: TierPace::new("pulse", pulse),
            rows: TierPace::new("rows", rows),
            second: TierPace::new("counters", SECOND),
            blocking: TierPace::new("blocking", SECOND),
        }
    }

    /// The next tick at which something is due; the others are slept through. `somebody_waits`: for a lock.
    pub(super) fn next_tick(&self, began: Instant, somebody_waits: bool) -> Instant {
        let now = Instant::now();
        let blocking = somebody_waits.then(|| self.blocking.due().unwrap_or(now));
        let due = [&self.rows, &self.pulse, &self.second].map(|pace| pace.due().unwrap_or(now));
        let due = due.into_iter().chain(blocking).min().unwrap_or(now);
        next_tick(began, self.tick, due, now)
    }

    /// Polls as rarely as `factor` says; at the rows at most half as often, since they tell who.
    pub(super) fn eased(&mut self, factor: u32) -> impl Iterator<Item = Event> + use<> {
        [self.pulse.eased(factor), self.rows.eased(factor.min(2))].into_iter().flatten()
    }
}
