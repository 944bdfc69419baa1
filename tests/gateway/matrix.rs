//! Access matrix: every route of the gateway against every kind of caller.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gateway_under_test::rbac::Guard;
use gateway_under_test::routes;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::gateway::{Gateway, SeededDatabase, claims, id_of, sign, sign_with, token};

/// Status of each route for the callers with a good token. Callers are columns:
///
/// - `viewer`, `developer`, `owner`: user-3, user-2 and user-1, with those roles in team 1, and tokens that speak for it;
/// - `other session`: the owner of team 2;
/// - `platform`: the platform administrator, for all teams;
/// - `public`: the developer with a token for no team.
///
/// `{tool}` and the like are entities of team 1; everybody may see `{gateway}`.
#[rustfmt::skip]
const MATRIX: &[(&str, &str, [u16; 6])] = &[
    // method, path                   viewer developer owner other session platform public
    ("GET",    "/health",                      [200, 200, 200, 200, 200, 200]),
    ("GET",    "/ready",                       [200, 200, 200, 200, 200, 200]),
    ("GET",    "/metrics/prometheus",          [200, 200, 200, 200, 200, 200]),
    ("GET",    "/metrics",                     [403, 403, 403, 403, 200, 403]),
    ("GET",    "/openapi.json",                [200, 200, 200, 200, 200, 200]),
    ("GET",    "/admin/",                      [200, 200, 200, 200, 200, 200]),
    ("GET",    "/admin/tools",                 [200, 200, 200, 200, 200, 200]),
    ("GET",    "/admin/login",                 [200, 200, 200, 200, 200, 200]),
    // Nothing is stated in the body: 422 is for those who may.
    ("POST",   "/auth/email/login",            [422, 422, 422, 422, 422, 422]),
    ("GET",    "/auth/email/me",               [200, 200, 200, 200, 200, 200]),
    ("POST",   "/rpc",                         [200, 200, 200, 200, 200, 200]),
    ("POST",   "/mcp",                         [200, 200, 200, 200, 200, 200]),
    ("POST",   "/servers/{server}/mcp",        [200, 200, 200, 200, 200, 200]),
    ("GET",    "/servers/{server}/sse",        [200, 200, 200, 404, 200, 404]),
    ("POST",   "/protocol/initialize",         [422, 422, 422, 422, 422, 422]),
    ("POST",   "/protocol/ping",               [422, 422, 422, 422, 422, 422]),
    ("POST",   "/protocol/notifications",      [422, 422, 422, 422, 422, 422]),
    ("GET",    "/roots",                       [200, 200, 200, 200, 200, 200]),
    ("GET",    "/tags",                        [403, 403, 403, 403, 200, 403]),
    ("GET",    "/tools",                       [200, 200, 200, 200, 200, 200]),
    ("GET",    "/tools/{tool}",                [200, 200, 200, 404, 200, 404]),
    ("GET",    "/servers",                     [200, 200, 200, 200, 200, 200]),
    ("GET",    "/servers/{server}",            [200, 200, 200, 404, 200, 404]),
    ("GET",    "/servers/{server}/tools",      [200, 200, 200, 404, 200, 404]),
    ("GET",    "/servers/{server}/resources",  [200, 200, 200, 404, 200, 404]),
    ("GET",    "/servers/{server}/prompts",    [200, 200, 200, 404, 200, 404]),
    ("GET",    "/resources",                   [200, 200, 200, 200, 200, 200]),
    ("GET",    "/resources/{resource}",        [200, 200, 200, 404, 200, 404]),
    ("GET",    "/prompts",                     [200, 200, 200, 200, 200, 200]),
    ("GET",    "/prompts/{prompt}",            [200, 200, 200, 404, 200, 404]),
    ("GET",    "/gateways",                    [200, 200, 200, 200, 200, 200]),
    ("GET",    "/gateways/{gateway}",          [200, 200, 200, 200, 200, 200]),
];

pub(crate) const CALLERS: [&str; 6] = ["viewer", "developer", "owner", "stranger", "platform", "public"];

/// Tokens of [`CALLERS`].
pub(crate) async fn good_tokens(specimen: &SeededDatabase) -> [String; 6] {
    let team = id_of(specimen, "team-1").await;
    let other = id_of(specimen, "team-2").await;
    [
        token("user-3@example.com", json!([team])),
        token("user-2@example.com", json!([team])),
        token("user-1@example.com", json!([team])),
        token("user-21@example.com", json!([other])),
        token("admin@example.com", json!(null)),
        token("user-2@example.com", json!([])),
    ]
}

/// Tokens that nobody is let in with, and why. All say that they are the platform administrator's, or a user's who
/// could otherwise read.
async fn bad_tokens(specimen: &SeededDatabase) -> Vec<(&'static str, Option<String>)> {
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
pub(crate) async fn path_of(specimen: &SeededDatabase, path: &str) -> String {
    // Of the fixture's entities those that belong to team 1.
    let entities = [
        ("{tool}", "tool-33"),
        ("{server}", "server-4"),
        ("{resource}", "resource-4"),
        ("{prompt}", "prompt-4"),
        ("{gateway}", "gateway-2"),
    ];
    let mut path = path.to_owned();
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

pub(crate) async fn specimen() -> SeededDatabase {
    let specimen = SeededDatabase::start().await;
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
async fn revoked_tokens_and_disabled_users_are_denied_after_the_next_read() {
    let specimen = specimen().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let bad = bad_tokens(&specimen).await;
    let revoked = bad[5].1.as_deref().unwrap();
    assert_eq!(gateway.get("/tools", revoked).await.status, 200, "the replica has not read it");
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
