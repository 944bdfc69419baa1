//! Bad input and missing parts: one clear error each, and nothing left running.

use std::fs;
use std::process::Command;

use rbac_bench::testbed::binaries::{SearchPlaces, find, install_command};

use crate::program::{HANG, Place, SMALL, text};

/// Runs, expects exit `code`, and gives what it reported on stderr.
fn refused(arguments: &[&str], code: i32) -> String {
    let place = Place::new();
    let output = place.output(arguments);
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{printed}");
    assert_eq!(printed.matches("error:").count(), 1, "one error: {printed}");
    assert!(output.stdout.is_empty(), "no data: {}", text(&output.stdout));
    place.assert_nothing_is_left(HANG);
    printed
}

#[test]
fn a_wrong_scenario_is_refused_with_file_and_line_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, fs::read_to_string(SMALL).unwrap().replace("users = 40", "users = 0")).unwrap();
    let printed = refused(&["run", file.to_str().unwrap()], 2);
    assert!(
        printed.contains("mine.toml:6:9")
            && printed.contains("invalid value `0` for `load.users`: expected at least 1"),
        "{printed}"
    );
}

#[test]
fn an_unknown_scenario_is_refused_with_the_nearest_name() {
    let printed = refused(&["run", "colapse"], 2);
    assert!(printed.contains("did you mean `collapse`?"), "{printed}");
}

#[test]
fn a_folder_without_postgresql_is_refused_before_anything_starts() {
    let empty = tempfile::tempdir().unwrap();
    let printed = refused(&["run", SMALL, "--pg-bin", empty.path().to_str().unwrap()], 1);
    assert!(printed.contains("postgres"), "{printed}");
}

#[test]
fn too_few_file_descriptors_are_refused_with_the_command_that_raises_them() {
    let place = Place::new();
    let run = format!("ulimit -n 300; exec '{}' run --users 4000", env!("CARGO_BIN_EXE_rbac-bench"));
    let output = Command::new("sh").args(["-c", &run]).env("TMPDIR", place.tmp()).output().unwrap();
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("4000 users need 8256 file descriptors, the limit is 300"), "{printed}");
    assert!(printed.contains("hint: raise it with `ulimit -n 8256`"), "{printed}");
    place.assert_nothing_is_left(HANG);
}

#[test]
fn a_port_in_use_is_refused_with_its_number() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let printed = refused(&["gateway", SMALL, "--port", &port], 1);
    assert!(printed.contains(&format!("127.0.0.1:{port}")), "{printed}");
}

#[test]
fn a_second_gateway_does_not_share_the_port_of_the_first() {
    let place = Place::new();
    let mut first = place.start(&["gateway", SMALL, "--json"]);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(first.child.stdout.take().unwrap()), &mut line).unwrap();
    let port = line.split("http://127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let printed = refused(&["gateway", SMALL, "--port", port], 1);
    assert!(printed.contains(&format!("127.0.0.1:{port}")), "{printed}");
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.wait();
    place.assert_nothing_is_left(HANG);
}

#[test]
fn without_any_postgresql_the_error_names_the_package() {
    // The program itself would find the one that these tests run on.
    let empty = tempfile::tempdir().unwrap();
    let nowhere =
        SearchPlaces { path: Vec::new(), root: empty.path().to_owned(), prefix: None, cache: None, releases_url: None };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(find(None, &nowhere)).unwrap_err().to_string();
    assert!(error.contains(install_command()), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let printed = refused(&["run", SMALL, "--out", file.to_str().unwrap()], 1);
    assert!(printed.contains("cannot write"), "{printed}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let place = Place::new();
    let run = format!("'{}' scenario show | head -n 1", env!("CARGO_BIN_EXE_rbac-bench"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &run]).env("TMPDIR", place.tmp()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}
