//! A draft from an access log of any form: which routes, how often, with which values.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{BufRead, Read};

use super::file::counted;
use super::known_paths::KnownPaths;
use super::paths::{is_static, tells_health};
use super::traffic::{ObservedTraffic, Request};
use super::{Draft, DraftRoute, InitError, MOST_ROUTES, short, todo};
use crate::access::{AccessLine, AccessReader};
use crate::scenario::service::{BaseUrl, RouteName};

use super::BodyFormat;

/// A longer line is none of a log's.
const LONGEST_LINE: u64 = 64 << 10;

/// Weights are brought down to this, so that they can be read.
const HEAVIEST: u64 = 1_000;

/// Most names that a note on left out routes lists.
const MOST_NAMES: usize = 8;

/// Lines that were read, and those that were not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    pub lines: u64,
    /// Lines that are requests.
    pub requests: u64,
    /// Lines of another form.
    pub bad: u64,
    pub first_bad: Option<u64>,
    /// Requests for files that are served as they are.
    pub files: u64,
    /// Requests with methods that become no route: `HEAD`, `OPTIONS`, and what is none.
    pub other_methods: u64,
    /// Connections that went on as a WebSocket: requests without an answer.
    pub upgrades: u64,
    /// Requests whose path no scenario can ask for.
    pub odd_paths: u64,
}

/// Makes a draft of a log. `origin` is its name in messages; a document has the `known` paths.
///
/// # Errors
/// When it cannot be read, is no such log, or has nothing that can be asked for.
pub fn draft(
    log: &mut dyn BufRead,
    origin: &str,
    target: Option<&BaseUrl>,
    mut reader: AccessReader,
    known: KnownPaths,
) -> Result<(Draft, LineCounts), InitError> {
    let mut tally = LineCounts::default();
    let mut traffic = ObservedTraffic::with(known);
    let mut first = String::new();
    let mut line = Vec::new();
    while next_line(log, &mut line).map_err(|source| InitError::Log { origin: origin.to_owned(), source })? {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if tally.lines == 0 {
            first = text.chars().take(60).collect();
        }
        tally.lines += 1;
        see(reader.read(text), &mut tally, &mut traffic);
    }
    if tally.requests == 0 {
        return Err(InitError::NoLog { origin: origin.to_owned(), first: short(&first) });
    }
    let mut notes = notes(&tally, traffic.beyond);
    let mut routes = routes(traffic, &mut notes);
    let is_health = |it: &DraftRoute| it.route.strip_prefix("GET ").is_some_and(tells_health);
    let health = routes.iter().position(is_health).filter(|_| routes.len() > 1).map(|place| routes.remove(place));
    let health = health.and_then(|it| it.route.strip_prefix("GET ").map(str::to_owned));
    notes.extend(health.iter().map(|path| format!("GET {path}: it is asked as the service's health")));
    if routes.is_empty() {
        return Err(InitError::NoRoutes { origin: origin.to_owned(), notes });
    }
    let draft = Draft {
        name: "my-service".to_owned(),
        title: String::new(),
        origin: format!(
            "{origin} ({} in {}{})",
            counted_many(tally.requests, "request"),
            counted_many(tally.lines, "line"),
            forms(&reader)
        ),
        target: target.cloned(),
        target_comments: Vec::new(),
        health,
        identities: Vec::new(),
        routes,
        notes,
    };
    Ok((draft, tally))
}

/// Reads the next line; false at the end. A line that is too long is cut, so that none fills the memory.
fn next_line(log: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if Read::take(&mut *log, LONGEST_LINE).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    while line.last() != Some(&b'\n') && line.len() as u64 >= LONGEST_LINE {
        let available = log.fill_buf()?;
        let Some(end) = available.iter().position(|byte| *byte == b'\n') else {
            let all = available.len();
            if all == 0 {
                break;
            }
            log.consume(all);
            continue;
        };
        log.consume(end + 1);
        break;
    }
    Ok(true)
}

