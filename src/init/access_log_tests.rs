//! Logs as servers write them, and as they should not.

use super::*;
use crate::init::file::write;
use crate::scenario::service::{Scalar, Values};
use crate::scenario::source::problems;

const LOG: &str = r#"127.0.0.1 - - [25/Nov/2026:10:00:00 +0000] "GET /orders/1?full=yes HTTP/1.1" 200 512
127.0.0.1 - ann [25/Nov/2026:10:00:01 +0000] "GET /orders/2?full=yes HTTP/1.1" 200 512 "http://x/" "Agent \"7\" [x]"
127.0.0.1 - - [25/Nov/2026:10:00:01 +0000] "GET /orders/3?token=s3cret HTTP/1.1" 404 0 "-" "curl"
127.0.0.1 - - [25/Nov/2026:10:00:02 +0000] "GET /users/550e8400-e29b-41d4-a716-446655440000 HTTP/2.0" 200 - "-" "curl"
127.0.0.1 - - [25/Nov/2026:10:00:02 +0000] "GET /users/deadbeef01 HTTP/1.0" 500 12
shop:443 10.0.0.7 - - [25/Nov/2026:10:00:03 +0000] "POST /orders HTTP/1.1" 201 20
127.0.0.1 - - [25/Nov/2026:10:00:03 +0000] "GET /slow HTTP/1.1" 504 0
127.0.0.1 - - [25/Nov/2026:10:00:03 +0000] "GET /old HTTP/1.1" 302 0
127.0.0.1 - - [25/Nov/2026:10:00:04 +0000] "GET /wp-login.php HTTP/1.1" 404 0
127.0.0.1 - - [25/Nov/2026:10:00:04 +0000] "GET /static/app.js?v=1 HTTP/1.1" 200 9999
127.0.0.1 - - [25/Nov/2026:10:00:04 +0000] "HEAD /orders/1 HTTP/1.1" 200 0
127.0.0.1 - - [25/Nov/2026:10:00:05 +0000] "GET /logout HTTP/1.1" 200 0
127.0.0.1 - - [25/Nov/2026:10:00:05 +0000] "GET /reset/aB3dE6gH9jK2mN5pQ8rS HTTP/1.1" 200 0
127.0.0.1 - - [25/Nov/2026:10:00:05 +0000] "GET /me?access_token=s3cret HTTP/1.1" 200 0
127.0.0.1 - - [25/Nov/2026:10:00:06 +0000] "\x16\x03\x01" 400 0
nonsense
"#;

fn read(log: &[u8]) -> Result<(Draft, LineCounts), InitError> {
    draft(&mut &*log, "`access.log`", None, AccessReader::default(), KnownPaths::default())
}

fn route<'a>(draft: &'a Draft, name: &str) -> &'a DraftRoute {
    draft.routes.iter().find(|route| route.route == name).unwrap_or_else(|| panic!("{name} in {:?}", draft.routes))
}

#[test]
fn routes_come_with_their_counts_and_the_values_that_were_found() {
    let (draft, tally) = read(LOG.as_bytes()).unwrap();
    let orders = route(&draft, "GET /orders/{id}");
    assert_eq!(orders.params, [("id".to_owned(), Values::List(vec![Scalar::Number(1), Scalar::Number(2)]))]);
    assert_eq!((orders.weight, orders.query.as_slice()), (2, &[("full".to_owned(), "yes".to_owned())][..]));
    assert_eq!(orders.comments[0], "2 requests in the log; 1 more were refused with 4xx.");
    assert_eq!(route(&draft, "GET /users/{id}").weight, 2);
    assert_eq!(route(&draft, "GET /slow").comments[0], "1 request in the log, all of which failed with 5xx.");
    assert_eq!(route(&draft, "GET /old").expect, [302]);
    assert!(route(&draft, "POST /orders").changes_data && route(&draft, "GET /logout").changes_data);
    assert_eq!((tally.lines, tally.bad, tally.first_bad, tally.files, tally.other_methods), (16, 2, Some(15), 1, 1));
    assert!(
        draft.notes.contains(&"1 route answered with 4xx alone: GET /wp-login.php".to_owned()),
        "{:?}",
        draft.notes
    );
}

