//! The first sentences of a report.

use maud::{Markup, html};

use super::ReportedRun;
use super::findings::headline;
use super::text::{ERROR_MAX, NAME_MAX, plain};
use crate::record::{Outcome, RunRecord, Summary};
use crate::render::numbers::{change, count, percent, seconds, whole};
use crate::render::table::{loaded, targets_of};
use crate::scenario::{SessionScope, VariantName};

/// Notes of a scenario that are shown.
const NOTES_SHOWN: usize = 10;

/// Title, shape, warnings, and what happened in a sentence or two.
pub(super) fn head(runs: &[ReportedRun<'_>], title: &str) -> Markup {
    html! {
        header {
            @match runs { [run] => { @if let Some(headline) = headline(run) { p.shape { (title) } h1 { (headline) } } @else { h1 { (title) } } } _ => { h1 { (title) } } }
            @for (index, run) in runs.iter().enumerate() {
                div.run {
                    @if runs.len() > 1 { h2.name { (index + 1) ". " (plain(run.name, NAME_MAX)) } }
                    p.shape { (shape(run.record)) }
                    @if runs.len() == 1 {
                        @for note in run.record.scenario.notes().iter().take(NOTES_SHOWN) { p.shape { (plain(note, NAME_MAX)) } }
                    }
                    @if runs.len() > 1 { @if let Some(headline) = headline(run) { p { strong { (headline) } } } }
                    @for warning in warnings(run) { p.warning role="note" { strong { "! " } (warning) } }
                    @if !is_scan(run.record) { p.lead { (sentence(run.record)) } }
                }
            }
        }
    }
}

/// True if its routes were scanned, and no load made.
pub(super) fn is_scan(record: &RunRecord) -> bool {
    !record.variants.is_empty() && record.variants.values().all(|variant| variant.scan.is_some())
}

/// Load in one line.
fn shape(record: &RunRecord) -> String {
    let version = record.variants.values().next().map_or("–", |variant| variant.postgres_version.as_str());
    let subject =
        if is_scan(record) { format!("scan of {}", targets_of(&record.scenario)) } else { loaded(&record.scenario) };
    format!(
        "{} · {} · PostgreSQL {} · {}",
        plain(record.scenario.name(), NAME_MAX),
        plain(&subject, NAME_MAX),
        plain(version, NAME_MAX),
        started(record),
    )
}

/// `2026-11-23 10:12 UTC`.
pub(super) fn started(record: &RunRecord) -> String {
    let since = jiff::SignedDuration::try_from_secs_f64(record.started_unix_s);
    let started = since.ok().and_then(|since| jiff::Timestamp::from_duration(since).ok());
    started.map_or_else(|| "–".to_owned(), |it| it.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// Warnings that the reader must know before believing anything below.
fn warnings(run: &ReportedRun<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    match &run.record.outcome {
        Outcome::Finished => {}
        Outcome::Running => warnings.push(
            "This run has no end: its process was killed, or it still goes on. What follows is what was on disk."
                .to_owned(),
        ),
        Outcome::Interrupted => {
            warnings.push("This run was interrupted: the figures cover what was seen until then.".to_owned());
        }
        Outcome::Failed { error } => warnings.push(format!("This run failed: {}", plain(error, ERROR_MAX))),
    }
    let unfinished: Vec<&str> = run
        .timeline
        .lanes
        .keys()
        .filter(|scope| !run.record.variants.contains_key(scope))
        .map(VariantName::name)
        .collect();
    if !unfinished.is_empty() {
        warnings
            .push(format!("No figures of {}: only its samples are there, as far as they go.", unfinished.join(", ")));
    }
    match run.samples {
        None => warnings.push("There are no samples: nothing can be drawn over time.".to_owned()),
        Some(read) => {
            if read.cut_off {
                warnings.push("The samples end in the middle of a line: the process was killed while it wrote. That line is left out.".to_owned());
            }
            if read.unreadable > 0 {
                warnings.push(format!(
                    "{} lines of the samples could not be read, and are left out.",
                    count(Some(read.unreadable))
                ));
            }
        }
    }
    warnings
}

/// Summary in one sentence: each variant in a clause, the worse one first; then the change for the users.
pub(super) fn sentence(record: &RunRecord) -> String {
    let variants: Vec<(VariantName, &Summary)> =
        record.in_order().into_iter().map(|(scope, variant)| (scope, &variant.summary)).collect();
    let clause_of = |(index, (scope, summary)): (usize, &(VariantName, &Summary))| {
        let said_before = index > 0 && variants[index - 1].1.idle_in_transaction_peak.is_some();
        clause(*scope, variants.len() == 1, summary, if said_before { Wording::Again } else { Wording::First })
    };
    let clauses: Vec<String> = variants.iter().enumerate().map(clause_of).collect();
    let mut lines = match clauses.as_slice() {
        [] => return "No variant ran to its end, so there are no figures.".to_owned(),
        clauses => capitalised(&clauses.join("; ")) + ".",
    };
    if let [(_, baseline), (_, candidate)] = variants.as_slice() {
        lines += &users(baseline, candidate);
    }
    if record.variants.values().all(|it| it.complete && it.summary.is_healthy()) {
        lines += " No checkout timed out, no replica went down, and hardly a request failed: nothing went wrong.";
    }
    lines
}

/// Wording: is the counted thing named in the clause before?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wording {
    First,
    Again,
}

/// `with the session held over the request, 514 of 1 440 sessions sat idle in transaction at once, …`
fn clause(scope: VariantName, is_alone: bool, summary: &Summary, wording: Wording) -> String {
    let with = match scope.scope() {
        Some(SessionScope::Held) => "with the session held over the whole request, ".to_owned(),
        Some(SessionScope::Scoped) => "with a session of its own for the permission check, ".to_owned(),
        Some(other) => format!("with the session scope {}, ", other.name()),
        // The only one that a service has is nobody's name.
        None if is_alone => String::new(),
        None => format!("in {scope}, "),
    };
    let mut parts = Vec::new();
    if let Some(peak) = summary.idle_in_transaction_peak {
        let peak = count(Some(u64::from(peak)));
        parts.push(match wording {
            Wording::First => {
                let of = summary.pool_capacity.map_or_else(
                    || "sessions".to_owned(),
                    |capacity| format!("of the pools' {} sessions", count(Some(u64::from(capacity)))),
                );
                format!("{peak} {of} sat idle in transaction at the worst moment")
            }
            Wording::Again => format!("at most {peak} did"),
        });
    }
    if let Some(oldest) = summary.transaction_age_max_s {
        parts.push(format!("the oldest transaction was {} old", seconds(Some(oldest))));
    }
    let replicas = summary.replicas_healthy_min.zip(summary.replicas);
    if let Some((healthy, all)) = replicas.filter(|(healthy, all)| healthy < all) {
        parts.push(match healthy {
            0 => format!("for a time no replica of {all} passed its health check"),
            _ => format!("for a time only {healthy} of {all} replicas passed its health check"),
        });
    }
    match summary.failure_ratio {
        Some(0.0) => parts.push("no request failed".to_owned()),
        Some(ratio) => parts.push(format!("{} of the requests failed", percent(Some(ratio)))),
        None => {}
    }
    match parts.split_last() {
        None => format!("{with}nothing could be measured"),
        Some((only, [])) => format!("{with}{only}"),
        Some((last, first)) => format!("{with}{} and {last}", first.join(", ")),
    }
}

/// Change for the users; nothing where a figure is missing.
fn users(baseline: &Summary, candidate: &Summary) -> String {
    let (Some(before), Some(after)) = (baseline.goodput_rps, candidate.goodput_rps) else { return String::new() };
    // Of a rate that rounds to nothing, a multiple says nothing.
    let by = if before >= 1.0 && after >= 1.0 { change(Some(before), Some(after)) } else { String::new() };
    let by = if by.is_empty() { by } else { format!(" ({by})") };
    let rate = |rps: f64| if rps < 10.0 { format!("{rps:.1}") } else { whole(Some(rps)) };
    format!(" Requests that succeeded went from {} a second to {}{by}.", rate(before), rate(after))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
