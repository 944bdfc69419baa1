//! `init`, `scenario check` and the dry run, as a newcomer uses them.

#![expect(clippy::unwrap_used, reason = "what a test needs is there, or it fails")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::thread;

use crate::program::{Place, json, text};

const SHOP: &str = include_str!("../../fixtures/openapi/shop-fastapi-3.1.json");

/// A server that gives one answer to anyone who asks, once; and its URL.
fn answering(answer: String) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        let length = stream.read(&mut asked).unwrap();
        // A client that has heard enough goes away.
        let _gone = stream.write_all(answer.as_bytes());
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    (url, served)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Runs the program in a folder of its own.
fn run(place: &Place, arguments: &[&str]) -> Output {
    place.program().current_dir(place.tmp()).args(arguments).output().unwrap()
}

fn exit(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn a_fetched_document_names_what_must_be_filled_in() {
    let place = Place::new();
    let (url, served) = answering(ok(SHOP));
    let made = run(&place, &["init", "--openapi", &format!("{url}/openapi.json"), "-o", "shop.toml"]);
    assert_eq!(exit(&made), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stderr).contains("next: fill in 4 places"), "{}", text(&made.stderr));
    assert!(served.join().unwrap().contains("GET /openapi.json HTTP/1.1"));
    let scenario = fs::read_to_string(place.tmp().join("shop.toml")).unwrap();
    assert!(scenario.contains(&format!("url = \"{url}\"")), "{scenario}");

    let checked = run(&place, &["scenario", "check", "shop.toml"]);
    let printed = text(&checked.stdout);
    assert_eq!(exit(&checked), Some(2), "{printed}");
    let line = 1 + scenario.lines().position(|line| line.contains("report_id = [\"TODO")).unwrap();
    let expected = format!(
        "shop.toml:{line}:24: error: `route[7].params.report_id` is still TODO: give values, such as [1, 2], \
         {{ from = 1, to = 100 }} or {{ file = \"ids.txt\" }}"
    );
    assert!(printed.lines().any(|line| line == expected), "{expected}\n{printed}");
    assert!(printed.contains("`identity[1].user` is still TODO"), "{printed}");
    assert_eq!(printed.lines().count(), 4, "{printed}");
    let ran = run(&place, &["run", "shop.toml"]);
    assert_eq!(exit(&ran), Some(2));
    assert!(text(&ran.stderr).contains("is still TODO"), "{}", text(&ran.stderr));

    let filled = scenario
        .replace("[\"TODO: customer (uuid), values that exist\"]", "[\"550e8400-e29b-41d4-a716-446655440000\"]")
        .replace("report_id = [\"TODO: report_id (integer), values that exist\"]", "report_id = { from = 1, to = 9 }")
        .replace("[\"TODO: q (string)\"]", "[\"tea\"]")
        .replace("\"TODO: the name of a user\"", "\"anna\"");
    fs::write(place.tmp().join("shop.toml"), filled).unwrap();
    let checked = run(&place, &["scenario", "check", "shop.toml"]);
    assert_eq!((exit(&checked), text(&checked.stdout).as_str()), (Some(0), "shop.toml: fine\n"));
}

#[test]
fn a_file_that_is_there_is_kept_unless_it_may_be_replaced() {
    let place = Place::new();
    fs::write(place.tmp().join("a.toml"), "mine").unwrap();
    let url = ["init", "--url", "http://127.0.0.1:1/users/7", "http://127.0.0.1:1/users/8", "-o", "a.toml"];
    let refused = run(&place, &url);
    assert_eq!(exit(&refused), Some(2));
    assert_eq!(text(&refused.stderr), "error: `a.toml` exists: `--force` replaces it\n");
    assert_eq!(fs::read_to_string(place.tmp().join("a.toml")).unwrap(), "mine");
    let forced = run(&place, &[&url[..], &["--force"]].concat());
    assert_eq!(exit(&forced), Some(0), "{}", text(&forced.stderr));
    assert!(fs::read_to_string(place.tmp().join("a.toml")).unwrap().contains("id = [7, 8]"));
    assert_eq!(text(&run(&place, &["scenario", "check", "a.toml"]).stdout), "a.toml: fine\n");
}

