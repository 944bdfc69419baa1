//! Seconds per request from waves, with an interval.
//!
//! A wave is one observation: its requests go together, and the next wave begins when all of them are over. The estimate
//! is the ratio of sums, its error from the spread of the waves (Cochran, Sampling Techniques, 6.4), with what others
//! did meanwhile subtracted and its error added.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::tally::BatchTally;
use crate::record::scan::Estimate;

/// Fewer waves have no spread to speak of.
pub const MIN_BATCHES: usize = 3;

/// What others do, in session seconds a second, and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OtherSessionRates {
    /// Idle in transaction.
    pub idle: SessionRate,
    /// Of it, beyond pauses.
    pub beyond: SessionRate,
    /// Running statements.
    pub active: f64,
    /// Waiting for locks.
    pub lock: f64,
}

/// A rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SessionRate {
    /// Session seconds a second.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

impl OtherSessionRates {
    /// What is seen in the windows in which nothing is asked for; `None` without such a window.
    #[must_use]
    pub fn of(quiet: &[&BatchTally]) -> Option<Self> {
        let lasted_s: f64 = quiet.iter().map(|it| it.lasted_s).sum();
        if lasted_s <= 0.0 {
            return None;
        }
        let mean = |value: fn(&BatchTally) -> f64| quiet.iter().map(|it| value(it)).sum::<f64>() / lasted_s;
        let rate = |value: fn(&BatchTally) -> f64| {
            let value_of = mean(value);
            let pairs: Vec<(f64, f64)> = quiet.iter().map(|it| (value(it), it.lasted_s)).collect();
            SessionRate { value: value_of, error: ratio_error(&pairs, value_of).unwrap_or(value_of) }
        };
        Some(Self {
            idle: rate(|it| it.idle_s),
            beyond: rate(|it| it.beyond_s),
            active: mean(|it| it.active_s),
            lock: mean(|it| it.lock_s),
        })
    }
}

/// The standard error of Σy ÷ Σx; `None` with fewer than two pairs.
fn ratio_error(pairs: &[(f64, f64)], ratio: f64) -> Option<f64> {
    let count = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(_, x)| x).sum::<f64>() / count;
    let squares: f64 = pairs.iter().map(|(y, x)| (y - ratio * x).powi(2)).sum();
    (pairs.len() >= 2 && mean_x > 0.0).then(|| (squares / (count * (count - 1.0))).sqrt() / mean_x)
}

/// Seconds per request of what `value` gives of a wave, of which strangers have a share; `None` with too few waves.
/// `step_s` is the time between two looks: what is shorter may be seen or not.
#[must_use]
pub fn per_request(
    waves: &[&BatchTally],
    value: fn(&BatchTally) -> f64,
    strangers: SessionRate,
    step_s: f64,
) -> Option<Estimate> {
    let requests: f64 = waves.iter().map(|it| f64::from(it.batch.requests)).sum();
    if waves.len() < MIN_BATCHES || requests <= 0.0 {
        return None;
    }
    let pairs: Vec<(f64, f64)> =
        waves.iter().map(|it| (value(it) - strangers.value * it.lasted_s, f64::from(it.batch.requests))).collect();
    let mean = pairs.iter().map(|(y, _)| y).sum::<f64>() / requests;
    let spread = ratio_error(&pairs, mean)?;
    let of_strangers = strangers.error * waves.iter().map(|it| it.lasted_s).sum::<f64>() / requests;
    let half = student(waves.len() as f64 - 1.0) * spread.hypot(of_strangers);
    // What was never seen was seen fewer than three times, at 95 %.
    let least = 3.0 * step_s / requests;
    Some(Estimate { value: mean.max(0.0), low: (mean - half).max(0.0), high: (mean + half).max(mean.max(0.0) + least) })
}

/// The 97.5 % quantile of Student's t.
fn student(freedom: f64) -> f64 {
    let distribution = StudentsT::new(0.0, 1.0, freedom.max(1.0)).expect("a scale of 1 and a positive freedom");
    distribution.inverse_cdf(0.975)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::observation::Batch;

    fn wave(idle_s: f64, requests: u32) -> BatchTally {
        BatchTally { batch: Batch { requests, ..Batch::default() }, lasted_s: 0.5, idle_s, ..BatchTally::default() }
    }

    fn estimated(waves: &[BatchTally], strangers: SessionRate) -> Option<Estimate> {
        per_request(&waves.iter().collect::<Vec<_>>(), |it| it.idle_s, strangers, 0.01)
    }

    #[test]
    fn equal_waves_give_their_seconds_and_different_ones_an_interval() {
        let equal =
            estimated(&[wave(0.3, 3), wave(0.3, 3), wave(0.2, 2)], SessionRate::default()).expect("three waves");
        assert!((equal.value - 0.1).abs() < 1e-9 && (equal.low - 0.1).abs() < 1e-9, "{equal:?}");
        let different =
            estimated(&[wave(0.2, 2), wave(0.3, 2), wave(0.4, 2)], SessionRate::default()).expect("three waves");
        // 0.15 ± 4.303 · 0.05 / √3
        assert!((different.value - 0.15).abs() < 1e-9 && (different.low - 0.0258).abs() < 1e-3, "{different:?}");
        assert!((different.high - 0.2742).abs() < 1e-3, "{different:?}");
        assert_eq!(estimated(&[wave(0.2, 2), wave(0.3, 2)], SessionRate::default()), None);
    }

    #[test]
    fn nothing_seen_is_not_nothing_for_certain() {
        let waves = vec![wave(0.0, 3); 10];
        let none = estimated(&waves, SessionRate::default()).expect("ten waves");
        assert_eq!((none.value, none.low), (0.0, 0.0));
        assert!((none.high - 0.001).abs() < 1e-9, "three looks of 10 ms over thirty requests: {none:?}");
    }

    #[test]
    fn what_strangers_do_is_subtracted_and_makes_it_less_sure() {
        let waves = vec![wave(0.3, 2); 8];
        let alone = estimated(&waves, SessionRate::default()).expect("eight waves");
        let among = estimated(&waves, SessionRate { value: 0.2, error: 0.05 }).expect("eight waves");
        assert!((among.value - 0.1).abs() < 1e-9, "0.3 s less 0.2 × 0.5 s for two: {among:?}");
        assert!(among.high - among.low > alone.high - alone.low);
        let quiet = [wave(0.1, 0), wave(0.0, 0)];
        let strangers = OtherSessionRates::of(&quiet.iter().collect::<Vec<_>>()).expect("two quiet windows");
        assert!((strangers.idle.value - 0.1).abs() < 1e-9 && strangers.idle.error > 0.05, "{strangers:?}");
        assert_eq!(OtherSessionRates::of(&[]), None, "nobody looked");
    }
}
