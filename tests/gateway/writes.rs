//! Making and changing entities, and what is refused.

use axum::http::Method;
use gateway_under_test::settings::SessionScope;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, Specimen, id_of, token};

const OWNER: &str = "user-1@example.com";

async fn start(scope: SessionScope) -> (Specimen, Gateway, String, String) {
    let specimen = Specimen::start().await;
    let gateway = specimen.gateway(scope);
    let team = id_of(&specimen, "team-1").await;
    let owner = token(OWNER, json!([team]));
    (specimen, gateway, team, owner)
}

async fn post(gateway: &Gateway, path: &str, token: &str, body: &Value) -> Answer {
    gateway.ask(&Method::POST, path, Some(token), Some(body)).await
}

async fn put(gateway: &Gateway, path: &str, token: &str, body: &Value) -> Answer {
    gateway.ask(&Method::PUT, path, Some(token), Some(body)).await
}

fn id(answer: &Answer) -> String {
    assert!(answer.status < 300, "{answer:?}");
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[tokio::test]
async fn what_was_made_is_read_changed_and_deleted_in_every_kind_and_scope() {
    let makes = [
        (
            "tools",
            json!({ "tool": { "name": "made", "url": "http://127.0.0.1:9/", "inputSchema": { "type": "object" } } }),
        ),
        ("servers", json!({ "server": { "name": "made" } })),
        ("resources", json!({ "resource": { "uri": "memo://made", "name": "made", "content": "text" } })),
        (
            "prompts",
            json!({ "prompt": { "name": "made", "template": "Say {{ word }}",
            "arguments": [{ "name": "word", "required": true }] } }),
        ),
        ("gateways", json!({ "name": "made", "url": "http://127.0.0.1:9/mcp" })),
    ];
    for scope in [SessionScope::Held, SessionScope::Scoped] {
        let (specimen, gateway, _, owner) = start(scope).await;
        for (kind, body) in &makes {
            let list = format!("/{kind}");
            let made = post(&gateway, &list, &owner, body).await;
            let path = format!("{list}/{}", id(&made));
            let made = made.json();
            assert_eq!(
                (&made["name"], &made["ownerEmail"], &made["visibility"], &made["version"], &made["enabled"]),
                (&json!("made"), &json!(OWNER), &json!("public"), &json!(1), &json!(true)),
                "{kind}: {made}"
            );
            assert_eq!(gateway.get(&path, &owner).await.json(), made, "{kind}");
            let again = post(&gateway, &list, &owner, body).await;
            assert_eq!(again.status, 409, "{kind}: {again:?}");
            assert!(again.body.contains("made exists already"), "{kind}: {again:?}");
            let changed =
                put(&gateway, &path, &owner, &json!({ "description": "new", "tags": ["a", "b"] })).await.json();
            assert_eq!(
                (&changed["description"], &changed["tags"], &changed["version"], &changed["modifiedBy"]),
                (&json!("new"), &json!(["a", "b"]), &json!(2), &json!(OWNER)),
                "{kind}: {changed}"
            );
            for kept in ["name", "createdAt", "ownerEmail", "visibility", "url", "template", "arguments", "uri"] {
                assert_eq!(changed[kept], made[kept], "{kind}: {kept} was not named, and stays");
            }
            assert_eq!(gateway.ask(&Method::DELETE, &path, Some(&owner), None).await.status, 200);
            assert_eq!(gateway.get(&path, &owner).await.status, 404, "{kind}");
        }
        specimen.end().await;
    }
}

#[tokio::test]
async fn nobody_makes_a_tool_of_the_backend_their_own_and_a_new_name_is_no_new_tool() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
    let admin = token("admin@example.com", Value::Null);
    let path = format!("/tools/{}", id_of(&specimen, "tool-slow-report").await);
    let code = async |name: &str| {
        let answer = gateway.rpc("tools/call", json!({ "name": name, "arguments": {} }), &owner).await;
        answer["error"]["code"].as_i64()
    };
    // −32000: the backend, which nobody runs here, was asked.
    assert_eq!(code("slow-report").await, Some(-32000));
    assert_eq!(put(&gateway, &path, &admin, &json!({ "name": "my-report" })).await.status, 200);
    assert_eq!((code("slow-report").await, code("my-report").await), (Some(-32000), Some(-32602)));
    assert_eq!(put(&gateway, &path, &admin, &json!({ "visibility": "private" })).await.status, 200);
    assert_eq!(code("slow-report").await, Some(-32602), "it is hidden");
    let tool = |kind: &str| json!({ "tool": { "name": "slow-report", "url": "http://127.0.0.1:9/", "integrationType": kind } });
    assert_eq!(post(&gateway, "/tools", &owner, &tool("MCP")).await.status, 422);
    assert_eq!(post(&gateway, "/tools", &owner, &tool("REST")).await.status, 200);
    assert_eq!(code("slow-report").await, Some(-32602), "one of the same name is another one");
}

