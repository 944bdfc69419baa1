//! Files for CI beside the exit code: whole at any time, whatever becomes of the run; and the composite action around it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::program::{Place, SMALL, record, text};

/// A scenario whose service does not start.
fn broken(place: &Place) -> String {
    let scenario = place.tmp().join("broken.toml");
    let text = "name = \"broken\"\n[target]\nurl = \"http://127.0.0.1:9\"\ncommand = [\"./no-such-program\"]\n[database]\n\
                url = \"postgresql://app@127.0.0.1:9/shop\"\n[[route]]\nroute = \"GET /\"\n[[gate]]\nrule = \"failure_rate<1%\"\n";
    fs::write(&scenario, text).expect("a scenario");
    scenario.display().to_string()
}

#[test]
fn a_gate_that_breaks_off_says_so_in_every_file() {
    let place = Place::new();
    let scenario = broken(&place);
    let (junit, summary) = (place.tmp().join("gate.xml"), place.tmp().join("summary.md"));
    let run = |arguments: &[&str]| {
        let mut program = place.program();
        program.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).args(arguments);
        program.args(["--junit", &junit.display().to_string()]).output().expect("the program starts")
    };
    for (arguments, code, printed) in [
        (vec!["gate", scenario.as_str()], 1, "cannot connect to the database"),
        (vec!["gate", scenario.as_str(), "--rule", "no_such_metric<1"], 2, "unknown metric"),
        (vec!["gate", "no-such-scenario"], 2, "no-such-scenario"),
    ] {
        drop(fs::remove_file(&summary));
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        let document = fs::read_to_string(&junit).expect("JUnit");
        assert!(
            document.contains("<testsuites") && document.contains("<error") && document.contains(printed),
            "{document}"
        );
        let markdown = fs::read_to_string(&summary).expect("a summary");
        assert!(markdown.contains("gate without a verdict"), "{markdown}");
        assert!(text(&output.stderr).contains("::error title=gate without a verdict"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_command_line_that_is_refused_replaces_the_document_of_an_earlier_run() {
    let place = Place::new();
    let junit = place.tmp().join("gate.xml");
    fs::write(&junit, "<testsuites>all passed</testsuites>").expect("an earlier document");
    let output = place.output(&["gate", SMALL, "--junit", &junit.display().to_string(), "--userz", "3"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let document = fs::read_to_string(&junit).expect("JUnit");
    assert!(document.contains("<error") && !document.contains("all passed"), "{document}");
}

#[test]
fn arguments_that_are_no_text_are_refused_like_any_other() {
    let place = Place::new();
    let junit = place.tmp().join("gate.xml");
    let no_text = std::ffi::OsStr::from_bytes(b"\xff");
    for arguments in [vec!["run"], vec!["gate", SMALL, "--rule"]] {
        fs::write(&junit, "<testsuites>all passed</testsuites>").expect("an earlier document");
        let mut program = place.program();
        let output = program.args(["--junit".as_ref(), junit.as_os_str()]).args(&arguments).arg(no_text).output();
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(!fs::read_to_string(&junit).expect("JUnit").contains("all passed"));
    }
}

#[test]
fn a_reader_of_progress_who_has_gone_stops_no_run() {
    let place = Place::new();
    let (reader, stderr) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut program = place.program();
    program.args(["run", SMALL, "--variant", "scoped", "--duration", "1s"]).stderr(stderr);
    let output = program.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_gate_that_is_killed_leaves_a_whole_document_with_an_error() {
    let place = Place::new();
    let junit = place.tmp().join("gate.xml");
    let mut run = place.start(&["gate", SMALL, "--duration", "60s", "--junit", &junit.display().to_string()]);
    run.wait_for_line("starting");
    run.signal(Signal::SIGKILL);
    run.wait();
    let document = fs::read_to_string(&junit).expect("JUnit");
    assert!(document.ends_with("</testsuites>\n") && document.contains("has not ended"), "{document}");
}

/// The script of the action's step that runs the gate.
fn script_of_the_action() -> String {
    let action = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).expect("the action");
    let (_, gate) = action.split_once("- name: Gate").expect("its step");
    let (_, script) = gate.split_once("run: |\n").expect("a script");
    script.lines().map(|line| line.strip_prefix("        ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Runs that script with a program in place of ours, which writes down its arguments and exits with `code`.
fn acted(place: &Place, subject: &str, fail_on_inconclusive: &str, code: i32) -> Output {
    let programs = place.tmp().join("bin");
    fs::create_dir_all(&programs).expect("a folder");
    let stub = programs.join("rbac-bench");
    let written = place.tmp().join("arguments");
    fs::write(&stub, format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\nexit {code}\n", written.display()))
        .expect("a stub");
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("its mode");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    Command::new("bash")
        // As GitHub does.
        .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script_of_the_action()])
        .env("PATH", path)
        .env("SUBJECT", subject)
        .env("VARIANT", "-v")
        .env("RULES", "-rule<1\n\nfailure_rate<1%")
        .env("BASELINE", "")
        .env("JUNIT", "gate.xml")
        .env("OUT", "reports")
        .env("FAIL_ON_INCONCLUSIVE", fail_on_inconclusive)
        .env("GITHUB_OUTPUT", place.tmp().join("output"))
        .output()
        .expect("bash")
}

#[test]
fn the_action_fails_closed_and_takes_no_value_for_a_flag() {
    let place = Place::new();
    for not_false in ["true", "True", "1", "yes", "", "False", "flase", " false"] {
        let acted = acted(&place, "mine.toml", not_false, 3);
        assert_eq!(acted.status.code(), Some(3), "{not_false:?}: {}", text(&acted.stderr));
    }
    assert_eq!(acted(&place, "mine.toml", "false", 3).status.code(), Some(0));
    for code in [0, 1, 2, 99] {
        assert_eq!(acted(&place, "mine.toml", "false", code).status.code(), Some(code));
    }
    acted(&place, "--help", "true", 0);
    let arguments = fs::read_to_string(place.tmp().join("arguments")).expect("arguments");
    let expected =
        "gate\n--junit=gate.xml\n--out=reports\n--variant=-v\n--rule=-rule<1\n--rule=failure_rate<1%\n--\n--help\n";
    assert_eq!(arguments, expected);
    let real = place.output(&["gate", "--variant=-v", "--", "--help"]);
    assert_eq!(real.status.code(), Some(2), "{}", text(&real.stderr));
    assert!(text(&real.stderr).contains("`--help`"), "{}", text(&real.stderr));
}

#[test]
fn a_record_of_somebody_else_starts_no_command_unasked() {
    let place = Place::new();
    // A record of a service that was started by a command: that of a run which could not reach its database.
    let ran = place.output(&["run", &broken(&place)]);
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stderr));
    let folder = place.run_folder().display().to_string();
    let refused = place.output(&["gate", &folder, "--rerun"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let printed = text(&refused.stderr);
    assert!(printed.contains("./no-such-program") && printed.contains("--yes"), "{printed}");
    let asked = place.output(&["gate", &folder, "--rerun", "--yes"]);
    assert_eq!(asked.status.code(), Some(1), "{}", text(&asked.stderr));
}

/// Runs the program where a folder is a file system of so many KB, visible to it alone, and then a command in the same place.
fn on_a_small_disk(
    folder: &Path,
    kilobytes: u32,
    variables: &[(&str, &Path)],
    arguments: &[&str],
    then: &str,
) -> Output {
    fs::create_dir_all(folder).expect("a folder");
    let mount = format!(
        "mount -t tmpfs -o size={kilobytes}k,mode=1777 tmpfs '{}' && \"$@\"; code=$?; {then}; exit $code",
        folder.display()
    );
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !nix::unistd::Uid::effective().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["sh", "-c", &mount, "sh", env!("CARGO_BIN_EXE_rbac-bench")]).args(arguments);
    unshare.envs(variables.iter().copied()).output().expect("`unshare` of util-linux")
}

#[test]
fn full_disks_and_temporary_folders_are_reported_as_full() {
    let place = Place::new();
    let kept = place.tmp().join("kept");
    fs::create_dir(&kept).expect("a folder");
    let then = format!("cp -r '{}'/. '{}'", place.reports().display(), kept.display());
    let run = ["run", SMALL, "--variant", "held", "--duration", "6s"];
    // Room for the reserve and for a part of the samples.
    let variables = [("TMPDIR", place.tmp()), ("RBAC_BENCH_OUT", place.reports())];
    let variables = variables.each_ref().map(|(name, path)| (*name, path.as_path()));
    let full = on_a_small_disk(&place.reports(), 300, &variables, &run, &then);
    assert_eq!(full.status.code(), Some(1), "{}{}", text(&full.stdout), text(&full.stderr));
    let folder = fs::read_dir(&kept).expect("a run").next().expect("one").expect("it").path();
    let outcome = record(&folder)["outcome"]["failed"]["error"].as_str().map(str::to_owned).unwrap_or_default();
    assert!(outcome.contains("No space left on device"), "{outcome}");
    let judged = place.output(&["gate", &folder.display().to_string(), "--rule", "idle_in_transaction.max<999"]);
    assert_eq!(judged.status.code(), Some(3), "{}", text(&judged.stderr));

    let (small, out) = (place.tmp().join("small"), place.tmp().join("out"));
    let variables = [("TMPDIR", small.as_path()), ("RBAC_BENCH_OUT", out.as_path())];
    let full = on_a_small_disk(&small, 4096, &variables, &["run", SMALL, "--duration", "1s"], "true");
    let printed = text(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("the temporary folder") && printed.contains("is full") && printed.contains("TMPDIR"),
        "{printed}"
    );
}
