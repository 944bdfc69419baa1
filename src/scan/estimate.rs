//! Seconds per request from batches, with an interval.
//!
//! A batch is one observation: its requests go together, and the next batch begins when all of them are over. The estimate
//! is the ratio of sums, its error from the spread of the batches (Cochran, Sampling Techniques, 6.4), with what others
//! did meanwhile subtracted and its error added.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::tally::BatchTally;
use crate::record::scan::Estimate;

/// Fewer batches have no spread to speak of.
pub const MIN_BATCHES: usize = 3;

/// Rates of other sessions, in session seconds a second, with standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OtherSessionRates {
    pub idle: SessionRate,
    /// Of it, beyond pauses.
    pub beyond: SessionRate,
    pub active: f64,
    pub lock: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SessionRate {
    /// Session seconds a second.
    pub value: f64,
    pub error: f64,
}

impl OtherSessionRates {
    /// Rates from the turns in which nothing is asked for; `None` without such a turn.
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

/// Seconds per request of what `value` gives of a batch, of which other sessions have a share; `None` with too few batches.
/// `step_s` is the time between two polls: what is shorter may be seen or not.
#[must_use]
pub fn per_request(
    batches: &[&BatchTally],
    value: fn(&BatchTally) -> f64,
    other_sessions: SessionRate,
    step_s: f64,
) -> Option<Estimate> {
    let requests: f64 = batches.iter().map(|it| f64::from(it.batch.requests)).sum();
    if batches.len() < MIN_BATCHES || requests <= 0.0 {
        return None;
    }
    let pairs: Vec<(f64, f64)> = batches
        .iter()
        .map(|it| (value(it) - other_sessions.value * it.lasted_s, f64::from(it.batch.requests)))
        .collect();
    let mean = pairs.iter().map(|(y, _)| y).sum::<f64>() / requests;
    let spread = ratio_error(&pairs, mean)?;
    let of_strangers = other_sessions.error * batches.iter().map(|it| it.lasted_s).sum::<f64>() / requests;
    let half = student(batches.len() as f64 - 1.0) * spread.hypot(of_strangers);
    // What was never seen was seen fewer than three times, at 95 %.
    let least = 3.0 * step_s / requests;
    Some(Estimate { value: mean.max(0.0), low: (mean - half).max(0.0), high: (mean + half).max(mean.max(0.0) + least) })
}

/// By how much wider an interval is that is looked at so many times, and covers in all of them with 95 % (Bonferroni): a normal
/// distribution's quantiles, as a ratio.
#[must_use]
pub fn wider_for(looks: u32) -> f64 {
    let normal = Normal::standard();
    normal.inverse_cdf(1.0 - 0.025 / f64::from(looks.max(1))) / normal.inverse_cdf(0.975)
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

    fn batch(idle_s: f64, requests: u32) -> BatchTally {
        BatchTally { batch: Batch { requests, ..Batch::default() }, lasted_s: 0.5, idle_s, ..BatchTally::default() }
    }

    fn estimated(batches: &[BatchTally], other_sessions: SessionRate) -> Option<Estimate> {
        per_request(&batches.iter().collect::<Vec<_>>(), |it| it.idle_s, other_sessions, 0.01)
    }

    #[test]
    fn equal_waves_give_their_seconds_and_different_ones_an_interval() {
        let equal =
            estimated(&[batch(0.3, 3), batch(0.3, 3), batch(0.2, 2)], SessionRate::default()).expect("three batches");
        assert!((equal.value - 0.1).abs() < 1e-9 && (equal.low - 0.1).abs() < 1e-9, "{equal:?}");
        let different =
            estimated(&[batch(0.2, 2), batch(0.3, 2), batch(0.4, 2)], SessionRate::default()).expect("three batches");
        // 0.15 ± 4.303 · 0.05 / √3
        assert!((different.value - 0.15).abs() < 1e-9 && (different.low - 0.0258).abs() < 1e-3, "{different:?}");
        assert!((different.high - 0.2742).abs() < 1e-3, "{different:?}");
        assert_eq!(estimated(&[batch(0.2, 2), batch(0.3, 2)], SessionRate::default()), None);
    }

    #[test]
    fn nothing_seen_is_not_nothing_for_certain() {
        let batches = vec![batch(0.0, 3); 10];
        let none = estimated(&batches, SessionRate::default()).expect("ten batches");
        assert_eq!((none.value, none.low), (0.0, 0.0));
        assert!((none.high - 0.001).abs() < 1e-9, "three polls of 10 ms over thirty requests: {none:?}");
    }

    #[test]
    fn what_other_sessions_do_is_subtracted_and_makes_it_less_sure() {
        let batches = vec![batch(0.3, 2); 8];
        let alone = estimated(&batches, SessionRate::default()).expect("eight batches");
        let among = estimated(&batches, SessionRate { value: 0.2, error: 0.05 }).expect("eight batches");
        assert!((among.value - 0.1).abs() < 1e-9, "0.3 s less 0.2 × 0.5 s for two: {among:?}");
        assert!(among.high - among.low > alone.high - alone.low);
        let quiet = [batch(0.1, 0), batch(0.0, 0)];
        let other_sessions = OtherSessionRates::of(&quiet.iter().collect::<Vec<_>>()).expect("two quiet turns");
        assert!(
            (other_sessions.idle.value - 0.1).abs() < 1e-9 && other_sessions.idle.error > 0.05,
            "{other_sessions:?}"
        );
        assert_eq!(OtherSessionRates::of(&[]), None, "nobody polled");
    }
}
