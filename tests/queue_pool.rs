//! The gateway's pool and sessions on a real PostgreSQL: what SQLAlchemy's `QueuePool` and `Session` would do.
//!
//! Tests of the pool against a server; what needs none is tested beside the pool. Everything here runs with both kinds of
//! checkout, and the server
//! is the witness: its `pg_stat_activity` and its log.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as loudly as the test itself")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gateway_under_test::db::PoolGauges;
use gateway_under_test::db::{DbError, GatewayDatabase, Session};
use gateway_under_test::settings::{Checkout, DatabaseHost, DatabaseSettings, PoolSettings, PrePing};
use support::postgres::{DEADLINE, Observer, database_settings, statements_of};
use tokio::time::interval;
use tokio_postgres::error::SqlState;

const BOTH: [Checkout; 2] = [Checkout::Blocking, Checkout::Async];

const THREE_PLUS_TWO: PoolSettings =
    PoolSettings { size: 3, max_overflow: 2, timeout: Duration::from_secs(1), pre_ping: PrePing::Off, recycle: None };

const PENDING_ROLLBACK: &str =
    "Can't reconnect until invalid transaction is rolled back.  Please rollback() fully before proceeding";

/// A pool under test, and who watches it.
struct Bench {
    application: String,
    database: GatewayDatabase,
    gauges: Arc<PoolGauges>,
    observer: Observer,
}

impl Bench {
    /// `name` is the test's own, since all tests may share one server.
    async fn new(name: &str, checkout: Checkout, pool: PoolSettings) -> Self {
        Self::with(name, checkout, pool, &database_settings().await).await
    }

    async fn with(name: &str, checkout: Checkout, pool: PoolSettings, settings: &DatabaseSettings) -> Self {
        let application = format!("{name}-{checkout:?}");
        let (database, gauges) = database(&application, checkout, pool, settings);
        Self { application, database, gauges, observer: Observer::connect().await }
    }

    /// Sessions that each have begun, and the server processes that serve them.
    async fn begin(&self, count: usize) -> (Vec<Session>, Vec<i32>) {
        let (mut sessions, mut pids) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut session = self.database.session();
            pids.push(pid(&mut session).await.unwrap());
            sessions.push(session);
        }
        (sessions, pids)
    }

    /// The process that serves a unit of work, from its begin to its commit.
    async fn use_once(&self) -> i32 {
        let mut session = self.database.session();
        let pid = pid(&mut session).await.unwrap();
        session.commit().await.unwrap();
        pid
    }

    /// Connections out and in.
    fn counts(&self) -> (u64, u64) {
        counts(&self.gauges)
    }

    async fn state(&self) -> String {
        let sessions = self.observer.sessions(&self.application).await;
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions[0].state.clone()
    }
}

fn database(
    application: &str,
    checkout: Checkout,
    pool: PoolSettings,
    settings: &DatabaseSettings,
) -> (GatewayDatabase, Arc<PoolGauges>) {
    let gauges = Arc::<PoolGauges>::default();
    (GatewayDatabase::new(application, settings, &pool, checkout, Arc::clone(&gauges)), gauges)
}

fn counts(gauges: &PoolGauges) -> (u64, u64) {
    (gauges.checked_out.load(Ordering::Relaxed), gauges.checked_in.load(Ordering::Relaxed))
}

async fn pid(session: &mut Session) -> Result<i32, DbError> {
    Ok(session.query("SELECT pg_backend_pid()", &[]).await?[0].get(0))
}

fn code(error: &DbError) -> Option<&SqlState> {
    let DbError::Statement { source, .. } = error else { return None };
    source.code()
}

