use super::*;
use crate::gate::{GateRule, Severity, Verdict, routes};
use crate::scenario::Scenario;
use crate::scenario::builtin::DEFAULT;

/// A rule as it would be read from the command line.
pub(super) fn asked(rule: &str) -> ParsedRule {
    let scenario = Scenario::from_text(DEFAULT.name, DEFAULT.text, &[]).unwrap();
    let written = GateRule {
        rule: rule.to_owned(),
        severity: Severity::Error,
        because: None,
        variants: Vec::new(),
        windows: None,
    };
    ParsedRule::read(&written, &routes(&scenario.into())).unwrap_or_else(|error| panic!("{error}"))
}

fn rule(text: &str) -> PairedRule {
    PairedRule::new(asked(text)).unwrap()
}

const IDLE: &str = "idle_in_transaction.mean<=+10% vs baseline";

fn trial(rules: &[&str], pairs: usize) -> Trial {
    let rules = rules.iter().map(|text| rule(text)).collect();
    Trial::new(rules, PairPlan { pairs, alpha: 0.01 }).unwrap()
}

fn pair(baseline: &[WindowFigure], candidate: &[WindowFigure]) -> Pair {
    let figures = |readings: &[WindowFigure]| WindowFigures::from_readings(readings.to_vec());
    Pair { baseline: figures(baseline), candidate: figures(candidate) }
}

/// A trial of counts whose candidate is `factor` times its baseline, give or take a little.
fn counted(factor: f64, pairs: u32) -> Trial {
    let mut trial = trial(&[IDLE], 10);
    for index in 0..pairs {
        let wobble = 1.0 + f64::from(index) / 200.0;
        trial.push(pair(&[WindowFigure::of_count(40.0)], &[WindowFigure::of_count(40.0 * factor * wobble)]));
    }
    trial
}

#[test]
fn a_doubled_mean_fails_and_says_by_how_much() {
    let report = counted(2.0, 10).report(PairsEnd::AllPairs);
    assert_eq!(report.verdict, Verdict::Failed);
    let outcome = &report.rules[0];
    let paired = outcome.paired.as_ref().unwrap();
    assert!((paired.p_value.unwrap() - 1.0 / 1024.0).abs() < 1e-12, "{paired:?}");
    let ratio = paired.ratio.unwrap();
    assert!(ratio.low > Some(1.9) && ratio.low < Some(ratio.value) && Some(ratio.value) < ratio.high, "{ratio:?}");
    assert!(paired.smallest_effect.unwrap() < ratio.value, "{paired:?}");
    assert!(outcome.measured.unwrap() > 80.0 && (outcome.limit.unwrap() - 44.0).abs() < 1e-9, "{outcome:?}");
    assert_eq!(paired.would_settle, None);
}

#[test]
fn the_same_in_both_arms_passes() {
    let report = counted(1.0, 10).report(PairsEnd::AllPairs);
    assert_eq!(report.verdict, Verdict::Passed, "{report:?}");
}

#[test]
fn a_chance_ratio_is_inconclusive_and_names_the_pairs_needed() {
    let mut trial = trial(&[IDLE], 10);
    for factor in [0.4, 3.0, 2.0, 0.7, 2.5, 1.9, 0.8, 2.2, 1.6, 0.9] {
        trial.push(pair(&[WindowFigure::of_count(40.0)], &[WindowFigure::of_count(40.0 * factor)]));
    }
    let report = trial.report(PairsEnd::AllPairs);
    assert_eq!(report.verdict, Verdict::Inconclusive);
    let settle = report.rules[0].paired.as_ref().unwrap().would_settle.clone().unwrap();
    assert!(settle.contains("--pairs"), "{settle}");
}

#[test]
fn time_that_is_over_is_no_pass_but_what_failed_by_then_has() {
    let early = counted(1.0, 5).report(PairsEnd::OutOfTime);
    assert_eq!(early.verdict, Verdict::Inconclusive);
    assert!(early.rules[0].reason.as_ref().unwrap().contains("after 5 of 10 pairs"), "{early:?}");
    assert!(early.rules[0].paired.as_ref().unwrap().would_settle.as_ref().unwrap().contains("--max-duration"));
    assert_eq!(counted(1.0, 8).report(PairsEnd::Settled).verdict, Verdict::Passed);
    assert_eq!(counted(2.0, 8).report(PairsEnd::OutOfTime).verdict, Verdict::Failed);
}

#[test]
fn a_gate_that_was_settled_early_says_what_its_plan_could_have_seen() {
    let rules = ["latency.p95<=+10% vs baseline", "transaction_age.p50<=+10% vs baseline", IDLE];
    let mut trial = trial(&rules, 10);
    for index in 0..7 {
        let figures = |factor: f64| [8.0, 8.0, 8.0].map(|it| WindowFigure::of_latency(it * factor));
        trial.push(pair(&figures(1.0), &figures(1.0 + f64::from(index) / 200.0)));
    }
    let report = trial.report(PairsEnd::Settled);
    assert_eq!(report.verdict, Verdict::Passed);
    for rule in &report.rules {
        let paired = rule.paired.as_ref().unwrap();
        assert!(paired.smallest_effect.is_some_and(|it| it > 1.0), "{paired:?}");
        assert!(paired.ratio.is_some_and(|it| (it.value - 1.0).abs() < 0.05), "{paired:?}");
    }
}

