//! The end of a run, for people: one line of context, the answer, the evidence, the next command.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::fitted::widest;
use super::numbers::{change, count, percent, seconds, seconds_of_ms, whole};
use super::quality_issues::doubts;
use super::text::plain;
use crate::record::{MachineLoad, Outcome, RunRecord, SeenBy, Summary, VariantRecord};
use crate::scenario::{Experiment, Reference, ServiceScenario, VariantName};

/// Rows of the incident itself, above the line.
pub(super) const INCIDENT_ROWS: usize = 5;

/// The row of [`ROWS`] whose cells are marked where the machine was the limit: probes with a short timeout meet a full CPU.
const HEALTH_ROW: usize = 2;

/// Error texts shown for each variant.
const ERRORS_SHOWN: usize = 6;

/// A row of the table: what it is called, how a summary fills it, what changes, and the incident's own figure.
pub(super) struct TableRow {
    pub(super) label: &'static str,
    pub(super) cell: fn(&Summary) -> String,
    /// The number whose ratio is the change; `None` where a ratio says nothing.
    pub(super) ratio: fn(&Summary) -> Option<f64>,
    pub(super) issue_2318: &'static str,
}

const ROWS: [TableRow; 10] = [
    TableRow {
        label: "throughput (rps)",
        cell: |it| whole(it.throughput_rps),
        ratio: |it| it.throughput_rps,
        issue_2318: "280 → 2000+",
    },
    TableRow {
        label: "failed requests",
        cell: |it| percent(it.failure_ratio),
        ratio: |_| None,
        issue_2318: "10.71 % → 0.1 %",
    },
    TableRow {
        label: "replicas healthy (worst)",
        cell: |it| format!("{} / {}", count(it.replicas_healthy_min.map(u64::from)), count(it.replicas.map(u64::from))),
        ratio: |_| None,
        issue_2318: "1/3 → 3/3",
    },
    TableRow {
        label: "idle in transaction (peak)",
        cell: |it| count(it.idle_in_transaction_peak.map(u64::from)),
        ratio: |it| it.idle_in_transaction_peak.map(f64::from),
        issue_2318: "433 → 40–50",
    },
    TableRow {
        label: "oldest transaction",
        cell: |it| seconds(it.transaction_age_max_s),
        ratio: |it| it.transaction_age_max_s,
        issue_2318: "243 s → 1–2 s",
    },
    TableRow {
        label: "idle in transaction (mean)",
        cell: |it| it.idle_in_transaction_mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1}")),
        ratio: |it| it.idle_in_transaction_mean,
        issue_2318: "",
    },
    TableRow {
        label: "latency p50 / p95 / p99 (s)",
        cell: |it| [it.latency_p50_ms, it.latency_p95_ms, it.latency_p99_ms].map(seconds_of_ms).join(" / "),
        ratio: |_| None,
        issue_2318: "",
    },
    TableRow {
        label: "pool sessions out (peak)",
        cell: |it| {
            let out = count(it.pool_checked_out_peak.map(u64::from));
            format!("{out} / {}", count(it.pool_capacity.map(u64::from)))
        },
        ratio: |_| None,
        issue_2318: "",
    },
    TableRow { label: "pool wait p50/p95/p99 (ms)", cell: pool_wait, ratio: |_| None, issue_2318: "" },
    TableRow { label: "pool timeouts", cell: |it| count(it.pool_timeouts), ratio: |_| None, issue_2318: "" },
];

/// The row of [`ROWS`] that is left out where no variant has its figure: few pools publish a histogram.
const WAIT_ROW: usize = 8;

/// The rows of a table of these variants, and the place of each.
pub(super) fn rows<'a>(
    variants: impl Iterator<Item = &'a Summary> + Clone,
) -> impl Iterator<Item = (usize, &'static TableRow)> {
    let has_waits = variants.into_iter().any(|it| it.pool_wait_p50_ms.is_some());
    ROWS.iter().enumerate().filter(move |(index, _)| *index != WAIT_ROW || has_waits)
}

/// Upper bounds of the histogram's buckets.
fn pool_wait(summary: &Summary) -> String {
    let bounds = [summary.pool_wait_p50_ms, summary.pool_wait_p95_ms, summary.pool_wait_p99_ms];
    let within = if bounds.iter().any(Option::is_some) { "≤ " } else { "" };
    format!("{within}{}", bounds.map(whole).join(" / "))
}

