//! Whose sessions: a service's own are watched by its URL, also behind a pooler; a pooler is not taken for the server.

use std::io::{BufRead, BufReader};
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::apps::{SHOP, Service};
use crate::program::{Place, json, text};
use crate::tcp_server::{Pooler, TcpServer};

/// The program with this database in `DATABASE_URL`, or none.
fn output(place: &Place, database: Option<&str>, arguments: &[&str]) -> Output {
    let mut program = place.program();
    for variable in ["DATABASE_URL", "PGHOST", "PGDATABASE", "PGUSER"] {
        program.env_remove(variable);
    }
    program.envs(database.map(|url| ("DATABASE_URL", url))).args(arguments).output().expect("the program")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_watched_by_its_url_and_a_neighbour_is_not() {
    let (place, server) = (Place::new(), TcpServer::start());
    let neighbour = format!("{}?application_name=neighbour", server.url("shop"));
    let (client, connection) = tokio_postgres::connect(&neighbour, NoTls).await.expect("the server");
    tokio::spawn(connection);
    client.batch_execute("BEGIN; SELECT 1").await.expect("a transaction");
    let service = Service::start_on(&SHOP, "0", &server.url("shop"));
    let url = service.url();
    assert!(service.get("/articles").is_some());

    let seen = output(&place, Some(&server.url("shop")), &["watch", &url, "--once", "--json"]);
    assert!(seen.status.success(), "{}", text(&seen.stderr));
    let seen: Value = json(&seen);
    let names: Vec<&str> = seen["by_application"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["application_name"].as_str())
        .collect();
    assert_eq!(names, ["shop"], "{seen:#}");

    let elsewhere = output(&place, Some(&server.url("postgres")), &["watch", &url, "--once"]);
    let error = text(&elsewhere.stderr);
    assert_eq!(elsewhere.status.code(), Some(3), "{error}");
    assert!(
        error.contains("cannot find a session of") && error.contains("application `shop`, database `shop`"),
        "{error}"
    );

    let nowhere = output(&place, None, &["watch", &url, "--once"]);
    let error = text(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(2), "{error}");
    assert!(error.contains(&format!("is connected to PostgreSQL at 127.0.0.1:{}", server.port)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_the_server_is_watched_and_a_gate_on_held_seconds_scans() {
    let (place, server) = (Place::new(), TcpServer::start());
    let pooler = Pooler::before(&server);
    let service = Service::start_on(&SHOP, "1", &pooler.url("shop"));
    let url = service.url();
    assert!(service.get("/articles").is_some());

    let nowhere = output(&place, None, &["scan", &url]);
    let error = text(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(2), "{error}");
    let at = format!("PostgreSQL at 127.0.0.1:{} through `pgbouncer` at 127.0.0.1:{}", server.port, pooler.port);
    assert!(error.contains(&at), "{error}");

    for command in ["scan", "watch", "doctor"] {
        let refused = output(&place, Some(&pooler.url("shop")), &[command, &url]);
        let printed = text(&refused.stdout) + &text(&refused.stderr);
        assert_ne!(refused.status.code(), Some(0), "{command}: {printed}");
        assert!(
            printed.contains("is of a pooler") && printed.contains(&server.port.to_string()),
            "{command}: {printed}"
        );
    }

    let scenario = place.tmp().join("shop.toml");
    let toml = format!(
        "name = \"shop\"\n[target]\nurl = \"{url}\"\n[database]\napplications = [\"shop\"]\n[load]\nusers = 3\n\
         ramp_up = \"0s\"\nduration = \"4s\"\n[[route]]\nroute = \"GET /recommendations\"\n\
         [[gate]]\nrule = \"hold.seconds for GET /recommendations<50ms\"\n[[gate]]\nrule = \"failure_rate<=1%\"\n"
    );
    std::fs::write(&scenario, toml).expect("a temporary file");
    let gate = ["gate", &scenario.display().to_string(), "--json"];
    let judged = output(&place, Some(&server.url("shop")), &gate);
    let report: Value = serde_json::from_slice(&judged.stdout).expect("a document");
    assert_eq!(judged.status.code(), Some(99), "{report:#}\n{}", text(&judged.stderr));
    let rule = &report["rules"][0];
    let held_s = rule["measured"].as_f64().expect("a figure");
    assert!((0.2..0.3).contains(&held_s), "0.25 s are planted: {rule:#}");
    let reason = rule["reason"].as_str().expect("it says why");
    assert!(reason.starts_with("GET /recommendations holds its session"), "{reason}");
    assert_eq!(report["rules"][1]["verdict"], "passed", "by a load before the scan: {report:#}");

    let mut program = place.program();
    let mut interrupted = program.env("DATABASE_URL", server.url("shop")).args(gate).spawn().expect("the program");
    let progress = BufReader::new(interrupted.stderr.take().expect("a pipe"));
    let is_loading = |line: &String| line.contains(" steady ");
    assert!(progress.lines().map_while(Result::ok).any(|line| is_loading(&line)), "it loads");
    kill(Pid::from_raw(i32::try_from(interrupted.id()).expect("a process id")), Signal::SIGINT).expect("it runs");
    let interrupted = interrupted.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&interrupted.stdout).expect("a document");
    assert_eq!(interrupted.status.code(), Some(130), "{report:#}");
    assert_eq!(report["rules"].as_array().map(Vec::len), Some(2), "none is left out: {report:#}");
    assert_eq!(report["rules"][0]["verdict"], "inconclusive", "{report:#}");
}
