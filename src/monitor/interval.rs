//! When the monitor polls. One policy: as often as exactness needs, and never more often than the server can afford.
//!
//! A tier polls every `usual × max(cost, exact × many)`:
//!
//! - `cost`, 1 to 8: doubles when the 95th percentile of what the server took for the last twenty polls is more than a
//!   fifth of the interval, and halves when it would then be less than a tenth;
//! - `exact`, 1 to 4 (for rows to 2, since they tell who): once a second, doubles while the idle time of the last ten
//!   seconds is known to a quarter of a per cent, and halves when its standard error (`stats::Series::integral_error`)
//!   exceeds half a per cent. Sessions that hold for seconds look the same four times a second as twenty. 1 at once when
//!   the number of idle sessions jumps, and while nothing is idle: then whatever comes is new;
//! - `many`, 1 or 2, for rows: 2 with more than 500 sessions, 1 again from 450.
//!
//! Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::record::Event;
use crate::stats::Series;

/// Shares of the interval that a poll may take, and below which it is cheap.
const COST: (f64, f64) = (0.20, 0.10);

/// Polls whose cost is considered together.
const POLLS: usize = 20;

/// Polls further apart than a second would leave gaps.
const COST_MAX: u32 = 8;

/// Window of exactness in seconds, and the standard error of its idle time, relative to it, that is small enough.
const EXACT: (f64, f64) = (10.0, 0.005);

/// Change from one poll to the next that makes every poll worthwhile: in sessions, and as a share of them.
const JUMP: (f64, f64) = (5.0, 0.2);

/// With more sessions than this the rows are asked for half as often, and as usual again from the other.
const MANY: (u32, u32) = (500, 450);

/// From this interval on, many sessions are no reason.
const SLOW: Duration = Duration::from_millis(200);

/// Counters, breakdown, episodes; and blocking, while there is some.
const SECOND: Duration = Duration::from_secs(1);

/// Kinds of polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Pulse,
    Rows,
    Second,
    Blocking,
}

/// When each tier is due. Ticks are as far apart as the most frequent of them.
pub(super) struct PollTimes {
    began: Instant,
    tick: Duration,
    tiers: [TierInterval; 4],
    idle: VecDeque<(f64, f64)>,
    exact: u32,
}

impl PollTimes {
    /// From `began` on; without a `pulse` there are rows alone.
    pub(super) fn new(began: Instant, pulse: Option<Duration>, rows: Duration) -> Self {
        // A tier that is not asked for is never due.
        let tiers = [
            TierInterval::new("pulse", pulse, 4),
            TierInterval::new("rows", Some(rows), 2),
            TierInterval::new("counters", Some(SECOND), 1),
            TierInterval::new("blocking", None, 1),
        ];
        Self { began, tick: pulse.unwrap_or(rows).min(rows), tiers, idle: VecDeque::new(), exact: 1 }
    }

    fn tier(&mut self, tier: Tier) -> &mut TierInterval {
        &mut self.tiers[tier as usize]
    }

    /// Time between two polls of the rows for now.
    pub(super) fn rows_interval(&self) -> Duration {
        self.tiers[Tier::Rows as usize].interval()
    }

    /// True if the tier is due at this tick; then it is taken as polled. Rows say what a pulse says.
    pub(super) fn take_due(&mut self, tier: Tier, at: Instant) -> bool {
        let half = self.tick / 2;
        if !self.tier(tier).is_due(at + half) {
            return false;
        }
        self.tier(tier).polled(at);
        if tier == Tier::Rows {
            self.tier(Tier::Pulse).polled(at);
        }
        true
    }

    /// Somebody waits for a lock, or nobody does.
    pub(super) fn somebody_waits(&mut self, waits: bool) {
        let blocking = self.tier(Tier::Blocking);
        blocking.usual = waits.then_some(SECOND);
    }

    /// The next tick at which something is due; the others are slept through, and none that is over is made up for.
    pub(super) fn next_tick(&self, now: Instant) -> Instant {
        let due = self.tiers.iter().filter(|tier| tier.usual.is_some()).map(|tier| tier.due.unwrap_or(now));
        let due = due.min().unwrap_or(now);
        let ticks = |at: Instant| at.saturating_duration_since(self.began).as_secs_f64() / self.tick.as_secs_f64();
        let number = ticks(due).round().max(ticks(now).floor() + 1.0);
        self.began + self.tick.mul_f64(number)
    }

