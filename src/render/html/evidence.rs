//! Routes, errors, machine and data quality of a report.

use maud::{Markup, html};

use super::chart::mark;
use super::figures::sampled_and_counted;
use super::story::started;
use super::text::{ERROR_MAX, NAME_MAX, SCENARIO_MAX, plain};
use super::{ReportColumn, ReportedRun};
use crate::record::{ErrorRecord, RouteRecord, SeenBy, VariantRecord};
use crate::render::numbers::{count, percent, seconds, seconds_of_ms};

/// Rows of a table.
const ROWS_SHOWN: usize = 200;

/// Requests by route, as a table that sorts.
pub(super) fn routes(columns: &[ReportColumn<'_>]) -> Markup {
    let all: Vec<(&ReportColumn<'_>, &RouteRecord)> = columns
        .iter()
        .flat_map(|column| column.variant.iter().flat_map(move |it| it.routes.iter().map(move |route| (column, route))))
        .collect();
    if all.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="h-routes" {
            h2 id="h-routes" { "Routes" }
            div.scroll {
                table.figures.sortable {
                    thead { tr {
                        th scope="col" { "route" }
                        th.text scope="col" { "variant" }
                        th scope="col" { "requests" }
                        th scope="col" { "failed" }
                        th scope="col" { "p50 (s)" }
                        th scope="col" { "p95 (s)" }
                        th scope="col" { "p99 (s)" }
                        th scope="col" { "longest (s)" }
                    } }
                    tbody { @for (column, route) in all.iter().take(ROWS_SHOWN) { (route_row(column, route)) } }
                }
            }
            (more(all.len()))
            p.note { "Steady phase. Latency of all finished requests, failed ones included." }
        }
    }
}

fn route_row(column: &ReportColumn<'_>, route: &RouteRecord) -> Markup {
    let failed = (route.requests > 0).then(|| route.failures as f64 / route.requests as f64);
    let latencies = [route.latency_p50_ms, route.latency_p95_ms, route.latency_p99_ms, route.latency_max_ms];
    html! {
        tr {
            th scope="row" { code { (plain(&route.route, NAME_MAX)) } }
            td class={ "text hue" (column.hue % 6) } { (mark(column.hue)) " " (column.label) }
            td data-value=(route.requests) { (count(Some(route.requests))) }
            td data-value=[failed] { (percent(failed)) }
            @for ms in latencies { td data-value=[ms] { (seconds_of_ms(ms)) } }
        }
    }
}

fn more(rows: usize) -> Markup {
    html! { @if rows > ROWS_SHOWN { p.note { "and " (rows - ROWS_SHOWN) " more, in the record" } } }
}

/// Errors with their texts and counts.
pub(super) fn errors(columns: &[ReportColumn<'_>]) -> Markup {
    let all: Vec<(&ReportColumn<'_>, &ErrorRecord)> = columns
        .iter()
        .flat_map(|column| column.variant.iter().flat_map(move |it| it.errors.iter().map(move |error| (column, error))))
        .collect();
    if columns.iter().all(|column| column.variant.is_none()) {
        return html! {};
    }
    html! {
        section aria-labelledby="h-errors" {
            h2 id="h-errors" { "Errors" }
            @if all.is_empty() {
                p { "No user saw an error, and the gateway raised none." }
            } @else {
                div.scroll {
                    table.figures.sortable.errors {
                        thead { tr {
                            th scope="col" { "text" }
                            th.text scope="col" { "variant" }
                            th.text scope="col" { "who" }
                            th scope="col" { "count" }
                        } }
                        tbody { @for (column, error) in all.iter().take(ROWS_SHOWN) { tr {
                            th scope="row" { code { (plain(&error.text, ERROR_MAX)) } }
                            td class={ "text hue" (column.hue % 6) } { (mark(column.hue)) " " (column.label) }
                            td.text { @match error.seen_by { SeenBy::Client => "a user saw it", SeenBy::Gateway => "the gateway raised it", SeenBy::PgBouncer => "PgBouncer reported a client" } }
                            td data-value=(error.count) { (count(Some(error.count))) }
                        } } }
                    }
                }
                (more(all.len()))
                p.note { "Over the whole load. What the gateway raised often has no client left to see it." }
            }
        }
    }
}

/// A question, and how a variant answers it.
type Doubt = (&'static str, fn(&ReportColumn<'_>, &VariantRecord) -> String);

const DOUBTS: [Doubt; 17] = [
    ("Did it run to its end?", |_, it| if it.complete { "yes".to_owned() } else { "no: it was cut short".to_owned() }),
    ("PostgreSQL", |_, it| plain(&it.postgres_version, NAME_MAX)),
    ("Testbed ready after", |_, it| seconds(Some(it.startup_s))),
    ("Steady phase, since the load began", |_, it| {
        format!("{} – {}", seconds(Some(it.phases.steady_from_s)), seconds(Some(it.phases.steady_to_s)))
    }),
    ("Polls of the database with a sample", |_, it| count(Some(it.summary.polls))),
    ("Polls that were due and gave none", |_, it| count(Some(it.summary.polls_missed))),
    ("Polls that began more than half an interval late", |_, it| count(Some(it.generator.polls_late))),
    ("Samples that the disk was too slow for", |_, it| count(Some(it.generator.samples_dropped))),
    ("Idle in transaction, sampled / counted by the server", |_, it| sampled_and_counted(it)),
    ("Sessions whose last idle episode the server does not count", |_, it| lost(it)),
    ("Requests in the steady phase", |_, it| count(Some(it.summary.requests))),
    ("Requests that were due and did not begin", |_, it| count(it.generator.schedule.map(|it| it.not_started))),
    ("Requests that the end of the load cut off", |_, it| count(Some(it.summary.requests_cut_off))),
    ("Failed requests since the load began, ramp included", |_, it| percent(it.summary.failure_ratio_since_start)),
    ("CPU of load generator and monitor, of one core", |_, it| generator_cpu(it)),
    ("Cores of the machine busy", |_, it| percent(it.machine_load.map(|load| load.busy_ratio))),
    ("Was the machine the limit?", |_, it| match it.machine_load {
        None => "–".to_owned(),
        Some(load) if load.is_limit() => {
            "yes: throughput, latency and health are the machine's rather than the service's".to_owned()
        }
        Some(_) => "no".to_owned(),
    }),
];

fn lost(variant: &VariantRecord) -> String {
    let Some(lost) = variant.sessions_lost else { return "–".to_owned() };
    match lost.any() {
        Some(true) => {}
        Some(false) => return "none".to_owned(),
        None => return "none but what PgBouncer may have ended: its log was not read".to_owned(),
    }
    let parts = [
        (lost.open_at_end, "in a transaction at the end"),
        (lost.killed, "killed"),
        (lost.fatal, "ended by an error"),
        (lost.abandoned, "left by their client"),
        (lost.pgbouncer.unwrap_or(0), "ended by PgBouncer"),
    ];
    let lines = parts.iter().filter(|(count, _)| *count != 0).map(|(count, what)| format!("{count} {what}"));
    lines.collect::<Vec<_>>().join(", ")
}

fn generator_cpu(variant: &VariantRecord) -> String {
    let share = variant.generator.cpu_s.map(|cpu_s| cpu_s / variant.phases.ended_s);
    percent(share.filter(|share| share.is_finite()))
}

/// Section on the credibility of the figures.
pub(super) fn doubts(runs: &[ReportedRun<'_>], columns: &[ReportColumn<'_>]) -> Markup {
    let measured: Vec<(&ReportColumn<'_>, &VariantRecord)> =
        columns.iter().filter_map(|column| Some((column, column.variant?))).take(ROWS_SHOWN).collect();
    html! {
        section aria-labelledby="h-doubts" {
            h2 id="h-doubts" { "Data quality" }
            @if !measured.is_empty() {
                div.scroll {
                    table.figures.doubts {
                        thead { tr {
                            th scope="col" { span.visually-hidden { "question" } }
                            @for (column, _) in &measured { th scope="col" class={ "hue" (column.hue % 6) } { (mark(column.hue)) " " (column.label) } }
                        } }
                        tbody { @for (question, answer) in &DOUBTS { tr {
                            th scope="row" { (question) }
                            @for (column, variant) in &measured { td { (answer(column, variant)) } }
                        } } }
                    }
                }
            }
            div.scroll {
                table.figures.doubts {
                    thead { tr {
                        th scope="col" { span.visually-hidden { "question" } }
                        @for run in runs { th scope="col" { (plain(run.name, NAME_MAX)) } }
                    } }
                    tbody {
                        (of_runs("Started", runs, |run| started(run.record)))
                        (of_runs("Written by", runs, |run| format!("rbac-bench {}, format version {}", plain(&run.record.tool_version, NAME_MAX), run.record.format.version)))
                        (of_runs("Machine", runs, machine))
                        (of_runs("Samples that were read", runs, |run| count(run.samples.map(|read| read.samples))))
                        (of_runs("Lines that could not be read", runs, |run| count(run.samples.map(|read| read.unreadable + u64::from(read.cut_off)))))
                    }
                }
            }
        }
    }
}

fn machine(run: &ReportedRun<'_>) -> String {
    let machine = &run.record.machine;
    let cores = count(machine.cores.map(|cores| cores as u64));
    format!("{} {}, {cores} cores", plain(&machine.os, NAME_MAX), plain(&machine.arch, NAME_MAX))
}

fn of_runs(question: &str, runs: &[ReportedRun<'_>], answer: fn(&ReportedRun<'_>) -> String) -> Markup {
    html! { tr { th scope="row" { (question) } @for run in runs { td { (answer(run)) } } } }
}

/// Each different scenario, as it can be run again.
pub(super) fn scenarios(runs: &[ReportedRun<'_>]) -> Markup {
    let mut texts: Vec<(Vec<&str>, String)> = Vec::new();
    for run in runs {
        // A scenario that was read can be written: the error would be a mistake of ours, and is stated.
        let text = toml::to_string_pretty(&run.record.scenario).unwrap_or_else(|error| format!("# {error}"));
        match texts.iter_mut().find(|known| known.1 == text) {
            Some((names, _)) => names.push(run.name),
            None => texts.push((vec![run.name], text)),
        }
    }
    html! {
        section aria-labelledby="h-scenario" {
            h2 id="h-scenario" { "The scenario" }
            p { "With every default and override resolved. Saved as a file, " code { "rbac-bench run FILE" } " runs it again." }
            @for (names, text) in texts.iter().take(ROWS_SHOWN) {
                details {
                    summary { (plain(&names.join(", "), NAME_MAX)) }
                    pre { code { (plain(text, SCENARIO_MAX)) } }
                }
            }
        }
    }
}
