//! Attribution of the held sessions: requests in flight by route against sessions idle in transaction, without a word from the
//! application.
//!
//! At each poll, idle = Σ coefficient × in flight. A route's coefficient is the share of its time in flight in which a
//! request holds a session (above 1: more than one session); times the mean time in flight it is the held seconds per
//! request. `regression` has the arithmetic of it.

use super::beginnings::Begun;
use super::interval::HoldInterval;
use super::regression::{AttributionInput, Basis, LEAST_SHARE, MOST_SESSIONS, Regression};
use super::spanning::Spanned;
use super::timeline::{LoadTimeline, TimelineRow};
use crate::record::presence::PAUSE_S;

/// Fewer rows with idle sessions than this say nothing.
const FEWEST_ROWS: usize = 2;
/// From this many rows on, the spread within them is worth resampling.
const ENOUGH_ROWS: usize = 40;

/// Less than this is not called a hold: the time between the statements of a transaction is idle too.
pub(super) const LEAST_HELD_S: f64 = 0.05;
const LEAST_RATIO: f64 = 0.05;
/// Sessions; less idle than this at the mean is nobody's trouble.
const LEAST_IDLE: f64 = 0.2;

/// Routes whose requests in flight correlate more than this cannot be distinguished.
const COLLINEAR: f64 = 0.97;

