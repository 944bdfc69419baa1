//! The requests of the last seconds, to look up a moment that has just passed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::record::Presence;
use crate::record::presence::ENDED_S;

/// So long after its end a request is remembered: moments that are asked for lie a poll or two in the past.
const KEPT: Duration = Duration::from_secs(10);

/// Requests that are remembered of one route at most, 32 bytes each.
const KEPT_MAX: usize = 100_000;

/// The requests of one route.
#[derive(Debug, Default)]
pub(super) struct RequestLog(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    /// Beginnings of those in flight; free places are empty.
    in_flight: Vec<Option<Instant>>,
    free: Vec<usize>,
    /// Beginning and end, in the order of the ends.
    ended: VecDeque<(Instant, Instant)>,
}

impl RequestLog {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; gives its place.
    pub(super) fn begin(&self, at: Instant) -> usize {
        let mut requests = self.lock();
        let place = requests.free.pop().unwrap_or(requests.in_flight.len());
        if place == requests.in_flight.len() {
            requests.in_flight.push(None);
        }
        requests.in_flight[place] = Some(at);
        place
    }

    /// The request of this place has ended.
    pub(super) fn end(&self, place: usize, at: Instant) {
        let mut requests = self.lock();
        let Some(began) = requests.in_flight.get_mut(place).and_then(Option::take) else { return };
        requests.free.push(place);
        requests.ended.push_back((began, at));
        while requests.ended.len() > KEPT_MAX || requests.ended.front().is_some_and(|(_, end)| at - *end > KEPT) {
            requests.ended.pop_front();
        }
    }

    /// Requests around a moment, which is known to within `error`.
    pub(super) fn present_at(&self, at: Instant, error: Duration) -> Presence {
        // Seconds after an instant that lies before all that is asked for.
        let Some(origin) = at.checked_sub(KEPT + error) else { return Presence::default() };
        let seconds = |it: Instant| match it.checked_duration_since(origin) {
            Some(since) => since.as_secs_f64(),
            None => -(origin - it).as_secs_f64(),
        };
        let (at_s, error_s) = (seconds(at), error.as_secs_f64());
        let mut presence = Presence::default();
        let requests = self.lock();
        for began in requests.in_flight.iter().flatten() {
            presence.add(seconds(*began), f64::INFINITY, at_s, error_s);
        }
        let forgotten_s = at_s - error_s - ENDED_S[ENDED_S.len() - 1];
        let recent = requests.ended.iter().rev().map(|(began, ended)| (seconds(*began), seconds(*ended)));
        for (began_s, ended_s) in recent.take_while(|(_, ended_s)| *ended_s > forgotten_s) {
            presence.add(began_s, ended_s, at_s, error_s);
        }
        presence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_was_there_is_known_for_some_seconds_afterwards() {
        let (log, start) = (RequestLog::default(), Instant::now() + 60_000 * MS);
        let first = log.begin(start);
        let second = log.begin(start + 200 * MS);
        log.end(first, start + 300 * MS);
        let third = log.begin(start + 310 * MS);
        assert_eq!(third, first, "places are used again");
        log.end(second, start + 2000 * MS);
        let at = |millis: u32| log.present_at(start + millis * MS, Duration::ZERO);
        let in_flight = [100, 250, 1000].map(|millis| format!("{:.0}", at(millis).in_flight()));
        assert_eq!(in_flight, ["1", "2", "2"]);
        assert_eq!(at(350), Presence([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]));
        assert_eq!(
            at(5000),
            Presence([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
            "the third is in flight, the others are forgotten"
        );
        log.end(third, start + 20_000 * MS);
        assert_eq!(log.lock().ended.len(), 1);
    }

    #[test]
    fn a_request_that_has_not_begun_was_not_there() {
        let (log, start) = (RequestLog::default(), Instant::now() + 60_000 * MS);
        log.begin(start + MS);
        assert!(log.present_at(start, Duration::ZERO).is_empty());
        assert!((log.present_at(start, 2 * MS).in_flight() - 0.25).abs() < 1e-9);
    }
}
