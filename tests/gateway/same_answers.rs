//! A session scope decides for how long a session is held, and never who may do what.

use std::sync::Arc;

use gateway_under_test::settings::SessionScope;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::gateway::{Gateway, SeededDatabase, claims, id_of, sign};

const ROLES: [&str; 4] = ["platform_viewer", "viewer", "developer", "team_admin"];
const USER: &str = "user-7@example.com";

/// Roles that the user has, with the team they are bound to and whether they count, and the token they bring.
#[derive(Clone, Debug)]
struct Case {
    roles: Vec<(usize, Option<usize>, bool)>,
    is_admin: bool,
    /// Index of the teams that the token names; `None` for `null`.
    teams: Option<Vec<usize>>,
    says_admin: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let role = (0..ROLES.len(), prop::option::of(0..3_usize), prop::bool::weighted(0.8));
    (
        prop::collection::vec(role, 0..4),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.8, prop::collection::vec(0..3_usize, 0..3)),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(roles, is_admin, teams, says_admin)| Case { roles, is_admin, teams, says_admin })
}

/// Makes the database as the case says, and gives the token.
async fn prepare(specimen: &SeededDatabase, teams: &[String], case: &Case) -> String {
    let database = &specimen.database;
    database.execute("DELETE FROM user_roles WHERE user_email = $1", &[&USER]).await.unwrap();
    database.execute("UPDATE email_users SET is_admin = $2 WHERE email = $1", &[&USER, &case.is_admin]).await.unwrap();
    for (number, (role, team, counts)) in case.roles.iter().enumerate() {
        let insert = "INSERT INTO user_roles (id, user_email, role_id, scope, scope_id, granted_by, expires_at) \
                      SELECT $1, $2, id, CASE WHEN $4::text IS NULL THEN 'global' ELSE 'team' END, $4, \
                      'admin@example.com', CASE WHEN $5 THEN NULL ELSE now() - interval '1 second' END \
                      FROM roles WHERE name = $3";
        let team = team.map(|index| teams[index].clone());
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&format!("case-{number}"), &USER, &ROLES[*role], &team, counts];
        database.execute(insert, &params).await.unwrap();
    }
    let mut claims = claims(USER, "case");
    claims["is_admin"] = json!(case.says_admin);
    claims["teams"] =
        case.teams.as_ref().map_or(Value::Null, |named| named.iter().map(|index| json!(teams[*index])).collect());
    sign(&claims)
}

/// Answers of all routes to a caller.
async fn answers(gateway: &Gateway, token: &str, hidden: &str) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    for (method, path) in [
        ("GET", "/tools"),
        ("GET", "/servers"),
        ("GET", "/prompts?limit=3"),
        ("GET", "/gateways/nowhere"),
        ("GET", "/metrics"),
        ("GET", hidden),
    ] {
        let answer = gateway.ask(&method.parse().unwrap(), path, Some(token), None).await;
        answers.push((answer.status, answer.body));
    }
    let call = gateway.rpc("tools/call", json!({ "name": "nowhere" }), token).await;
    answers.push((200, call.to_string()));
    answers
}

#[test]
fn every_session_scope_gives_the_same_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (specimen, gateways, teams, hidden) = runtime.block_on(async {
        let specimen = SeededDatabase::start().await;
        let mut gateways = Vec::new();
        for scope in SessionScope::ALL {
            gateways.push((scope, specimen.gateway(scope)));
        }
        let mut teams = Vec::new();
        for team in ["team-1", "team-2", "team-3"] {
            teams.push(id_of(&specimen, team).await);
        }
        let hidden = format!("/servers/{}", id_of(&specimen, "server-4").await);
        (Arc::new(specimen), gateways, teams, hidden)
    });
    let mut statuses = std::collections::BTreeSet::new();
    let seen = std::cell::RefCell::new(&mut statuses);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&cases(), |case| {
        runtime.block_on(async {
            let token = prepare(&specimen, &teams, &case).await;
            let wanted = answers(&gateways[0].1, &token, &hidden).await;
            seen.borrow_mut().extend(wanted.iter().map(|(status, _)| *status));
            for (scope, gateway) in &gateways[1..] {
                prop_assert_eq!(&answers(gateway, &token, &hidden).await, &wanted, "{}", scope.name());
            }
            Ok(())
        })
    });
    outcome.unwrap();
    assert_eq!(statuses, [200, 403, 404].into(), "the cases were of all sorts");
}
