//! A run that is judged as it ends, or that cannot be.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::verdict;
use crate::program::{HANG, Place, SMALL, text};

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
