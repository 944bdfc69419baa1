//! The same regression on a mix that was designed for it: whose rates go up and down each by itself.

use std::collections::BTreeMap;

use super::attribute::{LEAST_HELD_S, attribute};
use super::beginnings::{self, Beginning, Begun, Moment, SPEAKS_FOR};
use super::interval::HoldInterval;
use super::regression::AttributionInput;
use super::timeline::{LoadTimeline, TimelineRow};
use crate::record::{ActivitySample, Presence};

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
        outside: None,
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

/// A transaction in the mix.
#[derive(Clone, Debug, PartialEq)]
pub struct MixTransaction {
    /// When it began.
    pub at_s: f64,
    /// Requests at that moment, by the route's number.
    pub present: Vec<Presence>,
    /// Number of its statement.
    pub statement: usize,
    /// Seconds that it was idle.
    pub idle_s: f64,
}

/// Idle seconds by statement.
fn by_statement(transactions: &[MixTransaction]) -> BTreeMap<usize, f64> {
    let mut seconds = BTreeMap::new();
    for it in transactions.iter().filter(|it| it.idle_s > 0.0) {
        *seconds.entry(it.statement).or_default() += it.idle_s;
    }
    seconds
}

/// Seconds of a service whose waits are known were 1 to 2 % too few: as much is laid to nobody, or to somebody else.
const ASSIGNED_WITHIN: f64 = 0.02;

/// Requests at a moment of the mix.
#[derive(Clone, Debug, PartialEq)]
pub struct MixMoment {
    pub at_s: f64,
    /// By the route's number.
    pub present: Vec<Presence>,
}

/// The holders that the beginnings of transactions name, and those of the regression for which they speak. Where too few began, the
/// regression's. `transactions` began while pools had room, `in_full` while one was full, where their beginnings tell nothing.
/// `step_s` is the time between two polls.
pub fn confirmed(
    holds: Vec<MixHold>,
    transactions: &[MixTransaction],
    in_full: &[MixTransaction],
    moments: &[MixMoment],
    finished: &[u64],
    step_s: f64,
) -> Vec<MixHold> {
    let beginning = |it: &MixTransaction| Beginning {
        at_s: it.at_s,
        present: it.present.clone(),
        spanning: Vec::new(),
        statement: it.statement,
        process: None,
        idle_s: it.idle_s,
        aged_s: it.idle_s,
        weight: 1.0,
    };
    let beginnings: Vec<Beginning> = transactions.iter().map(beginning).collect();
    let moments: Vec<Moment> = moments.iter().map(|it| Moment { at_s: it.at_s, present: it.present.clone() }).collect();
    let Some(found) = beginnings::attribute(&beginnings, &moments, finished.len()) else { return holds };
    let (with_room, full) = (by_statement(transactions), by_statement(in_full));
    let room_s: f64 = with_room.values().sum();
    let hold = |begun: &Begun| {
        // A statement's idle time in a full pool is shared as while there was room.
        let of_full = |(statement, idle_s): (&usize, &f64)| {
            let seen = begun.statements.iter().filter(|it| it.0 == *statement).map(|it| it.1).sum::<f64>();
            idle_s * with_room.get(statement).map_or(begun.share.value, |all_s| seen / all_s)
        };
        let own_s = begun.share.value * room_s;
        let with_full = 1.0 + full.iter().map(of_full).sum::<f64>() / own_s.max(f64::MIN_POSITIVE);
        let requests = finished.get(begun.route).copied().filter(|count| *count > 0);
        let held_s = requests.map(|requests| {
            let HoldInterval { value, low, high } = begun.share.scaled(with_full * room_s / requests as f64);
            // Each of its transactions was polled from a moment on that is as likely as any: the variance of one is a sixth of step².
            let polled = 1.96 * (begun.transactions / 6.0).sqrt() * step_s / requests as f64;
            let error = polled.hypot(ASSIGNED_WITHIN * value);
            HoldInterval {
                value,
                low: (value - (value - low).hypot(error)).max(0.0),
                high: value + (high - value).hypot(error),
            }
        });
        MixHold { route: begun.route, held_s, or_else: begun.or_else.clone() }
    };
    let matters = |hold: &MixHold| {
        let by_load = holds.iter().any(|it| it.route == hold.route);
        by_load || hold.held_s.is_some_and(|held| held.value >= LEAST_HELD_S)
    };
    let named: Vec<MixHold> = found.routes.iter().map(hold).filter(matters).collect();
    let speaks_for = |it: &MixHold| found.evidence.get(it.route).is_some_and(|evidence| *evidence >= SPEAKS_FOR);
    let is_new = |it: &MixHold| named.iter().all(|known| known.route != it.route);
    let others: Vec<MixHold> = holds.iter().filter(|it| is_new(it) && speaks_for(it)).cloned().collect();
    [named, others].concat()
}
