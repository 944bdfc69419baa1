//! The run record's JSON schema: it is up to date, and what was recorded holds to it.

use std::fs;
use std::path::{Path, PathBuf};

use rbac_bench::record::{FORMAT_VERSION, RunRecord, store};
use serde_json::{Value, json};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> Value {
    let text = fs::read_to_string(root(path)).expect("a file of this repository");
    serde_json::from_str(&text).expect("JSON")
}

const SCHEMA: &str = "docs/record.schema.json";
const FIXTURE: &str = "fixtures/records/issue-2318.json";

#[test]
fn the_schema_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(RunRecord)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(root(SCHEMA), &schema).unwrap();
    }
    let written = fs::read_to_string(root(SCHEMA)).unwrap_or_default();
    assert_eq!(written, schema, "write it anew with UPDATE_SCHEMA=1 cargo test --test record_schema");
}

#[test]
fn a_record_of_version_1_holds_to_the_schema_and_can_be_read() {
    let (schema, record) = (read(SCHEMA), read(FIXTURE));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&record).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let read: RunRecord = serde_json::from_value(record.clone()).unwrap();
    assert_eq!(record["format"]["version"], 1);
    let again = serde_json::to_value(&read).unwrap();
    let mut again = again["variants"]["held"]["summary"].clone();
    // Figures that came later are unknown, and no zero.
    again.as_object_mut().unwrap().retain(|key, value| !(key.starts_with("pool_wait_") && value.is_null()));
    assert_eq!(again, record["variants"]["held"]["summary"], "nothing is lost");
}

#[test]
fn a_whole_run_of_version_1_is_read_judged_and_compared() {
    let folder = root("fixtures/records/small");
    let validator = jsonschema::validator_for(&read(SCHEMA)).unwrap();
    assert!(validator.is_valid(&read("fixtures/records/small/record.json")));
    let mut kinds = std::collections::BTreeSet::new();
    let mut samples = 0;
    let finished = store::for_each_sample(&folder, |stamped| {
        samples += 1;
        kinds.insert(serde_json::to_value(&stamped).unwrap()["kind"].as_str().unwrap().to_owned());
    })
    .unwrap();
    assert_eq!(finished.unreadable, 0);
    assert!(samples > 100, "{samples}");
    assert!(["activity", "breakdown", "health", "load", "pools"].iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");

    let program = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rbac-bench")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let folder = folder.to_str().unwrap();
    let judged = |variant: &str| program(&["gate", folder, "--variant", variant, "--rule", "pool_timeouts==0"]).0;
    assert_eq!((judged("scoped"), judged("held")), (Some(0), Some(99)));
    assert!(program(&["compare", folder]).1.contains("idle_in_transaction_mean"));
    assert!(program(&["diagnose", folder]).1.contains("POST /rpc tools/call"));
    let place = tempfile::tempdir().unwrap();
    let report = place.path().join("report.html");
    assert_eq!(program(&["report", folder, "-o", report.to_str().unwrap()]).0, Some(0));
    assert!(fs::read_to_string(&report).unwrap().contains("Sessions idle in transaction"));
}

#[test]
fn what_is_no_record_does_not_hold_to_the_schema() {
    let validator = jsonschema::validator_for(&read(SCHEMA)).unwrap();
    for (pointer, wrong) in [
        ("/format", Value::Null),
        ("/outcome", json!("exploded")),
        ("/variants/held/summary/requests", json!("many")),
        ("/variants/held/complete", json!(1)),
        ("/variants/held/summary/idle_in_transaction_mean", json!("0")),
    ] {
        let mut record = read(FIXTURE);
        *record.pointer_mut(pointer).unwrap() = wrong;
        assert!(!validator.is_valid(&record), "{pointer}");
    }
}

#[test]
fn a_record_of_a_later_version_is_refused_and_one_with_more_keys_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |record: &Value| fs::write(folder.path().join(store::RECORD_FILE), record.to_string()).unwrap();
    let mut record = read(FIXTURE);
    record["variants"]["held"]["of_tomorrow"] = json!(1);
    write(&record);
    assert!(store::read_record(folder.path()).is_ok());
    record["format"]["version"] = json!(FORMAT_VERSION + 1);
    write(&record);
    let error = store::read_record(folder.path()).unwrap_err().to_string();
    assert!(error.contains("format version 3, this program reads up to 2"), "{error}");
}

/// `answers.json` beside each record has what the program of version 1 answered to the same commands.
#[test]
fn records_of_version_1_give_the_same_answers_as_ever() {
    let program = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rbac-bench")).args(arguments).output().unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let only = |value: &Value, keys: &Value| -> Value {
        let keys = keys.as_object().unwrap().keys();
        keys.map(|key| (key.clone(), value[key].clone())).collect::<serde_json::Map<_, _>>().into()
    };
    for kind in ["run", "scan", "watch", "window"] {
        let folder = format!("fixtures/records/version-1/{kind}");
        let answers = read(&format!("{folder}/answers.json"));
        let folder = root(&folder).display().to_string();

        let (_, diagnosis) = program(&["diagnose", &folder, "--json"]);
        let (found, known) = (diagnosis["findings"].as_array().unwrap(), answers["diagnose"].as_array().unwrap());
        let found: Vec<Value> = found.iter().zip(known).map(|(found, known)| only(found, known)).collect();
        assert_eq!((&found, found.len()), (known, known.len()), "{kind}: diagnose");

        let mut gate = vec!["gate", folder.as_str(), "--json"];
        for rule in answers["rules"].as_array().unwrap() {
            gate.extend(["--rule", rule.as_str().unwrap()]);
        }
        let (code, judged) = program(&gate);
        let known = answers["gate"]["rules"].as_array().unwrap();
        let rules: Vec<Value> =
            judged["rules"].as_array().unwrap().iter().zip(known).map(|(rule, known)| only(rule, known)).collect();
        assert_eq!((&rules, code.map(i64::from)), (known, answers["gate"]["code"].as_i64()), "{kind}: gate");

        if !answers["compare"].is_null() {
            let (_, compared) = program(&["compare", &folder, &folder, "--json"]);
            for (variant, figures) in answers["compare"].as_object().unwrap() {
                assert_eq!(only(&compared["variants"][variant], figures), *figures, "{kind}: compare");
            }
        }
        let page = tempfile::tempdir().unwrap();
        let page = page.path().join("report.html");
        let (code, _) = program(&["report", &folder, "-o", page.to_str().unwrap()]);
        assert_eq!(code.map(i64::from), answers["report"].as_i64(), "{kind}: report");
    }
}
