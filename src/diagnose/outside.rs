//! Connections that are out of a pool without a transaction: a request keeps one over slow work, and PostgreSQL sees a session that
//! is idle. It starves the pool all the same.

use super::observations::Observations;
use super::timeline::TimelineRow;
use super::titles::{percent, seconds};
use super::{Finding, FindingKind};

/// The pool is full in at least this share of the polls.
const FULL: f64 = 0.2;

/// From this share of the capacity on it is full.
const NEARLY: f64 = 0.95;

/// So much of the capacity is out without a transaction, at the mean.
const OUTSIDE: f64 = 0.25;

/// A route that keeps connections so.
pub(super) fn kept(seen: &Observations<'_>) -> Option<Finding> {
    let capacity = seen.case.capacity().map(f64::from)?;
    let is_full = |row: &TimelineRow| row.outside + row.idle() + f64::from(row.activity.active) >= NEARLY * capacity;
    let full = seen.timeline.mean(|row| f64::from(u8::from(is_full(row))))?;
    let outside = seen.timeline.mean(|row| row.outside)?;
    if full < FULL || outside < (OUTSIDE * capacity).max(1.0) {
        return None;
    }
    let attribution = seen.attribute(|row| row.outside);
    let holder = attribution.as_ref().and_then(|it| it.holders.first()).filter(|hold| !hold.like_constant);
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
            "The pool is full in {} of the time of connections without a transaction, {outside:.1} on average: who keeps them \
             cannot be distinguished.",
            percent(full)
        ),
    };
    let (kind, sure) =
        if holder.is_some() { (FindingKind::HeldSession, 0.8) } else { (FindingKind::PoolExhausted, 0.8) };
    let finding = Finding {
        route: holder.map(|it| it.route.clone()),
        held_s_per_request: holder.and_then(|it| it.held_s),
        fix: "Give the connection back before the slow work: close the session, also where its transaction has ended \
              (open-in-view, a client kept for the whole request)."
            .to_owned(),
        harm_s: seen.timeline.integral(from_s, to_s, |row| row.outside),
        ..Finding::new(kind, None, sure, title)
    };
    Some(finding.with("samples.pools.checked_out", outside, "connections out and in no transaction, on average").with(
        "samples.pools.checked_out",
        full,
        "share of the polls in which the pool was full",
    ))
}