async fn commit_all(sessions: Vec<Session>) {
    for mut session in sessions {
        session.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_pool_starts_empty_and_connects_with_the_first_statement() {
    for checkout in BOTH {
        let bench = Bench::new("lazy", checkout, THREE_PLUS_TWO).await;
        let mut session = bench.database.session();
        assert!(bench.observer.pids(&bench.application).await.is_empty());
        assert_eq!(bench.counts(), (0, 0));
        let pid = pid(&mut session).await.unwrap();
        assert_eq!(bench.observer.pids(&bench.application).await, [pid]);
        assert_eq!(bench.counts(), (1, 0));
        session.commit().await.unwrap();
        assert_eq!(bench.observer.pids(&bench.application).await, [pid]);
        assert_eq!(bench.counts(), (0, 1));
    }
}

#[tokio::test]
async fn connections_that_come_back_are_closed_only_when_size_are_idle() {
    for (checkout, size, max_overflow) in BOTH.into_iter().flat_map(|it| [(it, 3, 2), (it, 1, 2)]) {
        let pool = PoolSettings { size, max_overflow, ..THREE_PLUS_TWO };
        let bench = Bench::new(&format!("return-{size}"), checkout, pool).await;
        let (mut sessions, mut pids) = bench.begin((size + max_overflow) as usize).await;
        assert_eq!(bench.observer.pids(&bench.application).await, pids);
        sessions.reverse();
        pids.reverse();
        commit_all(sessions).await;
        // The first that came back.
        let mut kept = pids[..size as usize].to_vec();
        kept.sort_unstable();
        let same = |seen: &[support::postgres::Seen]| {
            let mut alive: Vec<i32> = seen.iter().map(|seen| seen.pid).collect();
            alive.sort_unstable();
            alive == kept
        };
        bench.observer.wait_for(&bench.application, &format!("{kept:?}"), same).await;
        assert_eq!(bench.counts(), (0, u64::from(size)));
    }
}

#[tokio::test]
async fn a_session_is_idle_in_transaction_from_its_first_statement_to_its_end() {
    for checkout in BOTH {
        let bench = Bench::new("scope", checkout, THREE_PLUS_TWO).await;
        let mut session = bench.database.session();
        // The same session begins again each time.
        for end in ["commit", "rollback", "release"] {
            session.query("SELECT 1", &[]).await.unwrap();
            assert_eq!((bench.state().await.as_str(), bench.counts()), ("idle in transaction", (1, 0)), "{end}");
            match end {
                "commit" => session.commit().await.unwrap(),
                "rollback" => session.rollback().await.unwrap(),
                _ => session.release().await.unwrap(),
            }
            assert_eq!((bench.state().await.as_str(), bench.counts()), ("idle", (0, 1)), "{end}");
        }
    }
}

#[tokio::test]
async fn what_needs_no_word_to_the_server_gets_none() {
    for checkout in BOTH {
        let bench = Bench::new("silent", checkout, THREE_PLUS_TWO).await;
        drop(bench.database.session());
        let mut session = bench.database.session();
        session.commit().await.unwrap();
        session.query("SELECT 1", &[]).await.unwrap();
        session.query("SELECT 2", &[]).await.unwrap();
        session.commit().await.unwrap();
        // No transaction is open, so there is nothing to reset.
        session.rollback().await.unwrap();
        session.commit().await.unwrap();
        session.release().await.unwrap();
        drop(session);
        assert_eq!(statements_of(&bench.application).await, ["BEGIN", "SELECT 1", "SELECT 2", "COMMIT"]);
    }
}

#[tokio::test]
async fn a_failed_statement_wants_a_rollback_before_the_next() {
    let failures: [(&'static str, &str); 3] = [
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT 1 FROM nowhere", "relation \"nowhere\" does not exist"),
        ("SELECT pg_sleep(30)", "canceling statement due to statement timeout"),
    ];
    let settings = DatabaseSettings { statement_timeout: Duration::from_millis(500), ..database_settings().await };
    for checkout in BOTH {
        let bench = Bench::with("failed", checkout, THREE_PLUS_TWO, &settings).await;
        let mut session = bench.database.session();
        for (sql, text) in failures {
            assert_eq!(session.query(sql, &[]).await.unwrap_err().to_string(), text);
            // The error is on its way before the state is set.
            bench.observer.wait_for_state(&bench.application, "idle in transaction (aborted)").await;
            for _ in 0..2 {
                assert_eq!(session.query("SELECT 1", &[]).await.unwrap_err().to_string(), PENDING_ROLLBACK);
            }
            session.rollback().await.unwrap();
            assert_eq!((bench.state().await.as_str(), bench.counts()), ("idle", (0, 1)), "{sql}");
        }
        session.query("SELECT 1", &[]).await.unwrap();
        session.query("SELECT 1 / 0", &[]).await.unwrap_err();
        assert_eq!(session.commit().await.unwrap_err().to_string(), PENDING_ROLLBACK);
        assert_eq!((bench.state().await.as_str(), bench.counts()), ("idle", (0, 1)));
        session.query("SELECT 1", &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_killed_for_idling_fails_at_its_next_statement() {
    let idle_in_transaction_session_timeout = Duration::from_millis(400);
    let settings = DatabaseSettings { idle_in_transaction_session_timeout, ..database_settings().await };
    for checkout in BOTH {
        let bench = Bench::with("idle-kill", checkout, THREE_PLUS_TWO, &settings).await;
        let mut session = bench.database.session();
        let killed = pid(&mut session).await.unwrap();
        bench.observer.wait_for_end(&bench.application, killed).await;
        assert_eq!(bench.counts(), (1, 0));

        let error = session.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "terminating connection due to idle-in-transaction timeout", "{checkout:?}");
        assert_eq!(code(&error), Some(&SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT));
        assert_eq!(session.query("SELECT 1", &[]).await.unwrap_err().to_string(), PENDING_ROLLBACK);
        session.rollback().await.unwrap();
        assert_eq!(bench.counts(), (0, 1), "the slot stays");
        assert_ne!(pid(&mut session).await.unwrap(), killed);
        session.commit().await.unwrap();

        let killed = pid(&mut session).await.unwrap();
        bench.observer.wait_for_end(&bench.application, killed).await;
        let error = session.commit().await.unwrap_err();
        assert_eq!(error.to_string(), "terminating connection due to idle-in-transaction timeout", "{checkout:?}");
        assert_ne!(bench.use_once().await, killed);
    }
}

#[tokio::test]
async fn a_dead_connection_fails_its_next_statement_and_older_ones() {
    for checkout in BOTH {
        let bench = Bench::new("disconnect", checkout, THREE_PLUS_TWO).await;
        let (sessions, old) = bench.begin(3).await;
        commit_all(sessions).await;
        // The next to be taken.
        bench.observer.terminate(&bench.application, old[0]).await;
        let mut session = bench.database.session();
        let error = session.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "terminating connection due to administrator command", "{checkout:?}");
        session.rollback().await.unwrap();

        let (sessions, new) = bench.begin(3).await;
        assert!(old.iter().all(|pid| !new.contains(pid)), "{old:?} and {new:?}");
        bench.observer.wait_for_count(&bench.application, 3).await;
        commit_all(sessions).await;
        let (_sessions, again) = bench.begin(3).await;
        assert_eq!(again.len(), 3);
        assert!(again.iter().all(|pid| new.contains(pid)), "the younger ones are used again: {new:?}, {again:?}");
    }
}

#[tokio::test]
async fn pre_ping_replaces_dead_connections_silently_and_begins_nothing() {
    let pool = PoolSettings { pre_ping: PrePing::On, ..THREE_PLUS_TWO };
    for checkout in BOTH {
        let bench = Bench::new("ping", checkout, pool).await;
        let (sessions, old) = bench.begin(2).await;
        commit_all(sessions).await;
        for pid in &old {
            bench.observer.terminate(&bench.application, *pid).await;
        }
        let (sessions, new) = bench.begin(2).await;
        assert!(old.iter().all(|pid| !new.contains(pid)), "{old:?} and {new:?}");
        commit_all(sessions).await;
        assert_eq!(bench.use_once().await, new[0], "one that answers is kept");
        let unit = ["BEGIN", "SELECT pg_backend_pid()", "COMMIT"];
        let first_two = ["BEGIN", "SELECT pg_backend_pid()", "BEGIN", "SELECT pg_backend_pid()", "COMMIT", "COMMIT"];
        // The dead never saw their ping; neither a dead nor a new connection is tried twice.
        let expected = [&first_two[..], &first_two[..], &["SELECT 1"], &unit[..]].concat();
        assert_eq!(statements_of(&bench.application).await, expected, "{checkout:?}");
    }
}

#[tokio::test]
async fn a_connection_past_its_age_is_replaced_when_it_is_next_taken() {
    for checkout in BOTH {
        let bench =
            Bench::new("recycle", checkout, PoolSettings { recycle: Some(Duration::ZERO), ..THREE_PLUS_TWO }).await;
        let first = bench.use_once().await;
        assert_eq!(bench.observer.pids(&bench.application).await, [first], "not before");
        let second = bench.use_once().await;
        assert_ne!(first, second);
        assert_eq!(bench.observer.wait_for_count(&bench.application, 1).await[0].pid, second);
    }
}

#[tokio::test]
async fn a_session_dropped_in_its_transaction_leaves_none_behind() {
    for checkout in BOTH {
        for fails in [false, true] {
            let bench = Bench::new(&format!("drop-{fails}"), checkout, THREE_PLUS_TWO).await;
            let mut session = bench.database.session();
            let first = pid(&mut session).await.unwrap();
            if fails {
                session.query("SELECT 1 / 0", &[]).await.unwrap_err();
            }
            drop(session);
            assert_eq!(bench.counts(), (0, 1), "the slot is free");
            bench.observer.wait_for_count(&bench.application, 0).await;
            assert_ne!(bench.use_once().await, first);
            assert_eq!(bench.state().await, "idle");
        }
    }
}

#[tokio::test]
async fn a_query_that_is_given_up_leaves_no_transaction_in_the_pool() {
    let bench = Bench::new("given-up", Checkout::Async, THREE_PLUS_TWO).await;
    let mut session = bench.database.session();
    let first = pid(&mut session).await.unwrap();
    tokio::select! {
        _ = session.query("SELECT pg_sleep(0.2)", &[]) => panic!("it ended before it was seen"),
        () = bench.observer.wait_for_state(&bench.application, "active") => {}
    }
    drop(session);
    assert_ne!(bench.use_once().await, first);
    bench.observer.wait_for_end(&bench.application, first).await;
    assert_eq!(bench.state().await, "idle");
}

#[tokio::test]
async fn a_query_whose_server_process_dies_fails_and_does_not_hang() {
    for checkout in BOTH {
        let bench = Bench::new("dies", checkout, THREE_PLUS_TWO).await;
        let database = bench.database.clone();
        let (done, outcome) = mpsc::channel();
        // On a thread of its own, since a blocking query stops this one.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut session = database.session();
                let error = session.query("SELECT pg_sleep(30)", &[]).await.unwrap_err().to_string();
                let rolled_back = session.rollback().await.map_err(|error| error.to_string());
                let next = pid(&mut session).await.map_err(|error| error.to_string());
                session.release().await.unwrap();
                done.send((error, rolled_back, next)).unwrap();
            });
        });
        let sessions = bench
            .observer
            .wait_for(&bench.application, "a query", |sessions| {
                sessions.len() == 1 && sessions[0].state == "active" && sessions[0].query.contains("pg_sleep")
            })
            .await;
        bench.observer.terminate(&bench.application, sessions[0].pid).await;
        let (error, rolled_back, next) = outcome.recv_timeout(DEADLINE).unwrap();
        thread.join().unwrap();
        assert_eq!(error, "terminating connection due to administrator command", "{checkout:?}");
        assert_eq!(rolled_back, Ok(()), "{checkout:?}: there is nothing left to roll back");
        assert_ne!(next.unwrap(), sessions[0].pid);
        assert_eq!(bench.counts(), (0, 1));
    }
}

