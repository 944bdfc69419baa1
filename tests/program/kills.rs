//! Kills processes of the program in every phase: nothing is left after the next start, and the record can be read.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rbac_bench::record::store::{read_record, read_samples};
use tokio_postgres::NoTls;

use crate::program::{HANG, Place, SMALL, Started, text};
use crate::support::postgres::cluster;

/// The killed process, by a word of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The program that was started.
    Run,
    /// The supervisor of PostgreSQL, or of the service.
    Supervisor,
    /// Both, one right after the other.
    Both,
}

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/command_service.py");

/// Stages that no line of stderr announces: a supervisor runs, a record or a replica is there.
const SUPERVISED: &str = "supervised";
const RECORDED: &str = "recorded";
const SERVING: &str = "serving";

/// A place, and what is started in it.
struct Scene {
    place: Place,
    database: String,
    scenario: String,
    port: u16,
}

impl Scene {
    fn new(runtime: &tokio::runtime::Runtime) -> Self {
        let database = runtime.block_on(async {
            let (cluster, config) = (cluster().await, cluster().await.config());
            let (user, name) = (config.get_user().expect("a user"), config.get_dbname().expect("a database"));
            format!("host={} port={} user={user} dbname={name}", cluster.socket_dir().display(), cluster.port())
        });
        let place = Place::new();
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let scenario = place.reports().with_file_name("shop.toml");
        let text = format!(
            "name = \"shop\"\n[target]\nurl = \"http://127.0.0.1:{port}\"\ncommand = [\"python3\", \"{SERVICE}\", \"{port}\"]\n\
             env = {{ MODE = \"family\" }}\nhealth = \"/health\"\n[database]\nurl_env = \"SHOP_DATABASE\"\n\
             expect_sessions = false\n[load]\nusers = 2\nramp_up = \"3s\"\nduration = \"60s\"\n\
             think_time = [\"10ms\", \"20ms\"]\n[[route]]\nroute = \"GET /items\"\n"
        );
        fs::write(&scenario, text).expect("a scenario");
        Self { place, database, scenario: scenario.display().to_string(), port }
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut program = self.place.program();
        program.env("SHOP_DATABASE", &self.database).args(arguments);
        if arguments[0] == "watch" {
            program.env("RBAC_BENCH_DATABASE_URL", &self.database);
        }
        program
    }

