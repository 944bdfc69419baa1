use std::collections::BTreeMap;

use super::*;
use crate::record::{ActivitySample, HealthSample, LoadSample, PoolSample, Sample, ScheduleRecord, SessionsLost};
use crate::scenario::VariantName;
use crate::units::{Count, Span};

/// The incident's run: `held` and `scoped`.
fn fixture() -> RunRecord {
    serde_json::from_str(include_str!("../../fixtures/records/issue-2318.json")).unwrap()
}

fn asked(rules: &[&str]) -> Vec<ParsedRule> {
    let read = |rule: &&str| {
        let written = GateRule {
            rule: (*rule).to_owned(),
            severity: Severity::Error,
            because: None,
            variants: Vec::new(),
            windows: None,
        };
        ParsedRule::read(&written, &routes(&fixture().scenario)).unwrap_or_else(|error| panic!("{error}"))
    };
    rules.iter().map(read).collect()
}

/// Samples of a whole load at 10 Hz with `idle(t)` sessions idle in transaction.
fn samples(variant: VariantName, idle: impl Fn(f64) -> u32) -> Vec<Stamped> {
    let mut samples = Vec::new();
    for tick in 0..365_u32 {
        let at_s = f64::from(tick) * 0.1;
        let activity = ActivitySample {
            sessions: 50,
            idle_in_transaction: idle(at_s),
            oldest_transaction_s: Some(0.1),
            ..ActivitySample::default()
        };
        let load = LoadSample { users: 10, finished: u64::from(tick) * 10, ..LoadSample::default() };
        for sample in [Sample::Activity(activity), Sample::Load(load)] {
            samples.push(Stamped { variant, at_s, sample });
        }
        for replica in 1..=3 {
            let pools = PoolSample {
                replica,
                checked_out: Some(10),
                pending: Some(0),
                timeouts: Some(0),
                stalled_workers: Some(0),
                errors: BTreeMap::new(),
                held_s: None,
                ..PoolSample::default()
            };
            let health = HealthSample { replica, up: true, error: None };
            samples.push(Stamped { variant, at_s, sample: Sample::Pools(pools) });
            samples.push(Stamped { variant, at_s, sample: Sample::Health(health) });
        }
    }
    samples
}

/// Samples of the fixture's variants by a healthy instrument: their peaks, all the time.
fn seen(variant: VariantName) -> Vec<Stamped> {
    samples(variant, |_| if variant == VariantName::HELD { 514 } else { 31 })
}

fn judge_all(asked: &[ParsedRule], record: &RunRecord, samples: &[Stamped], variant: VariantName) -> GateReport {
    judge(asked, ReadBack { record, samples, unreadable: 0 }, &[variant], None)
}

fn one(record: &RunRecord, samples: &[Stamped], variant: VariantName, rule: &str) -> RuleOutcome {
    let mut report = judge_all(&asked(&[rule]), record, samples, variant);
    assert_eq!(report.rules.len(), 1);
    report.rules.remove(0)
}

#[test]
fn the_incident_fails_and_its_fix_passes() {
    let rules = [
        "idle_in_transaction.max<60",
        "transaction_age.max<5s",
        "pool_timeouts==0",
        "failure_rate<=1%",
        "replicas_healthy>=3",
        "latency.p95<4s for tools/call",
        "throughput>=1000",
    ];
    let record = fixture();
    let mut held = seen(VariantName::HELD);
    for stamped in &mut held {
        match &mut stamped.sample {
            Sample::Activity(activity) => activity.oldest_transaction_s = Some(30.0),
            Sample::Health(health) => health.up = false,
            _ => {}
        }
    }
    let report = judge_all(&asked(&rules), &record, &held, VariantName::HELD);
    assert!(report.rules.iter().all(|rule| rule.verdict == Verdict::Failed), "{report:#?}");
    assert_eq!(report.verdict, Verdict::Failed);
    let report = judge_all(&asked(&rules), &record, &seen(VariantName::SCOPED), VariantName::SCOPED);
    assert_eq!(report.verdict, Verdict::Passed, "{report:#?}");
    assert_eq!(report.rules[1].measured, Some(0.1));
}

