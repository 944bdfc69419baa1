//! `PgBouncer` between the gateway and PostgreSQL: what it ends is counted, and nothing of it outlives the run.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rbac_bench::record::store::read_samples;
use rbac_bench::record::{PgBouncerSample, Sample, Stamped};
use rbac_bench::scenario::SessionScope;
use rbac_bench::testbed::binaries::SearchPlaces;
use rbac_bench::testbed::pgbouncer::{find, install_command};
use serde_json::Value;

use crate::program::{HANG, Place, json, record, text};

const BEHIND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/pgbouncer.toml");

const KILLED: &str = "idle transaction timeout";

fn reported(variant: &Value) -> Vec<(&str, u64)> {
    let errors = variant["errors"].as_array().expect("a list").iter();
    let reported = errors.filter(|error| error["seen_by"] == "pgbouncer");
    reported.filter_map(|error| Some((error["text"].as_str()?, error["count"].as_u64()?))).collect()
}

fn of_pgbouncer(samples: &[Stamped], scope: SessionScope) -> Vec<&PgBouncerSample> {
    let own = samples.iter().filter(|stamped| stamped.variant == scope);
    own.filter_map(|stamped| match &stamped.sample {
        Sample::PgBouncer(sample) => Some(sample),
        _ => None,
    })
    .collect()
}

