//! The gate on real parts: what CI reads is the exit code.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{HANG, Place, SMALL, text};

/// A finished run of the small scenario, both variants.
struct Recorded {
    place: Place,
    folder: String,
}

impl Recorded {
    fn new() -> Self {
        let place = Place::new();
        let output = place.output(&["run", SMALL]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let folder = place.run_folder().display().to_string();
        Self { place, folder }
    }

    fn gate(&self, arguments: &[&str]) -> Output {
        self.place.output(&[&["gate", self.folder.as_str()], arguments].concat())
    }

    /// The run's folder again, with something changed in it.
    fn altered(&self, change: impl Fn(&Path)) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["record.json", "samples.ndjson"] {
            fs::copy(Path::new(&self.folder).join(name), folder.path().join(name)).unwrap();
        }
        change(folder.path());
        let path = folder.path().display().to_string();
        (folder, path)
    }

    /// The same, with something changed in the record.
    fn altered_record(&self, change: impl Fn(&mut Value)) -> (tempfile::TempDir, String) {
        self.altered(|folder| {
            let record = fs::read_to_string(folder.join("record.json")).unwrap();
            let mut record: Value = serde_json::from_str(&record).unwrap();
            change(&mut record);
            fs::write(folder.join("record.json"), record.to_string()).unwrap();
        })
    }
}

/// One run serves all questions about a finished run: it takes longer than all of them.
#[test]
fn a_recorded_run_is_judged_compared_and_learned_from() {
    let run = Recorded::new();
    the_fix_passes_and_the_bug_fails_by_the_scenario_s_own_rules(&run);
    a_wrong_rule_or_variant_is_refused(&run);
    missing_data_is_inconclusive_and_never_a_pass(&run);
    runs_and_variants_are_compared_in_every_format(&run);
    a_baseline_of_other_conditions_warns_unless_it_is_trusted(&run);
    limits_are_learned_from_a_healthy_run(&run);
}

fn verdict(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn the_fix_passes_and_the_bug_fails_by_the_scenario_s_own_rules(run: &Recorded) {
    let scoped = run.gate(&["--variant", "scoped", "--json"]);
    assert_eq!(scoped.status.code(), Some(0), "{}", text(&scoped.stdout));
    assert_eq!(verdict(&scoped)["verdict"], "passed");

    let held = run.gate(&["--variant", "held", "--json"]);
    assert_eq!(held.status.code(), Some(99), "{}", text(&held.stdout));
    let verdict = verdict(&held);
    assert_eq!(verdict["verdict"], "failed");
    let broken =
        |rule: &str| verdict["rules"].as_array().unwrap().iter().find(|it| it["rule"] == rule).unwrap().clone();
    assert_eq!(broken("pool_timeouts==0")["verdict"], "failed");
    assert!(broken("idle_in_transaction.max<=3")["measured"].as_f64().unwrap() >= 6.0);
    assert_eq!(broken("latency.p95<600ms for tools/call")["severity"], "warn");
    assert!(verdict["reproduce"][0].as_str().unwrap().ends_with("--rerun --variant held"), "{verdict}");

    let both = run.gate(&[]);
    assert_eq!(both.status.code(), Some(99), "each variant is judged: {}", text(&both.stdout));
    assert!(text(&both.stdout).contains("because a checkout that times out is the incident"), "{}", text(&both.stdout));
}

#[test]
fn a_wrong_rule_is_refused_before_any_load() {
    let place = Place::new();
    for (rule, said) in [
        ("idle_in_transactoin.max<60", "did you mean `idle_in_transaction`?"),
        ("idle_in_transaction.p99<60", "has no `.p99`"),
        ("latency.p95<1s for tools/cal", "did you mean `tools/call`?"),
        ("latency.p95<=+10% vs baseline", "needs a baseline"),
    ] {
        let output = place.output(&["gate", SMALL, "--variant", "scoped", "--rule", rule]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said) && output.stdout.is_empty(), "{stderr}");
    }
    assert!(!place.reports().exists(), "nothing was run");
    assert_eq!(place.output(&["gate", "nowhere"]).status.code(), Some(2));
}

