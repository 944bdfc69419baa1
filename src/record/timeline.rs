//! The samples of a run over time, reduced to what can be drawn.
//!
//! Samples are taken one after the other and forgotten; what is kept does not grow with their number.

use std::collections::BTreeMap;

use super::{Event, LoadSample, PgBouncerPool, PgBouncerSample, PoolSample, Sample, Stamped};
use crate::scenario::VariantName;
use crate::stats::reduced::Reduced;

/// Replicas that are kept apart; more is nonsense in the file.
const REPLICAS_MAX: u32 = 256;

/// Requests are counted over at least this long to make a rate.
const RATE_WINDOW_S: f64 = 1.0;

/// A run over time, by variant.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Lane of each variant that has a sample.
    pub lanes: BTreeMap<VariantName, Lane>,
}

impl Timeline {
    /// Takes one sample of a run with so many replicas.
    pub fn take(&mut self, replicas: u32, stamped: &Stamped) {
        self.lanes.entry(stamped.variant).or_default().take(replicas, stamped.at_s, &stamped.sample);
    }
}

/// One variant over time, in seconds since its load began.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// When the first sample was taken, and the last; `None` without any.
    pub span_s: Option<(f64, f64)>,
    /// Sessions idle in transaction, aborted ones included.
    pub idle_in_transaction: Reduced,
    /// Age of the oldest transaction; zero when none was open.
    pub oldest_transaction_s: Reduced,
    /// Requests that finished, a second, over about a second each.
    pub throughput_rps: Reduced,
    /// Those of them that failed.
    pub failures_rps: Reduced,
    /// Median latency of what finished within a second.
    pub latency_p50_ms: Reduced,
    /// The 95th percentile of the same.
    pub latency_p95_ms: Reduced,
    /// The 99th percentile of the same.
    pub latency_p99_ms: Reduced,
    /// Connections out of all pools; no value while a replica's gauges did not answer.
    pub pool_checked_out: Reduced,
    /// Checkouts that wait, in all pools; no value while a replica's gauges did not answer.
    pub pool_pending: Reduced,
    /// Server connections that `PgBouncer` has lent to clients, in all its pools; no value while it did not answer.
    pub pgbouncer_active: Reduced,
    /// Those that are free, the same way.
    pub pgbouncer_idle: Reduced,
    /// Clients of `PgBouncer` that wait for one, the same way.
    pub pgbouncer_waiting: Reduced,
    /// 1 while a replica counts as up, 0 while it is down.
    pub replica_up: BTreeMap<u32, Reduced>,
    /// Events by kind.
    pub events: BTreeMap<EventKind, Reduced>,
    rate_from: Option<(f64, u64, u64)>,
    pool_round: BTreeMap<u32, PoolGauges>,
    pool_counters: BTreeMap<u32, PoolCounters>,
    pgbouncer_errors: u64,
}

/// Kinds of marks on the axis of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// The health probe calls a replica down.
    ReplicaDown,
    /// It calls it up again.
    ReplicaUp,
    /// Checkouts gave up waiting for the pool.
    PoolTimeout,
    /// The server ended a session.
    SessionTerminated,
    /// The server cancelled a statement.
    StatementCancelled,
    /// `PgBouncer` reported an error to a client, which ends it.
    PgBouncerError,
    /// The database did not answer a poll.
    PollFailed,
    /// The monitor's connection was lost.
    ConnectionLost,
    /// It was made again.
    Reconnected,
    /// The server was started again.
    ServerRestarted,
    /// A clock was set.
    ClockJumped,
    /// The monitor polls more rarely, or as usual again.
    BackedOff,
}

/// Gauges of a replica in this round; `None` when it did not answer.
#[derive(Clone, Copy, Debug)]
struct PoolGauges {
    checked_out: Option<u32>,
    pending: Option<u32>,
}

