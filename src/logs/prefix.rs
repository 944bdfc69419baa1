//! What stands before a line that is not its writer's: the name of a container, the time of a collector, a journal's unit.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::json;

/// A line without what others put before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peeled<'a> {
    /// Whose line it is: lines of one stream follow each other.
    pub(super) stream: Cow<'a, str>,
    pub(super) text: Cow<'a, str>,
    /// True if the line goes on in the next one of the stream.
    pub(super) goes_on: bool,
    /// True if it is a whole event, decoded from JSON.
    pub(super) is_event: bool,
    /// True of an event in JSON that says itself that it is ordinary.
    pub(super) is_ordinary: bool,
}

/// `2026-11-20T10:15:10.123456789Z`, as `kubectl logs --timestamps`, `docker compose logs -t` and CRI write it.
const TIME: &str = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)";

fn expression(text: &str) -> Regex {
    Regex::new(&text.replace("TIME", TIME)).expect("a test tries each")
}

/// `web-1  | `, and foreman's `10:15:10 web.1  | `
static COMPOSE: LazyLock<Regex> = LazyLock::new(|| expression(r"^(?:\d\d:\d\d:\d\d )?([A-Za-z0-9][\w.-]*) +\| ?"));

/// Words that stand where a name or a host does, and are none: `ERROR | …`, `TIME ERROR shop: …`.
const LEVELS: [&str; 10] =
    ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL", "SEVERE"];

/// `TIME stderr F `; `P` is a part of a line.
static CRI: LazyLock<Regex> = LazyLock::new(|| expression(r"^TIME (stdout|stderr) ([FP])(?: |$)"));

/// `TIME app[web.1]: `, as Heroku writes it.
static HEROKU: LazyLock<Regex> = LazyLock::new(|| expression(r"^TIME ([\w-]+\[[\w.-]+\]): "));

/// `TIME host unit[7]: `, and with the time as syslog has it since RFC 3164.
static SYSLOG: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"^(?:<\d{1,3}>)?(?:TIME|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?) (?P<host>\S+) (?P<of>[\w./@-]+)(?:\[\d+\])?: ?",
    )
});

/// RFC 5424: `<11>1 TIME host app 7 id - `
static SYSLOG_5424: LazyLock<Regex> =
    LazyLock::new(|| expression(r"^<\d{1,3}>1 (?:TIME|-) \S+ (\S+) \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?(?:\x{feff})?"));

/// `TIME ` alone.
static TIMED: LazyLock<Regex> = LazyLock::new(|| expression(r"^TIME(?: |$)"));

/// More prefixes than this are none.
const LAYERS: usize = 4;

/// A line without what others put before it; JSON that is no wrapper of a line stays as it is.
#[must_use]
pub fn without_prefixes(line: &str) -> Cow<'_, str> {
    peeled_down_to(line, false).text
}

/// Takes off what others put before a line, and decodes it where it is an event in JSON.
pub(super) fn peeled(line: &str) -> Peeled<'_> {
    peeled_down_to(line, true)
}

fn peeled_down_to(line: &str, decodes: bool) -> Peeled<'_> {
    let mut stream = String::new();
    let mut text = Cow::Borrowed(line);
    let mut goes_on = false;
    for _ in 0..LAYERS {
        match json::unwrapped(&text) {
            Some(json::Unwrapped::Line { text: inner, stream: of, goes_on: part }) => {
                stream.push_str(&of);
                stream.push('/');
                goes_on = part;
                text = Cow::Owned(inner);
                continue;
            }
            Some(json::Unwrapped::Event { .. }) if !decodes => break,
            Some(json::Unwrapped::Event { texts, is_ordinary }) => {
                let (stream, text) = (stream.into(), Cow::Owned(texts));
                return Peeled { stream, text, goes_on: false, is_event: true, is_ordinary };
            }
            None => {}
        }
        let Some(Layer { length, of, part }) = layer(&text) else { break };
        if let Some(of) = of {
            stream.push_str(&of);
            stream.push('/');
        }
        goes_on |= part;
        text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[length..]),
            Cow::Owned(mut text) => {
                text.drain(..length);
                Cow::Owned(text)
            }
        };
    }
    // A journal's export has a field on each line.
    if let Some(message) = text.strip_prefix("MESSAGE=") {
        text = Cow::Owned(message.to_owned());
    }
    // rsyslog writes control characters so.
    if text.contains("#011") || text.contains("#012") {
        text = Cow::Owned(text.replace("#011", "\t").replace("#012", "\n"));
    }
    Peeled { stream: stream.into(), text, goes_on, is_event: false, is_ordinary: false }
}

struct Layer {
    length: usize,
    of: Option<String>,
    part: bool,
}

fn layer(text: &str) -> Option<Layer> {
    // All but a container's name begin with a digit, a month or `<`.
    let first = text.bytes().next()?;
    if !first.is_ascii_alphanumeric() && first != b'<' {
        return None;
    }
    if first.is_ascii_digit()
        && let Some(found) = CRI.captures(text)
    {
        return Some(Layer { length: found[0].len(), of: Some(found[1].to_owned()), part: &found[2] == "P" });
    }
    for expression in [&HEROKU, &SYSLOG_5424, &SYSLOG, &COMPOSE] {
        if let Some(found) = expression.captures(text) {
            let of = found.name("of").map_or(&found[1], |it| it.as_str());
            let is_level = |word: &str| LEVELS.contains(&word.to_ascii_uppercase().as_str());
            if !is_level(of) && !found.name("host").is_some_and(|host| is_level(host.as_str())) {
                return Some(Layer { length: found[0].len(), of: Some(of.to_owned()), part: false });
            }
        }
    }
    let found = TIMED.find(text)?;
    Some(Layer { length: found.end(), of: None, part: false })
}
