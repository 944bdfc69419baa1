//! Load and database on one clock: what was in flight when the sessions were counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{ActivitySample, LoadSample, Sample, Stamped};

/// Two samples further apart than this have a gap between them, in which nothing is known; where they are rarer as a rule,
/// [`gap_s`].
const GAP_S: f64 = 1.0;

/// From this share of the pools' capacity on, sessions idle in transaction say how large the pool is, and no longer
/// who holds it.
const FULL: f64 = 0.95;

/// One poll of the database.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimelineRow {
    pub(super) at_s: f64,
    /// Requests in flight, by index of the route; interpolated between the two samples around.
    pub(super) in_flight: Vec<f64>,
    /// Sessions idle in transaction that no request holds any more, by the breakdowns around.
    pub(super) leaked: f64,
    /// Those whose transactions began before the load did, by the same.
    pub(super) earlier: f64,
    /// Connections out of the pools without a transaction, by a gauge of that moment; `None` without one.
    pub(super) outside: Option<f64>,
    /// Users that had started.
    pub(super) users: f64,
    pub(super) activity: ActivitySample,
    /// True if a pool was full: what is idle is cut off there.
    pub(super) saturated: bool,
}

impl TimelineRow {
    pub(super) fn idle(&self) -> f64 {
        f64::from(self.activity.idle_in_transaction_total())
    }

    /// Idle sessions that have come with the load.
    pub(super) fn idle_under_load(&self) -> f64 {
        (self.idle() - self.earlier).max(0.0)
    }

    /// Idle sessions that a request may hold.
    pub(super) fn held(&self) -> f64 {
        (self.idle_under_load() - self.leaked).max(0.0) + self.waits_for_client()
    }

    /// Sessions whose statement waits for the client.
    pub(super) fn waits_for_client(&self) -> f64 {
        f64::from(self.activity.waiting_for_client.unwrap_or(0))
    }

    /// Sessions that run a statement, and wait neither for a lock nor for the client.
    pub(super) fn working(&self) -> f64 {
        let waiting = self.activity.waiting_for_lock + self.activity.waiting_for_client.unwrap_or(0);
        f64::from(self.activity.active.saturating_sub(waiting))
    }
}

/// All polls while there was load, ascending in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LoadTimeline {
    pub(super) routes: Vec<String>,
    pub(super) rows: Vec<TimelineRow>,
}

