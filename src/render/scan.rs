//! A scan, for people and for scripts.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::diagnosis::{Advice, Diagnosed, MORE_ADVICE};
use super::fitted::FittedTable;
use super::numbers::{count, percent, quantity, seconds, whole};
use super::table::targets_of;
use super::text::plain;
use crate::diagnose::{Finding, FindingKind};
use crate::record::scan::{Estimate, ScanRecord, ScanRoute, ScanSampling, ScanVerdict};
use crate::record::{Format, Outcome, RunRecord};
use crate::scenario::{Experiment, VariantName};
use crate::units::Unit;

/// Columns of prose where the terminal does not say.
const WIDTH: usize = 120;

/// Output of `scan --json`.
#[derive(Debug, Serialize)]
pub struct ScanJson<'a> {
    format: Format,
    scenario: &'a str,
    outcome: &'a Outcome,
    folder: &'a Path,
    routes: Vec<ScanRouteJson<'a>>,
    variants: Vec<ScanVariantJson>,
}

#[derive(Debug, Serialize)]
struct ScanRouteJson<'a> {
    variant: VariantName,
    #[serde(flatten)]
    route: &'a ScanRoute,
}

#[derive(Debug, Serialize)]
struct ScanVariantJson {
    variant: VariantName,
    traffic_rps: Option<f64>,
    pool_capacity: Option<u32>,
    pool_full_at_rps: Option<f64>,
    sampling: ScanSampling,
}

/// The scans of a run, by variant, in the scenario's order.
pub(super) fn scans(record: &RunRecord) -> impl Iterator<Item = (VariantName, &ScanRecord)> {
    record.in_order().into_iter().filter_map(|(name, variant)| Some((name, variant.scan.as_ref()?)))
}

/// `scan --json`: routes most harmful first within a variant, variants in the scenario's order.
pub fn json<'a>(record: &'a RunRecord, folder: &'a Path) -> ScanJson<'a> {
    let capacity = record.scenario.pool_capacity();
    let line = |(variant, scan): (VariantName, &'a ScanRecord)| {
        scan.routes.iter().map(move |route| ScanRouteJson { variant, route }).collect::<Vec<_>>()
    };
    let whole = |(variant, scan): (VariantName, &'a ScanRecord)| ScanVariantJson {
        variant,
        traffic_rps: scan.traffic_rps,
        pool_capacity: capacity,
        pool_full_at_rps: scan.pool_full_at_rps,
        sampling: scan.sampling,
    };
    ScanJson {
        format: Format { name: "rbac-bench/scan".to_owned(), version: 2 },
        scenario: record.scenario.name(),
        outcome: &record.outcome,
        folder,
        routes: scans(record).flat_map(line).collect(),
        variants: scans(record).map(whole).collect(),
    }
}

/// The whole text; `diagnosed`: the same findings as `diagnose` has of it.
pub fn text(
    record: &RunRecord,
    folder: &Path,
    diagnosed: &[Diagnosed],
    advice: Advice,
    width: Option<usize>,
) -> String {
    let mut text = String::new();
    let version = record.variants.values().next().map_or("–", |variant| variant.postgres_version.as_str());
    let (name, subject) = (record.scenario.name(), targets_of(&record.scenario));
    let mut say = |line: &str| prose(&mut text, line, width);
    say(&format!("{name} · scan · {subject} · PostgreSQL {version}"));
    if record.outcome == Outcome::Interrupted {
        say("interrupted: the figures cover the requests sent until then");
    }
    for (variant, scan) in scans(record) {
        one(&mut text, variant, scan, width);
        let findings = diagnosed.iter().filter(|it| it.variant == variant).flat_map(|it| &it.findings);
        let mut given = Vec::new();
        findings.for_each(|finding| found(&mut text, finding, &mut given, advice, width));
        text.push('\n');
        for line in remarks(scan) {
            prose(&mut text, &line, width);
        }
    }
    let without_stack = |it: &Finding| it.stack.is_none() && !it.fix_by_stack.is_empty();
    if advice == Advice::OfStack && diagnosed.iter().flat_map(|it| &it.findings).any(without_stack) {
        prose(&mut text, MORE_ADVICE, width);
    }
    if let Some(line) = skipped(&record.scenario) {
        text.push('\n');
        prose(&mut text, &line, width);
    }
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "\nrecord  {}", folder.display());
    text
}

