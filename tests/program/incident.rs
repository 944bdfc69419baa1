//! The bug is a test, and so is the instrument.

use serde_json::Value;

use crate::program::{Place, SMALL, json, record};

const QUEUE_POOL: &str = "QueuePool limit of size 3 overflow 1 reached, connection timed out, timeout 1.00";

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("`{key}` of {value}"))
}

#[test]
fn held_exhausts_the_pool_and_scoped_does_not() {
    let place = Place::new();
    let summary = json(&place.output(&["run", SMALL, "--json"]));
    let (held, scoped) = (&summary["variants"]["held"], &summary["variants"]["scoped"]);

    assert!(number(held, "pool_timeouts") >= 1.0, "{held}");
    assert!(number(held, "idle_in_transaction_peak") >= 6.0, "most of the 8 sessions idle in transaction: {held}");
    assert!(number(scoped, "requests") > 0.0);
    assert_eq!(scoped["pool_timeouts"], 0, "{scoped}");
    // Checkouts that gave up have waited for the pool's second.
    assert_eq!(held["pool_wait_max_ms"].as_f64(), Some(2500.0), "the bucket of waits from 1 to 2.5 s: {held}");
    assert!(number(scoped, "pool_wait_p99_ms") <= 500.0, "{scoped}");
    assert_eq!(scoped["failure_ratio"].as_f64(), Some(0.0), "{scoped}");
    // A blocking worker has at most one transaction under way at a time, and so has the thread of a health check.
    assert!(number(scoped, "idle_in_transaction_peak") <= 3.0, "{scoped}");
    assert!(number(scoped, "throughput_rps") > 2.0 * number(held, "throughput_rps"), "{summary}");

    let record = record(&place.run_folder());
    let errors = record["variants"]["held"]["errors"].as_array().expect("a list");
    let raised = |by: &str| {
        errors.iter().any(|it| it["seen_by"] == by && it["text"].as_str().is_some_and(|text| text.contains(QUEUE_POOL)))
    };
    assert!(raised("gateway"), "the exact text is in the record: {errors:?}");
    assert!(raised("client"), "a client sees the exact text too: {errors:?}");
    place.assert_nothing_is_left(crate::program::HANG);
}

/// The held run of the small scenario: the latencies of the route that needs no database, and the pool timeouts.
fn bystander(checkout: &str) -> (Value, f64) {
    let place = Place::new();
    let set = format!("gateway.checkout={checkout}");
    let summary = json(&place.output(&["run", SMALL, "--variant", "held", "--json", "--set", &set]));
    let record = record(&place.run_folder());
    let routes = record["variants"]["held"]["routes"].as_array().expect("a list");
    let route = routes.iter().find(|it| it["route"] == "GET /metrics/prometheus").expect("the bystander");
    (route.clone(), number(&summary["variants"]["held"], "pool_timeouts"))
}

/// Half of what a checkout waits in the small scenario. A bystander comes at any time of a freeze and waits for the
/// rest of it only; and each of them asks several times a second, so that some come early in it.
const HALF_A_FREEZE_MS: f64 = 500.0;

#[test]
fn a_blocking_checkout_freezes_a_route_that_needs_no_database() {
    let (route, timeouts) = bystander("blocking");
    assert!(timeouts >= 1.0);
    assert!(number(&route, "latency_max_ms") >= HALF_A_FREEZE_MS, "{route}");
}

#[test]
fn an_async_checkout_lets_a_route_that_needs_no_database_through() {
    let (route, _) = bystander("async");
    // The 95th percentile: nobody waits for the pool on the loop, but a busy machine may stop anybody for a moment.
    assert!(number(&route, "latency_p95_ms") < HALF_A_FREEZE_MS, "{route}");
}

#[test]
fn the_load_generator_listens_nowhere() {
    let place = Place::new();
    let mut run = place.start(&["run", SMALL, "--variant", "scoped", "--duration", "60s"]);
    run.wait_for_line("steady ");
    let pid = run.child.id();
    let open: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("our own child")
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let sockets: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // Column 3 is the state, 0A is LISTEN; column 9 is the inode.
    let column = |line: &str, index: usize| line.split_whitespace().nth(index).unwrap_or_default().to_owned();
    let ours = |line: &&String| open.contains(&format!("socket:[{}]", column(line, 9)));
    assert!(sockets.iter().any(|line| ours(&line)), "its connections to the gateway are among {sockets:?}");
    let listening: Vec<_> = sockets.iter().filter(ours).filter(|line| column(line, 3) == "0A").collect();
    run.signal(nix::sys::signal::Signal::SIGINT);
    run.wait();
    assert!(listening.is_empty(), "{listening:?}");
}

#[test]
fn a_known_delay_is_measured_at_that_delay() {
    let place = Place::new();
    let delay = ["--set", "backend.delays.slow-search.min=250ms", "--set", "backend.delays.slow-search.max=250ms"];
    let mut arguments = vec!["run", SMALL, "--variant", "scoped", "--users", "8", "--json"];
    arguments.extend(delay);
    json(&place.output(&arguments));
    let record = record(&place.run_folder());
    let routes = record["variants"]["scoped"]["routes"].as_array().expect("a list");
    let route = routes.iter().find(|it| it["route"] == "POST /rpc tools/call").expect("the slow route");
    let median_ms = number(route, "latency_p50_ms");
    assert!((250.0..500.0).contains(&median_ms), "{median_ms} ms for a delay of 250 ms");
}

#[test]
fn few_users_exhaust_no_pool_and_the_table_says_so() {
    let place = Place::new();
    let output = place.output(&["run", SMALL, "--users", "4"]);
    let table = crate::program::text(&output.stdout);
    assert!(output.status.success(), "{}", crate::program::text(&output.stderr));
    assert!(table.contains("No checkout timed out: 4 users had at most"), "{table}");
}

#[test]
fn sampled_idle_time_agrees_with_the_servers_own_count() {
    let place = Place::new();
    let arguments = ["run", SMALL, "--variant", "held", "--users", "6", "--set", "gateway.pool.size=20", "--json"];
    let summary = json(&place.output(&arguments));
    let held = &summary["variants"]["held"];
    let (sampled, counted) =
        (number(held, "idle_in_transaction_sampled_s"), number(held, "idle_in_transaction_counted_s"));
    // Holds of 0.3 s at 10 Hz: the samples' own standard error is about 1 %; the ends of the load add a little.
    assert!((sampled / counted - 1.0).abs() < 0.15, "sampled {sampled} s, counted {counted} s");
}
