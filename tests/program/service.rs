//! An external service: the program is pointed at a small one whose mistake is known, and at wrong places.

#![expect(clippy::unwrap_used, reason = "a service of a test fails as loudly as the test itself")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, NoTls};

use crate::program::{Place, json, record, text};
use crate::support::postgres::cluster;

/// Wait of the planted route for another service.
const WAIT: Duration = Duration::from_millis(150);

const TOKEN: &str = "shop-token-0123456789";

/// The service and its counts.
#[derive(Default)]
struct Shop {
    /// True if the report waits inside of its transaction.
    holds: AtomicBool,
    /// Number and duration of its waits.
    held: AtomicU64,
    held_us: AtomicU64,
    orders: AtomicU64,
    /// Requests that came with the token, and without.
    known: AtomicU64,
    unknown: AtomicU64,
    redirected: AtomicU64,
    user_agents: std::sync::Mutex<Vec<String>>,
}

/// A pool of sessions, and the shop.
#[derive(Clone)]
struct App {
    shop: Arc<Shop>,
    sessions: Arc<std::sync::Mutex<Vec<Client>>>,
    free: Arc<Semaphore>,
}

const SESSIONS: usize = 12;

impl App {
    async fn start(shop: Arc<Shop>) -> Self {
        let mut config = cluster().await.config();
        config.application_name("shop");
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            sessions.push(client);
        }
        Self { shop, sessions: Arc::new(std::sync::Mutex::new(sessions)), free: Arc::new(Semaphore::new(SESSIONS)) }
    }

    /// Runs `work` with a session of the pool.
    async fn with_session<T>(&self, work: impl AsyncFnOnce(&Client) -> T) -> T {
        let _permit = self.free.acquire().await.unwrap();
        let client = self.sessions.lock().unwrap().pop().unwrap();
        let done = work(&client).await;
        self.sessions.lock().unwrap().push(client);
        done
    }

    fn see(&self, headers: &HeaderMap) {
        let bearer = headers.get("authorization").is_some_and(|it| it == &format!("Bearer {TOKEN}"));
        let seen = if bearer { &self.shop.known } else { &self.shop.unknown };
        seen.fetch_add(1, Ordering::Relaxed);
        let agent = headers.get("user-agent").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        let mut agents = self.shop.user_agents.lock().unwrap();
        if !agents.contains(&agent) {
            agents.push(agent);
        }
    }
}

/// Reads in a transaction, and waits for somebody else: inside of it, or after it.
async fn report(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> String {
    app.see(&headers);
    let holds = app.shop.holds.load(Ordering::Relaxed);
    app.with_session(async |client| {
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute("SELECT count(*) AS report_rows FROM pg_class").await.unwrap();
        if holds {
            let began = Instant::now();
            tokio::time::sleep(WAIT).await;
            let held = u64::try_from(began.elapsed().as_micros()).unwrap();
            app.shop.held_us.fetch_add(held, Ordering::Relaxed);
            app.shop.held.fetch_add(1, Ordering::Relaxed);
        }
        client.batch_execute("COMMIT").await.unwrap();
    })
    .await;
    if !holds {
        tokio::time::sleep(WAIT).await;
    }
    format!(r#"{{"id":"{id}"}}"#)
}

/// A short transaction.
async fn items(State(app): State<App>, headers: HeaderMap) -> &'static str {
    app.see(&headers);
    let sql = "BEGIN; SELECT 1 AS items; COMMIT";
    app.with_session(async |client| client.batch_execute(sql).await.unwrap()).await;
    "[]"
}

/// Slow, without a session.
async fn weather() -> &'static str {
    tokio::time::sleep(2 * WAIT).await;
    "{}"
}

