//! The figures that every table, gate and script reads: product contract, spelled as it spells them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pool_wait::PoolWaits;
use super::{Phases, Sample, Stamped};
use crate::stats::{LatencyHistogram, Series};

/// One variant in figures, over the steady phase unless stated otherwise. `None` is a figure that could not be had.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Requests that finished.
    pub requests: u64,
    /// Finished requests a second, failed ones included, as Locust counts.
    pub throughput_rps: Option<f64>,
    /// Successful requests a second.
    pub goodput_rps: Option<f64>,
    /// Failed requests of those finished, 0–1.
    pub failure_ratio: Option<f64>,
    /// The same since the load began, ramp included.
    pub failure_ratio_since_start: Option<f64>,
    /// Median latency of finished requests.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile.
    pub latency_p95_ms: Option<f64>,
    /// 99th percentile.
    pub latency_p99_ms: Option<f64>,
    /// The longest.
    pub latency_max_ms: Option<f64>,
    /// Requests cut off by the end of the load: neither success nor failure.
    pub requests_cut_off: u64,
    /// Replicas that were started; of an external service the base URLs that were probed, and `None` where none was.
    pub replicas: Option<u32>,
    /// Fewest replicas that the health probe called up at any time.
    pub replicas_healthy_min: Option<u32>,
    /// Most sessions idle in transaction, aborted ones included, at any poll.
    pub idle_in_transaction_peak: Option<u32>,
    /// Their mean, weighted by time.
    pub idle_in_transaction_mean: Option<f64>,
    /// Age of the oldest transaction seen.
    pub transaction_age_max_s: Option<f64>,
    /// Sessions that all pools together may open; `None` where the application has not reported.
    pub pool_capacity: Option<u32>,
    /// Most connections out of all pools at one time.
    pub pool_checked_out_peak: Option<u32>,
    /// Checkouts that gave up waiting, over the whole load.
    pub pool_timeouts: Option<u64>,
    /// Median time that a checkout waited for its pool, those that waited for nothing or gave up included: the upper bound of
    /// its bucket in the pool's histogram. `None` where there is none, or no bound above it.
    #[serde(default)]
    pub pool_wait_p50_ms: Option<f64>,
    /// 95th percentile, in the same way.
    #[serde(default)]
    pub pool_wait_p95_ms: Option<f64>,
    /// 99th percentile.
    #[serde(default)]
    pub pool_wait_p99_ms: Option<f64>,
    /// The longest.
    #[serde(default)]
    pub pool_wait_max_ms: Option<f64>,
    /// Idle-in-transaction time from the samples, over the whole load, in session seconds.
    pub idle_in_transaction_sampled_s: Option<f64>,
    /// The same from `pg_stat_database.idle_in_transaction_time`; see `sessions_lost` for when it is a lower bound.
    pub idle_in_transaction_counted_s: Option<f64>,
    /// Standard error of `idle_in_transaction_sampled_s`; `None` in records of earlier programs, and with too few samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_in_transaction_sampled_error_s: Option<f64>,
    /// True if sessions were lost whose last episode the server's count lacks; `None` when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_in_transaction_counted_is_lower_bound: Option<bool>,
    /// Polls of the database that gave a sample.
    pub polls: u64,
    /// Polls that were due and gave none.
    pub polls_missed: u64,
}

/// Requests of a window.
#[derive(Clone, Debug, Default)]
pub struct RequestTotals {
    pub finished: u64,
    /// That failed, of those.
    pub failed: u64,
    pub latency: LatencyHistogram,
}

impl RequestTotals {
    /// Failed of finished; `None` when nothing finished.
    pub fn failure_ratio(&self) -> Option<f64> {
        (self.finished > 0).then(|| self.failed as f64 / self.finished as f64)
    }
}

