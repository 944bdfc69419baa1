//! A scan, for people and for scripts.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::fitted::FittedTable;
use super::numbers::{count, percent, quantity, seconds, whole};
use super::table::loaded;
use super::text::plain;
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

/// The whole text.
pub fn text(record: &RunRecord, folder: &Path, width: Option<usize>) -> String {
    let mut text = String::new();
    let version = record.variants.values().next().map_or("–", |variant| variant.postgres_version.as_str());
    let (name, subject) = (record.scenario.name(), loaded(&record.scenario));
    let mut say = |line: &str| prose(&mut text, line, width);
    say(&format!("{name} · scan · {subject} · PostgreSQL {version}"));
    if record.outcome == Outcome::Interrupted {
        say("interrupted: the figures cover the requests sent until then");
    }
    for (variant, scan) in scans(record) {
        one(&mut text, variant, scan, width);
    }
    let left_out = not_asked(&record.scenario);
    if !left_out.is_empty() {
        text.push('\n');
        let why = why_not_asked(&record.scenario);
        prose(&mut text, &format!("Skipped, since they {why}: {}.", left_out.join(", ")), width);
    }
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "\nrecord  {}", folder.display());
    text
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
    for route in scan.routes.iter().filter(|it| it.verdict != ScanVerdict::Fine && it.verdict != ScanVerdict::Unknown) {
        named(text, route, width);
    }
    unknown(text, scan, width);
    text.push('\n');
    if scan.routes.iter().all(|route| route.verdict == ScanVerdict::Fine) && !scan.routes.is_empty() {
        prose(text, "No route holds a session across slow work, and none leaves one behind.", width);
    }
    for line in remarks(scan) {
        prose(text, &line, width);
    }
}

fn table(scan: &ScanRecord, width: Option<usize>) -> String {
    let header = [
        "route",
        "verdict",
        "held per request (95 %)",
        "hold ratio",
        "active",
        "lock wait",
        "leaked",
        "sessions held",
        "pool full (req/s)",
    ];
    let row = |route: &ScanRoute| {
        vec![
            plain(&route.route),
            route.verdict.name().to_owned(),
            held(route),
            percent(route.hold_ratio),
            millis(route.active_s_per_request),
            millis(route.lock_wait_s_per_request),
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

/// A sentence on a route that is not fine.
fn named(text: &mut String, route: &ScanRoute, width: Option<usize>) {
    text.push('\n');
    let name = &route.route;
    let lines = match route.verdict {
        ScanVerdict::Leaks if left_behind(route).is_none_or(|left| left == 0) => {
            format!("{name} leaks connections, outside a transaction.")
        }
        ScanVerdict::Leaks if route.left_behind.is_none_or(|left| left == 0) => format!(
            "{name} leaks sessions when the client leaves before the answer: {} were still in a transaction 5 s later.",
            count(route.left_behind_by_clients)
        ),
        ScanVerdict::Leaks => format!(
            "{name} leaks sessions: {} were still in a transaction after the last answer.",
            count(route.left_behind)
        ),
        ScanVerdict::Holds if route.only_concurrent => {
            let held = route.held_concurrent_s_per_request.map(|it| it.value);
            format!("{name} holds its session only in the concurrent phase: {} per request.", seconds(held))
        }
        ScanVerdict::Holds if waits_for_client(route) => format!(
            "{name} holds its session until the service has read the last row: {} per request in a statement that waits \
             for it (ClientWrite). Read all rows first, or in pages.",
            seconds(route.client_wait_s_per_request)
        ),
        ScanVerdict::Holds => {
            let longest = seconds(route.longest_hold_s);
            format!("{name} holds its session across slow work, up to {longest} at a time.")
        }
        ScanVerdict::Fine | ScanVerdict::Unknown => format!("{name}: unknown."),
    };
    prose(text, &lines, width);
    if let Some(reason) = route.reason.as_ref().filter(|_| !route.only_concurrent) {
        prose(text, &format!("  {reason}"), width);
    }
    if let Some(statement) = &route.statement {
        prose(text, &format!("  last statement: {statement}"), width);
    }
}

/// Routes with the verdict unknown, grouped by reason.
fn unknown(text: &mut String, scan: &ScanRecord, width: Option<usize>) {
    let mut shown: Vec<&Option<String>> = Vec::new();
    for route in scan.routes.iter().filter(|it| it.verdict == ScanVerdict::Unknown) {
        if shown.contains(&&route.reason) {
            continue;
        }
        shown.push(&route.reason);
        let alike = scan.routes.iter().filter(|it| it.verdict == ScanVerdict::Unknown && it.reason == route.reason);
        let names: Vec<&str> = alike.map(|it| it.route.as_str()).collect();
        text.push('\n');
        prose(text, &format!("{}: unknown.", names.join(", ")), width);
        if let Some(reason) = &route.reason {
            prose(text, &format!("  {reason}"), width);
        }
        if let ([_], Some(statement)) = (names.as_slice(), &route.statement) {
            prose(text, &format!("  last statement: {statement}"), width);
        }
    }
}

/// True if most of what it holds is in statements that wait for the client.
fn waits_for_client(route: &ScanRoute) -> bool {
    let held_s = route.held_s_per_request.map(|held| held.value);
    route.client_wait_s_per_request.zip(held_s).is_some_and(|(waits_s, held_s)| waits_s > 0.5 * held_s)
}

/// Remarks on all routes together.
pub(super) fn remarks(scan: &ScanRecord) -> Vec<String> {
    let mut lines = Vec::new();
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
