//! Whatever ends a run, nothing of it is left, and what was seen can be read.

use std::time::Duration;

use nix::sys::signal::Signal;
use rbac_bench::record::Outcome;
use rbac_bench::record::store::{read_record, read_samples};

use crate::program::{Place, SMALL};

/// Long enough that the signal always comes first.
const LONG: [&str; 6] = ["run", SMALL, "--variant", "scoped", "--duration", "60s"];

/// Starts a long run, sends `signal` once it says `stage`, and gives its place and exit code.
fn interrupted(stage: &str, signal: Signal) -> (Place, Option<i32>) {
    let place = Place::new();
    let mut run = place.start(&LONG);
    run.wait_for_line(stage);
    run.signal(signal);
    let code = run.wait();
    (place, code)
}

#[test]
fn ctrl_c_while_the_testbed_starts_leaves_nothing_behind() {
    let (place, code) = interrupted("starting", Signal::SIGINT);
    assert_eq!(code, Some(130));
    place.assert_nothing_is_left(Duration::from_secs(10));
    assert_eq!(read_record(&place.run_folder()).unwrap().outcome, Outcome::Interrupted);
}

#[test]
fn ctrl_c_during_the_ramp_leaves_nothing_behind() {
    let place = Place::new();
    let mut run = place.start(&["run", SMALL, "--set", "load.ramp_up=30s"]);
    run.wait_for_line("ramp ");
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(), Some(130));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn ctrl_c_in_the_steady_phase_leaves_nothing_but_a_partial_record() {
    let (place, code) = interrupted("steady ", Signal::SIGINT);
    assert_eq!(code, Some(130));
    place.assert_nothing_is_left(Duration::from_secs(10));
    let record = read_record(&place.run_folder()).unwrap();
    assert_eq!(record.outcome, Outcome::Interrupted);
    let held = &record.variants.values().next().unwrap();
    assert!(!held.complete);
    assert!(held.summary.requests > 0, "what was seen until then is there: {:?}", held.summary);
    assert!(!read_samples(&place.run_folder()).unwrap().is_empty());
}

#[test]
fn ctrl_c_while_requests_drain_leaves_nothing_behind() {
    let place = Place::new();
    let mut run = place.start(&["run", SMALL, "--variant", "held", "--duration", "2s"]);
    run.wait_for_line("draining");
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(), Some(130));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn sigterm_ends_a_run_in_good_order_and_says_so() {
    let (place, code) = interrupted("steady ", Signal::SIGTERM);
    assert_eq!(code, Some(143));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn ctrl_c_while_everything_is_being_stopped_changes_nothing() {
    let place = Place::new();
    let mut run = place.start(&["run", SMALL, "--variant", "scoped", "--duration", "1s"]);
    run.wait_for_line("stopping");
    run.signal(Signal::SIGINT);
    assert!(matches!(run.wait(), Some(0 | 130)));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn sigkill_leaves_no_process_and_no_folder_and_readable_samples() {
    let (place, code) = interrupted("steady ", Signal::SIGKILL);
    assert_eq!(code, None);
    place.assert_nothing_is_left(Duration::from_secs(10));
    let folder = place.run_folder();
    assert_eq!(read_record(&folder).unwrap().outcome, Outcome::Running);
    let samples = read_samples(&folder).unwrap();
    assert!(samples.len() > 5, "{} samples up to the last second", samples.len());
}

#[test]
fn a_replica_that_dies_ends_the_run_with_its_name() {
    let place = Place::new();
    let mut run = place.start(&LONG);
    run.wait_for_line("steady ");
    let processes = place.processes();
    let (replica, _) = processes.iter().find(|(_, command)| command.contains("serve-replica")).expect("a replica");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(*replica), Signal::SIGKILL).unwrap();
    let printed = run.wait_for_line("error:");
    assert!(printed.contains("gw-1 has ended by itself"), "{printed}");
    assert_eq!(run.wait(), Some(1));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn a_postgresql_that_dies_ends_the_run_with_what_it_was() {
    let place = Place::new();
    let mut run = place.start(&LONG);
    run.wait_for_line("steady ");
    let processes = place.processes();
    let (server, _) = processes.iter().find(|(_, command)| command.contains("/postgres ")).expect("a postmaster");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(*server), Signal::SIGKILL).unwrap();
    run.wait_for_line("error:");
    assert_eq!(run.wait(), Some(1));
    place.assert_nothing_is_left(Duration::from_secs(15));
}
