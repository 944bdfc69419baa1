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

/// When a transaction began at the latest, and the times between which it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransactionTimes {
    pub(super) began: Instant,
    pub(super) ended: (Instant, Instant),
}

impl TransactionTimes {
    /// The same, earlier; `None` before the clock began.
    pub(super) fn earlier(self, by: Duration) -> Option<Self> {
        let (from, to) = self.ended;
        Some(Self { began: self.began.checked_sub(by)?, ended: (from.checked_sub(by)?, to.checked_sub(by)?) })
    }
}

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
    first: Option<Instant>,
}

impl RequestLog {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; gives its place.
    pub(super) fn begin(&self, at: Instant) -> usize {
        let mut requests = self.lock();
        requests.first.get_or_insert(at);
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

    /// The beginning of the first request.
    pub(super) fn first(&self) -> Option<Instant> {
        self.lock().first
    }

    /// Requests that were in flight when a transaction began and ended with it, for each of several such times.
    pub(super) fn ended_with(&self, times: &[TransactionTimes]) -> Vec<u32> {
        let requests = self.lock();
        let one = |it: &TransactionTimes| {
            let from = requests.ended.partition_point(|(_, end)| *end < it.ended.0);
            let within = requests.ended.range(from..).take_while(|(_, end)| *end <= it.ended.1);
            number(within.filter(|(began, _)| *began <= it.began).count())
        };
        times.iter().map(one).collect()
    }

    /// Requests that were in flight when a transaction began, and did not end before it.
    pub(super) fn throughout(&self, times: &TransactionTimes) -> u32 {
        let requests = self.lock();
        let from = requests.ended.partition_point(|(_, end)| *end < times.ended.0);
        let began = requests.ended.range(from..).map(|(began, _)| began).chain(requests.in_flight.iter().flatten());
        number(began.filter(|began| **began <= times.began).count())
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

fn number(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
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
    fn a_request_spans_a_transaction_that_begins_in_it_and_ends_with_it() {
        let (log, start) = (RequestLog::default(), Instant::now() + 60_000 * MS);
        assert_eq!(log.first(), None);
        for (began, ended) in [(0, 300), (100, 310), (50, 500)] {
            let place = log.begin(start + began * MS);
            log.end(place, start + ended * MS);
        }
        let span = |began: u32, from: u32, to: u32| TransactionTimes {
            began: start + began * MS,
            ended: (start + from * MS, start + to * MS),
        };
        log.begin(start + 60 * MS);
        let times = [span(100, 290, 320), span(60, 290, 320), span(60, 320, 490), span(60, 0, 900)];
        assert_eq!((log.ended_with(&times), log.first()), (vec![2, 1, 0, 2], Some(start)));
        assert_eq!(times.map(|it| log.throughout(&it)), [4, 3, 2, 3], "one is in flight");
    }

    #[test]
    fn a_request_that_has_not_begun_was_not_there() {
        let (log, start) = (RequestLog::default(), Instant::now() + 60_000 * MS);
        log.begin(start + MS);
        assert!(log.present_at(start, Duration::ZERO).is_empty());
        assert!((log.present_at(start, 2 * MS).in_flight() - 0.25).abs() < 1e-9);
    }
}
