//! The gate on real parts: what CI reads is the exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
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
        let folder = tempfile::tempdir().expect("as it must be in this test");
        for name in ["record.json", "samples.ndjson"] {
            fs::copy(Path::new(&self.folder).join(name), folder.path().join(name)).expect("as it must be in this test");
        }
        change(folder.path());
        let path = folder.path().display().to_string();
        (folder, path)
    }

    /// The same, with something changed in the record.
    fn altered_record(&self, change: impl Fn(&mut Value)) -> (tempfile::TempDir, String) {
        self.altered(|folder| {
            let record = fs::read_to_string(folder.join("record.json")).expect("as it must be in this test");
            let mut record: Value = serde_json::from_str(&record).expect("as it must be in this test");
            change(&mut record);
            fs::write(folder.join("record.json"), record.to_string()).expect("as it must be in this test");
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
    let broken = |rule: &str| {
        verdict["rules"]
            .as_array()
            .expect("as it must be in this test")
            .iter()
            .find(|it| it["rule"] == rule)
            .expect("as it must be in this test")
            .clone()
    };
    assert_eq!(broken("pool_timeouts==0")["verdict"], "failed");
    assert!(broken("idle_in_transaction.max<=3")["measured"].as_f64().expect("as it must be in this test") >= 6.0);
    assert_eq!(broken("latency.p95<600ms for tools/call")["severity"], "warn");
    assert!(
        verdict["reproduce"][0].as_str().expect("as it must be in this test").ends_with("--rerun --variant held"),
        "{verdict}"
    );

    let both = run.gate(&[]);
    assert_eq!(both.status.code(), Some(99), "each variant is judged: {}", text(&both.stdout));
    a_failure_stays_one_whoever_reads_it(run);
    a_recorded_run_is_run_again_with_what_is_set(run);
    assert!(text(&both.stdout).contains("because a checkout that times out is the incident"), "{}", text(&both.stdout));
}

fn a_recorded_run_is_run_again_with_what_is_set(run: &Recorded) {
    let set = ["--variant", "scoped", "--users", "3", "--rule", "latency.p95<=+500% vs baseline", "--json"];
    assert_eq!(run.gate(&set).status.code(), Some(2), "of a run that is over nothing can be set");
    let again = [&["--rerun", "--baseline", run.folder.as_str()], &set[..]].concat();
    let output = run.gate(&again);
    let verdict = verdict(&output);
    assert_eq!(output.status.code(), Some(0), "{verdict}");
    let reason = verdict["rules"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("another `load.users`, 40 instead of 3"), "{verdict}");
}

/// Nobody reads, or the verdict's file cannot be written.
fn a_failure_stays_one_whoever_reads_it(run: &Recorded) {
    let folder = tempfile::tempdir().expect("as it must be in this test");
    let junit = folder.path().join("gate.xml");
    let (reader, writer) = std::io::pipe().expect("as it must be in this test");
    drop(reader);
    let mut program = run.place.program();
    program.args(["gate", &run.folder, "--variant", "held", "--junit", &junit.display().to_string()]);
    let code = program.stdout(writer).status().expect("as it must be in this test").code();
    assert_eq!(code, Some(99));
    assert!(fs::read_to_string(junit).expect("as it must be in this test").contains("<testsuites"));
    let unwritable = run.gate(&["--variant", "held", "--junit", &folder.path().display().to_string()]);
    assert_eq!(unwritable.status.code(), Some(2), "{}", text(&unwritable.stderr));
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
    let file = place.tmp().join("no_rules_left.toml");
    let small = fs::read_to_string(SMALL).expect("as it must be in this test");
    let small = small.split("# What CI asks of it").next().expect("as it must be in this test").to_owned();
    fs::write(&file, small + "[[gate]]\nrule = \"latency.p95<=+10% vs baseline\"\n")
        .expect("as it must be in this test");
    for command in [&["run", "--gate"][..], &["gate"]] {
        let output = place.output(&[command, &[&file.display().to_string()]].concat());
        let stderr = text(&output.stderr);
        assert!(stderr.contains("is left out: it needs a baseline") && stderr.contains("there is no rule"), "{stderr}");
        assert_eq!(output.status.code(), Some(2), "nothing is left to judge by");
    }
    let file = place.tmp().join("scoped_only.toml");
    let one = fs::read_to_string(SMALL).expect("as it must be in this test");
    let one = one.split("# What CI asks of it").next().expect("as it must be in this test").to_owned();
    let rule = "[[gate]]\nrule = \"pool_timeouts==0\"\nvariants = [\"scoped\"]\n";
    fs::write(&file, one + rule).expect("as it must be in this test");
    let output = place.output(&["run", &file.display().to_string(), "--variant", "held", "--gate"]);
    assert_eq!(output.status.code(), Some(2), "no rule concerns `held`: {}", text(&output.stderr));
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
    let folder = tempfile::tempdir().expect("as it must be in this test");
    let file = folder.path().join("mine.toml");
    fs::write(
        &file,
        fs::read_to_string(SMALL).expect("as it must be in this test").replace("pool_timeouts==0", "pool_timeout==0"),
    )
    .expect("as it must be in this test");
    let file = file.to_str().expect("as it must be in this test");
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
    let (_kept, without_samples) =
        run.altered(|folder| fs::remove_file(folder.join("samples.ndjson")).expect("as it must be in this test"));
    assert_eq!(code(&without_samples, "idle_in_transaction.p95<=3"), Some(3));
    assert_eq!(code(&without_samples, "idle_in_transaction.max<=3"), Some(3), "a summary alone is not checked");
    let (_kept, bad_line) = run.altered(|folder| {
        let samples = fs::read(folder.join("samples.ndjson")).expect("as it must be in this test");
        let bad = [b"{\xff}\n".as_slice(), &samples].concat();
        fs::write(folder.join("samples.ndjson"), bad).expect("as it must be in this test");
    });
    assert_eq!(code(&bad_line, "idle_in_transaction.max<=3"), Some(3), "a line that cannot be read");
    assert_eq!(code(&bad_line, "latency.p95<5s"), Some(0), "it is no doubt about the users' own figures");
    assert_eq!(run.place.output(&["compare", &bad_line]).status.code(), Some(0));

    let (_kept, cut_off) = run.altered(|folder| {
        let samples = fs::read(folder.join("samples.ndjson")).expect("as it must be in this test");
        fs::write(folder.join("samples.ndjson"), &samples[..samples.len() * 3 / 4])
            .expect("as it must be in this test");
    });
    assert_eq!(code(&cut_off, "idle_in_transaction.max<=3"), Some(3), "the end of `scoped` is lost");

    let (_kept, unfinished) = run.altered_record(|record| {
        record["outcome"] = "running".into();
        record["variants"].as_object_mut().expect("as it must be in this test").remove("scoped");
    });
    assert_eq!(code(&unfinished, "pool_timeouts==0"), Some(3));
    assert_eq!(run.gate(&["--variant", "scoped", "--rule", "pool_wait.p99<50ms"]).status.code(), Some(3));
}

#[test]
fn a_scenario_is_run_and_judged_and_ci_is_told() {
    let place = Place::new();
    let folder = tempfile::tempdir().expect("as it must be in this test");
    let (junit, summary) = (folder.path().join("out/gate.xml"), folder.path().join("summary.md"));
    let mut program = place.program();
    program.args([
        "-q",
        "gate",
        SMALL,
        "--variant",
        "held",
        "--junit",
        junit.to_str().expect("as it must be in this test"),
    ]);
    program.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    let output = program.output().expect("as it must be in this test");
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(99), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("\n::error title=gate FAILED%3A pool_timeouts==0::held: measured "), "{stdout}");
    assert!(fs::read_to_string(summary).expect("as it must be in this test").contains("| FAILED | held |"));
    let xml = fs::read_to_string(&junit).expect("as it must be in this test");
    let report = quick_junit::Report::deserialize_from_str(&xml).expect("as it must be in this test");
    let suite = &report.test_suites[0];
    assert_eq!((suite.tests, report.tests), (4, 4), "{xml}");
    assert!(suite.failures >= 2 && suite.errors == 0, "{xml}");
    assert!(xml.contains("rbac-bench gate"), "the command that reproduces it: {xml}");
    assert_holds_to_the_schema(&junit);
    place.assert_nothing_is_left(HANG);
}

/// The schema of Jenkins' own JUnit reader, as the crate `junit-report` carries it for its tests.
fn assert_holds_to_the_schema(junit: &Path) {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/junit_schema.py");
    let validated =
        |file: &Path| Command::new(python).arg(script).arg(schema()).arg(file).output().expect("`.ci/deps`");
    let output = validated(junit);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let wrong = junit.with_extension("wrong.xml");
    fs::write(
        &wrong,
        fs::read_to_string(junit).expect("as it must be in this test").replace("<testcase name=", "<testcase title="),
    )
    .expect("as it must be in this test");
    assert!(!validated(&wrong).status.success(), "the schema refuses what is none");
}

fn schema() -> std::path::PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("as it must be in this test");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("what cargo knows of the packages");
    let packages = metadata["packages"].as_array().expect("as it must be in this test");
    let package = packages.iter().find(|package| package["name"] == "junit-report").expect("a dev-dependency");
    Path::new(package["manifest_path"].as_str().expect("as it must be in this test"))
        .with_file_name("tests")
        .join("JUnit.xsd")
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
fn a_role_that_cannot_see_states_is_inconclusive_and_told_what_it_lacks() {
    let place = Place::new();
    let blind = ["gate", SMALL, "--variant", "scoped", "--set", "monitor.role=watcher", "--json"];
    let output = place.output(&blind);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let verdict = verdict(&output);
    assert_eq!(verdict["verdict"], "inconclusive");
    let reason = verdict["rules"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("role `watcher` cannot see other sessions"), "{verdict}");
    assert!(verdict["rules"].as_array().is_some_and(|rules| rules.iter().all(|rule| rule["measured"].is_null())));
    let output = place.output(&[&["run", "--gate"], &blind[1..]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("cannot see other sessions"), "{}", text(&output.stdout));
    let output = place.output(&[&["calibrate"], &blind[1..]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
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
    let json: Value = serde_json::from_str(&compare(&["--json"])).expect("as it must be in this test");
    let comparison = &json["comparisons"][0];
    assert_eq!((&comparison["baseline"], &comparison["candidate"]), (&"held".into(), &"scoped".into()));
    let marks: Vec<&Value> =
        comparison["rows"].as_array().expect("as it must be in this test").iter().map(|row| &row["mark"]).collect();
    assert!(marks.contains(&&Value::from("better")) && !marks.contains(&&Value::from("incomparable")), "{json}");
    assert_eq!(json["variants"]["scoped"]["pool_timeouts"], 0);
    let same: Value =
        serde_json::from_str(&compare(&[&folder, "--variant", "held", "--json"])).expect("as it must be in this test");
    assert!(
        same["comparisons"][0]["rows"]
            .as_array()
            .expect("as it must be in this test")
            .iter()
            .all(|row| row["mark"] == "within_noise"),
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
    assert!(toml.contains("[[gate]]") && toml.contains("% of healthy runs break this rule"), "{toml}");
    assert_eq!(
        run.place.output(&["gate", "--learn", &folder, "--variant", "held"]).status.code(),
        Some(2),
        "no healthy run"
    );
    let twice = run.place.output(&["gate", "--learn", &folder, &format!("{folder}/."), "--variant", "scoped"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("given twice"), "{}", text(&twice.stderr));
    let (_kept, elsewhere) = run.altered_record(|record| record["machine"]["cores"] = 64.into());
    let mixed = run.place.output(&["gate", "--learn", &folder, &elsewhere, "--variant", "scoped"]);
    assert!(text(&mixed.stderr).contains("another machine"), "{}", text(&mixed.stderr));
    let json = run.place.output(&["gate", "--learn", &folder, "--json"]);
    assert_eq!(json.status.code(), Some(2), "there are no limits as JSON");
    let scenario = tempfile::tempdir().expect("as it must be in this test");
    let file = scenario.path().join("learned.toml");
    let base = fs::read_to_string(SMALL).expect("as it must be in this test");
    let base = base.split("# What CI asks of it").next().expect("as it must be in this test");
    fs::write(&file, format!("{base}\n{toml}")).expect("as it must be in this test");
    let checked = run.place.output(&["scenario", "check", file.to_str().expect("as it must be in this test")]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
}