#[tokio::test]
async fn what_one_worker_changes_another_one_knows() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
    let other = gateway.another_worker();
    let admin = token("admin@example.com", Value::Null);
    let call = async |gateway: &Gateway| {
        gateway.rpc("tools/call", json!({ "name": "echo", "arguments": {} }), &owner).await["error"]["code"].as_i64()
    };
    assert_eq!((call(&gateway).await, call(&other).await), (Some(-32000), Some(-32000)));
    let path = format!("/tools/{}/state?activate=false", id_of(&specimen, "tool-echo").await);
    assert_eq!(gateway.ask(&Method::POST, &path, Some(&admin), None).await.status, 200);
    assert_eq!((call(&gateway).await, call(&other).await), (Some(-32602), Some(-32602)));
}

#[tokio::test]
async fn a_permission_in_one_team_is_none_in_another() {
    let (specimen, gateway, team, _) = start(SessionScope::Scoped).await;
    let other = id_of(&specimen, "team-2").await;
    // user-2 develops in team 1, and only views in team 2.
    let views = "INSERT INTO email_team_members (id, team_id, user_email) VALUES ('m', md5('team-2'), 'user-2@example.com');
        INSERT INTO user_roles (id, user_email, role_id, scope, scope_id, granted_by) SELECT 'r', 'user-2@example.com', id,
        'team', md5('team-2'), 'admin@example.com' FROM roles WHERE name = 'viewer'";
    specimen.database.batch_execute(views).await.unwrap();
    let server = |team: &str| json!({ "server": { "name": "a" }, "team_id": team, "visibility": "team" });
    for teams in [json!([team, other]), json!([other, team])] {
        let developer = token("user-2@example.com", teams.clone());
        assert_eq!(post(&gateway, "/servers", &developer, &server(&other)).await.status, 403, "{teams}");
    }
    let developer = token("user-2@example.com", json!([team, other]));
    let made = post(&gateway, "/servers", &developer, &server(&team)).await;
    let path = format!("/servers/{}", id(&made));
    assert_eq!(put(&gateway, &path, &developer, &json!({ "teamId": other })).await.status, 403);
}

#[tokio::test]
async fn a_virtual_server_answers_for_what_it_offers_and_nothing_else() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
    let mcp = async |server: &str, method: &str, params: Value| {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        post(&gateway, &format!("/servers/{server}/mcp"), &owner, &call).await.json()
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
    let off = format!("/servers/{server}/state?activate=false");
    let admin = token("admin@example.com", Value::Null);
    assert_eq!(gateway.ask(&Method::POST, &off, Some(&admin), None).await.status, 200);
    let call = mcp(&server, "tools/call", json!({ "name": "echo", "arguments": {} })).await;
    assert_eq!(call["error"]["message"], "Resource not found", "{call}");
}

