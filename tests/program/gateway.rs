//! `rbac-bench gateway`: the reference gateway alone.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Place, SMALL, text};

/// One request with reqwest, on a runtime of its own: (status, body).
fn ask(method: reqwest::Method, url: &str, token: Option<&str>, body: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    })
}

#[test]
fn the_gateway_serves_its_routes_to_any_client_with_the_token_it_prints() {
    use reqwest::Method;
    let place = Place::new();
    let mut run = place.start(&["gateway", SMALL, "--json"]);
    let mut line = String::new();
    BufReader::new(run.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let serving: Value = serde_json::from_str(&line).unwrap();
    let (url, token) = (serving["url"].as_str().unwrap(), serving["token"].as_str());

    let (status, body) = ask(Method::GET, &format!("{url}/health"), None, None);
    assert_eq!((status, body.as_str()), (200, r#"{"status":"healthy"}"#));
    assert_eq!(ask(Method::GET, &format!("{url}/ready"), None, None).0, 200);
    assert_eq!(ask(Method::GET, &format!("{url}/tools"), None, None).0, 401);
    assert_eq!(ask(Method::GET, &format!("{url}/tools"), Some("nonsense"), None).0, 401);
    for list in ["tools", "servers"] {
        let (status, body) = ask(Method::GET, &format!("{url}/{list}"), token, None);
        let entities: Value = serde_json::from_str(&body).unwrap();
        assert!(status == 200 && !entities.as_array().unwrap().is_empty(), "{list}: {body}");
    }
    let (status, page) = ask(Method::GET, &format!("{url}/admin/"), token, None);
    assert!(status == 200 && page.contains("<td>slow-search</td>"), "{page}");
    let call =
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hé\"llo"}}}"#;
    let (_, body) = ask(Method::POST, &format!("{url}/rpc"), token, Some(call));
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "hé\"llo", "{body}");
    assert_eq!(answer["id"], 7);
    let unknown = call.replace("echo", "no-such-tool");
    let (_, body) = ask(Method::POST, &format!("{url}/rpc"), token, Some(&unknown));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["error"]["code"], -32602, "{body}");
    let (_, metrics) = ask(Method::GET, &format!("{url}/metrics/prometheus"), None, None);
    assert!(metrics.contains("db_client_connection_max{"), "{metrics}");

    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(), Some(0));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn a_list_shows_each_caller_what_is_public_their_teams_and_their_own() {
    use reqwest::Method;
    let place = Place::new();
    let mut run = place.start(&["gateway", SMALL, "--json"]);
    let mut line = String::new();
    BufReader::new(run.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let serving: Value = serde_json::from_str(&line).unwrap();
    let url = serving["url"].as_str().unwrap();
    let list = |token: &str, path: &str| -> Vec<Value> {
        let (status, body) = ask(Method::GET, &format!("{url}/{path}"), serving[token].as_str(), None);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    // In the fixture user-1 owns team 1, some of its tools, and the private servers.
    let own = |entity: &Value| entity["ownerEmail"] == "user-1@example.com";
    let (all_teams, one_team) = (list("token", "tools"), list("user_token", "tools"));
    let teams_of = |tools: &[Value]| {
        let teams = tools.iter().filter(|tool| tool["visibility"] == "team").map(|tool| tool["teamId"].to_string());
        teams.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((teams_of(&all_teams), teams_of(&one_team)), (3, 1), "60 users are three teams");
    assert!(all_teams.iter().all(|tool| tool["visibility"] != "private"), "not the administrator's own");
    let (admins, owners) = (list("token", "servers"), list("user_token", "servers"));
    assert!(admins.iter().all(|server| server["visibility"] != "private"), "{admins:?}");
    let private: Vec<_> = owners.iter().filter(|server| server["visibility"] == "private").collect();
    assert_eq!(private.len(), 3, "{owners:?}");
    assert!(private.into_iter().all(own));

    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(), Some(0));
    place.assert_nothing_is_left(Duration::from_secs(10));
}

/// Runs one command in a database.
fn execute(url: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client.batch_execute(sql).await.expect("a statement that works");
    });
}