#[test]
fn what_may_be_a_secret_is_not_copied() {
    let (draft, _) = read(LOG.as_bytes()).unwrap();
    let text = write(&draft, "a.toml").text;
    assert!(!text.contains("s3cret") && !text.contains("aB3dE6"), "{text}");
    let found = problems("a.toml", &text, &[]).unwrap();
    let keys: Vec<String> = found.iter().map(|it| it.problem.to_string()).collect();
    assert!(found.iter().all(|it| it.problem.message.starts_with("is still TODO: ")), "{keys:?}");
    assert_eq!(keys.len(), 3, "the target, the secret in the path and the one in the query: {keys:?}");
}

#[test]
fn a_log_becomes_a_scenario() {
    insta::assert_snapshot!(write(&read(LOG.as_bytes()).unwrap().0, "a.toml").text);
}

#[test]
fn what_is_no_log_is_refused_and_nothing_makes_it_slow_or_large() {
    for text in ["", "a\nb\n", "{\"json\": 1}\n", "GET / HTTP/1.1\n"] {
        assert!(matches!(read(text.as_bytes()), Err(InitError::NoLog { .. })), "{text}");
    }
    let good = "h - - [t] \"GET /a HTTP/1.1\" 200 1\n";
    let long = format!("{}\n{good}", "x".repeat(1 << 20));
    assert_eq!(
        read(long.as_bytes()).unwrap().1,
        LineCounts { lines: 2, requests: 1, bad: 1, first_bad: Some(1), ..LineCounts::default() }
    );
    let mut binary = vec![0xff, 0xfe, b'\n'];
    binary.extend_from_slice(good.as_bytes());
    assert_eq!(read(&binary).unwrap().1.bad, 1);
    let many: Vec<String> = (0..20_000).map(|n| format!("h - - [t] \"GET /p/x{n} HTTP/1.1\" 200 1\n")).collect();
    let many = many.concat();
    let (draft, _) = read(many.as_bytes()).unwrap();
    assert!(
        draft.routes.len() <= MOST_ROUTES && draft.notes.iter().any(|note| note.contains("beyond")),
        "{:?}",
        draft.notes
    );
}

#[test]
fn weights_keep_their_proportions_and_stay_readable() {
    let line = |path: &str| format!("h - - [t] \"GET {path} HTTP/1.1\" 200 1\n");
    let log = line("/a").repeat(5_000) + &line("/b").repeat(50) + &line("/c");
    let (draft, _) = read(log.as_bytes()).unwrap();
    let weights: Vec<u32> = draft.routes.iter().map(|route| route.weight).collect();
    assert_eq!(weights, [1_000, 10, 1]);
}

#[test]
fn many_words_at_one_place_are_values() {
    let line = |path: String, status: u16| format!("h - - [t] \"GET {path} HTTP/1.1\" {status} 1\n");
    let mut log: String = (0..30).map(|n| line(format!("/products/a%20word{n}/reviews/{n}"), 200)).collect();
    log += &line("/products/gone/reviews/7".to_owned(), 500);
    log += &(0..30).map(|n| line(format!("/probe/x{n}"), 404)).collect::<String>();
    log += &('a'..='t').map(|c| line(format!("/api/word-{c}{c}"), 200)).collect::<String>();
    let (draft, _) = read(log.as_bytes()).unwrap();
    let reviews = route(&draft, "GET /products/{id}/reviews/{id2}");
    assert_eq!(reviews.weight, 31);
    let Values::List(words) = &reviews.params[0].1 else { panic!("{:?}", reviews.params) };
    assert!(words.contains(&Scalar::Text("a word7".to_owned())) && words.len() == 30, "{words:?}");
    assert!(!words.contains(&Scalar::Text("gone".to_owned())), "{words:?}");
    let Values::List(numbers) = &reviews.params[1].1 else { panic!("{:?}", reviews.params) };
    assert!((0..30).all(|n| numbers.contains(&Scalar::Number(n))), "{numbers:?}");
    assert_eq!(draft.routes.len(), 21, "twenty words may be twenty routes: {:?}", draft.routes);
}

fn fixture(name: &str) -> (Draft, LineCounts) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/access").join(name);
    let log = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    read(&log).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn weights(draft: &Draft) -> Vec<(&str, u32)> {
    draft.routes.iter().map(|route| (route.route.as_str(), route.weight)).collect()
}

