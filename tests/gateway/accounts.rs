//! Passwords and teams.

use std::collections::BTreeSet;

use axum::http::Method;
use gateway_under_test::rbac::permissions::is_known;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, PASSWORD, Specimen, id_of, token};

async fn start() -> (Specimen, Gateway) {
    let specimen = Specimen::start().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    (specimen, gateway)
}

async fn log_in(gateway: &Gateway, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    gateway.ask(&Method::POST, "/auth/email/login", None, Some(&body)).await
}

#[tokio::test]
async fn a_password_gives_a_token_for_what_its_user_is() {
    let (specimen, gateway) = start().await;
    let answer = log_in(&gateway, "user-1@example.com", PASSWORD).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(gateway.get("/auth/email/me", &token).await.json()["email"], "user-1@example.com");
    let team_tool = format!("/tools/{}", id_of(&specimen, "tool-33").await);
    assert_eq!(gateway.get(&team_tool, &token).await.status, 200, "it speaks for the user's team");
    assert_eq!(gateway.get("/rbac/roles", &token).await.status, 403);
    let admin = log_in(&gateway, "dbadmin-1@example.com", PASSWORD).await.json();
    assert_eq!(gateway.get("/rbac/roles", admin["access_token"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn who_cannot_log_in_does_not_learn_why() {
    let (specimen, gateway) = start().await;
    specimen
        .database
        .batch_execute("UPDATE email_users SET is_active = false WHERE email = 'user-5@example.com'")
        .await
        .unwrap();
    let refused = log_in(&gateway, "user-1@example.com", "wrong").await;
    assert_eq!((refused.status, refused.json()["detail"].as_str()), (401, Some("Invalid email or password")));
    for (email, password) in [
        ("user-5@example.com", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("nobody\0@example.com", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("user-1@example.com", ""),
    ] {
        assert_eq!(log_in(&gateway, email, password).await, refused, "{email}");
    }
}

#[tokio::test]
async fn five_wrong_passwords_lock_the_account_and_time_unlocks_it() {
    let (specimen, gateway) = start().await;
    for _ in 0..5 {
        assert_eq!(log_in(&gateway, "user-2@example.com", "wrong").await.status, 401);
    }
    assert_eq!(log_in(&gateway, "user-2@example.com", PASSWORD).await.status, 401, "locked");
    assert_eq!(log_in(&gateway, "user-3@example.com", PASSWORD).await.status, 200, "nobody else is");
    let later = "UPDATE email_users SET locked_until = now() - interval '1 second' WHERE email = 'user-2@example.com'";
    specimen.database.batch_execute(later).await.unwrap();
    assert_eq!(log_in(&gateway, "user-2@example.com", PASSWORD).await.status, 200);
    assert_eq!(log_in(&gateway, "user-2@example.com", "wrong").await.status, 401);
    assert_eq!(log_in(&gateway, "user-2@example.com", PASSWORD).await.status, 200, "counted anew");
}

#[tokio::test]
async fn a_team_is_made_filled_emptied_and_ended() {
    let (specimen, gateway) = start().await;
    let admin = token("admin@example.com", Value::Null);
    let ask = async |method: Method, path: &str, token: &str, body: Value| {
        gateway.ask(&method, path, Some(token), Some(&body)).await
    };
    let made = ask(Method::POST, "/teams", &admin, json!({ "name": "Night Shift", "max_members": 2 })).await;
    assert_eq!((made.status, made.json()["slug"].as_str()), (201, Some("night-shift")), "{made:?}");
    let again = ask(Method::POST, "/teams", &admin, json!({ "name": "night shift" })).await;
    assert_eq!(again.status, 409, "{again:?}");
    let path = format!("/teams/{}", made.json()["id"].as_str().unwrap());
    let members = format!("{path}/members");
    let join = |email: &str| json!({ "email": email });
    assert_eq!(ask(Method::POST, &members, &admin, join("user-2@example.com")).await.status, 201);
    let full = ask(Method::POST, &members, &admin, join("user-3@example.com")).await;
    assert_eq!(full.status, 422, "{full:?}");
    assert_eq!(ask(Method::POST, &members, &admin, join("nobody@example.com")).await.status, 422);
    let listed = gateway.get(&members, &admin).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let member = token("user-2@example.com", json!([made.json()["id"]]));
    assert_eq!(gateway.get(&path, &member).await.json()["member_count"], 2);
    let last = ask(Method::DELETE, &format!("{members}/admin@example.com"), &admin, json!({})).await;
    assert_eq!(last.status, 422, "the last owner stays: {last:?}");
    let demoted = ask(Method::POST, &members, &admin, json!({ "email": "admin@example.com", "role": "member" })).await;
    assert_eq!(demoted.status, 422, "and stays its owner: {demoted:?}");
    let out = format!("{members}/user-2@example.com");
    assert_eq!(ask(Method::DELETE, &out, &admin, json!({})).await.status, 200);
    assert_eq!(ask(Method::DELETE, &out, &admin, json!({})).await.status, 404);
    assert_eq!(gateway.get(&path, &member).await.status, 404, "whoever was put out is out at once");
    assert_eq!(ask(Method::DELETE, &path, &admin, json!({})).await.status, 200);
    assert_eq!(gateway.get(&path, &admin).await.status, 404);
    specimen.end().await;
}

#[tokio::test]
async fn an_owner_of_one_team_changes_that_one_only() {
    let (specimen, gateway) = start().await;
    let (mine, other) = (id_of(&specimen, "team-1").await, id_of(&specimen, "team-2").await);
    let owner = token("user-1@example.com", json!([mine]));
    let body = json!({ "description": "ours" });
    let changed = gateway.ask(&Method::PUT, &format!("/teams/{mine}"), Some(&owner), Some(&body)).await;
    assert_eq!((changed.status, &changed.json()["description"]), (200, &json!("ours")), "{changed:?}");
    let refused = gateway.ask(&Method::PUT, &format!("/teams/{other}"), Some(&owner), Some(&body)).await;
    assert!([403, 404].contains(&refused.status), "{refused:?}");
    let listed = gateway.get("/teams", &owner).await.json();
    assert_eq!((&listed["total"], &listed["teams"][0]["id"]), (&json!(1), &json!(mine)));
}

#[tokio::test]
async fn the_roles_of_the_data_set_grant_permissions_that_there_are_and_no_others() {
    let (specimen, gateway) = start().await;
    let admin = token("admin@example.com", Value::Null);
    let roles = gateway.get("/rbac/roles", &admin).await.json();
    let granted: BTreeSet<&str> = roles
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|role| role["permissions"].as_array().unwrap())
        .map(|it| it.as_str().unwrap())
        .collect();
    assert!(granted.contains("tools.execute"), "{granted:?}");
    let unknown: Vec<_> = granted.iter().filter(|permission| !is_known(permission)).collect();
    assert_eq!(unknown, [&""; 0]);
    let available = gateway.get("/rbac/permissions/available", &admin).await.json();
    assert_eq!(available["total_count"], available["all_permissions"].as_array().unwrap().len());
    specimen.end().await;
}

#[tokio::test]
async fn who_is_no_administrator_any_more_sees_what_everybody_sees_whatever_the_token_says() {
    let (specimen, gateway) = start().await;
    let admin = token("dbadmin-1@example.com", Value::Null);
    let hidden = format!("/tools/{}", id_of(&specimen, "tool-33").await);
    assert_eq!(gateway.get(&hidden, &admin).await.status, 200);
    let demote = "UPDATE email_users SET is_admin = false WHERE email = 'dbadmin-1@example.com';
        UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE name = 'platform_viewer')
        WHERE user_email = 'dbadmin-1@example.com'";
    specimen.database.batch_execute(demote).await.unwrap();
    assert_eq!(gateway.get(&hidden, &admin).await.status, 404);
    assert_eq!(gateway.get("/teams", &admin).await.json()["total"], 0);
    let body = json!({ "name": "more" });
    let made = gateway.ask(&Method::POST, "/tokens", Some(&admin), Some(&body)).await.json();
    let made = made["access_token"].as_str().unwrap();
    assert_eq!(gateway.get(&hidden, made).await.status, 404, "and makes no token that sees more");
}

#[tokio::test]
async fn a_team_that_has_ended_gives_nothing_to_its_members() {
    let (specimen, gateway) = start().await;
    let team = id_of(&specimen, "team-1").await;
    let developer = token("user-2@example.com", json!([team]));
    let tool = format!("/tools/{}", id_of(&specimen, "tool-33").await);
    assert_eq!(gateway.get(&tool, &developer).await.status, 200);
    let admin = token("admin@example.com", Value::Null);
    assert_eq!(gateway.ask(&Method::DELETE, &format!("/teams/{team}"), Some(&admin), None).await.status, 200);
    assert_eq!(gateway.get(&tool, &developer).await.status, 404);
    let made = json!({ "tool": { "name": "made", "url": "http://127.0.0.1:9/" } });
    assert_eq!(gateway.ask(&Method::POST, "/tools", Some(&developer), Some(&made)).await.status, 403);
}

#[tokio::test]
async fn a_role_adds_what_it_inherits_and_counts_only_while_it_is_in_force() {
    let (specimen, gateway) = start().await;
    let viewer = token("user-3@example.com", json!([id_of(&specimen, "team-1").await]));
    let may = async || gateway.get("/metrics", &viewer).await.status == 200;
    assert!(!may().await);
    // A role of nothing, which inherits from one of nothing, which inherits from one that reads metrics.
    let roles = "INSERT INTO roles (id, name, scope, permissions, inherits_from, created_by) VALUES
        ('a', 'a', 'global', '[\"metrics:read\"]', NULL, 'system'), ('b', 'b', 'global', '[]', 'a', 'system'),
        ('c', 'c', 'global', '[]', 'b', 'system');
        INSERT INTO user_roles (id, user_email, role_id, scope, granted_by)
        VALUES ('g', 'user-3@example.com', 'c', 'global', 'admin@example.com')";
    specimen.database.batch_execute(roles).await.unwrap();
    assert!(may().await);
    for (off, on) in [
        (
            "UPDATE user_roles SET expires_at = now() WHERE id = 'g'",
            "UPDATE user_roles SET expires_at = NULL WHERE id = 'g'",
        ),
        (
            "UPDATE user_roles SET is_active = false WHERE id = 'g'",
            "UPDATE user_roles SET is_active = true WHERE id = 'g'",
        ),
        ("UPDATE roles SET is_active = false WHERE id = 'c'", "UPDATE roles SET is_active = true WHERE id = 'c'"),
    ] {
        specimen.database.batch_execute(off).await.unwrap();
        assert!(!may().await, "{off}");
        specimen.database.batch_execute(on).await.unwrap();
        assert!(may().await, "{on}");
    }
    specimen.end().await;
}