#[test]
fn a_database_of_your_own_is_filled_once_and_kept_apart() {
    use reqwest::Method;
    let place = Place::new();
    let mut server = place.start(&["gateway", SMALL, "--json"]);
    let printed = |run: &mut crate::program::Started| -> Value {
        let mut line = String::new();
        BufReader::new(run.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    // The database `postgres` of another gateway's server is there, and empty.
    let own = printed(&mut server)["database_url"].as_str().unwrap().replace("/rbac?", "/postgres?");
    let arguments = ["gateway", SMALL, "--json", "--database-url", &own];

    execute(&own, "CREATE TABLE orders (id integer)");
    let refused = place.output(&arguments);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("`orders`: give it an empty one"), "{}", text(&refused.stderr));
    execute(&own, "DROP TABLE orders");

    let mut first = place.start(&arguments);
    let serving = printed(&mut first);
    assert!(serving["password"].is_string(), "{serving}");
    execute(&own, "UPDATE tools SET name = 'kept' WHERE name = 'echo'");
    first.signal(Signal::SIGINT);
    assert_eq!(first.wait(), Some(0));

    let mut second = place.start(&arguments);
    let serving = printed(&mut second);
    assert!(serving["password"].is_null(), "whatever it was, it still is: {serving}");
    let (url, token) = (serving["url"].as_str().unwrap(), serving["user_token"].as_str());
    let (_, listed) = ask(Method::GET, &format!("{url}/tools"), token, None);
    assert!(listed.contains("\"kept\""), "{listed}");
    for run in [second, server] {
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(), Some(0));
    }
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn an_unusable_database_is_refused_without_its_password() {
    let place = Place::new();
    for (url, code, wanted) in [
        ("postgresql://me:secret@127.0.0.1:1/mine", 1, "cannot connect to `postgresql://me@127.0.0.1:1/mine`"),
        ("postgresql://me:secret@a,b/mine", 2, "one host"),
        ("postgresql://me:secret@localhost/mine?sslmode=require", 2, "TLS"),
    ] {
        let refused = place.output(&["gateway", SMALL, "--database-url", url]);
        let printed = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{printed}");
        assert!(printed.contains(wanted) && !printed.contains("secret"), "{printed}");
    }
    place.assert_nothing_is_left(Duration::from_secs(10));
}

#[test]
fn foreign_tokens_and_prefixed_tools_work_across_restarts_on_a_port() {
    use reqwest::Method;
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    // As ContextForge's own load test signs and calls.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({
        "username": "admin@example.com", "sub": "admin@example.com", "iss": "mcpgateway", "aud": "mcpgateway-api",
        "iat": now, "exp": now + 3600, "jti": "load", "teams": null, "is_admin": true, "token_use": "session",
        "scopes": { "server_id": null, "permissions": ["*"], "ip_restrictions": [], "time_restrictions": {} },
    });
    let key = jsonwebtoken::EncodingKey::from_secret(b"my-test-key");
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let prefixes = r#"gateway.tool_prefixes=["fast-time-","fast-test-"]"#;
    let arguments = ["gateway", SMALL, "--json", "--port", &port, "--jwt-secret-env", "GATEWAY_KEY", "--set", prefixes];
    for _ in 0..2 {
        let mut program = place.program();
        program.env("GATEWAY_KEY", "my-test-key").args(arguments);
        let mut run = Place::started(program);
        let mut line = String::new();
        BufReader::new(run.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let serving: Value = serde_json::from_str(&line).unwrap();
        let url = serving["url"].as_str().unwrap();
        for (tool, arguments) in [
            ("fast-time-get-system-time", r#"{"timezone":"UTC"}"#),
            (
                "fast-time-convert-time",
                r#"{"time":"2026-01-22T09:30:00","source_timezone":"UTC","target_timezone":"Asia/Tokyo"}"#,
            ),
            ("fast-test-echo", r#"{"message":"hello"}"#),
            ("fast-test-get-system-time", "{}"),
            ("tool-7", "{}"),
        ] {
            let call = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
            );
            let (status, body) = ask(Method::POST, &format!("{url}/rpc"), Some(&token), Some(&call));
            let answer: Value = serde_json::from_str(&body).unwrap();
            assert!(status == 200 && answer["result"]["isError"] == false, "{tool}: {body}");
        }
        // A connection that the gateway closes first lingers on its port.
        let lingering = std::net::TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(), Some(0));
        drop(lingering);
    }
    let refused = place.output(&["gateway", SMALL, "--jwt-secret-env", "NO_SUCH_KEY"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("`NO_SUCH_KEY` is empty or not set"), "{}", text(&refused.stderr));
    place.assert_nothing_is_left(Duration::from_secs(10));
}
