//! A run that is over, judged by its record.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::{list, new_folder, read, read_bytes, small_without_rules, verdict, write};
use crate::program::{Place, SMALL, record, text};

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
    fn altered(&self, change: impl Fn(&Path)) -> (TempDir, String) {
        let folder = new_folder();
        for name in ["record.json", "samples.ndjson"] {
            write(&folder.path().join(name), read_bytes(&Path::new(&self.folder).join(name)));
        }
        change(folder.path());
        let path = folder.path().display().to_string();
        (folder, path)
    }

    /// The same, with something changed in the record.
    fn altered_record(&self, change: impl Fn(&mut Value)) -> (TempDir, String) {
        self.altered(|folder| {
            let mut record = record(folder);
            change(&mut record);
            write(&folder.join("record.json"), record.to_string());
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

fn the_fix_passes_and_the_bug_fails_by_the_scenario_s_own_rules(run: &Recorded) {
    let scoped = run.gate(&["--variant", "scoped", "--json"]);
    assert_eq!(scoped.status.code(), Some(0), "{}", text(&scoped.stdout));
    assert_eq!(verdict(&scoped)["verdict"], "passed");

    let held = run.gate(&["--variant", "held", "--json"]);
    assert_eq!(held.status.code(), Some(99), "{}", text(&held.stdout));
    let verdict = verdict(&held);
    assert_eq!(verdict["verdict"], "failed");
    let broken = |rule: &str| {
        let found = list(&verdict, "rules").iter().find(|it| it["rule"] == rule);
        found.unwrap_or_else(|| panic!("no rule `{rule}` in {verdict}")).clone()
    };
    assert_eq!(broken("pool_timeouts==0")["verdict"], "failed");
    assert!(broken("idle_in_transaction.max<=3")["measured"].as_f64() >= Some(6.0));
    assert_eq!(broken("latency.p95<600ms for tools/call")["severity"], "warn");
    assert!(verdict["reproduce"][0].as_str().unwrap_or_default().ends_with("--rerun --variant held"), "{verdict}");

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
    let folder = new_folder();
    let junit = folder.path().join("gate.xml");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut program = run.place.program();
    program.args(["gate", &run.folder, "--variant", "held", "--junit", &junit.display().to_string()]);
    let code = program.stdout(writer).status().expect("the program starts").code();
    assert_eq!(code, Some(99));
    assert!(read(&junit).contains("<testsuites"));
    let unwritable = run.gate(&["--variant", "held", "--junit", &folder.path().display().to_string()]);
    assert_eq!(unwritable.status.code(), Some(2), "{}", text(&unwritable.stderr));
}

fn a_wrong_rule_or_variant_is_refused(run: &Recorded) {
    for arguments in
        [["--rule", "nonsense<1"], ["--rule", "failure_rate<1% for GET /nowhere"], ["--variant", "across_render"]]
    {
        assert_eq!(run.gate(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

fn missing_data_is_inconclusive_and_never_a_pass(run: &Recorded) {
    let code = |folder: &str, rule: &str| {
        run.place.output(&["gate", folder, "--variant", "scoped", "--rule", rule]).status.code()
    };
    let (_kept, without_samples) =
        run.altered(|folder| fs::remove_file(folder.join("samples.ndjson")).expect("a run has samples"));
    assert_eq!(code(&without_samples, "idle_in_transaction.p95<=3"), Some(3));
    assert_eq!(code(&without_samples, "idle_in_transaction.max<=3"), Some(3), "a summary alone is not checked");
    let (_kept, bad_line) = run.altered(|folder| {
        let samples = read_bytes(&folder.join("samples.ndjson"));
        let bad = [b"{\xff}\n".as_slice(), &samples].concat();
        write(&folder.join("samples.ndjson"), bad);
    });
    assert_eq!(code(&bad_line, "idle_in_transaction.max<=3"), Some(3), "a line that cannot be read");
    assert_eq!(code(&bad_line, "latency.p95<5s"), Some(0), "it is no doubt about the users' own figures");
    assert_eq!(run.place.output(&["compare", &bad_line]).status.code(), Some(0));

    let (_kept, cut_off) = run.altered(|folder| {
        let samples = read_bytes(&folder.join("samples.ndjson"));
        write(&folder.join("samples.ndjson"), &samples[..samples.len() * 3 / 4]);
    });
    assert_eq!(code(&cut_off, "idle_in_transaction.max<=3"), Some(3), "the end of `scoped` is lost");

    let (_kept, unfinished) = run.altered_record(|record| {
        record["outcome"] = "running".into();
        record["variants"].as_object_mut().expect("a record has variants").remove("scoped");
    });
    assert_eq!(code(&unfinished, "pool_timeouts==0"), Some(3));
    assert_eq!(run.gate(&["--variant", "scoped", "--rule", "pool_wait.max<=60s"]).status.code(), Some(0));
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
    let json: Value = serde_json::from_str(&compare(&["--json"])).expect("JSON on stdout");
    let comparison = &json["comparisons"][0];
    assert_eq!((&comparison["baseline"], &comparison["candidate"]), (&"held".into(), &"scoped".into()));
    let marks: Vec<&Value> = list(comparison, "rows").iter().map(|row| &row["mark"]).collect();
    assert!(marks.contains(&&Value::from("better")) && !marks.contains(&&Value::from("incomparable")), "{json}");
    assert_eq!(json["variants"]["scoped"]["pool_timeouts"], 0);
    let same: Value =
        serde_json::from_str(&compare(&[&folder, "--variant", "held", "--json"])).expect("JSON on stdout");
    assert!(list(&same["comparisons"][0], "rows").iter().all(|row| row["mark"] == "within_noise"), "{same}");
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
    assert!(text(&twice.stderr).contains("cannot learn from"), "{}", text(&twice.stderr));
    let (_kept, elsewhere) = run.altered_record(|record| record["machine"]["cores"] = 64.into());
    let mixed = run.place.output(&["gate", "--learn", &folder, &elsewhere, "--variant", "scoped"]);
    assert!(text(&mixed.stderr).contains("its machine differs"), "{}", text(&mixed.stderr));
    let json = run.place.output(&["gate", "--learn", &folder, "--json"]);
    assert_eq!(json.status.code(), Some(2), "there are no limits as JSON");
    let scenario = new_folder();
    let file = scenario.path().join("learned.toml");
    write(&file, format!("{}\n{toml}", small_without_rules()));
    let checked = run.place.output(&["scenario", "check", file.to_str().expect("a temporary folder has a plain name")]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
}