#[test]
fn ids_of_each_kind_are_one_route_and_words_beside_them_are_others() {
    for (name, things) in [
        ("cuid", "projects"),
        ("email", "mailboxes"),
        ("hashid", "links"),
        ("nanoid", "boards"),
        ("prefixed", "customers"),
        ("relay", "nodes"),
        ("simple", "tenants"),
        ("ticket", "tickets"),
        ("typeid", "people"),
        ("ulid-lower", "events"),
    ] {
        let (draft, _) = fixture(&format!("ids-{name}.log"));
        let mut names = weights(&draft);
        names.sort_unstable();
        let route = |rest: &str| format!("GET /api/{things}{rest}");
        let (list, ids, search) = (route(""), route("/{id}/items"), route("/search/items"));
        assert_eq!(
            names,
            [(list.as_str(), 1), (search.as_str(), 1), (ids.as_str(), 5)]
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>(),
            "{name}"
        );
        let params = &draft.routes.iter().find(|it| it.route == ids).unwrap().params[0].1;
        match name {
            "email" | "nanoid" => assert!(
                !format!("{params:?}").contains("jane") && !format!("{params:?}").contains("V1St"),
                "{name}: {params:?}"
            ),
            _ => assert!(matches!(params, Values::List(values) if values.len() == 5), "{name}: {params:?}"),
        }
    }
    let (draft, _) = fixture("ids-many.log");
    assert_eq!(
        weights(&draft),
        [
            ("GET /api/projects/search/items", 40),
            ("GET /api/projects/{id}/items", 25),
            ("GET /api/projects/mine/items", 10)
        ]
    );
}

#[test]
fn what_no_load_should_repeat_is_left_out_and_said() {
    let (draft, tally) = fixture("no-load.log");
    let text = write(&draft, "a.toml").text;
    for secret in ["1A2B", "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(
        weights(&draft).iter().all(|(route, _)| !route.contains("/ws") && !route.contains("wp-login")),
        "{:?}",
        draft.routes
    );
    assert!(tally.upgrades > 0 && tally.odd_paths > 0, "{tally:?}");
    for note in ["WebSocket", "other methods", "a path that no scenario can ask for", "4xx alone"] {
        assert!(draft.notes.iter().any(|it| it.contains(note)), "{note}: {:?}", draft.notes);
    }
    route(&draft, "GET /m%C3%BCller/{id}");
    route(&draft, "GET /orders");
    assert!(route(&draft, "GET /orders/{id}").weight >= 3);
}

#[test]
fn the_access_log_of_uvicorn_alone_makes_a_scenario() {
    for name in ["uvicorn.log", "compose.log"] {
        let (draft, _) = fixture(name);
        let orders = route(&draft, "GET /orders/{id}");
        assert_eq!(
            (orders.weight, &orders.params[0].1),
            (2, &Values::List(vec![Scalar::Number(1), Scalar::Number(2)])),
            "{name}"
        );
        assert_eq!(route(&draft, "GET /orders").query, [("town".to_owned(), "Bonn".to_owned())], "{name}");
        assert!(route(&draft, "POST /orders").changes_data, "{name}");
        assert_eq!(draft.health.as_deref(), Some("/health"), "{name}: {:?}", draft.notes);
    }
}

#[test]
fn a_document_beside_the_log_decides_what_is_an_id() {
    let line = |path: &str| format!("h - - [t] \"GET {path} HTTP/1.1\" 200 1\n");
    let log: String = ["/api/shops/corner", "/api/shops/kiosk", "/api/shops/mine", "/api/42/rates"].map(line).concat();
    let document = r#"{"openapi": "3.1.0", "info": {"title": "a", "version": "1"}, "servers": [{"url": "/api"}], "paths": {
        "/shops/{slug}": {"get": {}}, "/shops/mine": {"get": {}}, "/42/rates": {"get": {}}}}"#;
    let routes = crate::init::openapi::routes(document, "`api.json`").unwrap();
    let known = KnownPaths::of(routes);
    let (with, _) = draft(&mut log.as_bytes(), "`access.log`", None, AccessReader::default(), known).unwrap();
    let names = |draft: &Draft| -> Vec<String> {
        let mut names: Vec<String> = draft.routes.iter().map(|it| it.route.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&with), ["GET /api/42/rates", "GET /api/shops/mine", "GET /api/shops/{id}"]);
    let (without, _) = read(log.as_bytes()).unwrap();
    assert_eq!(
        names(&without),
        ["GET /api/shops/corner", "GET /api/shops/kiosk", "GET /api/shops/mine", "GET /api/{id}/rates"]
    );
}
