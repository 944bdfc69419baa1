//! An open workload: what a stalled service does to it, whether its rate is met, and whether it ends when reported to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::sync::RwLock;

use super::{recorded, serve, write};
use crate::program::Place;
use crate::service::database_url;

const STALL: Duration = Duration::from_secs(2);

/// When the service stalls: after so many requests, which is in the steady phase.
const STALL_AFTER: u64 = 900;

const RATE: f64 = 300.0;

/// A service that answers at once, but for one stall.
#[derive(Clone, Default)]
struct Stalling {
    seen: Arc<AtomicU64>,
    door: Arc<RwLock<()>>,
}

async fn answer(State(service): State<Stalling>) -> &'static str {
    if service.seen.fetch_add(1, Ordering::Relaxed) == STALL_AFTER {
        let _closed = service.door.write().await;
        tokio::time::sleep(STALL).await;
    }
    let _open = service.door.read().await;
    "done"
}

async fn measured(load: &str) -> Value {
    let service = Stalling::default();
    let url = serve(Router::new().route("/", get(answer)).with_state(service)).await;
    recorded(&url, load, "[[route]]\nroute = \"GET /\"\n").await
}

/// A percentile of the latency, in seconds.
fn latency(variant: &Value, percentile: f64) -> f64 {
    let points = variant["latency_distribution"].as_array().expect("a list");
    let point = points.iter().find(|it| (it["percentile"].as_f64().unwrap() - percentile).abs() < 1e-6);
    point.unwrap_or_else(|| panic!("{points:#?}"))["ms"].as_f64().unwrap() / 1e3
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_open_workload_latency_and_not_in_closed() {
    let open = measured(&format!("arrival_rate = {RATE}\nramp_up = \"1s\"\nduration = \"8s\"")).await;
    assert!(latency(&open, 99.9) > STALL.as_secs_f64() / 2.0, "{:#}", open["latency_distribution"]);
    // Everybody who came in the time of the stall waited for its end.
    assert!(latency(&open, 90.0) > 0.1, "{:#}", open["latency_distribution"]);
    let schedule = &open["generator"]["schedule"];
    let (began, ended) = (open["phases"]["steady_from_s"].as_f64(), open["phases"]["steady_to_s"].as_f64());
    let rate = schedule["started"].as_f64().unwrap() / (ended.unwrap() - began.unwrap());
    assert!((rate / RATE - 1.0).abs() < 0.01, "{rate} a second: {schedule:#}");
    assert_eq!(schedule["not_started"], 0, "{schedule:#}");

    let closed = "users = 1\nthink_time = [\"0s\", \"0s\"]\nmax_rate = 300\nramp_up = \"1s\"\nduration = \"8s\"";
    let closed = measured(closed).await;
    assert!(latency(&closed, 99.9) < STALL.as_secs_f64() / 4.0, "{:#}", closed["latency_distribution"]);
    assert!(latency(&closed, 100.0) > STALL.as_secs_f64() / 2.0, "it was there: {:#}", closed["latency_distribution"]);
    let throughput = closed["summary"]["throughput_rps"].as_f64().unwrap();
    assert!(throughput < RATE * 1.02 && closed["generator"]["schedule"].is_null(), "{throughput} a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_in_flight_is_not_started_and_counted() {
    // Two at a time, a second each: of 20 a second, two can be.
    let slow = get(async || tokio::time::sleep(Duration::from_secs(1)).await);
    let url = serve(Router::new().route("/", slow)).await;
    let load = "arrival_rate = 20\nmax_in_flight = 2\nramp_up = \"0s\"\nduration = \"4s\"";
    let variant = recorded(&url, load, "[[route]]\nroute = \"GET /\"\n").await;
    let schedule = &variant["generator"]["schedule"];
    let (started, not_started) = (schedule["started"].as_u64().unwrap(), schedule["not_started"].as_u64().unwrap());
    assert_eq!(started + not_started, 80, "{schedule:#}");
    assert!((2..=8).contains(&started), "{schedule:#}");
}

/// Requests that nobody ever answers, and when the service last heard of a client.
#[derive(Clone)]
struct Silent {
    waiting: Arc<AtomicUsize>,
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

/// A client that waits.
struct Waiting(Silent);

impl Waiting {
    fn on(service: Silent) -> Self {
        service.waiting.fetch_add(1, Ordering::Relaxed);
        Self(service)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap();
        self.0.last_ms.fetch_max(now, Ordering::Relaxed);
    }
}

async fn interrupted(load: &str) {
    let service = Silent { waiting: Arc::default(), began: Instant::now(), last_ms: Arc::default() };
    let handler = async |State(service): State<Silent>| -> () {
        let _waiting = Waiting::on(service);
        std::future::pending::<()>().await;
    };
    let url = serve(Router::new().route("/", get(handler)).with_state(service.clone())).await;
    let database = database_url().await;
    let load = load.to_owned();
    let run = move || {
        let place = Place::new();
        let scenario = write(&place, &url, &load, "[[route]]\nroute = \"GET /\"\n");
        let mut program = place.program();
        program.env("SHOP_DATABASE", &database).args(["run", &scenario]);
        let mut program = Place::started(program);
        program.wait_for_line("steady ");
        let reported = service.began.elapsed();
        program.signal(Signal::SIGINT);
        assert_eq!(program.wait(), Some(130));
        assert_eq!(service.waiting.load(Ordering::Relaxed), 0, "nobody is left waiting");
        let last = Duration::from_millis(service.last_ms.load(Ordering::Relaxed));
        assert!(
            last > reported && last < reported + Duration::from_secs(1),
            "reported at {reported:?}, the last left at {last:?}"
        );
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_an_open_load_within_a_second_though_nobody_answers() {
    interrupted("arrival_rate = 50\nramp_up = \"0s\"\nduration = \"60s\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_closed_load_within_a_second_though_nobody_answers() {
    interrupted("users = 50\nthink_time = [\"10ms\", \"20ms\"]\nramp_up = \"0s\"\nduration = \"60s\"").await;
}