#[test]
fn a_rule_without_data_is_inconclusive_and_says_why() {
    let record = fixture();
    for (rule, why) in [
        ("pool_wait.p99<50ms", "does not hold `pool_wait`"),
        ("idle_in_transaction.p95<60", "without a poll"),
        ("waiting_for_lock.last<60", "without a poll"),
    ] {
        let mut samples = seen(VariantName::SCOPED);
        samples.retain(|it| !matches!(it.sample, Sample::Activity(_)));
        let outcome = one(&record, &samples, VariantName::SCOPED, rule);
        assert_eq!((outcome.verdict, outcome.measured), (Verdict::Inconclusive, None), "{rule}");
        assert!(outcome.reason.as_deref().is_some_and(|reason| reason.contains(why)), "{outcome:?}");
    }
    let mut record = fixture();
    record.variants.get_mut(&VariantName::SCOPED).unwrap().routes.retain(|route| route.route != "POST /rpc ping");
    let outcome = one(&record, &seen(VariantName::SCOPED), VariantName::SCOPED, "failure_rate<=1% for ping");
    assert!(outcome.reason.unwrap().contains("no request of `POST /rpc ping`"));
}

#[test]
fn a_summary_without_a_single_sample_passes_nothing() {
    for samples in [Vec::new(), seen(VariantName::HELD)] {
        for (rule, measured) in [("idle_in_transaction.max<60", Some(31.0)), ("sessions.last<60", None)] {
            let outcome = one(&fixture(), &samples, VariantName::SCOPED, rule);
            assert_eq!((outcome.verdict, outcome.measured), (Verdict::Inconclusive, measured), "{rule}");
            assert_eq!(outcome.reason.as_deref(), Some("there are no samples of the variant"));
        }
    }
}

#[test]
fn lines_that_cannot_be_read_are_a_doubt_about_what_is_sampled() {
    let (record, samples) = (fixture(), seen(VariantName::SCOPED));
    let run = ReadBack { record: &record, samples: &samples, unreadable: 1 };
    let report = judge(&asked(&["idle_in_transaction.max<60", "latency.p95<4s"]), run, &[VariantName::SCOPED], None);
    assert_eq!(report.rules[0].reason.as_deref(), Some("a line of the samples could not be read"));
    assert_eq!(report.rules[1].verdict, Verdict::Passed);
}

#[test]
fn gauges_are_judged_over_the_steady_phase_alone() {
    let record = fixture();
    // The ramp lasts 2 s, the steady phase ends at 36 s; samples before and after are high.
    let samples = samples(VariantName::SCOPED, |at| if (2.0..=36.0).contains(&at) { 10 } else { 500 });
    for (rule, measured) in [
        ("idle_in_transaction.max<60", 10.0),
        ("idle_in_transaction.mean<60", 10.0),
        ("idle_in_transaction.p95<60", 10.0),
        ("idle_in_transaction.last<60", 10.0),
        ("sessions<60", 50.0),
        ("transaction_age<1s", 0.1),
        ("pool_checked_out<40", 30.0),
        ("pool_pending<=0", 0.0),
        ("replicas_healthy>=3", 3.0),
    ] {
        let outcome = one(&record, &samples, VariantName::SCOPED, rule);
        assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
        assert!((outcome.measured.unwrap() - measured).abs() < 1e-9, "{outcome:?}");
    }
}

#[test]
fn samples_of_the_other_variant_are_not_looked_at() {
    let both = [samples(VariantName::HELD, |_| 500), samples(VariantName::SCOPED, |_| 10)].concat();
    assert_eq!(one(&fixture(), &both, VariantName::SCOPED, "idle_in_transaction.max<60").verdict, Verdict::Passed);
}

