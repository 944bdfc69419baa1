//! Answers to clients while the database fails.

use axum::http::Method;
use gateway_under_test::settings::{DatabaseHost, Masks, SessionScope};
use serde_json::{Value, json};

use crate::gateway::{Gateway, SeededDatabase, token};

/// A gateway whose database cannot be reached.
fn cut_off(specimen: &SeededDatabase, masks: Masks) -> Gateway {
    specimen.gateway_with(SessionScope::Scoped, |settings| {
        settings.masks = masks;
        settings.database.host = DatabaseHost::Socket("/nowhere".into());
    })
}

async fn statuses(gateway: &Gateway, user: &str) -> Vec<(String, u16)> {
    let admin = token("admin@example.com", Value::Null);
    let call = |method: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
    let mut seen = Vec::new();
    for (method, path, token, body) in [
        ("GET", "/health", &admin, None),
        ("GET", "/tools", &admin, None),
        ("GET", "/tools", &user.to_owned(), None),
        ("GET", "/tools/1", &admin, None),
        ("POST", "/rpc", &admin, Some(call("tools/list"))),
    ] {
        let answer = gateway.ask(&method.parse::<Method>().unwrap(), path, Some(token), body.as_ref()).await;
        seen.push((answer.body, answer.status));
    }
    seen
}

#[tokio::test]
async fn a_failure_of_the_database_has_the_face_that_was_asked_for() {
    let specimen = SeededDatabase::start().await;
    let user = token("user-1@example.com", json!([]));
    // /health, a list as administrator and as user, one, JSON-RPC.
    for (masks, wanted) in [
        (Masks::Off, [503, 500, 500, 500, 500]),
        (Masks::Protocol, [200, 500, 500, 500, 200]),
        (Masks::On, [200, 500, 401, 404, 200]),
    ] {
        let seen = statuses(&cut_off(&specimen, masks), &user).await;
        assert_eq!(seen.iter().map(|(_, status)| *status).collect::<Vec<_>>(), wanted, "{masks:?}: {seen:?}");
        assert!(seen[0].0.contains("unhealthy") && seen[4].0.contains("-32000"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_masked_list_is_empty_over_mcp_and_counted_as_an_error_all_the_same() {
    let specimen = SeededDatabase::start().await;
    let gateway = cut_off(&specimen, Masks::On);
    let admin = token("admin@example.com", Value::Null);
    for (method, key) in [("tools/list", "tools"), ("prompts/list", "prompts")] {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
        let answer = gateway.ask(&Method::POST, "/mcp", Some(&admin), Some(&call)).await;
        assert_eq!((answer.status, &answer.json()["result"][key]), (200, &json!([])), "{answer:?}");
    }
    let metrics = gateway.get("/metrics/prometheus", &admin).await.body;
    assert!(metrics.contains("connection to") || metrics.contains("connection failed"), "{metrics}");
}
