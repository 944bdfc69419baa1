//! Lines as servers and frameworks write them, and as they should not.

use proptest::prelude::*;

use super::*;

fn request(line: &str) -> Option<(String, u16)> {
    match AccessReader::default().read(line) {
        AccessLine::Request(request) => Some((format!("{} {}", request.method, request.target), request.status)),
        AccessLine::NoRequest | AccessLine::Unknown => None,
    }
}

/// (name, requests, lines of another form) of a log of the fixtures.
fn fixture(name: &str) -> (Vec<(&'static str, u64)>, Vec<String>, u64) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/access").join(name);
    let text =
        String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))).into_owned();
    let mut reader = AccessReader::default();
    let (mut requests, mut unknown) = (Vec::new(), 0);
    for line in text.lines() {
        match reader.read(line) {
            AccessLine::Request(request) => requests.push(format!("{} {}", request.method, request.target)),
            AccessLine::NoRequest => {}
            AccessLine::Unknown => unknown += 1,
        }
    }
    (reader.by_form.into_iter().collect(), requests, unknown)
}

#[test]
fn each_server_and_framework_is_read_and_named() {
    let two = ["GET /orders/7", "GET /orders/8"];
    let full = ["GET /orders/7", "GET /orders/8?full=1", "POST /orders"];
    for (name, form, requests, unknown) in [
        ("vhost_combined.log", "combined", &two[..], 0),
        ("vhost-virtualmin.log", "combined", &two[..], 0),
        ("nginx-request-time.log", "combined", &two[..], 0),
        ("ingress-nginx.log", "combined", &two[..], 0),
        ("traefik.log", "combined", &two[..], 0),
        ("haproxy-clf.log", "combined", &two[..], 0),
        ("django-runserver.log", "Django", &two[..], 0),
        ("ipv6-and-users.log", "combined", &two[..], 2),
        ("caddy.json", "JSON", &full[..], 0),
        ("traefik.json", "JSON", &full[..], 0),
        ("nginx.json", "JSON", &full[..], 0),
        ("caddy-1.log", "JSON", &full[..2], 0),
    ] {
        let (forms, seen, strange) = fixture(name);
        assert_eq!((seen, strange), (requests.iter().map(ToString::to_string).collect::<Vec<_>>(), unknown), "{name}");
        assert!(forms.iter().any(|(it, _)| *it == form), "{name}: {forms:?}");
    }
    for (name, form, count) in [
        ("uvicorn.log", "uvicorn", 6),
        ("compose.log", "uvicorn", 6),
        ("gunicorn-uvicornworker.log", "uvicorn", 4),
        ("hypercorn.log", "hypercorn", 4),
        ("granian.log", "granian", 4),
        ("daphne.log", "daphne", 4),
        ("gunicorn.log", "combined", 4),
    ] {
        let (forms, seen, _) = fixture(name);
        assert!(forms.iter().any(|(it, _)| *it == form), "{name}: {forms:?}");
        assert!(seen.len() >= count.min(3), "{name}: {seen:?}");
        assert!(seen.iter().all(|it| it.contains(" /")), "{name}: {seen:?}");
    }
}

