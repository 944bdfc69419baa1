//! Gates on a kiosk that fails while it is measured.

use std::time::{Duration, Instant};

use super::{APPLICATION, Bench, Kiosk, Mode, ROUTES, RULES, outcome};

/// Runs a gate on a kiosk in a mode.
fn gate(bench: &Bench, kiosk: &Kiosk, more: &[&str]) -> std::process::Output {
    let scenario = bench.scenario(&kiosk.url);
    bench.output(&[&["gate", scenario.as_str()], more].concat())
}

#[test]
fn a_healthy_service_passes_and_one_that_holds_fails() {
    let bench = Bench::new();
    let kiosk = Kiosk::start(Mode::Fine);
    let passed = gate(&bench, &kiosk, &[]);
    assert_eq!(passed.status.code(), Some(0), "{}", outcome(&passed));
    kiosk.become_(Mode::Holds);
    let failed = gate(&bench, &kiosk, &["--rule", "idle_in_transaction.mean<0.1"]);
    assert_eq!(failed.status.code(), Some(99), "{}", outcome(&failed));
    // Routes without a database, of which the scenario says so.
    let quiet = "[[route]]\nroute = \"GET /static\"\n";
    let scenario = bench.write(&kiosk.url, "expect_sessions = false\napplications = [\"nobody\"]", quiet, RULES);
    let passed = bench.output(&["gate", &scenario]);
    assert_eq!(passed.status.code(), Some(0), "{}", outcome(&passed));
}

#[test]
fn a_service_whose_requests_fail_is_never_green() {
    let bench = Bench::new();
    for mode in [Mode::NotFound, Mode::Broken, Mode::ReportsFail, Mode::Masked, Mode::Hangs] {
        let kiosk = Kiosk::start(mode);
        let judged = gate(&bench, &kiosk, &[]);
        // One that hangs breaks the rule on latencies, too.
        let expected = if mode == Mode::Hangs { 99 } else { 3 };
        assert_eq!(judged.status.code(), Some(expected), "{mode:?}: {}", outcome(&judged));
        let printed = outcome(&judged);
        assert!(printed.contains("failed") || printed.contains("no session took part"), "{mode:?}: {printed}");
    }
    let kiosk = Kiosk::start(Mode::NotFound);
    let failures = gate(&bench, &kiosk, &["--rule", "failure_rate<=1%"]);
    assert_eq!(failures.status.code(), Some(99), "{}", outcome(&failures));
    let unhealthy = Kiosk::start(Mode::Unhealthy);
    let judged = gate(&bench, &unhealthy, &["--rule", "replicas_healthy>=1"]);
    assert_eq!(judged.status.code(), Some(99), "{}", outcome(&judged));
    // A request that the end of its load cut off may have left a transaction open, which would be seen below.
    drop((kiosk, unhealthy));
    let nobody = bench.scenario("http://127.0.0.1:9");
    let judged = bench.output(&["gate", &nobody]);
    assert_eq!(judged.status.code(), Some(3), "{}", outcome(&judged));
}

/// Changes the kiosk at so many tenths of the steady phase.
fn changed_at(bench: &Bench, tenth: u32, change: impl FnOnce(&mut Kiosk)) -> std::process::Output {
    let mut kiosk = Kiosk::start(Mode::Fine);
    let scenario = bench.scenario(&kiosk.url);
    let mut program = bench.program();
    let started = super::Place::started({
        program.args(["gate", &scenario, "-v"]);
        program
    });
    // The load begins when the record is there, and lasts 3 s.
    let folders = || std::fs::read_dir(bench.place.reports()).map_or(0, Iterator::count);
    let (before, deadline) = (folders(), Instant::now() + crate::program::HANG);
    while folders() == before {
        assert!(Instant::now() < deadline, "no run began");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300) * tenth);
    change(&mut kiosk);
    started.child.wait_with_output().expect("its end")
}

fn killed_at(bench: &Bench, tenth: u32) -> std::process::Output {
    changed_at(bench, tenth, Kiosk::kill)
}

#[test]
fn a_service_that_hangs_from_the_middle_on_is_not_green() {
    let bench = Bench::new();
    let judged = changed_at(&bench, 4, |kiosk| kiosk.become_(Mode::Hangs));
    assert!(matches!(judged.status.code(), Some(3 | 99)), "{}", outcome(&judged));
    let idle = outcome(&judged);
    let idle = idle.lines().find(|line| line.contains("idle_in_transaction.max<10")).expect("the rule");
    assert!(idle.contains("inconclusive"), "few sessions are no merit of a service that hangs: {idle}");
}

