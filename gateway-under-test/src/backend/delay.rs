//! Delays of tools, drawn from the distribution that the scenario gives.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::settings::DelaySettings;

/// The delays of all tools.
#[derive(Debug)]
pub(super) struct Delays(BTreeMap<String, Law>);

/// One tool's law and its own random numbers, so that its sequence of delays does not depend on what other tools
/// are called in between. The generator is a named one: `StdRng` and `SmallRng` may change between releases.
#[derive(Debug)]
struct Law {
    settings: DelaySettings,
    rng: Mutex<Xoshiro256PlusPlus>,
}

impl Delays {
    pub(super) fn new(laws: &BTreeMap<String, DelaySettings>, seed: u64) -> Self {
        let law = |(settings, seed): (&DelaySettings, u64)| Law {
            settings: *settings,
            rng: Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed)),
        };
        let seeds = (0..).map(|place| seed.wrapping_add(place));
        Self(laws.iter().zip(seeds).map(|((tool, settings), seed)| (tool.clone(), law((settings, seed)))).collect())
    }

    /// The next delay of a tool; zero for one that has no law.
    pub(super) fn draw(&self, tool: &str) -> Duration {
        self.0.get(tool).map_or(Duration::ZERO, Law::draw)
    }
}

impl Law {
    fn draw(&self) -> Duration {
        let uniform = self.rng.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>();
        delay(&self.settings, uniform)
    }
}

/// Inverse of the exponential's distribution function at `uniform`, which is in [0, 1), moved by `min`, cut at `max`.
fn delay(law: &DelaySettings, uniform: f64) -> Duration {
    let exponential = -law.exponential_mean.as_secs_f64() * (-uniform).ln_1p();
    // What does not fit a `Duration` is beyond any `max`.
    let exponential = Duration::try_from_secs_f64(exponential).unwrap_or(Duration::MAX);
    law.min.saturating_add(exponential).min(law.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: DelaySettings = DelaySettings {
        min: Duration::from_millis(100),
        exponential_mean: Duration::from_millis(1100),
        max: Duration::from_secs(3),
    };

    fn delays(seed: u64) -> Delays {
        Delays::new(&BTreeMap::from([("search".into(), LAW), ("report".into(), LAW)]), seed)
    }

    fn draws(delays: &Delays, tool: &str, count: usize) -> Vec<Duration> {
        (0..count).map(|_| delays.draw(tool)).collect()
    }

    /// Mean of min(E, c) for an exponential E of mean m is m(1 − e^(−c/m)): the integral of its survival function.
    fn mean_secs(law: &DelaySettings) -> f64 {
        let mean = law.exponential_mean.as_secs_f64();
        let (min, max) = (law.min.as_secs_f64(), law.max.as_secs_f64());
        min + mean * -(-(max - min) / mean).exp_m1()
    }

    #[test]
    fn the_drawn_delays_follow_the_cut_exponential() {
        let count = 200_000;
        let drawn = draws(&delays(7), "search", count);
        assert!(drawn.iter().all(|delay| (LAW.min..=LAW.max).contains(delay)));
        assert!(drawn.iter().min().unwrap() < &Duration::from_millis(101), "comes close to `min`");

        // The standard deviation is below the mean of the exponential; five standard errors are 12 ms.
        let mean = drawn.iter().map(Duration::as_secs_f64).sum::<f64>() / count as f64;
        assert!((mean - mean_secs(&LAW)).abs() < 0.012, "mean {mean}, formula {}", mean_secs(&LAW));

        // A share of e^(−c/m) = 7.2 % lies on `max` itself; five standard errors are 0.3 %.
        let share = drawn.iter().filter(|delay| **delay == LAW.max).count() as f64 / count as f64;
        assert!((share - (-2.9_f64 / 1.1).exp()).abs() < 0.003, "share at `max`: {share}");
    }

    #[test]
    fn a_seed_gives_each_tool_its_own_sequence_whatever_else_is_called() {
        let (alone, mixed) = (delays(1), delays(1));
        let alone = draws(&alone, "search", 50);
        let interleaved: Vec<_> = (0..50).map(|_| (mixed.draw("report"), mixed.draw("search"))).collect();
        assert_eq!(alone, interleaved.iter().map(|pair| pair.1).collect::<Vec<_>>());
        assert_ne!(alone, interleaved.iter().map(|pair| pair.0).collect::<Vec<_>>(), "the tools differ");
        assert_ne!(alone, draws(&delays(2), "search", 50), "the seeds differ");
    }

    #[test]
    fn the_edges_of_the_law() {
        let constant = DelaySettings { exponential_mean: Duration::ZERO, ..LAW };
        let endless = DelaySettings { exponential_mean: Duration::MAX, ..LAW };
        let largest = 1.0 - f64::EPSILON / 2.0;
        for (law, uniform, expected) in [
            (LAW, 0.0, LAW.min),
            (LAW, largest, LAW.max),
            (constant, 0.5, LAW.min),
            (constant, largest, LAW.min),
            (endless, largest, LAW.max),
        ] {
            assert_eq!(delay(&law, uniform), expected, "{law:?} at {uniform}");
        }
        assert_eq!(delays(1).draw("echo"), Duration::ZERO, "no law, no delay");
    }
}