    /// Waits until there is a supervisor, a record, or this line.
    fn wait_for(&self, run: &mut Started, stage: &str) {
        let is_there = || match stage {
            SUPERVISED => self.runs(" supervise-"),
            SERVING => self.runs("serve-replica"),
            _ => self.record().join("record.json").exists(),
        };
        if !matches!(stage, SUPERVISED | RECORDED | SERVING) {
            run.wait_for_line(stage);
            return;
        }
        let deadline = Instant::now() + HANG;
        while !is_there() {
            assert!(Instant::now() < deadline, "{stage}? {:?}", self.place.processes());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// True if a process of this place has `word` in its command line.
    fn runs(&self, word: &str) -> bool {
        self.place.processes().iter().any(|(_, command)| command.contains(word))
    }

    /// Record of `watch`.
    fn record(&self) -> std::path::PathBuf {
        self.place.reports().join("watched")
    }

    /// Kills the first process of this place whose command line has `word`; whether there was one.
    fn kill(&self, word: &str) -> bool {
        let victim = self.place.processes().into_iter().find(|(_, command)| command.contains(word));
        victim.is_some_and(|(pid, _)| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }

    fn strike(&self, run: &Started, victim: Victim) {
        if victim != Victim::Run {
            let deadline = Instant::now() + HANG;
            while !self.kill(" supervise-") {
                assert!(Instant::now() < deadline, "there is no supervisor: {:?}", self.place.processes());
            }
        }
        if victim != Victim::Supervisor {
            run.signal(Signal::SIGKILL);
        }
    }

    /// Starts once more, where anything is left, and asserts that nothing is then.
    fn assert_clean(&self, what: &str) {
        let settled = Instant::now() + Duration::from_secs(3);
        while !self.place.processes().is_empty() && Instant::now() < settled {
            std::thread::sleep(Duration::from_millis(20));
        }
        let next = ["run", self.scenario.as_str(), "--duration", "1s", "--set", "load.ramp_up=0s"];
        let again = self.program(&next).output().expect("the program starts");
        assert!(again.status.success(), "{what}: {}", text(&again.stderr));
        self.place.assert_nothing_is_left(Duration::from_secs(15));
        assert!(TcpListener::bind(("127.0.0.1", self.port)).is_ok(), "{what}: the port is taken");
    }
}

/// Our own sessions on the server, but for the one that counts.
async fn own_sessions() -> i64 {
    let (client, connection) = cluster().await.config().connect(NoTls).await.expect("a session");
    tokio::spawn(connection);
    let own = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rbac-bench'";
    client.query_one(own, &[]).await.expect("a count").get(0)
}

/// The folder itself, or those of the windows of a paired gate.
fn runs_in(folder: std::path::PathBuf) -> Vec<std::path::PathBuf> {
    if folder.join("record.json").exists() {
        return vec![folder];
    }
    let inner = fs::read_dir(&folder).expect("a folder").map(|it| it.expect("one").path());
    inner.filter(|it| it.is_dir()).flat_map(runs_in).collect()
}

/// Starts a command, kills at a stage, and looks at what is left.
fn killed(runtime: &tokio::runtime::Runtime, command: &[&'static str], stage: &str, victim: Victim) {
    let what = format!("{command:?} at `{stage}`, {victim:?}");
    let scene = Scene::new(runtime);
    let record = scene.record().display().to_string();
    let word = |word: &&'static str| match *word {
        "SHOP" => scene.scenario.clone(),
        "RECORD" => record.clone(),
        plain => plain.to_owned(),
    };
    let words: Vec<String> = command.iter().map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut run = Place::started(scene.program(&words));
    scene.wait_for(&mut run, stage);
    scene.strike(&run, victim);
    let code = run.wait();
    assert_ne!(code, Some(0), "{what}");
    // A gateway alone records nothing.
    let folders = if command[0] == "gateway" { Vec::new() } else { runs_in(scene.place.reports()) };
    assert!(command[0] == "gateway" || !folders.is_empty(), "{what}: there is no record");
    for folder in folders {
        assert!(read_record(&folder).is_ok() && read_samples(&folder).is_ok(), "{what}: {}", folder.display());
    }
    scene.assert_clean(&what);
    let deadline = Instant::now() + HANG;
    while runtime.block_on(own_sessions()) > 0 {
        assert!(Instant::now() < deadline, "{what}: a session is left on the database");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

#[test]
fn a_service_ends_at_the_next_start_if_run_and_supervisor_died() {
    killed(&runtime(), &["run", "SHOP"], "steady ", Victim::Both);
}

#[test]
fn a_service_whose_supervisor_alone_is_killed_ends_with_its_run() {
    let runtime = runtime();
    let scene = Scene::new(&runtime);
    let mut run = Place::started(scene.program(&["run", &scene.scenario]));
    run.wait_for_line("steady ");
    scene.strike(&run, Victim::Supervisor);
    let printed = run.wait_for_line("error:");
    assert_eq!(run.wait(), Some(1), "{printed}");
    scene.place.assert_nothing_is_left(Duration::from_secs(15));
}

#[test]
#[ignore = "some minutes: `make soak`"]
fn kills_in_every_phase_leave_nothing() {
    let run = ["run", SMALL, "--variant", "held", "--duration", "60s", "--set", "load.ramp_up=3s"];
    let own = ["run", "SHOP"];
    let gate = ["gate", "SHOP", "--rule", "failure_rate<=1%"];
    let scan = ["scan", "SHOP"];
    let victims = [Victim::Run, Victim::Supervisor, Victim::Both, Victim::Both];
    let kills = killed_at_all(&[
        (&run, &["starting", "ramp ", "steady "], &victims),
        (&own, &["starting", "ramp ", "steady "], &victims),
        (&gate, &["ramp ", "steady "], &victims),
        (&scan, &["warmup", "isolation"], &victims),
    ]);
    assert_eq!(kills, 40);
}

#[test]
#[ignore = "a minute: `make soak`"]
fn kills_of_pairs_a_gateway_and_watch_leave_nothing() {
    let paired = ["gate", SMALL, "--paired", "--baseline", "held", "--candidate", "scoped"];
    // These start a testbed again when its supervisor dies.
    let victims = [Victim::Run, Victim::Both];
    let kills = killed_at_all(&[
        (&paired, &[SUPERVISED, "· candidate"], &victims),
        (&["calibrate", SMALL], &[SUPERVISED], &victims),
        (&["gateway", SMALL], &[SUPERVISED, SERVING], &victims),
        (&["watch", "--record", "RECORD"], &[RECORDED], &[Victim::Run]),
    ]);
    assert_eq!(kills, 11);
}

/// Kills each command at each of its stages with each victim; gives how many kills these were.
fn killed_at_all(commands: &[(&[&'static str], &[&str], &[Victim])]) -> usize {
    let runtime = runtime();
    let mut kills = 0;
    for (command, stages, victims) in commands {
        for (stage, victim) in stages.iter().flat_map(|stage| victims.iter().map(move |victim| (stage, victim))) {
            killed(&runtime, command, stage, *victim);
            kills += 1;
        }
    }
    kills
}