#[test]
fn each_guard_makes_the_verdict_inconclusive_with_its_reason() {
    type Change = fn(&mut crate::record::VariantRecord);
    let cases: [(Change, &str); 8] = [
        (|it| it.complete = false, "cut short"),
        (|it| it.generator.polls_late = 100, "100 of 365 polls began late"),
        (
            |it| it.generator.schedule = Some(ScheduleRecord { started: 90, not_started: 10, ..Default::default() }),
            "10 of 100 requests that were due did not begin",
        ),
        (
            |it| it.generator.schedule = Some(ScheduleRecord { lag_p99_ms: Some(60.0), ..Default::default() }),
            "1 % of the requests began 60 ms late or later",
        ),
        (|it| it.generator.samples_dropped = 1, "1 samples were dropped"),
        (|it| it.summary.polls_missed = 100, "100 of 465 polls of the database gave none"),
        (|it| it.summary.idle_in_transaction_counted_s = Some(500.0), "the server counts 500.0"),
        (|it| it.summary.requests = 0, "no request finished"),
    ];
    for (change, why) in cases {
        let mut record = fixture();
        change(record.variants.get_mut(&VariantName::SCOPED).unwrap());
        let outcome = one(&record, &seen(VariantName::SCOPED), VariantName::SCOPED, "idle_in_transaction.max<60");
        assert_eq!(outcome.verdict, Verdict::Inconclusive, "{why}: {outcome:?}");
        assert!(outcome.reason.as_deref().is_some_and(|reason| reason.contains(why)), "{why}: {outcome:?}");
        assert_eq!(outcome.measured, Some(31.0), "what was seen stays to be read");
    }
}

#[test]
fn a_service_that_hung_until_the_end_does_not_pass() {
    let judged = |oldest_s: Option<f64>, cut_off: u64, rule: &str| {
        let mut record = fixture();
        let scoped = record.variants.get_mut(&VariantName::SCOPED).unwrap();
        scoped.generator.cut_off_oldest_s = oldest_s;
        scoped.summary.requests_cut_off = cut_off;
        one(&record, &seen(VariantName::SCOPED), VariantName::SCOPED, rule)
    };
    for rule in ["failure_rate<=1%", "latency.p95<4s", "throughput>=1000"] {
        let hung = judged(Some(24.0), 1037, rule);
        assert_eq!(hung.verdict, Verdict::Inconclusive, "{hung:?}");
        let why = "still unanswered at the end (1037), the oldest for 24.0 s";
        assert!(hung.reason.as_deref().is_some_and(|reason| reason.contains(why)), "{hung:?}");
        // The longest answer took 4.4 s.
        for (oldest_s, cut_off) in [(None, 1037), (Some(5.0), 1037), (Some(24.0), 10)] {
            assert_eq!(judged(oldest_s, cut_off, rule).verdict, Verdict::Passed, "{rule} {oldest_s:?} {cut_off}");
        }
    }
    // A service that hangs holds few sessions, which is no merit.
    assert_eq!(judged(Some(24.0), 1037, "idle_in_transaction.max<60").verdict, Verdict::Inconclusive);
    // It is no excuse.
    assert_eq!(judged(Some(24.0), 1037, "latency.p95<1ms").verdict, Verdict::Failed);
}

#[test]
fn a_long_gap_in_the_samples_is_no_basis_for_a_verdict() {
    let mut samples = samples(VariantName::SCOPED, |_| 10);
    samples.retain(|it| !((10.0..12.0).contains(&it.at_s) && matches!(it.sample, Sample::Activity(_))));
    let outcome = one(&fixture(), &samples, VariantName::SCOPED, "idle_in_transaction.max<60");
    assert!(outcome.reason.as_deref().is_some_and(|it| it.contains("without a poll")), "{outcome:?}");
    // The users' own figures do not come from the polls.
    assert_eq!(one(&fixture(), &samples, VariantName::SCOPED, "failure_rate<=1%").verdict, Verdict::Passed);
}

#[test]
fn a_generator_that_stood_still_has_loaded_nothing() {
    let mut samples = samples(VariantName::SCOPED, |_| 10);
    samples.retain(|it| !((10.0..12.0).contains(&it.at_s) && matches!(it.sample, Sample::Load(_))));
    let outcome = one(&fixture(), &samples, VariantName::SCOPED, "latency.p95<4s");
    assert!(outcome.reason.as_deref().is_some_and(|it| it.contains("stood still for 2.")), "{outcome:?}");
}

#[test]
fn samples_that_end_early_are_a_gap_too() {
    let mut samples = samples(VariantName::SCOPED, |_| 10);
    samples.retain(|it| it.at_s < 30.0);
    assert_eq!(
        one(&fixture(), &samples, VariantName::SCOPED, "idle_in_transaction.max<60").verdict,
        Verdict::Inconclusive
    );
}

