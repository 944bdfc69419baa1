//! Gates on the record of a healthy run in which something is missing, contradictory or bad, and on healthy ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Bench, Kiosk, Mode, RULES, outcome, read_record};
use crate::program::text;

/// A finished, healthy run of a kiosk.
struct Healthy {
    bench: Bench,
    record: Value,
    samples: Vec<Value>,
    /// Folder of altered copies.
    copies: TempDir,
}

/// Changes a record and its samples.
type Change = fn(&mut Value, &mut Vec<Value>);

impl Healthy {
    fn run() -> Self {
        let bench = Bench::new();
        let kiosk = Kiosk::start(Mode::Fine);
        let scenario = bench.write(&kiosk.url, "", super::ROUTES, RULES);
        let ran = bench.output(&["run", &scenario]);
        assert!(ran.status.success(), "{}", outcome(&ran));
        let folder = bench.place.run_folder();
        let line = |line: &str| serde_json::from_str(line).expect("a sample");
        let samples = fs::read_to_string(folder.join("samples.ndjson")).expect("samples").lines().map(line).collect();
        Self { bench, record: read_record(&folder), samples, copies: tempfile::tempdir().expect("a folder") }
    }

    /// A copy with something changed in it.
    fn altered(&self, name: &str, change: Change) -> PathBuf {
        let (mut record, mut samples) = (self.record.clone(), self.samples.clone());
        change(&mut record, &mut samples);
        let lines: Vec<String> = samples
            .iter()
            // A text among the samples stands for a line as it is.
            .map(|sample| sample.as_str().map_or_else(|| sample.to_string(), str::to_owned))
            .collect();
        // A text at the end is a line that was cut off.
        let end = if samples.last().is_some_and(Value::is_string) { "" } else { "\n" };
        self.write(name, &record.to_string(), &(lines.join("\n") + end))
    }

    fn write(&self, name: &str, record: &str, samples: &str) -> PathBuf {
        let folder = self.copies.path().join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        fs::create_dir(&folder).expect("a name of its own");
        fs::write(folder.join("record.json"), record).expect("a record");
        fs::write(folder.join("samples.ndjson"), samples).expect("samples");
        folder
    }

    fn gate(&self, folder: &Path, arguments: &[&str]) -> std::process::Output {
        let folder = folder.display().to_string();
        self.bench.output(&[&["gate", folder.as_str()], arguments].concat())
    }
}

fn variant(record: &mut Value) -> &mut Value {
    &mut record["variants"]["service"]
}

/// The steady phase, in seconds.
fn steady(record: &Value) -> (f64, f64) {
    let second = |key: &str| record["variants"]["service"]["phases"][key].as_f64().expect("seconds");
    (second("steady_from_s"), second("steady_to_s"))
}

fn is_of(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |sample| sample["kind"] == kind
}

/// Which sample is the first of the second half of the steady phase: a slow machine has most samples at one end.
fn half(record: &Value, samples: &[Value]) -> usize {
    let (from_s, to_s) = steady(record);
    let is_before = |it: &Value| it["at_s"].as_f64().expect("seconds") < f64::midpoint(from_s, to_s);
    samples.iter().position(|it| !is_before(it)).expect("a second half")
}

/// Takes samples of a kind out of the middle of the steady phase.
fn gap(record: &Value, samples: &mut Vec<Value>, kind: &'static str) {
    let (from_s, to_s) = steady(record);
    let third = (to_s - from_s) / 3.0;
    let middle = (from_s + third * 0.9)..(to_s - third * 0.9);
    samples.retain(|it| !is_of(kind)(it) || !middle.contains(&it["at_s"].as_f64().expect("seconds")));
}

/// Stretches the run, so that its gaps are as long as those of a run of half a minute.
fn stretched(record: &mut Value, samples: &mut [Value], factor: f64) {
    for sample in samples {
        sample["at_s"] = json!(sample["at_s"].as_f64().expect("seconds") * factor);
    }
    record["scenario"]["monitor"]["interval"] = json!("2s");
    for key in ["steady_from_s", "steady_to_s", "ended_s"] {
        let phases = &mut variant(record)["phases"];
        phases[key] = json!(phases[key].as_f64().expect("seconds") * factor);
    }
}

