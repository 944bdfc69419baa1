//! The gateway as MCP clients see it that nobody here wrote: the official Rust SDK's, and the official Python SDK's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use rmcp::model::{CallToolRequestParams, GetPromptRequestParams, ReadResourceRequestParams};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};

use crate::program::{Place, SMALL, Started, text};

/// The Pythons of `.ci/deps` with an SDK in them, and the protocol that each speaks.
const PYTHONS: [(&str, &str); 2] = [
    (concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python"), "2026-07-28"),
    (concat!(env!("CARGO_MANIFEST_DIR"), "/.venv-mcp-1/bin/python"), "2025-11-25"),
];
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/mcp_client.py");

/// A gateway, where it serves, and who may ask.
struct Serving {
    place: Place,
    run: Started,
    printed: Value,
}

impl Serving {
    fn start() -> Self {
        let place = Place::new();
        let mut run = place.start(&["gateway", SMALL, "--json", "--variant", "held"]);
        let mut line = String::new();
        BufReader::new(run.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        Self { place, run, printed: serde_json::from_str(&line).expect("JSON") }
    }

    fn printed(&self, key: &str) -> &str {
        self.printed[key].as_str().expect("text")
    }

    async fn client(&self, path: &str) -> RunningService<RoleClient, ()> {
        let url = format!("{}{path}", self.printed("url"));
        let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(self.printed("user_token"));
        ().serve(StreamableHttpClientTransport::from_config(config)).await.expect("initialized")
    }

    fn stop(self) {
        self.run.signal(Signal::SIGINT);
        assert_eq!(self.run.wait(), Some(0));
        self.place.assert_nothing_is_left(Duration::from_secs(10));
    }
}

fn search() -> CallToolRequestParams {
    let arguments = json!({ "query": "sessions" }).as_object().cloned().expect("an object");
    CallToolRequestParams::new("slow-search").with_arguments(arguments)
}

#[tokio::test]
async fn the_rust_sdk_initializes_lists_and_calls_a_slow_tool() {
    let serving = Serving::start();
    let client = serving.client("/mcp").await;
    let tools = client.list_all_tools().await.expect("tools");
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    assert!(names.contains(&"slow-search") && names.len() > 10, "{names:?}");
    let result = client.call_tool(search()).await.expect("a result");
    let printed = serde_json::to_value(&result).expect("JSON");
    assert_eq!(printed["content"][0]["text"], "nothing found for `sessions`", "{printed}");

    let resources = client.list_all_resources().await.expect("resources");
    let note = client.read_resource(ReadResourceRequestParams::new(resources[0].uri.clone())).await.expect("a note");
    let note = serde_json::to_value(&note).expect("JSON");
    assert!(note["contents"][0]["text"].as_str().is_some_and(|text| text.starts_with("note")), "{note}");
    let arguments = json!({ "text": "<all>" }).as_object().cloned().expect("an object");
    let prompt = client.get_prompt(GetPromptRequestParams::new("prompt-1").with_arguments(arguments)).await;
    let prompt = serde_json::to_value(prompt.expect("a prompt")).expect("JSON");
    assert_eq!(prompt["messages"][0]["content"]["text"], "Summarise <all> in 1 sentences.", "{prompt}");

    let unknown = client.call_tool(CallToolRequestParams::new("no-such-tool")).await.expect_err("no such tool");
    assert!(unknown.to_string().contains("no such tool"), "{unknown}");
    client.cancel().await.expect("closed");
    serving.stop();
}

#[tokio::test]
async fn a_virtual_server_offers_its_own_tools_and_no_others() {
    let serving = Serving::start();
    let of_server = async |number: &str| {
        let (database, connection) =
            tokio_postgres::connect(serving.printed("database_url"), tokio_postgres::NoTls).await.expect("a server");
        tokio::spawn(connection);
        let row = database.query_one("SELECT md5($1)", &[&number]).await.expect("a row");
        serving.client(&format!("/servers/{}/mcp", row.get::<_, String>(0))).await
    };
    let first = of_server("server-1").await;
    let names: Vec<String> =
        first.list_all_tools().await.expect("tools").iter().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["get-system-time", "convert-time", "echo", "slow-search", "slow-report"]);
    first.call_tool(search()).await.expect("a result");
    let second = of_server("server-2").await;
    let refused = second.call_tool(search()).await.expect_err("not one of its tools");
    assert!(refused.to_string().contains("no such tool"), "{refused}");
    let nowhere = of_server("nowhere").await;
    nowhere.list_all_tools().await.expect_err("no such server");
    serving.stop();
}

#[test]
fn both_python_sdks_list_and_call_in_their_default_mode() {
    let serving = Serving::start();
    let url = format!("{}/mcp", serving.printed("url"));
    for (python, protocol) in PYTHONS {
        assert!(Path::new(python).exists(), "`{python}` is missing: `make deps` brings it");
        let ask = |token: &str| Command::new(python).arg(CLIENT).arg(&url).arg(token).output().expect("Python");
        let output = ask(serving.printed("user_token"));
        assert!(output.status.success(), "{python}: {}", text(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (printed["server"].as_str(), printed["protocol"].as_str()),
            (Some("rbac-bench-gateway"), Some(protocol))
        );
        assert!(printed["tools"].as_array().is_some_and(|tools| tools.contains(&json!("slow-search"))), "{printed}");
        assert_eq!(printed["result"], "nothing found for `sessions`", "{printed}");
        assert_eq!(printed["prompt"], "Summarise all in 1 sentences.", "{printed}");
        assert!(printed["note"].as_str().is_some_and(|note| note.starts_with("note")), "{printed}");
        let refused = ask("nonsense");
        assert!(!refused.status.success() && text(&refused.stderr).contains("401"), "{}", text(&refused.stderr));
    }
    serving.stop();
}
