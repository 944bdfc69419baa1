//! Visibility of lists and single entities.

use std::collections::BTreeSet;

use axum::http::Method;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::gateway::{Gateway, SeededDatabase, id_of, token};

async fn start() -> (SeededDatabase, Gateway, String) {
    let specimen = SeededDatabase::start().await;
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
async fn a_disabled_entity_is_listed_only_on_request() {
    let (specimen, gateway, owner) = start().await;
    let id = id_of(&specimen, "server-4").await;
    specimen.database.execute("UPDATE servers SET enabled = false WHERE id = $1", &[&id]).await.unwrap();
    assert!(!ids(&gateway.get("/servers?limit=50", &owner).await.json()).contains(&id));
    assert!(!ids(&gateway.get("/servers", &owner).await.json()).contains(&id));
    assert!(ids(&gateway.get("/servers?include_inactive=true", &owner).await.json()).contains(&id));
    assert_eq!(gateway.get(&format!("/servers/{id}"), &owner).await.json()["enabled"], false);
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
            let there = gateway.get(&format!("/tools/{id}"), token).await;
            assert_eq!(there, gateway.get("/tools/nowhere", token).await, "{name}");
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
            let answer = gateway.get(&format!("/{kind}/{}", percent(id)), &owner).await;
            assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"detail":"Resource not found"}"#), "{id:?}");
        }
        let answer = gateway.get(&format!("/tools?tags={0}&team_id={0}", percent(id)), &owner).await;
        assert!(answer.status == 200 || answer.status == 422, "{id:?}: {answer:?}");
    }
    assert!(ids(&gateway.get("/tools", &owner).await.json()).len() > 20, "nothing was lost");
}

#[tokio::test]
async fn a_virtual_server_answers_for_what_it_offers_and_nothing_else() {
    let (specimen, gateway, owner) = start().await;
    let mcp = async |server: &str, method: &str, params: Value| {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        gateway.ask(&Method::POST, &format!("/servers/{server}/mcp"), Some(&owner), Some(&call)).await.json()
    };
    // Server 1 offers resource 2 and prompt 2.
    let server = id_of(&specimen, "server-1").await;
    let read = |n: u32| json!({ "uri": format!("memo://notes/{n}") });
    assert!(mcp(&server, "resources/read", read(2)).await["result"].is_object());
    assert!(mcp(&server, "resources/read", read(4)).await["error"].is_object());
    assert!(mcp(&server, "prompts/get", json!({ "name": "prompt-2" })).await["result"].is_object());
    assert!(mcp(&server, "prompts/get", json!({ "name": "prompt-4" })).await["error"].is_object());
    for nowhere in ["nowhere", &id_of(&specimen, "server-5").await[..3]] {
        assert!(mcp(nowhere, "resources/read", read(2)).await["error"].is_object());
        assert!(mcp(nowhere, "tools/list", json!({})).await["error"].is_object());
    }
    specimen.database.execute("UPDATE servers SET enabled = false WHERE id = $1", &[&server]).await.unwrap();
    let call = mcp(&server, "tools/call", json!({ "name": "echo", "arguments": {} })).await;
    assert_eq!(call["error"]["message"], "Resource not found", "{call}");
}

#[tokio::test]
async fn the_list_of_servers_names_no_tool_that_its_reader_may_not_see() {
    let (specimen, gateway, owner) = start().await;
    let stranger = token("user-45@example.com", json!([id_of(&specimen, "team-3").await]));
    for (reader, path) in [(&owner, "/servers?limit=50"), (&stranger, "/servers?limit=50")] {
        let visible = gateway.get("/tools?limit=500&include_inactive=true", reader).await.json();
        let visible: Vec<_> = visible.as_array().unwrap().iter().map(|tool| tool["id"].clone()).collect();
        let servers = gateway.get(path, reader).await.json();
        let named: Vec<_> =
            servers.as_array().unwrap().iter().flat_map(|it| it["associatedTools"].as_array().unwrap()).collect();
        assert!(!named.is_empty());
        assert!(named.iter().all(|id| visible.contains(id)), "{named:?}");
    }
}

