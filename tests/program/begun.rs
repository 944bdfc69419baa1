//! A request that holds a transaction was there when it began: ways to hold that do not end with the response, on a real service with
//! a slow route without a database, a slow query and a write beside the culprit. It is named, or nobody is.

use serde_json::Value;
use tokio_postgres::NoTls;

use crate::program::{Place, text};
use crate::support::postgres::cluster;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const REQUESTS: &str = "GET /requests/{id}";

/// Runs the service with a mistake, and gives the findings.
async fn findings(mistake: &'static str) -> Vec<Value> {
    let (cluster, config) = (cluster().await, cluster().await.config());
    let database = format!("begun_{mistake}");
    let execute = |name: String, statements: String| {
        let mut config = config.clone();
        config.dbname(name);
        async move {
            let (client, connection) = config.connect(NoTls).await.expect("a connection");
            let server = tokio::spawn(connection);
            client.batch_execute(&statements).await.expect("an answer");
            drop(client);
            server.await.expect("it ends").expect("in peace");
        }
    };
    execute("postgres".to_owned(), format!("CREATE DATABASE {database}")).await;
    let rows = "CREATE TABLE orders (id int PRIMARY KEY, town text); \
                INSERT INTO orders SELECT i, 'town ' || i FROM generate_series(1, 1000) AS i";
    execute(database.clone(), rows.to_owned()).await;
    let socket = cluster.socket_dir().display().to_string().replace('/', "%2F");
    let user = config.get_user().expect("a user").to_owned();
    let url = format!("postgresql://{user}@/{database}?host={socket}&port={}", cluster.port());
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let scenario = place.tmp().join("shop.toml");
    let routes = |weighted: &[(&str, u32)]| {
        let one = |(route, weight): &(&str, u32)| {
            let params = match route {
                _ if route.contains("{id}") => "params = { id = { from = 1, to = 500 } }\n",
                _ if route.starts_with("POST") => "changes_data = true\n",
                _ => "",
            };
            format!("[[route]]\nroute = \"{route}\"\nweight = {weight}\n{params}")
        };
        weighted.iter().map(one).collect::<String>()
    };
    let mix = [
        (REQUESTS, 2),
        ("GET /export/{id}", 1),
        ("GET /orders/{id}", 3),
        ("GET /weather", 3),
        ("GET /statistics", 2),
        ("POST /notes", 1),
    ];
    let toml = format!(
        "name = \"shop\"\npool_capacity = 12\n[target]\nurl = \"http://127.0.0.1:{port}\"\nready = \"/health\"\n\
         folder = \"{ROOT}/tests/program/begun\"\n\
         command = [\"{ROOT}/.venv-apps/bin/uvicorn\", \"service:app\", \"--port\", \"{port}\", \"--log-level\", \"warning\"]\n\
         env = {{ MISTAKE = \"{mistake}\", PYTHONDONTWRITEBYTECODE = \"1\" }}\n\
         [load]\nallow_data_changes = true\nusers = 10\nramp_up = \"1s\"\nduration = \"20s\"\nthink_time = [\"200ms\", \"700ms\"]\n{}",
        routes(&mix)
    );
    std::fs::write(&scenario, toml).expect("a scenario");
    let run = move || {
        let mut program = place.program();
        program.env("DATABASE_URL", &url).arg("run").arg(&scenario).arg("--json");
        let output = program.output().expect("it starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let folder = place.run_folder().display().to_string();
        // An inconclusive diagnosis ends with another code.
        let printed = text(&place.output(&["diagnose", &folder, "--json"]).stdout);
        let document: Value = serde_json::from_str(&printed).expect("JSON");
        document["findings"].as_array().expect("a list").clone()
    };
    tokio::task::spawn_blocking(run).await.expect("it ends")
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
    let found = findings("task").await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
    let held = found[0]["held_s_per_request"]["value"].as_f64();
    assert!(held.is_some_and(|held| (held / 0.8 - 1.0).abs() < 0.1), "{found:#?}");
    assert!(found[0]["title"].as_str().is_some_and(|it| it.contains("after the response")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_session_of_its_own_is_laid_to_the_response_before_it() {
    let found = findings("after").await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_holds_is_laid_to_no_route() {
    let found = findings("job").await;
    assert_eq!(accused(&found), [""; 0], "{found:#?}");
    assert!(has(&found, "held_outside_requests"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_given_back_with_its_transaction_open_is_laid_to_who_began_it() {
    let found = findings("dirty").await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leak_in_one_of_ten_answers_is_laid_to_its_route() {
    let found = findings("leak").await;
    assert!(has(&found, "leaked_session"), "{found:#?}");
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_sent_slowly_and_a_plain_hold_are_laid_to_their_routes() {
    let found = findings("stream").await;
    assert_eq!(accused(&found), ["GET /export/{id}"], "{found:#?}");
    let found = findings("hold").await;
    assert_eq!(accused(&found), [REQUESTS], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_accused_where_nothing_is_held() {
    let found = findings("none").await;
    assert_eq!((accused(&found), has(&found, "healthy")), (vec![], true), "{found:#?}");
}
