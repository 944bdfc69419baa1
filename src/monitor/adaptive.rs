//! Adaptive polling: as long as the totals stay as exact as they should be, rarer polls cost less and say the same.
//!
//! Pure. Of the last ten seconds the standard error of their idle time is known (`stats::Series::integral_error`). Sessions
//! that hold for a second differ little from one poll to the next, and four polls a second tell as much of them as twenty;
//! of holds of a tenth of a second each poll is needed.

use std::collections::VecDeque;

use crate::stats::Series;

/// Length of the averaging window.
const WINDOW_S: f64 = 10.0;

/// The standard error of the idle time of such a window, relative to it, that is small enough.
const ENOUGH: f64 = 0.005;

/// Never rarer by more than this.
const RAREST: u32 = 4;

/// Change from one poll to the next that makes every poll worthwhile: in sessions, and as a share of them.
const JUMP: (f64, f64) = (5.0, 0.2);

/// Sessions idle in transaction at the last polls.
#[derive(Debug)]
pub(super) struct AdaptiveInterval {
    points: VecDeque<(f64, f64)>,
    factor: u32,
}

impl Default for AdaptiveInterval {
    fn default() -> Self {
        Self { points: VecDeque::new(), factor: 1 }
    }
}

impl AdaptiveInterval {
    /// Takes what a poll found; whether that is something new, so that the next one is due as soon as usual.
    pub(super) fn take(&mut self, at_s: f64, idle: u32) -> bool {
        let idle = f64::from(idle);
        let jumped = self.points.back().is_some_and(|(_, last)| (idle - last).abs() > JUMP.0.max(JUMP.1 * last));
        if jumped {
            self.interrupted();
        }
        self.points.push_back((at_s, idle));
        while self.points.front().is_some_and(|(first_s, _)| at_s - first_s > WINDOW_S) {
            self.points.pop_front();
        }
        jumped
    }

    /// Forgets the last polls.
    pub(super) fn interrupted(&mut self) {
        self.points.clear();
        self.factor = 1;
    }

    /// Once a second: by how much polls may be rarer than usual.
    pub(super) fn factor(&mut self) -> u32 {
        let span_s = self.points.back().zip(self.points.front()).map_or(0.0, |(last, first)| last.0 - first.0);
        let series: Series = self.points.iter().copied().collect();
        let error = series.integral_error().zip(series.integral_seen()).filter(|(_, total)| *total > 0.0);
        self.factor = match error.map(|(error, total)| error / total) {
            Some(error) if error > ENOUGH => (self.factor / 2).max(1),
            // Half as many polls are about twice as wrong.
            Some(error) if span_s > 0.9 * WINDOW_S && 2.0 * error < ENOUGH => (self.factor * 2).min(RAREST),
            // With nothing idle, whatever comes is new.
            None => 1,
            Some(_) => self.factor,
        };
        self.factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    /// Watches so many sessions that hold for `hold_s`, with pauses, for a while; gives the factor and the error of the
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
        let (mut ease, mut factor, mut now, mut next_s) = (AdaptiveInterval::default(), 1, 0.0, 1.0);
        let mut points = Vec::new();
        while now < 60.0 {
            let idle = spans.iter().filter(|(from, to)| (*from..*to).contains(&now)).count();
            if ease.take(now, u32::try_from(idle).unwrap()) {
                factor = 1;
            }
            points.push((now, f64::from(u32::try_from(idle).unwrap())));
            if now >= next_s {
                (factor, next_s) = (ease.factor(), next_s + 1.0);
            }
            now += 0.05 * f64::from(factor);
        }
        let truth: f64 = spans.iter().map(|(from, to)| to.min(60.0) - from).sum();
        let series: Series = points.into_iter().collect();
        (factor, (series.integral().unwrap() / truth - 1.0).abs())
    }

    #[test]
    fn many_long_holds_are_looked_at_rarely_and_short_ones_as_often_as_usual() {
        let (factor, off) = watched(900, 1.0);
        assert!(factor == RAREST && off < 0.01, "{factor}, {off}");
        let (factor, off) = watched(160, 0.1);
        assert!(factor == 1 && off < 0.01, "{factor}, {off}");
    }

    #[test]
    fn whatever_is_new_is_looked_at_at_once() {
        let mut ease = AdaptiveInterval::default();
        for tick in 0..400 {
            ease.take(f64::from(tick) / 20.0, 200 + tick % 2);
            if tick % 20 == 0 {
                ease.factor();
            }
        }
        assert_eq!(ease.factor(), RAREST);
        assert!(!ease.take(20.05, 230));
        assert!(ease.take(20.1, 300));
        assert_eq!(ease.factor(), 1);
        assert_eq!(AdaptiveInterval::default().factor(), 1, "nobody knows anything yet");
    }
}
