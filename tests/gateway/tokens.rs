//! Tokens that users make for themselves, and roles that administrators give.

use axum::http::Method;
use gateway_under_test::settings::{Audit, SessionScope};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, Specimen, id_of, token};

const DEVELOPER: &str = "user-2@example.com";

async fn start(scope: SessionScope) -> (Specimen, Gateway, String, String) {
    let specimen = Specimen::start().await;
    let gateway = specimen.gateway(scope);
    let team = id_of(&specimen, "team-1").await;
    let developer = token(DEVELOPER, json!([team]));
    (specimen, gateway, team, developer)
}

async fn issue(gateway: &Gateway, token: &str, wanted: Value) -> Answer {
    gateway.ask(&Method::POST, "/tokens", Some(token), Some(&wanted)).await
}

fn issued(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["access_token"]), text(&answer["token"]["id"]))
}

#[tokio::test]
async fn a_token_that_a_user_made_works_until_it_is_revoked_in_every_session_scope() {
    for scope in [SessionScope::Held, SessionScope::Scoped] {
        let (specimen, gateway, _, developer) = start(scope).await;
        let wanted = json!({ "name": "ci", "scopes": { "permissions": ["tools.*"] } });
        let (made, id) = issued(&issue(&gateway, &developer, wanted.clone()).await);
        assert_eq!(gateway.get("/tools", &made).await.status, 200);
        assert_eq!(gateway.get("/servers", &made).await.status, 403, "it is for tools");
        assert_eq!(issue(&gateway, &developer, wanted).await.status, 409, "there is one of this name");
        let listed = gateway.get("/tokens", &developer).await;
        assert_eq!((&listed.json()[0]["id"], &listed.json()[0]["isActive"]), (&json!(id), &json!(true)));
        assert!(!listed.body.contains(&made) && !listed.body.contains("hash"), "{listed:?}");
        let path = format!("/tokens/{id}");
        let stranger = token("user-3@example.com", json!([]));
        assert_eq!(gateway.ask(&Method::DELETE, &path, Some(&stranger), None).await.status, 404, "not theirs");
        assert_eq!(gateway.ask(&Method::DELETE, &path, Some(&developer), None).await.status, 204);
        assert_eq!(gateway.get("/tools", &made).await.status, 401);
        gateway.read_denied().await;
        assert_eq!(gateway.get("/tools", &made).await.status, 401, "and after the list was read again");
        assert_eq!(gateway.ask(&Method::DELETE, &path, Some(&developer), None).await.status, 404, "once is enough");
        specimen.end().await;
    }
}

#[tokio::test]
async fn nobody_makes_a_token_that_is_good_for_more_than_their_own() {
    let (specimen, gateway, team, developer) = start(SessionScope::Scoped).await;
    let other = id_of(&specimen, "team-2").await;
    let public = token(DEVELOPER, json!([]));
    for (who, teams) in [(&developer, json!([other])), (&developer, json!([team, other])), (&public, json!([team]))] {
        let answer = issue(&gateway, who, json!({ "name": "more", "teams": teams })).await;
        assert_eq!(answer.status, 403, "{teams}: {answer:?}");
    }
    let (restricted, _) = issued(
        &issue(&gateway, &developer, json!({ "name": "less", "scopes": { "permissions": ["tokens.*"] } })).await,
    );
    assert_eq!(issue(&gateway, &restricted, json!({ "name": "from less" })).await.status, 403);
    // A token for no team sees no team's, although its user does.
    let (public_only, _) = issued(&issue(&gateway, &developer, json!({ "name": "public", "teams": [] })).await);
    let path = format!("/tools/{}", id_of(&specimen, "tool-33").await);
    assert_eq!(
        (gateway.get(&path, &developer).await.status, gateway.get(&path, &public_only).await.status),
        (200, 404)
    );
}

#[tokio::test]
async fn a_token_that_cannot_be_is_refused_with_a_reason() {
    let (_specimen, gateway, _, developer) = start(SessionScope::Scoped).await;
    for wanted in [
        json!({}),
        json!([]),
        json!({ "name": "" }),
        json!({ "name": "x".repeat(256) }),
        json!({ "name": "a\u{0}b" }),
        json!({ "name": "long", "expires_in_days": 366 }),
        json!({ "name": "short", "expires_in_days": 0 }),
        json!({ "name": "where", "scopes": { "server_id": "nowhere" } }),
        json!({ "name": "how", "scopes": "all" }),
    ] {
        let answer = issue(&gateway, &developer, wanted.clone()).await;
        assert_eq!(answer.status, 422, "{wanted}: {answer:?}");
    }
    assert_eq!(gateway.get("/tokens", &developer).await.body, "[]");
}

#[tokio::test]
async fn a_role_that_is_given_lets_in_and_one_that_is_taken_away_does_not() {
    let (specimen, gateway, team, _) = start(SessionScope::Scoped).await;
    let admin = token("admin@example.com", json!(null));
    let viewer = token("user-3@example.com", json!([team]));
    let may = async || gateway.get("/rbac/my/permissions", &viewer).await.json();
    assert!(!may().await.as_array().unwrap().contains(&json!("tools.delete")));
    let roles = gateway.get("/rbac/roles", &admin).await.json();
    let role = |name: &str| {
        let named = roles.as_array().unwrap().iter().find(|role| role["name"] == name).unwrap();
        named["id"].as_str().unwrap().to_owned()
    };
    let path = "/rbac/users/user-3@example.com/roles";
    let give = async |assignment: Value| gateway.ask(&Method::POST, path, Some(&admin), Some(&assignment)).await.status;
    assert_eq!(give(json!({ "role_id": role("developer") })).await, 404, "a team's role needs a team");
    assert_eq!(give(json!({ "role_id": role("developer"), "scope_id": "nowhere" })).await, 404);
    assert_eq!(give(json!({ "role_id": role("developer"), "scope_id": team })).await, 201);
    assert!(may().await.as_array().unwrap().contains(&json!("tools.delete")));
    let path = format!("{path}/{}", role("developer"));
    assert_eq!(gateway.ask(&Method::DELETE, &path, Some(&admin), None).await.status, 204);
    assert!(!may().await.as_array().unwrap().contains(&json!("tools.delete")));
    assert_eq!(gateway.get("/rbac/my/permissions", &admin).await.json(), json!(["*"]));
    drop(specimen);
}

#[tokio::test]
async fn the_audit_keeps_who_asked_for_what_when_it_is_on() {
    let (specimen, silent, team, developer) = start(SessionScope::Held).await;
    let audited = specimen.gateway_with(SessionScope::Held, |settings| settings.audit = Audit::On);
    let admin = token("admin@example.com", json!(null));
    for gateway in [&silent, &audited] {
        assert_eq!(gateway.get("/tools", &developer).await.status, 200);
        assert_eq!(gateway.get("/metrics", &developer).await.status, 403);
        assert_eq!(gateway.get("/metrics", &admin).await.status, 200, "no role was asked for it");
    }
    let kept = "SELECT user_email, permission, team_id, granted FROM permission_audit_log ORDER BY id";
    let rows = specimen.database.query(kept, &[]).await.unwrap();
    let kept: Vec<(String, String, String, bool)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let line = |permission: &str, granted| (DEVELOPER.to_owned(), permission.to_owned(), team.clone(), granted);
    assert_eq!(kept, [line("tools.read", true), line("admin.metrics, metrics:read", false)]);
}
