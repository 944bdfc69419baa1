//! Rails: `Started GET "/orders/7" for 127.0.0.1 at 2026-11-20 10:15:07 +0000`, and later `Completed 200 OK in 12ms (…)`.

use std::collections::VecDeque;
use std::sync::LazyLock;

use regex::Regex;

use super::request_line::{duration, path_of, status, time};
use super::{AccessForm, AccessRequest, Read};

/// Requests that have begun, and not ended yet.
const OPEN: usize = 1_000;

#[derive(Default)]
pub(super) struct Rails {
    /// Behind their tag, such as a request's id or a process; the last at the end.
    open: VecDeque<(String, AccessRequest)>,
}

static STARTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^(.*?)Started ([A-Z]+) "([^"]*)" for \S+ at (.+)$"#).expect("a test tries it"));

static COMPLETED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(.*?)Completed (\d{3}) .*?in (\d+(?:\.\d+)?ms)").expect("so is this"));

/// What tells the lines of one request from those of others: a tag in brackets, else the process.
static TAG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([0-9a-f-]{8,})\]|#(\d+)\]").expect("and this"));

impl AccessForm for Rails {
    fn name(&self) -> &'static str {
        "Rails"
    }

    fn read(&mut self, line: &str) -> Read {
        let tag = |before: &str| {
            let found = TAG.captures_iter(before).last();
            found.and_then(|it| it.get(1).or_else(|| it.get(2)).map(|it| it.as_str().to_owned())).unwrap_or_default()
        };
        if let Some(found) = STARTED.captures(line) {
            let request = AccessRequest {
                method: found[2].to_owned(),
                target: path_of(&found[3]).to_owned(),
                at_s: time(&found[4]),
                ..AccessRequest::default()
            };
            self.open.push_back((tag(&found[1]), request));
            if self.open.len() > OPEN {
                self.open.pop_front();
            }
            return Read::Known;
        }
        let Some(found) = COMPLETED.captures(line) else { return Read::Other };
        let tag = tag(&found[1]);
        let Some(place) = self.open.iter().rposition(|(of, _)| *of == tag) else { return Read::Known };
        let Some((_, request)) = self.open.remove(place) else { return Read::Known };
        status(&found[2]).map_or(Read::Known, |status| {
            Read::Request(AccessRequest { status, took_s: duration(&found[3]), ..request })
        })
    }
}
