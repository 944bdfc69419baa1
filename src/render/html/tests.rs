use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::record::{
    ActivitySample, Event, HealthSample, LoadSample, Outcome, PoolSample, Sample, Stamped, WindowLatency,
};

fn fixture() -> RunRecord {
    serde_json::from_str(include_str!("../../../fixtures/records/issue-2318.json")).expect("a record of this version")
}

/// Timeline of a run of so many seconds at 10 Hz: restless, so that no line is short, and with one peak.
fn timeline(seconds: u32) -> Timeline {
    let mut timeline = Timeline::default();
    for variant in [VariantName::HELD, VariantName::SCOPED] {
        let mut take = |at_s, sample| timeline.take(3, &Stamped { variant, at_s, sample });
        for tick in 0..seconds * 10 {
            let at_s = f64::from(tick) / 10.0;
            let restless = tick.wrapping_mul(2_654_435_761) >> 23;
            let idle = if tick == 77 { 1_234 } else { restless };
            let oldest = Some(f64::from(restless) / 100.0);
            take(
                at_s,
                Sample::Activity(ActivitySample {
                    idle_in_transaction: idle,
                    oldest_transaction_s: oldest,
                    ..Default::default()
                }),
            );
            let latency = (tick % 10 == 0).then(|| WindowLatency {
                latency_p50_ms: f64::from(restless) + 1.0,
                latency_p95_ms: f64::from(restless) * 3.0 + 1.0,
                latency_p99_ms: f64::from(restless) * 7.0 + 1.0,
            });
            let (finished, failed) = (u64::from(tick) * u64::from(restless), u64::from(tick));
            take(at_s, Sample::Load(LoadSample { finished, failed, latency, ..Default::default() }));
            if tick % 10 == 0 {
                for replica in 1..=3 {
                    take(at_s, Sample::Health(HealthSample { replica, up: restless % 3 > 0, error: None }));
                    take(at_s, Sample::Pools(pools(replica, restless, u64::from(tick))));
                }
            }
        }
        take(1.0, Sample::Event(Event::ReplicaDown { replica: 2 }));
    }
    timeline
}

fn pools(replica: u32, value: u32, timeouts: u64) -> PoolSample {
    PoolSample {
        replica,
        checked_out: Some(value),
        pending: Some(value / 2),
        timeouts: Some(timeouts),
        stalled_workers: None,
        errors: std::collections::BTreeMap::new(),
        held_s: None,
        ..PoolSample::default()
    }
}

fn run<'a>(record: &'a RunRecord, timeline: &'a Timeline) -> ReportedRun<'a> {
    let samples = Some(SamplesRead { samples: 10, unreadable: 0, cut_off: false });
    ReportedRun { name: "2026-11-23T10-12-04-issue-2318", record, timeline, samples, diagnosed: &[], gate: None }
}

/// The text between two marks.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    page.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("both marks").0
}

#[test]
fn the_first_sentence_says_what_happened_with_the_figures_of_the_record() {
    insta::assert_snapshot!(story::sentence(&fixture()));
}

#[test]
fn a_figure_that_could_not_be_had_is_not_in_the_sentence() {
    let mut record = fixture();
    for variant in record.variants.values_mut() {
        variant.summary.idle_in_transaction_peak = None;
        variant.summary.transaction_age_max_s = None;
        variant.summary.replicas_healthy_min = None;
        variant.summary.failure_ratio = None;
        variant.summary.goodput_rps = None;
    }
    insta::assert_snapshot!(story::sentence(&record));
    record.variants.clear();
    assert_eq!(story::sentence(&record), "No variant ran to its end, so there are no figures.");
}

#[test]
fn a_run_of_twelve_minutes_stays_under_a_megabyte_and_keeps_its_peak() {
    let (record, timeline) = (fixture(), timeline(12 * 60));
    let page = page(&[run(&record, &timeline)]);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<output data-series=\"0.idle\">peak 1 234<").count(), 1, "the peak of one sample");
    assert!(between(&page, "id=\"data\">", "</script>").contains(",1234,"), "and it can be pointed at");
}

#[test]
fn the_policy_names_the_hashes_of_script_and_style() {
    let (record, timeline) = (fixture(), timeline(1));
    let page = page(&[run(&record, &timeline)]);
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"").replace("&#39;", "'");
    assert!(policy.contains(&hash(between(&page, "<style>", "</style>"))), "{policy}");
    assert!(policy.contains(&hash(between(&page, "<script>", "</script>"))), "{policy}");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.contains(" style=\""), "the policy would not let it through");
    assert!(!page.contains("http://") && !page.contains("src=") && !page.contains("url("), "nothing is fetched");
}

#[test]
fn a_run_that_was_killed_has_a_report_that_says_so() {
    let (mut record, timeline) = (fixture(), timeline(5));
    record.outcome = Outcome::Running;
    record.variants.remove(&VariantName::SCOPED);
    let samples = Some(SamplesRead { samples: 10, unreadable: 2, cut_off: true });
    let page = page(&[ReportedRun { samples, ..run(&record, &timeline) }]);
    for text_seen in [
        "This run has no end: its process was killed, or it still goes on.",
        "No figures of scoped: only its samples are there",
        "The samples end in the middle of a line",
        "2 lines of the samples could not be read",
    ] {
        assert!(page.contains(text_seen), "{text_seen}");
    }
    assert_eq!(page.matches("data-series=\"1.idle\"").count(), 1, "what was seen of scoped is drawn");
}

