//! Findings about sessions that are left behind, and about nothing being wrong, or nothing being known.

use super::advice;
use super::beginnings::Begun;
use super::observations::Observations;
use super::pattern::{LeakPrint, Match, of_leak};
use super::timeline::TimelineRow;
use super::titles::{listed, percent, seconds};
use super::{Finding, FindingKind};

/// Fewer polls than this say nothing of a run.
pub(super) const FEWEST_POLLS: usize = 10;

/// Nothing is stated of a steady phase of which less than this was seen.
pub(super) const WATCHED: f64 = 0.8;

/// Idle sessions that nobody explains are worth a word from this share of all pooled sessions on.
const UNEXPLAINED: f64 = 0.1;

/// So are these at the mean, of transactions that were idle for long: pauses between two statements are not.
const UNEXPLAINED_LONG: f64 = 0.2;

/// Sessions that outlive every request.
pub(super) fn leaked(seen: &Observations<'_>) -> Option<Finding> {
    let first = seen.statements.get(*seen.leaks.first()?)?;
    let half = first.series.len() / 2;
    let mean = |part: &[(f64, f64)]| part.iter().map(|(_, it)| it).sum::<f64>() / part.len().max(1) as f64;
    let grows = mean(&first.series[half..]) > 1.5 * mean(&first.series[..half]);
    let ends = seen.leaks_end();
    let print = LeakPrint { statement: &first.statement, grows, ends, given_up: seen.given_up() };
    let Match { pattern, sure, why } = of_leak(&print);
    let share: f64 = seen.leaks.iter().map(|index| seen.statements[*index].share).sum();
    let births = seen.leaks_begun.as_ref().and_then(|it| it.holders.first());
    let is_sure = |begun: &Begun| begun.or_else.is_empty() && begun.share.low >= 0.5;
    let born = births.filter(|hold| hold.begun.as_ref().is_some_and(is_sure));
    let whose = born.map_or_else(
        || "Sessions stay in a transaction after their request".to_owned(),
        |hold| format!("Transactions that {} begins stay open after it", hold.route),
    );
    let title = format!(
        "{whose}{}: the oldest for {}, {} of all idle-in-transaction time.",
        pattern.map_or_else(String::new, |it| format!(" ({it:?})")),
        seconds(first.oldest_s),
        percent(share),
    );
    let longest = seen.case.variant.routes.iter().filter_map(|it| it.latency_max_ms).fold(0.0, f64::max);
    let finding = Finding {
        route: born.map(|hold| hold.route.clone()),
        pattern_confidence: pattern.map(|_| sure),
        share: Some(share.min(1.0)),
        statement: Some(first.statement.clone()),
        application_name: first.application_name.clone(),
        harm_s: share * seen.idle_s(),
        ..Finding::new(FindingKind::LeakedSession, pattern, 0.85, title)
    };
    let finding = if ends { Finding { fix: advice::END_FIRST.to_owned(), ..finding } } else { finding };
    Some(
        finding
            .with("samples.breakdown", first.oldest_s, format!("age in seconds of the oldest such transaction; {why}"))
            .with("routes.latency_max_ms", longest, "milliseconds that the longest request took"),
    )
}

