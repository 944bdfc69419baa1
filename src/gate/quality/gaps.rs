//! Gaps: stretches of the steady phase without a sample of a kind.

use std::collections::BTreeMap;

use super::QualityIssue;
use crate::compare::Side;
use crate::gate::rule::Metric;
use crate::gate::time_slice::TimeSlice;
use crate::record::{PoolSample, Sample, Stamped};
use crate::scenario::Experiment;

/// The longest time without a sample, in polling intervals, and never less than [`SHORTEST_GAP_S`].
const LONGEST_GAP: f64 = 10.0;
const SHORTEST_GAP_S: f64 = 1.0;

/// The longest time without a reading of a pool's gauges or without a health probe, in the longest time that two of them may
/// be apart by plan: the interval, and the timeout of one.
const LONGEST_SLOW_GAP: f64 = 3.0;

/// Interval and timeout of the readings of the pools' gauges, in seconds.
const POOLS_APART_S: f64 = 3.0;

/// More readings than this share may not lack a gauge.
const MOST_SILENT: f64 = 0.20;

/// True if the record has no sample of the variant.
pub(super) fn has_no_samples(side: Side<'_>) -> bool {
    ours(side).next().is_none()
}

fn ours(side: Side<'_>) -> impl Iterator<Item = &Stamped> {
    side.samples.iter().filter(move |it| it.variant == side.variant)
}

/// The longest time in the steady phase without a sample of a kind, its ends included; `None` when it is not too long. A
/// record without samples is [`QualityIssue::NoSamples`], and only that.
pub(super) fn longest_gap(side: Side<'_>, kind: impl Fn(&&Stamped) -> bool) -> Option<f64> {
    if has_no_samples(side) {
        return None;
    }
    let allowed = (LONGEST_GAP * side.record.scenario.interval().secs()).max(SHORTEST_GAP_S);
    gap(side, ours(side).filter(kind).map(|it| it.at_s)).filter(|longest| *longest > allowed)
}

/// The longest time in the steady phase between two of `times`, which ascend.
fn gap(side: Side<'_>, times: impl Iterator<Item = f64>) -> Option<f64> {
    let TimeSlice { from_s, to_s } = TimeSlice::steady(side);
    let inside = times.filter(|at| (from_s..=to_s).contains(at));
    let times: Vec<f64> = std::iter::once(from_s).chain(inside).chain(std::iter::once(to_s)).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max_by(f64::total_cmp)
}

type PoolGauge = (Metric, fn(&PoolSample) -> bool);

const POOL_GAUGES: [PoolGauge; 3] = [
    (Metric::PoolCheckedOut, |pool| pool.checked_out.is_some()),
    (Metric::PoolPending, |pool| pool.pending.is_some()),
    (Metric::PoolTimeouts, |pool| pool.timeouts.is_some()),
];

/// Gauges of the pools and health probes that were missing for too long, or too often.
pub(super) fn of_gauges(side: Side<'_>) -> Vec<QualityIssue> {
    let mut pages: BTreeMap<u32, Vec<(f64, &PoolSample)>> = BTreeMap::new();
    let mut probes: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for stamped in ours(side) {
        match &stamped.sample {
            Sample::Pools(pool) => pages.entry(pool.replica).or_default().push((stamped.at_s, pool)),
            Sample::Health(probe) => probes.entry(probe.replica).or_default().push(stamped.at_s),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (metric, has) in POOL_GAUGES {
        found.extend(silent(metric, has, &pages));
        // A gauge that no page ever had is no figure, and no gap.
        if !pages.values().flatten().any(|(_, pool)| has(pool)) {
            continue;
        }
        let answered = |page: &Vec<(f64, &PoolSample)>| {
            let times: Vec<f64> = page.iter().filter(|(_, pool)| has(pool)).map(|(at_s, _)| *at_s).collect();
            gap(side, times.into_iter())
        };
        found.extend(too_long(metric, pages.values().filter_map(answered), POOLS_APART_S));
    }
    let interval_s = probe_interval_s(&side.record.scenario);
    let between_probes = probes.values().filter_map(|times| gap(side, times.iter().copied()));
    found.extend(too_long(Metric::ReplicasHealthy, between_probes, interval_s));
    found
}

fn too_long(metric: Metric, gaps: impl Iterator<Item = f64>, interval_s: f64) -> Option<QualityIssue> {
    let longest = gaps.max_by(f64::total_cmp)?;
    (longest > LONGEST_SLOW_GAP * interval_s.max(SHORTEST_GAP_S))
        .then_some(QualityIssue::GaugeGap { metric, seconds: longest })
}

fn silent(
    metric: Metric,
    has: fn(&PoolSample) -> bool,
    pages: &BTreeMap<u32, Vec<(f64, &PoolSample)>>,
) -> Option<QualityIssue> {
    let asked = pages.values().map(Vec::len).sum::<usize>();
    let silent = pages.values().flatten().filter(|(_, pool)| !has(pool)).count();
    // Which of the others a page has is its own affair.
    let expected = metric == Metric::PoolCheckedOut || silent < asked;
    (expected && silent as f64 > MOST_SILENT * asked as f64).then_some(QualityIssue::GaugesSilent {
        metric,
        silent,
        asked,
    })
}

/// The longest that two health probes of a replica may be apart by plan: the pause and the probe's timeout.
fn probe_interval_s(experiment: &Experiment) -> f64 {
    match experiment {
        Experiment::Gateway(scenario) => scenario.health.interval.secs() + scenario.health.timeout.secs(),
        Experiment::Service(scenario) => scenario.health.interval.secs() + scenario.health.timeout.secs(),
        Experiment::Watched(_) => SHORTEST_GAP_S,
    }
}