/// The routes that were not asked, in a sentence; `None` where all were.
pub(super) fn skipped(experiment: &Experiment) -> Option<String> {
    let left_out = not_asked(experiment);
    let why = why_not_asked(experiment);
    (!left_out.is_empty()).then(|| format!("Skipped, since they {why}: {}.", left_out.join(", ")))
}

/// Routes of a scenario that change data, where that is not allowed, and the other steps of journeys with one of them.
fn not_asked(experiment: &Experiment) -> Vec<&str> {
    let Experiment::Service(scenario) = experiment else { return Vec::new() };
    let asked: Vec<&str> = scenario.routes().map(|route| route.route.name()).collect();
    scenario.route.iter().map(|route| route.route.name()).filter(|name| !asked.contains(name)).collect()
}

/// Steps of a journey that is not begun need not change data themselves.
fn why_not_asked(experiment: &Experiment) -> &'static str {
    let has_journeys = matches!(experiment, Experiment::Service(scenario) if !scenario.journey.is_empty());
    if has_journeys { "change data, or are steps of a journey that does" } else { "change data" }
}

fn one(text: &mut String, variant: VariantName, scan: &ScanRecord, width: Option<usize>) {
    let plan = scan.plan;
    text.push('\n');
    let rate = scan.sampling.poll_rate_hz.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"));
    let concurrent = if plan.concurrent_s > 0.0 {
        format!(", then {} concurrently", seconds(Some(plan.concurrent_s)))
    } else {
        String::new()
    };
    let how = format!(
        "{variant}: {} users, up to {} requests per route in {}{concurrent}; {rate} polls/s",
        plan.users,
        plan.requests,
        if plan.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", plan.rounds) }
    );
    prose(text, &how, width);
    text.push('\n');
    text.push_str(&table(scan, width));
}

/// A finding: title, statement, advice. `given` is the advice of the finding before, which is not repeated.
fn found(text: &mut String, finding: &Finding, given: &mut Vec<String>, advice: Advice, width: Option<usize>) {
    text.push('\n');
    prose(text, &finding.title, width);
    if let Some(statement) = &finding.statement {
        prose(text, &format!("  last statement: {statement}"), width);
    }
    if !matches!(finding.kind, FindingKind::Healthy | FindingKind::CannotTell) {
        let lines = advice.lines(finding);
        if lines == *given {
            prose(text, "  what to do: as above", width);
        } else {
            for line in &lines {
                prose(text, &format!("  {line}"), width);
            }
            *given = lines;
        }
    }
}

fn table(scan: &ScanRecord, width: Option<usize>) -> String {
    let header = [
        "route",
        "verdict",
        "held per request\ns (95 %)",
        "hold\nratio",
        "active\nms",
        "lock\nms",
        "leaked",
        "sessions\nheld",
        "full at\nreq/s",
    ];
    let row = |route: &ScanRoute| {
        vec![
            plain(&route.route),
            route.verdict.name().to_owned(),
            held_without_unit(route),
            percent(route.hold_ratio),
            without_unit(&millis(route.active_s_per_request)),
            without_unit(&millis(route.lock_wait_s_per_request)),
            count(left_behind(route)),
            per_second(route.sessions_held),
            per_second(route.pool_full_at_rps),
        ]
    };
    let table = FittedTable {
        header: header.map(str::to_owned).to_vec(),
        rows: scan.routes.iter().map(row).collect(),
        figures: 2..header.len(),
        leave: &[8, 7, 5, 4],
        breaks: 0,
    };
    table.text(width)
}

