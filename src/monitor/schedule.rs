//! Polling schedule: as often as wanted, unless asking costs too much.

use std::time::{Duration, Instant};

use crate::record::Event;

/// A poll whose 95th percentile takes more than this share of its interval is too frequent.
const TOO_MUCH: f64 = 0.20;

/// It becomes as frequent again when it would then take less than this.
const LITTLE: f64 = 0.10;

/// Polls that are considered before the pace is changed.
const WINDOW: usize = 20;

/// Never rarer than usual by more than this: polls further apart than a second would leave gaps.
const SLOWEST: u32 = 8;

/// With more sessions than this the rows are asked for half as often, and as usual again below the other.
const MANY: (u32, u32) = (500, 450);

/// From this interval on, many sessions are no reason.
const SLOW: Duration = Duration::from_millis(200);

/// When one tier is due.
#[derive(Debug)]
pub(super) struct TierPace {
    tier: &'static str,
    usual: Duration,
    factor: u32,
    /// Factor by which polls may be rarer without saying less.
    ease: u32,
    many: bool,
    costs: Vec<Duration>,
    due: Option<Instant>,
}

impl TierPace {
    pub(super) fn new(tier: &'static str, usual: Duration) -> Self {
        Self { tier, usual, factor: 1, ease: 1, many: false, costs: Vec::new(), due: None }
    }

    /// The time between two polls for now.
    pub(super) fn interval(&self) -> Duration {
        self.usual * self.factor.max(self.ease) * if self.many { 2 } else { 1 }
    }

    /// True if a poll is due at this tick, and if so, it is taken as made. Ticks come every `tick`.
    pub(super) fn take_due(&mut self, at: Instant, tick: Duration) -> bool {
        if self.due.is_some_and(|due| at + tick / 2 < due) {
            return false;
        }
        self.made(at);
        true
    }

    /// Takes it as made at this tick, due or not.
    pub(super) fn made(&mut self, at: Instant) {
        self.due = Some(at + self.interval());
    }

    /// When the next poll is due; `None` before the first.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes what a poll cost the server; gives the event when the pace changes.
    pub(super) fn cost(&mut self, cost: Duration) -> Option<Event> {
        self.costs.push(cost);
        if self.costs.len() < WINDOW {
            return None;
        }
        let mut costs = std::mem::take(&mut self.costs);
        costs.sort_unstable();
        let p95 = costs[WINDOW * 95 / 100 - 1];
        let interval = self.interval();
        let factor = if p95 > interval.mul_f64(TOO_MUCH) {
            (self.factor * 2).min(SLOWEST)
        } else if self.factor > 1 && p95 < (interval / 2).mul_f64(LITTLE) {
            self.factor / 2
        } else {
            self.factor
        };
        (std::mem::replace(&mut self.factor, factor) != factor).then(|| self.changed("cost"))
    }

    /// Takes how many sessions there are; gives the event when the pace changes.
    pub(super) fn sessions(&mut self, sessions: u32) -> Option<Event> {
        let many = self.usual < SLOW && sessions > if self.many { MANY.1 } else { MANY.0 };
        (std::mem::replace(&mut self.many, many) != many).then(|| self.changed("sessions"))
    }

    /// Takes by how much polls may be rarer; gives the event when the pace changes.
    pub(super) fn eased(&mut self, ease: u32) -> Option<Event> {
        let before = self.interval();
        let rarer = ease > std::mem::replace(&mut self.ease, ease);
        if !rarer {
            // The next one was put off.
            self.due = self.due.map(|due| due.checked_sub(before).unwrap_or(due) + self.interval());
        }
        (self.interval() != before).then(|| self.changed("exact"))
    }

    fn changed(&self, because: &str) -> Event {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Event::BackedOff {
            tier: self.tier.to_owned(),
            interval_ms: millis(self.interval()),
            usual_ms: millis(self.usual),
            because: because.to_owned(),
        }
    }
}

/// When to try again what fails: soon at first, then ever later.
#[derive(Debug)]
pub(super) struct Retry {
    next: Instant,
    wait: Duration,
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);

    pub(super) fn new() -> Self {
        Self { next: Instant::now(), wait: Self::FIRST }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.next = now + self.wait;
        self.wait = (self.wait * 2).min(Self::LAST);
    }
}

