//! A form that the user has described: nginx' `log_format`, or Apache's `LogFormat`.

use std::fmt::Write;
use std::str::FromStr;

use regex::Regex;

use super::request_line::{is_method, parts, path_of, status, time};
use super::{AccessForm, AccessRequest, Read};

/// `$remote_addr [$time_local] "$request" $status $request_time`, or `%h %t "%r" %>s %D`.
#[derive(Clone, Debug)]
pub struct LogFormat {
    expression: Regex,
}

/// Reasons why a form says too little.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFormatError {
    #[error(
        "invalid log format: expected the request, `$request` (nginx) or `%r` (Apache), or `$request_method` and `$request_uri` (`%m` and `%U`)"
    )]
    NoRequest,
    #[error("invalid log format: expected the status, `$status` (nginx) or `%>s` (Apache)")]
    NoStatus,
    #[error("invalid log format: expected `{name}` once")]
    Twice { name: String },
}

/// A variable, and the group that it is kept in.
const VARIABLES: [(&str, &str); 18] = [
    ("$request_method", "method"),
    ("$request_uri", "target"),
    ("$request_time", "s"),
    ("$upstream_response_time", "other"),
    ("$request", "request"),
    ("$uri", "target"),
    ("$status", "status"),
    ("$time_local", "time"),
    ("$time_iso8601", "time"),
    ("%>s", "status"),
    ("%s", "status"),
    ("%r", "request"),
    ("%m", "method"),
    ("%U%q", "target"),
    ("%U", "target"),
    ("%t", "time"),
    ("%D", "us"),
    ("%T", "s"),
];

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(format: &str) -> Result<Self, Self::Err> {
        let mut text = String::from("^");
        let mut groups: Vec<&str> = Vec::new();
        let mut rest = format;
        while let Some(first) = rest.chars().next() {
            let known = VARIABLES.iter().find(|(name, _)| rest.starts_with(name));
            let length = match known {
                Some((name, "other")) => {
                    text.push_str(r"(?:.*?)");
                    name.len()
                }
                Some((name, group)) => {
                    if groups.contains(group) {
                        return Err(LogFormatError::Twice { name: (*name).to_owned() });
                    }
                    groups.push(group);
                    // Writing to a `String` cannot fail.
                    let _ = write!(text, "(?P<{group}>.*?)");
                    name.len()
                }
                // Something else that varies.
                None if first == '$' => {
                    text.push_str("(?:.*?)");
                    1 + rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len() - 1)
                }
                None if first == '%' => {
                    text.push_str("(?:.*?)");
                    apache_length(rest)
                }
                None => {
                    text.push_str(&regex::escape(&first.to_string()));
                    first.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        let has = |group: &str| groups.contains(&group);
        if !(has("request") || (has("method") && has("target"))) {
            return Err(LogFormatError::NoRequest);
        }
        if !has("status") {
            return Err(LogFormatError::NoStatus);
        }
        text.push_str(r"\s*$");
        Regex::new(&text).map(|expression| Self { expression }).map_err(|_too_long| LogFormatError::NoRequest)
    }
}

/// `%h`, `%{Referer}i`, `%>s`: up to the letter.
fn apache_length(rest: &str) -> usize {
    let after_braces = if rest[1..].starts_with('{') { rest.find('}').map_or(1, |end| end + 1) } else { 1 };
    let letter = rest[after_braces..].find(|c: char| c.is_ascii_alphabetic());
    letter.map_or(rest.len(), |letter| after_braces + letter + 1)
}

impl AccessForm for LogFormat {
    fn name(&self) -> &'static str {
        "the given format"
    }

    fn read(&mut self, line: &str) -> Read {
        let request = || {
            let found = self.expression.captures(line)?;
            let group = |name: &str| found.name(name).map(|it| it.as_str());
            let (method, target) = match group("request") {
                Some(request) => parts(request)?,
                None => (group("method").filter(|it| is_method(it))?, path_of(group("target")?)),
            };
            let seconds = |name: &str, unit: f64| group(name)?.parse::<f64>().ok().map(|it| it * unit);
            Some(AccessRequest {
                method: method.to_owned(),
                target: target.to_owned(),
                status: status(group("status")?)?,
                at_s: group("time").and_then(time),
                took_s: seconds("s", 1.0).or_else(|| seconds("us", 1e-6)),
            })
        };
        request().into()
    }
}
