//! Hostile requests in this process: JSON-RPC of any kind, and text that means harm in every field.

use std::time::Duration;

use axum::http::Method;
use gateway_under_test::settings::SessionScope;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::gateway::{Gateway, SeededDatabase, id_of, token};

const METHODS: [&str; 14] = [
    "ping",
    "initialize",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "notifications/cancelled",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "no/method",
];

const HARMFUL: [&str; 8] = [
    "'; DROP TABLE tools; --",
    "\" OR \"1\"=\"1",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "\0",
    "../../etc/passwd",
    "%00%ff",
    "\u{202e}🦀\u{fffd}",
];

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(&HARMFUL[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            prop::sample::select(&["name", "uri", "arguments", "text"][..]).prop_map(str::to_owned),
            ".{0,6}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A body that is nearly a call: known methods with any parameters, or any JSON, or any text.
fn bodies() -> impl Strategy<Value = String> {
    let call = (prop::sample::select(&METHODS[..]), any_json(), any_json()).prop_map(|(method, params, id)| {
        json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": id }).to_string()
    });
    prop_oneof![4 => call, 1 => any_json().prop_map(|it| it.to_string()), 1 => ".{0,64}"]
}

async fn start() -> (SeededDatabase, Gateway, String) {
    let specimen = SeededDatabase::start().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let owner = token("user-1@example.com", json!([id_of(&specimen, "team-1").await]));
    (specimen, gateway, owner)
}

#[test]
fn no_json_rpc_whatever_it_says_is_the_gateways_fault() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_specimen, gateway, owner) = runtime.block_on(start());
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&bodies(), |body| {
        runtime.block_on(async {
            for path in ["/rpc", "/mcp"] {
                let answer = gateway.send(&Method::POST, path, Some(&owner), body.clone()).await;
                prop_assert!(answer.status < 500, "{path}: {body}: {answer:?}");
            }
            Ok(())
        })
    });
    outcome.unwrap();
    assert_eq!(runtime.block_on(gateway.get("/tools", &owner)).status, 200, "and it goes on");
}

#[tokio::test]
async fn text_that_means_harm_is_text_in_every_field() {
    let (specimen, gateway, owner) = start().await;
    for harm in HARMFUL {
        for (method, params) in [
            ("tools/call", json!({ "name": harm, "arguments": { "query": harm } })),
            ("resources/read", json!({ "uri": harm })),
            ("prompts/get", json!({ "name": harm })),
            ("prompts/get", json!({ "name": "prompt-1", "arguments": { "text": harm } })),
            (harm, json!({})),
        ] {
            let answer = gateway.rpc(method, params.clone(), &owner).await;
            assert!(
                answer["error"].is_object() || answer["result"]["messages"].is_array(),
                "{method} {params}: {answer}"
            );
        }
    }
    let tools: i64 = specimen.database.query_one("SELECT count(*) FROM tools", &[]).await.unwrap().get(0);
    assert_eq!(tools, 40, "nothing was lost");
    // What is put into a template is not a template.
    let params = json!({ "name": "prompt-1", "arguments": { "text": "{{ 7 * 7 }}" } });
    let prompt = gateway.rpc("prompts/get", params, &owner).await;
    assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "Summarise {{ 7 * 7 }} in 1 sentences.");
}

#[tokio::test]
async fn what_is_in_the_rows_is_escaped_on_the_page() {
    let (specimen, gateway, owner) = start().await;
    let rename =
        "UPDATE tools SET name = '<script>alert(1)</script>', url = '\"onmouseover=alert(1)' WHERE name = 'echo'";
    specimen.database.batch_execute(rename).await.unwrap();
    let page = gateway.get("/admin/", &owner).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("&lt;script&gt;alert(1)"), "{}", page.body);
    assert!(!page.body.contains("<script>alert") && !page.body.contains("\"onmouseover"), "{}", page.body);
}

#[tokio::test]
async fn a_template_that_is_a_program_is_refused() {
    let (specimen, gateway, owner) = start().await;
    // It doubles a text sixty times.
    let doubling = format!("{{% set x = 'aaaaaaaa' %}}{}{{{{ x }}}}", "{% set x = x ~ x %}".repeat(60));
    let rename = "UPDATE prompts SET template = $1 WHERE name = 'prompt-1'";
    specimen.database.execute(rename, &[&doubling]).await.unwrap();
    let prompt = gateway.rpc("prompts/get", json!({ "name": "prompt-1" }), &owner).await;
    assert_eq!(prompt["error"]["code"], -32602, "{prompt}");
}

#[tokio::test]
async fn a_body_that_is_too_deep_or_too_large_or_no_json_is_refused() {
    let (_specimen, gateway, owner) = start().await;
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let deep_params =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{deep}}}}}"#);
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":"{}"}}"#, "x".repeat(3 << 20));
    for (path, body, wanted) in [
        ("/rpc", deep.as_str(), 400..=422),
        ("/rpc", "[]", 422..=422),
        ("/rpc", r#"["ping", null, 1]"#, 422..=422),
        ("/rpc", "{", 400..=400),
        ("/rpc", "{}", 422..=422),
        ("/rpc", &large, 413..=413),
        ("/mcp", &deep, 400..=422),
        ("/mcp", &deep_params, 400..=422),
        ("/mcp", &large, 413..=413),
    ] {
        let answer = gateway.send(&Method::POST, path, Some(&owner), body.to_owned()).await;
        assert!(wanted.contains(&answer.status), "{path} {}: {answer:?}", body.get(..40).unwrap_or(body));
    }
    let answer = gateway.send(&Method::POST, "/rpc", Some(&owner), deep_params).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (200, &json!(-32602)), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_holds_no_session() {
    let (specimen, _, owner) = start().await;
    for scope in [SessionScope::Held, SessionScope::EndpointShared, SessionScope::Scoped] {
        let gateway = specimen.gateway_with(scope, |settings| {
            (settings.pool.size, settings.pool.max_overflow) = (1, 0);
            settings.pool.timeout = Duration::from_secs(2);
        });
        let others = async {
            // The one whose body does not come has had its turn by then.
            tokio::task::yield_now().await;
            gateway.get("/tools", &owner).await
        };
        tokio::select! {
            biased;
            status = gateway.send_no_end("/rpc", &owner) => panic!("{scope:?}: answered with {status}"),
            answer = others => assert_eq!(answer.status, 200, "{scope:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_path_that_is_no_route_is_not_found_and_shows_nothing() {
    let (_specimen, gateway, owner) = start().await;
    for path in [
        "//tools",
        "/tools/../servers",
        "/%2e%2e/tools",
        "/TOOLS",
        "/tools%00",
        "/tools;x=1",
        "/servers//mcp",
        "/servers/x/y/mcp",
        "/.git/config",
        "/admin/../tools",
        "/tools/a/b/c",
    ] {
        let answer = gateway.get(path, &owner).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(answer.json()["detail"].is_string(), "{path}: {answer:?}");
    }
    assert_eq!(
        gateway.get("/tools/", &owner).await,
        gateway.get("/tools", &owner).await,
        "a slash at the end is no matter"
    );
    for (method, path) in
        [(Method::PUT, "/tools"), (Method::GET, "/rpc"), (Method::GET, "/mcp"), (Method::DELETE, "/tools")]
    {
        assert_eq!(gateway.ask(&method, path, Some(&owner), None).await.status, 405, "{method} {path}");
    }
}
