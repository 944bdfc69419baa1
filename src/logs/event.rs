//! Lines that belong together: a message, the trace under it, and the causes under that are one event.

use std::sync::LazyLock;

use regex::Regex;

use super::prefix::Peeled;
use super::severity;

/// Bytes of an event that are kept at its beginning, and as many at its end.
const KEPT: usize = 1 << 16;

/// Bytes of a line in which its time stands.
const HEAD: usize = 200;
const JSON_HEAD: usize = 4_000;

/// A line as it stands in the file.
#[derive(Clone, Copy)]
pub(super) struct RawLine<'a> {
    pub(super) text: &'a str,
    /// From 1.
    pub(super) number: u64,
}

impl RawLine<'_> {
    /// The part of it in which its time stands: in JSON it may stand behind the message.
    fn head(self) -> String {
        let head = if self.text.starts_with('{') { JSON_HEAD } else { HEAD };
        self.text[..floor(self.text, head)].to_owned()
    }
}

/// Lines that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) text: String,
    /// Beginning of its first line as it stands in the file, with its time.
    pub(super) head: String,
    /// Number of its first line, from 1.
    pub(super) line: u64,
    /// True if a trace is under its message.
    pub(super) has_trace: bool,
    /// Of one in JSON: whether it says itself that it is ordinary.
    pub(super) is_ordinary: Option<bool>,
}

impl Event {
    /// True if it reports no failure, by its own word.
    pub(super) fn is_ordinary(&self) -> bool {
        let has_error = || self.text.lines().skip(1).any(|line| EXCEPTION.is_match(line));
        !self.has_trace && self.is_ordinary.unwrap_or_else(|| severity::is_ordinary(&self.text) && !has_error())
    }
}

/// Puts the lines of one stream together.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is what the last line was")]
pub(super) struct Assembler {
    event: Option<Event>,
    /// Beginning of a line that goes on.
    part: String,
    /// The event is a row of PostgreSQL's csvlog that ends in the middle of a text.
    in_quotes: bool,
    /// The last lines were frames; the line after them names the exception.
    in_frames: bool,
    /// The exception of the trace has been named.
    is_named: bool,
    /// The last line was empty.
    after_empty: bool,
}

/// First line of a trace in Python.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// What ties two traces together: Python's, Java's, Ruby's, .NET's.
const TIES: [&str; 6] = [
    "The above exception was the direct cause",
    "During handling of the above exception",
    "Caused by:",
    "Suppressed:",
    "Wrapped by:",
    "--- End of ",
];

/// `java.sql.SQLTransientConnectionException: …`, `Error: timeout exceeded`, `Npgsql.NpgsqlException (0x80004005): …`: the first line of
/// a trace that stands under its message.
static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    let names = r"^(?:Uncaught )?(?:[\w$]+[.:]{1,2})*[\w$]*(?:Exception|Error|Timeout|Throwable|Exhausted|Panic)(?: \([^)]*\)| \[[^\]]*\])?(?::|$)";
    Regex::new(names).expect("a test tries it")
});

impl Assembler {
    /// Takes the next line; gives each event that is whole.
    pub(super) fn take(&mut self, line: &Peeled<'_>, raw: RawLine<'_>, mut whole: impl FnMut(Event)) {
        if line.is_event {
            self.flush(&mut whole);
            let has_trace = line.text.contains(TRACEBACK)
                || ["\n\tat ", "\n   at ", "\n    at "].iter().any(|it| line.text.contains(it));
            return whole(Event {
                text: bounded(&line.text),
                head: raw.head(),
                line: raw.number,
                has_trace,
                is_ordinary: Some(line.is_ordinary),
            });
        }
        if line.goes_on {
            push(&mut self.part, &line.text);
            return;
        }
        if self.part.is_empty() {
            return self.line(&line.text, raw, &mut whole);
        }
        let mut text = std::mem::take(&mut self.part);
        push(&mut text, &line.text);
        self.line(&text, raw, &mut whole);
    }

    /// Bytes that it keeps.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.part.len() + self.event.as_ref().map_or(0, |it| it.text.len() + it.head.len())
    }

    /// Gives what is left.
    pub(super) fn end(mut self, mut whole: impl FnMut(Event)) {
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            self.line(&part, RawLine { text: "", number: 0 }, &mut whole);
        }
        self.flush(&mut whole);
    }

    fn line(&mut self, line: &str, raw: RawLine<'_>, whole: &mut impl FnMut(Event)) {
        if line.trim().is_empty() {
            self.after_empty = true;
            return;
        }
        let is_row = severity::is_csv_row(line);
        if is_row || !(self.in_quotes || self.belongs(line)) {
            self.flush(whole);
        }
        self.in_quotes = (is_row || self.in_quotes) && (self.in_quotes != (line.matches('"').count() % 2 == 1));
        let after_empty = std::mem::take(&mut self.after_empty);
        let event = self.event.get_or_insert_with(|| Event { head: raw.head(), line: raw.number, ..Event::default() });
        if !event.text.is_empty() {
            push(&mut event.text, if after_empty { "\n\n" } else { "\n" });
        }
        push(&mut event.text, line);
        let is_trace = line.contains(TRACEBACK);
        let is_indented = is_indented(line);
        if is_trace {
            (self.in_frames, self.is_named) = (true, false);
        } else if !is_indented {
            self.is_named |= self.in_frames;
            self.in_frames = false;
        } else if line.trim_start().starts_with("at ") {
            self.is_named = true;
        }
        event.has_trace |= is_trace || (is_indented && line.trim_start().starts_with("at "));
    }

    /// True if a line goes on with the event before it.
    fn belongs(&self, line: &str) -> bool {
        let Some(event) = &self.event else { return false };
        if self.in_frames || TIES.iter().any(|it| line.starts_with(it)) {
            return true;
        }
        let is_tied = event.text.lines().next_back().is_some_and(|last| TIES.iter().any(|it| last.starts_with(it)));
        if line.contains(TRACEBACK) {
            // Under a message, or tied to the one before: else it is another failure.
            return is_tied || !self.is_named;
        }
        if is_indented(line) || line.starts_with(['}', ']', ')']) {
            return true;
        }
        // The exception under a message; one after the other are two failures.
        !event.has_trace && EXCEPTION.is_match(line) && !EXCEPTION.is_match(&event.text)
    }

    fn flush(&mut self, whole: &mut impl FnMut(Event)) {
        (self.in_frames, self.is_named, self.after_empty, self.in_quotes) = (false, false, false, false);
        if let Some(event) = self.event.take() {
            whole(event);
        }
    }
}

/// Frames, notes and the bars of an exception group.
fn is_indented(line: &str) -> bool {
    line.starts_with([' ', '\t', '|'])
}

/// Appends, as long as there is room; then the beginning and the end are kept.
fn push(text: &mut String, more: &str) {
    text.push_str(more);
    if text.len() > 2 * KEPT {
        *text = bounded(text);
    }
}

fn bounded(text: &str) -> String {
    if text.len() <= 2 * KEPT {
        return text.to_owned();
    }
    format!("{}{}", &text[..floor(text, KEPT)], &text[floor(text, text.len() - KEPT / 2)..])
}

/// The last place up to `at` at which a text may be cut.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
