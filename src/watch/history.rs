//! Sessions over time, a column a bin, as far back as a screen can show.

use std::collections::VecDeque;

use crate::record::{ActivitySample, PulseSample};

/// Bins that are kept: an hour of seconds.
const BINS: usize = 3_600;

/// The most of everything within a bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Sessions that run a statement.
    pub active: u32,
    /// Sessions without a transaction.
    pub idle: u32,
    /// Sessions idle in transaction, aborted ones included.
    pub idle_in_transaction: u32,
    /// Sessions that wait for a lock.
    pub waiting_for_lock: u32,
    /// Age of the oldest transaction in seconds; 0 without one.
    pub oldest_s: f64,
}

impl Bin {
    fn of(sample: &ActivitySample) -> Self {
        Self {
            active: sample.active,
            idle: sample.idle,
            idle_in_transaction: sample.idle_in_transaction_total(),
            waiting_for_lock: sample.waiting_for_lock,
            oldest_s: sample.oldest_transaction_s.unwrap_or(0.0),
        }
    }

    fn of_pulse(pulse: &PulseSample) -> Self {
        let oldest_s = pulse.oldest_transaction_s.unwrap_or(0.0);
        Self { idle_in_transaction: pulse.idle_in_transaction, oldest_s, ..Self::default() }
    }

    fn max(self, other: Self) -> Self {
        Self {
            active: self.active.max(other.active),
            idle: self.idle.max(other.idle),
            idle_in_transaction: self.idle_in_transaction.max(other.idle_in_transaction),
            waiting_for_lock: self.waiting_for_lock.max(other.waiting_for_lock),
            oldest_s: self.oldest_s.max(other.oldest_s),
        }
    }
}

/// The last bins; one in which nothing was seen is a gap.
#[derive(Clone, Debug)]
pub struct WatchHistory {
    bin_s: f64,
    /// Number of the newest bin, counted from the beginning.
    newest: u64,
    bins: VecDeque<Option<Bin>>,
}

impl WatchHistory {
    /// Without anything. A bin is as long as it must be for a poll every `interval_s` to fall into each.
    pub fn new(interval_s: f64) -> Self {
        let bin_s = if interval_s.is_finite() { (2.0 * interval_s).max(1.0) } else { 1.0 };
        Self { bin_s, newest: 0, bins: VecDeque::new() }
    }

    /// Length of a bin, in seconds.
    pub fn bin_s(&self) -> f64 {
        self.bin_s
    }

    /// Lets time go on to `at_s`: what was not seen until then is a gap.
    pub fn advance(&mut self, at_s: f64) {
        let bin = self.number(at_s);
        if self.bins.is_empty() {
            self.newest = bin;
            self.bins.push_back(None);
        }
        let missing = bin.saturating_sub(self.newest).min(BINS as u64);
        for _ in 0..missing {
            self.bins.push_back(None);
        }
        self.newest = self.newest.max(bin);
        let surplus = self.bins.len().saturating_sub(BINS);
        self.bins.drain(..surplus);
    }

    /// Takes one sample. One that is older than the newest bin counts into that.
    pub fn take(&mut self, at_s: f64, sample: &ActivitySample) {
        self.see(at_s, Bin::of(sample));
    }

    /// Takes one pulse, which says of some figures that they were higher.
    pub fn take_pulse(&mut self, at_s: f64, pulse: &PulseSample) {
        self.see(at_s, Bin::of_pulse(pulse));
    }

    fn see(&mut self, at_s: f64, seen: Bin) {
        self.advance(at_s);
        if let Some(last) = self.bins.back_mut() {
            *last = Some(last.map_or(seen, |bin| bin.max(seen)));
        }
    }

    /// The newest `width` columns of so many bins each, newest first; a column in which nothing was seen is `None`.
    pub fn columns(&self, width: usize, bins_each: usize) -> Vec<Option<Bin>> {
        let each = bins_each.max(1);
        // Columns begin at the same bins whenever they are drawn, so that what is seen does not flicker.
        let first = usize::try_from(self.newest % each as u64).unwrap_or(0) + 1;
        let newest_first: Vec<Option<Bin>> = self.bins.iter().rev().copied().collect();
        let (head, rest) = newest_first.split_at(first.min(newest_first.len()));
        let columns = std::iter::once(head).filter(|it| !it.is_empty()).chain(rest.chunks(each));
        columns.take(width).map(|bins| bins.iter().flatten().copied().reduce(Bin::max)).collect()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
    fn number(&self, at_s: f64) -> u64 {
        (at_s / self.bin_s) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(idle_in_transaction: u32) -> ActivitySample {
        ActivitySample { idle_in_transaction, ..ActivitySample::default() }
    }

    fn shown(history: &WatchHistory, width: usize, each: usize) -> Vec<Option<u32>> {
        history.columns(width, each).into_iter().map(|bin| bin.map(|bin| bin.idle_in_transaction)).collect()
    }

    #[test]
    fn a_second_shows_its_most_and_a_second_without_a_sample_is_a_gap() {
        let mut history = WatchHistory::new(0.1);
        for (at_s, count) in [(0.1, 3), (0.9, 5), (0.95, 1), (1.5, 7), (4.2, 2)] {
            history.take(at_s, &sample(count));
        }
        history.advance(5.0);
        assert_eq!(shown(&history, 80, 1), [None, Some(2), None, None, Some(7), Some(5)]);
        assert_eq!(shown(&history, 2, 1), [None, Some(2)]);
        assert_eq!(shown(&history, 80, 3), [Some(2), Some(7)], "bins 3 to 5 and 0 to 2");
    }

    #[test]
    fn it_does_not_grow_with_time() {
        let mut history = WatchHistory::new(0.1);
        history.take(0.0, &sample(1));
        history.take(1e9, &sample(2));
        assert_eq!(history.bins.len(), BINS);
        history.advance(f64::NAN);
        history.advance(f64::INFINITY);
        assert!(history.bins.len() <= BINS);
    }

    #[test]
    fn bins_are_long_enough_for_slow_polls() {
        assert!((WatchHistory::new(5.0).bin_s() - 10.0).abs() < 1e-9);
        assert!((WatchHistory::new(0.1).bin_s() - 1.0).abs() < 1e-9);
    }
}
