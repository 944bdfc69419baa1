//! A request that holds a transaction was there when it began: ways to hold that do not end with the response, on a real service with
//! a slow route without a database, a slow query and a write beside the culprit. It is named, or nobody is.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use rbac_bench::testbed::binaries::SearchPlaces;
use rbac_bench::testbed::cluster::ClusterPlan;
use rbac_bench::testbed::pgbouncer::{PgBouncerPlan, find};
use serde_json::Value;

use crate::orders::{database, fill};
use crate::program::{Place, json, text};
use crate::support::postgres::start_cluster;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const REQUESTS: &str = "GET /requests/{id}";

const MIX: [(&str, u32); 6] = [
    (REQUESTS, 2),
    ("GET /export/{id}", 1),
    ("GET /orders/{id}", 3),
    ("GET /weather", 3),
    ("GET /statistics", 2),
    ("POST /notes", 1),
];

/// Runs the service with a mistake, and gives the findings.
async fn findings(mistake: &'static str, pool: u32) -> Vec<Value> {
    Shop { mistake, pool, users: 10, gauge: true }.findings().await
}

/// The service with a mistake, so many sessions and users, and a pool that tells how full it is or not.
struct Shop {
    mistake: &'static str,
    pool: u32,
    users: u32,
    gauge: bool,
}

impl Shop {
    fn scenario(&self, port: u16) -> String {
        let Self { mistake, pool, users, gauge } = *self;
        let gauge = if gauge {
            "[target.metrics]\npath = \"/metrics\"\nchecked_out = \"pool_out\"\npending = \"pool_waiting\"\n"
        } else {
            ""
        };
        let one = |(route, weight): &(&str, u32)| {
            let params = match route {
                _ if route.contains("{id}") => "params = { id = { from = 1, to = 500 } }\n",
                _ if route.starts_with("POST") => "changes_data = true\n",
                _ => "",
            };
            format!("[[route]]\nroute = \"{route}\"\nweight = {weight}\n{params}")
        };
        format!(
            "name = \"shop\"\npool_capacity = {pool}\n[target]\nurl = \"http://127.0.0.1:{port}\"\nready = \"/health\"\n\
             folder = \"{ROOT}/tests/program/begun\"\n\
             command = [\"{ROOT}/.venv-apps/bin/uvicorn\", \"service:app\", \"--port\", \"{port}\", \"--log-level\", \"warning\"]\n\
             env = {{ MISTAKE = \"{mistake}\", POOL = \"{pool}\", PYTHONDONTWRITEBYTECODE = \"1\" }}\n\
             {gauge}[database]\nurl_env = \"WATCHED\"\n[load]\nallow_data_changes = true\nusers = {users}\nramp_up = \"1s\"\nduration = \"20s\"\n\
             think_time = [\"200ms\", \"700ms\"]\n{}",
            MIX.iter().map(one).collect::<String>()
        )
    }

    /// The place in which the program has scanned or run it, and its output.
    async fn measured(&self, arguments: &[&str]) -> (Place, Output) {
        let port = free_port();
        let url = database(&format!("begun_{}_{port}", self.mistake)).await;
        self.measured_with(&Urls { of_service: url.clone(), watched: url }, port, arguments).await
    }

    async fn measured_with(&self, urls: &Urls, port: u16, arguments: &[&str]) -> (Place, Output) {
        let place = Place::new();
        let path = place.tmp().join("shop.toml");
        std::fs::write(&path, self.scenario(port)).expect("a scenario");
        let mut program = place.program();
        program
            .env("DATABASE_URL", &urls.of_service)
            .env("WATCHED", &urls.watched)
            .arg(arguments[0])
            .arg(&path)
            .args(&arguments[1..])
            .arg("--json");
        let run = move || {
            let output = program.output().expect("it starts");
            assert!(output.status.success(), "{}", text(&output.stderr));
            (place, output)
        };
        tokio::task::spawn_blocking(run).await.expect("it ends")
    }

    async fn findings(&self) -> Vec<Value> {
        diagnosed(&self.measured(&["run"]).await.0)
    }
}

