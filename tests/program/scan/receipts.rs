//! Routes that take the service's pool away, on the service in `receipts.py`: they are named, and stand in nobody's way.

use std::fs;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{named, route};
use crate::orders::database;
use crate::program::{Place, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const CULPRITS: [&str; 2] = ["GET /invoices/{id}", "GET /receipts/{id}"];

fn words(port: u16) -> [String; 6] {
    let program = format!("{ROOT}/.venv-apps/bin/uvicorn");
    [&program, "receipts:app", "--port", &port.to_string(), "--log-level", "warning"].map(ToString::to_string)
}

fn folder() -> String {
    format!("{ROOT}/tests/program/scan")
}

/// Scans the service at this port, which `target` says how to start.
async fn scanned(url: &str, port: u16, target: &str) -> Value {
    let one = |name: &&str| {
        let params = if name.contains("{id}") { "params = { id = { from = 1, to = 99 } }\n" } else { "" };
        format!("[[route]]\nroute = \"{name}\"\n{params}")
    };
    let routes = [CULPRITS[0], CULPRITS[1], "GET /orders/{id}", "GET /weather"];
    let text = format!(
        "name = \"receipts\"\npool_capacity = 10\n[target]\nurl = \"http://127.0.0.1:{port}\"\n{target}\
         [load]\nusers = 8\nclient_timeout = \"3s\"\nthink_time = [\"50ms\", \"250ms\"]\n{}",
        routes.iter().map(one).collect::<String>()
    );
    let place = Arc::new(Place::new());
    let path = place.tmp().join("receipts.toml");
    fs::write(&path, text).unwrap();
    let (scenario, url) = (path.display().to_string(), url.to_owned());
    let run = move || {
        let short = ["--rounds", "1", "--requests", "18", "--concurrent", "6s", "--no-hang-up", "--json"];
        place.program().env("DATABASE_URL", url).args(["scan", &scenario]).args(short).output().unwrap()
    };
    json(&tokio::task::spawn_blocking(run).await.unwrap())
}

fn reason<'a>(document: &'a Value, name: &str) -> &'a str {
    route(document, name)["reason"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_take_the_pool_are_named_and_the_service_is_started_anew() {
    let url = database("receipts").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let command = format!(
        "ready = \"/weather\"\nfolder = \"{}\"\ncommand = {:?}\nenv = {{ PYTHONDONTWRITEBYTECODE = \"1\" }}\n",
        folder(),
        words(port)
    );
    let document = scanned(&url, port, &command).await;
    let mut found = named(&document);
    found.sort_unstable();
    assert_eq!(found, CULPRITS.map(|route| (route, "leaks")), "{document:#}");
    let reason = reason(&document, CULPRITS[1]);
    assert!(
        reason.contains("the service stopped answering (its pool has 10 connections)")
            && reason.contains("started it anew"),
        "{reason}"
    );
}

/// A service that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_start_the_service_anew_no_innocent_is_blamed_for_it() {
    let url = database("receipts_elsewhere").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let words = words(port);
    let mut service = Command::new(&words[0]);
    service.args(&words[1..]).current_dir(folder()).env("DATABASE_URL", &url).env("PYTHONDONTWRITEBYTECODE", "1");
    let _service = Running(service.spawn().unwrap());
    let mut tries = 0;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tries += 1;
        assert!(tries < 600, "it does not serve");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let document = scanned(&url, port, "").await;
    assert!(named(&document).contains(&(CULPRITS[0], "leaks")), "{document:#}");
    for (name, verdict) in named(&document) {
        let reason = reason(&document, name);
        match verdict {
            "unknown" => assert!(CULPRITS.iter().any(|it| reason.contains(it)), "{name}: {reason}"),
            _ => assert!(CULPRITS.contains(&name) && verdict == "leaks", "{name}: {verdict}"),
        }
    }
}