#[test]
fn a_held_transaction_is_ended_and_counted_and_a_scoped_one_is_not() {
    let place = Place::new();
    let output = place.output(&["run", BEHIND, "--report"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let folder = place.run_folder();
    let record = record(&folder);
    let (held, scoped) = (&record["variants"]["held"], &record["variants"]["scoped"]);

    let [(KILLED, kills)] = reported(held)[..] else { panic!("{:?}", reported(held)) };
    assert!(kills >= 5, "{kills}");
    assert_eq!(held["sessions_lost"]["pgbouncer"].as_u64(), Some(kills), "the server takes them for closed");
    assert!(table.contains(&format!("{kills} ×  {KILLED}")), "{table}");
    assert!(table.contains("PgBouncer 1."), "{table}");
    assert!(!table.contains("No checkout timed out"), "{table}");
    assert_eq!(reported(scoped), []);
    assert_eq!(scoped["summary"]["failure_ratio"].as_f64(), Some(0.0), "{scoped}");
    assert_eq!(scoped["sessions_lost"]["pgbouncer"].as_u64(), Some(0));

    let samples = read_samples(&folder).unwrap();
    let seen = of_pgbouncer(&samples, SessionScope::Held);
    assert!(seen.len() >= 4, "one a second: {seen:?}");
    let lent = |sample: &&PgBouncerSample| sample.pools.as_ref().map(|pools| pools[0].sv_active.unwrap());
    assert!(seen.iter().filter_map(lent).max().unwrap() >= 3, "held sessions are lent: {seen:?}");
    let last = seen.last().unwrap().stats.as_ref().unwrap();
    assert_eq!(last[0].database, "rbac");
    assert!(last[0].xact_count.unwrap() > 0, "{last:?}");

    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("<h3>PgBouncer</h3>") && page.contains("PgBouncer reported a client"), "its pools are drawn");
    let diagnosis = json(&place.output(&["diagnose", folder.to_str().unwrap(), "--json"]));
    let found = diagnosis["findings"].as_array().unwrap().iter().find(|it| it["kind"] == "pgbouncer_timeout");
    let evidence = &found.unwrap_or_else(|| panic!("{diagnosis}"))["evidence"];
    let lent = evidence.as_array().unwrap().iter().find(|it| it["figure"] == "samples.pgbouncer.sv_active");
    assert!(lent.is_some_and(|it| it["value"].as_f64() >= Some(3.0)), "{evidence}");
    place.assert_nothing_is_left(HANG);
}

#[test]
fn sessions_keep_their_names_and_their_limits_through_it() {
    let place = Place::new();
    let set = ["--set", "pgbouncer.idle_transaction_timeout=0s", "--set", "database.statement_timeout=300ms"];
    // Every call waits for the one row, longer than a statement may take.
    let convoy = ["--set", "gateway.usage_counter.share=1.0"];
    let mut arguments = vec!["run", BEHIND, "--variant", "held", "--json"];
    arguments.extend(set);
    arguments.extend(convoy);
    json(&place.output(&arguments));
    let record = record(&place.run_folder());
    let errors = record["variants"]["held"]["errors"].to_string();
    assert!(errors.contains("canceling statement due to statement timeout"), "{errors}");
    let samples = read_samples(&place.run_folder()).unwrap();
    let named = samples.iter().any(|stamped| match &stamped.sample {
        Sample::Breakdown(breakdown) => breakdown.groups.iter().any(|group| group.application_name.starts_with("gw-1")),
        _ => false,
    });
    assert!(named, "the worker's name reaches the server");
}

/// Starts a long run and waits until it loads.
fn loading(place: &Place) -> crate::program::Started {
    let mut run = place.start(&["run", BEHIND, "--variant", "scoped", "--duration", "60s"]);
    run.wait_for_line("steady ");
    run
}

fn pid_of(place: &Place, what: &str) -> Pid {
    let processes = place.processes();
    let found = processes.iter().find(|(_, command)| command.contains(what));
    Pid::from_raw(found.unwrap_or_else(|| panic!("no `{what}` in {processes:?}")).0)
}

#[test]
fn sigkill_leaves_no_pgbouncer_behind() {
    let place = Place::new();
    let run = loading(&place);
    pid_of(&place, "pgbouncer.ini");
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait(), None);
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn leftovers_of_a_killed_supervisor_are_removed() {
    let place = Place::new();
    let run = loading(&place);
    let (supervisor, pooler) = (pid_of(&place, "supervise-postgres"), pid_of(&place, "pgbouncer.ini"));
    kill(supervisor, Signal::SIGKILL).unwrap();
    run.signal(Signal::SIGKILL);
    run.wait();
    assert!(kill(pooler, None).is_ok(), "nobody is left to stop it");
    let next = place.output(&["run", BEHIND, "--variant", "scoped", "--duration", "1s"]);
    assert!(next.status.success(), "{}", text(&next.stderr));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn a_pgbouncer_that_dies_ends_the_run_with_its_name() {
    let place = Place::new();
    let mut run = loading(&place);
    kill(pid_of(&place, "pgbouncer.ini"), Signal::SIGKILL).unwrap();
    let printed = run.wait_for_line("error:");
    assert!(printed.contains("pgbouncer` ended by itself"), "{printed}");
    assert_eq!(run.wait(), Some(1));
    place.assert_nothing_is_left(Duration::from_secs(15));
}

#[test]
fn without_pgbouncer_the_error_names_the_package() {
    // The program itself would find the one that these tests run on.
    let empty = tempfile::tempdir().unwrap();
    let nowhere =
        SearchPlaces { path: Vec::new(), root: empty.path().to_owned(), prefix: None, cache: None, releases_url: None };
    let error = find(&nowhere).unwrap_err().to_string();
    assert!(error.contains(install_command()), "{error}");
}

#[test]
fn it_is_not_put_in_front_of_somebody_elses_server() {
    let place = Place::new();
    let url = "postgresql://me:secret@127.0.0.1:1/mine";
    let output = place.output(&["gateway", BEHIND, "--database-url", url]);
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("private PostgreSQL only") && !printed.contains("secret"), "{printed}");
}

#[test]
fn a_pgbouncer_of_your_own_is_watched_and_its_password_kept() {
    let place = Place::new();
    let mut gateway = place.start(&["gateway", BEHIND, "--json"]);
    let mut line = String::new();
    let stdout = gateway.child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let processes = place.processes();
    let (_, command) = processes.iter().find(|(_, command)| command.contains("pgbouncer.ini")).expect("a PgBouncer");
    let folder = command.split_whitespace().find_map(|word| word.strip_suffix("/pgbouncer.ini")).unwrap();
    let url = format!("postgresql://postgres:secret@/pgbouncer?host={folder}/s&port=6432");

    let there = Place::new();
    let output = there
        .program()
        .args(["run", crate::program::SMALL, "--variant", "scoped", "--duration", "2s", "-vv"])
        .env("RBAC_BENCH_PGBOUNCER_URL", &url)
        .output()
        .unwrap();
    gateway.signal(Signal::SIGTERM);
    gateway.wait();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let folder = there.run_folder();
    let samples = read_samples(&folder).unwrap();
    let seen = of_pgbouncer(&samples, SessionScope::Scoped);
    assert!(seen.iter().any(|sample| sample.pools.as_ref().is_some_and(|pools| !pools.is_empty())), "{seen:?}");
    assert!(seen.iter().all(|sample| sample.errors.is_none()), "its log is elsewhere: {seen:?}");
    let written = std::fs::read_dir(&folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let printed: String = written.chain([output.stdout, output.stderr]).map(|bytes| text(&bytes)).collect();
    assert!(!printed.contains("secret"));
    place.assert_nothing_is_left(HANG);
}

#[test]
fn a_pgbouncer_that_cannot_be_watched_is_one_clear_error() {
    for (arguments, code, printed) in [
        ([crate::program::SMALL, "postgresql://me:secret@127.0.0.1:1/"], 1, "cannot watch PgBouncer at its console"),
        ([crate::program::SMALL, "postgresql://127.0.0.1:1/"], 2, "no user name"),
        ([BEHIND, "postgresql://me:secret@127.0.0.1:1/"], 2, "the scenario has a PgBouncer of its own"),
    ] {
        let place = Place::new();
        let [scenario, url] = arguments;
        let output = place.output(&["run", scenario, "--pgbouncer-url", url]);
        let heard = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{heard}");
        assert!(heard.contains(printed) && !heard.contains("secret"), "{heard}");
        place.assert_nothing_is_left(HANG);
    }
}
