//! Gauges of the pools beside the polls of the database.

use std::collections::BTreeMap;

use super::Case;
use super::timeline::TimelineRow;
use crate::record::{Sample, Stamped};

/// A poll and a gauge that are no further apart are of one moment.
const MOMENT_S: f64 = 0.15;

/// Connections that are out at each gauge, once every page has answered.
fn out(case: &Case<'_>, samples: &[&Stamped]) -> Vec<(f64, f64)> {
    let pages = samples.iter().filter_map(|it| match &it.sample {
        Sample::Pools(pools) => Some(pools.replica),
        _ => None,
    });
    let (pages, mut last, mut out) = (pages.max().unwrap_or(0) as usize, BTreeMap::new(), Vec::new());
    for stamped in samples.iter().filter(|it| it.at_s <= case.variant.phases.steady_to_s) {
        let Sample::Pools(pools) = &stamped.sample else { continue };
        let Some(checked_out) = pools.checked_out else { continue };
        last.insert(pools.replica, checked_out);
        if last.len() == pages {
            out.push((stamped.at_s, f64::from(last.values().sum::<u32>())));
        }
    }
    out
}

/// Puts beside each poll how many connections are out and in no transaction.
pub(super) fn beside_polls(case: &Case<'_>, samples: &[&Stamped], rows: &mut [TimelineRow]) {
    let out = out(case, samples);
    for row in rows {
        let next = out.partition_point(|(at_s, _)| *at_s < row.at_s);
        let around = [next.checked_sub(1), Some(next)].into_iter().flatten().filter_map(|place| out.get(place));
        let of_moment = around.filter(|(at_s, _)| (at_s - row.at_s).abs() <= MOMENT_S);
        let in_use = row.idle() + f64::from(row.activity.active);
        row.outside = of_moment.map(|(_, checked_out)| (checked_out - in_use).max(0.0)).reduce(f64::min);
    }
}
