//! Each way to hold a session: how it looks from outside while a slow call is in flight, and that the fixes look
//! otherwise. What PostgreSQL counted is compared with what the specimen says of itself.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::program::{Place, SMALL, Started};

/// How long the slow tool takes here.
const DELAY: &str = "800ms";
const DELAY_S: f64 = 0.8;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow-search","arguments":{"query":"x"}}}"#;

/// A gateway that serves in one session scope, and a look at its database.
struct Specimen {
    place: Place,
    run: Started,
    url: String,
    token: String,
    database: tokio_postgres::Client,
    client: reqwest::Client,
}

/// What one session looks like from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    state: String,
    query: String,
}

/// What one request says that it has held, in seconds.
struct Truth {
    held_s: f64,
    idle_s: f64,
}

impl Specimen {
    async fn start(scope: &str) -> Self {
        let place = Place::new();
        let delay = ["min", "max"].map(|end| format!("backend.delays.slow-search.{end}={DELAY}"));
        // A user whom only roles let through: the platform administrator's check asks the database nothing.
        let mut run = place.start(&[
            "gateway",
            SMALL,
            "--json",
            "--variant",
            scope,
            "--set",
            &delay[0],
            "--set",
            &delay[1],
            "--set",
            "gateway.workers=1",
            "--set",
            "gateway.pool.size=8",
        ]);
        let mut line = String::new();
        BufReader::new(run.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let serving: Value = serde_json::from_str(&line).expect("JSON");
        let text = |key: &str| serving[key].as_str().expect("text").to_owned();
        let (database, connection) = tokio_postgres::connect(&text("database_url"), NoTls).await.expect("a server");
        tokio::spawn(connection);
        let client = reqwest::Client::new();
        let specimen = Self { place, run, url: text("url"), token: text("user_token"), database, client };
        // The first call fills the caches, which later calls do not ask the database for.
        specimen.call().await;
        specimen
    }

    /// One slow call, and what it says that it has held.
    async fn call(&self) -> Truth {
        let request = self.client.post(format!("{}/rpc", self.url)).bearer_auth(&self.token);
        let answer = request.header("content-type", "application/json").body(CALL).send().await.expect("an answer");
        let seconds = |name: &str| {
            let value = answer.headers()[name].to_str().expect("text");
            value.parse::<f64>().expect("seconds")
        };
        let truth = Truth {
            held_s: seconds("x-session-held-seconds"),
            idle_s: seconds("x-session-idle-in-transaction-seconds"),
        };
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert!(body["result"]["content"].is_array(), "{body}");
        truth
    }

    /// The gateway's sessions in a transaction, sorted by what they did last.
    async fn in_transaction(&self) -> Vec<Seen> {
        let query = "SELECT state, query FROM pg_stat_activity WHERE application_name LIKE 'gw-%' \
                     AND state LIKE 'idle in transaction%' ORDER BY query";
        let rows = self.database.query(query, &[]).await.expect("rows");
        rows.iter().map(|row| Seen { state: row.get(0), query: row.get(1) }).collect()
    }

    /// What is held while the backend is asked: in the middle of a slow call.
    async fn during_a_call(&self) -> (Vec<Seen>, Truth) {
        let call = self.call();
        let look = async {
            tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
            self.in_transaction().await
        };
        let (truth, seen) = tokio::join!(call, look);
        (seen, truth)
    }

    /// Connections that sessions have, as the gateway's gauges say.
    async fn checked_out(&self) -> f64 {
        let answer = self.client.get(format!("{}/metrics/prometheus", self.url)).send().await.expect("an answer");
        let gauges = answer.text().await.expect("a body");
        let used = gauges.lines().filter(|line| line.contains("state=\"used\""));
        let counts: Vec<f64> =
            used.map(|line| line.rsplit(' ').next().expect("a count").parse().expect("a number")).collect();
        assert_eq!(counts.len(), 1, "one worker has one pool: {gauges}");
        counts[0]
    }

    /// Idle-in-transaction seconds as the server counts them, once the gateway's sessions are quiet and have reported.
    async fn counted_s(&self) -> f64 {
        let query = "SELECT idle_in_transaction_time / 1000 FROM pg_stat_database WHERE datname = current_database()";
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = -1.0;
        loop {
            // A session reports when it goes idle, at most once a second: ask again until nothing new comes.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            self.client.get(format!("{}/health", self.url)).send().await.expect("an answer");
            self.database.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("done");
            let now: f64 = self.database.query_one(query, &[]).await.expect("a row").get(0);
            if (now - last).abs() < 0.005 {
                return now;
            }
            assert!(Instant::now() < deadline, "the counter never came to rest: {last} s, then {now} s");
            last = now;
        }
    }

    fn stop(self) {
        self.run.signal(Signal::SIGINT);
        assert_eq!(self.run.wait(), Some(0));
        self.place.assert_nothing_is_left(crate::program::HANG);
    }
}

/// One line of the table: a session scope, and what a slow call in it leaves in a transaction, by state and the
/// beginning of the last statement.
struct Fingerprint {
    scope: &'static str,
    seen: &'static [(&'static str, &'static str)],
}

const IDLE: &str = "idle in transaction";
const ABORTED: &str = "idle in transaction (aborted)";

const FINGERPRINTS: [Fingerprint; 7] = [
    Fingerprint { scope: "held", seen: &[(IDLE, "WITH RECURSIVE granted")] },
    Fingerprint { scope: "across_backend", seen: &[(IDLE, "SELECT id, name, url, auth_type")] },
    Fingerprint { scope: "begin_again", seen: &[(IDLE, "SELECT id, name, slug, url FROM gateways")] },
    Fingerprint {
        scope: "double_checkout",
        seen: &[(IDLE, "SELECT id, name, url, auth_type"), (IDLE, "WITH RECURSIVE granted")],
    },
    Fingerprint { scope: "failed_kept", seen: &[(ABORTED, "INSERT INTO permission_audit_log")] },
    Fingerprint { scope: "endpoint_shared", seen: &[] },
    Fingerprint { scope: "scoped", seen: &[] },
];

#[tokio::test]
async fn each_session_scope_leaves_its_own_fingerprint_during_a_slow_call() {
    for Fingerprint { scope, seen: wanted } in FINGERPRINTS {
        let specimen = Specimen::start(scope).await;
        let (seen, truth) = specimen.during_a_call().await;
        assert_eq!(seen.len(), wanted.len(), "{scope}: {seen:?}");
        for (seen, (state, statement)) in seen.iter().zip(wanted) {
            assert!(seen.state == *state && seen.query.starts_with(statement), "{scope}: {seen:?}");
        }
        assert_eq!(specimen.in_transaction().await, [], "{scope}: after the response nothing is held");
        if wanted.is_empty() {
            assert!(truth.idle_s < DELAY_S / 2.0, "{scope}: {} s", truth.idle_s);
        } else {
            let sessions = f64::from(u8::try_from(wanted.len()).expect("few"));
            assert!(truth.idle_s >= sessions * DELAY_S, "{scope}: {} s", truth.idle_s);
        }
        assert!(truth.held_s >= truth.idle_s, "{scope}");
        specimen.stop();
    }
}

#[tokio::test]
async fn the_servers_own_count_agrees_with_what_the_specimen_says_it_held() {
    let specimen = Specimen::start("held").await;
    let before_s = specimen.counted_s().await;
    let mut truth_s = 0.0;
    for _ in 0..5 {
        truth_s += specimen.call().await.idle_s;
    }
    let counted_s = specimen.counted_s().await - before_s;
    assert!((counted_s / truth_s - 1.0).abs() < 0.05, "counted {counted_s} s, said {truth_s} s");
    specimen.stop();
}

/// Connections checked out while `calls` slow calls wait for the backend.
async fn checked_out_during(scope: &str, calls: usize) -> f64 {
    let specimen = Specimen::start(scope).await;
    let waiting = futures_util::future::join_all((0..calls).map(|_| specimen.call()));
    let look = async {
        tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
        specimen.checked_out().await
    };
    let (_, checked_out) = tokio::join!(waiting, look);
    specimen.stop();
    checked_out
}

#[tokio::test]
async fn no_connection_is_out_while_calls_wait_for_the_backend_unless_the_scope_holds_it() {
    for (scope, wanted) in [("scoped", 0.0), ("endpoint_shared", 0.0), ("held", 6.0)] {
        let checked_out = checked_out_during(scope, 6).await;
        assert!((checked_out - wanted).abs() < 0.5, "{scope}: {checked_out}, not {wanted}");
    }
}