fn pools(at_s: f64, checked_out: Option<u32>) -> Value {
    json!({ "variant": "service", "at_s": at_s, "kind": "pools", "replica": 1, "checked_out": checked_out,
        "pending": checked_out, "timeouts": checked_out, "stalled_workers": null, "errors": {} })
}

/// Ways in which a record of a healthy run is no evidence: what is changed, by which rules it is judged, and what it must say.
const BAD: &[(&str, Change, &[&str], &str)] = &[
    ("no samples", |_, s| s.clear(), &[], "no samples"),
    (
        "samples of another variant",
        |_, s| s.iter_mut().for_each(|it| it["variant"] = json!("other")),
        &[],
        "no samples",
    ),
    ("the second half is cut", |r, s| s.truncate(half(r, s)), &[], ""),
    ("the first half is cut", |r, s| drop(s.drain(..half(r, s))), &[], ""),
    ("a line is no sample", |_, s| s.insert(9, json!("no sample")), &[], "could not be read"),
    (
        "a line is cut in the middle",
        |_, s| s.insert(9, json!("{\"variant\":\"service\",\"at_s\":1.0,\"ki")),
        &[],
        "read",
    ),
    ("NaN among the samples", |_, s| s.insert(9, json!("{\"at_s\":NaN}")), &[], "could not be read"),
    ("no polls", |_, s| s.retain(|it| !is_of("activity")(it)), &[], "without a poll"),
    ("no samples of the load", |_, s| s.retain(|it| !is_of("load")(it)), &["latency.p95<1s"], "stood still"),
    ("a gap in the polls", |r, s| gap(r, s, "activity"), &[], "without a poll"),
    ("a gap in the load", |r, s| gap(r, s, "load"), &["latency.p95<1s"], "stood still"),
    (
        "a gap in the health probes",
        |r, s| {
            stretched(r, s, 12.0);
            gap(r, s, "health");
        },
        &["replicas_healthy>=1"],
        "`replicas_healthy` have a gap",
    ),
    (
        "a gap in the gauges",
        |r, s| {
            stretched(r, s, 12.0);
            let (from_s, to_s) = steady(r);
            s.extend([from_s, from_s + 0.5, to_s - 0.5, to_s].map(|at_s| pools(at_s, Some(1))));
        },
        &["pool_checked_out<5"],
        "`pool_checked_out` have a gap",
    ),
    (
        "gauges without an answer",
        |r, s| {
            let (from_s, to_s) = steady(r);
            s.extend([(from_s, Some(1)), (from_s + 0.5, None), (to_s, Some(1))].map(|(at, out)| pools(at, out)));
        },
        &["pool_pending<5"],
        "could not be read 1 of 3 times",
    ),
    ("no gauges", |_, _| {}, &["pool_timeouts==0"], ""),
    ("no waits for the pool", |_, _| {}, &["pool_wait.p99<50ms"], "does not hold"),
    ("no scan", |_, _| {}, &["hold.seconds<50ms for GET /items"], "no scan"),
    ("no request", |r, _| variant(r)["summary"]["requests"] = json!(0), &[], "no request finished"),
    (
        "every request fails",
        |r, _| {
            variant(r)["summary"]["failure_ratio"] = json!(1.0);
            variant(r)["routes"]
                .as_array_mut()
                .expect("routes")
                .iter_mut()
                .for_each(|it| it["failures"] = it["requests"].clone());
        },
        &[],
        "100 % of the requests failed",
    ),
    (
        "a tenth of the requests fails",
        |r, _| variant(r)["summary"]["failure_ratio"] = json!(0.1),
        &[],
        "% of the requests failed",
    ),
    (
        "one route fails",
        |r, _| variant(r)["routes"][0]["failures"] = variant(r)["routes"][0]["requests"].clone(),
        &["idle_in_transaction.max<10"],
        "100 % of the requests to",
    ),
    (
        "the route of the rule fails now and then",
        |r, _| {
            let index = usize::from(variant(r)["routes"][0]["route"] != "GET /items");
            let route = &mut variant(r)["routes"][index];
            route["failures"] = json!(route["requests"].as_u64().expect("a count") / 10);
        },
        &["latency.p95<1s for GET /items"],
        "of the requests to `GET /items` failed",
    ),
    (
        "nothing succeeds at the end",
        |r, s| {
            let (_, to_s) = steady(r);
            let mut last: Option<(u64, u64)> = None;
            for it in s.iter_mut().filter(|it| is_of("load")(it)) {
                let (finished, failed) =
                    (it["finished"].as_u64().expect("a count"), it["failed"].as_u64().expect("a count"));
                if it["at_s"].as_f64() > Some(to_s - 1.4) {
                    let succeeded = last.get_or_insert((finished, failed));
                    it["failed"] = json!(finished - (succeeded.0 - succeeded.1));
                }
            }
        },
        &["latency.p95<1s"],
        "no request succeeded for",
    ),
    (
        "a route that never ran",
        |r, _| variant(r)["routes"].as_array_mut().expect("routes").retain(|it| it["route"] != "GET /items"),
        &["latency.p95<1s for GET /items"],
        "no request of `GET /items`",
    ),
    (
        "a figure that is not there",
        |r, _| variant(r)["summary"]["latency_p95_ms"] = Value::Null,
        &["latency.p95<1s"],
        "",
    ),
    ("the variant is missing", |r, _| r["variants"] = json!({}), &[], "was not measured"),
    ("the run goes on", |r, _| (r["outcome"], r["variants"]) = (json!("running"), json!({})), &[], "was killed"),
    (
        "the run was interrupted",
        |r, _| (r["outcome"], r["variants"]) = (json!("interrupted"), json!({})),
        &[],
        "interrupted",
    ),
    (
        "the run failed",
        |r, _| (r["outcome"], r["variants"]) = (json!({ "failed": { "error": "no disk" } }), json!({})),
        &[],
        "the run failed: no disk",
    ),
    ("the variant is cut short", |r, _| variant(r)["complete"] = json!(false), &[], "cut short"),
    ("polls were missed", |r, _| variant(r)["summary"]["polls_missed"] = json!(1000), &[], "gave none"),
    ("polls were late", |r, _| variant(r)["generator"]["polls_late"] = json!(1000), &[], "began late"),
    ("samples were dropped", |r, _| variant(r)["generator"]["samples_dropped"] = json!(1), &[], "too slow"),
    (
        "requests did not begin",
        |r, _| {
            variant(r)["generator"]["schedule"] =
                json!({ "started": 9, "not_started": 1, "lag_p99_ms": 1.0, "lag_max_ms": 1.0 });
        },
        &[],
        "did not begin",
    ),
    (
        "requests began late",
        |r, _| {
            variant(r)["generator"]["schedule"] =
                json!({ "started": 9, "not_started": 0, "lag_p99_ms": 99.0, "lag_max_ms": 99.0 });
        },
        &[],
        "fell behind",
    ),
    (
        "requests never came back",
        |r, _| {
            variant(r)["generator"]["cut_off_oldest_s"] = json!(2.9);
            variant(r)["summary"]["requests_cut_off"] = json!(900);
        },
        &["latency.p95<1s"],
        "still unanswered",
    ),
    (
        "the server counts more than was seen",
        |r, _| variant(r)["summary"]["idle_in_transaction_counted_s"] = json!(900.0),
        &["idle_in_transaction.max<10"],
        "the server counts",
    ),
    (
        "no session took part",
        |r, _| variant(r)["monitor"]["sessions_with_activity"] = json!(0),
        &[],
        "no session took part",
    ),
    (
        "the processors were the limit",
        |r, _| variant(r)["machine_load"] = json!({ "busy_ratio": 0.99, "run_queue_delay_ms": 2.5 }),
        &["latency.p95<1s"],
        "this machine was the limit",
    ),
    (
        "the steady phase is empty",
        |r, _| variant(r)["phases"]["steady_to_s"] = variant(r)["phases"]["steady_from_s"].clone(),
        &[],
        "",
    ),
    ("the steady phase ends before it begins", |r, _| variant(r)["phases"]["steady_to_s"] = json!(-1.0), &[], ""),
    (
        "the clock jumps forward",
        |r, s| {
            let half = half(r, s);
            s[half..].iter_mut().for_each(|it| it["at_s"] = json!(it["at_s"].as_f64().expect("seconds") + 3600.0));
        },
        &[],
        "",
    ),
    (
        "the clock jumps back",
        |r, s| {
            let half = half(r, s);
            s[half..].iter_mut().for_each(|it| it["at_s"] = json!(it["at_s"].as_f64().expect("seconds") - 3600.0));
        },
        &[],
        "",
    ),
    (
        "the figure is too high",
        |_, s| s.iter_mut().filter(|it| is_of("activity")(it)).for_each(|it| it["idle_in_transaction"] = json!(70)),
        &[],
        "",
    ),
];

