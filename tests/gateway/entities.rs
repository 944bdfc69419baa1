//! What lists and single entities show, and to whom.

use std::collections::BTreeSet;

use axum::http::Method;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Specimen, id_of, token};

async fn start() -> (Specimen, Gateway, String) {
    let specimen = Specimen::start().await;
    let gateway = specimen.gateway(SessionScope::Scoped);
    let owner = token("user-1@example.com", json!([id_of(&specimen, "team-1").await]));
    (specimen, gateway, owner)
}

fn ids(entities: &Value) -> Vec<String> {
    entities.as_array().unwrap().iter().map(|entity| entity["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_read_page_by_page_is_the_whole_list_once() {
    let (_specimen, gateway, owner) = start().await;
    for kind in ["tools", "servers", "resources", "prompts", "gateways"] {
        let whole = ids(&gateway.get(&format!("/{kind}"), &owner).await.json());
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/{kind}?include_pagination=true&limit=2{cursor}");
            let page = gateway.get(&path, &owner).await.json();
            let of_page = ids(&page[kind]);
            assert!((1..=2).contains(&of_page.len()), "{page}");
            paged.extend(of_page);
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{kind}");
    }
}

#[tokio::test]
async fn filters_narrow_a_list_and_nonsense_is_refused() {
    let (specimen, gateway, owner) = start().await;
    let team = id_of(&specimen, "team-1").await;
    let other = id_of(&specimen, "team-2").await;
    let of_team = gateway.get(&format!("/tools?team_id={team}"), &owner).await.json();
    assert!(!ids(&of_team).is_empty());
    assert!(of_team.as_array().unwrap().iter().all(|tool| tool["teamId"] == json!(team)), "{of_team}");
    for path in [format!("/tools?team_id={other}"), "/tools?tags=nobody-uses".to_owned()] {
        assert_eq!(ids(&gateway.get(&path, &owner).await.json()), [""; 0], "{path}");
    }
    let upstream = gateway.get("/tools?tags=upstream,other", &owner).await.json();
    assert_eq!(ids(&upstream).len(), 5, "{upstream}");
    for query in ["limit=0", "limit=501", "limit=ten", "cursor=x", "cursor=1e9-x", "include_inactive=perhaps"] {
        let answer = gateway.get(&format!("/tools?{query}"), &owner).await;
        assert_eq!(answer.status, 422, "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn an_entity_that_was_switched_off_is_in_no_list_unless_asked_for() {
    let (specimen, gateway, owner) = start().await;
    let id = id_of(&specimen, "server-4").await;
    let off = gateway.ask(&Method::POST, &format!("/servers/{id}/state?activate=false"), Some(&owner), None).await;
    assert_eq!(off.json()["server"]["enabled"], false, "{off:?}");
    assert!(!ids(&gateway.get("/servers", &owner).await.json()).contains(&id));
    assert!(ids(&gateway.get("/servers?include_inactive=true", &owner).await.json()).contains(&id));
    let server = gateway.get(&format!("/servers/{id}"), &owner).await.json();
    assert_eq!(
        (&server["enabled"], &server["version"], &server["modifiedBy"]),
        (&json!(false), &json!(2), &json!("user-1@example.com"))
    );
}

#[tokio::test]
async fn a_row_that_another_transaction_holds_is_a_conflict_and_not_a_wait() {
    let (mut specimen, gateway, owner) = start().await;
    let id = id_of(&specimen, "server-4").await;
    let holder = specimen.database.transaction().await.unwrap();
    holder.execute("SELECT FROM servers WHERE id = $1 FOR UPDATE", &[&id]).await.unwrap();
    let answer = gateway.ask(&Method::POST, &format!("/servers/{id}/state"), Some(&owner), None).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    holder.rollback().await.unwrap();
    let answer = gateway.ask(&Method::POST, &format!("/servers/{id}/state"), Some(&owner), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn what_another_team_has_is_not_there_by_id_by_list_by_search_or_by_error() {
    let (specimen, gateway, _) = start().await;
    let other = id_of(&specimen, "team-2").await;
    let stranger = token("user-21@example.com", json!([other]));
    // A token that names a team its bearer is not in speaks for that team no more than one that names none.
    let pretender = token("user-21@example.com", json!([id_of(&specimen, "team-1").await]));
    let hidden_tools = "SELECT id, name FROM tools WHERE visibility <> 'public' AND team_id IS DISTINCT FROM $1 \
                        AND owner_email <> 'user-21@example.com'";
    let hidden = specimen.database.query(hidden_tools, &[&other]).await.unwrap();
    assert!(hidden.len() > 5, "the fixture has tools to hide");
    for token in [&stranger, &pretender] {
        let mut seen = BTreeSet::new();
        for path in ["/tools", "/tools?limit=500&include_inactive=true", "/tools?tags=catalogue&limit=500", "/admin/"] {
            let answer = gateway.get(path, token).await;
            assert_eq!(answer.status, 200);
            seen.extend(
                hidden
                    .iter()
                    .filter(|tool| {
                        answer.body.contains(tool.get::<_, &str>(0))
                            || answer.body.contains(&format!("\"{}\"", tool.get::<_, &str>(1)))
                    })
                    .map(|tool| tool.get::<_, String>(1)),
            );
        }
        assert_eq!(seen, BTreeSet::new());
        for tool in &hidden {
            let (id, name): (String, String) = (tool.get(0), tool.get(1));
            for (method, suffix) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/state")] {
                let there = gateway.ask(&method, &format!("/tools/{id}{suffix}"), Some(token), None).await;
                let nowhere = gateway.ask(&method, &format!("/tools/nowhere{suffix}"), Some(token), None).await;
                assert_eq!(there, nowhere, "{method} {name}{suffix}");
            }
            let called = |name: &str| json!({ "name": name, "arguments": {} });
            let there = gateway.rpc("tools/call", called(&name), token).await;
            assert_eq!(there, gateway.rpc("tools/call", called("nowhere"), token).await, "{name}");
        }
    }
}

#[tokio::test]
async fn ids_that_mean_harm_name_nothing() {
    let (_specimen, gateway, owner) = start().await;
    let harmful = [
        "'; DROP TABLE tools; --",
        "1 OR 1=1",
        "../../etc/passwd",
        "\0",
        "<script>alert(1)</script>",
        "%",
        "🦀",
        &"x".repeat(5000),
    ];
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    for id in harmful {
        for kind in ["tools", "servers", "resources", "prompts", "gateways"] {
            for method in [Method::GET, Method::DELETE] {
                let answer = gateway.ask(&method, &format!("/{kind}/{}", percent(id)), Some(&owner), None).await;
                assert_eq!(
                    (answer.status, answer.body.as_str()),
                    (404, r#"{"detail":"Resource not found"}"#),
                    "{id:?}"
                );
            }
        }
        let answer = gateway.get(&format!("/tools?tags={0}&team_id={0}", percent(id)), &owner).await;
        assert!(answer.status == 200 || answer.status == 422, "{id:?}: {answer:?}");
    }
    assert!(ids(&gateway.get("/tools", &owner).await.json()).len() > 20, "nothing was lost");
}
