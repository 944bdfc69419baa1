//! Tables at the widths that terminals have: 80, 100 and 140 columns.

use std::fmt::Write;
use std::path::Path;

use super::compare::{self, Compared};
use super::diagnosis::{Advice, Diagnosed};
use super::fitted::widest;
use super::gate::{self, GateView};
use super::{diagnosis, scan, table};
use crate::compare::{Side, compare};
use crate::diagnose::{Case, diagnose};
use crate::gate::{GateReport, ParsedRule, ReadBack, judge};
use crate::record::scan::{ScanRoute, ScanVerdict};
use crate::record::{RunRecord, VariantRecord};
use crate::scenario::VariantName;
use crate::texts::PatternCounts;

const WIDTHS: [usize; 3] = [80, 100, 140];

fn record(text: &str) -> RunRecord {
    serde_json::from_str(text).expect("a record of this program")
}

fn incident() -> RunRecord {
    record(include_str!("../../fixtures/records/issue-2318.json"))
}

/// A scan with a route of each verdict, one of them long.
fn scanned() -> RunRecord {
    let mut record = record(include_str!("../../fixtures/records/version-1/scan/record.json"));
    let scan = record.variants.values_mut().find_map(|variant| variant.scan.as_mut()).expect("it was scanned");
    let long = "GET /teams/{team_id}/members/{member_id}/photo";
    let reason = Some("12 of 12 requests failed: 401: Token has expired".to_owned());
    let unknown = ScanRoute { reason, ..crate::scan::report::unmeasured(long, 0.1) };
    let leaks = ScanRoute {
        verdict: ScanVerdict::Leaks,
        left_behind: Some(6),
        ..scan.routes.first().cloned().expect("it has routes")
    };
    scan.routes.extend([unknown, ScanRoute { route: "POST /carts/{cart_id}/checkout".to_owned(), ..leaks }]);
    record
}

fn diagnosed(record: &RunRecord) -> Vec<Diagnosed> {
    let logs = PatternCounts::default();
    let one = |(variant, _): (VariantName, &VariantRecord)| {
        let case = Case::of(record, variant, &[], &logs).expect("it is there");
        Diagnosed { variant, findings: diagnose(case), what_if: None }
    };
    record.in_order().into_iter().map(one).collect()
}

fn judged(record: &RunRecord) -> GateReport {
    let rules = ["idle_in_transaction.max<60", "pool_timeouts==0", "latency.p95<2s for POST /rpc tools/call"];
    let rules: Vec<ParsedRule> = rules
        .iter()
        .map(|rule| ParsedRule {
            rule: rule.parse().expect("a rule"),
            severity: crate::gate::Severity::Error,
            because: None,
            variants: Vec::new(),
            windows: None,
        })
        .collect();
    let variants = record.scenario.variant_names();
    judge(&rules, ReadBack { record, samples: &[], unreadable: 0 }, &variants, None)
}

/// The text at each width, none of whose lines is longer.
fn at_all_widths(text: impl Fn(Option<usize>) -> String) -> String {
    let mut all = String::new();
    for width in WIDTHS {
        let text = text(Some(width));
        assert!(widest(&text) <= width, "{} columns at {width}:\n{text}", widest(&text));
        // Writing to a `String` cannot fail.
        let _ = writeln!(all, "{}\n{text}", "=".repeat(width));
    }
    all
}

#[test]
fn a_scan_fits_each_width_and_has_all_columns_from_100_on() {
    let record = scanned();
    let found = diagnosed(&record);
    let text = |width| scan::text(&record, Path::new("reports/x"), &found, Advice::OfStack, width);
    let all = at_all_widths(text);
    for width in [Some(100), Some(140), None] {
        assert!(
            text(width).lines().any(|line| line.contains(" route ") && line.contains("full at")),
            "{}",
            text(width)
        );
    }
    let narrow = text(Some(80));
    for name in ["route", "verdict", "held per request", "ratio", "leaked"] {
        assert!(narrow.contains(name), "{name} at 80 columns:\n{narrow}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_run_fits_each_width() {
    let record = incident();
    insta::assert_snapshot!(at_all_widths(|width| table::run(&record, Path::new("reports/x"), width)));
}

#[test]
fn a_gate_fits_each_width() {
    let record = incident();
    let report = judged(&record);
    let command = "rbac-bench gate issue-2318";
    let view = GateView { report: &report, scenario: "issue-2318", folder: Some(Path::new("reports/x")), command };
    insta::assert_snapshot!(at_all_widths(|width| gate::table(view, width)));
}

#[test]
fn a_comparison_fits_each_width() {
    let record = incident();
    let side = |name| Side::of(&record, name, &[]).expect("the fixture has it");
    let comparisons = [compare(side(VariantName::HELD), side(VariantName::SCOPED))];
    let here = (Path::new("reports/x"), &record);
    let compared = Compared { baseline: here, candidate: here, comparisons: &comparisons };
    insta::assert_snapshot!(at_all_widths(|width| compare::table(compared, width)));
}

#[test]
fn a_diagnosis_fits_each_width() {
    let found = diagnosed(&scanned());
    let logs = PatternCounts::default();
    insta::assert_snapshot!(at_all_widths(|width| diagnosis::text(&found, &logs, Advice::All, width)));
}
