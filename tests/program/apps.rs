//! The guides' applications (`fixtures/apps`): what each of them plants is found, with the seconds that the application
//! itself counts, and nothing else is.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as loudly as the test itself")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rbac_bench::diagnose::{Case, diagnose};
use rbac_bench::record::RunRecord;
use rbac_bench::render::diagnosis::{Advice, Diagnosed};
use rbac_bench::render::scan;
use rbac_bench::texts::PatternCounts;
use regex::Regex;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::program::{HANG, Place, json, text};
use crate::support::postgres::cluster;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// An application, and what is wrong with it under `HOLD=1`.
pub(crate) struct App {
    /// Its folder under `fixtures/apps`, and its scenario there.
    folder: &'static str,
    scenario: &'static str,
    /// Command that starts it; `PORT` is the port.
    command: &'static [&'static str],
    /// The routes that hold, in the order of their names.
    planted: [&'static str; 2],
    /// The guide that shows its scan.
    guide: &'static str,
    /// The role that it has sessions of; `None`: the cluster's own.
    role: Option<&'static str>,
}

pub(crate) const SHOP: App = App {
    folder: "fastapi",
    scenario: "shop.toml",
    command: &["uvicorn", "shop:app", "--port", "PORT"],
    planted: ["GET /orders/{order_id}/shipping", "GET /recommendations"],
    guide: "docs/guides/fastapi.md",
    role: None,
};

const LIBRARY: App = App {
    folder: "django",
    scenario: "library.toml",
    command: &["waitress-serve", "--listen=127.0.0.1:PORT", "--threads=16", "library.wsgi:application"],
    planted: ["GET /books/{book_id}/availability", "GET /readers/{reader_id}/card"],
    guide: "docs/guides/django.md",
    role: None,
};

const TICKETS: App = App {
    folder: "express",
    scenario: "tickets.toml",
    command: &["node", "tickets.js"],
    planted: ["GET /events/{id}/quote", "GET /recommendations"],
    guide: "docs/guides/express.md",
    role: None,
};

/// It logs users in, has UUIDs and nested routes, a stream, and a task after a response, and a role of its own. It has no scenario
/// and no guide.
const TEAMS: App = App {
    folder: "teams",
    scenario: "",
    command: &["uvicorn", "teams:app", "--port", "PORT"],
    planted: ["GET /invoices/{invoice_id}", "GET /teams/{team_id}/members/{member_id}/photo"],
    guide: "",
    role: Some("teams_app"),
};

const PASSWORD: (&str, &str) = ("TEAMS_PASSWORD", "s3cret-tea");

/// An application that runs on a database of its own.
pub(crate) struct Service {
    app: &'static App,
    database: String,
    port: u16,
    child: Child,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Service {
    async fn start(app: &'static App, hold: &str) -> Self {
        let name = format!("{}_{hold}", app.folder);
        let (cluster, config) = (cluster().await, cluster().await.config());
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let server = tokio::spawn(connection);
        // An ordinary role, which sees its own sessions alone, where there is one.
        let user = app.role.unwrap_or(config.get_user().unwrap());
        if let Some(role) = app.role {
            client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
        }
        client.batch_execute(&format!("CREATE DATABASE {name} OWNER {user}")).await.unwrap();
        drop(client);
        server.await.unwrap().unwrap();
        let socket = cluster.socket_dir().display().to_string().replace('/', "%2F");
        Self::start_on(app, hold, &format!("postgresql://{user}@/{name}?host={socket}&port={}", cluster.port()))
    }

    /// On a database that is there.
    pub(crate) fn start_on(app: &'static App, hold: &str, database: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let words: Vec<String> = app.command.iter().map(|word| word.replace("PORT", &port.to_string())).collect();
        let path = format!("{ROOT}/.venv-apps/bin:{}", std::env::var("PATH").unwrap());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(folder(app))
            .envs([("PATH", path), ("DATABASE_URL", database.to_owned()), ("PORT", port.to_string())])
            .envs([("HOLD", hold), ("PYTHONDONTWRITEBYTECODE", "1"), PASSWORD])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}; `make deps` installs it"));
        let mut service = Self { app, database: database.to_owned(), port, child };
        service.wait_until_healthy();
        service
    }