    /// Takes what a poll cost the server; gives the event when the interval changes.
    pub(super) fn cost(&mut self, tier: Tier, cost: Duration) -> Option<Event> {
        self.tier(tier).cost(cost)
    }

    /// Takes how many sessions there are; gives the event when the interval changes.
    pub(super) fn sessions(&mut self, sessions: u32) -> Option<Event> {
        self.tier(Tier::Rows).sessions(sessions)
    }

    /// Takes how many sessions a poll found idle in transaction; gives events when that is something new, so that the next
    /// polls are due as soon as usual.
    pub(super) fn idle(&mut self, at_s: f64, idle: u32) -> Vec<Event> {
        let idle = f64::from(idle);
        let jumped = self.idle.back().is_some_and(|(_, last)| (idle - last).abs() > JUMP.0.max(JUMP.1 * last));
        if jumped {
            self.interrupted();
        }
        self.idle.push_back((at_s, idle));
        while self.idle.front().is_some_and(|(first_s, _)| at_s - first_s > EXACT.0) {
            self.idle.pop_front();
        }
        if jumped { self.apply_exact() } else { Vec::new() }
    }

    /// Nothing was seen for a while.
    pub(super) fn interrupted(&mut self) {
        self.idle.clear();
        self.exact = 1;
    }

    /// Once a second: by how much polls may be rarer without saying less; gives events when that has changed.
    pub(super) fn every_second(&mut self) -> Vec<Event> {
        let span_s = self.idle.back().zip(self.idle.front()).map_or(0.0, |(last, first)| last.0 - first.0);
        let series: Series = self.idle.iter().copied().collect();
        let error = series.integral_error().zip(series.integral_seen()).filter(|(_, total)| *total > 0.0);
        self.exact = match error.map(|(error, total)| error / total) {
            Some(error) if error > EXACT.1 => (self.exact / 2).max(1),
            // Half as many polls are about twice as wrong.
            Some(error) if span_s > 0.9 * EXACT.0 && 2.0 * error < EXACT.1 => {
                (self.exact * 2).min(self.tiers[Tier::Pulse as usize].exact_max)
            }
            None => 1,
            Some(_) => self.exact,
        };
        self.apply_exact()
    }

    fn apply_exact(&mut self) -> Vec<Event> {
        let exact = self.exact;
        [Tier::Pulse, Tier::Rows].into_iter().filter_map(|tier| self.tier(tier).exact(exact)).collect()
    }
}

/// The interval of one tier.
#[derive(Debug)]
struct TierInterval {
    name: &'static str,
    /// `None`: it is not asked for.
    usual: Option<Duration>,
    exact_max: u32,
    cost: u32,
    exact: u32,
    many: u32,
    costs: Vec<Duration>,
    /// `None` before the first poll.
    due: Option<Instant>,
}

impl TierInterval {
    fn new(name: &'static str, usual: Option<Duration>, exact_max: u32) -> Self {
        Self { name, usual, exact_max, cost: 1, exact: 1, many: 1, costs: Vec::new(), due: None }
    }

    fn interval(&self) -> Duration {
        self.usual.unwrap_or_default() * self.cost.max(self.exact * self.many)
    }

    fn is_due(&self, by: Instant) -> bool {
        self.usual.is_some() && self.due.is_none_or(|due| due <= by)
    }

    fn polled(&mut self, at: Instant) {
        self.due = Some(at + self.interval());
    }

    fn cost(&mut self, cost: Duration) -> Option<Event> {
        self.costs.push(cost);
        if self.costs.len() < POLLS {
            return None;
        }
        let mut costs = std::mem::take(&mut self.costs);
        costs.sort_unstable();
        let p95 = costs[POLLS * 95 / 100 - 1];
        let before = self.interval();
        if p95 > before.mul_f64(COST.0) {
            self.cost = (self.cost * 2).min(COST_MAX);
        } else if self.cost > 1 && p95 < (before / 2).mul_f64(COST.1) {
            self.cost /= 2;
        }
        self.changed(before, "cost")
    }

