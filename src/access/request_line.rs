//! `GET /orders/7 HTTP/1.1`, and the times and durations beside it.

use crate::logs;

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

/// The first time in a text, in seconds since 1970; without a zone it is taken for UTC.
pub(super) fn time(text: &str) -> Option<f64> {
    logs::time(text)?.unix_s()
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
