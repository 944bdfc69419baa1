//! What logs tell by themselves, for people and for scripts.

use std::fmt::Write;

use serde::Serialize;

use super::numbers::count;
use super::text::plain;
use crate::logs::LogReport;
use crate::logs::meaning::{next, says};
use crate::record::Format;
use crate::texts::{PoolLimits, TextKind};

/// Columns of prose where the terminal does not say.
const WIDTH: usize = 120;

#[derive(Serialize)]
struct LogsJson<'a> {
    format: Format,
    lines: u64,
    failures: Vec<FailureJson<'a>>,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    kind: TextKind,
    library: &'a str,
    count: u64,
    limits: PoolLimits,
    /// As the log writes it; null where it writes no time.
    first: Option<&'a str>,
    last: Option<&'a str>,
    /// Where it was met first, in the order of reading.
    log: Option<&'a str>,
    line: Option<u64>,
    title: &'a str,
    fix: &'a str,
}

/// Failures, most frequent first.
fn failures(report: &LogReport) -> Vec<FailureJson<'_>> {
    let one = |(kind, library, reported): (TextKind, &'static str, &crate::texts::PatternCount)| {
        let (times, place) = (report.times.get(&(kind, library)), report.places.get(&(kind, library)));
        FailureJson {
            kind,
            library,
            count: reported.count,
            limits: reported.limits,
            first: times.map(|(first, _)| first.text.as_str()),
            last: times.map(|(_, last)| last.text.as_str()),
            log: place.map(|it| it.log.as_str()),
            line: place.map(|it| it.line),
            title: says(kind),
            fix: next(kind),
        }
    };
    let mut all: Vec<FailureJson<'_>> = report.counts.iter().map(one).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.count));
    all
}

/// `diagnose --log FILE --json`.
pub fn json(report: &LogReport) -> impl Serialize + '_ {
    LogsJson {
        format: Format { name: "rbac-bench/logs".to_owned(), version: 1 },
        lines: report.lines,
        failures: failures(report),
    }
}

/// `diagnose --log FILE`, for people.
pub fn text(report: &LogReport, width: Option<usize>) -> String {
    let mut text = String::new();
    let width = width.unwrap_or(WIDTH).max(40);
    let mut wrapped = |line: &str, indent: &str, deeper: &str| {
        let options = textwrap::Options::new(width).initial_indent(indent).subsequent_indent(deeper);
        let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", textwrap::fill(&plain(line), options));
    };
    let all = failures(report);
    let lines = if report.lines == 1 { "1 line".to_owned() } else { format!("{} lines", count(Some(report.lines))) };
    if all.is_empty() {
        wrapped(
            &format!(
                "Inconclusive: none of {lines} is an error of a pool, a pooler or the server that is known here. That says \
                 nothing of what they did."
            ),
            "",
            "  ",
        );
        return text;
    }
    wrapped(&format!("In {lines} of the logs:"), "", "  ");
    for it in all {
        let times = if it.count == 1 { "once".to_owned() } else { format!("{} times", count(Some(it.count))) };
        wrapped(&format!("{}: {}, {times}{}.", it.library, it.title, limits(it.limits)), "  ", "     ");
        match it.first.zip(it.last) {
            Some((first, last)) if first == last => wrapped(&format!("when: {first}"), "     ", "     "),
            Some((first, last)) => wrapped(&format!("when: from {first} to {last}"), "     ", "     "),
            None => {}
        }
        if let Some((log, line)) = it.log.zip(it.line) {
            wrapped(&format!("where: first in line {line} of {log}"), "     ", "     ");
        }
        wrapped(&format!("what to do: {}", it.fix), "     ", "     ");
    }
    text
}

/// ` (size 5, overflow 10, timeout 30 s)`
fn limits(limits: PoolLimits) -> String {
    let parts = [
        limits.size.map(|size| format!("size {size}")),
        limits.overflow.map(|overflow| format!("overflow {overflow}")),
        limits.timeout_s.map(|timeout_s| format!("limit {timeout_s} s")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}
