//! The cause is named, on real parts: the route, its statement and its mistake; and nobody where nobody holds.

use serde_json::Value;

use crate::program::{Place, SMALL, json, text};
use crate::truth::Diagnosed;

const CALL: &str = "POST /rpc tools/call";

/// Runs the small scenario in one variant and diagnoses it.
fn diagnosed(variant: &str, settings: &[&str]) -> (Place, Vec<Value>) {
    let Diagnosed { place, findings, .. } = Diagnosed::of(SMALL, variant, settings);
    (place, findings)
}

fn held(findings: &[Value]) -> Vec<&str> {
    let held = findings.iter().filter(|it| it["kind"] == "held_session");
    held.map(|it| it["route"].as_str().expect("a route")).collect()
}

#[test]
fn a_full_pool_that_freezes_its_loops_is_the_fault_of_the_slow_call() {
    let (place, findings) = diagnosed("held", &[]);
    assert_eq!(held(&findings), [CALL], "{findings:#?}");
    let first = &findings[0];
    assert_eq!((first["route"].as_str(), first["pattern"].as_str()), (Some(CALL), Some("H1")), "{first:#}");
    assert!(first["statement"].as_str().is_some_and(|it| it.contains("user_roles")), "{first:#}");
    assert!(first["share"].as_f64().is_some_and(|it| it > 0.8), "{first:#}");
    let exhausted = findings.iter().find(|it| it["kind"] == "pool_exhausted").expect("the pool gave up");
    assert!(exhausted["title"].as_str().is_some_and(|it| it.contains("3 + 1")), "{exhausted:#}");

    // What people read says the same, with the statement and what to do.
    let folder = place.run_folder().display().to_string();
    let output = place.output(&["diagnose", &folder]);
    let printed = text(&output.stdout);
    assert!(output.status.success() && printed.contains(CALL) && printed.contains("what to do"), "{printed}");
}

#[test]
fn seconds_per_request_are_those_of_the_call_when_nobody_waits() {
    let run = Diagnosed::of(SMALL, "across_backend", &["gateway.pool.size=30", "load.duration=6s"]);
    assert_eq!(held(&run.findings), [CALL], "{:#?}", run.findings);
    assert_eq!(run.findings[0]["pattern"], "H2", "{:#}", run.findings[0]);
    // The call takes 0.3 s, and on a busy machine longer: then it holds for longer, and the gateway says so.
    run.assert_holds_the_truth();
    let seconds = run.findings[0]["held_s_per_request"]["value"].as_f64().expect("seconds");
    assert!(seconds > 0.85 * 0.3, "{seconds} s, {:#}", run.findings[0]);
}

#[test]
fn where_sessions_are_given_back_nobody_is_named() {
    for _ in 0..3 {
        nobody_is_named();
    }
}

#[test]
#[ignore = "a dozen runs take more than a minute"]
fn where_sessions_are_given_back_nobody_is_named_in_a_dozen_runs() {
    for run in 1..=12 {
        nobody_is_named();
        println!("run {run}: nobody");
    }
}

fn nobody_is_named() {
    let (_place, findings) = diagnosed("scoped", &[]);
    assert_eq!(held(&findings), Vec::<&str>::new(), "{findings:#?}");
    assert!(findings.iter().all(|it| it["kind"] != "leaked_session"), "{findings:#?}");
}

#[test]
fn the_end_of_a_run_says_what_is_wrong() {
    let place = Place::new();
    // On a slow machine a pool of eight answers a few requests a second: long enough to name a route.
    let output = place.output(&["run", SMALL, "--variant", "held", "--duration", "10s"]);
    let table = text(&output.stdout);
    assert!(table.contains("What is wrong: POST /rpc tools/call holds its session"), "{table}");
}

#[test]
fn what_is_no_run_is_refused_and_logs_are_read() {
    let place = Place::new();
    let missing = place.tmp().join("nothing").display().to_string();
    assert_eq!(place.output(&["diagnose", &missing]).status.code(), Some(2));
    assert_eq!(place.output(&["diagnose", &missing, "--what-if", "pool=0"]).status.code(), Some(2));

    let log = place.tmp().join("pgbouncer.log");
    let line = "LOG C-0x1: db/app@1:2 closing because: idle transaction timeout (age=2s) \u{1b}[31m\n";
    std::fs::write(&log, line.repeat(7)).expect("our own folder");
    json(&place.output(&["run", SMALL, "--variant", "scoped", "--json"]));
    let (folder, log) = (place.run_folder().display().to_string(), log.display().to_string());
    let output = place.output(&["diagnose", &folder, "--log", &log, "--what-if", "users=400"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("PgBouncer ended sessions that were idle in transaction, 7 times"), "{printed}");
    assert!(printed.contains("what if: 400 users"), "{printed}");
    assert!(!printed.contains('\u{1b}'), "{printed}");
}

#[test]
fn logs_alone_are_diagnosed_and_never_called_fine() {
    let place = Place::new();
    let fixture = |name: &str| format!("{}/fixtures/logs/{name}", env!("CARGO_MANIFEST_DIR"));
    let output =
        place.output(&["diagnose", "--log", &fixture("structlog.log"), "--log", &fixture("pgbouncer-login.log")]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for expected in [
        "SQLAlchemy: a checkout gave up waiting for a connection of the pool, 4 times (size 1, overflow 0, limit 0.3 s).",
        "when: 2026-11-29T11:31:37",
        "where: first in line ",
        "PgBouncer: the pooler ended a client",
        "what to do: Find who keeps the connections",
    ] {
        assert!(printed.replace("\n     ", " ").contains(expected), "{printed}");
    }
    let document = json(&place.output(&["diagnose", "--log", &fixture("one-is-gone.log"), "--json"]));
    assert_eq!(
        (&document["format"]["name"], &document["lines"]),
        (&"rbac-bench/logs".into(), &20.into()),
        "{document:#}"
    );
    let kinds: Vec<_> =
        document["failures"].as_array().expect("a list").iter().map(|it| (&it["kind"], &it["count"])).collect();
    assert_eq!(kinds, [(&"held_long".into(), &2.into()), (&"leak_suspected".into(), &1.into())], "{document:#}");

    let nothing = place.output(&["diagnose", "--log", &fixture("numbers-uvicorn.log")]);
    assert_eq!(nothing.status.code(), Some(3));
    assert!(text(&nothing.stdout).starts_with("Inconclusive: none of 6 lines"), "{}", text(&nothing.stdout));
    for (arguments, expected) in [
        (vec!["diagnose"], "nothing to diagnose"),
        (vec!["diagnose", "--log", "/dev/null"], "it is empty"),
        (vec!["diagnose", "--log", "/nowhere.log"], "cannot read the log `/nowhere.log`"),
        (vec!["diagnose", "--log", &fixture("spring.log"), "--what-if", "pool=5"], "`--what-if` requires a run"),
    ] {
        let refused = place.output(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains(expected), "{arguments:?}: {}", text(&refused.stderr));
    }
}

#[test]
fn a_log_is_read_from_standard_input() {
    let place = Place::new();
    let log =
        std::fs::File::open(format!("{}/fixtures/logs/kubectl.log", env!("CARGO_MANIFEST_DIR"))).expect("a fixture");
    let output = place.program().args(["diagnose", "--log", "-"]).stdin(log).output().expect("it starts");
    assert!(text(&output.stdout).contains("asyncpg: a checkout gave up"), "{}", text(&output.stdout));
}
