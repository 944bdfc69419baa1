//! What frameworks write by themselves: morgan's and Gin's.

use std::sync::LazyLock;

use regex::Regex;

use super::request_line::{duration, is_method, path_of, status, time};
use super::{AccessForm, AccessRequest, Read};

/// `[GIN] 2026/11/20 - 10:15:07 | 200 |   12.345µs |  10.0.0.7 | GET      "/orders/7"`
pub(super) struct Gin;

static GIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"\[GIN\] (\d{4}/\d\d/\d\d - \d\d:\d\d:\d\d) \|\s*(\d{3})\s*\|\s*([^|]+?)\s*\|[^|]*\|\s*([A-Z]+)\s+"([^"]*)""#,
    )
    .expect("a test tries it")
});

/// Colours, as on a terminal.
static COLOURS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\x1b\[[\d;]*m").expect("it is written here"));

impl AccessForm for Gin {
    fn name(&self) -> &'static str {
        "Gin"
    }

    fn read(&mut self, line: &str) -> Read {
        if !line.contains("[GIN]") {
            return Read::Other;
        }
        let line = COLOURS.replace_all(line, "");
        let request = || {
            let found = GIN.captures(&line)?;
            Some(AccessRequest {
                method: found[4].to_owned(),
                target: path_of(&found[5]).to_owned(),
                status: status(&found[2])?,
                at_s: time(&found[1]),
                took_s: duration(&found[3]),
            })
        };
        // It tells of its routes in the same form.
        request().map_or(Read::Known, Read::Request)
    }
}

/// `GET /orders/7 200 12.345 ms - 17` (dev), `GET /orders/7 200 17 - 12.345 ms` (tiny), `::1 - GET /orders/7 HTTP/1.1 200 17 - 12.3 ms` (short).
pub(super) struct Morgan;

static MORGAN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:\S+ \S+ )?([A-Z]+) (\S+)(?: HTTP/[\d.]+)? (\d{3}) (?:([\d.]+) ms - (?:\d+|-)|(?:\d+|-) - ([\d.]+) ms|[\d.-]+ - - ms)\s*$")
        .expect("a test tries it")
});

impl AccessForm for Morgan {
    fn name(&self) -> &'static str {
        "morgan"
    }

    fn read(&mut self, line: &str) -> Read {
        let line = COLOURS.replace_all(line, "");
        let request = || {
            let found = MORGAN.captures(&line)?;
            let target = path_of(found.get(2)?.as_str());
            (is_method(&found[1]) && target.starts_with('/')).then_some(())?;
            let ms = found.get(4).or_else(|| found.get(5)).and_then(|it| it.as_str().parse::<f64>().ok());
            Some(AccessRequest {
                method: found[1].to_owned(),
                target: target.to_owned(),
                status: status(&found[3])?,
                at_s: None,
                took_s: ms.map(|ms| ms / 1e3),
            })
        };
        request().into()
    }
}