#[test]
fn a_counter_that_is_a_lower_bound_may_be_lower_and_not_higher() {
    let mut record = fixture();
    let held = record.variants.get_mut(&VariantName::HELD).unwrap();
    assert_eq!(
        one(&fixture(), &seen(VariantName::HELD), VariantName::HELD, "idle_in_transaction.max<60").verdict,
        Verdict::Failed
    );
    held.summary.idle_in_transaction_counted_s = Some(20_000.0);
    assert_eq!(
        one(&record, &seen(VariantName::HELD), VariantName::HELD, "idle_in_transaction.max<60").verdict,
        Verdict::Inconclusive
    );
    let held = record.variants.get_mut(&VariantName::HELD).unwrap();
    held.summary.idle_in_transaction_counted_s = Some(8_900.0);
    held.sessions_lost = Some(SessionsLost::default());
    assert_eq!(
        one(&record, &seen(VariantName::HELD), VariantName::HELD, "idle_in_transaction.max<60").verdict,
        Verdict::Inconclusive
    );
    // One lost session explains one episode: at most the 32 s that a transaction could have lasted here.
    let mut judged = |abandoned: Option<i64>, counted_s| {
        let held = record.variants.get_mut(&VariantName::HELD).unwrap();
        held.sessions_lost = abandoned.map(|abandoned| SessionsLost { abandoned, ..SessionsLost::default() });
        held.summary.idle_in_transaction_counted_s = Some(counted_s);
        one(&record, &seen(VariantName::HELD), VariantName::HELD, "idle_in_transaction.max<60").verdict
    };
    assert_eq!(judged(Some(1), 8_900.0), Verdict::Inconclusive);
    assert_eq!(judged(Some(200), 8_900.0), Verdict::Failed);
    assert_eq!(judged(None, 8_900.0), Verdict::Inconclusive, "a loss that nobody recorded explains nothing");
    assert_eq!(judged(None, 15_000.0), Verdict::Failed);
}

#[test]
fn a_few_short_holds_that_the_samples_happened_to_see_are_no_disagreement() {
    let mut record = fixture();
    let summary = &mut record.variants.get_mut(&VariantName::SCOPED).unwrap().summary;
    (summary.idle_in_transaction_sampled_s, summary.idle_in_transaction_counted_s) = (Some(0.10), Some(0.05));
    summary.idle_in_transaction_peak = Some(1);
    assert_eq!(
        one(&record, &seen(VariantName::SCOPED), VariantName::SCOPED, "idle_in_transaction.max<60").verdict,
        Verdict::Passed
    );
}

#[test]
fn a_broken_limit_stays_broken_when_nothing_came_back() {
    let mut record = fixture();
    record.variants.get_mut(&VariantName::HELD).unwrap().summary.requests = 0;
    assert_eq!(
        one(&record, &seen(VariantName::HELD), VariantName::HELD, "idle_in_transaction.max<60").verdict,
        Verdict::Failed
    );
}

#[test]
fn an_unmeasured_variant_is_inconclusive_with_the_runs_error() {
    let mut record = fixture();
    record.variants.remove(&VariantName::SCOPED);
    record.outcome =
        Outcome::Failed { error: "role `watcher` cannot see other sessions in pg_stat_activity".to_owned() };
    let outcome = one(&record, &[], VariantName::SCOPED, "pool_timeouts==0");
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
    assert!(outcome.reason.unwrap().contains("cannot see other sessions"));
}

fn against(
    candidate: (&RunRecord, VariantName),
    baseline: (&RunRecord, VariantName),
    rule: &str,
    trust: Trust,
) -> RuleOutcome {
    let samples = [samples(VariantName::HELD, |_| 411), samples(VariantName::SCOPED, |_| 10)].concat();
    let run = |record| ReadBack { record, samples: &samples, unreadable: 0 };
    let baseline = Baseline { run: run(baseline.0), variant: Some(baseline.1), trust };
    judge(&asked(&[rule]), run(candidate.0), &[candidate.1], Some(baseline)).rules.remove(0)
}