#[test]
fn a_password_that_is_a_word_leaves_records_and_documents_as_they_are() {
    let bench = Bench::new();
    let kiosk = Kiosk::start(Mode::Fine);
    let scenario = bench.scenario(&kiosk.url);
    let database = format!("{} password=postgres", bench.database);
    let junit = bench.place.tmp().join("word.xml").display().to_string();
    let arguments = ["gate", scenario.as_str(), "--json", "--junit", junit.as_str()];
    let judged = bench.program().env("KIOSK_DATABASE", &database).args(arguments).output().expect("the program starts");
    assert_eq!(judged.status.code(), Some(0), "{}", outcome(&judged));
    let document: serde_json::Value = serde_json::from_slice(&judged.stdout).expect("JSON");
    assert!(!document.to_string().contains('…'), "{document:#}");
    let kept = super::read_record(&bench.place.run_folder());
    assert!(kept["variants"].to_string().contains("postgres_version"), "{kept:#}");
    assert!(!std::fs::read_to_string(&junit).expect("JUnit").contains('…'));
}

#[test]
fn a_service_that_is_killed_on_the_way_is_not_green() {
    let bench = Bench::new();
    for tenth in [3, 9] {
        let judged = killed_at(&bench, tenth);
        assert_eq!(judged.status.code(), Some(3), "killed at {tenth}/10: {}", outcome(&judged));
    }
}

#[test]
#[ignore = "a minute: `make soak`"]
fn a_service_that_is_killed_at_any_tenth_of_the_run_is_not_green() {
    let bench = Bench::new();
    for tenth in 0..10 {
        let judged = killed_at(&bench, tenth);
        assert_eq!(judged.status.code(), Some(3), "killed at {tenth}/10: {}", outcome(&judged));
    }
}

#[test]
fn unwatched_sessions_are_inconclusive_in_every_command() {
    let bench = Bench::new();
    let kiosk = Kiosk::start(Mode::Holds);
    let wrong = [
        ("applications = [\"nosuchapp\"]", bench.database.clone()),
        ("", bench.database.replace("dbname=rbac", "dbname=postgres")),
    ];
    for (database, url) in wrong {
        let scenario = bench.write(&kiosk.url, database, ROUTES, RULES);
        let run = |arguments: &[&str]| {
            let output = bench.program().env("KIOSK_DATABASE", &url).args(arguments).output();
            output.expect("the program starts")
        };
        let gate = run(&["gate", &scenario]);
        let printed = outcome(&gate);
        assert_eq!(gate.status.code(), Some(3), "{printed}");
        let place = format!("application `{APPLICATION}`, database `rbac`");
        assert!(printed.contains("no session took part") && printed.contains(&place), "{printed}");
        assert!(printed.contains("expect_sessions = false"), "{printed}");
        let measured = run(&["run", &scenario, "--out", &bench.place.tmp().join("runs").display().to_string()]);
        assert_eq!(measured.status.code(), Some(3), "{}", outcome(&measured));
        let folder = std::fs::read_dir(bench.place.tmp().join("runs")).expect("runs").next().expect("one").expect("it");
        let diagnosed = run(&["diagnose", &folder.path().display().to_string()]);
        assert_eq!(diagnosed.status.code(), Some(3), "{}", outcome(&diagnosed));
        assert!(outcome(&diagnosed).contains("no session took part"), "{}", outcome(&diagnosed));
        std::fs::remove_dir_all(bench.place.tmp().join("runs")).expect("our own folder");
        let short = ["--requests", "6", "--rounds", "1", "--concurrent", "0s"];
        let scanned = run(&[&["scan", scenario.as_str()], &short[..]].concat());
        assert_eq!(scanned.status.code(), Some(3), "{}", outcome(&scanned));
        assert!(!outcome(&scanned).contains("fine") && outcome(&scanned).contains(&place), "{}", outcome(&scanned));
        let doctor = run(&["doctor", &scenario]);
        assert_eq!(doctor.status.code(), Some(3), "{}", outcome(&doctor));
        assert!(outcome(&doctor).contains(&place), "{}", outcome(&doctor));
    }
    // The service's own process is named where its sessions are outcome by their ports.
    let healthy = bench.scenario(&kiosk.url);
    let doctor = bench.output(&["doctor", &healthy]);
    assert_eq!(doctor.status.code(), Some(0), "{}", outcome(&doctor));
}

#[test]
fn a_candidate_that_is_dead_does_not_pass_a_paired_gate() {
    let bench = Bench::new();
    let (fine, dead) = (Kiosk::start(Mode::Fine), Kiosk::start(Mode::NotFound));
    let variants = format!("[variants.a]\nurl = \"{}\"\n[variants.b]\nurl = \"{}\"\n", fine.url, dead.url);
    let scenario = bench.write(&fine.url, "", ROUTES, &variants);
    let short = ["--pairs", "4", "--alpha", "10%", "--settle", "0s", "--measured", "500ms"];
    let gate = |baseline: &str, candidate: &str, more: &[&str]| {
        let arms = ["gate", scenario.as_str(), "--paired", "--baseline", baseline, "--candidate", candidate];
        bench.output(&[&arms[..], &short[..], more].concat())
    };
    let idle = ["--rule", "idle_in_transaction.mean<=+10% vs baseline"];
    let judged = gate("a", "b", &idle);
    assert_eq!(judged.status.code(), Some(3), "{}", outcome(&judged));
    let failures = gate("a", "b", &["--rule", "failure_rate<=+10% vs baseline"]);
    assert_eq!(failures.status.code(), Some(99), "{}", outcome(&failures));
}
