//! Consequences: full pools, loops that stand still, waits for locks, busy sessions, `PgBouncer`.

use super::blocking::{RootState, WaitQueue};
use super::observations::Observations;
use super::pattern::HoldPattern;
use super::timeline::TimelineRow;
use super::titles::{percent, seconds};
use super::{Finding, FindingKind};
use crate::record::PgBouncerPool;
use crate::texts::TextKind;

/// A state that lasts for less than this share of the polls is an accident.
const LASTS: f64 = 0.2;

/// Busy sessions are the trouble from this share of all pooled sessions on.
const BUSY: f64 = 0.25;

/// Sessions that wait for a lock.
pub(super) fn convoy(seen: &Observations<'_>) -> Option<Finding> {
    let waiting = |row: &TimelineRow| f64::from(row.activity.waiting_for_lock);
    let mean = seen.timeline.mean(waiting)?;
    let lasting = seen.timeline.mean(|row| f64::from(u8::from(row.activity.waiting_for_lock > 0)))?;
    if lasting < LASTS || mean < 1.0 {
        return None;
    }
    let peak = seen.timeline.rows.iter().map(waiting).fold(0.0, f64::max);
    let (from_s, to_s) = seen.steady_s();
    let mean_text = format!("{mean:.1} on average");
    let finding = match seen.roots.first() {
        Some(root) => behind_root(seen, root, peak, &mean_text),
        None => behind_a_guess(seen, peak, &mean_text),
    };
    Some(
        Finding { harm_s: seen.timeline.integral(from_s, to_s, waiting), ..finding }
            .with("samples.activity", peak, "most sessions that waited for a lock at one time")
            .with("samples.activity", lasting, "share of the polls with one that waits"),
    )
}

/// The monitor has walked the queue to its root.
fn behind_root(seen: &Observations<'_>, root: &WaitQueue, peak: f64, mean: &str) -> Finding {
    let all_s: f64 = seen.roots.iter().map(|it| it.blocked_s).sum();
    let share = if all_s > 0.0 { root.blocked_s / all_s } else { 0.0 };
    let (pattern, does) = match root.state {
        RootState::Idle => (Some(HoldPattern::H14), "a session that is idle in transaction (H14)"),
        RootState::NoTransaction => {
            (None, "an idle session without a transaction: a session-level lock, such as pg_advisory_lock takes")
        }
        RootState::Active => (None, "a session whose statement runs"),
        RootState::Prepared => (None, "a prepared transaction"),
    };
    let age = if root.oldest_s > 0.0 { format!(", up to {} old", seconds(root.oldest_s)) } else { String::new() };
    let title = format!("Up to {peak:.0} sessions ({mean}) wait for a lock behind {does}{age}.");
    let finding = Finding::new(FindingKind::LockConvoy, pattern, 0.95, title);
    let fix = match root.state {
        RootState::NoTransaction => SESSION_LOCK.to_owned(),
        _ => finding.fix.clone(),
    };
    Finding {
        fix,
        route: if root.state == RootState::Idle { seen.route_of(&root.statement) } else { None },
        pattern_confidence: pattern.map(|_| 0.95),
        statement: Some(root.statement.clone()).filter(|it| !it.is_empty()),
        application_name: root.application_name.clone(),
        ..finding
    }
    .with("samples.blocking", f64::from(root.most), "most sessions behind one such root at one time")
    .with("samples.blocking", root.blocked_s, "session seconds waited behind it")
    .with("samples.blocking", share, "share of all waiting that is behind it")
}

const SESSION_LOCK: &str = "Use pg_advisory_xact_lock, which ends with its transaction; or give the lock a session of its own that \
                            passes no pool and no pooler, and unlock it there.";

/// There is no blocking graph: an idle session whose last statement locks rows may be the root.
fn behind_a_guess(seen: &Observations<'_>, peak: f64, mean: &str) -> Finding {
    let holder = seen.statements.iter().find(|it| writes(&it.statement));
    let behind = if holder.is_some() { " behind a session that is idle in transaction (H14)" } else { "" };
    let title = format!("Up to {peak:.0} sessions ({mean}) wait for a lock{behind}.");
    let pattern = holder.map(|_| HoldPattern::H14);
    Finding {
        pattern_confidence: pattern.map(|_| 0.8),
        statement: holder.map(|it| it.statement.clone()),
        application_name: holder.and_then(|it| it.application_name.clone()),
        ..Finding::new(FindingKind::LockConvoy, pattern, 0.9, title)
    }
}

/// True if a statement leaves a row locked.
fn writes(statement: &str) -> bool {
    let upper = statement.to_uppercase();
    ["UPDATE ", "DELETE ", "INSERT "].iter().any(|it| upper.starts_with(it)) || upper.contains(" FOR UPDATE")
}