#[test]
fn no_record_that_is_no_evidence_is_green() {
    let healthy = Healthy::run();
    let mut green = Vec::new();
    for (name, change, rules, must_print) in BAD {
        let folder = healthy.altered(name, *change);
        let rules: Vec<&str> = rules.iter().flat_map(|rule| ["--rule", rule]).collect();
        let judged = healthy.gate(&folder, &rules);
        let printed = outcome(&judged);
        if !matches!(judged.status.code(), Some(3 | 99)) || !printed.contains(must_print) {
            green.push(format!("{name}: {printed}"));
        }
    }
    assert!(green.is_empty(), "{} of {}:\n{}", green.len(), BAD.len(), green.join("\n\n"));
    baselines_that_are_no_evidence_decide_nothing(&healthy);
    candidates_that_did_no_work_are_not_excused(&healthy);
    what_harms_no_evidence_stays_green(&healthy);
}

/// Baselines against which everything would pass.
fn baselines_that_are_no_evidence_decide_nothing(healthy: &Healthy) {
    let run = healthy.altered("judged", |_, _| {});
    let bad: [(&str, Change, &str, &str); 5] = [
        (
            "a baseline that fails",
            |r, _| variant(r)["summary"]["failure_ratio"] = json!(1.0),
            "failure_rate<=+10% vs baseline",
            "no run can exceed",
        ),
        (
            "a baseline that fails, by its latency",
            |r, _| variant(r)["summary"]["failure_ratio"] = json!(1.0),
            "latency.p95<=+1000% vs baseline",
            "in the baseline, 100 % of the requests failed",
        ),
        (
            "a baseline without samples",
            |_, s| s.clear(),
            "idle_in_transaction.mean<=+10% vs baseline",
            "in the baseline",
        ),
        ("a baseline without the variant", |r, _| r["variants"] = json!({}), "latency.p95<=+10% vs baseline", ""),
        (
            "a baseline in which no session took part",
            |r, _| variant(r)["monitor"]["sessions_with_activity"] = json!(0),
            "idle_in_transaction.mean<=+10% vs baseline",
            "in the baseline, no session took part",
        ),
    ];
    for (name, change, rule, must_print) in bad {
        let baseline = healthy.altered(name, change).display().to_string();
        let judged = healthy.gate(&run, &["--baseline", &baseline, "--rule", rule]);
        let printed = outcome(&judged);
        assert!(judged.status.code() == Some(3) && printed.contains(must_print), "{name}: {printed}");
    }
}

