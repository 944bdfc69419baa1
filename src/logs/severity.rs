//! How bad an event is by its own word: what a program logs as ordinary reports no failure, whatever words are quoted in it.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Levels below a warning, in any case.
const ORDINARY: [&str; 14] = [
    "trace",
    "debug",
    "verbose",
    "http",
    "fine",
    "finer",
    "finest",
    "config",
    "info",
    "information",
    "informational",
    "notice",
    "default",
    "log",
];

/// Bytes of a line in which its level stands.
const HEAD: usize = 160;

/// PostgreSQL's severities, each with two spaces behind it; the first one is the line's.
static SERVERS: LazyLock<Regex> = LazyLock::new(|| {
    let severities = r"\b(DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|QUERY|CONTEXT|LOCATION|STATEMENT):  |,(DEBUG[1-5]|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC),[0-9A-Z]{5},";
    Regex::new(severities).expect("a test tries it")
});

/// A level where loggers put it: a word of its own, in brackets, or behind `level=`. PgBouncer's `LOG` is none: it ends sessions so.
static LEVEL: LazyLock<Regex> = LazyLock::new(|| {
    let levels = r#"(?:^|[\s\[(|:])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE)(?:[\s\])|:]|$)|\[(debug|info|notice|warn|warning|error|crit|fatal)\]|\b(?:level|lvl|severity)=["']?([A-Za-z]+)|^(debug|verbose|http|info|notice|warn|warning|error|fatal): "#;
    Regex::new(levels).expect("so does it")
});

/// A line of an access log: its words are somebody's address.
static REQUEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""[A-Z]{3,10} [^"\s]+ HTTP/[\d.]+" \d{3}\b"#).expect("and so here"));

/// A row of PostgreSQL's csvlog, whose texts may have line breaks in them.
static CSV_ROW: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,"]{1,40},"#).expect("and there"));

pub(super) fn is_csv_row(line: &str) -> bool {
    CSV_ROW.is_match(line)
}

/// True if an event in plain text says itself that it is ordinary.
pub(super) fn is_ordinary(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let level =
        |found: &regex::Captures<'_>| found.iter().skip(1).flatten().next().map_or("", |it| it.as_str()).to_owned();
    if REQUEST.is_match(first) {
        return true;
    }
    if let Some(found) = SERVERS.captures(first) {
        return !["WARNING", "ERROR", "FATAL", "PANIC"].contains(&level(&found).as_str());
    }
    let head = &first[..(0..=HEAD.min(first.len())).rev().find(|at| first.is_char_boundary(*at)).unwrap_or(0)];
    LEVEL.captures(head).is_some_and(|found| is_level(&level(&found)))
}

/// True if an event in JSON says itself that it is ordinary, and has no error in it.
pub(super) fn fields_are_ordinary(fields: &Map<String, Value>) -> bool {
    let has_error = ["err", "error", "exception", "exc_info", "stack", "stack_trace", "@x", "Exception"]
        .iter()
        .any(|name| fields.get(*name).is_some_and(|it| !matches!(it, Value::Null | Value::Bool(false))));
    let levels = [
        "level",
        "severity",
        "levelname",
        "level_name",
        "log.level",
        "loglevel",
        "log_level",
        "lvl",
        "Level",
        "LogLevel",
    ];
    let level = levels.iter().chain(&["@l", "error_severity"]).find_map(|name| fields.get(*name));
    // loguru: `"record": {"level": {"name": "INFO", …}}`
    let nested = || fields.get("record")?.get("level")?.get("name");
    // ECS: `"log": {"level": "info"}`
    let ecs = || fields.get("log")?.get("level");
    !has_error && level.or_else(nested).or_else(ecs).is_some_and(value_is_ordinary)
}

fn value_is_ordinary(level: &Value) -> bool {
    match level {
        Value::String(name) => is_level(name),
        Value::Object(fields) => fields.get("name").is_some_and(value_is_ordinary),
        // Syslog's, as GELF has them, count down to 7; bunyan's and pino's count up from 10.
        Value::Number(number) => number.as_u64().is_some_and(|it| matches!(it, 5..=7 | 10..=30)),
        _ => false,
    }
}

fn is_level(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ORDINARY.contains(&name.as_str()) || name.strip_prefix("debug").is_some_and(|it| it.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_below_a_warning_is_ordinary() {
        for line in [
            "2026-11-30 12:29:25.052 UTC [3571] app@shop LOG:  statement: SELECT 'QueuePool limit of size 5'",
            "2026-11-30 12:29:25.052 UTC [3571] app@shop STATEMENT:  SELECT pg_sleep(9)",
            "2026-11-30 12:29:25.052 UTC,\"app\",\"shop\",7,\"[local]\",6a,1,\"SELECT\",,,,LOG,00000,\"statement: x\",,,,,,,,,\"\"",
            "INFO:     127.0.0.1:44840 - \"GET /products/P2024 HTTP/1.1\" 200 OK",
            "10.0.0.7 - - [20/Nov/2026:10:15:01 +0000] \"GET /search?q=x HTTP/1.1\" 500 12",
            "2026-11-30 12:27:31,355 INFO shop [MainThread] search q='ERROR: 57014'",
            "2026/11/30 12:27:31 [notice] 7#7: signal",
            "time=2026-11-30T12:00:00Z level=info msg=\"search\"",
            "info: search",
        ] {
            assert!(is_ordinary(line), "{line}");
        }
        for line in [
            "2026-11-30 12:29:25.052 UTC [3571] app@shop ERROR:  canceling statement due to statement timeout",
            "2026-11-24 23:37:59.517 UTC [7] LOG C-0x56: shop/app@unix(9):6432 closing because: idle transaction timeout (age=2s)",
            "2026-11-30 12:29:25.052 UTC,\"app\",\"shop\",7,\"[local]\",6a,1,\"SELECT\",,,,FATAL,53300,\"sorry\",,,,,,,,,\"\"",
            "2026-11-20 10:15:01,001 ERROR shop failed: INFO is no level here",
            "QueuePool limit of size 5 overflow 10 reached",
            "level=error msg=\"timed out waiting for connection\"",
        ] {
            assert!(!is_ordinary(line), "{line}");
        }
    }

    #[test]
    fn an_event_in_json_is_ordinary_by_its_level_unless_it_has_an_error() {
        let ordinary = |text: &str| {
            let Ok(Value::Object(fields)) = serde_json::from_str(text) else { panic!("{text}") };
            fields_are_ordinary(&fields)
        };
        for text in [
            r#"{"level":30,"msg":"a"}"#,
            r#"{"level":"info"}"#,
            r#"{"severity":"INFO"}"#,
            r#"{"level":6,"short_message":"a"}"#,
            r#"{"error_severity":"LOG"}"#,
            r#"{"text":"a","record":{"level":{"name":"INFO","no":20}}}"#,
            r#"{"log":{"level":"debug"}}"#,
            r#"{"levelname":"INFO","exc_info":null}"#,
        ] {
            assert!(ordinary(text), "{text}");
        }
        for text in [
            r#"{"level":50,"msg":"a"}"#,
            r#"{"level":30,"err":{"message":"a"}}"#,
            r#"{"level":"info","exception":"Traceback"}"#,
            r#"{"level":3,"short_message":"a"}"#,
            r#"{"error_severity":"FATAL"}"#,
            r#"{"msg":"a"}"#,
        ] {
            assert!(!ordinary(text), "{text}");
        }
    }
}
