//! Discovery of a service by its URL, and the errors where something is missing.

#![expect(clippy::unwrap_used, reason = "what a test needs is there, or it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::program::{Place, text};

/// A service, for requests one at a time, that says what it was asked.
struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// `answer` gives status and body, of the request's line with its `Authorization` and its body behind.
    fn serving(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else { continue };
                let (status, body) = answer(&request);
                log.lock().unwrap().push(request);
                let body = body.to_string();
                let head = "Content-Type: application/json\r\nConnection: close\r\n";
                let _gone = write!(stream, "HTTP/1.1 {status} x\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// `GET /path`, `Authorization` and body, parted by spaces.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let mut request = format!("{} {}", words.first()?, words.get(1)?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end();
        let Some((name, value)) = header.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => request = format!("{request} {value}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(if body.is_empty() { request } else { format!("{request} {}", String::from_utf8_lossy(&body)) })
}

fn document() -> Value {
    let get = |names: &[&str]| {
        let path = |name: &&str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
        json!({"get": {"parameters": names.iter().map(path).collect::<Vec<_>>(), "responses": {}}})
    };
    let credentials = json!({"type": "object", "properties": {"email": {"type": "string"}, "password": {"type": "string"}},
        "required": ["email", "password"]});
    json!({"openapi": "3.1.0", "info": {"title": "teams"}, "paths": {
        "/login": {"post": {"requestBody": {"content": {"application/json": {"schema": credentials}}}, "responses": {}}},
        "/teams": get(&[]),
        "/teams/{team}/members/{member}": get(&["team", "member"]),
        "/teams/{team}/members": get(&["team"]),
        "/reports/{number}": get(&["number"]),
        "/logout": get(&[]),
    }})
}

/// Teams, of which the first has no members, for who has logged in.
fn teams(request: &str) -> (u16, Value) {
    let words: Vec<&str> = request.splitn(3, ' ').collect();
    match (words[0], words[1], words.get(2).copied().unwrap_or_default()) {
        (_, "/openapi.json", _) => (200, document()),
        ("POST", "/login", body) if body.contains("s3cret-tea") && body.contains("ada@example.com") => {
            (200, json!({"data": {"accessToken": "token-of-ada"}}))
        }
        ("POST", "/login", _) => (401, json!({"detail": "wrong name or password"})),
        (_, _, who) if who != "Bearer token-of-ada" => (401, json!({"detail": "who are you?"})),
        (_, "/teams", _) => (200, json!({"data": [{"id": "t-1"}, {"id": "t-2"}]})),
        (_, "/teams/t-1/members", _) => (200, json!({"data": []})),
        (_, "/teams/t-2/members", _) => (200, json!({"data": [{"id": "m-7"}]})),
        (_, "/teams/t-2/members/m-7" | "/reports/R-1", _) => (200, json!({"name": "Ada"})),
        _ => (404, json!({"detail": "not found"})),
    }
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    let mut program = place.program();
    program.current_dir(place.tmp()).env("ADA", "s3cret-tea").env("BAD", "tea");
    program.env_remove("DATABASE_URL").args(arguments).output().unwrap()
}

const ADA: [&str; 4] = ["--user", "ada@example.com", "--password-env", "ADA"];

#[test]
fn a_url_and_a_login_are_enough_for_a_whole_scenario() {
    let (place, service) = (Place::new(), Stub::serving(teams));
    let made = run(&place, &[&["init", &service.url, "-o", "teams.toml", "--param", "number=R-1"], &ADA[..]].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    let scenario = std::fs::read_to_string(place.tmp().join("teams.toml")).unwrap();
    for line in [
        "team = [\"t-2\"]",
        "member = [\"m-7\"]",
        "number = [\"R-1\"]",
        "login.route = \"POST /login\"",
        "login.json = { email = \"{user}\", password = \"{password}\" }",
        "login.token = \"/data/accessToken\"",
    ] {
        assert!(scenario.contains(line), "{line} is not in\n{scenario}");
    }
    assert!(!scenario.contains("s3cret-tea") && !scenario.contains("token-of-ada"), "{scenario}");
    assert!(run(&place, &["scenario", "check", "teams.toml"]).status.success());
    // It logged in once, and changed nothing.
    let asked = service.asked();
    assert_eq!(asked.iter().filter(|it| !it.starts_with("GET ")).count(), 1, "{asked:?}");
    assert!(asked.iter().all(|it| !it.contains("/logout")), "{asked:?}");
}

#[test]
fn what_is_missing_is_said_with_what_would_add_it() {
    let (place, service) = (Place::new(), Stub::serving(teams));
    let url = service.url.as_str();
    let cases: [(Vec<&str>, i32, &str); 7] = [
        (vec!["scan", url], 1, "`--user NAME --password-env VARIABLE` logs in with POST /login"),
        (vec!["scan", url, "--user", "ada@example.com", "--password-env", "BAD"], 1, "`POST /login` answered 401"),
        (vec!["scan", url, "--user", "ada@example.com", "--password-env", "NO"], 2, "the variable `NO` is not set"),
        ([&["scan", url], &ADA[..]].concat(), 2, "no database is given"),
        (
            [&["scan", url], &ADA[..]].concat(),
            2,
            "/reports/{number}: /reports/3 answered 404: not found; add --param number=VALUE",
        ),
        (vec!["scan", "http://127.0.0.1:9"], 1, "cannot ask `http://127.0.0.1:9`"),
        (vec!["scan", "http://10.0.0.1"], 2, "pass `--allow-remote 10.0.0.1`"),
    ];
    for (arguments, code, reported) in cases {
        let output = run(&place, &arguments);
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(reported), "{arguments:?}: {printed}");
        assert!(!printed.contains("s3cret-tea") && !printed.contains("token-of-ada"), "{printed}");
    }
}

#[test]
fn a_service_without_a_document_is_told_what_was_tried() {
    let (place, service) = (Place::new(), Stub::serving(|_| (404, Value::Null)));
    let output = run(&place, &["scan", &service.url]);
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("found no API document") && printed.contains("/v3/api-docs"), "{printed}");
    assert!(printed.contains("rbac-bench init --access-log FILE"), "{printed}");
}

#[test]
fn what_only_a_url_needs_is_refused_beside_a_file() {
    let place = Place::new();
    for arguments in [vec!["scan", "shop.toml", "--param", "id=7"], vec!["run", "--change-data"]] {
        let output = run(&place, &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("is for the URL of a service"), "{}", text(&output.stderr));
    }
}