#[tokio::test]
async fn the_list_of_servers_names_no_tool_that_its_reader_may_not_see() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
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
async fn a_body_that_is_wrong_says_where_and_nothing_is_made() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
    let count = "SELECT (SELECT count(*) FROM tools) + (SELECT count(*) FROM servers) + (SELECT count(*) FROM prompts)";
    let before: i64 = specimen.database.query_one(count, &[]).await.unwrap().get(0);
    for (path, body, wanted) in [
        ("/tools", json!({ "name": "flat" }), "tool: an object is required"),
        ("/tools", json!({ "tool": { "url": "http://127.0.0.1:9/" } }), "name: required"),
        ("/tools", json!({ "tool": { "name": "a", "url": "javascript:alert(1)" } }), "url"),
        ("/tools", json!({ "tool": { "name": "a\u{0}", "url": "http://127.0.0.1:9/" } }), "name"),
        ("/tools", json!({ "tool": { "name": "a", "url": "http://127.0.0.1:9/" }, "visibility": "all" }), "visibility"),
        ("/tools", json!({ "tool": { "name": "a", "url": "http://127.0.0.1:9/", "description": "\u{0}" } }), ""),
        ("/servers", json!({ "server": { "name": "<b>bold</b>" } }), "name"),
        ("/servers", json!({ "server": { "name": "a", "associatedTools": ["nothing"] } }), "there is no `nothing`"),
        ("/servers", json!({ "server": { "name": "a" }, "visibility": 7 }), "string"),
        ("/prompts", json!({ "prompt": { "name": "a", "template": "{% for" } }), "template"),
        ("/prompts", json!([1, 2, 3]), "map"),
    ] {
        let answer = post(&gateway, path, &owner, &body).await;
        assert_eq!(answer.status, 422, "{path} {body}: {answer:?}");
        assert!(answer.body.contains(wanted), "{path} {body}: {answer:?}");
    }
    let after: i64 = specimen.database.query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
}

#[tokio::test]
async fn nobody_puts_a_thing_where_their_token_does_not_speak_for() {
    let (specimen, gateway, team, owner) = start(SessionScope::Scoped).await;
    let other = id_of(&specimen, "team-2").await;
    let server = |team: &str| json!({ "server": { "name": "a" }, "team_id": team, "visibility": "team" });
    assert_eq!(post(&gateway, "/servers", &owner, &server(&other)).await.status, 403);
    let made = post(&gateway, "/servers", &owner, &server(&team)).await;
    let path = format!("/servers/{}", id(&made));
    assert_eq!(put(&gateway, &path, &owner, &json!({ "teamId": other })).await.status, 403);
    let stranger = token("user-21@example.com", json!([other]));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = gateway.ask(&method, &path, Some(&stranger), Some(&json!({ "name": "b" }))).await;
        assert_eq!(answer.status, 404, "{method}: {answer:?}");
    }
    // Two teams may call theirs the same; a second one of one team, or in public, is one too many.
    assert_eq!(post(&gateway, "/servers", &stranger, &server(&other)).await.status, 201);
    assert_eq!(post(&gateway, "/servers", &owner, &server(&team)).await.status, 409);
}

#[tokio::test]
async fn a_token_for_two_teams_acts_by_the_roles_of_its_first_and_in_each_by_those_there() {
    let (specimen, gateway, team, _) = start(SessionScope::Scoped).await;
    let other = id_of(&specimen, "team-2").await;
    // The owner of team 1 looks on in team 2.
    let joined = "INSERT INTO email_team_members (id, team_id, user_email, role) VALUES ('joined', $1, $2, 'member')";
    specimen.database.execute(joined, &[&other, &OWNER]).await.unwrap();
    let role = "INSERT INTO user_roles (id, user_email, role_id, scope, scope_id, granted_by) \
                SELECT 'looks-on', $2, id, 'team', $1, 'admin@example.com' FROM roles WHERE name = 'viewer'";
    specimen.database.execute(role, &[&other, &OWNER]).await.unwrap();
    let (first_own, first_other) = (token(OWNER, json!([team, other])), token(OWNER, json!([other, team])));
    let server = |name: &str, team: &str| json!({ "server": { "name": name }, "team_id": team, "visibility": "team" });
    // `server-4` is team 1's; team 2 makes one of its own.
    let theirs = token("user-21@example.com", json!([other]));
    let made = post(&gateway, "/servers", &theirs, &server("theirs", &other)).await;
    for token in [&first_own, &first_other] {
        for id in [id_of(&specimen, "server-4").await, id(&made)] {
            assert_eq!(gateway.get(&format!("/servers/{id}"), token).await.status, 200, "both teams' are seen");
        }
    }
    for (token, team, wanted) in
        [(&first_own, &team, 201), (&first_own, &other, 403), (&first_other, &team, 403), (&first_other, &other, 403)]
    {
        let answer = post(&gateway, "/servers", token, &server("mine", team)).await;
        assert_eq!(answer.status, wanted, "in {team}: {answer:?}");
    }
    // A team that the user has left counts no more, though the token names it.
    let left = "UPDATE email_team_members SET is_active = false WHERE id = 'joined'";
    specimen.database.batch_execute(left).await.unwrap();
    assert_eq!(gateway.get(&format!("/servers/{}", id(&made)), &first_own).await.status, 404);
    assert_eq!(post(&gateway, "/servers", &first_other, &server("again", &team)).await.status, 201);
}

