//! The backend as its callers see it: a real server on loopback.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{bind, run, server};
use crate::lifeline;
use crate::settings::{BackendSettings, DelaySettings, Listening};

const SLOW: DelaySettings = DelaySettings {
    min: Duration::from_millis(150),
    exponential_mean: Duration::from_millis(50),
    max: Duration::from_millis(300),
};

/// A backend that serves until the set is dropped, and where.
fn start() -> (JoinSet<()>, String) {
    let settings = BackendSettings {
        port: 0,
        delays: BTreeMap::from([("slow-search".into(), SLOW)]),
        seed: 1,
        tool_prefixes: vec!["fast-test-".to_owned()],
    };
    let (listener, listening) = bind(settings.port).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { server::serve(listener, &settings).await.unwrap() });
    (tasks, listening.url)
}

fn request(client: &Client, url: &str, message: &Value) -> RequestBuilder {
    client.post(format!("{url}/mcp")).header("accept", "application/json, text/event-stream").json(message)
}

/// A bare call, as the gateway makes it: no `initialize` before, no session.
async fn call(client: &Client, url: &str, tool: &str, arguments: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments}});
    let response = request(client, url, &message).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

#[tokio::test]
async fn one_post_without_a_session_is_one_call() {
    let (_backend, url) = start();
    let answer = call(&Client::new(), &url, "echo", json!({"message": "hello"})).await;
    let expected = json!({"jsonrpc": "2.0", "id": 7, "result": {
        "content": [{"type": "text", "text": "hello"}], "isError": false}});
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn every_tool_answers_and_a_mistake_is_answered_too() {
    let (_backend, url) = start();
    let client = Client::new();
    let noon = json!({"time": "2026-01-22T12:00:00", "source_timezone": "UTC", "target_timezone": "Asia/Tokyo"});
    for (tool, arguments, expected) in [
        ("get-system-time", json!({}), "+00:00"),
        ("get-system-time", json!({"timezone": "Asia/Tokyo"}), "+09:00"),
        ("convert-time", noon, "2026-01-22T21:00:00+09:00"),
        ("slow-search", json!({"query": "pool"}), "nothing found for `pool`"),
        ("slow-report", json!({"topic": "pool"}), "nothing to report on `pool`"),
        ("fast-test-echo", json!({"message": "pool"}), "pool"),
        ("tool-7", json!({}), "`tool-7` has nothing to do"),
    ] {
        let answer = call(&client, &url, tool, arguments).await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.ends_with(expected), "{tool}: {answer}");
        assert_eq!(answer["result"]["isError"], false, "{tool}: {answer}");
    }
    let wrong_zone = call(&client, &url, "get-system-time", json!({"timezone": "Atlantis"})).await;
    assert_eq!(wrong_zone["result"]["isError"], true, "{wrong_zone}");
    let no_such_tool = call(&client, &url, "fly", json!({})).await;
    assert_eq!(no_such_tool["error"]["code"], -32602, "{no_such_tool}");
}

#[tokio::test]
async fn the_whole_conversation_of_a_client_works() {
    let (_backend, url) = start();
    let client = Client::new();
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let answer: Value = request(&client, &url, &initialize).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");

    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(request(&client, &url, &initialized).send().await.unwrap().status(), StatusCode::ACCEPTED);

    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let list = request(&client, &url, &list).header("mcp-protocol-version", "2025-06-18");
    let answer: Value = list.send().await.unwrap().json().await.unwrap();
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["convert-time", "echo", "get-system-time", "slow-report", "slow-search"]);
    assert_eq!(tools[1]["inputSchema"]["required"], json!(["message"]), "{}", tools[1]);
}

#[tokio::test]
async fn a_call_takes_at_least_its_delay_and_calls_do_not_wait_for_each_other() {
    let (_backend, url) = start();
    let (client, started) = (Client::new(), Instant::now());
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (client, url) = (client.clone(), url.clone());
        calls.spawn(async move {
            let started = Instant::now();
            call(&client, &url, "slow-search", json!({"query": "pool"})).await;
            started.elapsed()
        });
    }
    let slowest = calls.join_all().await.into_iter().inspect(|took| assert!(*took >= SLOW.min, "{took:?}")).max();
    // One after the other would take at least 20 times the shortest delay.
    assert!(started.elapsed() < 20 * SLOW.min, "slowest call: {slowest:?}");

    let started = Instant::now();
    for _ in 0..3 {
        call(&client, &url, "echo", json!({"message": "x"})).await;
    }
    assert!(started.elapsed() < 3 * SLOW.min, "a tool without a delay answers at once");
}

#[tokio::test]
async fn it_is_healthy_as_soon_as_it_listens() {
    let (_backend, url) = start();
    let response = Client::new().get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn it_ends_promptly_when_its_parent_does_though_a_call_is_in_flight() {
    let (input, mut parent) = io::pipe().unwrap();
    let (output, mut out) = io::pipe().unwrap();
    parent
        .write_all(br#"{"port":0,"seed":1,"delays":{"slow-report":{"min":{"secs":60,"nanos":0},"#)
        .and_then(|()| parent.write_all(br#""exponential_mean":{"secs":0,"nanos":0},"max":{"secs":60,"nanos":0}}}}"#))
        .and_then(|()| parent.write_all(b"\n"))
        .unwrap();
    let backend = thread::spawn(move || {
        let (settings, lifeline) = lifeline::read_settings_from(input).unwrap();
        run(&settings, &lifeline, &mut out)
    });
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    let listening: Listening = serde_json::from_str(&line).unwrap();

    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "slow-report", "arguments": {"topic": "pool"}}});
    let in_flight = tokio::spawn(request(&Client::new(), &listening.url, &message).send());
    // Nothing can be seen from outside while the tool sleeps; a later answer shows that the call was accepted.
    call(&Client::new(), &listening.url, "echo", json!({"message": "x"})).await;

    let started = Instant::now();
    drop(parent);
    tokio::task::spawn_blocking(move || backend.join().unwrap().unwrap()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    assert!(in_flight.await.unwrap().is_err(), "the call ends with the backend");
}