fn a_wrong_rule_or_variant_is_refused(run: &Recorded) {
    for arguments in
        [["--rule", "nonsense<1"], ["--rule", "failure_rate<1% for GET /nowhere"], ["--variant", "across_render"]]
    {
        assert_eq!(run.gate(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_wrong_rule_in_a_scenario_is_refused_by_run_and_by_the_check() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, fs::read_to_string(SMALL).unwrap().replace("pool_timeouts==0", "pool_timeout==0")).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [&["run", file][..], &["run", file, "--gate"], &["gate", file]] {
        let output = place.output(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("did you mean `pool_timeouts`?"), "{}", text(&output.stderr));
    }
    let check = place.output(&["scenario", "check", file]);
    assert_eq!(check.status.code(), Some(2));
    assert!(text(&check.stdout).contains("`pool_timeout` is no metric"), "{}", text(&check.stdout));
}

fn missing_data_is_inconclusive_and_never_a_pass(run: &Recorded) {
    let code = |folder: &str, rule: &str| {
        run.place.output(&["gate", folder, "--variant", "scoped", "--rule", rule]).status.code()
    };
    let (_kept, without_samples) = run.altered(|folder| fs::remove_file(folder.join("samples.ndjson")).unwrap());
    assert_eq!(code(&without_samples, "idle_in_transaction.p95<=3"), Some(3));
    assert_eq!(code(&without_samples, "idle_in_transaction.max<=3"), Some(0), "the summary has it");

    let (_kept, cut_off) = run.altered(|folder| {
        let samples = fs::read(folder.join("samples.ndjson")).unwrap();
        fs::write(folder.join("samples.ndjson"), &samples[..samples.len() * 3 / 4]).unwrap();
    });
    assert_eq!(code(&cut_off, "idle_in_transaction.max<=3"), Some(3), "the end of `scoped` is lost");

    let (_kept, unfinished) = run.altered_record(|record| {
        record["outcome"] = "running".into();
        record["variants"].as_object_mut().unwrap().remove("scoped");
    });
    assert_eq!(code(&unfinished, "pool_timeouts==0"), Some(3));
    assert_eq!(run.gate(&["--variant", "scoped", "--rule", "pool_wait.p99<50ms"]).status.code(), Some(3));
}

#[test]
fn a_scenario_is_run_and_judged_and_ci_is_told() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let (junit, summary) = (folder.path().join("out/gate.xml"), folder.path().join("summary.md"));
    let mut program = place.program();
    program.args(["-q", "gate", SMALL, "--variant", "held", "--junit", junit.to_str().unwrap()]);
    program.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    let output = program.output().unwrap();
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(99), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("\n::error title=gate FAILED%3A pool_timeouts==0::held: measured "), "{stdout}");
    assert!(fs::read_to_string(summary).unwrap().contains("| FAILED | held |"));
    let xml = fs::read_to_string(junit).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let suite = &report.test_suites[0];
    assert_eq!((suite.tests, report.tests), (4, 4), "{xml}");
    assert!(suite.failures >= 2 && suite.errors == 0, "{xml}");
    assert!(xml.contains("rbac-bench gate"), "the command that reproduces it: {xml}");
    place.assert_nothing_is_left(HANG);
}

#[test]
fn run_judges_at_its_end_when_asked_to() {
    let place = Place::new();
    let output = place.output(&["-q", "run", SMALL, "--variant", "scoped", "--gate", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary = verdict(&output);
    assert_eq!(summary["gate"]["verdict"], "passed", "{summary}");
    assert!(summary["variants"]["scoped"]["requests"].as_u64() > Some(0));
}

#[test]
fn a_starved_monitor_is_inconclusive() {
    let place = Place::new();
    let mut run = place.start(&["gate", SMALL, "--variant", "scoped", "--rule", "idle_in_transaction.max<=3"]);
    run.wait_for_line("steady ");
    run.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(2500));
    run.signal(Signal::SIGCONT);
    assert_eq!(run.wait(), Some(3));
    place.assert_nothing_is_left(HANG);
}

#[test]
fn ctrl_c_ends_a_gate_with_130_and_leaves_nothing() {
    let place = Place::new();
    let mut run = place.start(&["gate", SMALL, "--variant", "scoped", "--duration", "60s"]);
    run.wait_for_line("steady ");
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(), Some(130));
    place.assert_nothing_is_left(HANG);
}

