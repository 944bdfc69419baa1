//! Who gets where: every route of the gateway against every kind of caller.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gateway_under_test::rbac::Guard;
use gateway_under_test::routes;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Specimen, claims, id_of, sign, sign_with, token};

/// What the callers with a good token get, by route. Callers are columns:
///
/// - `viewer`, `developer`, `owner`: user-3, user-2 and user-1, with those roles in team 1, and tokens that speak for it;
/// - `stranger`: the owner of team 2;
/// - `platform`: the platform administrator, for all teams;
/// - `public`: the developer with a token for no team;
/// - `scoped`: the developer with a token for `tools.read` alone.
///
/// `{tool}` and the like are entities of team 1 that its owner owns; `{gateway}` is everybody's to see and the
/// administrator's to change.
#[rustfmt::skip]
const MATRIX: &[(&str, &str, [u16; 7])] = &[
    // method, path                    viewer developer owner stranger platform public scoped
    ("GET",    "/health",               [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/ready",                [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/metrics/prometheus",   [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/metrics",              [403, 403,      403,  403,     200,     403,   403]),
    ("GET",    "/openapi.json",         [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/admin/",               [200, 200,      200,  200,     200,     200,   403]),
    ("GET",    "/admin/tools",          [200, 200,      200,  200,     200,     200,   403]),
    ("GET",    "/admin/login",          [200, 200,      200,  200,     200,     200,   200]),
    // Nothing is said in the body: 422 is for those who may.
    ("POST",   "/auth/email/login",     [422, 422,      422,  422,     422,     422,   422]),
    ("GET",    "/auth/email/me",        [200, 200,      200,  200,     200,     200,   200]),
    ("POST",   "/rpc",                  [200, 200,      200,  200,     200,     200,   200]),
    ("POST",   "/mcp",                  [200, 200,      200,  200,     200,     200,   200]),
    ("POST",   "/servers/{server}/mcp", [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/servers/{server}/sse", [200, 200,      200,  404,     200,     404,   200]),
    ("POST",   "/protocol/initialize",  [422, 422,      422,  422,     422,     422,   422]),
    ("POST",   "/protocol/ping",        [422, 422,      422,  422,     422,     422,   422]),
    ("POST",   "/protocol/notifications", [422, 422,    422,  422,     422,     422,   422]),
    ("GET",    "/roots",                [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/tags",                 [403, 403,      403,  403,     200,     403,   403]),
    ("GET",    "/tokens",               [200, 200,      200,  200,     200,     200,   403]),
    ("POST",   "/tokens",               [422, 422,      422,  422,     422,     422,   403]),
    ("DELETE", "/tokens/{nothing}",     [404, 404,      404,  404,     404,     404,   403]),
    ("GET",    "/rbac/my/permissions",  [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/rbac/my/roles",        [200, 200,      200,  200,     200,     200,   200]),
    ("GET",    "/rbac/permissions/available", [403, 403, 403, 403,     200,     403,   403]),
    ("GET",    "/rbac/roles",           [403, 403,      403,  403,     200,     403,   403]),
    ("POST",   "/rbac/users/{user}/roles", [403, 403,   403,  403,     422,     403,   403]),
    ("DELETE", "/rbac/users/{user}/roles/{nothing}", [403, 403, 403, 403, 404,  403,   403]),
    ("GET",    "/teams",                [200, 200,      200,  200,     200,     200,   403]),
    ("POST",   "/teams",                [403, 403,      403,  403,     422,     403,   403]),
    ("GET",    "/teams/{team}",         [200, 200,      200,  404,     200,     404,   403]),
    ("PUT",    "/teams/{team}",         [403, 403,      422,  403,     422,     403,   403]),
    ("DELETE", "/teams/{team}",         [403, 403,      200,  403,     200,     403,   403]),
    ("GET",    "/teams/{team}/members", [200, 200,      200,  404,     200,     404,   403]),
    ("POST",   "/teams/{team}/members", [403, 403,      422,  403,     422,     403,   403]),
    ("DELETE", "/teams/{team}/members/{nothing}", [403, 403, 404, 403, 404,     403,   403]),
    ("GET",    "/tools",                [200, 200,      200,  200,     200,     200,   200]),
    ("POST",   "/tools",                [403, 422,      422,  422,     422,     403,   403]),
    ("GET",    "/tools/{tool}",         [200, 200,      200,  404,     200,     404,   200]),
    ("PUT",    "/tools/{tool}",         [403, 422,      422,  422,     422,     403,   403]),
    ("POST",   "/tools/{tool}/state",   [403, 403,      200,  404,     200,     403,   403]),
    ("DELETE", "/tools/{tool}",         [403, 403,      200,  404,     200,     403,   403]),
    ("GET",    "/servers",              [200, 200,      200,  200,     200,     200,   403]),
    ("POST",   "/servers",              [403, 422,      422,  422,     422,     403,   403]),
    ("GET",    "/servers/{server}",     [200, 200,      200,  404,     200,     404,   403]),
    ("PUT",    "/servers/{server}",     [403, 422,      422,  422,     422,     403,   403]),
    ("GET",    "/servers/{server}/tools", [200, 200,    200,  404,     200,     404,   403]),
    ("GET",    "/servers/{server}/resources", [200, 200, 200, 404,     200,     404,   403]),
    ("GET",    "/servers/{server}/prompts", [200, 200,  200,  404,     200,     404,   403]),
    ("POST",   "/servers/{server}/state", [403, 403,    200,  404,     200,     403,   403]),
    ("DELETE", "/servers/{server}",     [403, 403,      200,  404,     200,     403,   403]),
    ("GET",    "/resources",            [200, 200,      200,  200,     200,     200,   403]),
    ("POST",   "/resources",            [403, 422,      422,  422,     422,     403,   403]),
    ("GET",    "/resources/{resource}", [200, 200,      200,  404,     200,     404,   403]),
    ("PUT",    "/resources/{resource}", [403, 422,      422,  422,     422,     403,   403]),
    ("POST",   "/resources/{resource}/state", [403, 403, 200, 404,     200,     403,   403]),
    ("DELETE", "/resources/{resource}", [403, 403,      200,  404,     200,     403,   403]),
    ("GET",    "/prompts",              [200, 200,      200,  200,     200,     200,   403]),
    ("POST",   "/prompts",              [403, 422,      422,  422,     422,     403,   403]),
    ("GET",    "/prompts/{prompt}",     [200, 200,      200,  404,     200,     404,   403]),
    ("PUT",    "/prompts/{prompt}",     [403, 422,      422,  422,     422,     403,   403]),
    ("POST",   "/prompts/{prompt}/state", [403, 403,    200,  404,     200,     403,   403]),
    ("DELETE", "/prompts/{prompt}",     [403, 403,      200,  404,     200,     403,   403]),
    ("GET",    "/gateways",             [200, 200,      200,  200,     200,     200,   403]),
    ("POST",   "/gateways",             [403, 422,      422,  422,     422,     403,   403]),
    ("GET",    "/gateways/{gateway}",   [200, 200,      200,  200,     200,     200,   403]),
    ("PUT",    "/gateways/{gateway}",   [403, 422,      422,  422,     422,     403,   403]),
    ("POST",   "/gateways/{gateway}/state", [403, 403,  403,  403,     200,     403,   403]),
    ("DELETE", "/gateways/{gateway}",   [403, 403,      403,  403,     200,     403,   403]),
];

/// The same with a body that is good: what a developer may make for their team, and nobody else's.
/// `made` is 200 or 201, as ContextForge answers for the kind.
#[rustfmt::skip]
const WRITES: &[(&str, &str, &str, [u16; 7])] = &[
    // method, path, body              viewer developer owner stranger platform public scoped
    ("POST", "/tools", r#"{"tool": {"name": "made", "url": "http://127.0.0.1:9/"}, "visibility": "team"}"#,
                                        [403, 200,      200,  200,     422,     403,   403]),
    ("POST", "/servers", r#"{"server": {"name": "made"}, "team_id": "{team}"}"#,
                                        [403, 201,      201,  403,     201,     403,   403]),
    ("POST", "/resources", r#"{"resource": {"uri": "memo://made", "name": "made", "content": "text"}}"#,
                                        [403, 200,      200,  200,     200,     403,   403]),
    ("POST", "/prompts", r#"{"prompt": {"name": "made", "template": "Say {{ word }}"}, "visibility": "private"}"#,
                                        [403, 200,      200,  200,     200,     403,   403]),
    ("POST", "/gateways", r#"{"name": "made", "url": "http://127.0.0.1:9/mcp"}"#,
                                        [403, 200,      200,  200,     200,     403,   403]),
    ("PUT", "/tools/{tool}", r#"{"description": "changed"}"#,
                                        [403, 403,      200,  404,     200,     403,   403]),
    ("PUT", "/servers/{server}", r#"{"name": "changed"}"#,
                                        [403, 403,      200,  404,     200,     403,   403]),
    ("PUT", "/resources/{resource}", r#"{"content": "changed"}"#,
                                        [403, 403,      200,  404,     200,     403,   403]),
    ("PUT", "/prompts/{prompt}", r#"{"template": "changed"}"#,
                                        [403, 403,      200,  404,     200,     403,   403]),
    ("PUT", "/gateways/{gateway}", r#"{"description": "changed"}"#,
                                        [403, 403,      403,  403,     200,     403,   403]),
    ("POST", "/teams", r#"{"name": "Made"}"#,
                                        [403, 403,      403,  403,     201,     403,   403]),
    ("PUT", "/teams/{team}", r#"{"description": "changed"}"#,
                                        [403, 403,      200,  403,     200,     403,   403]),
    ("POST", "/teams/{team}/members", r#"{"email": "user-30@example.com"}"#,
                                        [403, 403,      201,  403,     201,     403,   403]),
    ("DELETE", "/teams/{team}/members/user-2@example.com", "",
                                        [403, 403,      200,  403,     200,     403,   403]),
    ("POST", "/rbac/users/user-30@example.com/roles", r#"{"role_id": "{viewer}", "scope_id": "{team}"}"#,
                                        [403, 403,      403,  403,     201,     403,   403]),
    // A role of a team without a team, and a role that there is not.
    ("POST", "/rbac/users/user-30@example.com/roles", r#"{"role_id": "{viewer}"}"#,
                                        [403, 403,      403,  403,     404,     403,   403]),
    ("POST", "/rbac/users/user-30@example.com/roles", r#"{"role_id": "{nothing}"}"#,
                                        [403, 403,      403,  403,     404,     403,   403]),
    ("DELETE", "/rbac/users/user-2@example.com/roles/{developer}", "",
                                        [403, 403,      403,  403,     204,     403,   403]),
    ("POST", "/tokens", r#"{"name": "made"}"#,
                                        [201, 201,      201,  201,     201,     201,   403]),
    ("POST", "/protocol/initialize", r#"{"protocolVersion": "2025-06-18"}"#,
                                        [200, 200,      200,  200,     200,     200,   200]),
    ("POST", "/protocol/ping", r#"{"jsonrpc": "2.0", "method": "ping", "id": 1}"#,
                                        [200, 200,      200,  200,     200,     200,   200]),
];

pub(crate) const CALLERS: [&str; 7] = ["viewer", "developer", "owner", "stranger", "platform", "public", "scoped"];

/// Tokens of [`CALLERS`].
pub(crate) async fn good_tokens(specimen: &Specimen) -> [String; 7] {
    let team = id_of(specimen, "team-1").await;
    let other = id_of(specimen, "team-2").await;
    let mut scoped = claims("user-2@example.com", "scoped");
    scoped["teams"] = json!([team]);
    scoped["scopes"] = json!({ "permissions": ["tools.read"] });
    [
        token("user-3@example.com", json!([team])),
        token("user-2@example.com", json!([team])),
        token("user-1@example.com", json!([team])),
        token("user-21@example.com", json!([other])),
        token("admin@example.com", json!(null)),
        token("user-2@example.com", json!([])),
        sign(&scoped),
    ]
}

/// Tokens that nobody is let in with, and why. All say that they are the platform administrator's, or a user's who
/// could otherwise read.
async fn bad_tokens(specimen: &Specimen) -> Vec<(&'static str, Option<String>)> {
    let team = json!([id_of(specimen, "team-1").await]);
    let admin = |jti: &str| {
        let mut claims = claims("admin@example.com", jti);
        claims["teams"] = Value::Null;
        claims["is_admin"] = json!(true);
        claims
    };
    let encoded = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let mut expired = admin("expired");
    expired["exp"] = json!(expired["iat"].as_u64().unwrap() - 1);
    vec![
        ("no token", None),
        ("a malformed one", Some("not.a.token".to_owned())),
        ("alg: none", Some(format!("{}.{}.", encoded(json!({ "alg": "none" })), encoded(admin("none"))))),
        ("the wrong key", Some(sign_with("another key, which is as long as the right one", &admin("key")))),
        ("expired", Some(sign(&expired))),
        ("revoked", Some(sign(&admin("revoked")))),
        ("a disabled user's", Some(token("user-5@example.com", team))),
    ]
}

/// Ids of the entities that the paths name.
pub(crate) async fn path_of(specimen: &Specimen, path: &str) -> String {
    // Of the fixture's entities those that belong to team 1.
    let entities = [
        ("{tool}", "tool-33"),
        ("{server}", "server-4"),
        ("{resource}", "resource-4"),
        ("{prompt}", "prompt-4"),
        ("{gateway}", "gateway-2"),
        ("{team}", "team-1"),
    ];
    let mut path = path.to_owned();
    for role in ["viewer", "developer"] {
        let row = specimen.database.query_one("SELECT id FROM roles WHERE name = $1", &[&role]).await.unwrap();
        path = path.replace(&format!("{{{role}}}"), row.get(0));
    }
    for (placeholder, name) in entities {
        path = path.replace(placeholder, &id_of(specimen, name).await);
    }
    path
}

async fn status(gateway: &Gateway, method: &str, path: &str, token: Option<&str>) -> u16 {
    let speaks_json_rpc = path == "/rpc" || path.ends_with("/mcp");
    let body = speaks_json_rpc.then(|| json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
    gateway.ask(&method.parse().unwrap(), path, token, body.as_ref()).await.status
}

pub(crate) async fn specimen() -> Specimen {
    let specimen = Specimen::start().await;
    let denied = "UPDATE email_users SET is_active = false WHERE email = 'user-5@example.com';
                  INSERT INTO token_revocations (jti, revoked_by) VALUES ('revoked', 'admin@example.com')";
    specimen.database.batch_execute(denied).await.unwrap();
    specimen
}

#[test]
fn the_matrix_has_every_route_of_the_gateway_and_no_other() {
    let line = |method: &str, path: &str| {
        let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        format!("{method} {}", parts.join("/"))
    };
    let served: BTreeSet<String> =
        routes::table().iter().map(|route| line(route.method.as_str(), route.path)).collect();
    let tested = MATRIX.iter().map(|(method, path, _)| line(method, &path.replace("/admin/tools", "/admin/{list}")));
    let tested: BTreeSet<String> = tested.collect();
    assert_eq!(served, tested);
}

#[tokio::test]
async fn everybody_gets_where_they_belong_and_nowhere_else() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let tokens = good_tokens(&specimen).await;
    for (method, path, wanted) in MATRIX {
        let concrete = path_of(&specimen, path).await;
        for ((caller, token), wanted) in CALLERS.iter().zip(&tokens).zip(wanted) {
            let got = status(&gateway, method, &concrete, Some(token)).await;
            assert_eq!(got, *wanted, "{method} {path} as {caller}");
            if got == 200 && (*method == "DELETE" || path.ends_with("/state")) {
                specimen.reload().await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_made_and_changed_is_made_and_changed_by_those_who_may() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let tokens = good_tokens(&specimen).await;
    for (method, path, body, wanted) in WRITES {
        let (concrete, body) = (path_of(&specimen, path).await, path_of(&specimen, body).await);
        for ((caller, token), wanted) in CALLERS.iter().zip(&tokens).zip(wanted) {
            let answer = gateway.send(&method.parse().unwrap(), &concrete, Some(token), body.clone()).await;
            assert_eq!(answer.status, *wanted, "{method} {path} as {caller}: {answer:?}");
            if answer.status < 300 && !path.starts_with("/protocol") {
                specimen.reload().await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Held);
    gateway.read_denied().await;
    let open: BTreeSet<&str> =
        routes::table().iter().filter(|route| route.guard == Guard::Public).map(|route| route.path).collect();
    let wanted = ["/admin/login", "/auth/email/login", "/health", "/metrics/prometheus", "/ready"];
    assert_eq!(open, wanted.into(), "these and no others ask for no token");
    for (why, token) in bad_tokens(&specimen).await {
        for (method, path, _) in MATRIX {
            let got = status(&gateway, method, &path_of(&specimen, path).await, token.as_deref()).await;
            let wanted = match *path {
                "/auth/email/login" => 422,
                path if open.contains(path) => 200,
                _ => 401,
            };
            assert_eq!(got, wanted, "{method} {path} with {why}");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_and_a_disabled_user_are_told_so_and_let_in_until_the_replica_has_read_it() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let bad = bad_tokens(&specimen).await;
    let revoked = bad[5].1.as_deref().unwrap();
    assert_eq!(gateway.get("/tools", revoked).await.status, 200, "nobody has told the replica");
    gateway.read_denied().await;
    let details = async |path: &str, token: &str| {
        let answer = gateway.get(path, token).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let (expired, disabled) = (bad[4].1.as_deref().unwrap(), bad[6].1.as_deref().unwrap());
    // Where a permission is checked, ContextForge swallows the cause.
    for (token, cause) in [
        (revoked, "Token has been revoked"),
        (disabled, "Account disabled"),
        (expired, "Token has expired"),
        ("not.a.token", "Invalid token"),
    ] {
        assert_eq!(details("/auth/email/me", token).await, cause);
        assert_eq!(details("/tools", token).await, "Invalid authentication credentials");
    }
}

#[tokio::test]
async fn a_browser_without_a_token_is_sent_to_the_login_page() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let page = gateway.browse("/admin/").await;
    assert_eq!((page.0, page.1.as_deref()), (302, Some("/admin/login")));
    assert_eq!(gateway.browse("/admin/login").await.0, 200);
}

#[tokio::test]
async fn a_token_is_good_for_its_server_its_address_and_its_hours_only() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let server = id_of(&specimen, "server-1").await;
    let of_server = format!("/servers/{server}/tools");
    let scopes = |scopes: Value| {
        let mut claims = claims("admin@example.com", "scopes");
        claims["teams"] = Value::Null;
        claims["is_admin"] = json!(true);
        claims["scopes"] = scopes;
        sign(&claims)
    };
    let cases = [
        (json!({ "server_id": server }), of_server.as_str(), 200),
        (json!({ "server_id": server }), "/tools", 403),
        (json!({ "server_id": "another" }), &of_server, 403),
        (json!({ "ip_restrictions": ["127.0.0.0/8"] }), "/tools", 200),
        (json!({ "ip_restrictions": ["10.0.0.0/8"] }), "/tools", 403),
        (json!({ "permissions": ["tools.*"] }), "/tools", 200),
        (json!({ "permissions": ["servers.*"] }), "/tools", 403),
        (json!("everything"), "/tools", 401),
    ];
    for (claim, path, wanted) in cases {
        let answer = gateway.get(path, &scopes(claim.clone())).await;
        assert_eq!(answer.status, wanted, "{path} with {claim}: {answer:?}");
    }
}
