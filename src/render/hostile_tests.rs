//! Text of others in the renderers of records: whatever it holds, it tells a terminal nothing.

use std::path::Path;

use proptest::prelude::*;

use super::gate::tests::nasty;
use super::{compare, openmetrics, table};
use crate::compare::Side;
use crate::record::RunRecord;
use crate::scenario::VariantName;

/// The incident's record, with `hostile` wherever others put text.
fn record(hostile: &str) -> RunRecord {
    let mut record: RunRecord =
        serde_json::from_str(include_str!("../../fixtures/records/issue-2318.json")).expect("a record");
    record.scenario.gateway_mut().unwrap().name = hostile.to_owned();
    record.scenario.gateway_mut().unwrap().notes = vec![hostile.to_owned()];
    record.machine.os = hostile.to_owned();
    record.tool_version = hostile.to_owned();
    for variant in record.variants.values_mut() {
        variant.postgres_version = hostile.to_owned();
        for error in &mut variant.errors {
            error.text = hostile.to_owned();
        }
        for route in &mut variant.routes {
            route.route = hostile.to_owned();
        }
    }
    record
}

fn obeyed(text: &str) -> bool {
    let moves = |c: char| c.is_control() && c != '\n';
    text.chars().any(moves) || text.contains("##[") || text.lines().any(|line| line.trim_start().starts_with("::"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_run_s_table_tells_a_terminal_nothing(hostile in nasty()) {
        let text = table::run(&record(&hostile), Path::new("reports/x"), None);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains("##["), "{:?}", text);
    }

    #[test]
    fn a_comparison_tells_a_terminal_nothing_and_is_no_markup(hostile in nasty()) {
        let (before, after) = (record("plain"), record(&hostile));
        let side = |record, variant| Side::of(record, variant, &[]).expect("a variant of the fixture");
        let comparisons = [crate::compare::compare(side(&before, VariantName::HELD), side(&after, VariantName::SCOPED))];
        let path = Path::new(&hostile);
        let compared = compare::Compared { baseline: (path, &before), candidate: (path, &after), comparisons: &comparisons };
        let text = compare::table(compared, None);
        prop_assert!(!obeyed(&text), "{:?}", text);
        let text = compare::markdown(compared);
        prop_assert!(!text.contains(['<', '>', '`', '[', '@']), "{}", text);
        prop_assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.matches('|').count() == 7));
    }

    #[test]
    fn open_metrics_has_a_line_for_each_figure_and_no_other(hostile in nasty()) {
        let record = record(&hostile);
        let text = openmetrics::document(&record).expect("a document");
        let known = |it: &crate::record::VariantRecord| {
            crate::compare::FIGURES.iter().filter(|figure| (figure.value)(&it.summary).is_some()).count()
        };
        let figures: usize = record.variants.values().map(known).sum();
        prop_assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("rbac_bench_")), "{}", text);
        prop_assert_eq!(text.lines().filter(|line| line.starts_with("rbac_bench_")).count(), figures);
    }
}