/// A route that alone leaves at most so many times as much unexplained as the best one may be meant as well.
const AS_GOOD: f64 = 1.25;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct RouteHold {
    pub(super) route: String,
    /// Sessions held per request in flight.
    pub(super) coefficient: HoldInterval,
    /// Of all idle-in-transaction time, 0–1.
    pub(super) share: f64,
    /// `None` when not one of its requests finished.
    pub(super) held_s: Option<HoldInterval>,
    /// Session seconds over the steady phase.
    pub(super) idle_s: f64,
    /// True if sessions that are idle whatever is asked for would look the same.
    pub(super) like_constant: bool,
    /// Attribution by beginnings; `None` without it.
    pub(super) begun: Option<Begun>,
    /// Attribution by the transactions that lie within its requests; `None` without it.
    pub(super) spanned: Option<Spanned>,
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribution {
    /// Routes that hold, most session seconds first.
    pub(super) holders: Vec<RouteHold>,
    /// Routes that cannot be distinguished from a holder: (holder, other).
    pub(super) confused: Vec<(String, String)>,
    pub(super) basis: Basis,
    pub(super) rows: usize,
    /// Share of the spread of the idle sessions that the holders explain, 0–1.
    pub(super) explained: f64,
    /// Sessions that are idle whatever is asked for.
    pub(super) constant: f64,
    /// Candidates where no route could be named: one or more of these must hold, the best first.
    pub(super) ambiguous: Vec<String>,
}

impl Attribution {
    /// The same with shares of `total_s` idle seconds, of which the attributed ones may be a part.
    pub(super) fn of_all(mut self, total_s: f64) -> Self {
        for hold in &mut self.holders {
            hold.share = if total_s > 0.0 { hold.idle_s / total_s } else { hold.share };
        }
        self.holders.retain(matters);
        self
    }
}

/// Attributes; `None` when there is too little to attribute or to attribute from.
pub(super) fn attribute(question: &AttributionInput<'_>) -> Option<Attribution> {
    let timeline = question.timeline;
    if timeline.routes.is_empty() || timeline.mean(question.of)? < LEAST_IDLE {
        return None;
    }
    let (rows, basis) = basis(timeline, question.of);
    if rows.iter().filter(|row| (question.of)(row) > 0.0).count() < FEWEST_ROWS {
        return None;
    }
    let data = Regression::new(question, &rows, basis);
    let (mut used, mut spread) = if rows.len() >= ENOUGH_ROWS { data.select() } else { data.select_few() };
    if !used.contains(&true) && rows.len() >= ENOUGH_ROWS {
        (used, spread) = data.select_few();
    }
    Some(report(question, &data, &used, &spread, basis))
}

/// The rows to learn from. A full pool cuts off what is idle, so rows before it was full are worth more.
fn basis(timeline: &LoadTimeline, of: fn(&TimelineRow) -> f64) -> (Vec<&TimelineRow>, Basis) {
    let free: Vec<&TimelineRow> = timeline.rows.iter().filter(|row| !row.saturated).collect();
    let telling = free.iter().filter(|row| of(row) > 0.0).count();
    if free.len() == timeline.rows.len() {
        (free, Basis::All)
    } else if telling >= FEWEST_ROWS {
        (free, Basis::BeforeFull)
    } else {
        (timeline.rows.iter().collect(), Basis::Full)
    }
}

fn report(
    question: &AttributionInput<'_>,
    data: &Regression,
    used: &[bool],
    spread: &[f64],
    basis: Basis,
) -> Attribution {
    let timeline = question.timeline;
    let (from_s, to_s) = question.steady_s;
    let solution = data.all.solve(used, data.most);
    let width = data.student();
    let of = question.of;
    let total_s = timeline.integral(from_s, to_s, of);
    let in_flight_s: Vec<f64> =
        (0..timeline.routes.len()).map(|route| timeline.integral(from_s, to_s, |row| row.in_flight[route])).collect();
    // A full pool holds what it has, not what the requests would have held as before it was full.
    let wanted_s: f64 = in_flight_s.iter().zip(&solution).map(|(seconds, value)| seconds * value).sum();
    let constant = data.laid_to_constant(&solution);
    let left_s = (total_s - constant * (to_s - from_s)).max(0.0);
    let granted = if wanted_s > left_s { left_s / wanted_s } else { 1.0 };
    let like_constant = data.like_constant(used);
    let mut holders = Vec::new();
    for (index, route) in timeline.routes.iter().enumerate().filter(|(index, _)| used[*index]) {
        let value = solution[index];
        let coefficient =
            HoldInterval { value, low: (value - width * spread[index]).max(0.0), high: value + width * spread[index] };
        let idle_s = value * in_flight_s[index] * granted;
        let finished = (question.finished)(route);
        // Requests that were in flight at an end of the window are half inside: their number is random, and so are
        // their ages (Little's law holds exactly only in the long run).
        let edges = [timeline.nearest(from_s), timeline.nearest(to_s)];
        let cut: f64 = edges.iter().flatten().map(|row| row.in_flight[index]).sum();
        let edge = value * cut.sqrt() / (finished as f64).max(1.0);
        let half = width * (spread[index] * spread[index] + edge * edge).sqrt();
        let each = HoldInterval { value, low: (value - half).max(0.0), high: value + half };
        let held_s = (finished > 0).then(|| each.scaled(granted * in_flight_s[index] / finished as f64));
        let share = if total_s > 0.0 { idle_s / total_s } else { 1.0 };
        let like_constant = like_constant[index];
        holders.push(RouteHold {
            route: route.clone(),
            coefficient,
            share,
            held_s,
            idle_s,
            like_constant,
            begun: None,
            spanned: None,
        });
    }
    holders.retain(matters);
    holders.sort_by(|a, b| b.idle_s.total_cmp(&a.idle_s));
    Attribution {
        confused: confused(timeline, data, &holders),
        basis,
        rows: data.rows,
        explained: data.explained(&solution),
        ambiguous: if holders.is_empty() && constant <= 0.0 { ambiguous(timeline, data) } else { Vec::new() },
        constant,
        holders,
    }
}

pub(super) fn matters(hold: &RouteHold) -> bool {
    hold.share >= LEAST_SHARE && is_long(hold)
}

/// The same beside others who hold more, over so many seconds: a neighbour's sessions must not hide it.
pub(super) fn matters_beside_others(hold: &RouteHold, lasted_s: f64) -> bool {
    hold.idle_s >= LEAST_IDLE * lasted_s && is_long(hold)
}

/// True if each request holds for long enough to be called a hold.
fn is_long(hold: &RouteHold) -> bool {
    let throughout = hold.coefficient.value >= THROUGHOUT && hold.share >= THROUGHOUT;
    let least_s = if throughout { LEAST_THROUGHOUT_S } else { LEAST_HELD_S };
    let aged = hold.begun.as_ref().map_or(1.0, Begun::share_aged);
    let is_long_enough =
        |held: HoldInterval| held.value >= least_s && aged >= LEAST_AGED * (1.0 - PAUSE_S / held.value);
    hold.coefficient.value >= LEAST_RATIO && hold.held_s.is_none_or(is_long_enough)
}

/// Least share of the idle time in transactions older than a pause between two statements, relative to the share if each request held
/// equally long. Many short transactions that one poll sees together are no hold.
const LEAST_AGED: f64 = 0.5;

/// A route that has nearly all idle time, and holds for nearly all of its response, is named from fewer seconds on: a large body is
/// held for as long as it is read.
const THROUGHOUT: f64 = 0.8;
const LEAST_THROUGHOUT_S: f64 = 0.02;

/// Routes that go up and down with a holder, so that either may be the one that holds.
fn confused(timeline: &LoadTimeline, data: &Regression, holders: &[RouteHold]) -> Vec<(String, String)> {
    let index = |route: &str| timeline.routes.iter().position(|it| it == route);
    let mut pairs = Vec::new();
    for holder in holders {
        let Some(mine) = index(&holder.route) else { continue };
        for (other, route) in timeline.routes.iter().enumerate() {
            // A route that is too seldom in flight to hold so much cannot be meant.
            let enough = data.sums[other] * MOST_SESSIONS >= data.sums[mine] * holder.coefficient.value;
            let named = holders.iter().any(|it| it.route == *route);
            if !named && enough && data.correlation(mine, other) >= COLLINEAR {
                pairs.push((holder.route.clone(), route.clone()));
            }
        }
    }
    pairs
}

/// The routes of which one or more must hold, where none stands out: those that explain about as much as the best.
fn ambiguous(timeline: &LoadTimeline, data: &Regression) -> Vec<String> {
    let left = data.alone();
    let Some((best, _)) = left.first().copied().filter(|(best, _)| *best < 0.5 * data.squares) else {
        return Vec::new();
    };
    let near = left.iter().filter(|(residual, _)| *residual <= AS_GOOD * best);
    near.filter_map(|(_, column)| timeline.routes.get(*column).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::beginnings::{Alibi, Role};
    use super::*;

    /// A route that holds for 0.08 s per request, so many of 10 idle seconds in transactions older than a pause.
    fn hold(aged_s: f64) -> RouteHold {
        let around = |value: f64| HoldInterval { value, low: 0.9 * value, high: 1.1 * value };
        let begun = Begun {
            route: 0,
            role: Role::During,
            share: around(0.9),
            transactions: 125.0,
            strength: 100.0,
            alibi: Alibi::default(),
            or_else: Vec::new(),
            statements: vec![(0, 10.0)],
            aged_s,
        };
        RouteHold {
            route: "GET /tools".to_owned(),
            coefficient: around(0.9),
            share: 0.9,
            held_s: Some(around(0.08)),
            idle_s: 10.0,
            like_constant: false,
            begun: Some(begun),
            spanned: None,
        }
    }

    #[test]
    fn short_transactions_that_a_poll_meets_in_a_crowd_are_no_hold() {
        // On a machine that stood still, all go on at once, and the poll that was late is one of them.
        assert!(!matters(&hold(1.0)));
        // 0.06 s of each 0.08 s, if each request holds as long.
        assert!(matters(&hold(7.5)) && matters(&hold(4.0)));
        assert!(matters(&RouteHold { begun: None, ..hold(0.0) }), "records without transactions tell nothing of it");
    }
}