/// Counters of a replica so far.
#[derive(Clone, Copy, Debug, Default)]
struct PoolCounters {
    timeouts: u64,
    terminated: u64,
    cancelled: u64,
}

impl Lane {
    fn take(&mut self, replicas: u32, at_s: f64, sample: &Sample) {
        let (from, to) = self.span_s.unwrap_or((at_s, at_s));
        self.span_s = Some((from.min(at_s), to.max(at_s)));
        match sample {
            Sample::Activity(activity) => {
                self.idle_in_transaction.push(at_s, f64::from(activity.idle_in_transaction_total()));
                self.oldest_transaction_s.push(at_s, activity.oldest_transaction_s.unwrap_or(0.0));
            }
            Sample::Load(load) => self.take_load(at_s, load),
            Sample::Pools(pools) if pools.replica <= REPLICAS_MAX => self.take_pools(replicas, at_s, pools),
            Sample::Health(probe) if probe.replica <= REPLICAS_MAX => {
                self.replica_up.entry(probe.replica).or_default().push(at_s, f64::from(u8::from(probe.up)));
            }
            Sample::PgBouncer(pgbouncer) => self.take_pgbouncer(at_s, pgbouncer),
            Sample::Event(event) => self.mark(at_s, event.into(), 1),
            Sample::Pools(_)
            | Sample::Health(_)
            | Sample::Breakdown(_)
            | Sample::Pulse(_)
            | Sample::Episode(_)
            | Sample::Transaction(_)
            | Sample::Counters(_)
            | Sample::Blocking(_) => {}
        }
    }

    fn mark(&mut self, at_s: f64, kind: EventKind, count: u64) {
        if count > 0 {
            self.events.entry(kind).or_default().push(at_s, count as f64);
        }
    }

    fn take_load(&mut self, at_s: f64, load: &LoadSample) {
        if let Some(latency) = &load.latency {
            self.latency_p50_ms.push(at_s, latency.latency_p50_ms);
            self.latency_p95_ms.push(at_s, latency.latency_p95_ms);
            self.latency_p99_ms.push(at_s, latency.latency_p99_ms);
        }
        let (from_s, finished, failed) = *self.rate_from.get_or_insert((at_s, load.finished, load.failed));
        let elapsed_s = at_s - from_s;
        if elapsed_s >= RATE_WINDOW_S {
            self.throughput_rps.push(at_s, load.finished.saturating_sub(finished) as f64 / elapsed_s);
            self.failures_rps.push(at_s, load.failed.saturating_sub(failed) as f64 / elapsed_s);
            self.rate_from = Some((at_s, load.finished, load.failed));
        }
    }

    fn take_pools(&mut self, replicas: u32, at_s: f64, pools: &PoolSample) {
        self.count_pool_events(at_s, pools);
        let gauges = PoolGauges { checked_out: pools.checked_out, pending: pools.pending };
        if self.pool_round.insert(pools.replica, gauges).is_some() {
            // A new round has begun before the old one was complete.
            self.pool_round = BTreeMap::from([(pools.replica, gauges)]);
        }
        if self.pool_round.len() < replicas.min(REPLICAS_MAX) as usize {
            return;
        }
        let round = std::mem::take(&mut self.pool_round);
        let sum = |of: fn(&PoolGauges) -> Option<u32>| {
            round.values().map(|gauges| of(gauges).map(f64::from)).sum::<Option<f64>>()
        };
        if let Some(checked_out) = sum(|gauges| gauges.checked_out) {
            self.pool_checked_out.push(at_s, checked_out);
        }
        if let Some(pending) = sum(|gauges| gauges.pending) {
            self.pool_pending.push(at_s, pending);
        }
    }

