//! `GET /orders/7 HTTP/1.1`, and the times and durations beside it.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use regex::Regex;

/// Method and target of a request line. hypercorn writes `1.1` for the protocol, daphne and HTTP/0.9 none.
pub(super) fn parts(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let (method, target, protocol) = (words.next()?, words.next()?, words.next());
    let is_protocol = |it: &str| it.starts_with("HTTP/") || it.starts_with(|c: char| c.is_ascii_digit());
    if words.next().is_some() || !protocol.is_none_or(is_protocol) || !is_method(method) {
        return None;
    }
    let target = path_of(target);
    (target.starts_with('/') || matches!(method, "OPTIONS" | "CONNECT")).then_some((method, target))
}

pub(super) fn is_method(text: &str) -> bool {
    (3..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_uppercase() || c == '-')
}

/// A proxy is asked with a whole URL.
pub(super) fn path_of(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => target,
    }
}

pub(super) fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (100..600).contains(status))
}

/// `20/Nov/2026:10:15:07 +0000`, with what stands in place of the colon or the zone elsewhere.
static CLF: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(\d{2})/([A-Z][a-z]{2})/(\d{4})[: ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?: ([+-])(\d{2}):?(\d{2}))?")
        .expect("it is written here")
});

/// `2026-11-20T10:15:07.326+00:00`, `2026/11/20 - 10:15:07`, `2026-11-20 10:15:07 +0000`
static ISO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(\d{4})[-/](\d{2})[-/](\d{2})(?:[T ]| - )(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(?:Z| ?([+-])(\d{2}):?(\d{2}))?").expect("so is this")
});

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The first time in a text, in seconds since 1970; without a zone it is taken for UTC.
pub(super) fn time(text: &str) -> Option<f64> {
    if let Some(found) = CLF.captures(text) {
        let month = MONTHS.iter().position(|it| *it == &found[2])? + 1;
        return seconds(&found, [found[3].parse().ok()?, i64::try_from(month).ok()?, found[1].parse().ok()?], 4);
    }
    let found = ISO.captures(text)?;
    seconds(&found, [found[1].parse().ok()?, found[2].parse().ok()?, found[3].parse().ok()?], 4)
}

/// Date and time of a match: hour, minute, second, fraction and zone are groups from `first` on.
fn seconds(found: &regex::Captures<'_>, [year, month, day]: [i64; 3], first: usize) -> Option<f64> {
    let number = |group: usize| found.get(group).and_then(|it| it.as_str().parse::<i8>().ok());
    let date = DateTime::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        number(first)?,
        number(first + 1)?,
        number(first + 2)?,
        0,
    );
    let whole = jiff::tz::TimeZone::UTC.to_timestamp(date.ok()?).ok()?.as_second() as f64;
    let fraction = found.get(first + 3).and_then(|it| format!("0.{}", it.as_str()).parse::<f64>().ok()).unwrap_or(0.0);
    let zone_s = match (found.get(first + 4), number(first + 5), number(first + 6)) {
        (Some(sign), Some(hours), Some(minutes)) => {
            let zone_s = f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0;
            if sign.as_str() == "-" { -zone_s } else { zone_s }
        }
        _ => 0.0,
    };
    Some(whole + fraction - zone_s)
}

/// `12ms`, `1.5s`, `345µs`, `12.3 ms`: a number with its unit, in seconds.
pub(super) fn duration(text: &str) -> Option<f64> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..at].parse().ok()?;
    let scale = match text[at..].trim() {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" | "us" | "μs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some(number * scale)
}