/// Candidates that did no work, against a healthy baseline: of the same machine, and of another one, which only warns otherwise.
fn candidates_that_did_no_work_are_not_excused(healthy: &Healthy) {
    let here = healthy.altered("baseline", |_, _| {}).display().to_string();
    let elsewhere = healthy.altered("baseline elsewhere", |r, _| r["machine"]["cores"] = json!(64));
    let baselines = [here, elsewhere.display().to_string()];
    let candidates: [(&str, Change); 3] = [
        ("it answers only 404", |r, _| {
            variant(r)["summary"]["failure_ratio"] = json!(1.0);
            variant(r)["monitor"]["sessions_with_activity"] = json!(0);
        }),
        ("its sessions are elsewhere", |r, _| variant(r)["monitor"]["sessions_with_activity"] = json!(0)),
        ("most of it fails", |r, _| variant(r)["summary"]["failure_ratio"] = json!(0.6)),
    ];
    for (name, change) in candidates {
        let candidate = healthy.altered(name, change);
        for against in &baselines {
            for rule in ["failure_rate<=+10% vs baseline", "latency.p95<=+10% vs baseline"] {
                let judged = healthy.gate(&candidate, &["--baseline", against, "--rule", rule]);
                let code = judged.status.code();
                assert!(code == Some(3) || code == Some(99), "{name}, {rule}: {}", outcome(&judged));
            }
        }
    }
}

