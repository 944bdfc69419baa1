//! A secret that is planted in every place, in every dress, is in nothing that is written.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tokio_postgres::{Client, NoTls};

use crate::program::{Place, text};
use crate::support::postgres::cluster;

const SECRET: &str = "s3cr3t/Pa55 w&rd=42";

/// The ways in which it is written.
fn dresses() -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let each = |write: fn(u8) -> String| SECRET.bytes().map(write).collect::<String>();
    let percent = |text: &str| {
        let encode = |byte: u8| {
            if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        };
        text.bytes().map(encode).collect::<String>()
    };
    let json = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
    let html = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    vec![
        ("plain", SECRET.to_owned()),
        ("percent", percent(SECRET)),
        ("percent in lower case", each(|byte| format!("%{byte:02x}"))),
        ("percent twice", percent(&percent(SECRET))),
        ("form", percent(SECRET).replace("%20", "+")),
        ("json", json(&format!("\"{SECRET}\""))),
        ("json twice", json(&json(&format!("\"{SECRET}\"")))),
        ("slashes escaped", SECRET.replace('/', "\\/")),
        ("code points", each(|byte| format!("\\u{byte:04x}"))),
        ("code points in upper case", each(|byte| format!("\\u{byte:04X}"))),
        ("hex escapes", each(|byte| format!("\\x{byte:02x}"))),
        ("html", html(SECRET)),
        ("html in decimal", each(|byte| format!("&#{byte};"))),
        ("html in hexadecimal", each(|byte| format!("&#x{byte:x};"))),
        ("html in json", json(&html(SECRET))),
        ("percent in html", html(&percent(SECRET)).replace('%', "&#37;")),
        ("base64", STANDARD.encode(SECRET)),
        ("base64 for URLs", URL_SAFE_NO_PAD.encode(SECRET)),
        ("base64 behind a name", STANDARD.encode(format!("user:{SECRET}"))),
        ("base64 within more", STANDARD.encode(format!("a={SECRET}&b=c"))),
        ("hex", each(|byte| format!("{byte:02x}"))),
        ("hex in upper case", format!("0x{}", each(|byte| format!("{byte:02X}")))),
        ("over lines", format!("{}\n    {}\n  {}", &SECRET[..5], &SECRET[5..12], &SECRET[12..])),
        ("in a URL", format!("postgresql%3A%2F%2Fapp%3A{}%40host%2Fshop", percent(SECRET).replace('%', "%25"))),
    ]
}

/// Everything that must not be written: each dress, and for one that is broken over lines its parts.
fn forbidden() -> Vec<(&'static str, String)> {
    let mut all = dresses();
    all.retain(|(name, _)| *name != "over lines");
    all.extend([("a part of it", SECRET[5..12].to_owned()), ("its end", SECRET[12..].to_owned())]);
    all
}

/// Asserts that a text holds no secret.
#[track_caller]
fn assert_tells_nothing(place: &str, written: &str) {
    for (dress, secret) in forbidden() {
        if let Some(at) = written.find(&secret) {
            let around =
                &written[written.floor_char_boundary(at.saturating_sub(60))..written.floor_char_boundary(at + 90)];
            panic!("{place} holds the secret, {dress}: …{around}…");
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.display().to_string(), text(&fs::read(&path).expect("a file"))));
        }
    }
    all
}