#[tokio::test]
async fn tags_are_counted_among_visible_entities() {
    let (specimen, gateway, _) = start().await;
    let admin = token("admin@example.com", Value::Null);
    let rare = "UPDATE resources SET tags = '[\"rare\"]', visibility = 'private', owner_email = 'user-1@example.com' \
                WHERE name = 'note-4'";
    specimen.database.batch_execute(rare).await.unwrap();
    let tags = gateway.get("/tags", &admin).await.json();
    let of =
        |name: &str| tags.as_array().unwrap().iter().find(|tag| tag["name"] == name).map(|tag| tag["stats"].clone());
    assert_eq!(of("rare"), None, "it is private: {tags}");
    let upstream = of("upstream").unwrap();
    assert_eq!((&upstream["tools"], &upstream["gateways"], &upstream["total"]), (&json!(5), &json!(3), &json!(8)));
    specimen.database.batch_execute("UPDATE resources SET visibility = 'public' WHERE name = 'note-4'").await.unwrap();
    let tags = gateway.get("/tags", &admin).await.json();
    assert!(tags.as_array().unwrap().iter().any(|tag| tag["name"] == "rare"), "{tags}");
}

#[tokio::test]
async fn a_token_for_two_teams_has_the_roles_of_its_first_and_sees_both() {
    let (specimen, gateway, _) = start().await;
    let (team, other) = (id_of(&specimen, "team-1").await, id_of(&specimen, "team-2").await);
    // user-4 is in team 1; in team 2 they have a role of no use, which reads metrics.
    let joined = "INSERT INTO email_team_members (id, team_id, user_email, role) \
                  VALUES ('joined', md5('team-2'), 'user-4@example.com', 'member');
                  INSERT INTO roles (id, name, scope, permissions, created_by) \
                  VALUES ('reader', 'reader', 'team', '[\"metrics:read\"]', 'system');
                  INSERT INTO user_roles (id, user_email, role_id, scope, scope_id, granted_by) \
                  VALUES ('reads', 'user-4@example.com', 'reader', 'team', md5('team-2'), 'admin@example.com')";
    specimen.database.batch_execute(joined).await.unwrap();
    let first_own = token("user-4@example.com", json!([team, other]));
    let first_other = token("user-4@example.com", json!([other, team]));
    let of_other = "UPDATE servers SET team_id = md5('team-2'), visibility = 'team' WHERE name = 'server-5'";
    specimen.database.batch_execute(of_other).await.unwrap();
    for token in [&first_own, &first_other] {
        for server in ["server-4", "server-5"] {
            let path = format!("/servers/{}", id_of(&specimen, server).await);
            assert_eq!(gateway.get(&path, token).await.status, 200, "{server}");
        }
    }
    assert_eq!(gateway.get("/metrics", &first_own).await.status, 403);
    assert_eq!(gateway.get("/metrics", &first_other).await.status, 200);
    // A team that the user has left counts no more, though the token names it.
    let left = "UPDATE email_team_members SET is_active = false WHERE id = 'joined'";
    specimen.database.batch_execute(left).await.unwrap();
    let path = format!("/servers/{}", id_of(&specimen, "server-5").await);
    assert_eq!(gateway.get(&path, &first_other).await.status, 404);
    assert_eq!(gateway.get("/metrics", &first_other).await.status, 403);
}

#[tokio::test]
async fn a_body_of_another_type_than_json_is_not_read() {
    let (_specimen, gateway, owner) = start().await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (kind, wanted) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
        ("application/jsonp", 415),
    ] {
        let answer = gateway.send_as(kind, &Method::POST, "/rpc", Some(&owner), ping.to_owned()).await;
        assert_eq!(answer.status, wanted, "{kind}: {answer:?}");
        let login = gateway.send_as(kind, &Method::POST, "/auth/email/login", None, "{}".to_owned()).await;
        assert_eq!(login.status == 415, wanted == 415, "{kind}: {login:?}");
    }
}
