//! Failures: events that tell of the same one are counted once.

use std::collections::VecDeque;
use std::sync::LazyLock;

use regex::Regex;

use super::event::Event;
use super::time::time;
use super::{LogPlace, LogReport};
use crate::texts::{Recognised, TextKind, recognised_words};

/// Failures that a later event may tell of again.
const REMEMBERED: usize = 50;

/// Counts the failures of a log.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) report: LogReport,
    /// Name of the log that is read.
    log: String,
    /// The latest reports of failures, the last at the end.
    reported: VecDeque<FailureReport>,
}

/// One report of a failure.
struct FailureReport {
    /// What says so.
    words: String,
    /// Its time and thread, as far as its line has them.
    who: Who,
    kind: TextKind,
    /// True if a trace is under it: then the same words again are another failure.
    has_trace: bool,
    /// True if its library logs it and then throws it.
    is_announced: bool,
    /// True if nobody caught it: the runtime prints it as it ends the thread, after the library has logged it.
    is_uncaught: bool,
}

/// `10:15:01.123`, and what stands in brackets after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Who {
    /// Milliseconds of the day.
    at_ms: Option<u32>,
    thread: Option<String>,
}

/// Time of the day to the millisecond.
static AT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\d\d):(\d\d):(\d\d)[.,](\d{3})").expect("it is written here"));

/// A thread's name, as logback, log4j and `JBoss` have it between brackets or parentheses: none with spaces.
static THREAD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\[(] *([^\s\[\]()]*(?:exec|thread|worker|task|pool|main)[^\s\[\]()]*)[\])]").expect("so is this")
});

/// The address of a connection.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:at |@)(?:0x)?[0-9a-f]{6,16}\b").expect("and this"));

/// Pools that take a suspicion back, and how.
const RETURNED: [(&str, &str); 2] =
    [("was returned to the pool (unleaked)", "HikariCP"), ("that has been marked suspect was returned", "Tomcat JDBC")];

/// Pools whose leaks are logged at INFO: by Quarkus, and by c3p0 itself.
const LEAKS_AT_INFO: [&str; 2] = ["Agroal", "c3p0"];

/// Two checkouts of one thread cannot give up so soon one after the other, in milliseconds.
const SOON_MS: u32 = 100;

impl Failures {
    pub(super) fn of(log: String, report: LogReport) -> Self {
        Self { report, log, ..Self::default() }
    }

    pub(super) fn take(&mut self, event: &Event) {
        if let Some((_, library)) = RETURNED.iter().find(|(text, _)| event.text.contains(text)) {
            if let Some(address) = ADDRESS.find(&event.text) {
                // Of the same connection, the next suspicion is another one.
                self.reported.retain(|it| !it.words.ends_with(address.as_str()));
            }
            return self.report.counts.take_back(TextKind::LeakSuspected, TextKind::HeldLong, library);
        }
        let Some((recognised, words)) = recognised_words(&event.text) else { return };
        if event.is_ordinary() && !LEAKS_AT_INFO.contains(&recognised.library) {
            return;
        }
        self.place(event, (recognised.kind, recognised.library));
        if recognised.kind.is_pgbouncer() {
            return self.report.counts.add_recognised(recognised, &event.text, 1);
        }
        let who = who(&event.text);
        let is_bare = !event.has_trace && who.at_ms.is_none();
        let report = FailureReport {
            words: identity(&recognised, &event.text, &words),
            who,
            kind: recognised.kind,
            has_trace: event.has_trace,
            is_announced: event.text.starts_with("prisma:error") || (recognised.library == "Prisma" && is_bare),
            is_uncaught: event.text.starts_with("Exception in thread "),
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

    /// Notes when and where a failure was met.
    fn place(&mut self, event: &Event, of: (TextKind, &'static str)) {
        let place = || LogPlace { log: self.log.clone(), line: event.line };
        self.report.places.entry(of).or_insert_with(place);
        let Some(at) = time(&event.head) else { return };
        let (first, last) = self.report.times.entry(of).or_insert_with(|| (at.clone(), at.clone()));
        if at.is_before(first) == Some(true) {
            *first = at;
        } else if last.is_before(&at) == Some(true) {
            *last = at;
        }
    }

    /// True if this was reported before: of the same connection, or, without a trace, by the same thread at the same time. One failure is
    /// reported twice at most.
    fn is_repeated(&mut self, now: &FailureReport) -> bool {
        let is_address = ADDRESS.is_match(&now.words);
        let same = |it: &FailureReport| {
            let is_trace_of = !it.has_trace && now.has_trace && it.who == now.who && it.who.at_ms.is_some();
            let is_thrown = (it.is_announced && now.has_trace) || now.is_uncaught;
            it.words == now.words && (is_address || is_trace_of || is_thrown || is_of_one_wait(it, now))
        };
        let Some(place) = self.reported.iter().rposition(same) else { return false };
        self.reported.remove(place);
        true
    }
}

/// True if two reports are of one checkout: by the same thread, sooner one after the other than it can wait.
fn is_of_one_wait(before: &FailureReport, now: &FailureReport) -> bool {
    let is_soon = before
        .who
        .at_ms
        .zip(now.who.at_ms)
        .is_some_and(|(before, now)| now.checked_sub(before).is_some_and(|ms| ms < SOON_MS));
    now.kind == TextKind::PoolTimeout && now.who.thread.is_some() && now.who.thread == before.who.thread && is_soon
}

/// The words, with the address of the connection that they are about.
fn identity(recognised: &Recognised, text: &str, words: &str) -> String {
    let address = (recognised.kind == TextKind::LeakSuspected).then(|| ADDRESS.find(text)).flatten();
    address.map_or_else(|| words.to_owned(), |address| format!("{words} {}", address.as_str()))
}

fn who(text: &str) -> Who {
    let first = text.lines().next().unwrap_or_default();
    let part = |found: &regex::Captures<'_>, place: usize| found[place].parse::<u32>().unwrap_or(0);
    let at_ms =
        AT.captures(first).map(|it| ((part(&it, 1) * 60 + part(&it, 2)) * 60 + part(&it, 3)) * 1000 + part(&it, 4));
    let thread = THREAD.captures(first).map(|found| found[1].to_owned());
    Who { at_ms, thread }
}