/// The whole text. `width` is that of the terminal: where it is too narrow, the reference column is left out.
pub fn run(record: &RunRecord, folder: &Path, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = head(&mut text, record, width)
        .and_then(|()| outcome(&mut text, record, width))
        .and_then(|()| write!(text, "{}", figures(record, width)))
        .and_then(|()| conclusions(&mut text, record, width))
        .and_then(|()| errors(&mut text, record, width))
        .and_then(|()| writeln!(text, "\nrecord  {}", folder.display()));
    text
}

/// A line of prose, broken between words where the terminal is narrow.
fn prose(text: &mut String, line: &str, width: Option<usize>) -> std::fmt::Result {
    let line = plain(line);
    match width {
        Some(columns) => writeln!(text, "{}", textwrap::fill(&line, columns)),
        None => writeln!(text, "{line}"),
    }
}

/// Loaded or watched subject.
pub(super) fn loaded(experiment: &Experiment) -> String {
    match experiment {
        Experiment::Gateway(scenario) => {
            let (users, gateway) = (scenario.load.users.get(), &scenario.gateway);
            format!(
                "{users} users · {} replicas × {} workers × ({}+{}) sessions",
                gateway.replicas.get(),
                gateway.workers.get(),
                gateway.pool.size.get(),
                gateway.pool.max_overflow,
            )
        }
        Experiment::Service(service) => format!("{} · {}", service.pace(), targets(service)),
        Experiment::Watched(watched) => format!("{}, watched under a load of others", watched.watched),
    }
}

/// Addresses of what is scanned.
pub(super) fn targets_of(experiment: &Experiment) -> String {
    match experiment {
        Experiment::Service(service) => targets(service),
        Experiment::Gateway(_) | Experiment::Watched(_) => loaded(experiment),
    }
}

