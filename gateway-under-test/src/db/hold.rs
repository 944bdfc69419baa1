//! The truth about holding, from inside: for how long sessions had a connection, and for how much of that the server
//! saw them idle in transaction.
//!
//! An instrument that watches PostgreSQL from outside can be checked against it. What it cannot know: when the server
//! ends an idle transaction by itself, the session learns of that only with its next statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A sum of spans that can be read while some of them last.
///
/// A span adds `end − begin`: its beginning is subtracted when it begins, its end added when it ends. A reader adds
/// the present for each span that lasts.
#[derive(Debug, Default)]
struct LiveSum {
    nanos: AtomicI64,
    lasting: AtomicI64,
}

impl LiveSum {
    fn begin(&self, at: i64) {
        self.nanos.fetch_sub(at, Ordering::Relaxed);
        self.lasting.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, at: i64) {
        self.lasting.fetch_sub(1, Ordering::Relaxed);
        self.nanos.fetch_add(at, Ordering::Relaxed);
    }

    /// The sum now. Read from another thread it may miss what changes in that very moment.
    fn read(&self, now: i64) -> Duration {
        let nanos = self.nanos.load(Ordering::Relaxed) + self.lasting.load(Ordering::Relaxed) * now;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

/// Hold time of sessions, summed: those of one request, or those of one worker.
#[derive(Debug)]
pub struct HoldClock {
    born: Instant,
    held: LiveSum,
    idle: LiveSum,
}

impl Default for HoldClock {
    fn default() -> Self {
        Self { born: Instant::now(), held: LiveSum::default(), idle: LiveSum::default() }
    }
}

impl HoldClock {
    /// Time that sessions had a connection.
    #[must_use]
    pub fn held(&self) -> Duration {
        self.held.read(self.now())
    }

    /// Time of [`HoldClock::held`] in which a transaction was open and no statement ran.
    #[must_use]
    pub fn idle_in_transaction(&self) -> Duration {
        self.idle.read(self.now())
    }

    fn now(&self) -> i64 {
        i64::try_from(self.born.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// One session's hold on its connection: from its making to its drop.
pub(super) struct Hold {
    clocks: Vec<Arc<HoldClock>>,
    idle: bool,
}

impl Hold {
    pub(super) fn begin(clocks: Vec<Arc<HoldClock>>) -> Self {
        for clock in &clocks {
            clock.held.begin(clock.now());
        }
        Self { clocks, idle: false }
    }

    /// A statement has ended, and its transaction is open.
    pub(super) fn idle_begins(&mut self) {
        if !std::mem::replace(&mut self.idle, true) {
            for clock in &self.clocks {
                clock.idle.begin(clock.now());
            }
        }
    }

    /// A statement begins, or the transaction is over.
    pub(super) fn idle_ends(&mut self) {
        if std::mem::take(&mut self.idle) {
            for clock in &self.clocks {
                clock.idle.end(clock.now());
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.idle_ends();
        for clock in &self.clocks {
            clock.held.end(clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_last_are_part_of_the_sum_and_stay_in_it_when_they_end() {
        let sum = LiveSum::default();
        sum.begin(100);
        sum.begin(150);
        assert_eq!(sum.read(200), Duration::from_nanos(150));
        sum.end(300);
        assert_eq!(sum.read(400), Duration::from_nanos(200 + 250));
        sum.end(400);
        assert_eq!(sum.read(9000), Duration::from_nanos(450));
    }

    #[test]
    fn a_hold_counts_for_request_and_worker_and_idles_between_statements() {
        let (request, worker) = (Arc::new(HoldClock::default()), Arc::new(HoldClock::default()));
        let mut hold = Hold::begin(vec![Arc::clone(&request), Arc::clone(&worker)]);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(request.idle_in_transaction(), Duration::ZERO);
        hold.idle_begins();
        std::thread::sleep(Duration::from_millis(5));
        hold.idle_ends();
        drop(hold);
        for clock in [request, worker] {
            assert!(clock.idle_in_transaction() >= Duration::from_millis(5));
            assert!(clock.held() >= clock.idle_in_transaction() + Duration::from_millis(5));
            assert_eq!(clock.held(), clock.held(), "nothing lasts any more");
        }
    }
}