/// `: uvicorn`, with the share of the lines where there is more than one form.
fn forms(reader: &AccessReader) -> String {
    let mut forms: Vec<(&str, u64)> = reader.by_form.iter().map(|(name, lines)| (*name, *lines)).collect();
    forms.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    let names: Vec<String> = match forms.as_slice() {
        [(name, _)] => vec![(*name).to_owned()],
        forms => forms.iter().map(|(name, lines)| format!("{name} {lines}")).collect(),
    };
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

fn see(line: AccessLine, tally: &mut LineCounts, traffic: &mut ObservedTraffic) {
    let request = match line {
        AccessLine::Request(request) => request,
        AccessLine::NoRequest => return,
        AccessLine::Unknown => {
            tally.bad += 1;
            tally.first_bad.get_or_insert(tally.lines);
            return;
        }
    };
    tally.requests += 1;
    let target = without_matrix(&request.target);
    let path = target.split('?').next().unwrap_or_default();
    if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&request.method.as_str()) {
        tally.other_methods += 1;
    } else if request.status == 101 {
        tally.upgrades += 1;
    } else if is_static(path) {
        tally.files += 1;
    } else if path.starts_with("//")
        || format!("GET {}", super::paths::split(path).template).parse::<RouteName>().is_err()
    {
        tally.odd_paths += 1;
    } else {
        traffic.see(Request { method: &request.method, target: &target, status: request.status });
    }
}

/// Without `;jsessionid=…` and other parameters of a path's parts: sessions stand there.
fn without_matrix(target: &str) -> Cow<'_, str> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    if !path.contains(';') {
        return Cow::Borrowed(target);
    }
    let parts: Vec<&str> = path.split('/').map(|part| part.split(';').next().unwrap_or_default()).collect();
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Cow::Owned(format!("{}{query}", parts.join("/")))
}

fn notes(tally: &LineCounts, beyond: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(first) = tally.first_bad {
        let bad = counted_many(tally.bad, "line");
        notes.push(format!("{bad} of another form, the first in line {first}"));
    }
    if tally.files > 0 {
        notes.push(format!("{} for files that are served as they are", counted_many(tally.files, "request")));
    }
    if tally.other_methods > 0 {
        notes.push(format!("{} with other methods (HEAD, OPTIONS, …)", counted_many(tally.other_methods, "request")));
    }
    if tally.upgrades > 0 {
        notes.push(format!("{} that went on as a WebSocket (101)", counted_many(tally.upgrades, "request")));
    }
    if tally.odd_paths > 0 {
        notes.push(format!(
            "{} with a path that no scenario can ask for, such as `//`",
            counted_many(tally.odd_paths, "request")
        ));
    }
    if beyond > 0 {
        notes.push(format!("{} of routes beyond the first ten thousand", counted_many(beyond, "request")));
    }
    notes
}

fn counted_many(count: u64, what: &str) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), what)
}

fn routes(traffic: ObservedTraffic, notes: &mut Vec<String>) -> Vec<DraftRoute> {
    let (kept, refused): (Vec<_>, Vec<_>) = traffic.by_count().into_iter().partition(|(_, seen)| seen.count() > 0);
    if !refused.is_empty() {
        let names: Vec<&str> = refused.iter().take(MOST_NAMES).map(|(key, _)| key.as_str()).collect();
        let more = if refused.len() > MOST_NAMES { ", …" } else { "" };
        let only = counted(refused.len(), "route");
        notes.push(format!("{only} answered with 4xx alone: {}{more}", short(&names.join(", "))));
    }
    if kept.len() > MOST_ROUTES {
        notes.push(format!(
            "{}: the {MOST_ROUTES} most frequent are written",
            counted(kept.len() - MOST_ROUTES, "rarer route")
        ));
    }
    let heaviest = kept.first().map_or(1, |(_, seen)| seen.count());
    let route = |(key, seen): &(String, super::observed_route::ObservedRoute)| {
        let mut route = seen.route(key)?;
        let count = seen.count();
        let scaled = if heaviest > HEAVIEST { (count * HEAVIEST).div_ceil(heaviest) } else { count };
        route.weight = u32::try_from(scaled).unwrap_or(u32::MAX).max(1);
        let [_, _, _, _, refused, failed] = seen.by_class;
        // Writing to a string cannot fail.
        let mut lines = format!("{} in the log", counted_many(count, "request"));
        if failed == count {
            lines.push_str(", all of which failed with 5xx");
        } else if failed > 0 {
            let _ = write!(lines, ", {failed} of which failed with 5xx");
        }
        if refused > 0 {
            let _ = write!(lines, "; {refused} more were refused with 4xx");
        }
        route.comments.insert(0, lines + ".");
        Some(with_body(super::with_cautions(route)))
    };
    kept.iter().take(MOST_ROUTES).filter_map(route).collect()
}

/// A log does not say what was sent.
fn with_body(mut route: DraftRoute) -> DraftRoute {
    if !["GET ", "DELETE "].iter().any(|method| route.route.starts_with(method)) {
        route.body = Some(BodyFormat::Json(todo("the body, such as { name = \"value\" }, or leave it out").into()));
    }
    route
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