/// Fails as a masked failure does, and repeats what it should not.
async fn masked(headers: HeaderMap) -> String {
    let printed = headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    format!(r#"{{"error":"no luck with {printed}"}}"#)
}

async fn orders(State(app): State<App>) -> StatusCode {
    app.shop.orders.fetch_add(1, Ordering::Relaxed);
    StatusCode::CREATED
}

async fn away(State(app): State<App>) -> Redirect {
    app.shop.redirected.fetch_add(1, Ordering::Relaxed);
    Redirect::to("/items")
}

/// Serves the shop on a port of its own.
async fn serve(shop: &Arc<Shop>) -> String {
    let app = App::start(Arc::clone(shop)).await;
    let router = Router::new()
        .route("/health", get(async || "ok"))
        .route("/reports/{id}", get(report))
        .route("/items", get(items))
        .route("/weather", get(weather))
        .route("/masked", get(masked))
        .route("/orders", post(orders))
        .route("/away", get(away))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    url
}

pub(super) async fn database_url() -> String {
    let (cluster, config) = (cluster().await, cluster().await.config());
    let (user, name) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    format!("host={} port={} user={user} dbname={name}", cluster.socket_dir().display(), cluster.port())
}

/// A session that is none of the shop's, and holds a transaction.
async fn stranger() -> Client {
    let mut config = cluster().await.config();
    let (client, connection) = config.application_name("reports").connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    client
}

/// The shop's scenario with these routes.
fn write_scenario(place: &Place, url: &str, routes: &str) -> String {
    let text = format!(
        "name = \"shop\"\ntitle = \"a small shop\"\npool_capacity = {SESSIONS}\n[target]\nurl = \"{url}\"\n\
         health = \"/health\"\n[database]\nurl_env = \"SHOP_DATABASE\"\n[load]\nusers = 8\nramp_up = \"1s\"\n\
         duration = \"9s\"\nclient_timeout = \"5s\"\nthink_time = [\"50ms\", \"250ms\"]\n\
         [[identity]]\nbearer_env = \"SHOP_TOKEN\"\n{routes}"
    );
    let path = place.tmp().join("shop.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

const ROUTES: &str = r#"
[[route]]
route = "GET /reports/{id}"
params = { id = { from = 1, to = 99 } }
must_have = "/id"
[[route]]
route = "GET /items"
weight = 3
[[route]]
route = "GET /weather"
[[route]]
route = "POST /orders"
changes_data = true
expect = [201]
"#;

/// Runs the program with the shop's secrets, off this test's event loop.
pub(super) async fn output(place: &Arc<Place>, database: &str, arguments: &[&str]) -> std::process::Output {
    let (place, database) = (Arc::clone(place), database.to_owned());
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let run = move || {
        let mut program = place.program();
        // A proxy that nobody is behind: anyone who asks it gets nothing.
        program.env("HTTP_PROXY", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
        program.env("SHOP_DATABASE", database).env("SHOP_TOKEN", TOKEN).args(arguments);
        program.output().expect("the program starts")
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn diagnosed(place: &Arc<Place>, database: &str) -> Vec<Value> {
    let folder = place.run_folder().display().to_string();
    let document = json(&output(place, database, &["diagnose", &folder, "--json"]).await);
    document["findings"].as_array().expect("a list").clone()
}

fn held(findings: &[Value]) -> Vec<&str> {
    let held = findings.iter().filter(|it| it["kind"] == "held_session" || it["kind"] == "leaked_session");
    held.map(|it| it["route"].as_str().unwrap_or("nobody")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holding_route_is_named_with_its_seconds() {
    let shop = Arc::new(Shop { holds: AtomicBool::new(true), ..Shop::default() });
    let (url, database) = (serve(&shop).await, database_url().await);
    let place = Arc::new(Place::new());
    let scenario = write_scenario(&place, &url, ROUTES);
    let run = json(&output(&place, &database, &["run", &scenario, "--json"]).await);
    let summary = &run["variants"]["service"];
    assert!(summary["requests"].as_u64().unwrap() > 50, "{summary:#}");
    assert_eq!(summary["failure_ratio"], 0.0, "{summary:#}");
    assert_eq!((&summary["replicas"], &summary["replicas_healthy_min"]), (&Value::from(1), &Value::from(1)));
    // What a service does not tell is not known, and not zero.
    assert_eq!((&summary["pool_timeouts"], &summary["pool_checked_out_peak"]), (&Value::Null, &Value::Null));

    let findings = diagnosed(&place, &database).await;
    assert_eq!(held(&findings), ["GET /reports/{id}"], "{findings:#?}");
    let seconds = findings[0]["held_s_per_request"]["value"].as_f64().expect("seconds");
    let truth = shop.held_us.load(Ordering::Relaxed) as f64 / shop.held.load(Ordering::Relaxed) as f64 / 1e6;
    assert!((seconds / truth - 1.0).abs() < 0.1, "{seconds} s, in truth {truth} s: {:#}", findings[0]);
    assert!(findings[0]["statement"].as_str().is_some_and(|it| it.contains("report_rows")), "{:#}", findings[0]);

    // Each caller was known by the token, which is in nothing that was written; nothing was ordered.
    assert_eq!((shop.unknown.load(Ordering::Relaxed), shop.orders.load(Ordering::Relaxed)), (0, 0));
    assert_eq!(*shop.user_agents.lock().unwrap(), [concat!("rbac-bench/", env!("CARGO_PKG_VERSION"))]);
    for entry in fs::read_dir(place.run_folder()).unwrap() {
        let written = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!written.contains(TOKEN));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_mistake_switched_off_nobody_is_named() {
    let shop = Arc::new(Shop::default());
    let (url, database) = (serve(&shop).await, database_url().await);
    let place = Arc::new(Place::new());
    let scenario = write_scenario(&place, &url, ROUTES);
    // Somebody else holds two sessions of the same database.
    let strangers = [stranger().await, stranger().await];
    let whose = "database.applications=[\"shop\"]";
    let printed =
        output(&place, &database, &["run", &scenario, "--set", "load.allow_data_changes=true", "--set", whose]).await;
    drop(strangers);
    let table = text(&printed.stdout);
    assert!(
        printed.status.success() && table.contains("8 users") && table.contains(&url),
        "{table}{}",
        text(&printed.stderr)
    );
    let findings = diagnosed(&place, &database).await;
    assert_eq!(held(&findings), Vec::<&str>::new(), "{findings:#?}");
    let evidence = findings[0]["evidence"].as_array().expect("a list").iter();
    let others: Vec<_> = evidence.filter(|it| it["figure"] == "samples.counters.others.idle_in_transaction").collect();
    assert!(matches!(others[..], [it] if it["value"].as_f64() > Some(1.5)), "{findings:#?}");
    assert!(shop.orders.load(Ordering::Relaxed) > 0, "they were asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_failures_and_redirects_fail_and_the_gate_says_so() {
    let shop = Arc::new(Shop::default());
    let (url, database) = (serve(&shop).await, database_url().await);
    let place = Arc::new(Place::new());
    let routes = "[[route]]\nroute = \"GET /masked\"\nmust_not_have = \"/error\"\n[[route]]\nroute = \"GET /away\"\n\
                  [[gate]]\nrule = \"failure_rate<=1%\"\n[[gate]]\nrule = \"pool_timeouts==0\"\nseverity = \"warn\"\n";
    let scenario = write_scenario(&place, &url, routes);
    let short = ["--duration", "2s", "--set", "load.ramp_up=0s"];
    let gate = output(&place, &database, &[&["run", &scenario, "--gate"], &short[..]].concat()).await;
    assert_eq!(gate.status.code(), Some(99), "{}{}", text(&gate.stdout), text(&gate.stderr));
    let record = record(&place.run_folder());
    let errors: Vec<&str> = record["variants"]["service"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["text"].as_str().unwrap())
        .collect();
    assert!(errors.contains(&"the answer has `/error`: no luck with Bearer …"), "{errors:?}");
    assert!(errors.iter().any(|it| it.starts_with("HTTP 303")), "{errors:?}");
    assert!(shop.redirected.load(Ordering::Relaxed) > 0 && shop.known.load(Ordering::Relaxed) == 0);
    // The record is enough to run it again.
    let folder = place.run_folder().display().to_string();
    let again = ["gate", &folder, "--rerun", "--set", "load.duration=1s"];
    assert_eq!(output(&place, &database, &again).await.status.code(), Some(99));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_refused_before_anything_is_written() {
    let place = Arc::new(Place::new());
    let route = "[[route]]\nroute = \"GET /\"\n";
    let refused = async |url: &str, database: &str, more: &[&str]| {
        let scenario = write_scenario(&place, url, route);
        let output = output(&place, database, &[&["run", scenario.as_str()], more].concat()).await;
        assert!(!place.reports().exists(), "{}", text(&output.stderr));
        (output.status.code(), text(&output.stderr))
    };
    let here = "postgresql://app:s3cret@127.0.0.1:9/shop";
    let (code, printed) = refused("http://10.0.0.1:8000", here, &[]).await;
    assert_eq!(code, Some(2));
    assert!(
        printed.contains("`10.0.0.1` is another machine") && printed.contains("--allow-remote 10.0.0.1"),
        "{printed}"
    );
    let (code, printed) = refused("http://shop.example.com", here, &["--allow-remote", "example.com"]).await;
    assert!(code == Some(2) && printed.contains("`shop.example.com` is another machine"), "{printed}");
    let (code, printed) = refused("http://127.0.0.1:9", "postgresql://app:s3cret@10.0.0.1/shop", &[]).await;
    assert!(
        code == Some(2) && printed.contains("`10.0.0.1` is another machine") && !printed.contains("s3cret"),
        "{printed}"
    );
    let (code, printed) = refused("http://127.0.0.1:9", "s3cret", &[]).await;
    assert!(
        code == Some(2) && printed.contains("the variable `SHOP_DATABASE`") && !printed.contains("s3cret"),
        "{printed}"
    );
    // A database that does not answer has nothing to do with the request.
    let scenario = write_scenario(&place, "http://127.0.0.1:9", route);
    let output = output(&place, here, &["run", &scenario]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("s3cret"), "{}", text(&output.stderr));
}