#[test]
fn without_a_pair_nothing_has_passed() {
    let report = trial(&[IDLE], 10).report(PairsEnd::Interrupted);
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert_eq!(report.rules[0].measured, None);
}

#[test]
fn a_faulty_figure_makes_its_rule_inconclusive_and_no_other() {
    let mut trial = trial(&[IDLE, "latency.p95<=+10% vs baseline"], 10);
    for index in 0..10 {
        let readings = |factor: f64| [WindowFigure::of_count(40.0 * factor), WindowFigure::of_latency(8.0)];
        let mut pair = pair(&readings(1.0), &readings(3.0 + f64::from(index) / 50.0));
        if index == 4 {
            pair.candidate = serde_json::from_str(r#"[{"value":120,"log":4.8},{"fault":"a gap"}]"#).unwrap();
            assert_eq!(pair.fault(), Some("a gap"));
        }
        trial.push(pair);
    }
    let report = trial.report(PairsEnd::AllPairs);
    let verdicts: Vec<Verdict> = report.rules.iter().map(|it| it.verdict).collect();
    assert_eq!(verdicts, [Verdict::Failed, Verdict::Inconclusive]);
    assert_eq!(report.rules[1].reason.as_deref(), Some("in pair 5, a gap"));
}

#[test]
fn where_more_is_better_less_fails() {
    let mut trial = trial(&["throughput>=-10% vs baseline"], 7);
    for index in 0..7 {
        let rate = |value: f64| [WindowFigure::of_rate(value + f64::from(index), 15.0)];
        trial.push(pair(&rate(1000.0), &rate(500.0)));
    }
    let report = trial.report(PairsEnd::AllPairs);
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    let ratio = report.rules[0].paired.as_ref().unwrap().ratio.unwrap();
    assert!(ratio.value < 0.52 && ratio.low <= Some(ratio.value) && Some(ratio.value) <= ratio.high, "{ratio:?}");
}

#[test]
fn milliseconds_of_idle_time_in_either_arm_are_no_difference() {
    let mut trial = trial(&[IDLE, "transaction_age.p50<=+10% vs baseline"], 10);
    for _ in 0..10 {
        trial.push(pair(
            &[WindowFigure::of_count(0.0), WindowFigure::of_age(0.0)],
            &[WindowFigure::of_count(0.04), WindowFigure::of_age(0.0)],
        ));
    }
    assert_eq!(trial.report(PairsEnd::AllPairs).verdict, Verdict::Passed);
}

#[test]
fn a_rule_that_pairs_cannot_judge_is_refused_with_what_they_can() {
    let refused = |text: &str| PairedRule::new(asked(text)).unwrap_err().to_string();
    assert!(refused("pool_timeouts==0").contains("about one run alone"));
    assert!(refused("idle_in_transaction.mean<=-20% vs baseline").contains("better"));
    assert!(refused("throughput>=+5% vs baseline").contains("better"));
    assert!(refused("transaction_age.max<=+10% vs baseline").contains("`mean`"));
}

#[test]
fn every_default_rule_can_be_judged() {
    assert_eq!(paired_rules(DEFAULT_RULES.map(asked).to_vec()).unwrap().len(), 3);
}

#[test]
fn a_plan_by_which_nothing_could_fail_is_refused_with_what_is_needed() {
    let refused = |rules, pairs, alpha| PairPlan { pairs, alpha }.checked(rules).unwrap_err().to_string();
    assert!(refused(1, 6, 0.01).contains("at least 7 are needed"), "{}", refused(1, 6, 0.01));
    assert!(refused(3, 8, 0.01).contains("at least 9 are needed"));
    assert!(refused(1, 61, 0.01).contains("at most 60"));
    assert!(refused(1, 10, 0.0).contains("above 0 %"));
    assert!(refused(0, 10, 0.01).contains("no rule"));
    assert!(PairPlan { pairs: 7, alpha: 0.01 }.checked(1).is_ok());
}

#[test]
fn a_coin_decides_which_arm_of_a_pair_comes_first() {
    use Arm::{Baseline, Candidate};
    assert_eq!(Arm::in_drawn_order(true), [Baseline, Candidate]);
    assert_eq!(Arm::in_drawn_order(false), [Candidate, Baseline]);
}

#[test]
fn a_limit_that_no_candidate_can_exceed_is_none() {
    let beyond = |text: &str, baseline: f64| {
        let rule = rule(text);
        figures::is_beyond_all(rule.rule(), baseline * rule.allowed_ratio())
    };
    let failures = "failure_rate<=+10% vs baseline";
    assert!(beyond(failures, 1.0) && beyond(failures, 0.95));
    assert!(!beyond(failures, 0.5));
    assert!(!beyond("latency.p95<=+10% vs baseline", 3000.0), "milliseconds have no end");
}
