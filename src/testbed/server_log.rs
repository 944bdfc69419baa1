//! Reasons in a server's log.

use std::fs;
use std::path::Path;

/// Lines of the log that go into a report.
const LOG_TAIL: usize = 12;

/// The last lines of a log, oldest first; empty when it cannot be read.
pub(super) fn log_tail(log: &Path) -> Vec<String> {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The line of a log that says why: the last one that calls itself fatal, from that word on, else the last one.
pub(super) fn log_reason(log: &[String]) -> &str {
    let fatal =
        |line: &'_ str| ["FATAL:", "PANIC:", "initdb: error:", "FATAL "].iter().find_map(|mark| line.find(mark));
    let reason = log.iter().rev().find_map(|line| fatal(line).map(|at| &line[at..]));
    reason.or_else(|| log.last().map(String::as_str)).unwrap_or("nothing")
}
