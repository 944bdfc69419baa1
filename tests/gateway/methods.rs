//! Methods by caller: JSON-RPC at `/rpc`, and the same as the Model Context Protocol at `/mcp`.

use axum::http::Method;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::matrix::{CALLERS, good_tokens, path_of, specimen};

/// Answer of `POST /rpc` by method: a JSON-RPC error code, 0 for a result. −32000 is the backend that nobody
/// runs here: anyone who gets that far was let through.
#[rustfmt::skip]
const METHODS: &[(&str, &str, [i64; 6])] = &[
    // method, about           viewer  developer owner   other session platform public
    ("ping",       "",          [0,      0,      0,      0,      0,      0]),
    ("tools/list", "",          [0,      0,      0,      0,      0,      0]),
    ("tools/call", "echo",      [-32000, -32000, -32000, -32000, -32000, -32003]),
    ("tools/call", "tool-33",   [-32000, -32000, -32000, -32602, -32000, -32003]),
    ("tools/call", "no-tool",   [-32602, -32602, -32602, -32602, -32602, -32003]),
    ("resources/list", "",      [0,      0,      0,      0,      0,      0]),
    ("resources/read", "memo://notes/4", [0, 0,  0,      -32602, 0,      -32602]),
    ("prompts/list", "",        [0,      0,      0,      0,      0,      0]),
    ("prompts/get", "prompt-4", [0,      0,      0,      -32602, 0,      -32602]),
    ("prompts/get", "no-prompt", [-32602, -32602, -32602, -32602, -32602, -32602]),
    ("initialize", "",          [0,      0,      0,      0,      0,      0]),
    ("notifications/initialized", "", [0, 0,     0,      0,      0,      0]),
    ("list_tools", "",          [0,      0,      0,      0,      0,      0]),
    ("list_gateways", "",       [0,      0,      0,      0,      0,      0]),
    ("roots/list", "",          [0,      0,      0,      0,      0,      0]),
    ("resources/templates/list", "", [0, 0,      0,      0,      0,      0]),
    ("resources/subscribe", "memo://notes/4", [0, 0, 0,  -32602, 0,      -32602]),
    ("resources/unsubscribe", "memo://notes/4", [0, 0, 0, -32602, 0,     -32602]),
    ("completion/complete", "", [0,      0,      0,      0,      0,      0]),
    // Without a level it is wrong, but only to those who may set one.
    ("logging/setLevel", "",    [-32003, -32003, -32003, -32003, -32602, -32003]),
    // A method that is none is a tool, for old clients.
    ("echo",       "",          [-32000, -32000, -32000, -32000, -32000, -32003]),
    ("no/method",  "",          [-32000, -32000, -32000, -32000, -32000, -32003]),
];

/// Answer of `POST /mcp` and `POST /servers/{server}/mcp`. −32603 is the backend, which nobody runs here, and
/// −32002 the protocol's "not found". A virtual server that one may not see offers nothing, and does not say why.
#[rustfmt::skip]
const MCP_METHODS: &[(&str, &str, &str, [i64; 6])] = &[
    // path, method, about                      viewer  developer owner   other session platform public
    ("/mcp", "ping",           "",              [0,      0,      0,      0,      0,      0]),
    ("/mcp", "initialize",     "",              [0,      0,      0,      0,      0,      0]),
    ("/mcp", "tools/list",     "",              [0,      0,      0,      0,      0,      0]),
    ("/mcp", "tools/call",     "echo",          [-32603, -32603, -32603, -32603, -32603, -32003]),
    ("/mcp", "tools/call",     "tool-33",       [-32603, -32603, -32603, -32602, -32603, -32003]),
    ("/mcp", "tools/call",     "no-tool",       [-32602, -32602, -32602, -32602, -32602, -32003]),
    ("/mcp", "resources/list", "",              [0,      0,      0,      0,      0,      0]),
    ("/mcp", "resources/read", "memo://notes/4", [0,     0,      0,      -32002, 0,      -32002]),
    ("/mcp", "prompts/list",   "",              [0,      0,      0,      0,      0,      0]),
    ("/mcp", "prompts/get",    "prompt-4",      [0,      0,      0,      -32002, 0,      -32002]),
    ("/servers/{server}/mcp", "tools/list", "", [0,      0,      0,      -32002, 0,      -32002]),
    // Offered there, and not.
    ("/servers/{server}/mcp", "tools/call", "tool-29", [-32603, -32603, -32603, -32002, -32603, -32003]),
    ("/servers/{server}/mcp", "tools/call", "echo", [-32602, -32602, -32602, -32002, -32602, -32003]),
    ("/servers/{server}/mcp", "resources/list", "", [0,  0,      0,      -32002, 0,      -32002]),
];

#[tokio::test]
async fn each_method_of_json_rpc_asks_for_its_own_permission() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let tokens = good_tokens(&specimen).await;
    for (method, about, wanted) in METHODS {
        for ((caller, token), wanted) in CALLERS.iter().zip(&tokens).zip(wanted) {
            let answer = gateway.rpc(method, json!({ "name": about, "uri": about, "arguments": {} }), token).await;
            let code = answer["error"]["code"].as_i64().unwrap_or(0);
            assert_eq!(code, *wanted, "{method} {about} as {caller}: {answer}");
        }
    }
}

#[tokio::test]
async fn each_method_over_mcp_is_for_the_same_callers() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let tokens = good_tokens(&specimen).await;
    for (path, method, about, wanted) in MCP_METHODS {
        let concrete = path_of(&specimen, path).await;
        let params = json!({ "name": about, "uri": about, "arguments": {}, "protocolVersion": "2025-06-18",
            "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        for ((caller, token), wanted) in CALLERS.iter().zip(&tokens).zip(wanted) {
            let answer = gateway.ask(&Method::POST, &concrete, Some(token), Some(&call)).await;
            let printed: Value = answer.json();
            assert!(
                answer.status == 200 && (printed["result"].is_object() || printed["error"].is_object()),
                "{answer:?}"
            );
            let code = printed["error"]["code"].as_i64().unwrap_or(0);
            assert_eq!(code, *wanted, "{path} {method} {about} as {caller}: {printed}");
            assert!(*wanted == 0 || *wanted == -32603 || !printed.to_string().contains("tool-33"), "{printed}");
        }
    }
}
