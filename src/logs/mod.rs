//! Logs: from bytes to failures.
//!
//! A file is opened and unpacked, a line is freed of what a container, a journal or a syslog put before it, lines of JSON are decoded,
//! lines that belong together become one event, and events that tell of the same failure are counted once. What a text means is
//! known to [`texts`](crate::texts) alone.

mod event;
mod failures;
mod json;
pub mod meaning;
mod prefix;
mod severity;
mod source;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeMap, VecDeque};

pub use prefix::without_prefixes;
pub use source::{LogSourceError, open, read};
pub use time::{LogTime, time};

use crate::texts::{PatternCounts, TextKind};
use event::{Assembler, RawLine};
use failures::Failures;
use prefix::peeled;

/// Bytes of one line that are read; the rest of a longer one is skipped.
pub const LONGEST_LINE: usize = 1 << 20;

/// Streams, such as containers, whose lines are put together apart; of more, the one that has been silent the longest is closed.
const STREAMS: usize = 64;

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogReport {
    pub counts: PatternCounts,
    /// When each was met first and last, by kind and library; left out where the log writes no time.
    pub times: BTreeMap<(TextKind, &'static str), (LogTime, LogTime)>,
    /// Where each was met first, in the order of reading.
    pub places: BTreeMap<(TextKind, &'static str), LogPlace>,
    /// Lines that were read.
    pub lines: u64,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Its file; `-` is standard input.
    pub log: String,
    /// From 1.
    pub line: u64,
}

/// Reads the lines of a log, and counts its failures.
#[derive(Default)]
pub struct LogReader {
    failures: Failures,
    /// Lines of this log.
    lines: u64,
    /// The one that spoke last at the end.
    streams: VecDeque<(String, Assembler)>,
}

impl LogReader {
    /// Counts the failures of this log on from what others reported.
    #[must_use]
    pub fn of(log: String, others: LogReport) -> Self {
        Self { failures: Failures::of(log, others), ..Self::default() }
    }

    /// Takes the next line, with its end or without.
    pub fn line(&mut self, line: &str) {
        self.failures.report.lines += 1;
        self.lines += 1;
        let line = line.trim_end_matches(['\n', '\r']);
        let peeled = peeled(line);
        let place = self.streams.iter().position(|(name, _)| *name == peeled.stream);
        let found = place.and_then(|place| self.streams.remove(place));
        let (name, mut assembler) = found.unwrap_or_else(|| (peeled.stream.clone().into_owned(), Assembler::default()));
        assembler.take(&peeled, RawLine { text: line, number: self.lines }, |event| self.failures.take(&event));
        if self.streams.len() >= STREAMS
            && let Some((_, silent)) = self.streams.pop_front()
        {
            silent.end(|event| self.failures.take(&event));
        }
        self.streams.push_back((name, assembler));
    }

    /// The failures and times of the log.
    #[must_use]
    pub fn end(mut self) -> LogReport {
        for (_, assembler) in self.streams.drain(..) {
            assembler.end(|event| self.failures.take(&event));
        }
        self.failures.report
    }
}