#[test]
fn a_baseline_of_the_same_conditions_decides() {
    let record = fixture();
    let rule = "idle_in_transaction.mean<=+10% vs baseline";
    let worse = against((&record, VariantName::HELD), (&record, VariantName::SCOPED), rule, Trust::Advisory);
    assert!(worse.fails_the_gate(), "{worse:?}");
    assert!((worse.limit.unwrap() - 11.0).abs() < 0.001, "{worse:?}");
    assert_eq!(
        against((&record, VariantName::SCOPED), (&record, VariantName::SCOPED), rule, Trust::Advisory).verdict,
        Verdict::Passed
    );
    assert_eq!(
        against((&record, VariantName::SCOPED), (&record, VariantName::HELD), rule, Trust::Advisory).verdict,
        Verdict::Passed
    );
}

#[test]
fn an_untrusted_baseline_of_another_machine_only_warns() {
    let mut other = fixture();
    other.machine.cores = Some(64);
    let record = fixture();
    let rule = "idle_in_transaction.mean<=+10% vs baseline";
    let advised = against((&record, VariantName::HELD), (&other, VariantName::SCOPED), rule, Trust::Advisory);
    assert_eq!((advised.verdict, advised.severity), (Verdict::Failed, Severity::Warn));
    assert!(advised.reason.as_deref().is_some_and(|it| it.contains("another machine")), "{advised:?}");
    assert!(!advised.fails_the_gate());
    assert!(against((&record, VariantName::HELD), (&other, VariantName::SCOPED), rule, Trust::Full).fails_the_gate());
    for change in [
        (|it| it.tool_version = "0.0.9".to_owned()) as fn(&mut RunRecord),
        |it| it.variants.get_mut(&VariantName::SCOPED).unwrap().postgres_version = "16.1".to_owned(),
        |it| it.scenario.gateway_mut().unwrap().load.users = Count::of(10),
    ] {
        let mut other = fixture();
        change(&mut other);
        assert!(
            !against((&record, VariantName::HELD), (&other, VariantName::SCOPED), rule, Trust::Advisory)
                .fails_the_gate()
        );
    }
}

#[test]
fn a_doubt_about_an_advisory_baseline_only_warns_too() {
    let mut other = fixture();
    other.machine.cores = Some(64);
    other.variants.get_mut(&VariantName::SCOPED).unwrap().complete = false;
    let record = fixture();
    let doubted = against(
        (&record, VariantName::SCOPED),
        (&other, VariantName::SCOPED),
        "latency.p95<=+10% vs baseline",
        Trust::Advisory,
    );
    assert_eq!((doubted.verdict, doubted.severity), (Verdict::Inconclusive, Severity::Warn), "{doubted:?}");
    assert!(doubted.reason.unwrap().contains("in the baseline, the variant was cut short"));
}

#[test]
fn a_difference_that_two_runs_of_the_same_show_as_well_is_not_judged() {
    let mut worse = fixture();
    let summary = &mut worse.variants.get_mut(&VariantName::SCOPED).unwrap().summary;
    summary.latency_p95_ms = summary.latency_p95_ms.map(|it| it * 1.2);
    let outcome = against(
        (&worse, VariantName::SCOPED),
        (&fixture(), VariantName::SCOPED),
        "latency.p95<=+10% vs baseline",
        Trust::Advisory,
    );
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
    assert!(outcome.reason.unwrap().contains("--paired"));
}

fn learned_rule(length_s: u64, judged: u32) -> Vec<ParsedRule> {
    let mut asked = asked(&["idle_in_transaction.mean<=20"]);
    let windows = Windows { length: Span::from_secs(length_s), learned: Count::of(30), judged: Count::of(judged) };
    asked[0].windows = Some(windows);
    asked
}

#[test]
fn a_learned_limit_is_broken_by_two_windows_and_not_by_one() {
    let judged =
        |samples: &[Stamped]| judge_all(&learned_rule(10, 3), &fixture(), samples, VariantName::SCOPED).rules.remove(0);
    let one_high = judged(&samples(VariantName::SCOPED, |at| if (12.0..22.0).contains(&at) { 100 } else { 10 }));
    assert_eq!(one_high.verdict, Verdict::Passed, "{one_high:?}");
    let two_high = judged(&samples(VariantName::SCOPED, |at| if at > 12.0 { 100 } else { 10 }));
    assert_eq!(two_high.verdict, Verdict::Failed, "{two_high:?}");
    assert!(two_high.reason.unwrap().contains("0.57 % of healthy runs"));
}

