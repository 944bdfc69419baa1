//! A ceiling of requests a second, for users who would ask more often: a bucket of tokens.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tokens that may lie unused, in time: users who were late may catch up with so much.
const BURST: Duration = Duration::from_millis(100);

/// Hands out places in a queue that moves at a rate.
#[derive(Debug)]
pub(super) struct Ceiling {
    distance: Duration,
    /// When the next place is due.
    next: Mutex<Option<Instant>>,
}

impl Ceiling {
    /// At most `rate` places a second.
    pub(super) fn of(rate: f64) -> Self {
        Self { distance: Duration::from_secs_f64(1.0 / rate), next: Mutex::default() }
    }

    /// When anyone who asks now may begin.
    pub(super) fn next_place(&self) -> Instant {
        self.place_from(Instant::now())
    }

    fn place_from(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let place = next.map_or(now, |next| next.max(earliest));
        *next = Some(place + self.distance);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn no_second_has_more_places_than_the_ceiling_and_a_burst() {
        let ceiling = Ceiling::of(100.0);
        let begun = Instant::now();
        // Everybody asks at once, then nobody for a while, then everybody again.
        let mut places: Vec<Instant> = (0..150).map(|_| ceiling.place_from(begun)).collect();
        assert_eq!(places[149] - begun, 1490 * MS);
        let later = begun + 5000 * MS;
        places.extend((0..150).map(|_| ceiling.place_from(later).max(later)));
        for (first, place) in places.iter().enumerate() {
            let within = places[first..].iter().filter(|it| **it < *place + 1000 * MS).count();
            assert!(within <= 111, "{within} in the second from {:?} on", *place - begun);
        }
    }
}
