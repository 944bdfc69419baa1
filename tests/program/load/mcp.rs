//! Calls of MCP tools: by the bundled gateway, which keeps no sessions, and by a small server that keeps them and streams.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{recorded, serve, write};
use crate::program::{Place, SMALL, record, text};

fn requests(variant: &Value, route: &str) -> (u64, u64) {
    let routes = variant["routes"].as_array().unwrap();
    let of = routes.iter().find(|it| it["route"] == route).unwrap_or_else(|| panic!("{route}: {routes:#?}"));
    (of["requests"].as_u64().unwrap(), of["failures"].as_u64().unwrap())
}

fn errors(variant: &Value) -> Vec<&str> {
    variant["errors"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bundled_tools_are_called_in_sessions_and_unknown_ones_fail() {
    let serving = Place::new();
    let mut gateway = serving.start(&["gateway", SMALL, "--json", "--variant", "held"]);
    let mut line = String::new();
    BufReader::new(gateway.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let printed: Value = serde_json::from_str(&line).expect("JSON");
    let value = |key: &str| printed[key].as_str().expect("text").to_owned();

    let place = Arc::new(Place::new());
    let routes = "[[identity]]\nbearer_env = \"SHOP_TOKEN_OF_GATEWAY\"\n\
                  [[route]]\nroute = \"POST /mcp tools/call slow-search\"\nchanges_data = false\nweight = 4\n\
                  mcp = { tool = \"slow-search\", arguments = { query = \"{word}\" } }\nparams = { word = [\"sessions\"] }\n\
                  must_have = \"/result/content/0/text\"\n\
                  [[route]]\nroute = \"POST /mcp tools/call unknown\"\nchanges_data = false\nmcp = { tool = \"no-such-tool\" }\n";
    let load = "users = 4\nramp_up = \"0s\"\nsettle = \"1s\"\nduration = \"3s\"\nthink_time = [\"20ms\", \"40ms\"]";
    let scenario = write(&place, &value("url"), load, routes);
    let (token, database) = (value("user_token"), value("database_url"));
    let ran = tokio::task::spawn_blocking({
        let place = Arc::clone(&place);
        move || {
            let mut program = place.program();
            program.env("SHOP_TOKEN_OF_GATEWAY", token).env("SHOP_DATABASE", database);
            program.args(["run", &scenario, "--json"]).output().expect("the program starts")
        }
    });
    let ran = ran.await.unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let variant = record(&place.run_folder())["variants"]["service"].clone();
    let (calls, failed) = requests(&variant, "POST /mcp tools/call slow-search");
    assert!(calls > 10 && failed == 0, "{variant:#}");
    let (unknown, refused) = requests(&variant, "POST /mcp tools/call unknown");
    assert!(unknown > 0 && refused == unknown, "{variant:#}");
    assert!(
        errors(&variant).iter().all(|it| it.starts_with("JSON-RPC -3") && it.contains("no such tool")),
        "{variant:#}"
    );
    gateway.signal(Signal::SIGINT);
    assert_eq!(gateway.wait(), Some(0));
    serving.assert_nothing_is_left(Duration::from_secs(10));
}

/// A server that keeps sessions, answers in streams of events, and forgets.
#[derive(Default)]
struct Server {
    sessions: AtomicU64,
    /// Sessions whose client has reported that it uses them.
    in_use: std::sync::Mutex<BTreeSet<String>>,
    /// Calls, and of those the ones outside of such a session.
    calls: AtomicU64,
    strangers: AtomicU64,
}

fn events(message: &Value) -> Response {
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "data": "on it" } });
    let body = format!("event: message\ndata: {note}\n\nid: 1\nevent: message\ndata: {message}\n\n");
    ([("content-type", "text/event-stream")], body).into_response()
}

async fn serve_mcp(State(server): State<Arc<Server>>, headers: HeaderMap, body: String) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap();
    let accepted = headers.get("accept").and_then(|it| it.to_str().ok()).unwrap_or_default();
    if !accepted.contains("application/json") || !accepted.contains("text/event-stream") {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let session = headers.get("mcp-session-id").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let answer = |result: Value| json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    match message["method"].as_str().unwrap() {
        "initialize" => {
            let number = server.sessions.fetch_add(1, Ordering::Relaxed);
            let result = answer(json!({ "protocolVersion": "2025-03-26", "capabilities": {}, "serverInfo": {} }));
            ([("mcp-session-id", format!("session-{number}"))], axum::Json(result)).into_response()
        }
        "notifications/initialized" => {
            server.in_use.lock().unwrap().insert(session);
            StatusCode::ACCEPTED.into_response()
        }
        "tools/call" => {
            let number = server.calls.fetch_add(1, Ordering::Relaxed);
            let version = headers.get("mcp-protocol-version").is_some_and(|it| it == "2025-03-26");
            if !server.in_use.lock().unwrap().contains(&session) || !version {
                server.strangers.fetch_add(1, Ordering::Relaxed);
                return StatusCode::BAD_REQUEST.into_response();
            }
            if number == 40 {
                server.in_use.lock().unwrap().remove(&session);
                return (StatusCode::NOT_FOUND, "no such session").into_response();
            }
            let failed = message["params"]["arguments"]["fail"] == json!(true);
            let text = if failed { "QueuePool limit" } else { "done" };
            events(&answer(json!({ "content": [{ "type": "text", "text": text }], "isError": failed })))
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_reopened_when_the_server_forgets_it() {
    let server = Arc::new(Server::default());
    let url = serve(Router::new().route("/mcp", post(serve_mcp)).with_state(Arc::clone(&server))).await;
    let routes = "[[route]]\nroute = \"POST /mcp tools/call good\"\nchanges_data = false\nmcp = { tool = \"slow\" }\nweight = 5\n\
                  [[route]]\nroute = \"POST /mcp tools/call bad\"\nchanges_data = false\n\
                  mcp = { tool = \"slow\", arguments = { fail = true } }\n";
    let load = "users = 3\nramp_up = \"0s\"\nduration = \"2s\"\nthink_time = [\"5ms\", \"10ms\"]";
    let variant = recorded(&url, load, routes).await;
    let (opened, failed) = requests(&variant, "POST /mcp initialize");
    assert_eq!((opened, failed, server.sessions.load(Ordering::Relaxed)), (4, 0, 4), "{variant:#}");
    assert_eq!(server.strangers.load(Ordering::Relaxed), 0);
    let mut seen = errors(&variant);
    seen.sort_unstable();
    assert_eq!(seen, ["HTTP 404: no such session", "the tool failed: QueuePool limit"], "{variant:#}");
    let (good, failed) = requests(&variant, "POST /mcp tools/call good");
    assert!(good > 50 && failed <= 1, "{variant:#}");
}
