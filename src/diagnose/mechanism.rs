//! What comes of it: full pools, loops that stand still, waits for locks, busy sessions, `PgBouncer`.

use super::pattern::HoldPattern;
use super::seen::Seen;
use super::timeline::Row;
use super::titles::{percent, seconds};
use super::{Finding, Kind};
use crate::texts::TextKind;

/// A state that lasts for less than this share of the polls is an accident.
const LASTS: f64 = 0.2;

/// Busy sessions are the trouble from this share of all pooled sessions on.
const BUSY: f64 = 0.25;

/// Sessions that wait for a lock.
pub(super) fn convoy(seen: &Seen<'_>) -> Option<Finding> {
    let waiting = |row: &Row| f64::from(row.activity.waiting_for_lock);
    let mean = seen.timeline.mean(waiting)?;
    let lasting = seen.timeline.mean(|row| f64::from(u8::from(row.activity.waiting_for_lock > 0)))?;
    if lasting < LASTS || mean < 1.0 {
        return None;
    }
    let peak = seen.timeline.rows.iter().map(waiting).fold(0.0, f64::max);
    let (from_s, to_s) = seen.steady_s();
    let holder = seen.statements.iter().find(|it| writes(&it.statement));
    let behind = if holder.is_some() { " behind a session that is idle in transaction (H14)" } else { "" };
    let title = format!("Up to {peak:.0} sessions wait for a lock{behind}, {mean:.1} at the mean.");
    let pattern = holder.map(|_| HoldPattern::H14);
    Some(
        Finding {
            pattern_confidence: pattern.map(|_| 0.8),
            statement: holder.map(|it| it.statement.clone()),
            application_name: holder.and_then(|it| it.application_name.clone()),
            harm_s: seen.timeline.integral(from_s, to_s, waiting),
            ..Finding::new(Kind::LockConvoy, pattern, 0.9, title)
        }
        .with("samples.activity", peak, "most sessions that waited for a lock at one time")
        .with("samples.activity", lasting, "share of the polls with one that waits"),
    )
}

/// Whether a statement leaves a row locked.
fn writes(statement: &str) -> bool {
    let upper = statement.to_uppercase();
    ["UPDATE ", "DELETE ", "INSERT "].iter().any(|it| upper.starts_with(it)) || upper.contains(" FOR UPDATE")
}

/// Sessions that are busy, where most of the time goes there.
pub(super) fn slow(seen: &Seen<'_>) -> Option<Finding> {
    let (busy, idle) = (seen.timeline.mean(Row::working)?, seen.timeline.mean(Row::idle)?);
    let capacity = seen.capacity();
    if busy < BUSY * capacity || busy < idle || busy < 2.0 {
        return None;
    }
    let (from_s, to_s) = seen.steady_s();
    let attribution = seen.attribute(Row::working);
    let worst = attribution.as_ref().and_then(|it| it.holders.first());
    let who = worst.map_or_else(|| "Statements".to_owned(), |it| format!("Statements of {}", it.route));
    let each =
        worst.and_then(|it| it.held_s).map_or_else(String::new, |it| format!(", {} per request", seconds(it.value)));
    let title = format!("{who} keep {busy:.1} sessions busy at the mean{each}: they are slow, not idle.");
    Some(
        Finding {
            route: worst.map(|it| it.route.clone()),
            harm_s: seen.timeline.integral(from_s, to_s, Row::working),
            ..Finding::new(Kind::SlowQuery, None, if worst.is_some() { 0.85 } else { 0.6 }, title)
        }
        .with("samples.activity", busy, "sessions that run a statement, at the mean")
        .with("samples.activity", idle, "sessions idle in transaction, at the mean"),
    )
}

/// Event loops that stood still.
pub(super) fn loops(seen: &Seen<'_>) -> Option<Finding> {
    let gauges: Vec<u32> = seen.pools().filter_map(|it| it.stalled_workers).collect();
    let stalled = gauges.iter().filter(|it| **it > 0).count();
    let lasting = stalled as f64 / gauges.len().max(1) as f64;
    if stalled < 2 || lasting < LASTS {
        return None;
    }
    let most = gauges.iter().copied().max().unwrap_or(0);
    let summary = &seen.case.variant.summary;
    let busy = seen.timeline.mean(Row::working).unwrap_or(0.0);
    let health = summary.replicas_healthy_min.filter(|it| *it < summary.replicas);
    let down = health.map_or_else(String::new, |it| format!("; {it} of {} replicas stay healthy", summary.replicas));
    let title = format!(
        "Waits for the pool block the event loops (H13): up to {most} workers of a replica stand still, in {} of the \
         looks{down}.",
        percent(lasting)
    );
    let finding = Finding {
        pattern_confidence: Some(0.8),
        ..Finding::new(Kind::EventLoopBlocked, Some(HoldPattern::H13), 0.85, title)
    }
    .with("samples.pools.stalled_workers", f64::from(most), "most workers of one replica that stood still")
    .with(
        "samples.activity",
        busy,
        "sessions that run a statement, at the mean: the loops do not wait for the database's work",
    );
    Some(match health {
        Some(healthy) => finding.with("summary.replicas_healthy_min", f64::from(healthy), "replicas healthy, at worst"),
        None => finding,
    })
}

