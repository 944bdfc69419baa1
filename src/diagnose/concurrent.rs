//! The same regression on a mix that was designed for it: whose rates go up and down each by itself.

use super::attribute::attribute;
use super::interval::HoldInterval;
use super::regression::AttributionInput;
use super::timeline::{LoadTimeline, TimelineRow};
use crate::record::ActivitySample;

/// One poll of the sessions while a mix ran.
#[derive(Clone, Debug, PartialEq)]
pub struct MixRow {
    pub at_s: f64,
    /// Requests in flight, by the route's number.
    pub in_flight: Vec<u32>,
    /// Sessions idle in transaction.
    pub idle: u32,
}

/// Hold time of a route in the mix.
#[derive(Clone, Debug, PartialEq)]
pub struct MixHold {
    pub route: usize,
    /// Idle-in-transaction seconds per request; `None` when not one finished.
    pub held_s: Option<HoldInterval>,
    /// Routes that may be meant as well, by their numbers.
    pub or_else: Vec<usize>,
}

/// The routes that hold in a mix, most first; `finished` says how many requests of each did. `capacity` of the pools,
/// where it is known: what a full pool holds says little.
pub fn in_mix(rows: &[MixRow], names: &[String], finished: &[u64], capacity: Option<u32>) -> Vec<MixHold> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Vec::new() };
    let row = |row: &MixRow| TimelineRow {
        at_s: row.at_s,
        in_flight: row.in_flight.iter().map(|count| f64::from(*count)).collect(),
        leaked: 0.0,
        earlier: 0.0,
        users: f64::from(row.in_flight.iter().sum::<u32>()),
        activity: ActivitySample { idle_in_transaction: row.idle, ..ActivitySample::default() },
        saturated: capacity.is_some_and(|capacity| row.idle >= capacity),
    };
    let timeline = LoadTimeline { routes: names.to_vec(), rows: rows.iter().map(row).collect() };
    let number = |name: &str| names.iter().position(|it| it == name);
    let question = AttributionInput {
        timeline: &timeline,
        steady_s: (first.at_s, last.at_s),
        finished: &|name| number(name).and_then(|it| finished.get(it)).copied().unwrap_or(0),
        of: TimelineRow::idle,
    };
    let Some(attribution) = attribute(&question) else { return Vec::new() };
    let hold = |name: &str, held_s| {
        let confused = attribution.confused.iter().filter(|(holder, _)| holder == name);
        let or_else = confused.filter_map(|(_, other)| number(other)).collect();
        Some(MixHold { route: number(name)?, held_s, or_else })
    };
    attribution.holders.iter().filter_map(|it| hold(&it.route, it.held_s)).collect()
}