/// A session that is idle in transaction, with the secret in its name, in its statement's literal and comment.
async fn session(leak: &str) -> Client {
    let mut config = cluster().await.config();
    // PostgreSQL writes a question mark for a line break in a name.
    let name = leak.split('\n').map(str::trim).collect::<String>();
    let (client, connection) = config.application_name(name).connect(NoTls).await.expect("a session");
    tokio::spawn(connection);
    let quoted = leak.replace('\'', "''");
    let statement =
        format!("SELECT 1 /* a /* nested */ {} */, CASE WHEN true THEN 'a'else'{quoted}' END", leak.replace("*/", ""));
    client.batch_execute("BEGIN").await.expect("a transaction");
    client.batch_execute(&statement).await.expect("a statement");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_secret_is_in_nothing_that_a_run_writes() {
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let leaks: Vec<String> = dresses().into_iter().map(|(_, leak)| leak).collect();
    let leaks_file = place.tmp().join("leaks.json");
    fs::write(&leaks_file, serde_json::to_string(&leaks).expect("JSON")).expect("a file");
    let service = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/leaky_service.py");
    let scenario = place.tmp().join("leaky.toml");
    let scenario_text = format!(
        "name = \"leaky\"\n[target]\nurl = \"http://127.0.0.1:{port}\"\ncommand = [\"python3\", \"{service}\", \"{port}\"]\n\
         env = {{ LEAKS = \"{}\" }}\nready = \"/fine\"\nhealth = \"/health\"\n[database]\nurl_env = \"LEAKY_DATABASE\"\n\
         expect_sessions = false\n[load]\nusers = 4\nramp_up = \"0s\"\nduration = \"3s\"\nthink_time = [\"5ms\", \"9ms\"]\n\
         [[identity]]\nbearer_env = \"LEAKY_TOKEN\"\n[[route]]\nroute = \"GET /broken\"\n[[route]]\nroute = \"GET /masked\"\n\
         must_not_have = \"/error\"\n[[gate]]\nrule = \"failure_rate<=1%\"\n",
        leaks_file.display()
    );
    fs::write(&scenario, scenario_text).expect("a scenario");
    let (cluster, config) = (cluster().await, cluster().await.config());
    let (user, name) = (config.get_user().expect("a user"), config.get_dbname().expect("a database"));
    let database = format!("host={} port={} user={user} dbname={name}", cluster.socket_dir().display(), cluster.port());
    let mut sessions = Vec::new();
    for leak in &leaks {
        sessions.push(session(leak).await);
    }
    let out = place.reports();
    let summary = place.tmp().join("summary.md");
    let junit = out.join("gate.xml").display().to_string();
    let run = |arguments: &[&str]| {
        let mut program = place.program();
        program.env("LEAKY_DATABASE", &database).env("LEAKY_TOKEN", SECRET).env("GITHUB_ACTIONS", "true");
        program.env("GITHUB_STEP_SUMMARY", &summary).args(arguments).output().expect("the program starts")
    };
    let scenario = scenario.display().to_string();
    let judged = run(&["gate", &scenario, "--junit", &junit, "-vv"]);
    assert_eq!(judged.status.code(), Some(99), "{}", text(&judged.stderr));
    assert_tells_nothing("the gate's output", &(text(&judged.stdout) + &text(&judged.stderr)));
    let measured = run(&["run", &scenario, "--report"]);
    assert_tells_nothing("the run's output", &(text(&measured.stdout) + &text(&measured.stderr)));
    let written = files(&out);
    for name in ["record.json", "samples.ndjson", "service.service.log", "report.html"] {
        assert!(
            written.iter().any(|(path, text)| path.ends_with(name) && text.contains('…')),
            "{name} has something redacted"
        );
    }
    for (path, text) in written {
        assert_tells_nothing(&path, &text);
    }
    assert_tells_nothing("the job summary", &fs::read_to_string(summary).expect("a summary"));
}

#[test]
fn a_secret_among_the_arguments_is_in_no_refusal() {
    let place = Place::new();
    for (dress, leak) in dresses() {
        // What is broken over lines is no word of a command line.
        let leak = leak.split('\n').collect::<String>().replace(' ', "");
        let target = format!("http://u:{leak}@127.0.0.1:1");
        let metrics = format!("http://u:{leak}@no host/metrics");
        let variable = format!("target.env.X={leak}");
        let query = format!("target.url=http://127.0.0.1:1/?token={leak}");
        let database = format!("postgresql://u:{leak}@127.0.0.1:port/d");
        let refusals: [&[&str]; 8] = [
            &["run", "x.toml", "--target", &target],
            &["scan", "x.toml", "--target", &target],
            &["watch", "--database-url", "postgresql://u@127.0.0.1/d", "--metrics-url", &metrics],
            &["run", "--set", &variable],
            &["run", "--set", &query],
            &["gate", "issue-2318", "--set", &variable, "--no-such-flag"],
            &["watch", "--database-url", &database],
            &["run", "--pgbouncer-url", &database],
        ];
        for arguments in refusals {
            let output = place.output(arguments);
            assert!(!output.status.success(), "{dress}: {arguments:?}");
            let printed = text(&output.stdout) + &text(&output.stderr);
            assert!(!printed.contains(&leak), "{dress}: {arguments:?}: {printed}");
        }
    }
}