    fn take_pgbouncer(&mut self, at_s: f64, sample: &PgBouncerSample) {
        if let Some(errors) = &sample.errors {
            let now = errors.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
            self.mark(at_s, EventKind::PgBouncerError, now.saturating_sub(self.pgbouncer_errors));
            self.pgbouncer_errors = now;
        }
        let Some(pools) = &sample.pools else { return };
        let sum = |of: fn(&PgBouncerPool) -> Option<u32>| {
            pools.iter().map(|pool| of(pool).map(f64::from)).sum::<Option<f64>>()
        };
        for (series, value) in [
            (&mut self.pgbouncer_active, sum(|pool| pool.sv_active)),
            // Those that have been free for long are counted apart.
            (&mut self.pgbouncer_idle, sum(|pool| Some(pool.sv_idle?.saturating_add(pool.sv_used.unwrap_or(0))))),
            (&mut self.pgbouncer_waiting, sum(|pool| pool.cl_waiting)),
        ] {
            if let Some(value) = value {
                series.push(at_s, value);
            }
        }
    }

    /// Counters only rise; a gauge that did not answer has no errors and no count.
    fn count_pool_events(&mut self, at_s: f64, pools: &PoolSample) {
        let Some(timeouts) = pools.timeouts else { return };
        let raised = |what: &str| {
            let of_it = pools.errors.iter().filter(|(text, _)| text.contains(what));
            of_it.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
        };
        let now = PoolCounters {
            timeouts,
            terminated: raised("terminating connection"),
            cancelled: raised("canceling statement"),
        };
        let before = self.pool_counters.insert(pools.replica, now).unwrap_or_default();
        self.mark(at_s, EventKind::PoolTimeout, now.timeouts.saturating_sub(before.timeouts));
        self.mark(at_s, EventKind::SessionTerminated, now.terminated.saturating_sub(before.terminated));
        self.mark(at_s, EventKind::StatementCancelled, now.cancelled.saturating_sub(before.cancelled));
    }
}

