//! Outputs in the documents: what the program prints today, of stored records where there are some.

use std::fs;
use std::path::Path;

use super::diagnosis::Advice;
use super::{gate, scan, table};
use crate::gate::{GateReport, ParsedRule, ReadBack, Severity, judge};
use crate::record::RunRecord;
use crate::scenario::VariantName;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The blocks of output in all documents, each with its file's name.
fn blocks() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |folder: &str| fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("one").path());
    let files = of(".").chain(of("docs")).chain(of("docs/guides"));
    let mut all = Vec::new();
    for path in files.filter(|path| path.extension().is_some_and(|it| it == "md")) {
        let text = fs::read_to_string(&path).expect("a document");
        // Every second piece is within fences; its first line is the rest of the fence's own.
        for block in text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix('\n')) {
            all.push((path.display().to_string(), block.lines().map(str::to_owned).collect()));
        }
    }
    all
}

fn record(text: &str) -> RunRecord {
    serde_json::from_str(text).expect("a stored record can be read")
}

fn incident() -> RunRecord {
    record(include_str!("../../fixtures/records/issue-2318.json"))
}

/// The names of a table's columns.
fn columns(header: &str) -> Vec<String> {
    header.split("  ").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The first lines of documents that begin with these two columns.
fn headers(first: &str, second: &str) -> Vec<(String, Vec<String>)> {
    let of = |(file, lines): (String, Vec<String>)| {
        let header =
            lines.into_iter().map(|line| columns(&line)).find(|names| names.iter().take(2).eq([first, second]));
        header.map(|names| (file, names))
    };
    blocks().into_iter().filter_map(of).collect()
}

#[test]
fn the_incidents_page_shows_what_the_stored_run_prints() {
    let printed = table::run(&incident(), Path::new("reports/2026-11-23T23-59-21-issue-2318"), None);
    let page = document("docs/INCIDENT.md");
    let (_, rest) = page.split_once("```\n").expect("a block");
    let (shown, _) = rest.split_once("```").expect("its end");
    assert_eq!(shown, printed);
}

#[test]
fn the_readmes_figures_are_those_of_the_stored_run() {
    let printed = table::run(&incident(), Path::new("x"), None);
    let readme = document("README.md");
    let rows = [
        "throughput",
        "failed requests",
        "replicas healthy (worst)",
        "idle in transaction (peak)",
        "oldest transaction",
    ];
    for row in rows {
        let shown = readme.lines().find(|line| line.starts_with(&format!("| {row} |"))).expect("a row of the README");
        let cells: Vec<&str> = shown.split('|').map(str::trim).skip(2).take(2).collect();
        let line = printed.lines().find(|line| line.trim_start().starts_with(row)).expect("a row of the table");
        for cell in cells {
            let cell = cell.trim_end_matches(" rps").replace(" of ", " / ");
            assert!(line.contains(&cell), "`{cell}` in `{line}`");
        }
    }
}

fn judged(record: &RunRecord, rules: &[&str]) -> GateReport {
    let rules: Vec<ParsedRule> = rules
        .iter()
        .map(|rule| ParsedRule {
            rule: rule.parse().expect("a rule"),
            severity: Severity::Error,
            because: None,
            variants: Vec::new(),
            windows: None,
        })
        .collect();
    judge(&rules, ReadBack { record, samples: &[], unreadable: 0 }, &[VariantName::SCOPED], None)
}

#[test]
fn the_readmes_gate_is_that_of_the_stored_run() {
    let record = incident();
    let report = judged(&record, &["idle_in_transaction.max<60", "pool_timeouts==0"]);
    let printed =
        gate::table(gate::GateView { report: &report, scenario: "issue-2318", folder: None, command: "" }, None);
    let readme = document("README.md");
    let (_, rest) = readme.split_once("```\ngate  issue-2318\n").expect("the block of a gate");
    let (shown, _) = rest.split_once("```").expect("its end");
    // A record without samples passes nothing; all but the verdict is the same.
    let figures = |line: &str| columns(line).into_iter().skip(1).collect::<Vec<_>>();
    for line in shown.lines().filter(|line| !line.is_empty()) {
        assert!(printed.lines().any(|it| figures(it) == figures(line)), "`{line}` in\n{printed}");
    }
}

#[test]
fn tables_of_scans_and_gates_have_the_columns_of_today() {
    let record = record(include_str!("../../fixtures/records/version-1/scan/record.json"));
    let printed = scan::text(&record, Path::new("x"), &[], Advice::OfStack, None);
    let today = printed.lines().map(columns).find(|names| names.first().is_some_and(|it| it == "route"));
    let shown = headers("route", "verdict");
    assert!(shown.len() >= 5, "{shown:?}");
    for (file, names) in shown {
        assert_eq!(Some(names), today, "{file}");
    }
    let shown = headers("verdict", "variant");
    assert!(shown.len() >= 4, "{shown:?}");
    for (file, names) in shown {
        assert_eq!(names, ["verdict", "variant", "rule", "measured", "limit"], "{file}");
    }
}

#[test]
fn rows_of_runs_in_documents_are_rows_of_the_table() {
    let printed = table::run(&incident(), Path::new("x"), None);
    let label = |line: &str| columns(line).into_iter().next().unwrap_or_default();
    let mut labels: Vec<String> = printed.lines().map(label).collect();
    labels.push("pool wait p50/p95/p99 (ms)".to_owned());
    let tables: Vec<_> =
        blocks().into_iter().filter(|(_, lines)| lines.iter().any(|it| label(it) == "throughput (rps)")).collect();
    assert!(tables.len() >= 2, "{}", tables.len());
    for (file, lines) in tables {
        let rows = lines
            .iter()
            .map(|line| label(line))
            .skip_while(|it| it != "throughput (rps)")
            .take_while(|it| !it.is_empty());
        for row in rows.filter(|row| !row.starts_with('─')) {
            assert!(labels.contains(&row), "{file}: `{row}`");
        }
    }
}

#[test]
fn the_readmes_scan_is_part_of_the_one_that_is_explained() {
    let explained = document("docs/SCAN.md");
    let readme = document("README.md");
    let (_, rest) = readme.split_once("$ rbac-bench scan http://127.0.0.1:8000\n").expect("the block of a scan");
    let (shown, _) = rest.split_once("```").expect("its end");
    for line in shown.lines() {
        assert!(explained.lines().any(|it| it == line), "`{line}` is not in docs/SCAN.md");
    }
}
