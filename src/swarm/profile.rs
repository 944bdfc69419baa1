//! Level of a load over its time: straight lines between points, known before it begins.
//!
//! The level is a number of users or a number of requests a second. Of the first a profile tells when each user has its
//! turn; of the second, when each request begins.

use std::time::Duration;

use crate::scenario::{Pace, Workload};

/// The level of a load over its time.
#[derive(Clone, Debug)]
pub(super) struct Profile(Vec<Segment>);

#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Its time, in seconds since the load began.
    from: f64,
    to: f64,
    /// The level at its ends.
    low: f64,
    high: f64,
}

impl Profile {
    /// Up to the first level over `ramp_up`, there for `settle`, and then stage by stage, or at that level to the end.
    pub(super) fn of(pace: &Pace) -> Self {
        let most = match pace.workload {
            Workload::Closed { users } => f64::from(users),
            Workload::Open { rate, .. } => rate,
        };
        let first = pace.stages.first().map_or(most, |stage| stage.level);
        let mut lines = Vec::new();
        let mut at = (0.0, 0.0);
        let mut go = |lasting: f64, level: f64| {
            if lasting > 0.0 {
                lines.push(Segment { from: at.0, to: at.0 + lasting, low: at.1, high: level });
            }
            at = (at.0 + lasting, level);
        };
        go(pace.ramp_up.secs(), first);
        go(0.0, first);
        go(pace.settle.secs(), first);
        for stage in &pace.stages {
            go(stage.lasting.secs(), stage.level);
        }
        if pace.stages.is_empty() {
            go(pace.duration.secs(), first);
        }
        Self(lines)
    }

    /// When user `index`, from 0, has its next turn, from `now` on: the level is above its number then. `None` when it
    /// has none any more.
    pub(super) fn next_turn(&self, index: u32, now: Duration) -> Option<Duration> {
        let (index, now) = (f64::from(index), now.as_secs_f64());
        let turns = self.0.iter().filter_map(|line| line.above(index)).filter(|(_, to)| *to > now);
        turns.map(|(from, _)| Duration::from_secs_f64(from.max(now))).next()
    }

    /// When request `number` begins, in seconds: the moment until which so many requests were due. Not whole numbers lie
    /// between two requests. `None` beyond the end.
    pub(super) fn moment_of(&self, number: f64) -> Option<f64> {
        let mut before = 0.0;
        for line in &self.0 {
            let here = line.area();
            if number < before + here {
                return Some(line.moment_of(number - before));
            }
            before += here;
        }
        None
    }
}

impl Segment {
    fn slope(&self) -> f64 {
        (self.high - self.low) / (self.to - self.from)
    }

    /// Its requests, of a level in requests a second.
    fn area(&self) -> f64 {
        f64::midpoint(self.low, self.high) * (self.to - self.from)
    }

    /// The time at which the level is above `level`, if there is any.
    fn above(&self, level: f64) -> Option<(f64, f64)> {
        let crossing = || self.from + (level - self.low) / self.slope();
        match (self.low > level, self.high > level) {
            (false, false) => None,
            (true, true) => Some((self.from, self.to)),
            (false, true) => Some((crossing(), self.to)),
            (true, false) => Some((self.from, crossing())),
        }
    }

    /// When its area from its beginning on is `area`: the smaller root of `slope/2 t² + low t = area`, in the form that
    /// does not cancel.
    fn moment_of(&self, area: f64) -> f64 {
        let root = (self.low * self.low + 2.0 * self.slope() * area).max(0.0).sqrt();
        let divisor = self.low + root;
        let after = if divisor > 0.0 { 2.0 * area / divisor } else { 0.0 };
        (self.from + after).min(self.to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::{Balance, Stage};
    use crate::units::Span;

    fn pace(workload: Workload, ramp_up: u64, duration: u64, stages: &[(f64, u64)]) -> Pace {
        let stages = stages.iter().map(|(level, secs)| Stage { level: *level, lasting: Span::from_secs(*secs) });
        Pace {
            workload,
            stages: stages.collect(),
            max_rate: None,
            ramp_up: Span::from_secs(ramp_up),
            settle: Span::from_secs(1),
            duration: Span::from_secs(duration),
            client_timeout: Span::from_secs(1),
            balance: Balance::default(),
            seed: 1,
        }
    }

    const fn open(rate: f64) -> Workload {
        Workload::Open { rate, max_in_flight: 1 }
    }

    fn turn(profile: &Profile, user: u32, now: f64) -> Option<f64> {
        profile.next_turn(user, Duration::from_secs_f64(now)).map(|it| it.as_secs_f64())
    }

    #[test]
    fn users_start_evenly_over_the_ramp_and_stay() {
        let profile = Profile::of(&pace(Workload::Closed { users: 10 }, 10, 20, &[]));
        assert_eq!([0, 1, 9].map(|user| turn(&profile, user, 0.0)), [Some(0.0), Some(1.0), Some(9.0)]);
        assert_eq!(turn(&profile, 9, 30.5), Some(30.5));
        assert_eq!((turn(&profile, 9, 31.0), turn(&profile, 10, 0.0)), (None, None));
    }

    #[test]
    fn users_beyond_the_level_rest_until_it_has_room_for_them_again() {
        let stages = [(10.0, 5), (2.0, 4), (2.0, 5), (10.0, 0), (10.0, 5)];
        let profile = Profile::of(&pace(Workload::Closed { users: 10 }, 0, 0, &stages));
        // Ten until 6 s, then two fewer each second, two until 15 s, and a spike to ten.
        assert_eq!((turn(&profile, 9, 0.0), turn(&profile, 9, 6.4)), (Some(0.0), Some(6.4)));
        assert_eq!((turn(&profile, 9, 6.6), turn(&profile, 2, 9.9)), (Some(15.0), Some(9.9)));
        assert_eq!((turn(&profile, 2, 10.0), turn(&profile, 1, 12.0)), (Some(15.0), Some(12.0)));
        assert_eq!(turn(&profile, 9, 20.0), None);
    }

    #[test]
    fn a_rate_that_grows_is_met_at_every_moment() {
        let profile = Profile::of(&pace(open(50.0), 2, 10, &[]));
        // 50 in the ramp, 50 in the second after it, 500 in the steady phase.
        let moment = |number| profile.moment_of(number).unwrap();
        assert!((moment(12.5) - 1.0).abs() < 1e-9 && (moment(50.0) - 2.0).abs() < 1e-9);
        assert!((moment(100.0) - 3.0).abs() < 1e-9 && (moment(350.0) - 8.0).abs() < 1e-9);
        assert_eq!(profile.moment_of(600.0), None);
    }

    proptest! {
        #[test]
        fn moments_never_go_back_and_every_request_that_is_due_has_one(
            first in 1.0..500.0_f64,
            stages in prop::collection::vec((0.0..500.0_f64, 0_u64..9), 1..6),
            ramp_up in 0_u64..5,
        ) {
            let stages: Vec<_> = std::iter::once((first, 1)).chain(stages).collect();
            let profile = Profile::of(&pace(open(500.0), ramp_up, 0, &stages));
            let due: f64 = profile.0.iter().map(Segment::area).sum();
            let mut last = 0.0;
            let mut number = 0.0;
            while number < due - 1e-6 {
                let moment = profile.moment_of(number);
                prop_assert!(moment.is_some_and(|it| it >= last - 1e-9), "{number} of {due}: {moment:?} after {last}");
                last = moment.unwrap_or(last);
                number += 1.0;
            }
            prop_assert_eq!(profile.moment_of(due + 1.0), None);
        }
    }
}
