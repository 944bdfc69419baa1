//! The figure that a rule asks for, from a variant's record and its samples.
//!
//! Gauges come from the samples; where there are none at all (a record alone, without its `samples.ndjson`) from the
//! summary, as far as that has them. What is not there is a [`Missing`], never a zero.

use std::collections::BTreeMap;

use super::missing::Missing;
use super::rule::{Aggregate, Metric, MetricKind, Rule};
use super::time_slice::TimeSlice;
use crate::compare::Side;
use crate::record::{ActivitySample, LoadSample, RouteRecord, Sample, Stamped, summary};
use crate::stats::Series;

/// The figure over the steady phase, in the metric's unit.
///
/// # Errors
/// [`Missing`] when it could not be had.
pub fn measure(rule: &Rule, side: Side<'_>) -> Result<f64, Missing> {
    match (rule.metric.kind(), &rule.route) {
        _ if rule.metric == Metric::PoolWait => {
            let bucket = super::pool_wait::measure(rule, side)?;
            bucket.high_ms.ok_or(Missing::NoBound(rule.metric))
        }
        _ if rule.metric == Metric::Hold => super::hold::measure(rule, side).map(|held| held.value),
        (MetricKind::Gauge, _) => gauge_over(rule, side, TimeSlice::steady(side)).or_else(|missing| {
            let nothing = side.samples.iter().all(|it| it.variant != side.variant);
            if nothing { from_summary(rule, side).ok_or(missing) } else { Err(missing) }
        }),
        (MetricKind::Distribution | MetricKind::Figure, Some(route)) => of_route(rule, side, route),
        (MetricKind::Distribution | MetricKind::Figure, None) => of_summary(rule, side),
    }
}

/// The figure over a window inside the steady phase.
///
/// # Errors
/// [`Missing`] when it could not be had: only gauges and what is counted by the load's samples are known by window.
pub fn measure_in(rule: &Rule, side: Side<'_>, window: TimeSlice) -> Result<f64, Missing> {
    match rule.metric.kind() {
        MetricKind::Gauge => gauge_over(rule, side, window),
        _ if rule.route.is_none() => of_load(rule.metric, side, window),
        _ => Err(Missing::NotByWindow(rule.metric)),
    }
}

fn gauge_over(rule: &Rule, side: Side<'_>, window: TimeSlice) -> Result<f64, Missing> {
    let series = gauge(rule.metric, side, window);
    let aggregate = rule.aggregate.unwrap_or(Aggregate::Max);
    let figure = match aggregate {
        Aggregate::Max => series.max(),
        Aggregate::Min => series.min(),
        Aggregate::Mean => series.mean_seen(),
        Aggregate::P50 => series.quantile(0.50),
        Aggregate::P95 => series.quantile(0.95),
        Aggregate::P99 => series.quantile(0.99),
        Aggregate::Last => series.last(),
        Aggregate::Seconds => None,
    };
    figure.ok_or(Missing::NoSamples(rule.metric))
}

/// A gauge over a window; empty when there is nothing of it.
pub fn gauge(metric: Metric, side: Side<'_>, window: TimeSlice) -> Series {
    let ours = || side.samples.iter().filter(|it| it.variant == side.variant);
    let replicas = side.measured.summary.replicas.unwrap_or(0) as usize;
    // Each page of gauges has a sample at every turn, whether it answered or not.
    let pages = || {
        let numbers = ours().filter_map(|it| match &it.sample {
            Sample::Pools(pools) => Some(pools.replica as usize),
            _ => None,
        });
        numbers.max().unwrap_or(0)
    };
    match metric {
        Metric::PoolCheckedOut => over_replicas(ours(), pages(), window, |sample| match sample {
            Sample::Pools(pools) => Some((pools.replica, f64::from(pools.checked_out?))),
            _ => None,
        }),
        Metric::PoolPending => over_replicas(ours(), pages(), window, |sample| match sample {
            Sample::Pools(pools) => Some((pools.replica, f64::from(pools.pending?))),
            _ => None,
        }),
        Metric::ReplicasHealthy => over_replicas(ours(), replicas, window, |sample| match sample {
            Sample::Health(probe) => Some((probe.replica, f64::from(u8::from(probe.up)))),
            _ => None,
        }),
        Metric::IdleInTransaction => summary::idle_in_transaction(ours(), |at_s| window.holds(at_s)),
        _ => ours().filter(|it| window.holds(it.at_s)).filter_map(|it| Some((it.at_s, polled(metric, it)?))).collect(),
    }
}

/// Value of a metric in a poll of the database.
fn polled(metric: Metric, stamped: &Stamped) -> Option<f64> {
    let Sample::Activity(activity) = &stamped.sample else { return None };
    let ActivitySample { sessions, waiting_for_lock, oldest_transaction_s, .. } = *activity;
    match metric {
        // No open transaction is an age of zero, and known.
        Metric::TransactionAge => Some(oldest_transaction_s.unwrap_or(0.0)),
        Metric::Sessions => Some(f64::from(sessions)),
        Metric::WaitingForLock => Some(f64::from(waiting_for_lock)),
        _ => None,
    }
}

