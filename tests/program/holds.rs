//! Each way to hold a session: how it looks from outside while it happens, that it is gone under the fix, and that what
//! is measured from outside agrees with what the specimen says of itself.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rbac_bench::monitor::{Monitor, Sink, Watch, Whose};
use rbac_bench::record::{Sample, Stamped};
use rbac_bench::scenario::Health;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::program::{HANG, Place, SMALL, Started};

/// How long slow work takes here: a tool, a plugin, a page.
const DELAY: &str = "800ms";
const DELAY_S: f64 = 0.8;

/// How long a session lies about that nobody closed.
const GARBAGE_AFTER_S: f64 = 2.0;

/// Time between two looks from outside.
const LOOK: Duration = Duration::from_millis(5);

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow-search","arguments":{"query":"x"}}}"#;

/// A gateway that serves in one session scope, and a look at its database.
struct Specimen {
    place: Place,
    run: Started,
    url: String,
    token: String,
    database: tokio_postgres::Client,
    database_url: String,
    client: reqwest::Client,
}

/// What one session looks like from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    state: String,
    query: String,
    /// How long it has been in this state.
    idle_s: f64,
}

/// What one request says that it has held, in seconds.
struct Truth {
    held_s: f64,
    idle_s: f64,
}

impl Specimen {
    /// A gateway of one worker; `settings` go beside those that make the tool slow.
    async fn start(scope: &str, settings: &[&str]) -> Self {
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

    fn post_call(&self) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/rpc", self.url)).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(CALL)
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// One slow call, and what it says that it has held.
    async fn call(&self) -> Truth {
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
    async fn provoke(&self, stimulus: Stimulus) {
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
    async fn in_transaction(&self) -> Vec<Seen> {
        let query = "SELECT state, query, extract(epoch FROM clock_timestamp() - state_change)::float8 \
                     FROM pg_stat_activity WHERE application_name LIKE 'gw-%' \
                     AND state LIKE 'idle in transaction%' ORDER BY query";
        let rows = self.database.query(query, &[]).await.expect("rows");
        rows.iter().map(|row| Seen { state: row.get(0), query: row.get(1), idle_s: row.get(2) }).collect()
    }

    async fn wait_until_nothing_is_held(&self) {
        let deadline = Instant::now() + HANG;
        while !self.in_transaction().await.is_empty() {
            assert!(Instant::now() < deadline, "held for ever: {:?}", self.in_transaction().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What is held in the middle of it, and right after it.
    async fn during_and_after(&self, stimulus: Stimulus) -> (Vec<Seen>, Vec<Seen>) {
        let look = async {
            tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
            self.in_transaction().await
        };
        let ((), during) = tokio::join!(self.provoke(stimulus), look);
        // The response is handed over first; its session is released a moment later.
        tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 4.0)).await;
        (during, self.in_transaction().await)
    }

    /// Session seconds idle in transaction while `work` lasts: as seen from outside, and as the specimen says.
    async fn measured(&self, work: impl Future<Output = ()>) -> (f64, f64) {
        let before = self.said_idle_s().await;
        let done = Cell::new(false);
        let watch = async {
            let (mut seconds, mut last) = (0.0, Instant::now());
            while !done.get() {
                let count = self.in_transaction().await.len();
                let now = Instant::now();
                seconds += f64::from(u32::try_from(count).expect("few")) * (now - last).as_secs_f64();
                last = now;
                tokio::time::sleep(LOOK).await;
            }
            seconds
        };
        let work = async {
            work.await;
            done.set(true);
        };
        let ((), seconds) = tokio::join!(work, watch);
        (seconds, self.said_idle_s().await - before)
    }

    async fn gauges(&self) -> String {
        self.get("/metrics/prometheus").send().await.expect("an answer").text().await.expect("a body")
    }

    /// Idle-in-transaction seconds of all sessions, as the specimen says.
    async fn said_idle_s(&self) -> f64 {
        let name = "gateway_session_idle_in_transaction_seconds_total{";
        let gauges = self.gauges().await;
        let lines = gauges.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().expect("a count").parse::<f64>().expect("a number")).sum()
    }

    /// Connections that sessions have, as the gateway's gauges say.
    async fn checked_out(&self) -> f64 {
        let gauges = self.gauges().await;
        let used = gauges.lines().filter(|line| line.contains("state=\"used\""));
        let counts: Vec<f64> =
            used.map(|line| line.rsplit(' ').next().expect("a count").parse().expect("a number")).collect();
        assert_eq!(counts.len(), 1, "one worker has one pool: {gauges}");
        counts[0]
    }

    /// Idle-in-transaction seconds as the server counts them, once the gateway's sessions are quiet and have reported.
    async fn counted_s(&self) -> f64 {
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

    fn stop(self) {
        self.run.signal(Signal::SIGINT);
        assert_eq!(self.run.wait(), Some(0));
        self.place.assert_nothing_is_left(HANG);
    }
}

/// What shows a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stimulus {
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

/// One line of the table: how a scope is made to show its pattern, and what is then in a transaction, by state and the
/// beginning of the last statement.
struct Fingerprint {
    scope: &'static str,
    stimulus: Stimulus,
    settings: &'static [&'static str],
    during: &'static [(&'static str, &'static str)],
    /// What is still there when it is over.
    after: usize,
}

const IDLE: &str = "idle in transaction";
const ABORTED: &str = "idle in transaction (aborted)";
const CHECK: &str = "WITH RECURSIVE granted";
const TOOL_ROW: &str = "SELECT id, name, url, auth_type";

const SLOW_HOOK: &[&str] = &["gateway.hook_delay=800ms"];
const SLOW_PAGE: &[&str] = &["gateway.render_delay=800ms"];

#[rustfmt::skip]
const FINGERPRINTS: [Fingerprint; 16] = {
    use Stimulus::{Call, CallGivenUp, Page, Probe, Stream};
    const fn of(scope: &'static str, stimulus: Stimulus, settings: &'static [&'static str],
                during: &'static [(&'static str, &'static str)], after: usize) -> Fingerprint {
        Fingerprint { scope, stimulus, settings, during, after }
    }
    [
        of("held",              Call,        &[],       &[(IDLE, CHECK)], 0),
        // H3, H4 and H5 come with H1 too: whatever the handler waits for.
        of("held",              Call,        SLOW_HOOK, &[(IDLE, CHECK)], 0),
        of("held",              Page,        SLOW_PAGE, &[(IDLE, "SELECT id, name, description, enabled")], 0),
        of("held",              Stream,      &[],       &[(IDLE, "SELECT FROM servers")], 0),
        // H9: the client has gone, and the handler works on for nobody.
        of("held",              CallGivenUp, &[],       &[(IDLE, CHECK)], 0),
        of("across_backend",    Call,        &[],       &[(IDLE, TOOL_ROW)], 0),
        of("across_hook",       Call,        SLOW_HOOK, &[(IDLE, "SELECT id, name, annotations, headers")], 0),
        of("across_render",     Page,        SLOW_PAGE, &[(IDLE, "SELECT id, name, slug FROM email_teams")], 0),
        of("until_sent",        Stream,      &[],       &[(IDLE, "SELECT id, name, description, icon")], 0),
        of("begin_again",       Call,        &[],       &[(IDLE, "SELECT id, name, slug, url FROM gateways")], 0),
        of("never_committed",   Probe,       &[],       &[(IDLE, "SELECT 1")], 1),
        of("leaked_on_cancel",  CallGivenUp, &[],       &[(IDLE, TOOL_ROW)], 1),
        of("double_checkout",   Call,        &[],       &[(IDLE, TOOL_ROW), (IDLE, CHECK)], 0),
        of("never_closed",      Call,        &[],       &[(IDLE, CHECK)], 1),
        of("session_per_layer", Call,        &[],       &[(IDLE, "SELECT id, name, reachable"), (IDLE, "SELECT id, permission"),
                                                          (IDLE, "SELECT id, user_email"), (IDLE, CHECK)], 0),
        of("failed_kept",       Call,        &[],       &[(ABORTED, "INSERT INTO permission_audit_log")], 0),
    ]
};

async fn assert_shows(fingerprint: &Fingerprint) {
    let Fingerprint { scope, stimulus, settings, during: wanted, after } = *fingerprint;
    let specimen = Specimen::start(scope, settings).await;
    let began = Instant::now();
    let (during, left) = specimen.during_and_after(stimulus).await;
    let elapsed_s = began.elapsed().as_secs_f64();
    assert_eq!(during.len(), wanted.len(), "{scope}, {stimulus:?}: {during:?}");
    for (seen, (state, statement)) in during.iter().zip(wanted) {
        assert!(seen.state == *state && seen.query.starts_with(statement), "{scope}, {stimulus:?}: {seen:?}");
        // Looked at in the middle of the slow work: idle since it began, or since the probe.
        assert!(seen.idle_s > DELAY_S / 8.0 && seen.idle_s <= elapsed_s, "{scope}, {stimulus:?}: {seen:?}");
    }
    assert_eq!(left.len(), after, "{scope}, {stimulus:?}, afterwards: {left:?}");
    let released = async || {
        // A probe that never commits holds its session until it is asked again, and then on.
        if scope != "never_committed" {
            specimen.wait_until_nothing_is_held().await;
        }
    };
    released().await;
    let several = async {
        for _ in 0..3 {
            specimen.provoke(stimulus).await;
        }
        released().await;
    };
    let (measured_s, said_s) = specimen.measured(several).await;
    assert!(said_s > DELAY_S, "{scope}, {stimulus:?}: said {said_s} s");
    assert!(
        (measured_s / said_s - 1.0).abs() < 0.05,
        "{scope}, {stimulus:?}: measured {measured_s} s, said {said_s} s"
    );
    specimen.stop();
}

async fn assert_all_show(of: &str) {
    let mut shown = 0;
    for fingerprint in FINGERPRINTS.iter().filter(|fingerprint| fingerprint.scope.starts_with(of)) {
        assert_shows(fingerprint).await;
        shown += 1;
    }
    assert!(shown > 0, "no pattern is called {of}");
}

macro_rules! fingerprint_of {
    ($($scope:ident)*) => {$(
        #[tokio::test]
        async fn $scope() {
            assert_all_show(stringify!($scope)).await;
        }
    )*};
}

/// Each scope shows its own fingerprint, and what is measured from outside agrees with the truth from inside.
mod fingerprint {
    use super::assert_all_show;

    fingerprint_of!(
        held across_backend across_hook across_render until_sent begin_again never_committed leaked_on_cancel
        double_checkout never_closed session_per_layer failed_kept
    );

    #[test]
    fn every_scope_that_is_a_pattern_has_one() {
        use gateway_under_test::settings::SessionScope;
        for scope in SessionScope::ALL.iter().filter(|scope| scope.pattern().is_some()) {
            assert!(super::FINGERPRINTS.iter().any(|it| it.scope == scope.name()), "{}", scope.name());
        }
    }
}

#[tokio::test]
async fn under_every_fix_nothing_is_held_whatever_is_slow() {
    let everything: [(&[Stimulus], &[&str]); 3] = [
        (&[Stimulus::Call, Stimulus::CallGivenUp, Stimulus::Stream, Stimulus::Probe], &[]),
        (&[Stimulus::Call], SLOW_HOOK),
        (&[Stimulus::Page], SLOW_PAGE),
    ];
    for scope in ["early_close", "endpoint_shared", "scoped"] {
        for (stimuli, settings) in everything {
            let specimen = Specimen::start(scope, settings).await;
            for stimulus in stimuli {
                let (during, after) = specimen.during_and_after(*stimulus).await;
                assert_eq!((during, after), (vec![], vec![]), "{scope}: {stimulus:?}");
            }
            specimen.stop();
        }
    }
}

#[tokio::test]
async fn the_servers_own_count_agrees_with_what_the_specimen_says_it_held() {
    let specimen = Specimen::start("held", &[]).await;
    let before_s = specimen.counted_s().await;
    let mut truth_s = 0.0;
    for _ in 0..5 {
        let truth = specimen.call().await;
        assert!(truth.held_s >= truth.idle_s);
        truth_s += truth.idle_s;
    }
    let counted_s = specimen.counted_s().await - before_s;
    assert!((counted_s / truth_s - 1.0).abs() < 0.05, "counted {counted_s} s, said {truth_s} s");
    specimen.stop();
}

/// Adds up what the monitor's samples say, as a run does.
#[derive(Default)]
struct Samples(std::sync::Mutex<Vec<Stamped>>);

impl Sink for Samples {
    fn take(&self, at: Instant, sample: Sample) {
        let variant = rbac_bench::scenario::SessionScope::AcrossBackend.into();
        let at_s = at.saturating_duration_since(*EPOCH).as_secs_f64();
        self.0.lock().expect("nobody panics").push(Stamped { variant, at_s, sample });
    }
}

static EPOCH: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

#[tokio::test]
async fn the_monitor_agrees_with_what_the_specimen_says_it_held_to_one_per_cent() {
    let settings =
        ["backend.delays.slow-search.min=300ms", "backend.delays.slow-search.max=300ms", "gateway.pool.size=60"];
    let specimen = Specimen::start("across_backend", &settings).await;
    let watch = Watch {
        database: specimen.database_url.parse().expect("a connection string"),
        interval: Duration::from_millis(100),
        pulse: Duration::from_millis(50),
        whose: Whose::Everybody,
        epoch: *EPOCH,
        replicas: Vec::new(),
        gauges: Vec::new(),
        health: Health::default(),
    };
    let samples = Arc::new(Samples::default());
    let monitor = Monitor::start(watch, Arc::clone(&samples) as Arc<dyn Sink>).await.expect("a monitor");
    let counted_s = specimen.counted_s().await;
    let before_s = specimen.said_idle_s().await;
    let until = Instant::now() + Duration::from_secs(8);
    // Callers in step with each other, or with the looks, would be seen all or none.
    let calls = (0..30).map(async |_| {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs_f64(0.2 * rand::random::<f64>())).await;
            specimen.call().await;
        }
    });
    futures_util::future::join_all(calls).await;
    specimen.wait_until_nothing_is_held().await;
    let said_s = specimen.said_idle_s().await - before_s;
    monitor.stop().await.expect("a clean stop");
    let samples = samples.0.lock().expect("nobody panics").clone();
    let series = rbac_bench::record::summary::idle_in_transaction(&samples, |_| true);
    let (sampled_s, error_s) = (series.integral_seen().expect("samples"), series.integral_error().expect("samples"));
    let counted_s = specimen.counted_s().await - counted_s;
    println!("said {said_s} s, sampled {sampled_s} ± {error_s} s, counted {counted_s} s");
    assert!((sampled_s / counted_s - 1.0).abs() < 0.01, "sampled {sampled_s} ± {error_s} s, counted {counted_s} s");
    assert!((sampled_s / said_s - 1.0).abs() < 0.01, "said {said_s} s, sampled {sampled_s} ± {error_s} s");
    specimen.stop();
}

/// Connections checked out while six of `stimulus` are stopped in their slow work.
async fn checked_out_during(scope: &str, stimulus: Stimulus, settings: &[&str]) -> f64 {
    let specimen = Specimen::start(scope, settings).await;
    let waiting = futures_util::future::join_all((0..6).map(|_| specimen.provoke(stimulus)));
    let look = async {
        tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
        specimen.checked_out().await
    };
    let (_, checked_out) = tokio::join!(waiting, look);
    specimen.stop();
    checked_out
}

#[tokio::test]
async fn no_connection_is_out_while_tools_plugins_and_pages_are_waited_for_unless_the_scope_holds_it() {
    for (stimulus, settings) in [(Stimulus::Call, &[][..]), (Stimulus::Call, SLOW_HOOK), (Stimulus::Page, SLOW_PAGE)] {
        for (scope, wanted) in [("scoped", 0.0), ("endpoint_shared", 0.0), ("held", 6.0)] {
            let checked_out = checked_out_during(scope, stimulus, settings).await;
            assert!((checked_out - wanted).abs() < 0.5, "{scope}, {stimulus:?}: {checked_out}, not {wanted}");
        }
    }
}

#[tokio::test]
async fn a_shared_row_makes_a_queue_of_locks_behind_a_held_session_and_none_behind_a_scoped_one() {
    // H14. With an asynchronous driver every waiter is seen; a synchronous one stops its worker, and shows one for each.
    let settings = ["gateway.usage_counter.share=1", "gateway.usage_counter.rows=1", "gateway.checkout=async"];
    for (scope, holders, waiters) in [("held", 1, 2), ("scoped", 0, 0)] {
        let specimen = Specimen::start(scope, &settings).await;
        let calls = futures_util::future::join_all((0..3).map(|_| specimen.call()));
        let look = async {
            tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gw-%' \
                           AND state = 'active' AND wait_event_type = 'Lock'";
            let waiting: i64 = specimen.database.query_one(waiting, &[]).await.expect("a row").get(0);
            let held = specimen.in_transaction().await;
            assert!(held.iter().all(|seen| seen.query.starts_with("UPDATE usage_counters")), "{scope}: {held:?}");
            (held.len(), waiting)
        };
        let (_, seen) = tokio::join!(calls, look);
        assert_eq!(seen, (holders, waiters), "{scope}: who holds the row, and who waits for it");
        specimen.stop();
    }
}

#[tokio::test]
async fn a_wait_for_the_pool_stops_those_who_need_no_database_if_it_blocks_the_loop() {
    // H13: the third call wants a connection, and the first two hold both.
    let pool = ["gateway.pool.size=2", "gateway.pool.max_overflow=0", "gateway.pool.timeout=3s"];
    let cases = [("held", "blocking", true), ("held", "async", false), ("scoped", "blocking", false)];
    for (scope, checkout, stopped) in cases {
        let checkout_setting = format!("gateway.checkout={checkout}");
        let settings: Vec<&str> = pool.iter().copied().chain([checkout_setting.as_str()]).collect();
        let specimen = Specimen::start(scope, &settings).await;
        let a_call_has_ended = Cell::new(false);
        let call = async || {
            drop(specimen.post_call().send().await.expect("an answer"));
            a_call_has_ended.set(true);
        };
        let calls = futures_util::future::join_all([call(), call(), call()]);
        let bystander = async {
            tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
            specimen.gauges().await;
            a_call_has_ended.get()
        };
        let (_, answered_after_a_call) = tokio::join!(calls, bystander);
        assert_eq!(answered_after_a_call, stopped, "{scope}, {checkout}");
        specimen.stop();
    }
}
