//! Passwords and teams.

use std::collections::BTreeSet;

use axum::http::Method;
use gateway_under_test::rbac::permissions::is_known;
use gateway_under_test::settings::{Audit, SessionScope};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, PASSWORD, SeededDatabase, id_of, token};

const DEVELOPER: &str = "user-2@example.com";

async fn start() -> (SeededDatabase, Gateway) {
    let specimen = SeededDatabase::start().await;
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
    assert_eq!(gateway.get("/metrics", &token).await.status, 403);
    let admin = log_in(&gateway, "dbadmin-1@example.com", PASSWORD).await.json();
    assert_eq!(gateway.get("/metrics", admin["access_token"].as_str().unwrap()).await.status, 200);
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
async fn the_data_sets_roles_grant_existing_permissions_only() {
    let (specimen, _gateway) = start().await;
    let rows = "SELECT DISTINCT json_array_elements_text(permissions) FROM roles";
    let rows = specimen.database.query(rows, &[]).await.unwrap();
    let granted: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(granted.contains("tools.execute"), "{granted:?}");
    let unknown: Vec<&String> = granted.iter().filter(|permission| !is_known(permission)).collect();
    assert_eq!(unknown, [""; 0]);
    specimen.end().await;
}

#[tokio::test]
async fn a_former_administrator_sees_what_everybody_sees() {
    let (specimen, gateway) = start().await;
    let admin = token("dbadmin-1@example.com", Value::Null);
    let hidden = format!("/tools/{}", id_of(&specimen, "tool-33").await);
    assert_eq!(gateway.get(&hidden, &admin).await.status, 200);
    let demote = "UPDATE email_users SET is_admin = false WHERE email = 'dbadmin-1@example.com';
        UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE name = 'platform_viewer')
        WHERE user_email = 'dbadmin-1@example.com'";
    specimen.database.batch_execute(demote).await.unwrap();
    assert_eq!(gateway.get(&hidden, &admin).await.status, 404);
}

#[tokio::test]
async fn a_team_that_has_ended_gives_nothing_to_its_members() {
    let (specimen, gateway) = start().await;
    let team = id_of(&specimen, "team-1").await;
    let developer = token("user-2@example.com", json!([team]));
    let tool = format!("/tools/{}", id_of(&specimen, "tool-33").await);
    assert_eq!(gateway.get(&tool, &developer).await.status, 200);
    let ended = "UPDATE email_teams SET is_active = false WHERE id = $1";
    specimen.database.execute(ended, &[&team]).await.unwrap();
    assert_eq!(gateway.get(&tool, &developer).await.status, 404);
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

#[tokio::test]
async fn the_audit_keeps_who_asked_for_what_when_it_is_on() {
    let (specimen, silent) = start().await;
    let team = id_of(&specimen, "team-1").await;
    let developer = token(DEVELOPER, json!([team]));
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