    fn wait_until_healthy(&mut self) {
        let deadline = Instant::now() + HANG;
        while self.get("/health").is_none_or(|answer| answer.split(' ').nth(1) != Some("200")) {
            assert_eq!(self.child.try_wait().unwrap(), None, "{} has ended", self.app.folder);
            assert!(Instant::now() < deadline, "{} does not serve", self.app.folder);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The whole answer; `None` when nobody is there. By HTTP 1.0, in which no body comes in chunks.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Seconds per request that a session was held and had nothing to do, by route, as the service counts.
    fn truth(&self) -> BTreeMap<String, f64> {
        let answer = self.get("/__truth").unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let totals: BTreeMap<String, BTreeMap<String, f64>> = serde_json::from_str(body).unwrap();
        let idle = |it: &BTreeMap<String, f64>| (it["held_s"] - it["busy_s"]) / it["requests"];
        totals.iter().map(|(route, total)| (route.clone(), idle(total))).collect()
    }

    /// Scans it, by its own scenario or another one, and gives each route of the result.
    fn scan(&self, place: &Place, scenario: &str) -> Vec<Value> {
        let target = format!("target.url={}", self.url());
        self.scanned(place, &[scenario, "--set", &target, "--set", "target.command=[]"])
    }

    /// Scans it by its URL alone.
    fn scan_url(&self, place: &Place, who: &[&str]) -> Vec<Value> {
        self.scanned(place, &[&[self.url().as_str()], who].concat())
    }

    fn scanned(&self, place: &Place, subject: &[&str]) -> Vec<Value> {
        let mut program = place.program();
        program.env("DATABASE_URL", &self.database).envs([PASSWORD]).args(["scan", "--json"]).args(subject);
        program.args(["--requests", "15", "--rounds", "2", "--concurrent", "0s"]);
        let output = program.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        json(&output)["routes"].as_array().unwrap().clone()
    }
}

fn folder(app: &App) -> PathBuf {
    PathBuf::from(ROOT).join("fixtures/apps").join(app.folder)
}

fn scenario(app: &App) -> String {
    folder(app).join(app.scenario).display().to_string()
}

/// The routes that are stated to hold or to leave sessions behind, in the order of their names. On a busy machine a scan may
/// not tell of some; when it tells of most, what it says counts.
fn named(routes: &[Value]) -> Vec<&str> {
    let of = |verdicts: &[&str]| {
        let those = routes.iter().filter(|it| verdicts.contains(&it["verdict"].as_str().unwrap()));
        those.map(|it| it["route"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert!(of(&["unknown"]).len() * 2 < routes.len(), "{routes:#?}");
    let mut names = of(&["holds", "leaks"]);
    names.sort_unstable();
    names
}

/// The planted routes are named, no others, and their seconds are within a tenth of the application's own.
fn assert_found(service: &Service, place: &Place, routes: &[Value]) {
    let planted = service.app.planted;
    assert_guide_shows(service.app, place);
    assert_eq!(named(routes), planted, "{routes:#?}");
    let truth = service.truth();
    for planted in planted {
        let route = routes.iter().find(|it| it["route"] == planted).unwrap();
        let (held, truth) = (route["held_s_per_request"]["value"].as_f64().unwrap(), truth[planted]);
        assert!((held / truth - 1.0).abs() < 0.1, "{planted}: {held} s, in truth {truth} s: {route:#}");
        assert!(route["statement"].as_str().is_some_and(|it| it.to_uppercase().contains("SELECT")), "{route:#}");
    }
}

/// The guide's table and findings are those of the scan, but for the figures.
fn assert_guide_shows(app: &App, place: &Place) {
    let text = std::fs::read_to_string(place.run_folder().join("record.json")).unwrap();
    let record: RunRecord = serde_json::from_str(&text).unwrap();
    let (logs, scope) = (PatternCounts::default(), record.in_order()[0].0);
    let findings = diagnose(Case::of(&record, scope, &[], &logs).unwrap());
    let diagnosed = [Diagnosed { variant: scope, findings, what_if: None }];
    let printed = scan::text(&record, &place.run_folder(), &diagnosed, Advice::OfStack, None);
    let printed = without_figures(&printed);
    let guide = std::fs::read_to_string(PathBuf::from(ROOT).join(app.guide)).unwrap();
    let (_, shown) = guide.split_once(&format!(" scan {}\n", app.scenario)).unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let table = shown.lines().filter(|line| line.starts_with(" route") || line.contains(" holds "));
    let shown: Vec<&str> = table.chain(shown.lines().filter(|line| line.contains("last statement:"))).collect();
    assert!(shown.len() >= 7, "{shown:?}");
    for line in shown {
        let line = without_figures(line);
        assert!(printed.lines().any(|it| it == line), "`{line}` of {} in\n{printed}", app.guide);
    }
}

/// Each figure as one `#`, each gap as one space.
fn without_figures(text: &str) -> String {
    let figure = Regex::new(r"(?:\d[\d\u{202f}\u{a0}]*(?: \d{3})*(?:\.\d+)?|–)").unwrap();
    let gaps = Regex::new("[ \\t]+").unwrap();
    gaps.replace_all(&figure.replace_all(text, "#"), " ").into_owned()
}

fn assert_nothing_is_found(service: &Service) {
    let routes = service.scan(&Place::new(), &scenario(service.app));
    assert!(routes.len() > service.app.planted.len(), "{routes:#?}");
    assert_eq!(named(&routes), [""; 0], "{routes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fastapi_holds_is_found_by_a_scenario_from_its_own_document() {
    let service = Service::start(&SHOP, "1").await;
    let place = Place::new();
    let document = format!("{}/openapi.json", service.url());
    let scenario = place.tmp().join("shop.toml").display().to_string();
    let written = place.output(&["init", "--openapi", &document, "-o", &scenario]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    // One thing cannot be known: which orders there are.
    let check = place.output(&["scenario", "check", &scenario]);
    let printed = text(&check.stderr) + &text(&check.stdout);
    assert_eq!((check.status.code(), printed.matches("still TODO").count()), (Some(2), 1), "{printed}");
    assert!(printed.contains("order_id"), "{printed}");
    let gap = "[\"TODO: order_id (integer), values that exist\"]";
    let draft = std::fs::read_to_string(&scenario).unwrap();
    assert!(draft.contains(gap), "{draft}");
    std::fs::write(&scenario, draft.replace(gap, "{ from = 1, to = 100 }")).unwrap();
    let check = place.output(&["scenario", "check", &scenario]);
    assert!(check.status.success(), "{}", text(&check.stderr));
    let routes = service.scan(&place, &scenario);
    assert_found(&service, &place, &routes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_django_holds_under_atomic_requests_is_found_by_its_url_alone() {
    let (place, service) = (Place::new(), Service::start(&LIBRARY, "1").await);
    let routes = service.scan_url(&place, &[]);
    assert_found(&service, &place, &routes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_express_and_pg_hold_is_found_by_its_url_alone() {
    let (place, service) = (Place::new(), Service::start(&TICKETS, "1").await);
    let routes = service.scan_url(&place, &[]);
    assert_found(&service, &place, &routes);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_login_nested_routes_and_a_task_after_a_response_are_found_by_the_url_alone() {
    let service = Service::start(&TEAMS, "1").await;
    let who = ["--user", "ada@example.com", "--password-env", PASSWORD.0];
    let routes = service.scan_url(&Place::new(), &who);
    assert_eq!(named(&routes), TEAMS.planted, "{routes:#?}");
    // All of them, and the stream among them; the one that logs in is asked no more.
    assert_eq!(routes.len(), 10, "{routes:#?}");
    assert!(routes.iter().all(|it| it["verdict"] != "unknown" && it["failures"] == 0), "{routes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_fastapi_with_the_mistake_switched_off() {
    assert_nothing_is_found(&Service::start(&SHOP, "0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_django_with_the_mistake_switched_off() {
    assert_nothing_is_found(&Service::start(&LIBRARY, "0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_express_with_the_mistake_switched_off() {
    assert_nothing_is_found(&Service::start(&TICKETS, "0").await);
}