fn runs_and_variants_are_compared_in_every_format(run: &Recorded) {
    let folder = run.folder.clone();
    let compare = |arguments: &[&str]| {
        let mut all = vec!["compare", folder.as_str()];
        all.extend(arguments);
        let output = run.place.output(&all);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let json: Value = serde_json::from_str(&compare(&["--json"])).unwrap();
    let comparison = &json["comparisons"][0];
    assert_eq!((&comparison["baseline"], &comparison["candidate"]), (&"held".into(), &"scoped".into()));
    let marks: Vec<&Value> = comparison["rows"].as_array().unwrap().iter().map(|row| &row["mark"]).collect();
    assert!(marks.contains(&&Value::from("better")) && !marks.contains(&&Value::from("incomparable")), "{json}");
    assert_eq!(json["variants"]["scoped"]["pool_timeouts"], 0);
    let same: Value = serde_json::from_str(&compare(&[&folder, "--variant", "held", "--json"])).unwrap();
    assert!(
        same["comparisons"][0]["rows"].as_array().unwrap().iter().all(|row| row["mark"] == "within_noise"),
        "{same}"
    );
    assert!(compare(&["--format", "csv"]).starts_with("baseline_variant,candidate_variant,metric,unit,"));
    assert!(compare(&["--format", "markdown"]).contains("| pool_timeouts |"));
    assert!(compare(&["--format", "prometheus"]).ends_with("# EOF\n"));
    assert!(compare(&[]).contains("WORSE") || compare(&[]).contains("better"));
}

fn a_baseline_of_other_conditions_warns_unless_it_is_trusted(run: &Recorded) {
    let (_kept, elsewhere) = run.altered_record(|record| record["machine"]["cores"] = 64.into());
    let rule = "idle_in_transaction.mean<=+10% vs baseline";
    let judged = |baseline: &str, more: &[&str]| {
        let mut all = vec!["--variant", "held", "--baseline", baseline, "--baseline-variant", "scoped", "--rule", rule];
        all.extend(more);
        run.gate(&all)
    };
    assert_eq!(judged(&run.folder, &[]).status.code(), Some(99));
    let advised = judged(&elsewhere, &[]);
    assert_eq!(advised.status.code(), Some(0), "{}", text(&advised.stdout));
    assert!(text(&advised.stdout).contains("another machine"), "{}", text(&advised.stdout));
    assert_eq!(judged(&elsewhere, &["--trust-baseline"]).status.code(), Some(99));
}

fn limits_are_learned_from_a_healthy_run(run: &Recorded) {
    let folder = run.folder.clone();
    let limits = run.place.output(&["gate", "--learn", &folder, "--variant", "scoped", "--window", "300ms"]);
    let toml = text(&limits.stdout);
    assert_eq!(limits.status.code(), Some(0), "{}", text(&limits.stderr));
    assert!(toml.contains("[[gate]]") && toml.contains("% of healthy runs break a given rule"), "{toml}");
    assert_eq!(
        run.place.output(&["gate", "--learn", &folder, "--variant", "held"]).status.code(),
        Some(2),
        "no healthy run"
    );
    let scenario = tempfile::tempdir().unwrap();
    let file = scenario.path().join("learned.toml");
    let base = fs::read_to_string(SMALL).unwrap();
    let base = base.split("# What CI asks of it").next().unwrap();
    fs::write(&file, format!("{base}\n{toml}")).unwrap();
    let checked = run.place.output(&["scenario", "check", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
}