/// Each replica's last word, summed at every new one, once each has spoken; what was reported before the window counts in it.
fn over_replicas<'a>(
    samples: impl Iterator<Item = &'a Stamped>,
    replicas: usize,
    window: TimeSlice,
    word: impl Fn(&Sample) -> Option<(u32, f64)>,
) -> Series {
    let mut last = BTreeMap::new();
    let mut points = Vec::new();
    for stamped in samples.filter(|it| it.at_s <= window.to_s) {
        let Some((replica, value)) = word(&stamped.sample) else { continue };
        last.insert(replica, value);
        if last.len() == replicas && window.holds(stamped.at_s) {
            points.push((stamped.at_s, last.values().sum()));
        }
    }
    points.into_iter().collect()
}

/// Gauges of a record without samples.
fn from_summary(rule: &Rule, side: Side<'_>) -> Option<f64> {
    let summary = &side.measured.summary;
    match (rule.metric, rule.aggregate?) {
        (Metric::IdleInTransaction, Aggregate::Max) => summary.idle_in_transaction_peak.map(f64::from),
        (Metric::IdleInTransaction, Aggregate::Mean) => summary.idle_in_transaction_mean,
        (Metric::TransactionAge, Aggregate::Max) => summary.transaction_age_max_s,
        (Metric::PoolCheckedOut, Aggregate::Max) => summary.pool_checked_out_peak.map(f64::from),
        (Metric::ReplicasHealthy, Aggregate::Min) => summary.replicas_healthy_min.map(f64::from),
        _ => None,
    }
}

fn of_summary(rule: &Rule, side: Side<'_>) -> Result<f64, Missing> {
    let summary = &side.measured.summary;
    let figure = match (rule.metric, rule.aggregate) {
        (Metric::Latency, Some(Aggregate::P50)) => summary.latency_p50_ms,
        (Metric::Latency, Some(Aggregate::P95)) => summary.latency_p95_ms,
        (Metric::Latency, Some(Aggregate::P99)) => summary.latency_p99_ms,
        (Metric::Latency, Some(Aggregate::Max)) => summary.latency_max_ms,
        (Metric::FailureRate, _) => summary.failure_ratio,
        (Metric::Throughput, _) => summary.throughput_rps,
        (Metric::Goodput, _) => summary.goodput_rps,
        (Metric::Requests, _) => Some(summary.requests as f64),
        (Metric::PoolTimeouts, _) => {
            return summary.pool_timeouts.map(|count| count as f64).ok_or(Missing::NoSamples(rule.metric));
        }
        _ => return Err(Missing::NotRecorded(rule.metric)),
    };
    figure.ok_or(Missing::NoRequests(None))
}

fn of_route(rule: &Rule, side: Side<'_>, name: &str) -> Result<f64, Missing> {
    let none = || Missing::NoRequests(Some(name.to_owned()));
    let route = side.measured.routes.iter().find(|route| route.route == name).ok_or_else(none)?;
    let RouteRecord { requests, failures, .. } = *route;
    let seconds = TimeSlice::steady(side).seconds();
    let a_second = |count: u64| (seconds > 0.0).then(|| count as f64 / seconds);
    let figure = match (rule.metric, rule.aggregate) {
        (Metric::Latency, Some(Aggregate::P50)) => route.latency_p50_ms,
        (Metric::Latency, Some(Aggregate::P95)) => route.latency_p95_ms,
        (Metric::Latency, Some(Aggregate::P99)) => route.latency_p99_ms,
        (Metric::Latency, Some(Aggregate::Max)) => route.latency_max_ms,
        (Metric::FailureRate, _) => (requests > 0).then(|| failures as f64 / requests as f64),
        (Metric::Throughput, _) => a_second(requests),
        (Metric::Goodput, _) => a_second(requests.saturating_sub(failures)),
        (Metric::Requests, _) => Some(requests as f64),
        _ => return Err(Missing::NotRecorded(rule.metric)),
    };
    figure.ok_or_else(none)
}

/// Value that the load's samples count between the ends of a window.
fn of_load(metric: Metric, side: Side<'_>, window: TimeSlice) -> Result<f64, Missing> {
    let load = |it: &'_ Stamped| match &it.sample {
        Sample::Load(LoadSample { finished, failed, .. }) if it.variant == side.variant && window.holds(it.at_s) => {
            Some((it.at_s, *finished as f64, *failed as f64))
        }
        _ => None,
    };
    let ends = side.samples.iter().find_map(load).zip(side.samples.iter().rev().find_map(load));
    let Some((first, last)) = ends else { return Err(Missing::NoSamples(metric)) };
    let (seconds, finished, failed) = (last.0 - first.0, last.1 - first.1, last.2 - first.2);
    let a_second = |count: f64| if seconds > 0.0 { Ok(count / seconds) } else { Err(Missing::NoSamples(metric)) };
    match metric {
        Metric::FailureRate if finished > 0.0 => Ok(failed / finished),
        Metric::FailureRate => Err(Missing::NoRequests(None)),
        Metric::Throughput => a_second(finished),
        Metric::Goodput => a_second(finished - failed),
        Metric::Requests => Ok(finished),
        _ => Err(Missing::NotByWindow(metric)),
    }
}
