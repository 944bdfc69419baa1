//! A gateway that serves in one session scope, what is done to it, and a look at its database meanwhile.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::program::{HANG, Place, SMALL, Started};

/// Duration of slow work here: a tool, a plugin, a page.
const DELAY: &str = "800ms";
pub(super) const DELAY_S: f64 = 0.8;

/// Time after which a session that nobody closed is collected.
const GARBAGE_AFTER_S: f64 = 2.0;

/// Time between two looks from outside.
const LOOK: Duration = Duration::from_millis(5);

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow-search","arguments":{"query":"x"}}}"#;

/// A gateway that serves in one session scope, and a look at its database.
pub(super) struct Specimen {
    place: Place,
    run: Started,
    url: String,
    token: String,
    pub(super) database: tokio_postgres::Client,
    pub(super) database_url: String,
    client: reqwest::Client,
}

/// One session as it looks from outside.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) state: String,
    pub(super) query: String,
    /// Time in this state.
    pub(super) idle_s: f64,
}

/// Hold time of all sessions, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// From outside.
    pub(super) outside_s: f64,
    /// The longest that one of them was seen idle.
    pub(super) oldest: Duration,
    /// From inside.
    pub(super) inside_s: f64,
}

impl Measured {
    /// Outside and inside say the same.
    pub(super) fn assert_agrees(&self, what: &str) {
        assert!(self.inside_s > DELAY_S, "{what}: {self:?}");
        assert!((self.outside_s / self.inside_s - 1.0).abs() < 0.05, "{what}: {self:?}");
    }
}

/// Hold time that one request states, in seconds.
pub(super) struct Truth {
    pub(super) held_s: f64,
    pub(super) idle_s: f64,
}