/// Forms that no fixture has: documented examples, with their times.
#[test]
fn times_and_durations_are_kept_where_a_form_has_them() {
    // 2026-11-20T10:15:07Z
    const AT: f64 = 1_795_169_707.0;
    for (line, form, at_s, took_s) in [
        (r#"127.0.0.1 - - [20/Nov/2026:11:15:07 +0100] "GET /orders/7 HTTP/1.1" 200 17"#, "common", Some(AT), None),
        (
            r#"127.0.0.1 - - [20/Nov/2026:10:15:07 +0000] "GET /orders/7 HTTP/1.1" 200 17 "-" "x" 0.012"#,
            "combined",
            Some(AT),
            Some(0.012),
        ),
        (
            r#"10.0.0.7 - - [20/Nov/2026:10:15:07 +0000] "GET /orders/7 HTTP/1.1" 200 17 "-" "-" 7 "shop@docker" "http://172.18.0.4:8000" 12ms"#,
            "combined",
            Some(AT),
            Some(0.012),
        ),
        (
            "[2026-11-20 10:15:07 +0000] 127.0.0.1 - \"GET /orders/7 HTTP/1.1\" 200 12.0",
            "granian",
            Some(AT),
            Some(0.012),
        ),
        ("127.0.0.1 - - [20/Nov/2026 10:15:07] \"GET /orders/7 HTTP/1.1\" 200 -", "werkzeug", Some(AT), None),
        (
            "Nov 20 10:15:07 lb haproxy[22009]: 10.0.0.7:33320 [20/Nov/2026:10:15:07.000] ft bk/srv1 0/0/4/8/12 200 17 - - ---- 1/1/0/0/0 0/0 \"GET /orders/7 HTTP/1.1\"",
            "HAProxy",
            Some(AT),
            Some(0.012),
        ),
        (
            r#"https 2026-11-20T10:15:07.000000Z app/lb/50dc 10.0.0.7:2817 10.0.0.1:80 0.001 0.010 0.001 200 200 34 366 "GET https://shop:443/orders/7 HTTP/1.1" "curl/8.5.0" - -"#,
            "ALB",
            Some(AT),
            Some(0.012),
        ),
        ("GET /orders/7 200 12.000 ms - 17", "morgan", None, Some(0.012)),
        ("\u{1b}[0mGET /orders/7 \u{1b}[32m200\u{1b}[0m 12.000 ms - 17\u{1b}[0m", "morgan", None, Some(0.012)),
        ("GET /orders/7 200 17 - 12.000 ms", "morgan", None, Some(0.012)),
        ("::1 - GET /orders/7 HTTP/1.1 200 17 - 12.000 ms", "morgan", None, Some(0.012)),
        (
            "[GIN] 2026/11/20 - 10:15:07 | 200 |      12.000ms |       10.0.0.7 | GET      \"/orders/7\"",
            "Gin",
            Some(AT),
            Some(0.012),
        ),
        (
            "I, [2026-11-20T10:15:07.000000 #7]  INFO -- : method=GET path=/orders/7 format=json controller=OrdersController action=show status=200 duration=12.00 view=0.10",
            "lograge",
            Some(AT),
            Some(0.012),
        ),
        (
            r#"{"method":"GET","path":"/orders/7","format":"json","status":200,"duration":12.0}"#,
            "JSON",
            None,
            Some(0.012),
        ),
        (
            r#"{"start_time":"2026-11-20T10:15:07.000Z","method":"GET","path":"/orders/7","response_code":200,"duration":12,"bytes_sent":17}"#,
            "JSON",
            Some(AT),
            Some(0.012),
        ),
        (
            r#"{"level":30,"time":1795169707000,"req":{"id":1,"method":"GET","url":"/orders/7"},"res":{"statusCode":200},"responseTime":12,"msg":"request completed"}"#,
            "JSON",
            Some(AT),
            Some(0.012),
        ),
    ] {
        let mut reader = AccessReader::default();
        let AccessLine::Request(request) = reader.read(line) else { panic!("{form}: {line}") };
        assert_eq!(
            (request.method.as_str(), request.target.as_str(), request.status),
            ("GET", "/orders/7", 200),
            "{line}"
        );
        assert_eq!(reader.by_form.keys().copied().collect::<Vec<_>>(), [form], "{line}");
        assert_eq!(request.at_s, at_s, "{form}: {line}");
        assert!(
            match (request.took_s, took_s) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (a, b) => a == b,
            },
            "{form}: {:?}, {line}",
            request.took_s
        );
    }
}

#[test]
fn rails_tells_a_request_in_two_lines() {
    let mut reader = AccessReader::default();
    for line in [
        "I, [2026-11-20T10:15:07.1 #7]  INFO -- : [5f2c7d6e-0000-4000-8000-000000000001] Started GET \"/orders/7\" for 127.0.0.1 at 2026-11-20 10:15:07 +0000",
        "I, [2026-11-20T10:15:07.1 #7]  INFO -- : [5f2c7d6e-0000-4000-8000-000000000002] Started GET \"/orders/8\" for 127.0.0.1 at 2026-11-20 10:15:07 +0000",
        "I, [2026-11-20T10:15:07.1 #7]  INFO -- : [5f2c7d6e-0000-4000-8000-000000000001] Processing by OrdersController#show as HTML",
    ] {
        assert!(!matches!(reader.read(line), AccessLine::Request(_)), "{line}");
    }
    let line = "I, [2026-11-20T10:15:07.2 #7]  INFO -- : [5f2c7d6e-0000-4000-8000-000000000001] Completed 200 OK in 12ms (Views: 1.0ms | ActiveRecord: 2.0ms)";
    let AccessLine::Request(request) = reader.read(line) else { panic!("it is whole") };
    assert_eq!((request.target.as_str(), request.status, request.took_s), ("/orders/7", 200, Some(0.012)));
}