#[test]
fn without_samples_there_is_a_report_without_charts_over_time() {
    let (record, nothing) = (fixture(), Timeline::default());
    let page = page(&[ReportedRun { samples: None, ..run(&record, &nothing) }]);
    assert!(page.contains("There are no samples: nothing can be drawn over time."));
    assert!(page.contains("Before and after") && !page.contains("id=\"overtime\""));
    assert_eq!(between(&page, "id=\"data\">", "</script>"), "null");
}

#[test]
fn what_an_old_record_lacks_is_stated_and_not_drawn_as_zero() {
    let record = fixture();
    let mut old = Timeline::default();
    let sample = Sample::Load(LoadSample::default());
    old.take(3, &Stamped { variant: VariantName::HELD, at_s: 1.0, sample });
    let page = page(&[run(&record, &old)]);
    assert!(page.contains("<output data-series=\"0.p99\">–<"));
    assert!(page.contains("samples do not have it"));
}

#[test]
fn three_runs_are_a_trend() {
    let (record, timeline) = (fixture(), timeline(3));
    let runs = [run(&record, &timeline), run(&record, &timeline), run(&record, &timeline)];
    let page = page(&runs);
    let trend = between(&page, "id=\"h-trend\"", "</section>");
    assert_eq!(trend.matches("<tr").count(), 1 + 6, "two variants of three runs");
    assert!(page.contains("class=\"overtime small\"") && !page.contains("Before and after"));
    assert_eq!(page.matches("<details><summary>2026-11-23").count(), 1, "one scenario, reported once");
}

/// Text that would act if it could.
fn hostile() -> impl Strategy<Value = String> {
    let acting = prop::sample::select(vec![
        "<script>alert(1)</script>",
        "</title><script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</script><!--",
        "\u{1b}]0;owned\u{7}\u{1b}[2J",
        "\u{202e}txt.exe",
        "]]>&lt;b&gt;",
        "</style><style>*{display:none}",
        "\0\r\n::error::x",
    ]);
    prop::collection::vec(prop_oneof![acting.prop_map(str::to_owned), any::<String>()], 1..4)
        .prop_map(|parts| parts.concat())
}

/// Puts the text wherever a record holds text of others.
fn poisoned(text: &str) -> RunRecord {
    let mut record = fixture();
    record.tool_version = text.to_owned();
    record.machine.os = text.to_owned();
    record.machine.arch = text.to_owned();
    record.outcome = Outcome::Failed { error: text.to_owned() };
    record.scenario.gateway_mut().unwrap().name = text.to_owned();
    record.scenario.gateway_mut().unwrap().title = text.to_owned();
    record.scenario.gateway_mut().unwrap().notes = vec![text.to_owned(); 3];
    for variant in record.variants.values_mut() {
        variant.postgres_version = text.to_owned();
        variant.routes.iter_mut().for_each(|route| route.route = text.to_owned());
        variant.errors.iter_mut().for_each(|error| error.text = text.to_owned());
    }
    record
}

/// Elements and attributes of a page, without its texts: what is not ours would show here.
fn skeleton(page: &str) -> String {
    let mut shape = String::new();
    for tag in page.split('<').skip(1) {
        let inside = tag.split('>').next().unwrap_or_default();
        let names = inside.split('"').step_by(2);
        let _ = write!(shape, "<{}>", names.collect::<String>());
    }
    shape
}

fn harmless_character(character: char) -> bool {
    (!character.is_control() || character == '\n' || character == '\t') && character != '\u{202e}'
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hostile_text_changes_no_element_and_leaves_no_control_character(text in hostile(), name in hostile()) {
        let timeline = timeline(1);
        let (record, harmless) = (poisoned(&text), poisoned("x"));
        let page_of = |record, name| page(&[ReportedRun { name, ..run(record, &timeline) }]);
        let page = page_of(&record, &name);
        prop_assert_eq!(skeleton(&page), skeleton(&page_of(&harmless, "x")));
        prop_assert!(page.chars().all(harmless_character));
    }
}

#[test]
fn ten_megabytes_of_text_do_not_make_a_long_report() {
    let (record, timeline) = (poisoned(&"<script>\u{1b}".repeat(1_200_000)), timeline(1));
    let page = page(&[run(&record, &timeline)]);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(page.contains("more characters)"));
}

#[test]
fn verdicts_of_a_gate_are_shown_and_their_texts_do_nothing() {
    use crate::gate::{RuleOutcome, Severity, Verdict};
    let (record, timeline) = (fixture(), timeline(1));
    let rule = RuleOutcome {
        rule: "latency.p95<800ms for <b>".to_owned(),
        variant: Some(VariantName::HELD),
        verdict: Verdict::Failed,
        severity: Severity::Error,
        measured: Some(27_000.0),
        limit: Some(800.0),
        unit: crate::units::Unit::Milliseconds,
        reason: Some("\u{1b}[31m".to_owned()),
        because: None,
        paired: None,
    };
    let gate = GateReport::of(vec![rule]);
    let page = page(&[ReportedRun { gate: Some(&gate), ..run(&record, &timeline) }]);
    let verdicts = between(&page, "id=\"h-gate\"", "</section>");
    assert!(verdicts.contains("✘ failed") && verdicts.contains("27.0 s") && verdicts.contains("800 ms"), "{verdicts}");
    assert!(verdicts.contains("for &lt;b&gt;") && verdicts.contains("␛[31m"), "{verdicts}");
}