impl Specimen {
    /// A gateway of one worker; `settings` go beside those that make the tool slow.
    pub(super) async fn start(scope: &str, settings: &[&str]) -> Self {
        let place = Place::new();
        let delay = ["min", "max"].map(|end| format!("backend.delays.slow-search.{end}={DELAY}"));
        let garbage = format!("gateway.garbage_after={GARBAGE_AFTER_S}s");
        let mut arguments = vec!["gateway", SMALL, "--json", "--variant", scope];
        let common = [&delay[0], &delay[1], &garbage, "gateway.workers=1", "gateway.pool.size=8"];
        for setting in common.into_iter().chain(settings.iter().copied()) {
            arguments.extend(["--set", setting]);
        }
        let mut run = place.start(&arguments);
        let mut line = String::new();
        BufReader::new(run.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let serving: Value = serde_json::from_str(&line).expect("JSON");
        // A user whom only roles let through: the platform administrator's check asks the database nothing.
        let text = |key: &str| serving[key].as_str().expect("text").to_owned();
        let (database, connection) = tokio_postgres::connect(&text("database_url"), NoTls).await.expect("a server");
        tokio::spawn(connection);
        let client = reqwest::Client::new();
        let (url, token, database_url) = (text("url"), text("user_token"), text("database_url"));
        let specimen = Self { place, run, url, token, database, database_url, client };
        // The first call fills the caches, which later calls do not ask the database for.
        specimen.call().await;
        if scope != "never_committed" {
            specimen.wait_until_nothing_is_held().await;
        }
        specimen
    }

    pub(super) fn post_call(&self) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/rpc", self.url)).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(CALL)
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// One slow call, and what it says that it has held.
    pub(super) async fn call(&self) -> Truth {
        let answer = self.post_call().send().await.expect("an answer");
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

    /// Does what shows a pattern, from its beginning to its end.
    pub(super) async fn provoke(&self, stimulus: Stimulus) {
        match stimulus {
            Stimulus::Call => {
                self.call().await;
            }
            Stimulus::CallGivenUp => {
                let gave_up = self.post_call().timeout(Duration::from_secs_f64(DELAY_S / 4.0)).send().await;
                assert!(gave_up.expect_err("no patience").is_timeout());
                tokio::time::sleep(Duration::from_secs_f64(DELAY_S)).await;
            }
            Stimulus::Page => {
                let page = self.get("/admin/").send().await.expect("an answer").text().await.expect("a page");
                assert!(page.contains("slow-search"), "{page}");
            }
            Stimulus::Stream => {
                let servers: Value = self.get("/servers").send().await.expect("an answer").json().await.expect("JSON");
                let path = format!("/servers/{}/sse", servers[0]["id"].as_str().expect("an id"));
                let mut stream = self.get(&path).send().await.expect("an answer");
                let first = stream.chunk().await.expect("a stream").expect("an event");
                assert!(first.starts_with(b"event: endpoint"), "{first:?}");
                tokio::time::sleep(Duration::from_secs_f64(DELAY_S)).await;
            }
            Stimulus::Probe => {
                let health = self.get("/health").send().await.expect("an answer").text().await.expect("a body");
                assert_eq!(health, r#"{"status":"healthy"}"#);
                tokio::time::sleep(Duration::from_secs_f64(DELAY_S)).await;
            }
        }
    }

    /// The gateway's sessions in a transaction, sorted by what they did last.
    pub(super) async fn in_transaction(&self) -> Vec<Seen> {
        let query = "SELECT state, query, extract(epoch FROM clock_timestamp() - state_change)::float8 \
                     FROM pg_stat_activity WHERE application_name LIKE 'gw-%' \
                     AND state LIKE 'idle in transaction%' ORDER BY query";
        let rows = self.database.query(query, &[]).await.expect("rows");
        rows.iter().map(|row| Seen { state: row.get(0), query: row.get(1), idle_s: row.get(2) }).collect()
    }

    pub(super) async fn wait_until_nothing_is_held(&self) {
        let deadline = Instant::now() + HANG;
        while !self.in_transaction().await.is_empty() {
            assert!(Instant::now() < deadline, "held for ever: {:?}", self.in_transaction().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sessions in the middle of it, and right after it.
    pub(super) async fn during_and_after(&self, stimulus: Stimulus) -> (Vec<Seen>, Vec<Seen>) {
        let look = async {
            tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
            self.in_transaction().await
        };
        let ((), during) = tokio::join!(self.provoke(stimulus), look);
        // The response is handed over first; its session is released a moment later.
        tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 4.0)).await;
        (during, self.in_transaction().await)
    }

    /// Session seconds idle in transaction while `work` lasts and until all is released: as seen from outside, and as
    /// the specimen says.
    pub(super) async fn measured(&self, work: impl Future<Output = ()>) -> Measured {
        let before = self.said_idle_s().await;
        let done = Cell::new(false);
        let watch = async {
            let (mut measured_s, mut oldest_s, mut last, mut held) = (0.0, 0.0_f64, Instant::now(), 0);
            while !done.get() {
                let seen = self.in_transaction().await;
                let now = Instant::now();
                let gap_s = (now - last).as_secs_f64();
                measured_s += since_last_look(&seen, held, gap_s);
                oldest_s = seen.iter().fold(oldest_s, |oldest, seen| oldest.max(seen.idle_s));
                (last, held) = (now, seen.len());
                tokio::time::sleep(LOOK).await;
            }
            (measured_s, oldest_s)
        };
        let work = async {
            work.await;
            done.set(true);
        };
        let ((), (outside_s, oldest_s)) = tokio::join!(work, watch);
        let oldest = Duration::from_secs_f64(oldest_s.max(0.0));
        Measured { outside_s, oldest, inside_s: self.said_idle_s().await - before }
    }

    pub(super) async fn gauges(&self) -> String {
        self.get("/metrics/prometheus").send().await.expect("an answer").text().await.expect("a body")
    }

    /// Idle-in-transaction seconds of all sessions, as the specimen says.
    pub(super) async fn said_idle_s(&self) -> f64 {
        self.gauge("gateway_session_idle_in_transaction_seconds_total").await
    }

    /// The sum of a gauge over its labels.
    pub(super) async fn gauge(&self, name: &str) -> f64 {
        let gauges = self.gauges().await;
        let lines: Vec<&str> = gauges.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect();
        assert!(!lines.is_empty(), "no {name} in {gauges}");
        let values = lines.iter().map(|line| line.rsplit(' ').next().expect("a value"));
        values.map(|value| value.parse::<f64>().expect("a number")).sum()
    }

    /// Idle-in-transaction seconds as the server counts them, once the gateway's sessions are quiet and have reported.
    pub(super) async fn counted_s(&self) -> f64 {
        let query = "SELECT idle_in_transaction_time / 1000 FROM pg_stat_database WHERE datname = current_database()";
        let deadline = Instant::now() + HANG;
        let mut last = -1.0;
        loop {
            // A session reports when it goes idle, at most once a second: ask again until nothing new comes.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            self.get("/health").send().await.expect("an answer");
            self.database.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("done");
            let now: f64 = self.database.query_one(query, &[]).await.expect("a row").get(0);
            if (now - last).abs() < 0.005 {
                return now;
            }
            assert!(Instant::now() < deadline, "the counter never came to rest: {last} s, then {now} s");
            last = now;
        }
    }

    pub(super) fn stop(self) {
        self.run.signal(Signal::SIGINT);
        assert_eq!(self.run.wait(), Some(0));
        self.place.assert_nothing_is_left(HANG);
    }
}

/// Session seconds of a gap between two looks, before which so many sessions were held. Each that is seen says since when; one that is
/// gone ended somewhere in the gap, in its middle on average.
fn since_last_look(seen: &[Seen], held_before: usize, gap_s: f64) -> f64 {
    let stayed = seen.iter().filter(|session| session.idle_s >= gap_s).count();
    let ended = f64::from(u32::try_from(held_before.saturating_sub(stayed)).expect("few"));
    seen.iter().map(|session| session.idle_s.min(gap_s)).sum::<f64>() + ended * gap_s / 2.0
}

#[test]
fn a_look_that_came_late_counts_what_was_held_meanwhile() {
    let seen = |idle_s| Seen { state: String::new(), query: String::new(), idle_s };
    let agrees = |measured: f64, truth: f64| (measured - truth).abs() < 1e-9;
    assert!(agrees(since_last_look(&[seen(9.0)], 1, 0.2), 0.2), "it was held all the time");
    assert!(agrees(since_last_look(&[seen(0.05)], 0, 0.2), 0.05), "it began meanwhile");
    assert!(agrees(since_last_look(&[], 1, 0.2), 0.1), "it ended meanwhile");
    assert!(agrees(since_last_look(&[seen(0.05)], 1, 0.2), 0.15), "one ended, and another one began");
}

/// Stimulus that shows a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stimulus {
    /// A call of a slow tool.
    Call,
    /// The same, by a client that leaves before the answer.
    CallGivenUp,
    /// A page that takes its time.
    Page,
    /// A stream whose client stays for a while.
    Stream,
    /// The container's health probe.
    Probe,
}