#[test]
fn a_run_too_short_for_a_learned_limit_is_inconclusive() {
    let outcome =
        judge_all(&learned_rule(15, 3), &fixture(), &samples(VariantName::SCOPED, |_| 10), VariantName::SCOPED)
            .rules
            .remove(0);
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
    assert!(outcome.reason.unwrap().contains("has 2 windows of 15s"));
}

#[test]
fn windows_that_could_never_break_a_rule_are_refused() {
    let read = |rule: &str, length, judged| {
        let windows = Windows { length: Span::from_secs(length), learned: Count::of(30), judged: Count::of(judged) };
        let rule = rule.to_owned();
        let written =
            GateRule { rule, severity: Severity::Error, because: None, variants: Vec::new(), windows: Some(windows) };
        ParsedRule::read(&written, &[]).map_err(|error| error.to_string())
    };
    let absolute = "idle_in_transaction.mean<=20";
    assert!(read(absolute, 5, 3).is_ok());
    assert!(read(absolute, 5, 1).unwrap_err().contains("two windows are needed"));
    for equality in ["idle_in_transaction.mean==20", "idle_in_transaction.mean!=20"] {
        assert!(read(equality, 5, 3).unwrap_err().contains("can be exceeded"));
    }
    assert!(read(absolute, 0, 3).unwrap_err().contains("above 0 is needed"));
    assert!(read("idle_in_transaction.mean<=+5% vs baseline", 5, 3).unwrap_err().contains("not with `vs baseline`"));
}

#[test]
fn limits_are_learned_from_what_is_healthy_and_hold_for_it() {
    let record = fixture();
    let samples = samples(VariantName::SCOPED, |at| 10 + u32::from((20.0..20.05).contains(&at)) * 7);
    let side = Side::of(&record, VariantName::SCOPED, &samples).unwrap();
    let learned = crate::gate::learn(&[side], Span::from_secs(3)).unwrap();
    let texts: Vec<&str> = learned.rules.iter().map(|it| it.rule.rule.as_str()).collect();
    assert!(
        texts.contains(&"idle_in_transaction.max<=17") && texts.contains(&"transaction_age.max<=100ms"),
        "{texts:?}"
    );
    let asked: Vec<ParsedRule> = learned.rules.iter().map(|it| ParsedRule::read(&it.rule, &[]).unwrap()).collect();
    assert_eq!(judge_all(&asked, &record, &samples, VariantName::SCOPED).verdict, Verdict::Passed);
    // 11 windows of 3 s in 34 s, 3 judged.
    let rate = 3.0 * 2.0 / (14.0 * 13.0);
    assert!((learned.windows.false_alarm_rate() - rate).abs() < 1e-12);
    assert!((learned.false_alarm_rate() - rate * 5.0).abs() < 1e-12);
}

#[test]
fn nothing_is_learned_from_a_sick_run_or_from_too_few_windows() {
    let record = fixture();
    let samples = [samples(VariantName::HELD, |_| 10), samples(VariantName::SCOPED, |_| 10)].concat();
    let learn = |variant, length| {
        let side = Side::of(&record, variant, &samples).unwrap();
        crate::gate::learn(&[side], Span::from_secs(length)).unwrap_err().to_string()
    };
    assert!(learn(VariantName::HELD, 3).contains("not to be learned from"), "{}", learn(VariantName::HELD, 3));
    assert!(
        learn(VariantName::SCOPED, 10).contains("3 windows of 10s, at least 10"),
        "{}",
        learn(VariantName::SCOPED, 10)
    );
}

#[test]
fn a_run_that_could_not_measure_judges_nothing() {
    let report = nothing_measured(
        &asked(&["pool_timeouts==0"]),
        &[VariantName::HELD, VariantName::SCOPED],
        "role `w` cannot see other sessions",
    );
    assert_eq!((report.verdict, report.rules.len()), (Verdict::Inconclusive, 2));
    assert!(report.rules[0].reason.as_deref().is_some_and(|reason| reason.contains("cannot see")));
}