#[tokio::test]
async fn a_server_offers_what_it_was_given_to_those_who_may_see_it() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
    let ids = [id_of(&specimen, "tool-echo").await, id_of(&specimen, "tool-33").await];
    let (resource, prompt) = (id_of(&specimen, "resource-4").await, id_of(&specimen, "prompt-1").await);
    let body = json!({ "server": { "name": "mine", "associatedTools": ids, "associated_resources": [resource],
        "associatedPrompts": [prompt] } });
    let made = post(&gateway, "/servers", &owner, &body).await;
    let path = format!("/servers/{}", id(&made));
    assert_eq!(made.json()["associatedResources"], json!([resource]), "{made:?}");
    let names = async |list: &str, token: &str| {
        let listed = gateway.get(&format!("{path}/{list}"), token).await.json();
        listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let stranger = token("user-21@example.com", json!([id_of(&specimen, "team-2").await]));
    assert_eq!(names("tools", &owner).await, ["echo", "tool-33"]);
    assert_eq!(names("tools", &stranger).await, ["echo"], "tool-33 is a team's");
    assert_eq!(
        (names("resources", &owner).await, names("prompts", &owner).await),
        (vec!["note-4".into()], vec!["prompt-1".into()])
    );
    assert_eq!(names("resources", &stranger).await, [""; 0]);
    let mcp = async |method: &str| {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
        post(&gateway, &format!("{path}/mcp"), &owner, &call).await.json()["result"].clone()
    };
    assert_eq!(mcp("resources/list").await["resources"][0]["uri"], "memo://notes/4");
    assert_eq!(mcp("prompts/list").await["prompts"][0]["name"], "prompt-1");
    let changed = put(&gateway, &path, &owner, &json!({ "associatedTools": [], "associatedResources": [] })).await;
    assert_eq!((changed.status, names("tools", &owner).await.len(), names("prompts", &owner).await.len()), (200, 0, 1));
}

#[tokio::test]
async fn tags_are_counted_among_what_one_may_see() {
    let (specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
    let admin = token("admin@example.com", Value::Null);
    let body = json!({ "resource": { "uri": "memo://made", "name": "made", "content": "", "tags": ["rare"] },
        "visibility": "private" });
    let made = post(&gateway, "/resources", &owner, &body).await;
    assert_eq!(made.status, 200, "{made:?}");
    let tags = gateway.get("/tags", &admin).await.json();
    let of =
        |name: &str| tags.as_array().unwrap().iter().find(|tag| tag["name"] == name).map(|tag| tag["stats"].clone());
    assert_eq!(of("rare"), None, "it is private: {tags}");
    let upstream = of("upstream").unwrap();
    assert_eq!((&upstream["tools"], &upstream["gateways"], &upstream["total"]), (&json!(5), &json!(3), &json!(8)));
    specimen.database.batch_execute("UPDATE resources SET visibility = 'public' WHERE name = 'made'").await.unwrap();
    let tags = gateway.get("/tags", &admin).await.json();
    assert!(tags.as_array().unwrap().iter().any(|tag| tag["name"] == "rare"), "{tags}");
}

#[tokio::test]
async fn a_body_of_another_type_than_json_is_not_read() {
    let (_specimen, gateway, _, owner) = start(SessionScope::Scoped).await;
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