/// One database, as the service reaches it, and as the program does.
struct Urls {
    of_service: String,
    watched: String,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port()
}

/// The findings of the run that was recorded there.
fn diagnosed(place: &Place) -> Vec<Value> {
    let folder = place.run_folder().display().to_string();
    // An inconclusive diagnosis ends with another code.
    let printed = text(&place.output(&["diagnose", &folder, "--json"]).stdout);
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    document["findings"].as_array().expect("a list").clone()
}

/// The routes that are accused of holding or leaking.
fn accused(findings: &[Value]) -> Vec<&str> {
    let held =
        findings.iter().filter(|it| ["held_session", "leaked_session"].contains(&it["kind"].as_str().unwrap_or("")));
    held.filter_map(|it| it["route"].as_str()).collect()
}

fn has(findings: &[Value], kind: &str) -> bool {
    findings.iter().any(|it| it["kind"] == kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_keeps_the_requests_session_is_laid_to_its_route() {
    let found = findings("task", 12).await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
    let held = found[0]["held_s_per_request"]["value"].as_f64();
    assert!(held.is_some_and(|held| (held / 0.8 - 1.0).abs() < 0.1), "{found:#?}");
    assert!(found[0]["title"].as_str().is_some_and(|it| it.contains("after the response")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_session_of_its_own_is_laid_to_the_response_before_it() {
    let found = findings("after", 12).await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_holds_is_laid_to_no_route() {
    let found = findings("job", 12).await;
    assert_eq!(accused(&found), [""; 0], "{found:#?}");
    // Where somebody was in flight at each beginning, nobody can tell.
    assert!(has(&found, "held_outside_requests") || has(&found, "cannot_tell"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_given_back_with_its_transaction_open_is_laid_to_who_began_it() {
    // So few users that a connection lies in the pool for longer than any request takes.
    let found = Shop { mistake: "dirty", pool: 12, users: 3, gauge: true }.findings().await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
    assert!(found[0]["fix"].as_str().is_some_and(|it| it.starts_with("Commit or roll back")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leak_in_one_of_ten_answers_is_laid_to_its_route() {
    let found = findings("leak", 12).await;
    assert!(has(&found, "leaked_session"), "{found:#?}");
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_sent_slowly_and_a_plain_hold_are_laid_to_their_routes() {
    let found = findings("stream", 12).await;
    assert_eq!(accused(&found), ["GET /export/{id}"], "{found:#?}");
    let found = findings("hold", 12).await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_read_slowly_hold_a_session_and_are_no_slow_query() {
    let found = findings("rows", 12).await;
    assert_eq!(accused(&found), ["GET /export/{id}"], "{found:#?}");
    let title = found[0]["title"].as_str().expect("a title");
    assert!(title.contains("until the service has read the last row"), "{title}");
    assert!(!has(&found, "slow_query"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_an_idle_session_without_a_transaction_is_named_as_such() {
    let found = findings("lock", 12).await;
    let convoy = found.iter().find(|it| it["kind"] == "lock_convoy").unwrap_or_else(|| panic!("{found:#?}"));
    assert!(convoy["title"].as_str().is_some_and(|it| it.contains("without a transaction")), "{convoy:#}");
    assert!(convoy["fix"].as_str().is_some_and(|it| it.contains("pg_advisory_xact_lock")), "{convoy:#}");
    assert_eq!((&convoy["statement"], &convoy["route"]), (&Value::Null, &Value::Null), "{convoy:#}");
    assert_eq!(accused(&found), [""; 0], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_kept_outside_a_transaction_is_laid_to_its_route() {
    let found = findings("view", 3).await;
    assert_eq!(accused(&found), ["GET /export/{id}"], "{found:#?}");
    assert!(found[0]["title"].as_str().is_some_and(|it| it.contains("outside a transaction")), "{found:#?}");
    assert!(!has(&found, "healthy") && !has(&found, "pool_too_small"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_leaves_the_transaction_open_is_laid_to_its_route() {
    let found = findings("deadline", 12).await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
    assert!(found[0]["fix"].as_str().is_some_and(|it| it.starts_with("Commit or roll back")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_checkout_in_a_request_and_a_limit_that_ends_the_hold_are_laid_to_their_route() {
    let found = findings("nested", 12).await;
    assert_eq!((accused(&found), &found[0]["pattern"]), (vec![REQUESTS], &"H10".into()), "{found:#?}");
    let found = findings("killed", 12).await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
    assert!(found[0]["title"].as_str().is_some_and(|it| it.contains("25P03")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_full_without_a_word_excuses_who_waits_for_it() {
    // Twenty users for three sessions; nobody gives up, and no gauge tells.
    let found = Shop { mistake: "hold", pool: 3, users: 20, gauge: false }.findings().await;
    assert!(accused(&found).iter().all(|route| *route == REQUESTS), "{found:#?}");
    assert!(has(&found, "held_session") || has(&found, "cannot_tell"), "{found:#?}");
    assert!(!has(&found, "healthy") && !has(&found, "pool_too_small"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_pgbouncer_a_task_is_laid_to_its_route_and_a_job_to_none() {
    let pgbouncer = find(&SearchPlaces::from_env()).expect("`make test` installs it");
    let settings = rbac_bench::scenario::PgBouncer::default();
    let plan = ClusterPlan {
        pgbouncer: Some(PgBouncerPlan::of(&settings, &pgbouncer, None)),
        ..ClusterPlan::for_connections(100)
    };
    let cluster = start_cluster(&plan).await;
    fill(&cluster.config()).await;
    let watched = cluster.url();
    let of_service = watched.replace(&format!("port={}", cluster.port()), &format!("port={}", cluster.gateway_port()));
    let urls = Urls { of_service, watched };
    for (mistake, routes) in [("task", vec![REQUESTS]), ("job", vec![])] {
        let shop = Shop { mistake, pool: 12, users: 10, gauge: true };
        let found = diagnosed(&shop.measured_with(&urls, free_port(), &["run"]).await.0);
        assert_eq!(accused(&found), routes, "{mistake}: {found:#?}");
        assert!(!has(&found, "healthy"), "{mistake}: {found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_route_sets_off_is_laid_to_no_other_route() {
    let found = findings("enqueue", 12).await;
    assert!(accused(&found).iter().all(|route| *route == REQUESTS), "{found:#?}");
    assert!(has(&found, "held_outside_requests") || !accused(&found).is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_accused_where_nothing_is_held() {
    let found = findings("none", 12).await;
    assert_eq!((accused(&found), has(&found, "healthy")), (vec![], true), "{found:#?}");
}

/// Programs that do nothing but compute, while it lives.
struct Hogs(std::sync::Arc<AtomicBool>, Vec<std::thread::JoinHandle<()>>);

impl Hogs {
    fn start(count: usize) -> Self {
        let ended = std::sync::Arc::new(AtomicBool::new(false));
        let hog = || {
            let ended = std::sync::Arc::clone(&ended);
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let hogs = (0..count).map(|_| hog()).collect();
        Self(ended, hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.drain(..).for_each(|hog| drop(hog.join()));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten scans take ten minutes, and all cores"]
async fn scans_beside_programs_that_take_the_cores_name_the_culprit_and_no_innocent() {
    let _hogs = Hogs::start(4);
    for number in 1..=10 {
        let shop = Shop { mistake: "hold", pool: 12, users: 10, gauge: true };
        let (_, output) = shop.measured(&["scan", "--rounds", "2", "--requests", "42", "--concurrent", "10s"]).await;
        let document = json(&output);
        let routes = document["routes"].as_array().expect("a list");
        for it in routes {
            println!("{number} {} {} {} {}", it["route"], it["verdict"], it["cpu_wait_s_per_request"], it["reason"]);
        }
        let guilty = routes.iter().filter(|it| ["holds", "leaks"].contains(&it["verdict"].as_str().unwrap_or("")));
        let named: Vec<&str> = guilty.filter_map(|it| it["route"].as_str()).collect();
        assert_eq!(named, [REQUESTS], "{document:#}");
    }
}