impl From<&Event> for EventKind {
    fn from(event: &Event) -> Self {
        match event {
            Event::ReplicaDown { .. } => Self::ReplicaDown,
            Event::ReplicaUp { .. } => Self::ReplicaUp,
            Event::PollFailed { .. } => Self::PollFailed,
            Event::ConnectionLost { .. } => Self::ConnectionLost,
            Event::Reconnected { .. } => Self::Reconnected,
            Event::ServerRestarted => Self::ServerRestarted,
            Event::ClockJumped { .. } => Self::ClockJumped,
            Event::BackedOff { .. } => Self::BackedOff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ActivitySample;

    fn lane(replicas: u32, samples: impl IntoIterator<Item = (f64, Sample)>) -> Lane {
        let mut timeline = Timeline::default();
        for (at_s, sample) in samples {
            timeline.take(replicas, &Stamped { variant: VariantName::HELD, at_s, sample });
        }
        timeline.lanes.remove(&VariantName::HELD).unwrap_or_default()
    }

    fn points(reduced: &Reduced) -> Vec<(f64, f64)> {
        reduced.points().collect()
    }

    fn load(finished: u64, failed: u64) -> Sample {
        Sample::Load(LoadSample { finished, failed, ..LoadSample::default() })
    }

    fn pools(replica: u32, pending: Option<u32>, timeouts: Option<u64>, errors: &[(&str, u64)]) -> Sample {
        let errors = errors.iter().map(|(text, count)| ((*text).to_owned(), *count)).collect();
        Sample::Pools(PoolSample {
            replica,
            checked_out: pending,
            pending,
            timeouts,
            stalled_workers: None,
            errors,
            held_s: None,
            ..PoolSample::default()
        })
    }

    #[test]
    fn rates_are_taken_over_whole_seconds_of_the_counters() {
        let samples = (0..=20u32).map(|tick| (f64::from(tick) * 0.1, load(u64::from(tick) * 10, 0)));
        let lane = lane(1, samples);
        let rates = points(&lane.throughput_rps);
        assert!(rates.iter().all(|rate| (rate.1 - 100.0).abs() < 1e-6) && !rates.is_empty(), "{rates:?}");
        assert!(points(&lane.failures_rps).iter().all(|rate| rate.1.abs() < 1e-9));
    }

    #[test]
    fn pools_are_summed_only_if_every_replica_answered() {
        let samples = [
            (1.0, pools(1, Some(3), Some(0), &[])),
            (1.1, pools(2, Some(4), Some(0), &[])),
            (2.0, pools(1, Some(5), Some(0), &[])),
            (2.1, pools(2, None, None, &[])),
            (3.0, pools(1, Some(1), Some(0), &[])),
            (4.0, pools(1, Some(2), Some(0), &[])),
            (4.1, pools(2, Some(2), Some(0), &[])),
        ];
        assert_eq!(points(&lane(2, samples).pool_pending), [(1.1, 7.0), (4.1, 4.0)]);
    }

    #[test]
    fn counters_become_events_when_they_rise() {
        let ended = "terminating connection due to idle-in-transaction timeout";
        let samples = [
            (1.0, pools(1, None, Some(2), &[(ended, 1)])),
            (2.0, pools(1, None, None, &[])),
            (3.0, pools(1, None, Some(5), &[(ended, 1), ("canceling statement due to statement timeout", 4)])),
            (3.5, Sample::Event(Event::ReplicaDown { replica: 1 })),
        ];
        let events = lane(1, samples).events;
        let sums = |kind| events.get(&kind).map(|it| it.sums().collect::<Vec<_>>()).unwrap_or_default();
        assert_eq!(sums(EventKind::PoolTimeout), [(1.0, 2.0), (3.0, 3.0)]);
        assert_eq!(sums(EventKind::SessionTerminated), [(1.0, 1.0)]);
        assert_eq!(sums(EventKind::StatementCancelled), [(3.0, 4.0)]);
        assert_eq!(sums(EventKind::ReplicaDown), [(3.5, 1.0)]);
    }

    #[test]
    fn pools_of_pgbouncer_are_summed_and_its_errors_become_events() {
        let pool = |sv_active| PgBouncerPool {
            sv_active,
            sv_idle: Some(1),
            sv_used: Some(2),
            cl_waiting: Some(5),
            ..PgBouncerPool::default()
        };
        let sample = |pools, errors: u64| {
            let errors = Some(BTreeMap::from([("idle transaction timeout".to_owned(), errors)]));
            Sample::PgBouncer(PgBouncerSample { pools, stats: None, errors })
        };
        let lane = lane(
            1,
            [
                (1.0, sample(Some(vec![pool(Some(4)), pool(Some(3))]), 2)),
                (2.0, sample(None, 2)),
                (3.0, sample(Some(vec![pool(None)]), 5)),
            ],
        );
        assert_eq!(points(&lane.pgbouncer_active), [(1.0, 7.0)]);
        assert_eq!(points(&lane.pgbouncer_idle), [(1.0, 6.0), (3.0, 3.0)]);
        assert_eq!(points(&lane.pgbouncer_waiting), [(1.0, 10.0), (3.0, 5.0)]);
        let events: Vec<_> = lane.events[&EventKind::PgBouncerError].sums().collect();
        assert_eq!(events, [(1.0, 2.0), (3.0, 3.0)]);
    }

    #[test]
    fn a_poll_without_a_transaction_is_an_age_of_zero_and_no_gap() {
        let lane = lane(1, [(0.5, Sample::Activity(ActivitySample::default()))]);
        assert_eq!(points(&lane.oldest_transaction_s), [(0.5, 0.0)]);
        assert_eq!(lane.span_s, Some((0.5, 0.5)));
    }

    #[test]
    fn a_million_replicas_in_the_file_do_not_fill_the_memory() {
        let health = |replica| Sample::Health(crate::record::HealthSample { replica, up: true, error: None });
        let lane = lane(3, (0..100_000).map(|replica| (1.0, health(replica))));
        assert!(lane.replica_up.len() <= REPLICAS_MAX as usize + 1);
    }
}
