use super::*;
use crate::compare::{Side, compare};
use crate::scenario::{SessionScope, VariantName};
use crate::units::Count;

fn fixture() -> RunRecord {
    serde_json::from_str(include_str!("../../fixtures/records/issue-2318.json")).unwrap()
}

fn compared(before: (&RunRecord, VariantName), after: (&RunRecord, VariantName)) -> Comparison {
    compare(Side::of(before.0, before.1, &[]).unwrap(), Side::of(after.0, after.1, &[]).unwrap())
}

fn mark(comparison: &Comparison, metric: &str) -> Mark {
    comparison.rows.iter().find(|row| row.metric == metric).unwrap().mark
}

#[test]
fn the_variants_of_a_run_are_compared_figure_by_figure() {
    let record = fixture();
    let comparisons = [compared((&record, VariantName::HELD), (&record, VariantName::SCOPED))];
    let all = Compared {
        baseline: (Path::new("r"), &record),
        candidate: (Path::new("r"), &record),
        comparisons: &comparisons,
    };
    insta::assert_snapshot!(table(all, None));
    insta::assert_snapshot!(markdown(all));
    insta::assert_snapshot!(csv(all).unwrap());
    let json = serde_json::to_value(super::json(all)).unwrap();
    assert_eq!(json["variants"]["scoped"]["pool_timeouts"], 0, "the summary, as in `run --json`");
    assert_eq!(json["comparisons"][0]["rows"][1]["mark"], "better");
}

#[test]
fn a_run_compared_with_itself_is_noise_throughout() {
    let record = fixture();
    let comparison = compared((&record, VariantName::SCOPED), (&record, VariantName::SCOPED));
    assert!(known(&comparison).all(|row| row.mark == Mark::WithinNoise), "{comparison:?}");
    assert_eq!(comparison.differences, []);
}

#[test]
fn marks_know_the_direction_of_good() {
    let record = fixture();
    let better = compared((&record, VariantName::HELD), (&record, VariantName::SCOPED));
    let worse = compared((&record, VariantName::SCOPED), (&record, VariantName::HELD));
    for metric in ["throughput_rps", "failure_ratio", "replicas_healthy_min", "transaction_age_max_s"] {
        assert_eq!((mark(&better, metric), mark(&worse, metric)), (Mark::Better, Mark::Worse), "{metric}");
    }
    assert_eq!(mark(&better, "requests"), Mark::Different);
    // One checkout that gave up, against none: that comes by chance.
    assert_eq!(mark(&better, "pool_timeouts"), Mark::WithinNoise);
}

#[test]
fn a_missing_figure_is_unknown_and_a_dash() {
    let mut record = fixture();
    record.variants.get_mut(&VariantName::SCOPED).unwrap().summary.transaction_age_max_s = None;
    let comparison = compared((&record, VariantName::HELD), (&record, VariantName::SCOPED));
    assert_eq!(mark(&comparison, "transaction_age_max_s"), Mark::Unknown);
}

#[test]
fn whatever_makes_runs_incomparable_is_named() {
    type Change = fn(&mut RunRecord);
    let cases: [(Change, &str); 6] = [
        (
            |it| it.scenario.gateway_mut().unwrap().load.users = Count::of(10),
            "other scenario load.users: 4000 there, 10 here",
        ),
        (
            |it| it.machine.cores = Some(8),
            "other machine: linux x86_64, 2 cores, which one is not known there, linux x86_64, 8 cores, which one is not known here",
        ),
        (
            |it| it.variants.get_mut(&VariantName::SCOPED).unwrap().postgres_version = "16.0".into(),
            "other PostgreSQL version",
        ),
        (|it| it.tool_version = "9".into(), "other tool version: 0.1.0 there, 9 here"),
        (|it| it.variants.get_mut(&VariantName::SCOPED).unwrap().complete = false, "other completeness"),
        (|it| drop(it.scenario.gateway_mut().unwrap().load.classes.remove("stress")), "scenario load.classes.stress"),
    ];
    let before = fixture();
    for (change, text_seen) in cases {
        let mut after = fixture();
        change(&mut after);
        let comparison = compared((&before, VariantName::SCOPED), (&after, VariantName::SCOPED));
        let reported: Vec<String> = comparison.differences.iter().map(reported).collect();
        assert!(reported.iter().any(|it| it.contains(text_seen)), "{text_seen}: {reported:?}");
        assert!(known(&comparison).all(|row| row.mark == Mark::Incomparable), "{text_seen}");
    }
    let mut renamed = fixture();
    renamed.scenario.gateway_mut().unwrap().name = "another".to_owned();
    renamed.scenario.gateway_mut().unwrap().variants = vec![SessionScope::Scoped];
    assert_eq!(compared((&before, VariantName::SCOPED), (&renamed, VariantName::SCOPED)).differences, []);
}