/// All that a summary is computed from.
pub struct Measured<'a> {
    pub phases: Phases,
    /// Requests that finished in the steady phase.
    pub steady: &'a RequestTotals,
    /// Requests that finished since the load began.
    pub since_start: &'a RequestTotals,
    /// Requests cut off by the end.
    pub cut_off: u64,
    /// All samples of the variant, ascending in time.
    pub samples: &'a [Stamped],
    /// Replicas that were started; 0 where nobody knows.
    pub replicas: u32,
    /// Pages of pools' gauges; each counts as a replica among the samples.
    pub pages: u32,
    /// Sessions that all pools together may open; `None` where the application has not reported.
    pub pool_capacity: Option<u32>,
    /// The server's own count of idle-in-transaction time, in seconds.
    pub counted_s: Option<f64>,
    /// True if that lacks what lost sessions took with them; `None` when it is not known.
    pub counted_is_lower_bound: Option<bool>,
    /// Polls that were due and gave no sample.
    pub polls_missed: u64,
}

impl Summary {
    /// Computes the summary.
    pub fn of(measured: &Measured<'_>) -> Self {
        let phases = measured.phases;
        let span = phases.steady_to_s - phases.steady_from_s;
        let per_second = |count: u64| (span > 0.0).then(|| count as f64 / span);
        let steady = measured.steady;
        let in_steady = |at: f64| (phases.steady_from_s..=phases.steady_to_s).contains(&at);
        let idle = idle_in_transaction(measured.samples, in_steady);
        let whole_load = idle_in_transaction(measured.samples, |_| true);
        let waits = PoolWaits::between(measured.samples, measured.pages, phases.steady_from_s, phases.steady_to_s);
        let wait_ms = |share: f64| waits.as_ref().and_then(|waits| waits.quantile(share)?.high_ms);
        Self {
            requests: steady.finished,
            throughput_rps: per_second(steady.finished),
            goodput_rps: per_second(steady.finished - steady.failed),
            failure_ratio: steady.failure_ratio(),
            failure_ratio_since_start: measured.since_start.failure_ratio(),
            latency_p50_ms: steady.latency.quantile_ms(0.50),
            latency_p95_ms: steady.latency.quantile_ms(0.95),
            latency_p99_ms: steady.latency.quantile_ms(0.99),
            latency_max_ms: steady.latency.max_ms(),
            requests_cut_off: measured.cut_off,
            replicas: (measured.replicas > 0).then_some(measured.replicas),
            replicas_healthy_min: replicas_healthy_min(measured.samples, measured.replicas, in_steady),
            idle_in_transaction_peak: idle.max().map(whole),
            idle_in_transaction_mean: idle.mean_seen(),
            transaction_age_max_s: oldest_transaction(measured.samples, in_steady),
            pool_capacity: measured.pool_capacity,
            pool_checked_out_peak: checked_out_peak(measured.samples, measured.pages, in_steady),
            pool_timeouts: pool_timeouts(measured.samples, measured.pages),
            pool_wait_p50_ms: wait_ms(0.50),
            pool_wait_p95_ms: wait_ms(0.95),
            pool_wait_p99_ms: wait_ms(0.99),
            pool_wait_max_ms: wait_ms(1.0),
            idle_in_transaction_sampled_s: whole_load.integral_seen(),
            idle_in_transaction_sampled_error_s: sampled_error(&whole_load, measured.samples),
            idle_in_transaction_counted_is_lower_bound: measured.counted_is_lower_bound,
            idle_in_transaction_counted_s: measured.counted_s,
            polls: polls(measured.samples),
            polls_missed: measured.polls_missed,
        }
    }
}

/// More failed requests than this are an incident: what ContextForge counted before its.
const HEALTHY_FAILURE_RATIO: f64 = 0.001;

impl Summary {
    /// True if nothing went wrong that this instrument looks for. What is not known is not healthy.
    pub fn is_healthy(&self) -> bool {
        self.pool_timeouts == Some(0) && self.is_healthy_from_outside() && self.replicas.is_some()
    }

    /// The same of a service whose pools tell nothing, and its health only where it was asked: whether hardly a request
    /// failed, and no health check did.
    pub fn is_healthy_from_outside(&self) -> bool {
        self.replicas_healthy_min == self.replicas
            && self.failure_ratio.is_some_and(|ratio| ratio <= HEALTHY_FAILURE_RATIO)
    }
}

/// A value that was a whole number before it went through a series.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it came from a u32")]
fn whole(value: f64) -> u32 {
    value as u32
}