    fn sessions(&mut self, sessions: u32) -> Option<Event> {
        let before = self.interval();
        let limit = if self.many > 1 { MANY.1 } else { MANY.0 };
        self.many = if self.usual.is_some_and(|usual| usual < SLOW) && sessions > limit { 2 } else { 1 };
        self.changed(before, "sessions")
    }

    fn exact(&mut self, exact: u32) -> Option<Event> {
        let before = self.interval();
        self.exact = exact.min(self.exact_max);
        if self.interval() < before {
            // The next poll was put off.
            self.due = self.due.map(|due| due.checked_sub(before).unwrap_or(due) + self.interval());
        }
        self.changed(before, "exact")
    }

    fn changed(&self, before: Duration, because: &str) -> Option<Event> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        (self.interval() != before).then(|| Event::BackedOff {
            tier: self.name.to_owned(),
            interval_ms: millis(self.interval()),
            usual_ms: millis(self.usual.unwrap_or_default()),
            because: because.to_owned(),
        })
    }
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
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    const MS: Duration = Duration::from_millis(1);

    fn tier(usual: Duration) -> TierInterval {
        TierInterval::new("rows", Some(usual), 4)
    }

    fn polled(tier: &mut TierInterval, polls: usize, cost: Duration) -> Vec<Event> {
        (0..polls).filter_map(|_| tier.cost(cost)).collect()
    }

    #[test]
    fn polls_become_rarer_while_they_cost_a_fifth_of_their_interval() {
        let mut pulse = tier(50 * MS);
        assert_eq!(polled(&mut pulse, 100, 9 * MS), []);
        assert_eq!(pulse.interval(), 50 * MS);
        let events = polled(&mut pulse, 100, 30 * MS);
        assert_eq!(pulse.interval(), 200 * MS, "30 ms are 30 % of 100 ms and 15 % of 200 ms");
        assert_eq!(events.len(), 2);
        assert_eq!(polled(&mut pulse, 100, 15 * MS), [], "15 ms of 100 ms are too many to return to");
        assert_eq!(polled(&mut pulse, 100, MS).len(), 2);
        assert_eq!(pulse.interval(), 50 * MS);
        polled(&mut pulse, 10_000, Duration::from_secs(9));
        assert_eq!(pulse.interval(), 50 * MS * COST_MAX);
    }

    #[test]
    fn one_slow_poll_of_twenty_is_chance() {
        let mut rows = tier(100 * MS);
        for _ in 0..100 {
            assert_eq!(polled(&mut rows, 19, MS), []);
            assert_eq!(polled(&mut rows, 1, 90 * MS), []);
        }
    }

    #[test]
    fn rows_of_many_sessions_are_asked_for_half_as_often() {
        let mut rows = tier(100 * MS);
        assert_eq!(rows.sessions(500), None);
        assert!(rows.sessions(501).is_some());
        assert_eq!((rows.interval(), rows.sessions(480)), (200 * MS, None));
        assert!(rows.sessions(450).is_some());
        assert_eq!(rows.interval(), 100 * MS);
        assert_eq!(tier(Duration::from_secs(1)).sessions(5000), None);
    }

    #[test]
    fn a_poll_that_was_put_off_is_due_at_once_when_every_poll_counts_again() {
        let start = Instant::now();
        let mut times = PollTimes::new(start, Some(50 * MS), 10_000 * MS);
        times.exact = 4;
        assert_eq!(times.apply_exact().len(), 2);
        assert!(times.take_due(Tier::Pulse, start));
        assert!(!times.take_due(Tier::Pulse, start + 50 * MS));
        times.exact = 1;
        assert_eq!(times.apply_exact().len(), 2);
        assert!(times.take_due(Tier::Pulse, start + 50 * MS));
        assert_eq!(times.apply_exact(), []);
    }

    #[test]
    fn the_next_tick_is_the_first_due_and_never_in_the_past() {
        let start = Instant::now();
        let mut times = PollTimes::new(start, Some(50 * MS), 100 * MS);
        let next = |times: &PollTimes, now: u32| (times.next_tick(start + now * MS) - start).as_millis();
        for tier in [Tier::Rows, Tier::Second] {
            assert!(times.take_due(tier, start));
        }
        assert_eq!(next(&times, 3), 50);
        assert!(times.take_due(Tier::Pulse, start + 50 * MS));
        assert_eq!(next(&times, 53), 100);
        assert_eq!(next(&times, 160), 200, "what is over is not made up for");
        times.somebody_waits(true);
        assert_eq!(next(&times, 53), 100, "at once, as no poll of it was made");
    }

    #[test]
    fn rows_and_pulses_take_turns_and_without_pulses_rows_stay_as_they_are() {
        let start = Instant::now();
        let polls = |pulse| {
            let mut times = PollTimes::new(start, pulse, 100 * MS);
            let (mut tick, mut rows, mut pulses) = (start, 0, 0);
            while tick < start + 2000 * MS {
                if times.take_due(Tier::Rows, tick) {
                    rows += 1;
                } else if times.take_due(Tier::Pulse, tick) {
                    pulses += 1;
                }
                times.take_due(Tier::Second, tick);
                tick = times.next_tick(tick);
            }
            (rows, pulses)
        };
        assert_eq!(polls(Some(50 * MS)), (20, 20));
        assert_eq!(polls(None), (20, 0));
    }

    #[test]
    fn a_tick_that_was_skipped_is_a_missed_poll() {
        let start = Instant::now();
        let interval = Duration::from_millis(100);
        assert_eq!(skipped(None, start, interval), 0);
        assert_eq!(skipped(Some(start), start + interval, interval), 0);
        assert_eq!(skipped(Some(start), start + 4 * interval, interval), 3);
    }

    /// Watches so many sessions that hold for `hold_s`, with pauses, for a minute; gives the factor and the error of the
    /// whole idle time.
    fn watched(sessions: u32, hold_s: f64) -> (u32, f64) {
        let mut random = SmallRng::seed_from_u64(7);
        let mut spans = Vec::new();
        for _ in 0..sessions {
            let mut now = random.random_range(0.0..2.0 * hold_s);
            while now < 60.0 {
                spans.push((now, now + hold_s));
                now += hold_s * random.random_range(1.1..1.5);
            }
        }
        let mut times = PollTimes::new(Instant::now(), Some(50 * MS), 100 * MS);
        let (mut now, mut next_s, mut points) = (0.0, 1.0, Vec::new());
        while now < 60.0 {
            let idle = spans.iter().filter(|(from, to)| (*from..*to).contains(&now)).count();
            times.idle(now, u32::try_from(idle).unwrap());
            points.push((now, f64::from(u32::try_from(idle).unwrap())));
            if now >= next_s {
                times.every_second();
                next_s += 1.0;
            }
            now += times.tiers[Tier::Pulse as usize].interval().as_secs_f64();
        }
        let truth: f64 = spans.iter().map(|(from, to)| to.min(60.0) - from).sum();
        let series: Series = points.into_iter().collect();
        (times.exact, (series.integral().unwrap() / truth - 1.0).abs())
    }

    #[test]
    fn many_long_holds_are_polled_rarely_and_short_ones_as_often_as_usual() {
        let (factor, off) = watched(900, 1.0);
        assert!(factor == 4 && off < 0.01, "{factor}, {off}");
        let (factor, off) = watched(160, 0.1);
        assert!(factor == 1 && off < 0.01, "{factor}, {off}");
    }

    #[test]
    fn whatever_is_new_is_polled_at_once() {
        let mut times = PollTimes::new(Instant::now(), Some(50 * MS), 100 * MS);
        for tick in 0..400 {
            times.idle(f64::from(tick) / 20.0, 200 + tick % 2);
            if tick % 20 == 0 {
                times.every_second();
            }
        }
        times.every_second();
        assert_eq!(times.exact, 4);
        assert_eq!(times.idle(20.05, 230), []);
        assert_eq!(times.idle(20.1, 300).len(), 2);
        assert_eq!(times.exact, 1);
    }
}