/// The figure alone, under a header that has its unit.
fn without_unit(figure: &str) -> String {
    figure.trim_end_matches(" ms").to_owned()
}

/// `0.151 (0.150–0.152)`
fn held_without_unit(route: &ScanRoute) -> String {
    held(route).replacen(" s", "", 1)
}

/// Seconds, as milliseconds.
pub(super) fn millis(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) if seconds < 0.000_05 => "0 ms".to_owned(),
        seconds => quantity(seconds.map(|it| it * 1e3), Unit::Milliseconds),
    }
}

/// A rate, or what is as large as one: whole from ten on.
pub(super) fn per_second(value: Option<f64>) -> String {
    match value {
        Some(value) if value < 10.0 => format!("{value:.1}"),
        value => whole(value),
    }
}

/// `0.151 s (0.150–0.152)`: in the concurrent phase, where a route holds only there; of a leak what was seen of it.
pub(super) fn held(route: &ScanRoute) -> String {
    let concurrent = route.held_concurrent_s_per_request.filter(|_| route.only_concurrent);
    match concurrent.or(route.held_s_per_request) {
        None => "–".to_owned(),
        Some(held) if route.verdict == ScanVerdict::Leaks => format!("≥ {:.3} s", held.value),
        Some(Estimate { value, low, high }) => format!("{value:.3} s ({low:.3}–{high:.3})"),
    }
}

/// Sessions that were left behind, whether clients left or not.
pub(super) fn left_behind(route: &ScanRoute) -> Option<u64> {
    let (answered, unanswered) = (route.left_behind, route.left_behind_by_clients);
    answered.map(|left| left + unanswered.unwrap_or(0)).or(unanswered)
}

/// Remarks on all routes together.
pub(super) fn remarks(scan: &ScanRecord) -> Vec<String> {
    let mut lines = Vec::new();
    if scan.plan.is_quick() {
        lines.push(
            "A quick scan finds plain cases only: without `--quick`, each route is asked longer, all are asked together, and \
             clients leave before the answer."
                .to_owned(),
        );
    }
    if let Some(rps) = scan.traffic_rps {
        let full = scan.pool_full_at_rps.map_or_else(String::new, |full| {
            format!(" The pools are full at {} requests/s of this mix, at the latest.", per_second(Some(full)))
        });
        lines.push(format!(
            "`sessions held`: idle in transaction (mean) at {} requests/s of the scenario's mix.{full}",
            per_second(Some(rps))
        ));
    }
    let sampling = scan.sampling;
    lines.push(format!(
        "Idle in transaction during isolation, sampled / server counter: {} / {} (the counter lags).",
        seconds(Some(sampling.sampled_s)),
        sampling.counted_s.map_or_else(|| "–".to_owned(), |it| format!("≥ {}", seconds(Some(it))))
    ));
    if sampling.other_sessions_before > 0 || sampling.other_sessions_idle_mean.is_some_and(|it| it > 0.0) {
        lines.push(format!(
            "Other sessions idle in transaction, excluded: {} before the scan, {} on average in quiet turns.",
            sampling.other_sessions_before,
            quantity(sampling.other_sessions_idle_mean, Unit::Count)
        ));
    }
    if sampling.other_sessions_idle_mean.is_none() {
        lines.push("No quiet turn was observed: idle time of other sessions is unknown.".to_owned());
    }
    lines
}

/// A line of prose, made harmless, broken between words.
fn prose(text: &mut String, line: &str, width: Option<usize>) {
    let indent = &line[..line.len() - line.trim_start().len()];
    let options = textwrap::Options::new(width.unwrap_or(WIDTH).max(40)).subsequent_indent(indent);
    text.push_str(&textwrap::fill(&plain(line), options));
    text.push('\n');
}