/// Sessions idle in transaction, aborted ones included, at each poll and at each pulse. A pulse does not see aborted ones:
/// they are as many as at the last poll.
pub fn idle_in_transaction<'a>(samples: impl IntoIterator<Item = &'a Stamped>, window: impl Fn(f64) -> bool) -> Series {
    let mut aborted = 0;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for stamped in samples.into_iter().filter(|stamped| window(stamped.at_s)) {
        let idle = match &stamped.sample {
            Sample::Activity(activity) => {
                aborted = activity.idle_in_transaction_aborted;
                activity.idle_in_transaction_total()
            }
            // The poll at that very instant has reported it.
            Sample::Pulse(_) if points.last().is_some_and(|last| last.0 >= stamped.at_s) => continue,
            Sample::Pulse(pulse) => pulse.idle_in_transaction + aborted,
            _ => continue,
        };
        points.push((stamped.at_s, f64::from(idle)));
    }
    points.into_iter().collect()
}

/// Idle-in-transaction session seconds over the whole load by the samples, and their standard error; `None` with too few samples.
pub fn sampled(samples: &[Stamped]) -> Option<(f64, f64)> {
    let idle = idle_in_transaction(samples, |_| true);
    idle.integral_seen().zip(sampled_error(&idle, samples))
}

/// Standard error of the integral. A poll takes a core: whoever would go on at that moment goes on later, and is seen idle. What was
/// idle for no longer than that took may all be of that kind, or none, so that half of it is added.
fn sampled_error(idle: &Series, samples: &[Stamped]) -> Option<f64> {
    let by_chance = idle.integral_error()?;
    let (mut just_idle, mut all) = (0.0, 0.0);
    for stamped in samples {
        if let Sample::Activity(activity) = &stamped.sample {
            just_idle += f64::from(activity.just_idle.unwrap_or(0));
            all += f64::from(activity.idle_in_transaction_total());
        }
    }
    let share = if all > 0.0 { just_idle / all } else { 0.0 };
    Some(by_chance.hypot(share * idle.integral_seen()? / 2.0))
}

/// `None` without a poll; zero when every poll found no transaction open. An episode that has ended in the window had a
/// transaction at least as old.
fn oldest_transaction(samples: &[Stamped], window: impl Fn(f64) -> bool) -> Option<f64> {
    let seen = samples.iter().filter(|stamped| window(stamped.at_s)).filter_map(|stamped| match &stamped.sample {
        Sample::Activity(activity) => Some(activity.oldest_transaction_s.unwrap_or(0.0)),
        Sample::Pulse(pulse) => Some(pulse.oldest_transaction_s.unwrap_or(0.0)),
        _ => None,
    });
    let ended = samples.iter().filter_map(|stamped| match &stamped.sample {
        Sample::Episode(episode) if window(episode.ended_s) => Some(episode.ended_s - episode.began_s),
        _ => None,
    });
    // An episode alone is no poll.
    seen.max_by(f64::total_cmp).map(|oldest| ended.fold(oldest, f64::max))
}

/// The fewest replicas up at one time. A replica keeps its state from one probe to the next, and from before the
/// window into it; there is no figure before each was probed.
fn replicas_healthy_min(samples: &[Stamped], replicas: u32, window: impl Fn(f64) -> bool) -> Option<u32> {
    let mut up = BTreeMap::new();
    let mut fewest = None;
    for stamped in samples {
        if let Sample::Health(probe) = &stamped.sample {
            up.insert(probe.replica, probe.up);
            if window(stamped.at_s) && up.len() == replicas as usize {
                let now = up.values().filter(|state| **state).count();
                fewest = Some(fewest.map_or(now, |before: usize| before.min(now)));
            }
        }
    }
    fewest.and_then(|count| u32::try_from(count).ok())
}

/// The most connections out at one time: each page's last gauge summed at every new one, once each has answered.
fn checked_out_peak(samples: &[Stamped], pages: u32, window: impl Fn(f64) -> bool) -> Option<u32> {
    let mut last = BTreeMap::new();
    let mut peak = None;
    for stamped in samples.iter().filter(|stamped| window(stamped.at_s)) {
        if let Sample::Pools(pools) = &stamped.sample
            && let Some(out) = pools.checked_out
        {
            last.insert(pools.replica, out);
            if last.len() == pages as usize {
                peak = peak.max(Some(last.values().sum()));
            }
        }
    }
    peak
}