impl LoadTimeline {
    /// `samples` ascending in time, of one variant; `capacity` of all pools together, where it is known.
    pub(super) fn of(samples: &[&Stamped], capacity: Option<u32>, until_s: f64) -> Self {
        let loads: Vec<(f64, &LoadSample)> = samples
            .iter()
            .filter_map(|stamped| match &stamped.sample {
                Sample::Load(load) if stamped.at_s <= until_s => Some((stamped.at_s, load)),
                _ => None,
            })
            .collect();
        let routes: Vec<String> = loads
            .iter()
            // A fast route may never be in flight at a sample, and yet begin what is held.
            .flat_map(|(_, load)| load.in_flight.keys().chain(load.present.keys()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect();
        let gap_s = gap_s(&loads.iter().map(|(at_s, _)| *at_s).collect::<Vec<_>>());
        let full = full_times(samples);
        let mut next = 0;
        let mut rows = Vec::new();
        for stamped in samples {
            let Sample::Activity(activity) = &stamped.sample else { continue };
            while next < loads.len() && loads[next].0 < stamped.at_s {
                next += 1;
            }
            let Some(in_flight) = between(&loads, next, stamped.at_s, &routes, gap_s) else { continue };
            let users = loads.get(next).or(loads.last()).map_or(0.0, |(_, load)| f64::from(load.users));
            let idle = f64::from(activity.idle_in_transaction_total());
            let reaches = |share: f64| capacity.is_some_and(|it| idle >= share * f64::from(it));
            let half = reaches(0.5);
            let saturated = reaches(FULL) || full.iter().any(|span| span.covers(stamped.at_s, half));
            rows.push(TimelineRow {
                at_s: stamped.at_s,
                in_flight,
                leaked: 0.0,
                earlier: 0.0,
                outside: None,
                users,
                activity: *activity,
                saturated,
            });
        }
        Self { routes, rows }
    }

    /// The same where nobody knows the load.
    pub(super) fn watched(samples: &[&Stamped], capacity: Option<u32>, until_s: f64) -> Self {
        let rows = samples.iter().filter(|stamped| stamped.at_s <= until_s).filter_map(|stamped| {
            let Sample::Activity(activity) = stamped.sample else { return None };
            let idle = activity.idle_in_transaction_total();
            let saturated = capacity.is_some_and(|it| f64::from(idle) >= FULL * f64::from(it));
            Some(TimelineRow {
                at_s: stamped.at_s,
                in_flight: Vec::new(),
                leaked: 0.0,
                earlier: 0.0,
                outside: None,
                users: 0.0,
                activity,
                saturated,
            })
        });
        Self { routes: Vec::new(), rows: rows.collect() }
    }

    /// The row nearest in time; `None` when it is more than half a second away.
    pub(super) fn nearest(&self, at_s: f64) -> Option<&TimelineRow> {
        let next = self.rows.partition_point(|row| row.at_s < at_s);
        let around = [next.checked_sub(1), Some(next)].into_iter().flatten().filter_map(|place| self.rows.get(place));
        let away = |row: &&TimelineRow| (row.at_s - at_s).abs();
        around.min_by(|a, b| away(a).total_cmp(&away(b))).filter(|row| away(row) <= GAP_S / 2.0)
    }

    /// The integral over time of what `value` gives, in units × seconds, from `from_s` to `to_s`, without the gaps.
    pub(super) fn integral(&self, from_s: f64, to_s: f64, value: impl Fn(&TimelineRow) -> f64) -> f64 {
        let inside: Vec<&TimelineRow> = self.rows.iter().filter(|row| (from_s..=to_s).contains(&row.at_s)).collect();
        let gap_s = gap_s(&inside.iter().map(|row| row.at_s).collect::<Vec<_>>());
        inside
            .windows(2)
            .filter(|pair| pair[1].at_s - pair[0].at_s <= gap_s)
            .map(|pair| (pair[1].at_s - pair[0].at_s) * f64::midpoint(value(pair[0]), value(pair[1])))
            .sum()
    }

    /// The mean over all rows; `None` without any.
    pub(super) fn mean(&self, value: impl Fn(&TimelineRow) -> f64) -> Option<f64> {
        (!self.rows.is_empty()).then(|| self.rows.iter().map(value).sum::<f64>() / self.rows.len() as f64)
    }
}

/// Between two looks further apart than this is a gap: one who looks rarely has none.
fn gap_s(at_s: &[f64]) -> f64 {
    let mut steps: Vec<f64> = at_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).map_or(GAP_S, |usual| (10.0 * usual).max(GAP_S))
}

/// Requests in flight at `at_s`, between the samples `next − 1` and `next`.
fn between(loads: &[(f64, &LoadSample)], next: usize, at_s: f64, routes: &[String], gap_s: f64) -> Option<Vec<f64>> {
    let (after, before) = (loads.get(next), next.checked_sub(1).and_then(|index| loads.get(index)));
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) if after.0 - before.0 <= gap_s => (before, after),
        // A poll just before the first or after the last sample of the load takes that one.
        (None, Some(only)) | (Some(only), None) if (only.0 - at_s).abs() <= 0.06 => (only, only),
        _ => return None,
    };
    let weight = if after.0 > before.0 { (at_s - before.0) / (after.0 - before.0) } else { 0.0 };
    let count = |load: &LoadSample, route: &str| f64::from(load.in_flight.get(route).copied().unwrap_or(0));
    Some(routes.iter().map(|route| count(before.1, route) * (1.0 - weight) + count(after.1, route) * weight).collect())
}

/// A span of time in which a pool was full, in seconds since the load began. The gauges come once a second: it was full
/// when one reported it, and at some time after the one before.
struct Full {
    /// The last gauge that reported that there was room.
    since: f64,
    /// The first one that reported that there was none.
    seen: f64,
    until: f64,
}

impl Full {
    /// Between the two gauges, a pool counts as full when half of all sessions were idle in transaction.
    fn covers(&self, at_s: f64, half: bool) -> bool {
        at_s <= self.until && (at_s >= self.seen || (half && at_s >= self.since))
    }
}

/// Owner of the gauges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PoolOwner {
    Replica(u32),
    PgBouncer,
}

/// When checkouts waited, a loop stood still, a checkout gave up, or clients of `PgBouncer` waited for a server connection.
fn full_times(samples: &[&Stamped]) -> Vec<Full> {
    let mut last = BTreeMap::new();
    let mut open = BTreeMap::new();
    let mut spans = Vec::new();
    for stamped in samples {
        let at_s = stamped.at_s;
        let (pool, waits, now) = match &stamped.sample {
            Sample::Pools(pools) => {
                let waits = pools.pending.is_some_and(|it| it > 0) || pools.stalled_workers.is_some_and(|it| it > 0);
                (PoolOwner::Replica(pools.replica), waits, pools.timeouts)
            }
            Sample::PgBouncer(pgbouncer) => {
                let waiting = pgbouncer.pools.iter().flatten().filter_map(|pool| pool.cl_waiting).sum::<u32>();
                (PoolOwner::PgBouncer, waiting > 0, None)
            }
            _ => continue,
        };
        let (since, timeouts) = last.insert(pool, (at_s, now)).unwrap_or((at_s, Some(0)));
        let gave_up = now.zip(timeouts).is_some_and(|(now, before)| now > before);
        if gave_up || waits {
            open.entry(pool).or_insert(Full { since, seen: at_s, until: f64::INFINITY });
        } else if let Some(span) = open.remove(&pool) {
            spans.push(Full { until: at_s, ..span });
        }
    }
    spans.extend(open.into_values());
    spans
}
