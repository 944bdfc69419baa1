//! Connections that are out of a pool without a transaction: a request keeps one over slow work, and PostgreSQL sees a session that
//! is idle. It starves the pool all the same.

use super::attribute::{RouteHold, attribute};
use super::observations::Observations;
use super::regression::{AttributionInput, Basis};
use super::timeline::{LoadTimeline, TimelineRow};
use super::titles::{percent, seconds};
use super::{Finding, FindingKind};

/// The pool is full in at least this share of the polls.
const FULL: f64 = 0.2;

/// From this share of the capacity on it is full.
const NEARLY: f64 = 0.95;

/// So much of the capacity is out without a transaction, at the mean.
const OUTSIDE: f64 = 0.25;

/// Fewer gauges than this say nothing.
const FEWEST: usize = 10;

fn outside(row: &TimelineRow) -> f64 {
    row.outside.unwrap_or(0.0)
}

/// A route that keeps connections so.
pub(super) fn kept(seen: &Observations<'_>) -> Option<Finding> {
    let capacity = seen.case.capacity().map(f64::from)?;
    let rows: Vec<TimelineRow> = seen.timeline.rows.iter().filter(|row| row.outside.is_some()).cloned().collect();
    let is_full = |row: &TimelineRow| outside(row) + row.idle() + f64::from(row.activity.active) >= NEARLY * capacity;
    let rows = rows.into_iter().map(|row| TimelineRow { saturated: row.saturated || is_full(&row), ..row }).collect();
    let timeline = LoadTimeline { routes: seen.timeline.routes.clone(), rows };
    let full = timeline.mean(|row| f64::from(u8::from(is_full(row))))?;
    let mean = timeline.mean(outside)?;
    if timeline.rows.len() < FEWEST || full < FULL || mean < (OUTSIDE * capacity).max(1.0) {
        return None;
    }
    let finished = |route: &str| seen.finished(route);
    let question =
        AttributionInput { timeline: &timeline, steady_s: seen.steady_s(), finished: &finished, of: outside };
    let attribution = attribute(&question);
    let confused = |hold: &RouteHold| {
        attribution.as_ref().is_some_and(|it| it.confused.iter().any(|(holder, _)| *holder == hold.route))
    };
    let first = attribution.as_ref().and_then(|it| it.holders.first());
    // In a full pool requests that wait go with what is out as well.
    let is_basis_full = attribution.as_ref().is_some_and(|it| it.basis == Basis::Full);
    let holder = first.filter(|hold| !is_basis_full && !hold.like_constant && !confused(hold));
    let (from_s, to_s) = seen.steady_s();
    let each =
        holder.and_then(|it| it.held_s).map_or_else(String::new, |it| format!(", {} per request", seconds(it.value)));
    let title = match holder {
        Some(hold) => format!(
            "{} keeps a connection over slow work, outside a transaction{each}: the pool is full in {} of the time.",
            hold.route,
            percent(full)
        ),
        None => format!(
            "The pool is full in {} of the time of connections without a transaction, {mean:.1} on average: who keeps them \
             cannot be distinguished.",
            percent(full)
        ),
    };
    let (kind, sure) =
        if holder.is_some() { (FindingKind::HeldSession, 0.75) } else { (FindingKind::PoolExhausted, 0.8) };
    let finding = Finding {
        route: holder.map(|it| it.route.clone()),
        held_s_per_request: holder.and_then(|it| it.held_s),
        fix: "Give the connection back before the slow work: close the session, also where its transaction has ended \
              (open-in-view, a client kept for the whole request)."
            .to_owned(),
        harm_s: mean * (to_s - from_s),
        ..Finding::new(kind, None, sure, title)
    };
    Some(finding.with("samples.pools.checked_out", mean, "connections out and in no transaction, on average").with(
        "samples.pools.checked_out",
        full,
        "share of the polls in which the pool was full",
    ))
}