/// Counts how often a task of this runtime had its turn while `work` ran.
async fn ticks_during(work: impl Future) -> u64 {
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ticks);
    let ticker = tokio::spawn(async move {
        let mut turns = interval(Duration::from_millis(10));
        loop {
            turns.tick().await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    // It has had its first turn.
    while ticks.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let before = ticks.load(Ordering::Relaxed);
    work.await;
    let during = ticks.load(Ordering::Relaxed) - before;
    ticker.abort();
    during
}

#[tokio::test]
async fn blocking_queries_and_checkouts_stop_the_event_loop() {
    let pool = PoolSettings { size: 1, max_overflow: 0, timeout: Duration::from_millis(300), ..THREE_PLUS_TWO };
    for checkout in BOTH {
        let bench = Bench::new("loop", checkout, pool).await;
        let mut session = bench.database.session();
        session.query("SELECT 1", &[]).await.unwrap();

        let query = ticks_during(async { session.query("SELECT pg_sleep(0.3)", &[]).await.unwrap() }).await;
        let started = Instant::now();
        let waiting = ticks_during(async {
            let error = pid(&mut bench.database.session()).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 0.30 \
                 (Background on this error at: https://sqlalche.me/e/20/3o7r)"
            );
        })
        .await;
        assert!(started.elapsed() >= pool.timeout, "{:?}", started.elapsed());
        match checkout {
            Checkout::Blocking => assert_eq!((query, waiting), (0, 0)),
            Checkout::Async => assert!(query > 5 && waiting > 5, "{query} and {waiting} turns in 0.3 s each"),
        }
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_leaves_its_slot_to_the_next() {
    let nowhere = DatabaseSettings {
        host: DatabaseHost::Socket(PathBuf::from("/nowhere")),
        port: 1,
        user: "nobody".to_owned(),
        password: None,
        dbname: "nothing".to_owned(),
        route: gateway_under_test::settings::DatabaseRoute::Direct,
        statement_timeout: Duration::ZERO,
        idle_in_transaction_session_timeout: Duration::ZERO,
    };
    for (checkout, text) in [
        (Checkout::Blocking, "connection to `/nowhere/.s.PGSQL.1` failed"),
        (Checkout::Async, "connection failed: error connecting to server"),
    ] {
        let (database, gauges) = database("nowhere", checkout, THREE_PLUS_TWO, &nowhere);
        // More often than there are slots.
        for _ in 0..7 {
            let error = database.session().query("SELECT 1", &[]).await.unwrap_err();
            assert!(error.to_string().starts_with(text), "{error}");
            assert_eq!(counts(&gauges), (0, 0));
        }
        assert_eq!(gauges.timeouts.load(Ordering::Relaxed), 0);
    }
}
