//! `report`, from run folders to what a browser makes of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::program::{Place, SMALL, text};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
const BROWSER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/report_in_browser.py");
const RECORD: &str = include_str!("../../fixtures/records/issue-2318.json");

/// A record with a distribution of latencies, which the fixture is too old to have.
fn record() -> Value {
    let mut record: Value = serde_json::from_str(RECORD).expect("JSON");
    for variant in ["held", "scoped"] {
        let points = [(0.0, 1.0), (50.0, 20.0), (90.0, 300.0), (95.0, 700.0), (99.0, 2000.0), (99.9, 9000.0)];
        let points = points.map(|(percentile, ms)| json!({ "percentile": percentile, "ms": ms }));
        record["variants"][variant]["latency_distribution"] = json!(points);
    }
    record
}

/// Samples of a run of 36 s: in `held`, 433 sessions idle in transaction from 10 s to 30 s.
fn samples() -> String {
    let mut lines = String::new();
    for (variant, plateau) in [("held", 433), ("scoped", 12)] {
        let mut say = |at_s: f64, mut sample: Value| {
            sample["variant"] = json!(variant);
            sample["at_s"] = json!(at_s);
            writeln!(lines, "{sample}").expect("writing to a string");
        };
        for tick in 0..=360 {
            let at_s = f64::from(tick) / 10.0;
            let idle = if (100..=300).contains(&tick) { plateau } else { tick % 7 };
            say(at_s, activity(idle));
            let mut load =
                json!({ "kind": "load", "users": 4000, "finished": tick * 30, "failed": tick, "in_flight": {} });
            if tick % 10 == 0 {
                load["latency_p50_ms"] = json!(20 + tick);
                load["latency_p95_ms"] = json!(200 + tick);
                load["latency_p99_ms"] = json!(2000 + tick);
                for replica in 1..=3 {
                    let down = replica == 2 && tick > 120 && variant == "held";
                    say(at_s, json!({ "kind": "health", "replica": replica, "up": !down, "error": null }));
                    let timeouts = if variant == "held" { tick / 100 } else { 0 };
                    say(
                        at_s,
                        json!({ "kind": "pools", "replica": replica, "checked_out": idle / 3 + tick % 20, "pending": tick % 30 + 1,
                                "timeouts": timeouts, "stalled_workers": 0, "errors": {} }),
                    );
                }
            }
            say(at_s, load);
        }
        say(12.1, json!({ "kind": "event", "event": "replica_down", "replica": 2 }));
    }
    lines
}

fn activity(idle_in_transaction: i32) -> Value {
    json!({ "kind": "activity", "sessions": 500, "active": 3, "idle": 9, "idle_in_transaction": idle_in_transaction,
            "idle_in_transaction_aborted": 0, "waiting_for_lock": 0, "oldest_transaction_s": f64::from(idle_in_transaction) / 20.0,
            "poll_ms": 1.0 })
}

/// A run folder in a place of its own.
fn folder(place: &Place, name: &str, record: &Value, samples: impl AsRef<[u8]>) -> PathBuf {
    let folder = place.reports().join(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("record.json"), record.to_string()).expect("written");
    fs::write(folder.join("samples.ndjson"), samples).expect("written");
    folder
}

fn report(place: &Place, runs: &[&Path]) -> Output {
    let mut arguments = vec!["report"];
    arguments.extend(runs.iter().map(|run| run.to_str().expect("UTF-8")));
    place.output(&arguments)
}

