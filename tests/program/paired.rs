//! A paired gate on real parts: the same in both arms does not fail, the bug does.

use serde_json::Value;

use crate::program::{HANG, Place, SMALL, text};

/// Short windows.
const SHORT: [&str; 14] = [
    "--users",
    "24",
    "--set",
    "load.ramp_up=100ms",
    "--set",
    "database.fixture_users=30",
    "--min-effect",
    "30%",
    "--settle",
    "300ms",
    "--measured",
    "1200ms",
    "--max-duration",
    "3m",
];

/// The document of a paired gate, its exit code, and what it reported on stderr.
fn paired_gate(place: &Place, baseline: &str, candidate: &str, pairs: &[&str]) -> (Value, Option<i32>, String) {
    let arms =
        [&["gate", SMALL, "--paired", "--baseline", baseline, "--candidate", candidate, "--json"], pairs].concat();
    let output = place.output(&[&arms[..], &SHORT[..]].concat());
    let printed = text(&output.stderr);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {printed}"));
    (document, output.status.code(), printed)
}

#[test]
fn a_paired_gate_of_held_against_scoped_fails_and_names_the_metrics() {
    let place = Place::new();
    let (document, code, printed) = paired_gate(&place, "scoped", "held", &["--pairs", "4", "--alpha", "20%"]);
    // Four pairs that agree have p = 1/16; times three metrics it is the least that is within 20 %.
    assert_eq!(code, Some(99), "{document:#}\n{printed}");
    assert_eq!(document["verdict"], "failed");
    let rules = document["rules"].as_array().expect("a list");
    let failed = |metric: &str| {
        let rule = rules.iter().find(|it| it["rule"].as_str().is_some_and(|rule| rule.starts_with(metric)));
        let rule = rule.unwrap_or_else(|| panic!("no rule on {metric} in {document:#}"));
        assert_eq!(rule["verdict"], "failed", "{rule:#}");
        assert!(rule["p_value"].as_f64().expect("p") <= 0.2, "{rule:#}");
        assert!(rule["ratio"]["value"].as_f64().expect("a ratio") > 2.0, "{rule:#}");
    };
    failed("idle_in_transaction.mean");
    failed("transaction_age.p50");
    assert!(printed.contains("pair 1/4 · baseline · scoped"), "progress on stderr: {printed}");

    let folder = place.run_folder();
    let record: Value = serde_json::from_slice(&std::fs::read(folder.join("paired.json")).unwrap()).unwrap();
    for window in record["windows"].as_array().expect("a list") {
        let of_window = folder.join(window["folder"].as_str().expect("a name"));
        assert!(of_window.join("record.json").is_file() && of_window.join("samples.ndjson").is_file(), "{window}");
    }
    place.assert_nothing_is_left(HANG);
}

#[test]
fn a_paired_gate_of_the_same_in_both_arms_does_not_fail() {
    let place = Place::new();
    let (document, code, printed) = paired_gate(&place, "scoped", "scoped", &["--pairs", "5", "--alpha", "10%"]);
    // Chance may leave a metric unclear on a machine as busy as one that runs tests; it must not fail one.
    assert!(matches!(code, Some(0 | 3)), "{document:#}\n{printed}");
    assert_ne!(document["verdict"], "failed", "{document:#}");
    let rules = document["rules"].as_array().expect("a list");
    assert_eq!(rules.len(), 3);
    assert!(rules.iter().all(|rule| rule["pairs"].as_u64().is_some_and(|pairs| pairs >= 4)), "{document:#}\n{printed}");
    place.assert_nothing_is_left(HANG);
}

#[test]
fn ctrl_c_in_a_paired_gate_ends_it_with_130_and_leaves_nothing() {
    let place = Place::new();
    let mut gate = place.start(&["gate", SMALL, "--paired"]);
    gate.wait_for_line("pair 1/10");
    gate.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(gate.wait(), Some(130));
    place.assert_nothing_is_left(HANG);
}

#[test]
fn a_paired_gate_that_makes_no_sense_is_refused_before_any_load() {
    for (flags, why) in [
        (vec!["--paired", "--pairs", "8"], "at least 9 are needed"),
        (vec!["--paired", "--metric", "latncy.p95"], "latency"),
        (vec!["--paired", "--rule", "pool_timeouts==0"], "about one run alone"),
        (vec!["--paired", "--candidate", "scopd"], "did you mean `scoped`?"),
        (vec!["--paired", "--alpha", "one"], "1% or 0.01"),
        (vec!["--paired", "--min-effect", "10"], "did you mean `10%`?"),
        (vec!["--pairs", "8"], "requires `--paired`"),
    ] {
        let place = Place::new();
        let output = place.output(&[&["gate", SMALL][..], &flags].concat());
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {printed}");
        assert!(printed.contains(why), "{flags:?}: {printed}");
        assert!(!place.reports().exists(), "no load for {flags:?}");
    }
}

#[test]
fn a_calibration_says_how_many_trials_failed_and_what_the_noise_is() {
    let place = Place::new();
    let short = ["--repeats", "1", "--pairs", "4", "--alpha", "10%", "--metric", "idle_in_transaction.mean", "--json"];
    let arms = ["calibrate", SMALL, "--variant", "scoped", "--settle", "200ms", "--measured", "1s"];
    let output = place.output(&[&arms[..], &short[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // The one trial has a verdict, or is counted beside those that have: a busy machine may leave it unclear.
    let judged = document["measured"]["trials"].as_u64().unwrap_or(0);
    assert_eq!(judged + document["inconclusive"].as_u64().unwrap(), 1, "{document:#}");
    assert_eq!(document["drawn"]["trials"], 20_000, "{document:#}");
    assert!(document["rules"][0]["scatter"].as_f64().is_some_and(|it| it >= 0.0), "{document:#}");
    place.assert_nothing_is_left(HANG);
}