/// Sessions that are busy, where most of the time goes there.
pub(super) fn slow(seen: &Observations<'_>) -> Option<Finding> {
    let (busy, idle) = (seen.timeline.mean(TimelineRow::working)?, seen.timeline.mean(TimelineRow::idle)?);
    let capacity = seen.capacity();
    if busy < BUSY * capacity || busy < idle || busy < 2.0 {
        return None;
    }
    let (from_s, to_s) = seen.steady_s();
    let attribution = seen.attribute(TimelineRow::working);
    let worst = attribution.as_ref().and_then(|it| it.holders.first());
    let who = worst.map_or_else(|| "Statements".to_owned(), |it| format!("Statements of {}", it.route));
    let each =
        worst.and_then(|it| it.held_s).map_or_else(String::new, |it| format!(", {} per request", seconds(it.value)));
    let title = format!("{who} keep {busy:.1} sessions busy at the mean{each}: they are slow, not idle.");
    Some(
        Finding {
            route: worst.map(|it| it.route.clone()),
            harm_s: seen.timeline.integral(from_s, to_s, TimelineRow::working),
            ..Finding::new(FindingKind::SlowQuery, None, if worst.is_some() { 0.85 } else { 0.6 }, title)
        }
        .with("samples.activity", busy, "sessions that run a statement, at the mean")
        .with("samples.activity", idle, "sessions idle in transaction, at the mean"),
    )
}

/// Event loops that stood still.
pub(super) fn loops(seen: &Observations<'_>) -> Option<Finding> {
    let gauges: Vec<u32> = seen.pools().filter_map(|it| it.stalled_workers).collect();
    if gauges.is_empty() {
        return stands_still(seen);
    }
    let stalled = gauges.iter().filter(|it| **it > 0).count();
    let lasting = stalled as f64 / gauges.len().max(1) as f64;
    if stalled < 2 || lasting < LASTS {
        return None;
    }
    let most = gauges.iter().copied().max().unwrap_or(0);
    let summary = &seen.case.variant.summary;
    let busy = seen.timeline.mean(TimelineRow::working).unwrap_or(0.0);
    let health = summary.replicas_healthy_min.zip(summary.replicas).filter(|(healthy, all)| healthy < all);
    let down = health.map_or_else(String::new, |(it, all)| format!("; {it} of {all} replicas stay healthy"));
    let title = format!(
        "Waiting for a pool connection blocks the event loops (H13): up to {most} workers of a replica stand still, in {} of the \
         samples{down}.",
        percent(lasting)
    );
    let finding = Finding {
        pattern_confidence: Some(0.8),
        ..Finding::new(FindingKind::EventLoopBlocked, Some(HoldPattern::H13), 0.85, title)
    }
    .with("samples.pools.stalled_workers", f64::from(most), "workers of one replica that were blocked at once, at most")
    .with(
        "samples.activity",
        busy,
        "sessions that run a statement, on average: the database is not what blocks the event loops",
    );
    Some(match health {
        Some((healthy, _)) => {
            finding.with("summary.replicas_healthy_min", f64::from(healthy), "replicas healthy, at worst")
        }
        None => finding,
    })
}

/// No gauge tells of the loops: then it shows in requests that are in flight and of which none finishes, probes that get
/// no answer, and a database that has nothing to do meanwhile.
fn stands_still(seen: &Observations<'_>) -> Option<Finding> {
    let (still, probes) = (seen.share_standing_still(), seen.share_of_failed_probes());
    let busy = seen.timeline.mean(TimelineRow::working)?;
    if still < LASTS || probes.is_some_and(|it| it < LASTS) || busy >= BUSY * seen.capacity() {
        return None;
    }
    let unanswered = probes.map_or_else(String::new, |it| format!(", {} of the health probes fail", percent(it)));
    let title = format!(
        "The service stands still (H13): in {} of the time not one of the requests in flight finishes{unanswered}, and \
         the database has nothing to do.",
        percent(still),
    );
    let sure = if probes.is_some() { 0.6 } else { 0.4 };
    let finding = Finding {
        pattern_confidence: Some(sure),
        ..Finding::new(FindingKind::EventLoopBlocked, Some(HoldPattern::H13), sure, title)
    }
    .with("samples.load", still, "share of the time in which requests were in flight and none finished for a second")
    .with("samples.activity", busy, "sessions that run a statement, at the mean");
    Some(match probes {
        Some(failed) => finding.with("samples.health", failed, "share of the health probes that failed"),
        None => finding,
    })
}