/// The file of one run, where it is written when nothing else is stated.
fn page(place: &Place, run: &Path) -> String {
    let output = report(place, &[run]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = run.join("report.html");
    assert_eq!(text(&output.stdout), format!("{}\n", path.display()), "and its path is printed");
    fs::read_to_string(path).expect("a report")
}

#[test]
fn a_report_is_painted_and_answers_in_a_real_browser() {
    assert!(Path::new(PYTHON).exists(), "`{PYTHON}` is missing: `make deps` brings it");
    let place = Place::new();
    let good = folder(&place, "good", &record(), samples());
    let evil = folder(&place, "evil", &hostile_record(), [samples().as_bytes(), &hostile_lines()].concat());
    page(&place, &good);
    page(&place, &evil);
    let trend = place.reports().join("trend.html");
    let runs = [&good, &evil, &good].map(|run| run.to_str().expect("UTF-8"));
    let arguments = [&["report", "-o", trend.to_str().expect("UTF-8")], &runs[..]].concat();
    let output = place.output(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = Command::new(PYTHON)
        .arg(BROWSER)
        .args([good.join("report.html"), evil.join("report.html"), trend])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

const HOSTILE: &str =
    "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"' onload='alert(3)\u{1b}[2J\0\u{202e}";

fn hostile_record() -> Value {
    let mut record = record();
    let long = HOSTILE.repeat(10_000_000 / HOSTILE.len());
    record["scenario"]["name"] = json!(HOSTILE);
    record["scenario"]["title"] = json!(HOSTILE);
    record["scenario"]["notes"] = json!([HOSTILE, "x".repeat(5_000)]);
    record["outcome"] = json!({ "failed": { "error": HOSTILE } });
    record["variants"]["held"]["routes"][0]["route"] = json!(HOSTILE);
    record["variants"]["held"]["errors"][0]["text"] = json!(long);
    record
}

/// Samples that nobody should write: invalid UTF-8, a long line, and no samples at all.
fn hostile_lines() -> Vec<u8> {
    let group =
        json!({ "statement": HOSTILE, "application_name": HOSTILE.repeat(10_000), "sessions": 1, "oldest_s": 1.0 });
    let breakdown = json!({ "variant": "held", "at_s": 1.0, "kind": "breakdown", "groups": [group] });
    let broken =
        b"{\"variant\":\"held\",\"at_s\":2,\"kind\":\"event\",\"event\":\"poll_failed\",\"error\":\"\xff\xfe\"}\n";
    [breakdown.to_string().as_bytes(), b"\n", broken, b"<script>alert(4)</script>\n", &[0xff, b'\n'], b"{}\n"].concat()
}

#[test]
fn hostile_samples_and_texts_are_counted_or_escaped() {
    let place = Place::new();
    let run = folder(&place, "evil", &hostile_record(), [samples().as_bytes(), &hostile_lines()].concat());
    let page = page(&place, &run);
    assert!(page.contains("3 lines of the samples could not be read"));
    assert!(page.contains("1 poll failed"), "a line with bytes that are no UTF-8 is read all the same");
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains('\u{1b}'));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn a_run_cut_off_by_a_power_loss_has_a_report_that_says_so() {
    let place = Place::new();
    let mut record = record();
    record["outcome"] = json!("running");
    record["variants"] = json!({});
    let all = samples();
    let run = folder(&place, "cut", &record, &all[..all.len() * 2 / 3]);
    let page = page(&place, &run);
    assert!(page.contains("This run has no end"), "the record says that it runs");
    assert!(page.contains("The samples end in the middle of a line"));
    assert!(page.contains("No figures of held, scoped: only its samples are there"));
    assert!(page.contains("peak 433"), "what was seen is drawn");
}

#[test]
fn the_rules_of_the_scenario_are_judged_in_the_report() {
    let place = Place::new();
    let mut record = record();
    record["scenario"]["gate"] = json!([
        { "rule": "idle_in_transaction.max<60", "because": "<b>pools</b> of 30" },
        { "rule": "pool_timeouts==0", "severity": "warn" },
    ]);
    let page = page(&place, &folder(&place, "gated", &record, samples()));
    let gate = page.split_once("id=\"h-gate\"").expect("the section").1.split_once("</section>").expect("its end").0;
    assert!(
        gate.contains("failed") && gate.contains("433") && gate.contains("idle_in_transaction.max&lt;60"),
        "{gate}"
    );
    assert!(gate.contains("&lt;b&gt;pools&lt;/b&gt; of 30"), "{gate}");
    assert!(gate.contains("passed"), "scoped has fewer than 60: {gate}");
}

#[test]
fn what_is_no_run_is_refused_and_nothing_is_written() {
    let place = Place::new();
    let nothing = place.reports().join("nothing");
    let output = report(&place, &[&nothing]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not a run folder"), "{}", text(&output.stderr));
    let run = folder(&place, "good", &record(), samples());
    fs::write(run.join("record.json"), "{\"format\": {\"version\": 99}}").expect("written");
    let output = report(&place, &[&run]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("format version 99"), "{}", text(&output.stderr));
    assert!(!run.join("report.html").exists());
    assert_eq!(report(&place, &[]).status.code(), Some(2), "no run at all");
}

#[test]
fn a_run_writes_its_report_at_the_end_with_latencies_of_each_second() {
    let place = Place::new();
    let output = place.output(&["run", SMALL, "--report"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = place.run_folder().join("report.html");
    assert!(text(&output.stdout).contains(&format!("report  {}", path.display())), "{}", text(&output.stdout));
    let page = fs::read_to_string(path).expect("a report");
    let peak = page.split_once("<output data-series=\"1.p99\">").expect("scoped, p99").1;
    assert!(peak.starts_with("peak "), "{}", &peak[..40]);
    assert!(page.contains("aria-labelledby=\"h-latency\""), "the record holds a distribution");
}