/// Each page's last counter, summed; `None` unless every page has answered at least once, and there is one.
fn pool_timeouts(samples: &[Stamped], pages: u32) -> Option<u64> {
    let mut last = BTreeMap::new();
    for stamped in samples {
        if let Sample::Pools(pools) = &stamped.sample
            && let Some(timeouts) = pools.timeouts
        {
            last.insert(pools.replica, timeouts);
        }
    }
    (pages > 0 && last.len() == pages as usize).then(|| last.values().sum())
}

fn polls(samples: &[Stamped]) -> u64 {
    samples.iter().filter(|stamped| matches!(stamped.sample, Sample::Activity(_))).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ActivitySample, EpisodeEnd, EpisodeSample, HealthSample, PoolSample, PulseSample};
    use crate::scenario::SessionScope;
    use std::time::Duration;

    const PHASES: Phases = Phases { steady_from_s: 2.0, steady_to_s: 12.0, ended_s: 13.0 };

    fn at(at_s: f64, sample: Sample) -> Stamped {
        Stamped { variant: SessionScope::Held.into(), at_s, sample }
    }

    fn activity(idle_in_transaction: u32, aborted: u32, oldest: Option<f64>) -> Sample {
        Sample::Activity(ActivitySample {
            idle_in_transaction,
            idle_in_transaction_aborted: aborted,
            oldest_transaction_s: oldest,
            ..ActivitySample::default()
        })
    }

    fn health(replica: u32, up: bool) -> Sample {
        Sample::Health(HealthSample { replica, up, error: None })
    }

    fn pools(replica: u32, checked_out: Option<u32>, timeouts: Option<u64>) -> Sample {
        let errors = std::collections::BTreeMap::new();
        Sample::Pools(PoolSample {
            replica,
            checked_out,
            pending: None,
            timeouts,
            stalled_workers: None,
            errors,
            held_s: None,
            ..PoolSample::default()
        })
    }

    fn summary(samples: &[Stamped], steady: &RequestTotals) -> Summary {
        Summary::of(&Measured {
            phases: PHASES,
            steady,
            since_start: steady,
            cut_off: 0,
            samples,
            replicas: 3,
            pages: 3,
            pool_capacity: Some(90),
            counted_s: None,
            counted_is_lower_bound: None,
            polls_missed: 0,
        })
    }

    #[test]
    fn what_is_idle_no_longer_than_its_poll_takes_adds_half_of_itself_to_the_error() {
        let poll = |tick: u32, just_idle| {
            let seen = ActivitySample { idle_in_transaction: 4, just_idle, ..ActivitySample::default() };
            at(f64::from(tick) / 10.0, Sample::Activity(seen))
        };
        let error = |just_idle| sampled(&(0..=100).map(|tick| poll(tick, just_idle)).collect::<Vec<_>>());
        let (sampled_s, none) = error(Some(0)).unwrap();
        assert!((sampled_s - 40.0).abs() < 1e-9 && none < 1e-9, "{sampled_s} ± {none}");
        assert!((error(Some(1)).unwrap().1 - 5.0).abs() < 1e-9, "half of a quarter of 40 s");
        assert!(error(None).unwrap().1 < 1e-9, "nobody knows");
    }

    #[test]
    fn without_samples_every_figure_is_unknown_and_nothing_is_healthy() {
        let summary = summary(&[], &RequestTotals::default());
        assert_eq!(summary.idle_in_transaction_peak, None);
        assert_eq!(summary.idle_in_transaction_mean, None);
        assert_eq!(summary.transaction_age_max_s, None);
        assert_eq!(summary.replicas_healthy_min, None);
        assert_eq!(summary.pool_timeouts, None);
        assert_eq!(summary.pool_checked_out_peak, None);
        assert_eq!(summary.failure_ratio, None);
        assert_eq!(summary.latency_p99_ms, None);
        assert!(!summary.is_healthy());
    }

    #[test]
    fn ramp_and_ramp_down_are_not_in_the_steady_figures_but_in_the_integral() {
        let samples = [
            at(0.0, activity(100, 0, Some(99.0))),
            at(2.0, activity(10, 0, Some(1.0))),
            at(12.0, activity(10, 20, Some(3.0))),
            at(13.0, activity(200, 0, Some(50.0))),
        ];
        let summary = summary(&samples, &RequestTotals::default());
        assert_eq!(summary.idle_in_transaction_peak, Some(30), "aborted ones are idle in transaction too");
        assert!((summary.idle_in_transaction_mean.unwrap() - 20.0).abs() < 1e-9);
        assert!((summary.transaction_age_max_s.unwrap() - 3.0).abs() < 1e-9);
        assert!((summary.idle_in_transaction_sampled_s.unwrap() - (110.0 + 200.0 + 115.0)).abs() < 1e-9);
        assert_eq!(summary.polls, 4);
    }

    #[test]
    fn pulses_count_between_polls_with_unseen_aborted_sessions() {
        let pulse = |idle| Sample::Pulse(PulseSample { idle_in_transaction: idle, ..PulseSample::default() });
        let samples = [
            at(2.0, activity(4, 2, Some(1.0))),
            at(2.0, pulse(4)),
            at(2.05, pulse(10)),
            at(2.1, activity(4, 2, Some(1.0))),
        ];
        let summary = summary(&samples, &RequestTotals::default());
        assert_eq!(summary.idle_in_transaction_peak, Some(12));
        assert!((summary.idle_in_transaction_mean.unwrap() - 9.0).abs() < 1e-9);
        assert_eq!(summary.polls, 2, "a pulse is no poll");
    }

    #[test]
    fn an_episode_says_how_old_its_transaction_was_between_two_looks() {
        let episode = EpisodeSample {
            pid: 1,
            began_s: 1.5,
            ended_s: 5.9,
            statement: None,
            application_name: String::new(),
            user: None,
            client: None,
            aborted: false,
            end: EpisodeEnd::Committed,
        };
        let after = EpisodeSample { began_s: 2.0, ended_s: 12.5, ..episode.clone() };
        let samples =
            [at(5.8, activity(1, 0, Some(4.3))), at(6.0, Sample::Episode(episode)), at(12.6, Sample::Episode(after))];
        let age = summary(&samples, &RequestTotals::default()).transaction_age_max_s.unwrap();
        assert!((age - 4.4).abs() < 1e-9, "{age}");
    }

    #[test]
    fn no_open_transaction_is_an_age_of_zero_which_is_not_the_same_as_no_poll() {
        let summary = summary(&[at(3.0, activity(0, 0, None))], &RequestTotals::default());
        assert_eq!(summary.transaction_age_max_s, Some(0.0));
    }

    #[test]
    fn a_replica_that_went_down_in_the_ramp_is_down_in_the_steady_phase() {
        let samples =
            [at(1.0, health(1, false)), at(3.0, health(2, true)), at(4.0, health(3, false)), at(5.0, health(1, true))];
        assert_eq!(summary(&samples, &RequestTotals::default()).replicas_healthy_min, Some(1));
    }

    #[test]
    fn pool_gauges_are_each_replicas_last_word_summed() {
        let samples = [
            at(3.0, pools(1, Some(10), Some(1))),
            at(3.1, pools(2, Some(20), Some(0))),
            at(4.0, pools(1, Some(5), Some(4))),
            at(4.1, pools(3, None, None)),
        ];
        let unknown = summary(&samples, &RequestTotals::default());
        let figures = |it: &Summary| (it.pool_checked_out_peak, it.pool_timeouts);
        assert_eq!(figures(&unknown), (None, None), "replica 3 has never answered");
        let all = [&samples[..], &[at(5.0, pools(3, Some(1), Some(2)))]].concat();
        assert_eq!(figures(&summary(&all, &RequestTotals::default())), (Some(26), Some(6)));
    }

    #[test]
    fn rates_are_over_the_steady_phase_alone() {
        let mut totals = RequestTotals { finished: 200, failed: 50, ..RequestTotals::default() };
        totals.latency.record(Duration::from_millis(20));
        let summary = summary(&[], &totals);
        assert_eq!((summary.throughput_rps, summary.goodput_rps), (Some(20.0), Some(15.0)));
        assert_eq!(summary.failure_ratio, Some(0.25));
    }
}
