//! `scan` against a shop whose mistakes are known: exactly the planted routes are named, with their seconds.

#![expect(clippy::unwrap_used, reason = "a service of a test fails as loudly as the test itself")]

mod receipts;
mod shop;

use std::fs;
use std::process::Output;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Place, json, record, text};
use crate::support::postgres::cluster;
use shop::{Mistakes, SESSIONS, Shop};

const ROUTES: [&str; 8] = [
    "GET /reports/{id}",
    "GET /drafts",
    "GET /stock",
    "GET /catalogue",
    "GET /items",
    "GET /weather",
    "GET /search",
    "GET /basket",
];

/// Enough to tell, in a minute.
const SHORT: [&str; 5] = ["--rounds", "2", "--requests", "42", "--json"];

fn write_scenario(place: &Place, url: &str, routes: &[&str]) -> String {
    let route = |name: &&str| {
        let params = if name.contains("{id}") { "params = { id = { from = 1, to = 99 } }\n" } else { "" };
        format!("[[route]]\nroute = \"{name}\"\n{params}")
    };
    let text = format!(
        "name = \"shop\"\npool_capacity = {SESSIONS}\n[target]\nurl = \"{url}\"\n[database]\nurl_env = \"SHOP_DATABASE\"\n\
         [load]\nusers = 8\nclient_timeout = \"5s\"\nthink_time = [\"50ms\", \"250ms\"]\n{}",
        routes.iter().map(route).collect::<String>()
    );
    let path = place.tmp().join("shop.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

async fn database_url() -> String {
    let (cluster, config) = (cluster().await, cluster().await.config());
    let (user, name) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    format!("host={} port={} user={user} dbname={name}", cluster.socket_dir().display(), cluster.port())
}

async fn output(place: &Arc<Place>, arguments: &[&str]) -> Output {
    let database = database_url().await;
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let place = Arc::clone(place);
    let run = move || place.program().env("SHOP_DATABASE", database).args(arguments).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn route<'a>(document: &'a Value, name: &str) -> &'a Value {
    let routes = document["routes"].as_array().unwrap();
    routes.iter().find(|it| it["route"] == name).unwrap_or_else(|| panic!("no {name}: {document:#}"))
}

/// (route, verdict) of all that are not fine.
fn named(document: &Value) -> Vec<(&str, &str)> {
    let routes = document["routes"].as_array().unwrap().iter();
    let all = routes.map(|it| (it["route"].as_str().unwrap(), it["verdict"].as_str().unwrap()));
    all.filter(|(_, verdict)| *verdict != "fine").collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_planted_routes_are_named_with_their_seconds() {
    let mistakes = Mistakes { report_holds: true, draft_leaks: true, stock_waits: true, ..Mistakes::default() };
    let (shop, url) = Shop::serve(mistakes).await;
    let place = Arc::new(Place::new());
    let scenario = write_scenario(&place, &url, &ROUTES);
    // Requests that are cut off wait for no catalogue, and would be in the shop's own mean.
    let arguments = [&["scan", &scenario, "--concurrent", "16s", "--no-hang-up"], &SHORT[..]].concat();
    let scanned = output(&place, &arguments).await;
    let progress = String::from_utf8_lossy(&scanned.stderr);
    assert!(
        progress.contains("so far: GET /reports/{id} holds its session, 0."),
        "named long before the end: {progress}"
    );
    let document = json(&scanned);
    let mut found = named(&document);
    found.sort_unstable();
    assert_eq!(
        found,
        [("GET /drafts", "leaks"), ("GET /reports/{id}", "holds"), ("GET /stock", "holds")],
        "{document:#}"
    );

    let report = route(&document, "GET /reports/{id}");
    let truth = shop.report.seconds() / shop.report.count() as f64;
    let seconds = number(&report["held_s_per_request"]["value"]);
    assert!((seconds / truth - 1.0).abs() < 0.1, "{seconds} s, in truth {truth} s: {report:#}");
    assert!(report["statement"].as_str().unwrap().contains("report_rows") && report["only_concurrent"] == false);
    assert!(number(&report["hold_ratio"]) > 0.7 && report["left_behind"] == 0, "{report:#}");

    let draft = route(&document, "GET /drafts");
    assert!(draft["statement"].as_str().unwrap().contains("draft_rows"), "{draft:#}");
    assert!(number(&draft["left_behind"]) >= 2.0, "{draft:#}");

    let stock = route(&document, "GET /stock");
    assert_eq!(stock["only_concurrent"], true, "{stock:#}");
    // Alone it has hardly waited, so that nearly all of it was in the concurrent phase.
    let alone: f64 = number(&stock["requests"]) + 3.0;
    let truth = shop.stock.seconds() / (shop.stock.count() as f64 - alone);
    let held = &stock["held_concurrent_s_per_request"];
    let (seconds, low, high) = (number(&held["value"]), number(&held["low"]), number(&held["high"]));
    assert!((seconds / truth - 1.0).abs() < 0.1, "{seconds} s, in truth {truth} s: {stock:#}");
    // A 95 % interval misses the truth once in twenty runs, but not by more than its own half.
    let half = (high - low) / 2.0;
    assert!((low - half..=high + half).contains(&truth), "in truth {truth} s: {stock:#}");

    assert!(number(&route(&document, "GET /search")["active_s_per_request"]) > 0.15, "{document:#}");
    assert!(number(&report["pool_full_at_rps"]) > 10.0 && number(&report["sessions_held"]) > 0.0, "{report:#}");
    assert_eq!(document["variants"][0]["pool_full_at_rps"], Value::Null, "a leak fills the pools at any rate");
    let routes = document["routes"].as_array().unwrap();
    assert_eq!(routes[0]["route"], "GET /drafts", "what leaks is the worst");
    judged_and_reported(&place).await;
}

/// Checks that other commands read the record.
async fn judged_and_reported(place: &Arc<Place>) {
    let folder = place.run_folder().display().to_string();
    let gate = async |rule: &str| output(place, &["gate", &folder, "--rule", rule]).await.status.code();
    assert_eq!(gate("hold.seconds for GET /reports/{id} < 50ms").await, Some(99));
    assert_eq!(gate("hold.seconds for GET /reports/{id} < 500ms").await, Some(0));
    assert_eq!(gate("hold.seconds for GET /weather < 50ms").await, Some(0));
    assert_eq!(gate("hold.seconds for GET /drafts < 1ms").await, Some(99), "what was seen of a leak is enough");
    assert_eq!(gate("hold.seconds for GET /drafts < 1m").await, Some(3), "a leak may last for ever");
    assert_eq!(gate("hold.seconds < 50ms").await, Some(2), "of which route?");
    let report = output(place, &["report", &folder]).await;
    assert!(report.status.success(), "{}", text(&report.stderr));
    let page = fs::read_to_string(place.run_folder().join("report.html")).unwrap();
    assert!(page.contains("Scan by route") && page.contains("report_rows"), "the report has the scan");
    assert!(output(place, &["diagnose", &folder]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_mistakes_switched_off_nobody_is_named() {
    let (_shop, url) = Shop::serve(Mistakes::default()).await;
    let place = Arc::new(Place::new());
    let scenario = write_scenario(&place, &url, &ROUTES);
    let scan = output(&place, &[&["scan", &scenario, "--concurrent", "10s"], &SHORT[..]].concat()).await;
    let document = json(&scan);
    assert_eq!(named(&document), [], "{document:#}");
    assert_eq!(scan.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_scan_that_tells_what_it_has_seen_and_what_it_has_not() {
    let (_shop, url) = Shop::serve(Mistakes { report_holds: true, ..Mistakes::default() }).await;
    let place = Arc::new(Place::new());
    let scenario = write_scenario(&place, &url, &["GET /reports/{id}", "GET /broken"]);
    let mut program = place.program();
    program.env("SHOP_DATABASE", database_url().await).args(["scan", &scenario, "--rounds", "100", "--json"]);
    let mut run = Place::started(program);
    let code = tokio::task::spawn_blocking(move || {
        run.wait_for_line("isolation ");
        run.signal(Signal::SIGINT);
        run.wait()
    });
    assert_eq!(code.await.unwrap(), Some(130));
    let record = record(&place.run_folder());
    assert_eq!(record["outcome"], "interrupted");
    let routes = record["variants"]["service"]["scan"]["routes"].as_array().unwrap();
    let broken = routes.iter().find(|it| it["route"] == "GET /broken").unwrap();
    assert_eq!(broken["verdict"], "unknown", "{broken:#}");
    assert!(broken["reason"].as_str().is_some_and(|it| it.contains("failed") || it.contains("sent")), "{broken:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_scanned_is_refused_before_anything_is_asked() {
    let place = Arc::new(Place::new());
    let refused = async |arguments: &[&str]| {
        let output = output(&place, arguments).await;
        assert!(!place.reports().exists(), "{}", text(&output.stderr));
        (output.status.code(), text(&output.stderr))
    };
    let (code, printed) = refused(&["scan", "collapse"]).await;
    assert!(code == Some(2) && printed.contains("expected a scenario with a [target] section"), "{printed}");
    let remote = write_scenario(&place, "http://10.0.0.1:8000", &["GET /items"]);
    let (code, printed) = refused(&["scan", &remote]).await;
    assert!(code == Some(2) && printed.contains("--allow-remote 10.0.0.1"), "{printed}");
    assert_eq!(refused(&["scan", &remote, "--users", "0"]).await.0, Some(2));
    assert_eq!(refused(&["scan", &remote, "--rate", "-1"]).await.0, Some(2));
    assert_eq!(refused(&["scan", &remote, "--seconds", "soon"]).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_leaves_its_session_when_the_client_leaves_leaks() {
    let (_shop, url) = Shop::serve(Mistakes { search_is_left: true, ..Mistakes::default() }).await;
    let place = Arc::new(Place::new());
    let scenario = write_scenario(&place, &url, &["GET /search", "GET /items", "GET /weather"]);
    let short = ["scan", &scenario, "--rounds", "1", "--requests", "12", "--concurrent", "0s", "--json"];
    let document = json(&output(&place, &short).await);
    assert_eq!(named(&document), [("GET /search", "leaks")], "{document:#}");
    let search = route(&document, "GET /search");
    assert_eq!(search["left_behind"], 0, "whose clients wait leave nothing: {search:#}");
    assert!(search["left_behind_by_clients"].as_u64().is_some_and(|left| left >= 2), "{search:#}");

    let document = json(&output(&place, &[&short[..], &["--no-hang-up"]].concat()).await);
    assert!(named(&document).is_empty(), "nobody leaves: {document:#}");
}
