//! `rbac-bench watch` on a real PostgreSQL: what it sees, what it refuses, and the record that it keeps.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use crate::program::{HANG, Place, Started, json, record, text};

/// A PostgreSQL with the database `postgres` empty: that of a gateway which nobody asks.
struct Server {
    place: Place,
    gateway: Started,
    url: String,
}

impl Server {
    fn start() -> Self {
        let place = Place::new();
        let mut gateway = place.start(&["gateway", crate::program::SMALL, "--json"]);
        let mut line = String::new();
        BufReader::new(gateway.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let serving: Value = serde_json::from_str(&line).expect("JSON");
        let url = serving["database_url"].as_str().expect("a URL").to_owned();
        let (head, tail) = url.split_once("@/").expect("a URL of a socket");
        let (_, query) = tail.split_once('?').expect("its folder");
        let url = format!("{head}@/postgres?{query}");
        Self { place, gateway, url }
    }

    /// The same as somebody else.
    fn url_of(&self, user: &str) -> String {
        let (_, rest) = self.url.split_once('@').expect("a user");
        format!("postgresql://{user}@{rest}")
    }

    fn stop(self) {
        self.gateway.signal(Signal::SIGINT);
        assert_eq!(self.gateway.wait(), Some(0));
        self.place.assert_nothing_is_left(Duration::from_secs(10));
    }
}

/// A session under a name, which runs until the client is dropped.
async fn session(url: &str, application: &str) -> Client {
    let mut config: tokio_postgres::Config = url.parse().expect("a URL");
    config.application_name(application);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Looks until `wanted`, or until it hangs.
fn look_until(server: &Server, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + HANG;
    loop {
        let seen = json(&server.place.output(&["watch", "--database-url", &server.url, "--once", "--json"]));
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "no {what}: {seen:#}");
    }
}

#[test]
fn one_look_shows_who_is_idle_in_transaction_and_who_waits_behind() {
    let server = Server::start();
    let runtime = runtime();
    let (holder, waiter) = runtime.block_on(async {
        let holder = session(&server.url, "orders/1").await;
        holder.batch_execute("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)").await.expect("a table");
        holder.batch_execute("BEGIN").await.expect("a transaction");
        holder.batch_execute("UPDATE orders SET id = 7 WHERE id = 1").await.expect("a row");
        (holder, session(&server.url, "mailer").await)
    });
    let waiting = runtime.spawn(async move { waiter.batch_execute("UPDATE orders SET id = 8").await });
    let seen = look_until(&server, "waiter", |seen| seen["sessions"]["waiting_for_lock"] == 1);
    assert_eq!(seen["format"]["name"], "rbac-bench/watch");
    assert_eq!(seen["sessions"]["idle_in_transaction"], 1, "{seen:#}");
    let oldest = &seen["transactions"][0];
    assert_eq!(oldest["state"], "idle in transaction");
    assert_eq!(
        (&oldest["application_name"], &oldest["statement"]),
        (&"orders/1".into(), &"UPDATE orders SET id = 7 WHERE id = 1".into())
    );
    assert!(oldest["age_s"].as_f64().is_some_and(|age| age > 0.0), "{oldest}");
    assert_eq!(seen["by_statement"][0]["statement"], "UPDATE orders SET id = ? WHERE id = ?");
    let root = &seen["blocking"][0];
    assert_eq!((&root["pid"], &root["blocked"]), (&oldest["pid"], &1.into()), "{seen:#}");
    assert_eq!(seen["transactions"][1]["application_name"], "mailer");

    let page = server.place.output(&["watch", "--database-url", &server.url, "--once"]);
    assert!(text(&page.stdout).contains("UPDATE orders SET id = 7 WHERE id = 1"), "{}", text(&page.stdout));
    runtime.block_on(holder.batch_execute("COMMIT")).expect("the end");
    runtime.block_on(waiting).expect("no panic").expect("its turn");
    server.stop();
}

#[test]
fn a_role_that_sees_nothing_is_refused_with_the_grant_that_cures_it() {
    let server = Server::start();
    runtime().block_on(async {
        let admin = session(&server.url, "admin").await;
        admin.batch_execute("CREATE ROLE blind LOGIN PASSWORD 'secret'").await.expect("a role");
    });
    for arguments in [&["--once", "--json"][..], &["--duration", "1s"]] {
        let url = server.url_of("blind:secret");
        let output = server.place.output(&[&["watch", "--database-url", &url], arguments].concat());
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(
            printed.contains("role `blind` cannot see other sessions") && printed.contains("grant it pg_monitor"),
            "{printed}"
        );
        assert!(!printed.contains("secret") && output.stdout.is_empty(), "{printed}");
    }
    server.stop();
}

#[test]
fn a_record_of_what_was_watched_is_judged_diagnosed_and_reported() {
    let server = Server::start();
    let runtime = runtime();
    let holder = runtime.block_on(async {
        let holder = session(&server.url, "orders").await;
        holder.batch_execute("BEGIN; SELECT 'a customer'").await.expect("a transaction");
        holder
    });
    let folder = server.place.tmp().join("incident").display().to_string();
    let arguments = ["watch", "--database-url", &server.url, "--record", &folder, "--duration", "4s"];
    let output = server.place.output(&arguments);
    drop(holder);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    assert!(lines.lines().count() >= 2 && lines.contains("1 idle in transaction · oldest "), "{lines}");

    let kept = record(folder.as_ref());
    let variant = &kept["variants"]["watched"];
    assert_eq!((&kept["outcome"], &variant["complete"]), (&"finished".into(), &true.into()), "{kept:#}");
    assert_eq!(variant["summary"]["idle_in_transaction_peak"], 1, "{variant:#}");
    assert_eq!(variant["summary"]["throughput_rps"], Value::Null, "nobody's load is not a load of zero");
    assert!(!kept["scenario"].to_string().contains("secret"));

    for (rule, code) in [("idle_in_transaction.max<5", 0), ("idle_in_transaction.max<1", 99), ("failure_rate<=1%", 3)] {
        let judged = server.place.output(&["gate", &folder, "--rule", rule]);
        assert_eq!(judged.status.code(), Some(code), "{rule}: {}{}", text(&judged.stdout), text(&judged.stderr));
    }
    let diagnosed = server.place.output(&["diagnose", &folder, "--json"]);
    let printed = text(&diagnosed.stdout);
    assert!(matches!(diagnosed.status.code(), Some(0 | 3)), "{printed}{}", text(&diagnosed.stderr));
    let findings: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(findings["findings"].as_array().is_some_and(|it| !it.is_empty()), "{printed}");
    assert!(!printed.contains("a customer") && printed.contains("SELECT ?"), "{printed}");
    assert!(!findings["findings"].to_string().contains("healthy"), "{printed}");
    let reported = server.place.output(&["report", &folder]);
    assert!(reported.status.success(), "{}", text(&reported.stderr));

    let again = server.place.output(&arguments);
    assert_eq!(again.status.code(), Some(2), "a record is never written over");
    std::fs::remove_dir_all(&folder).expect("our own folder");
    server.stop();
}

#[test]
fn what_cannot_be_watched_is_refused_without_the_password() {
    let place = Place::new();
    for (url, code, reason) in [
        ("postgresql://me:secret@127.0.0.1:1/x", 1, "cannot connect to the database to watch it"),
        ("postgresql://me:secret@127.0.0.1/x?sslmode=secretly", 2, "sslmode"),
        ("mysql://me:secret@127.0.0.1/x", 2, "database URL"),
    ] {
        let output = place.output(&["watch", "--database-url", url, "--once", "--json"]);
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{printed}");
        assert!(printed.contains(reason) && !printed.contains("secret"), "{printed}");
    }
    let output = place.output(&["watch"]);
    assert_eq!(output.status.code(), Some(2), "no URL: {}", text(&output.stderr));
}

/// Runs `watch` in a terminal of 24 lines and 80 columns, which `script` makes, and gives all that was written to it.
fn in_a_terminal(server: &Server, before: &str, arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_rbac-bench");
    let command = format!("stty rows 24 cols 80; {before} {program} watch {arguments}; echo code=$?; stty -a");
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("RBAC_BENCH_DATABASE_URL", &server.url).env("TERM", "xterm");
    // Its end would be typed.
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("`script` of util-linux");
    let typed = child.stdin.take();
    let output = child.wait_with_output().expect("its end");
    drop(typed);
    text(&output.stdout)
}

#[test]
fn a_terminal_is_filled_and_given_back_as_it_was_also_after_sigterm() {
    let server = Server::start();
    let ended = in_a_terminal(&server, "", "--duration 1s");
    let terminated = in_a_terminal(&server, "timeout --preserve-status --foreground -s TERM 2", "");
    let plain = in_a_terminal(&server, "NO_COLOR=1", "--duration 1s");
    for (written, code) in [(&ended, "code=0"), (&terminated, "code=143"), (&plain, "code=0")] {
        // What is blank is not written, so that sentences are in pieces.
        assert!(written.contains("transactions") && written.contains("session"), "{written:?}");
        let after = written.split_once("\u{1b}[?1049l").expect("the other screen is left").1;
        assert!(written.contains("\u{1b}[?1049h") && after.contains(code), "{after:?}");
        assert!(after.contains(" echo ") && after.contains(" icanon "), "no longer raw: {after:?}");
    }
    assert!(ended.contains("\u{1b}[38;5;") && !plain.contains("\u{1b}[38;5;"), "colours, and none");
    server.stop();
}

/// Runs `watch` in a terminal of this size, with an action at its end; gives what `terminal.py` says of it.
fn in_a_terminal_that(server: &Server, action: &str, (rows, columns): (&str, &str), arguments: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/terminal.py");
    let mut python = Command::new("python3");
    python.args([script, action, rows, columns, env!("CARGO_BIN_EXE_rbac-bench"), "watch"]).args(arguments);
    python.env("RBAC_BENCH_DATABASE_URL", &server.url).env("TERM", "xterm");
    let output = python.output().expect("python3");
    assert!(output.status.success(), "{action}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Sessions of the program itself on the server.
async fn own_sessions(server: &Server) -> i64 {
    let client = session(&server.url, "counts").await;
    let own = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rbac-bench' AND datname = 'postgres'";
    client.query_one(own, &[]).await.expect("a count").get(0)
}

#[test]
fn watch_ends_with_its_terminal_and_keeps_its_record() {
    let server = Server::start();
    let runtime = runtime();
    let ways = [
        ("close", 129, "finished"),
        ("vanish", 129, "finished"),
        ("HUP", 129, "finished"),
        ("TERM", 143, "finished"),
        ("INT", 0, "finished"),
        ("q", 0, "finished"),
    ];
    for (action, code, outcome) in ways {
        let folder = server.place.reports().join(action);
        let arguments = ["--record", &folder.display().to_string()];
        let ended = in_a_terminal_that(&server, action, ("24", "80"), &arguments);
        println!("{action}: {ended}");
        assert_eq!(ended["code"], code, "{action}: {ended}");
        if !matches!(action, "close" | "vanish") {
            assert_eq!((&ended["settings_as_before"], &ended["screen_left"]), (&true.into(), &true.into()), "{ended}");
        }
        assert_eq!(record(&folder)["outcome"], outcome, "{action}");
        let deadline = Instant::now() + HANG;
        while runtime.block_on(own_sessions(&server)) > 0 {
            assert!(Instant::now() < deadline, "{action}: a connection to the database is left");
        }
    }
    // With a time to end at, it is cut short.
    let folder = server.place.reports().join("timed");
    let arguments = ["--duration", "60s", "--record", &folder.display().to_string()];
    in_a_terminal_that(&server, "close", ("24", "80"), &arguments);
    assert_eq!(record(&folder)["outcome"], "interrupted");
    for size in [("5000", "5000"), ("65535", "65535")] {
        let ended = in_a_terminal_that(&server, "q", size, &[]);
        println!("{size:?}: {ended}");
        assert_eq!(ended["code"], 0, "{ended}");
        assert!(ended["largest_mb"].as_u64().is_some_and(|mb| mb < 400), "{size:?}: {ended}");
    }
    server.stop();
}

#[test]
fn watch_shows_the_asked_for_sessions_and_refuses_unknown_roles() {
    let server = Server::start();
    let runtime = runtime();
    let held = runtime.block_on(async {
        let mut held = Vec::new();
        for application in ["shop/1", "shop/2", "shopping"] {
            let client = session(&server.url, application).await;
            client.batch_execute("BEGIN; SELECT 1").await.expect("a transaction");
            held.push(client);
        }
        held
    });
    let watch = |filters: &[&str]| {
        let arguments = ["watch", "--database-url", &server.url, "--once", "--json"];
        server.place.output(&[&arguments[..], filters].concat())
    };
    assert_eq!(json(&watch(&["--application", "shop/*"]))["sessions"]["idle_in_transaction"], 2);
    assert_eq!(json(&watch(&["--application", "shopping", "--application", "shop/1"]))["sessions"]["total"], 2);
    let refused = watch(&["--user", "nobody-of-this-name"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("no role `nobody-of-this-name`"), "{}", text(&refused.stderr));
    drop(held);
    server.stop();
}
