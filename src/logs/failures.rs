//! Failures: events that tell of the same one are counted once.

use std::collections::VecDeque;
use std::sync::LazyLock;

use regex::Regex;

use super::LogReport;
use super::event::Event;
use crate::texts::{Recognised, TextKind, recognised_words};

/// Failures that a later event may tell of again.
const REMEMBERED: usize = 50;

/// Counts the failures of a log.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) report: LogReport,
    /// The latest reports of failures, the last at the end.
    reported: VecDeque<FailureReport>,
}

/// One report of a failure.
struct FailureReport {
    /// What says so.
    words: String,
    /// Its time and thread, as far as its line has them.
    who: Who,
    /// True if a trace is under it: then the same words again are another failure.
    has_trace: bool,
}

/// `10:15:01.123`, and what stands in brackets after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Who {
    at: Option<String>,
    thread: Option<String>,
}

/// Date and time of a line, in the form that most logs write; in JSON, too.
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d").expect("this is, too")
});

static AT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d\d:\d\d:\d\d[.,]\d{3}").expect("it is written here"));

/// A thread's name, as logback, log4j and `JBoss` have it between brackets or parentheses: none with spaces.
static THREAD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\[(]([^\s\[\]()]*(?:exec|thread|worker|task|pool)[^\s\[\]()]*)[\])]").expect("so is this")
});

/// The address of a connection.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:at |@)(?:0x)?[0-9a-f]{6,16}\b").expect("and this"));

/// `HikariCP` takes a suspicion back.
const RETURNED: &str = "was returned to the pool (unleaked)";

impl Failures {
    pub(super) fn after(report: LogReport) -> Self {
        Self { report, ..Self::default() }
    }

    pub(super) fn take(&mut self, event: &Event) {
        if event.text.contains(RETURNED) {
            return self.report.counts.take_back(TextKind::LeakSuspected, TextKind::HeldLong, "HikariCP");
        }
        let Some((recognised, words)) = recognised_words(&event.text) else { return };
        if let Some(at) = TIME.find(&event.head) {
            let (at, key) = (at.as_str().to_owned(), (recognised.kind, recognised.library));
            let first = at.clone();
            self.report.times.entry(key).or_insert_with(|| (first, String::new())).1 = at;
        }
        if recognised.kind.is_pgbouncer() {
            return self.report.counts.add_recognised(recognised, &event.text, 1);
        }
        let report = FailureReport {
            words: identity(&recognised, &event.text, &words),
            who: who(&event.text),
            has_trace: event.has_trace,
        };
        if self.is_repeated(&report) {
            return;
        }
        self.report.counts.add_recognised(recognised, &event.text, 1);
        self.reported.push_back(report);
        if self.reported.len() > REMEMBERED {
            self.reported.pop_front();
        }
    }

    /// True if this was reported before: of the same connection, or, without a trace, by the same thread at the same time. One failure is
    /// reported twice at most.
    fn is_repeated(&mut self, now: &FailureReport) -> bool {
        let is_address = ADDRESS.is_match(&now.words);
        let same = |it: &FailureReport| {
            let is_trace_of = !it.has_trace && now.has_trace && it.who == now.who && it.who.at.is_some();
            it.words == now.words && (is_address || is_trace_of)
        };
        let Some(place) = self.reported.iter().rposition(same) else { return false };
        self.reported.remove(place);
        true
    }
}

/// The words, with the address of the connection that they are about.
fn identity(recognised: &Recognised, text: &str, words: &str) -> String {
    let address = (recognised.kind == TextKind::LeakSuspected).then(|| ADDRESS.find(text)).flatten();
    address.map_or_else(|| words.to_owned(), |address| format!("{words} {}", address.as_str()))
}

fn who(text: &str) -> Who {
    let first = text.lines().next().unwrap_or_default();
    let at = AT.find(first).map(|it| it.as_str().to_owned());
    let thread = THREAD.captures(first).map(|found| found[1].to_owned());
    Who { at, thread }
}