/// Checkouts that gave up, or a pool that is too small.
pub(super) fn pool(seen: &Seen<'_>, causes: &[Finding]) -> Option<Finding> {
    let told = seen.texts.iter().filter(|(kind, _, _)| kind.is_pool()).max_by_key(|(_, _, told)| told.count);
    let counted = seen.case.variant.summary.pool_timeouts.unwrap_or(0);
    let gave_up = counted.max(told.as_ref().map_or(0, |(_, _, told)| told.count));
    if gave_up == 0 {
        return None;
    }
    let cause = |kinds: &[Kind]| causes.iter().any(|it| kinds.contains(&it.kind));
    let full: Vec<&Row> = seen.timeline.rows.iter().filter(|row| row.saturated).collect();
    let mean = |value: fn(&Row) -> f64| full.iter().map(|row| value(row)).sum::<f64>() / full.len().max(1) as f64;
    let (idle, busy) = (mean(Row::idle), mean(Row::working));
    let known = cause(&[Kind::HeldSession, Kind::LeakedSession, Kind::SlowQuery, Kind::LockConvoy]);
    let kind = if known || idle >= busy { Kind::PoolExhausted } else { Kind::PoolTooSmall };
    let limits = told.as_ref().map(|(_, _, told)| told.limits).unwrap_or_default();
    let of = told.as_ref().map_or_else(|| "the pool".to_owned(), |(_, library, _)| pool_words(library, limits));
    let after = limits.timeout_s.map_or_else(|| "waiting".to_owned(), |it| format!("after {}", seconds(it)));
    let why = match kind {
        Kind::PoolTooSmall => "too small for the load: no route holds a session for long",
        _ if idle >= busy => "full of sessions that are idle in transaction",
        _ => "full of busy sessions",
    };
    let checkouts = if gave_up == 1 { "1 checkout gave".to_owned() } else { format!("{gave_up} checkouts gave") };
    let title = format!("{checkouts} up {after}: {of} is {why}.");
    let finding =
        Finding { harm_s: gave_up as f64, ..Finding::new(kind, None, if full.is_empty() { 0.6 } else { 0.9 }, title) }
            .with("summary.pool_timeouts", counted as f64, "checkouts that gave up, by the pools' own counters");
    let finding = match told {
        Some((_, library, told)) => finding.with("errors", told.count as f64, format!("such texts of {library}")),
        None => finding,
    };
    Some(if full.is_empty() {
        finding
    } else {
        finding.with("samples.activity", idle, "sessions idle in transaction at the mean, while a pool was full").with(
            "samples.activity",
            busy,
            "sessions that run a statement at the mean, while a pool was full",
        )
    })
}

fn pool_words(library: &str, limits: crate::texts::Limits) -> String {
    let size = match (limits.size, limits.overflow) {
        (Some(size), Some(overflow)) => format!(" of {size} + {overflow}"),
        (Some(size), None) => format!(" of {size}"),
        _ => String::new(),
    };
    format!("{library}'s pool{size}")
}

/// What `PgBouncer` says.
pub(super) fn pgbouncer(seen: &Seen<'_>) -> Option<Finding> {
    let told: Vec<(TextKind, u64)> = seen
        .texts
        .iter()
        .filter(|(kind, _, _)| kind.is_pgbouncer())
        .map(|(kind, _, told)| (kind, told.count))
        .collect();
    let (kind, count) = *told.iter().max_by_key(|(_, count)| *count)?;
    let what = match kind {
        TextKind::PgbouncerIdleTransaction => "ended sessions that were idle in transaction",
        TextKind::PgbouncerQueryWait => "had no server connection for clients in time",
        TextKind::PgbouncerMaxClients => "took no more clients",
        _ => "ended clients or their work by a timeout",
    };
    let title = format!("PgBouncer {what}, {count} times: the limit that is hit is the pooler's.");
    Some(Finding { harm_s: count as f64, ..Finding::new(Kind::PgbouncerTimeout, None, 0.95, title) }.with(
        "errors",
        count as f64,
        "such texts of PgBouncer",
    ))
}