/// Finding for what was seen and is not explained.
pub(super) fn cannot_tell(seen: &Observations<'_>, findings: &[Finding]) -> Option<Finding> {
    if let Some(finding) = not_observed(seen) {
        return Some(finding);
    }
    let polls = seen.timeline.rows.len();
    if polls < FEWEST_POLLS {
        let title =
            format!("Cannot tell: there are {polls} polls of the database under load, and {FEWEST_POLLS} are needed.");
        return Some(Finding::new(FindingKind::CannotTell, None, 1.0, title).with(
            "summary.polls",
            polls as f64,
            "polls",
        ));
    }
    let watched = seen.share_watched();
    if watched < WATCHED {
        let title = format!("Cannot tell: the database was seen for {} of the steady phase.", percent(watched));
        let text = "share of the steady phase without a gap between polls";
        return Some(Finding::new(FindingKind::CannotTell, None, 1.0, title).with("samples.activity", watched, text));
    }
    let idle = seen.timeline.mean(TimelineRow::idle_under_load).unwrap_or(0.0);
    let explained = findings.iter().any(|it| {
        matches!(it.kind, FindingKind::HeldSession | FindingKind::LeakedSession | FindingKind::HeldOutsideRequests)
    });
    let capacity = seen.capacity();
    // The finding on a lock queue names its root.
    let queued = findings.iter().any(|it| it.kind == FindingKind::LockConvoy);
    let long = seen.long_idle().filter(|it| !queued && *it >= UNEXPLAINED_LONG);
    if !explained && (idle >= (UNEXPLAINED * capacity).max(1.0) || long.is_some()) {
        return Some(nobody_named(seen, idle));
    }
    let summary = &seen.case.variant.summary;
    if findings.is_empty() && !seen.case.record.is_healthy(seen.case.variant) {
        let failed = summary.failure_ratio.unwrap_or(f64::NAN);
        let title = if failed.is_nan() {
            "Cannot tell: no request finished in the steady phase, and no session was held.".to_owned()
        } else {
            format!(
                "Cannot tell: {} of the requests failed, and the database's sessions do not say why.",
                percent(failed)
            )
        };
        let failed = if failed.is_nan() { 1.0 } else { failed };
        return Some(Finding::new(FindingKind::CannotTell, None, 0.8, title).with(
            "summary.failure_ratio",
            failed,
            "failed of finished",
        ));
    }
    None
}

/// The service's sessions were not among those that were watched.
pub(super) fn not_observed(seen: &Observations<'_>) -> Option<Finding> {
    let because = seen.case.record.not_observed(seen.case.variant)?;
    let finding = Finding::new(FindingKind::CannotTell, None, 1.0, format!("Inconclusive: {because}."));
    Some(finding.with(
        "monitor.sessions_with_activity",
        0.0,
        "watched sessions that ran a query or began a transaction",
    ))
}

fn nobody_named(seen: &Observations<'_>, idle: f64) -> Finding {
    let by_beginnings = seen.begun.as_ref().map(|begun| seen.could_be(begun));
    let by_load = || seen.attribution.as_ref().map_or_else(Vec::new, |it| it.ambiguous.clone());
    let spanning = seen.spanned.as_ref().filter(|_| seen.mostly_full()).map(|it| it.ambiguous.clone());
    let by_spanning = spanning.map(|it| it.into_iter().map(|place| seen.timeline.routes[place].clone()).collect());
    let ambiguous: &Vec<String> = &by_spanning.or(by_beginnings).unwrap_or_else(by_load);
    let title = if ambiguous.len() > 1 {
        format!(
            "Cannot tell which of {} holds the sessions: they are in flight together. A mix in which they vary apart, or \
             each alone, would tell.",
            listed(ambiguous)
        )
    } else if seen.mostly_full() {
        format!(
            "Cannot tell which route holds {idle:.1} sessions (mean): the pool is full, so that every route that waits for it correlates \
             with them, too. Run again with fewer users or a larger pool."
        )
    } else {
        format!("Inconclusive: {idle:.1} held sessions (mean) correlate with no route's requests.")
    };
    let statement = seen.statements.first().map(|it| it.statement.clone());
    Finding { statement, ..Finding::new(FindingKind::CannotTell, None, 0.8, title) }.with(
        "summary.idle_in_transaction_mean",
        idle,
        "sessions idle in transaction at the mean",
    )
}

/// Nothing is wrong.
pub(super) fn healthy(seen: &Observations<'_>) -> Finding {
    let summary = &seen.case.variant.summary;
    let idle = seen.timeline.mean(TimelineRow::idle).unwrap_or(0.0);
    // Of pools that tell nothing, nothing is stated.
    let pools = if summary.pool_timeouts.is_some() { "no checkout gave up" } else { "hardly a request failed" };
    let title = format!(
        "Nothing is wrong: {idle:.1} sessions are idle in transaction at the mean, {pools}, and no route holds a session \
         for long."
    );
    let finding = Finding::new(FindingKind::Healthy, None, 0.9, title).with(
        "samples.activity",
        idle,
        "sessions idle in transaction at the mean",
    );
    let finding = match summary.pool_timeouts {
        Some(timeouts) => finding.with("summary.pool_timeouts", timeouts as f64, "checkouts that gave up"),
        None => finding,
    };
    finding.with("summary.polls", summary.polls as f64, "polls of the database")
}