#[test]
fn what_cannot_be_made_into_a_scenario_is_reported_in_one_line() {
    let place = Place::new();
    fs::write(place.tmp().join("empty.log"), "").unwrap();
    fs::write(place.tmp().join("a.log.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    let (page, _page) = answering(ok("<html>"));
    let (moved, _moved) =
        answering("HTTP/1.1 307 x\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n".to_owned());
    let (endless, _endless) =
        answering(format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "x".repeat(21 << 20)));
    for (args, code, reported) in [
        (vec!["init"], 2, "required"),
        (vec!["init", "--openapi", "nowhere.json"], 2, "cannot read `nowhere.json`"),
        (vec!["init", "--openapi", "http://10.0.0.1/openapi.json"], 2, "pass `--allow-remote 10.0.0.1`"),
        (vec!["init", "--openapi", "http://127.0.0.1:1/"], 1, "cannot fetch `http://127.0.0.1:1`"),
        (vec!["init", "--openapi", &page], 2, "it is a page of HTML or XML"),
        (vec!["init", "--openapi", &moved], 1, "answered 307 and points to `http://10.0.0.1/`, which is not followed"),
        (vec!["init", "--openapi", &endless], 1, "is longer than 20 MB"),
        (vec!["init", "--access-log", "empty.log"], 2, "has no line of a known access log"),
        (vec!["init", "--access-log", "a.log.gz"], 2, "cannot read `a.log.gz`"),
        (
            vec!["init", "--access-log", "empty.log", "--log-format", "$status"],
            2,
            "invalid log format: expected the request",
        ),
        (
            vec!["init", "--url", "http://me:s3cret@127.0.0.1/"],
            2,
            "`--url`: invalid URL: expected one without name and password",
        ),
        (vec!["init", "--url", "http://127.0.0.1/", "--force"], 2, "--output"),
    ] {
        let output = run(&place, &args);
        let printed = text(&output.stderr);
        assert_eq!(exit(&output), Some(code), "{args:?}: {printed}");
        assert!(printed.contains(reported) && !printed.contains("s3cret"), "{args:?}: {printed}");
    }
}

const DRY: &str = r#"name = "shop"
[target]
url = "http://127.0.0.1:1/api"
[database]
url_env = "SHOP_DATABASE"
[[identity]]
bearer_env = "SHOP_TOKEN"
[[route]]
route = "GET /reports/{id}"
weight = 3
params = { id = { file = "ids.txt" } }
[[route]]
route = "POST /search"
json = { q = "tea" }
changes_data = false
[[route]]
route = "DELETE /reports/{id}"
params = { id = [1] }
changes_data = true
[variants.here]
[variants.there]
url = "http://shop.example.com"
"#;

#[test]
fn a_dry_run_shows_what_would_be_sent_and_no_secret() {
    let place = Place::new();
    fs::write(place.tmp().join("shop.toml"), DRY).unwrap();
    fs::write(place.tmp().join("ids.txt"), "seven\n").unwrap();
    for command in ["run", "scan"] {
        let mut program = place.program();
        program.current_dir(place.tmp()).env("SHOP_TOKEN", "s3cret").args([command, "shop.toml", "--dry-run=1"]);
        let output = program.output().unwrap();
        let printed = text(&output.stdout);
        assert_eq!(exit(&output), Some(0), "{}", text(&output.stderr));
        for line in [
            "GET /reports/{id}  75.0 %",
            "  GET http://127.0.0.1:1/api/reports/seven",
            "    content-type: application/json",
            "    {\"q\":\"tea\"}",
            "user      bearer_env SHOP_TOKEN",
            "database  by the URL in the variable SHOP_DATABASE, which is not set",
            "  DELETE /reports/{id}  changes data: `allow_data_changes = true` under [load] asks for it",
            "          `shop.example.com` would be refused: it is another machine, and `--allow-remote shop.example.com` is not given",
        ] {
            assert!(printed.lines().any(|it| it == line), "{line}\n{printed}");
        }
        assert!(!printed.contains("s3cret"), "{printed}");
    }
    assert!(!place.tmp().join("reports").exists() && !place.reports().exists(), "nothing was run");
    let output = run(&place, &["run", "shop.toml", "--dry-run", "--json", "--allow-remote", "shop.example.com"]);
    let reported = json(&output);
    assert_eq!(reported["format"]["name"], "rbac-bench/dry-run");
    assert_eq!(reported["routes"][0]["requests"].as_array().map(Vec::len), Some(2));
    assert_eq!(reported["variants"][1]["refused"], serde_json::json!([]));
    assert_eq!(reported["identities"][0]["variables"]["SHOP_TOKEN"], false);
    let refused = run(&place, &["run", "--dry-run"]);
    assert_eq!(exit(&refused), Some(2));
}

#[test]
fn the_schema_is_printed_whole() {
    let schema = json(&run(&Place::new(), &["scenario", "schema"]));
    assert!(schema["definitions"]["ServiceRoute"]["properties"]["must_have"]["description"].is_string());
}
