//! Requests of a route around a moment, by age or by the time since they ended.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Upper bounds of the ages of requests in flight, in seconds; a last class has the older ones.
pub const AGES_S: [f64; 3] = [0.02, 0.1, 0.5];

/// Upper bounds of the time since requests have ended, in seconds. Those that ended before are forgotten.
pub const ENDED_S: [f64; 2] = [0.1, 1.0];

/// A pause between two statements takes less, in seconds.
pub const PAUSE_S: f64 = 0.02;

/// Classes of requests in flight.
pub const IN_FLIGHT: usize = AGES_S.len() + 1;

/// All classes: those of requests that have just ended follow.
pub const CLASSES: usize = IN_FLIGHT + ENDED_S.len();

/// The requests of one route, by class: those in flight by age, then those that have just ended by the time since. A request
/// whose class is not sure, since a clock is not, counts in parts.
///
/// Stored as a list without the zeros at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Presence(pub [f64; CLASSES]);

impl Presence {
    /// Adds a request from `from_s` to `to_s` (infinite while it is in flight), seen from a moment that is known to within
    /// `error_s`. Times on one clock.
    pub fn add(&mut self, from_s: f64, to_s: f64, at_s: f64, error_s: f64) {
        let (early, late) = (at_s - error_s, at_s + error_s);
        let mut lower = from_s;
        for (class, upper) in AGES_S.iter().map(|age| from_s + age).chain([f64::INFINITY]).enumerate() {
            self.0[class] += share(lower, upper.min(to_s), early, late);
            lower = upper;
        }
        let mut lower = to_s;
        for (class, since) in ENDED_S.iter().enumerate() {
            self.0[IN_FLIGHT + class] += share(lower, to_s + since, early, late);
            lower = to_s + since;
        }
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> f64 {
        self.0[..IN_FLIGHT].iter().sum()
    }

    /// True if nobody was there, nor has just left.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count <= 0.0)
    }
}

/// The requests of one route that were in flight when a transaction began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spanning {
    /// Those that ended with it.
    pub ended_with_it: u32,
    /// Those that did not end before it.
    pub throughout: u32,
    /// Mean number that would have ended with as long a transaction at other times, shortly before; `None` where there was no
    /// load before.
    pub expected: Option<f64>,
}

/// Share of the moments between `early` and `late` that lie from `from` to before `to`.
fn share(from: f64, to: f64, early: f64, late: f64) -> f64 {
    if late > early {
        ((to.min(late) - from.max(early)) / (late - early)).clamp(0.0, 1.0)
    } else if (from..to).contains(&early) {
        1.0
    } else {
        0.0
    }
}

impl Serialize for Presence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = self.0.iter().rposition(|count| *count > 0.0).map_or(0, |last| last + 1);
        let rounded = self.0[..length].iter().map(|count| (count * 100.0).round() / 100.0);
        serializer.collect_seq(rounded)
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = Vec::<f64>::deserialize(deserializer)?;
        let mut all = [0.0; CLASSES];
        all.iter_mut().zip(counts).for_each(|(class, count)| *class = count);
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(from_s: f64, to_s: f64, at_s: f64, error_s: f64) -> [f64; CLASSES] {
        let mut presence = Presence::default();
        presence.add(from_s, to_s, at_s, error_s);
        presence.0
    }

    #[test]
    fn a_request_is_of_the_class_of_its_age_or_of_the_time_since_its_end() {
        let place = |at_s| seen(1.0, 3.0, at_s, 0.0).iter().position(|count| *count > 0.0);
        let places = [0.999, 1.0, 1.019, 1.05, 1.2, 2.9, 3.05, 3.5, 4.5].map(place);
        assert_eq!(places, [None, Some(0), Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), None]);
        assert_eq!(
            Presence(seen(1.0, f64::INFINITY, 90.0, 0.0)),
            Presence([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
            "it is in flight"
        );
    }

    #[test]
    fn a_moment_near_an_edge_counts_for_both_sides() {
        let parts = seen(1.0, 1.05, 1.03, 0.03);
        let rounded = parts.map(|part| (part * 60.0).round());
        assert_eq!(Presence(rounded), Presence([20.0, 30.0, 0.0, 0.0, 10.0, 0.0]), "in sixtieths");
        assert!((seen(1.0, 2.0, 0.99, 0.02)[0] - 0.25).abs() < 1e-9, "it may not have begun");
    }

    #[test]
    fn zeros_at_the_end_are_not_stored() {
        let mut presence = Presence::default();
        presence.add(1.0, 9.0, 1.05, 0.0);
        let text = serde_json::to_string(&presence).unwrap();
        assert_eq!(text, "[0.0,1.0]");
        assert_eq!(serde_json::from_str::<Presence>(&text).unwrap(), presence);
        assert_eq!(serde_json::to_string(&Presence::default()).unwrap(), "[]");
    }
}
