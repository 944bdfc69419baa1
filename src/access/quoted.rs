//! Forms with the request line between quotes: the common and the combined format and their many cousins, `HAProxy`'s, and AWS's.

use std::sync::LazyLock;

use regex::Regex;

use super::request_line::{duration, parts, status, time};
use super::{AccessForm, AccessRequest, Read};

/// `… "GET /orders/7 HTTP/1.1" 200 …`: common, combined, with hosts before and times behind, uvicorn, gunicorn, hypercorn, granian,
/// daphne, werkzeug, Django, ingress-nginx, Traefik, `HAProxy` in CLF.
#[derive(Default)]
pub(super) struct Quoted {
    name: &'static str,
}

/// How each cousin begins or goes on; the first that fits gives the name.
static NAMES: LazyLock<[(&str, Regex); 7]> = LazyLock::new(|| {
    let expression = |text| Regex::new(text).expect("a test tries each");
    [
        ("uvicorn", expression(r#"^(?:INFO:\s+)?\S+:\d+ - "[A-Z]+ [^"]*" \d{3}(?: [A-Z][A-Za-z' -]+)?$"#)),
        ("granian", expression(r#"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \S+ - ""#)),
        ("hypercorn", expression(r#""[A-Z]+ \S+ \d(?:\.\d)?" "#)),
        ("daphne", expression(r#"^\S+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\] "[A-Z]+ \S+" \d{3} "#)),
        ("werkzeug", expression(r#"^\S+ - - \[\d\d/[A-Z][a-z]{2}/\d{4} \d\d:\d\d:\d\d\] ""#)),
        ("Django", expression(r#"^\[\d\d/[A-Z][a-z]{2}/\d{4} \d\d:\d\d:\d\d\] ""#)),
        ("combined", expression(r#"" \d{3} (?:\d+|-) ""#)),
    ]
});

/// Behind the agent, ingress-nginx has the length of the request and the seconds that it took.
static INGRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"" \d+ (\d+\.\d{3}) \["#).expect("it is written here"));

/// Traefik ends with the time; nginx, as many write it, has it behind the last quotes.
static LAST: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"" (\d+(?:\.\d+)?(?:ms|s|µs))$"#).expect("so is this"));
static NGINX_TIME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"" (\d+\.\d{3})(?: |$)"#).expect("and this"));

impl AccessForm for Quoted {
    fn name(&self) -> &'static str {
        if self.name.is_empty() { "common" } else { self.name }
    }

    fn read(&mut self, line: &str) -> Read {
        let Some((before, request, rest)) = quoted(line) else { return Read::Other };
        let Some((method, target)) = parts(request) else { return Read::Other };
        // A client's own log has the URL in front: these requests were asked, not answered.
        if before.trim_end().rsplit(' ').next().is_some_and(|word| word.contains("://")) {
            return Read::Other;
        }
        let mut words = rest.split_whitespace();
        let Some(status) = words.next().and_then(status) else { return Read::Other };
        // A count of bytes, a phrase such as `OK`, milliseconds, or nothing.
        let next = words.next().unwrap_or("-");
        if next != "-" && !next.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '"') {
            return Read::Other;
        }
        self.name = NAMES.iter().find(|(_, expression)| expression.is_match(line)).map_or("common", |(name, _)| name);
        let took_s = match self.name {
            "granian" => next.parse::<f64>().ok().map(|ms| ms / 1e3),
            _ => took_s(rest),
        };
        Read::Request(AccessRequest {
            method: method.to_owned(),
            target: target.to_owned(),
            status,
            at_s: time(before),
            took_s,
        })
    }
}

fn took_s(rest: &str) -> Option<f64> {
    let seconds = |expression: &Regex| expression.captures(rest).and_then(|it| it[1].parse::<f64>().ok());
    let with_unit = LAST.captures(rest).and_then(|it| duration(&it[1]));
    with_unit.or_else(|| seconds(&INGRESS)).or_else(|| seconds(&NGINX_TIME))
}

/// What stands before the first quotes that hold a request line, in them, and behind.
fn quoted(line: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = line[from..].find('"') {
        let start = from + at + 1;
        let end = start + end_of_quotes(&line[start..])?;
        let inner = &line[start..end];
        if parts(inner).is_some() {
            return Some((&line[..start - 1], inner, line[end + 1..].trim_start()));
        }
        from = end + 1;
    }
    None
}

/// The quotes' end; one behind a backslash is a part of the text.
pub(super) fn end_of_quotes(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

/// `10.0.0.7:33320 [20/Nov/2026:10:15:07.326] ft bk/srv 0/0/4/3/7 200 17 - - ---- 1/1/0/0/0 0/0 "GET /orders/7 HTTP/1.1"`
pub(super) struct Haproxy;

static HAPROXY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\[([^\]]+)\] \S+ \S+ -?\d+/-?\d+/-?\d+/-?\d+/\+?(-?\d+) (\d{3}) [+\d]+ .*"([^"]*)"\s*$"#)
        .expect("a test tries it")
});

impl AccessForm for Haproxy {
    fn name(&self) -> &'static str {
        "HAProxy"
    }

    fn read(&mut self, line: &str) -> Read {
        let request = || {
            let found = HAPROXY.captures(line)?;
            let (method, target) = parts(&found[4])?;
            let took_s = found[2].parse::<f64>().ok().filter(|ms| *ms >= 0.0).map(|ms| ms / 1e3);
            Some(AccessRequest {
                method: method.to_owned(),
                target: target.to_owned(),
                status: status(&found[3])?,
                at_s: time(&found[1]),
                took_s,
            })
        };
        request().into()
    }
}

/// AWS's load balancers: `https 2026-11-20T10:15:01.123456Z app/lb 10.0.0.7:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET …" …`
pub(super) struct Alb;

static ALB: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^(?:(?:https?|h2|grpcs?|wss?) )?(\d{4}-\d\d-\d\dT\S+) \S+ \S+ \S+ (-?[\d.]+) (-?[\d.]+) (-?[\d.]+) (\d{3}) \S+ -?\d+ -?\d+ "([^"]*)""#)
        .expect("a test tries it")
});

impl AccessForm for Alb {
    fn name(&self) -> &'static str {
        "ALB"
    }

    fn read(&mut self, line: &str) -> Read {
        let request = || {
            let found = ALB.captures(line)?;
            let (method, target) = parts(found[6].trim_end())?;
            // -1: its target did not answer.
            let took_s =
                (2..=4).map(|group| found[group].parse::<f64>().ok().filter(|it| *it >= 0.0)).sum::<Option<f64>>();
            Some(AccessRequest {
                method: method.to_owned(),
                target: target.to_owned(),
                status: status(&found[5])?,
                at_s: time(&found[1]),
                took_s,
            })
        };
        request().into()
    }
}
