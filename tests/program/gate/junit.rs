//! Output for CI, beside the exit code.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{list, new_folder, read, write};
use crate::program::{HANG, Place, SMALL, text};

#[test]
fn a_scenario_is_run_and_judged_and_ci_is_reported() {
    let place = Place::new();
    let folder = new_folder();
    let (junit, summary) = (folder.path().join("out/gate.xml"), folder.path().join("summary.md"));
    let mut program = place.program();
    program.args([
        "-q",
        "gate",
        SMALL,
        "--variant",
        "held",
        "--junit",
        junit.to_str().expect("a temporary folder has a plain name"),
    ]);
    program.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    let output = program.output().expect("the program starts");
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(99), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("\n::error title=gate FAILED%3A pool_timeouts==0::held: measured "), "{stdout}");
    assert!(read(&summary).contains("| FAILED | held |"));
    let xml = read(&junit);
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
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
    write(&wrong, read(junit).replace("<testcase name=", "<testcase title="));
    assert!(!validated(&wrong).status.success(), "the schema refuses what is none");
}

fn schema() -> std::path::PathBuf {
    let metadata = Command::new(env!("CARGO"))
        // Of other platforms' packages there may be none here.
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("what cargo knows of the packages");
    let packages = list(&metadata, "packages");
    let package = packages.iter().find(|package| package["name"] == "junit-report").expect("a dev-dependency");
    Path::new(package["manifest_path"].as_str().expect("a package has a manifest"))
        .with_file_name("tests")
        .join("JUnit.xsd")
}