/// Checkouts that gave up, or a pool that is too small.
pub(super) fn pool(seen: &Observations<'_>, causes: &[Finding]) -> Option<Finding> {
    let pattern = seen.texts.iter().filter(|(kind, _, _)| kind.is_pool()).max_by_key(|(_, _, pattern)| pattern.count);
    let counted = seen.case.variant.summary.pool_timeouts.unwrap_or(0);
    let gave_up = counted.max(pattern.as_ref().map_or(0, |(_, _, pattern)| pattern.count));
    if gave_up == 0 {
        return None;
    }
    let cause = |kinds: &[FindingKind]| causes.iter().any(|it| kinds.contains(&it.kind));
    let full: Vec<&TimelineRow> = seen.timeline.rows.iter().filter(|row| row.saturated).collect();
    let rows: Vec<&TimelineRow> = if full.is_empty() { seen.timeline.rows.iter().collect() } else { full.clone() };
    let mean =
        |value: fn(&TimelineRow) -> f64| rows.iter().map(|row| value(row)).sum::<f64>() / rows.len().max(1) as f64;
    let (idle, busy) = (mean(TimelineRow::idle), mean(TimelineRow::working));
    let known =
        cause(&[FindingKind::HeldSession, FindingKind::LeakedSession, FindingKind::SlowQuery, FindingKind::LockConvoy]);
    let limits = pattern.as_ref().map(|(_, _, pattern)| pattern.limits).unwrap_or_default();
    // Without a session that is out at the mean, or half of what one pool has, nobody knows what fills it.
    let few = limits.size.is_some_and(|size| idle + busy < 0.5 * f64::from(size));
    let unknown = !known && (idle.max(busy) < 0.5 || few);
    let kind = if known || unknown || idle >= busy { FindingKind::PoolExhausted } else { FindingKind::PoolTooSmall };
    let of = pattern.as_ref().map_or_else(|| "the pool".to_owned(), |(_, library, _)| pool_words(library, limits));
    let after = limits.timeout_s.map_or_else(|| "waiting".to_owned(), |it| format!("after {}", seconds(it)));
    let why = match kind {
        _ if unknown => "full, and what fills it was not seen",
        FindingKind::PoolTooSmall => "too small for the load: no route holds a session for long",
        _ if idle >= busy => "full of sessions that are idle in transaction",
        _ => "full of busy sessions",
    };
    let checkouts = if gave_up == 1 { "1 checkout gave".to_owned() } else { format!("{gave_up} checkouts gave") };
    let title = format!("{checkouts} up {after}: {of} is {why}.");
    let finding =
        Finding { harm_s: gave_up as f64, ..Finding::new(kind, None, if full.is_empty() { 0.6 } else { 0.9 }, title) }
            .with("summary.pool_timeouts", counted as f64, "checkouts that gave up, by the pools' own counters");
    let finding = match pattern {
        Some((_, library, pattern)) => {
            finding.with("errors", pattern.count as f64, format!("errors of this kind from {library}"))
        }
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

fn pool_words(library: &str, limits: crate::texts::PoolLimits) -> String {
    let size = match (limits.size, limits.overflow) {
        (Some(size), Some(overflow)) => format!(" ({size} + {overflow} sessions per process)"),
        (Some(size), None) => format!(" ({size} sessions per process)"),
        _ => String::new(),
    };
    format!("{library}'s pool{size}")
}

/// Findings about `PgBouncer`.
pub(super) fn pgbouncer(seen: &Observations<'_>) -> Option<Finding> {
    let of_poolers = seen.texts.iter().filter(|(kind, _, _)| kind.is_pgbouncer());
    let (kind, library, pattern) = of_poolers.max_by_key(|(_, _, pattern)| pattern.count)?;
    let count = pattern.count;
    let what = match kind {
        TextKind::PgbouncerIdleTransaction => "ended sessions that were idle in transaction",
        TextKind::PgbouncerQueryWait => "had no server connection for clients in time",
        TextKind::PgbouncerMaxClients => "took no more clients",
        _ => "ended clients or their work by a timeout",
    };
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let title = format!("{library} {what}, {times}: the limit that is hit is the pooler's.");
    let finding = Finding { harm_s: count as f64, ..Finding::new(FindingKind::PgbouncerTimeout, None, 0.95, title) }
        .with("errors", count as f64, format!("errors of this kind from {library}"));
    let peak = |of: fn(&PgBouncerPool) -> Option<u32>| {
        let looks = seen.pgbouncer_pools().filter_map(|pools| pools.iter().map(of).sum::<Option<u32>>());
        looks.max().map(f64::from)
    };
    let figures = [
        (peak(|pool| pool.sv_active), "samples.pgbouncer.sv_active", "most server connections that it had lent"),
        (peak(|pool| pool.cl_waiting), "samples.pgbouncer.cl_waiting", "most of its clients that waited for one"),
    ];
    Some(figures.into_iter().fold(finding, |finding, (peak, figure, text)| match peak {
        Some(peak) => finding.with(figure, peak, text),
        None => finding,
    }))
}