/// Changes that a healthy run has now and then.
const FINE: &[(&str, Change, &[&str])] = &[
    ("as it is", |_, _| {}, &[]),
    ("with rules on failures", |_, _| {}, &["failure_rate<=1%"]),
    ("with a rule on throughput", |_, _| {}, &["throughput>=1"]),
    ("with a rule on successes", |_, _| {}, &["goodput>=1"]),
    ("with a rule on requests", |_, _| {}, &["requests>=10"]),
    ("with a rule on health", |_, _| {}, &["replicas_healthy>=1"]),
    ("with a rule on a route", |_, _| {}, &["latency.p99<1s for GET /items"]),
    ("with a rule on sessions", |_, _| {}, &["sessions.max<99", "waiting_for_lock.max<=0"]),
    ("one request in a hundred fails", |r, _| variant(r)["summary"]["failure_ratio"] = json!(0.01), &[]),
    (
        "failures, and a rule on them",
        |r, _| variant(r)["summary"]["failure_ratio"] = json!(0.5),
        &["failure_rate<=60%"],
    ),
    ("a late poll", |r, _| variant(r)["generator"]["polls_late"] = json!(1), &[]),
    ("a missed poll", |r, _| variant(r)["summary"]["polls_missed"] = json!(1), &[]),
    ("the last line is cut", |_, s| s.push(json!("{\"variant\":\"serv")), &[]),
    ("a request cut off", |r, _| variant(r)["summary"]["requests_cut_off"] = json!(1), &[]),
    (
        "a busy machine in which no thread waits",
        |r, _| variant(r)["machine_load"] = json!({ "busy_ratio": 0.99, "run_queue_delay_ms": 0.3 }),
        &[],
    ),
    ("an idle machine", |r, _| variant(r)["machine_load"] = json!({ "busy_ratio": 0.1, "stalled_ratio": 0.05 }), &[]),
    ("an earlier program's record", |r, _| drop(variant(r).as_object_mut().expect("a table").remove("monitor")), &[]),
    ("no count of the server", |r, _| variant(r)["summary"]["idle_in_transaction_counted_s"] = Value::Null, &[]),
    (
        "no session, and none is needed",
        |r, _| {
            variant(r)["monitor"]["sessions_with_activity"] = json!(0);
            r["scenario"]["database"]["expect_sessions"] = json!(false);
        },
        &[],
    ),
    ("one session took part", |r, _| variant(r)["monitor"]["sessions_with_activity"] = json!(1), &[]),
];

fn what_harms_no_evidence_stays_green(healthy: &Healthy) {
    let mut red = Vec::new();
    for (name, change, rules) in FINE {
        let folder = healthy.altered(name, *change);
        let rules: Vec<&str> = rules.iter().flat_map(|rule| ["--rule", rule]).collect();
        let judged = healthy.gate(&folder, &rules);
        if judged.status.code() != Some(0) {
            red.push(format!("{name}: {}", outcome(&judged)));
        }
    }
    assert!(red.is_empty(), "{} of {}:\n{}", red.len(), FINE.len(), red.join("\n\n"));
}

#[test]
fn a_record_that_cannot_be_read_is_refused() {
    let healthy = Healthy::run();
    let record = healthy.record.to_string();
    for (name, text_of_record) in [("cut", &record[..record.len() / 2]), ("empty", ""), ("no record", "[]")] {
        let folder = healthy.write(name, text_of_record, "");
        let judged = healthy.gate(&folder, &[]);
        assert_eq!(judged.status.code(), Some(2), "{name}: {}", text(&judged.stderr));
    }
}