/// Addresses of a service: all its variants' URLs, each once.
fn targets(service: &ServiceScenario) -> String {
    let mut urls: Vec<String> = Vec::new();
    for url in service.variant_names().into_iter().flat_map(|variant| service.urls(variant)) {
        let url = url.to_string();
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls.join(", ")
}

fn head(text: &mut String, record: &RunRecord, width: Option<usize>) -> std::fmt::Result {
    let version = record.variants.values().next().map_or("–", |variant| variant.postgres_version.as_str());
    let (name, subject) = (record.scenario.name(), loaded(&record.scenario));
    let whose = if record.scenario.gateway().is_some() { ", private" } else { "" };
    let pooler = record.variants.values().find_map(|variant| variant.pgbouncer_version.as_deref());
    let pooler = record.scenario.gateway().and_then(|it| it.pgbouncer.as_ref()).map_or_else(String::new, |it| {
        format!("PgBouncer {}, {} server connections · ", pooler.unwrap_or("–"), it.server_connections())
    });
    prose(text, &format!("{name} · {subject} · {pooler}PostgreSQL {version}{whose}"), width)?;
    record.scenario.notes().iter().try_for_each(|note| prose(text, note, width))?;
    writeln!(text)
}

fn outcome(text: &mut String, record: &RunRecord, width: Option<usize>) -> std::fmt::Result {
    let lines = match &record.outcome {
        Outcome::Finished => return Ok(()),
        Outcome::Running => "not finished: the run was killed, or goes on".to_owned(),
        Outcome::Interrupted => "interrupted: the figures cover what was seen until then".to_owned(),
        Outcome::Failed { error } => format!("failed: {error}"),
    };
    prose(text, &lines, width)?;
    writeln!(text)
}

/// The table; where it is too wide, without the reference, and then with the counts below it.
fn figures(record: &RunRecord, width: Option<usize>) -> String {
    let fits = |text: &String| width.is_none_or(|columns| widest(text) <= columns);
    let whole = [true, false].map(|with_reference| table(record, with_reference, true));
    whole.into_iter().find(fits).unwrap_or_else(|| {
        let counts = record
            .in_order()
            .into_iter()
            .map(|(scope, variant)| format!("   {:<8} {}\n", scope.name(), counts(variant)));
        format!("{} {COUNTS}\n{}", table(record, false, false), counts.collect::<String>())
    })
}

/// What the last row is called.
const COUNTS: &str = "idle time, sampled / counted";

fn table(record: &RunRecord, with_reference: bool, with_counts: bool) -> String {
    let variants: Vec<(VariantName, &VariantRecord)> = record.in_order();
    if variants.is_empty() {
        return String::new();
    }
    let reference = (with_reference && record.scenario.reference() == Some(Reference::Issue2318))
        .then_some("issue #2318 during → before");
    let compared = variants.len() == 2;
    let mut header = vec![String::new()];
    header.extend(variants.iter().map(|(scope, _)| scope.name().to_owned()));
    header.extend(compared.then(|| "change".to_owned()));
    header.extend(reference.map(str::to_owned));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for (index, row) in rows(variants.iter().map(|(_, variant)| &variant.summary)) {
        let mut cells = vec![row.label.to_owned()];
        cells.extend(variants.iter().map(|(_, variant)| {
            let mark = if index == HEALTH_ROW && is_cpu_limited(variant) { " *" } else { "" };
            format!("{}{mark}", (row.cell)(&variant.summary))
        }));
        cells
            .extend(compared.then(|| change((row.ratio)(&variants[0].1.summary), (row.ratio)(&variants[1].1.summary))));
        cells.extend(reference.map(|_| row.issue_2318.to_owned()));
        table.add_row(cells);
    }
    if with_counts {
        table.add_row(sampled_and_counted(record, compared, reference.is_some()));
    }
    for column in 1..=variants.len() + usize::from(compared) {
        if let Some(column) = table.column_mut(column) {
            column.set_padding((2, 1)).set_cell_alignment(CellAlignment::Right);
        }
    }
    ruled(&table.to_string())
}

/// True if the processors of this machine were the limit of a variant.
fn is_cpu_limited(variant: &VariantRecord) -> bool {
    variant.machine_load.is_some_and(MachineLoad::is_limit)
}

/// The samples against the server's own count, and whether that is a lower bound.
fn counts(variant: &VariantRecord) -> String {
    let bound = if counter_is_lower_bound(variant) { "≥ " } else { "" };
    let sampled = seconds(variant.summary.idle_in_transaction_sampled_s);
    let error = variant.summary.idle_in_transaction_sampled_error_s;
    // 95 of 100 lie within.
    let error = error.map_or_else(String::new, |error| format!(" ± {}", seconds(Some(1.96 * error))));
    format!("{sampled}{error} / {bound}{}", seconds(variant.summary.idle_in_transaction_counted_s))
}

fn sampled_and_counted(record: &RunRecord, compared: bool, referenced: bool) -> Vec<String> {
    let mut cells = vec![COUNTS.to_owned()];
    cells.extend(record.in_order().into_iter().map(|(_, variant)| counts(variant)));
    cells.extend(std::iter::repeat_n(String::new(), usize::from(compared) + usize::from(referenced)));
    cells
}

pub(super) fn counter_is_lower_bound(variant: &VariantRecord) -> bool {
    let lines = variant.summary.idle_in_transaction_counted_is_lower_bound;
    lines.unwrap_or_else(|| variant.sessions_lost.is_none_or(|lost| lost.any() != Some(false)))
}

/// Puts a line under the rows of the incident.
fn ruled(table: &str) -> String {
    let rule = "─".repeat(widest(table).saturating_sub(2));
    let mut text = String::new();
    for (index, line) in table.lines().enumerate() {
        text.push_str(line.trim_end());
        text.push('\n');
        // The header is line 0.
        if index == INCIDENT_ROWS {
            text.push(' ');
            text.push_str(&rule);
            text.push('\n');
        }
    }
    text
}

/// Conclusions in words: a reader who sees a healthy table should not have to wonder whether it worked.
fn conclusions(text: &mut String, record: &RunRecord, width: Option<usize>) -> std::fmt::Result {
    for (scope, variant) in record.in_order() {
        let Some(lost) = variant.sessions_lost.filter(|lost| lost.total() > 0) else { continue };
        let killed = lost.total() - lost.open_at_end;
        let parts = [
            (killed > 0).then(|| format!("{killed} sessions were killed or vanished in a transaction")),
            (lost.open_at_end > 0).then(|| at_the_end(lost.open_at_end, killed)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let lines = format!("{}: {}: the server does not count their last episode.", scope.name(), parts.join(", "));
        writeln!(text)?;
        prose(text, &lines, width)?;
    }
    for (scope, variant) in record.in_order() {
        for lines in doubts(variant) {
            writeln!(text)?;
            prose(text, &format!("{}: {lines}", scope.name()), width)?;
        }
    }
    let reported = |variant: &VariantRecord| variant.errors.iter().any(|error| error.seen_by == SeenBy::PgBouncer);
    let healthy = record.variants.values().filter(|it| it.summary.is_healthy() && !reported(it)).count();
    let pace = record.scenario.pace().filter(|_| healthy == record.variants.len() && healthy > 0);
    if let Some(pace) = pace {
        let out = record.variants.values().filter_map(|variant| variant.summary.pool_checked_out_peak).max();
        let lines = format!(
            "No checkout timed out: {} had at most {} of {} pooled sessions out at once.",
            pace,
            count(out.map(u64::from)),
            count(record.scenario.pool_capacity().map(u64::from)),
        );
        writeln!(text)?;
        prose(text, &lines, width)?;
    }
    Ok(())
}

/// Sessions at the end, beside those that were killed or alone.
fn at_the_end(open: i64, killed: i64) -> String {
    match (open, killed) {
        (open, 1..) => format!("{open} were in one at the end"),
        (1, _) => "1 session was in a transaction at the end".to_owned(),
        (open, _) => format!("{open} sessions were in a transaction at the end"),
    }
}

fn errors(text: &mut String, record: &RunRecord, width: Option<usize>) -> std::fmt::Result {
    for (scope, variant) in record.in_order().into_iter().filter(|(_, variant)| !variant.errors.is_empty()) {
        for (seen_by, title) in [
            (SeenBy::Client, "errors that users saw"),
            (SeenBy::Gateway, "errors that the gateway raised"),
            (SeenBy::PgBouncer, "errors that PgBouncer reported to its clients, by its log"),
        ] {
            let mut seen = variant.errors.iter().filter(|error| error.seen_by == seen_by).peekable();
            if seen.peek().is_none() {
                continue;
            }
            writeln!(text, "\n{}, {title}", scope.name())?;
            for error in seen.by_ref().take(ERRORS_SHOWN) {
                let line = format!("{:>9} ×  {}", count(Some(error.count)), plain(&error.text));
                writeln!(text, "{}", shortened(&line, width))?;
            }
            let more = seen.count();
            if more > 0 {
                writeln!(text, "           and {more} more texts, in the record")?;
            }
        }
    }
    Ok(())
}

/// A line that fits: the end of a long error text is in the record.
fn shortened(line: &str, width: Option<usize>) -> String {
    match width {
        Some(columns) if line.chars().count() > columns && columns > 1 => {
            line.chars().take(columns - 1).chain(std::iter::once('…')).collect()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::MonitorRecord;

    fn fixture() -> RunRecord {
        let text = include_str!("../../fixtures/records/issue-2318.json");
        serde_json::from_str(text).expect("the fixture is a record of this version")
    }

    #[test]
    fn a_finished_run_shows_before_and_after_side_by_side() {
        insta::assert_snapshot!(run(&fixture(), Path::new("reports/example"), None));
    }

    #[test]
    fn a_narrow_terminal_loses_the_reference_and_never_a_figure() {
        let text = run(&fixture(), Path::new("reports/example"), Some(100));
        assert!(!text.contains("issue #2318 during"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn one_variant_alone_has_no_column_of_changes() {
        let mut record = fixture();
        record.variants.remove(&VariantName::HELD);
        let text = run(&record, Path::new("reports/example"), None);
        assert!(text.contains("scoped") && !text.contains("held") && !text.contains("change"), "{text}");
    }

    #[test]
    fn what_could_not_be_had_is_a_dash() {
        let mut record = fixture();
        for variant in record.variants.values_mut() {
            variant.summary = Summary::default();
        }
        let text = run(&record, Path::new("reports/example"), None);
        let row = text.lines().find(|line| line.contains("oldest transaction")).expect("the row");
        assert_eq!(row.matches('–').count() - row.matches("1–2").count(), 2, "{row}");
    }

    #[test]
    fn what_is_known_of_the_error_and_of_trouble_while_watching_is_stated() {
        let mut record = fixture();
        let variant = record.variants.values_mut().next().expect("a variant");
        variant.summary.idle_in_transaction_sampled_error_s = Some(2.5);
        variant.monitor = Some(MonitorRecord { unwatched_s: 3.2, server_restarts: 1, ..MonitorRecord::default() });
        let text = run(&record, Path::new("x"), None);
        assert!(text.contains(" ± 4.90 s / "), "{text}");
        assert!(
            text.contains("the monitor was disconnected for 3.20 s") && text.contains("the server was restarted"),
            "{text}"
        );
        assert!(text.contains("does not count idle-in-transaction time"), "{text}");
    }

    #[test]
    fn an_interrupted_run_says_so_above_its_figures() {
        let mut record = fixture();
        record.outcome = Outcome::Interrupted;
        assert!(run(&record, Path::new("x"), None).contains("interrupted: the figures cover what was seen until then"));
    }
}
