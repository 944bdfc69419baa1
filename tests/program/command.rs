//! A service that the scenario's command starts: for each variant anew, and never longer than the run.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{HANG, Place, json, record, text};
use crate::support::postgres::cluster;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/command_service.py");

const TOKEN: &str = "shop-token-0123456789";

/// A scenario with a command, and where it is run.
struct Shop {
    place: Place,
    folder: TempDir,
    database: String,
    port: u16,
}

impl Shop {
    async fn new() -> Self {
        let (cluster, config) = (cluster().await, cluster().await.config());
        let (user, name) = (config.get_user().expect("a user"), config.get_dbname().expect("a database"));
        let database =
            format!("host={} port={} user={user} dbname={name}", cluster.socket_dir().display(), cluster.port());
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        Self { place: Place::new(), folder: tempfile::tempdir().expect("a folder"), database, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The scenario with these lines in `[target]`, and after its routes.
    fn scenario(&self, target: &str, rest: &str) -> String {
        let (url, port) = (self.url(), self.port);
        let text = format!(
            "name = \"shop\"\n[target]\nurl = \"{url}\"\ncommand = [\"python3\", \"{SERVICE}\", \"{port}\"]\n{target}\n\
             [database]\nurl_env = \"SHOP_DATABASE\"\nexpect_sessions = false\n[load]\nusers = 2\nramp_up = \"0s\"\nduration = \"1s\"\n\
             think_time = [\"10ms\", \"20ms\"]\n[[identity]]\nbearer_env = \"SHOP_TOKEN\"\n\
             [[route]]\nroute = \"GET /items\"\nmust_have = \"/colour\"\n{rest}"
        );
        let path = self.folder.path().join("shop.toml");
        fs::write(&path, text).expect("a scenario");
        path.display().to_string()
    }

    fn program(&self) -> Command {
        let mut program = self.place.program();
        program.env("SHOP_DATABASE", &self.database).env("SHOP_TOKEN", TOKEN);
        program
    }

    fn run(&self, target: &str, rest: &str, more: &[&str]) -> std::process::Output {
        let scenario = self.scenario(target, rest);
        self.program().args(["run", &scenario]).args(more).output().expect("the program starts")
    }

    /// The processes of the service, once there are so many.
    fn services(&self, wanted: usize) -> Vec<String> {
        let deadline = Instant::now() + HANG;
        loop {
            let all = self.place.processes().into_iter().map(|(_, command)| command);
            let found: Vec<String> = all.filter(|command| command.contains("python")).collect();
            if found.len() == wanted {
                return found;
            }
            assert!(Instant::now() < deadline, "{wanted} processes are not there: {found:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self, variant: &str) -> String {
        fs::read_to_string(self.place.run_folder().join(format!("service.{variant}.log"))).expect("a log")
    }
}

fn refused(shop: &Shop, output: &std::process::Output, code: i32) -> String {
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{printed}");
    assert_eq!(shop.services(0), Vec::<String>::new());
    printed
}

#[tokio::test]
async fn each_variant_has_a_service_of_its_own_that_ends_with_it() {
    let shop = Shop::new().await;
    fs::create_dir(shop.folder.path().join("fixed")).expect("a folder");
    let variants = "[variants.before]\nenv = { COLOUR = \"red\", MODE = \"family\" }\n\
                    [variants.after]\nfolder = \"fixed\"\n";
    let run = json(&shop.run("health = \"/health\"\nenv = { COLOUR = \"green\" }", variants, &["--json"]));
    for variant in ["before", "after"] {
        let summary = &run["variants"][variant];
        assert!(summary["requests"].as_u64().is_some_and(|it| it > 10), "{summary:#}");
        assert_eq!((&summary["failure_ratio"], &summary["replicas_healthy_min"]), (&Value::from(0.0), &Value::from(1)));
    }
    // The environment is theirs, the folder too; the token is in nothing that stays.
    let here = shop.folder.path().display();
    assert_eq!(shop.log("before"), format!("colour red in {here} with …\n"));
    assert_eq!(shop.log("after"), format!("colour green in {here}/fixed with …\n"));
    assert!(!record(&shop.place.run_folder()).to_string().contains(TOKEN));
    shop.services(0);
}

#[tokio::test]
async fn a_service_that_does_not_start_is_reported_with_its_last_words() {
    let shop = Shop::new().await;
    let printed = refused(&shop, &shop.run("env = { MODE = \"fails\" }", "", &[]), 1);
    assert!(
        printed.contains("has ended by itself (exit status: 1)") && printed.contains("no table `items` here"),
        "{printed}"
    );
    let error = &record(&shop.place.run_folder())["outcome"]["failed"]["error"];
    assert!(error.as_str().is_some_and(|it| it.contains("no table")), "{error}");
    assert!(shop.log("service").contains("no table"));
}

#[tokio::test]
async fn a_service_that_does_not_serve_in_time_is_ended() {
    let shop = Shop::new().await;
    let target = "ready = \"/ready\"\nready_within = \"2s\"\nenv = { MODE = \"unready\" }";
    let printed = refused(&shop, &shop.run(target, "", &[]), 1);
    assert!(printed.contains("did not serve within 2 s") && printed.contains("/ready` answers 503"), "{printed}");
    assert!(printed.contains("colour None in") && !printed.contains(TOKEN), "{printed}");
    let place = Shop { place: Place::new(), ..shop };
    let printed = refused(&place, &place.run("ready_within = \"1s\"\nenv = { MODE = \"slow\" }", "", &[]), 1);
    assert!(printed.contains("nothing accepts at `http://127.0.0.1:"), "{printed}");
}

#[tokio::test]
async fn a_service_that_dies_under_load_is_an_error_that_names_its_end() {
    let shop = Shop::new().await;
    let printed = refused(&shop, &shop.run("env = { MODE = \"dies\" }", "", &["--duration", "60s"]), 1);
    assert!(printed.contains("exit status: 7") && printed.contains("out of luck"), "{printed}");
}

#[tokio::test]
async fn a_command_that_cannot_be_started_and_a_port_that_is_taken_are_refused() {
    let shop = Shop::new().await;
    let nothing = ["--set", "target.command=[\"./nothing-here\"]"];
    let printed = refused(&shop, &shop.run("", "", &nothing), 2);
    assert!(printed.contains("cannot start `./nothing-here` in") && printed.contains("No such file"), "{printed}");
    let shop = Shop { place: Place::new(), ..shop };
    let _somebody = TcpListener::bind(("127.0.0.1", shop.port)).expect("the port is free again");
    let printed = refused(&shop, &shop.run("", "", &[]), 2);
    assert!(printed.contains(&format!("something answers at `{}` already", shop.url())), "{printed}");
    assert!(!shop.place.run_folder().join("service.service.log").exists());
}

/// Starts a long run, and signals it once it loads.
async fn interrupted(signal: Signal) -> (Shop, Option<i32>) {
    let shop = Shop::new().await;
    let scenario = shop.scenario("env = { MODE = \"family\" }", "");
    // What its own children say does not hold this test up: they inherit no pipe of it.
    let mut program = shop.program();
    program.args(["run", &scenario, "--duration", "60s"]);
    let mut run = Place::started(program);
    run.wait_for_line("steady ");
    shop.services(3);
    run.signal(signal);
    let code = run.wait();
    (shop, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_the_run_the_service_and_its_family_end_too() {
    let (interrupted, killed) = tokio::join!(interrupted(Signal::SIGINT), interrupted(Signal::SIGKILL));
    assert_eq!((interrupted.1, killed.1), (Some(130), None));
    interrupted.0.services(0);
    killed.0.services(0);
}

#[tokio::test]
async fn a_paired_gate_starts_the_service_of_each_window_anew() {
    let shop = Shop::new().await;
    let scenario = shop.scenario("", "[variants.before]\nenv = { DELAY = \"0.1\" }\n[variants.after]\n");
    let pairs = ["--pairs", "4", "--alpha", "10%", "--settle", "200ms", "--measured", "1s"];
    let gate = ["gate", &scenario, "--paired", "--metric", "latency.p95", "--json"];
    let output = shop.program().args([&gate[..], &pairs[..]].concat()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(99), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rule = &document["rules"][0];
    assert!(rule["ratio"]["value"].as_f64().is_some_and(|ratio| ratio > 2.0), "{document:#}");
    let windows = fs::read_dir(shop.place.run_folder()).expect("a folder").filter_map(|it| Some(it.ok()?.path()));
    let logs = windows.filter(|it| it.join("service.before.log").exists() || it.join("service.after.log").exists());
    assert_eq!(logs.count(), 8);
    shop.services(0);
    // A variant that is none is refused, and those that there are named.
    let output =
        shop.program().args(["gate", &scenario, "--paired", "--candidate", "befor"]).output().expect("it starts");
    let printed = text(&output.stderr);
    assert!(output.status.code() == Some(2) && printed.contains("did you mean `before`?"), "{printed}");
}

#[tokio::test]
async fn doctor_looks_at_what_the_scenario_needs_and_starts_nothing() {
    let shop = Shop::new().await;
    let scenario = shop.scenario("", "[variants.before]\n[variants.after]\ncommand = [\"./nothing-here\"]\n");
    let doctor = |shop: &Shop, arguments: &[&str]| {
        let output = shop.program().args([&["doctor", &scenario], arguments].concat()).output().expect("it starts");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, printed) = doctor(&shop, &["--variant", "before"]);
    assert_eq!(code, Some(0), "{printed}");
    for good in ["SHOP_DATABASE is set", "command of before", "python3", "sessions can be seen", "its port is free"] {
        assert!(printed.contains(good), "{good}: {printed}");
    }
    assert!(!printed.contains(TOKEN), "{printed}");
    let (code, printed) = doctor(&shop, &[]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("there is no program `./nothing-here`") && printed.contains("by its path from `folder`"),
        "{printed}"
    );
    let _somebody = TcpListener::bind(("127.0.0.1", shop.port)).expect("the port is free");
    let (code, printed) = doctor(&shop, &["--variant", "before"]);
    assert!(
        code == Some(1) && printed.contains("something answers at") && printed.contains("stop it, or leave"),
        "{printed}"
    );
    let unset = shop.place.program().args(["doctor", &scenario]).output().expect("it starts");
    let printed = text(&unset.stdout);
    assert!(unset.status.code() == Some(1) && printed.contains("export SHOP_DATABASE=…"), "{printed}");
    assert!(!shop.place.reports().exists());
}

#[tokio::test]
async fn flags_point_to_another_target_and_another_database() {
    let shop = Shop::new().await;
    let database = format!("postgresql://nobody:s3cret@localhost:{}/shop", shop.port);
    let scenario = shop.scenario("", "");
    let elsewhere = ["run", &scenario, "--target", "http://10.0.0.1", "--database-url", &database];
    let output = shop.program().args(elsewhere).output().expect("it starts");
    let printed = text(&output.stderr);
    assert!(output.status.code() == Some(2) && printed.contains("`10.0.0.1` is another machine"), "{printed}");
    assert!(
        printed.contains("anyone who lists processes reads the password") && !printed.contains("s3cret"),
        "{printed}"
    );
    // The variable wins over the file, and the record has its name alone.
    let mut program = shop.program();
    program.env("RBAC_BENCH_DATABASE_URL", &shop.database).env("SHOP_DATABASE", &database).args(["run", &scenario]);
    let output = program.output().expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record = record(&shop.place.run_folder());
    assert_eq!(record["scenario"]["database"]["url_env"], "RBAC_BENCH_DATABASE_URL");
    assert!(!record.to_string().contains("s3cret"));
}
