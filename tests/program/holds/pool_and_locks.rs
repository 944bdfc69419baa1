//! The patterns that are no session scope: who waits for a connection, and who waits for a row.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::specimen::{DELAY_S, Specimen};

/// `count` calls at once, to their end, whatever that is, and then until nothing is held.
async fn calls(specimen: &Specimen, count: usize) {
    join_all((0..count).map(|_| async { drop(specimen.post_call().send().await.expect("an answer")) })).await;
    specimen.wait_until_nothing_is_held().await;
}

/// As the pools below have it.
const POOL_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_blocking_pool_wait_stops_requests_that_need_no_database() {
    // H13: the third call wants a connection, and the first two hold both.
    let pool = ["gateway.pool.size=2", "gateway.pool.max_overflow=0", "gateway.pool.timeout=3s"];
    let cases = [("held", "blocking", true), ("held", "async", false), ("scoped", "blocking", false)];
    let mut oldest = Vec::new();
    for (scope, checkout, stopped) in cases {
        let checkout_setting = format!("gateway.checkout={checkout}");
        let settings: Vec<&str> = pool.iter().copied().chain([checkout_setting.as_str()]).collect();
        let specimen = Specimen::start(scope, &settings).await;
        let calls_have_ended = Cell::new(false);
        let calls = async {
            let call = async || drop(specimen.post_call().send().await.expect("an answer"));
            join_all([call(), call(), call()]).await;
            calls_have_ended.set(true);
        };
        // Asks for what needs no database, again and again: once, all three calls are under way.
        let bystander = async {
            let mut longest = Duration::ZERO;
            while !calls_have_ended.get() {
                let asked = Instant::now();
                specimen.gauges().await;
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            longest
        };
        let waited = Cell::new(Duration::ZERO);
        let measured = specimen.measured(async {
            let ((), longest) = tokio::join!(calls, bystander);
            waited.set(longest);
            specimen.wait_until_nothing_is_held().await;
        });
        let measured = measured.await;
        let longest = waited.get();
        assert_eq!(longest > POOL_TIMEOUT / 2, stopped, "{scope}, {checkout}: {longest:?}");
        let timeouts = specimen.gauge("db_client_connection_timeouts_total").await;
        assert_eq!(
            timeouts > 0.0,
            stopped,
            "{scope}, {checkout}: anyone who waits is not let in by those who wait too"
        );
        if scope == "held" {
            measured.assert_agrees(&format!("{scope}, {checkout}"));
        } else {
            assert!(measured.inside_s < DELAY_S / 4.0 && measured.outside_s < DELAY_S / 4.0, "{scope}: {measured:?}");
        }
        oldest.push(measured.oldest);
        specimen.stop();
    }
    let [blocking, asynchronous, scoped] = oldest[..] else { panic!("{oldest:?}") };
    assert!(blocking > asynchronous * 2, "they grow old together only where the loop stands still: {oldest:?}");
    assert!(asynchronous > scoped * 2, "{oldest:?}");
}

/// Holders of the shared row in the middle of three calls, idle, and its waiters.
async fn holders_and_waiters(specimen: &Specimen) -> (usize, i64) {
    let look = async {
        tokio::time::sleep(Duration::from_secs_f64(DELAY_S / 2.0)).await;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gw-%' \
                       AND state = 'active' AND wait_event_type = 'Lock'";
        let waiting: i64 = specimen.database.query_one(waiting, &[]).await.expect("a row").get(0);
        let held = specimen.in_transaction().await;
        (held.iter().filter(|seen| seen.query.starts_with("UPDATE usage_counters")).count(), waiting)
    };
    let (_, seen) = tokio::join!(join_all((0..3).map(|_| specimen.call())), look);
    seen
}

#[tokio::test]
async fn a_shared_row_queues_locks_behind_a_held_session_only() {
    // H14. With an asynchronous driver every waiter is seen; a synchronous one stops its worker, and shows one for each.
    let (on, off) = ("gateway.usage_counter.share=1", "gateway.usage_counter.share=0");
    let cases = [
        ("held", on, (1, 2)),
        ("held", off, (0, 0)),
        ("early_close", on, (0, 0)),
        ("endpoint_shared", on, (0, 0)),
        ("scoped", on, (0, 0)),
    ];
    for (scope, counter, wanted) in cases {
        let settings = [counter, "gateway.usage_counter.rows=1", "gateway.checkout=async"];
        let specimen = Specimen::start(scope, &settings).await;
        assert_eq!(holders_and_waiters(&specimen).await, wanted, "{scope}, {counter}: who holds it, and who waits");
        specimen.wait_until_nothing_is_held().await;
        let began = Instant::now();
        let measured = specimen.measured(calls(&specimen, 3)).await;
        let in_turns = began.elapsed().as_secs_f64() >= 3.0 * DELAY_S;
        if scope == "held" {
            measured.assert_agrees(&format!("{scope}, {counter}"));
            assert!(counter == off || in_turns, "one after the other: {:?}", began.elapsed());
        } else {
            assert!(measured.inside_s < DELAY_S / 4.0 && measured.outside_s < DELAY_S / 4.0, "{scope}: {measured:?}");
        }
        specimen.stop();
    }
}

#[tokio::test]
async fn requests_that_need_two_connections_deadlock_until_the_timeout() {
    // H10: two calls have got their first connection while the plugin is asked, and no second one is left.
    const POOL_TIMEOUT: Duration = Duration::from_secs(2);
    let settings = [
        "gateway.checkout=async",
        "gateway.hook_delay=400ms",
        "gateway.pool.size=2",
        "gateway.pool.max_overflow=0",
        "gateway.pool.timeout=2s",
    ];
    for (scope, stuck) in [("double_checkout", true), ("held", false), ("scoped", false)] {
        let specimen = Specimen::start(scope, &settings).await;
        let began = Instant::now();
        let call = async || {
            let answer = specimen.post_call().send().await.expect("an answer").text().await.expect("a body");
            (answer, began.elapsed())
        };
        let answers = join_all([call(), call()]).await;
        let timed_out = answers.iter().filter(|(answer, _)| answer.contains("QueuePool limit of size 2 overflow 0"));
        assert_eq!(timed_out.count() > 0, stuck, "{scope}: {answers:?}");
        let timeouts = specimen.gauge("db_client_connection_timeouts_total").await;
        assert_eq!(timeouts > 0.0, stuck, "{scope}: {answers:?}");
        if stuck {
            assert!(answers.iter().all(|(_, after)| *after >= POOL_TIMEOUT), "nobody gets on before: {answers:?}");
        }
        specimen.wait_until_nothing_is_held().await;
        // Alone, each has both that it wants.
        specimen.call().await;
        specimen.stop();
    }
}