#[test]
fn iis_says_which_columns_it_has() {
    let mut reader = AccessReader::default();
    for line in [
        "#Software: Microsoft Internet Information Services 10.0",
        "#Fields: date time cs-method cs-uri-stem cs-uri-query sc-status time-taken",
    ] {
        assert!(!matches!(reader.read(line), AccessLine::Request(_)), "{line}");
    }
    let AccessLine::Request(request) = reader.read("2026-11-20 10:15:07 GET /orders/7 full=1 200 12") else {
        panic!("a request")
    };
    assert_eq!(
        (request.target.as_str(), request.took_s, request.at_s),
        ("/orders/7?full=1", Some(0.012), Some(1_795_169_707.0))
    );
}

#[test]
fn a_form_that_the_user_describes_is_read_and_one_that_says_too_little_is_refused() {
    for (format, line) in [
        (
            r#"$remote_addr [$time_local] "$request" $status $request_time"#,
            r#"10.0.0.7 [20/Nov/2026:10:15:07 +0000] "GET /orders/7 HTTP/1.1" 200 0.012"#,
        ),
        ("$http_x|$request_method|$request_uri|$status|$request_time", "a b|GET|/orders/7|200|0.012"),
        (
            r#"%h %l %u %t "%r" %>s %b %D"#,
            r#"10.0.0.7 - - [20/Nov/2026:10:15:07 +0000] "GET /orders/7 HTTP/1.1" 200 17 12000"#,
        ),
        (r"%{X-Forwarded-For}i %m %U %s %T", "10.0.0.7 GET /orders/7 200 0.012"),
    ] {
        let mut reader = AccessReader::of(format.parse().expect(format));
        let AccessLine::Request(request) = reader.read(line) else { panic!("{format}: {line}") };
        assert_eq!((request.target.as_str(), request.status), ("/orders/7", 200), "{format}");
        assert!(request.took_s.is_some_and(|it| (it - 0.012).abs() < 1e-9), "{format}: {:?}", request.took_s);
    }
    for (format, expected) in [
        ("$status", "expected the request"),
        ("$request", "expected the status"),
        ("$request $request $status", "expected `$request` once"),
        ("", "expected the request"),
    ] {
        let error = format.parse::<LogFormat>().expect_err(format).to_string();
        assert!(error.contains(expected), "{format}: {error}");
    }
}

#[test]
fn what_is_no_request_is_none() {
    for line in [
        r#"h - - [t] "GET /a b c HTTP/1.1" 200 1"#,
        r#"h - - [t] "GET /a HTTP/1.1" 999 1"#,
        r#"h - - [t] "get /a HTTP/1.1" 200 1"#,
        r#"h - - [t] "-" 408 0"#,
        r#"h - - [t] "GET /a"#,
        r#"DEBUG:urllib3.connectionpool:http://shop:8000 "GET /orders/7 HTTP/1.1" 200 17"#,
        r#"{"level":"info","msg":"started","port":8000}"#,
        "method=GET path=/orders/7",
        "SELECT method, path FROM requests",
        "GET /orders/7 was slow",
        "",
    ] {
        assert_eq!(request(line), None, "{line}");
    }
    for (line, expected) in [
        (r#"h - - [t] "GET /a\"b HTTP/1.1" 200 1 "-" "x""#, "GET /a\\\"b"),
        (r#"h - - [t] "GET http://h:1/a?b=1 HTTP/1.1" 200 -"#, "GET /a?b=1"),
        (r#"h - - [t] "GET /a" 200 1"#, "GET /a"),
    ] {
        assert_eq!(request(line), Some((expected.to_owned(), 200)), "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(lines in proptest::collection::vec(any::<String>(), 0..20), format in any::<String>()) {
        let mut reader = AccessReader::default();
        for line in &lines {
            let _ = reader.read(line);
        }
        let _ = format.parse::<LogFormat>();
    }
}