/// The next tick at which something is due: ticks are `tick` apart since `began`, and none that is over is made up for.
pub(super) fn next_tick(began: Instant, tick: Duration, due: Instant, now: Instant) -> Instant {
    let ticks = |at: Instant| at.saturating_duration_since(began).as_secs_f64() / tick.as_secs_f64();
    let number = ticks(due).round().max(ticks(now).floor() + 1.0);
    began + tick.mul_f64(number)
}

/// Ticks that lay between the last one and this one.
pub(super) fn skipped(last: Option<Instant>, this: Instant, interval: Duration) -> u64 {
    let Some(last) = last else { return 0 };
    let intervals = this.duration_since(last).as_secs_f64() / interval.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let whole = intervals.round() as u64;
    whole.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn polled(pace: &mut TierPace, polls: usize, cost: Duration) -> Vec<Event> {
        (0..polls).filter_map(|_| pace.cost(cost)).collect()
    }

    #[test]
    fn polls_become_rarer_while_they_cost_a_fifth_of_their_interval() {
        let mut pace = TierPace::new("pulse", 50 * MS);
        assert_eq!(polled(&mut pace, 100, 9 * MS), []);
        assert_eq!(pace.interval(), 50 * MS);
        let events = polled(&mut pace, 100, 30 * MS);
        assert_eq!(pace.interval(), 200 * MS, "30 ms are 30 % of 100 ms and 15 % of 200 ms");
        assert_eq!(events.len(), 2);
        assert_eq!(polled(&mut pace, 100, 15 * MS), [], "15 ms of 100 ms are too many to return to");
        assert_eq!(polled(&mut pace, 100, MS).len(), 2);
        assert_eq!(pace.interval(), 50 * MS);
        polled(&mut pace, 10_000, Duration::from_secs(9));
        assert_eq!(pace.interval(), 50 * MS * SLOWEST);
    }

    #[test]
    fn one_slow_poll_of_twenty_is_chance() {
        let mut pace = TierPace::new("rows", 100 * MS);
        for _ in 0..100 {
            assert_eq!(polled(&mut pace, 19, MS), []);
            assert_eq!(polled(&mut pace, 1, 90 * MS), []);
        }
    }

    #[test]
    fn rows_of_many_sessions_are_asked_for_half_as_often() {
        let mut pace = TierPace::new("rows", 100 * MS);
        assert_eq!(pace.sessions(500), None);
        assert!(pace.sessions(501).is_some());
        assert_eq!((pace.interval(), pace.sessions(480)), (200 * MS, None));
        assert!(pace.sessions(450).is_some());
        assert_eq!(pace.interval(), 100 * MS);
        let mut slow = TierPace::new("rows", Duration::from_secs(1));
        assert_eq!(slow.sessions(5000), None);
    }

    #[test]
    fn a_poll_that_was_put_off_is_due_at_once_when_looks_are_worth_it_again() {
        let mut pace = TierPace::new("pulse", 50 * MS);
        let start = Instant::now();
        assert!(pace.eased(4).is_some() && pace.take_due(start, 50 * MS));
        assert!(!pace.take_due(start + 50 * MS, 50 * MS));
        assert!(pace.eased(1).is_some() && pace.take_due(start + 50 * MS, 50 * MS));
        assert_eq!(pace.eased(1), None);
    }

    #[test]
    fn the_next_tick_is_the_first_due_and_never_in_the_past() {
        let began = Instant::now();
        let next = |due, now| (next_tick(began, 50 * MS, began + due * MS, began + now * MS) - began).as_millis();
        assert_eq!((next(200, 3), next(230, 3), next(50, 3), next(100, 160)), (200, 250, 50, 200));
    }

    #[test]
    fn a_tier_is_due_once_in_its_interval_whatever_the_tick() {
        let mut pace = TierPace::new("rows", 100 * MS);
        let start = Instant::now();
        let due = (0..40).filter(|tick| pace.take_due(start + *tick * 50 * MS, 50 * MS)).count();
        assert_eq!(due, 20);
    }

    #[test]
    fn what_fails_is_tried_again_ever_later() {
        let mut retry = Retry::new();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            retry.failed(now);
            waits.push((retry.next - now).as_millis());
            now = retry.next;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn a_tick_that_was_skipped_is_a_missed_poll() {
        let start = Instant::now();
        let interval = Duration::from_millis(100);
        assert_eq!(skipped(None, start, interval), 0);
        assert_eq!(skipped(Some(start), start + interval, interval), 0);
        assert_eq!(skipped(Some(start), start + 4 * interval, interval), 3);
    }
}
