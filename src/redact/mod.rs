//! Redacts secrets from everything that leaves this program: records, logs, reports, standard output and error.
//!
//! A secret that is known is found however it is written: percent-encoded, with JSON's or HTML's escapes, any of these
//! over each other, as base64 or hex, broken over lines, or cut off at an end of the text. A password in a URL, a bearer token and a JSON Web
//! Token are found by their form, known or not.

mod form;
mod known;
mod statement;
mod view;

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use known::KnownSecrets;
use view::View;

pub(crate) use statement::without_literals;

/// Anything shorter is no secret, and would redact half a sentence.
pub(crate) const SHORTEST_SECRET: usize = 4;

/// Replacement of a secret.
const REDACTED: char = '…';

/// Deepest nesting of decodings: a URL in a URL in JSON.
const MOST_LAYERS: usize = 3;

/// Treatment of ends of a text that may lie within a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Whole,
    Cut,
}

/// Redacts secrets from texts, however many there are.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Option<Arc<KnownSecrets>>);

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Redacts these, and what gives itself away by its form.
    pub(crate) fn of(secrets: &[String]) -> Self {
        let known = KnownSecrets::of(secrets);
        Self((!known.is_empty()).then(|| Arc::new(known)))
    }

    /// The text without secrets.
    pub(crate) fn redact(&self, text: String) -> String {
        self.redact_by(text, &form::IN_TEXT, Ends::Whole)
    }

    /// The text without secrets that are known: for data that a command is asked for, such as a token that it has made.
    pub(crate) fn redact_known(&self, text: String) -> String {
        self.redact_by(text, &form::NONE, Ends::Whole)
    }

    /// The same of a text that may have been cut off at both ends, within a secret.
    pub(crate) fn redact_cut(&self, text: String) -> String {
        self.redact_by(text, &form::IN_TEXT, Ends::Cut)
    }

    /// The same of words of a command line, or of what repeats them: there `token=…` and the like is a secret, too.
    pub(crate) fn redact_arguments(&self, text: String) -> String {
        self.redact_by(text, &form::IN_ARGUMENTS, Ends::Whole)
    }

    fn redact_by(&self, text: String, forms: &form::Forms, ends: Ends) -> String {
        let found = self.find(text.as_bytes(), forms, ends);
        if found.is_empty() { text } else { without(&text, found) }
    }

    /// True if the text ends within a secret, so that what comes next may be the rest of it.
    pub(crate) fn ends_within_secret(&self, text: &str) -> bool {
        let Some(known) = &self.0 else { return false };
        let text = without_partial_escape(text.as_bytes());
        views(text).iter().any(|view| known.head_at_end(view.bytes()).is_some())
    }

    /// Places of secrets.
    fn find(&self, text: &[u8], forms: &form::Forms, ends: Ends) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if ends == Ends::Cut {
            let whole = without_partial_escape(text);
            if whole.len() < text.len() {
                let heads = self.find(whole, &form::NONE, ends).into_iter().filter(|range| range.end == whole.len());
                found.extend(heads.map(|range| range.start..text.len()));
            }
        }
        for view in views(text) {
            let known = self.0.iter().flat_map(|known| known.find(view.bytes()));
            let cut = self.0.iter().filter(|_| ends == Ends::Cut).flat_map(|known| known.at_ends(view.bytes()));
            let all = known.chain(cut).chain(forms.find(view.bytes()));
            found.extend(all.filter_map(|range| view.source(range)));
        }
        found
    }
}

/// The text without an escape that its end has cut: `%4`, `\u00`, `&#x2`.
fn without_partial_escape(text: &[u8]) -> &[u8] {
    let longest = text.len().min(8);
    let begins = (1..=longest).map(|length| text.len() - length).find(|at| matches!(text[*at], b'%' | b'\\' | b'&'));
    let is_rest = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let cut = begins.filter(|at| {
        let rest = &text[at + 1..];
        let whole = if text[*at] == b'%' { 2 } else { 7 };
        rest.len() < whole && rest.iter().all(is_rest)
    });
    cut.map_or(text, |at| &text[..at])
}

/// The text as it is, decoded once, twice and so on, and each of these without its line breaks.
fn views(text: &[u8]) -> Vec<View<'_>> {
    let mut views = vec![View::of(text)];
    while views.len() <= MOST_LAYERS {
        let Some(decoded) = views.last().and_then(View::decoded) else { break };
        views.push(decoded);
    }
    let joined: Vec<View<'_>> = views.iter().filter_map(View::joined).collect();
    views.extend(joined);
    views
}

/// The text with these parts redacted, which may overlap.
fn without(text: &str, mut found: Vec<Range<usize>>) -> String {
    found.sort_by_key(|range| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut kept_from = 0;
    let mut redacted_to = None;
    for range in found {
        let (start, end) = (floor(text, range.start), ceiling(text, range.end));
        if redacted_to.is_none_or(|to| start > to) {
            out.push_str(&text[kept_from..start.max(kept_from)]);
            out.push(REDACTED);
        }
        let to = redacted_to.map_or(end, |to: usize| to.max(end));
        (redacted_to, kept_from) = (Some(to), to);
    }
    out.push_str(&text[kept_from..]);
    out
}

/// Spans of decoded characters may begin and end within a character of the text only where it was no UTF-8 before.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceiling(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// The redactor of this process: what any part of it has learned to be secret, no part writes.
static OF_PROCESS: RwLock<(Vec<String>, Redactor)> = RwLock::new((Vec::new(), Redactor(None)));

/// A secret of letters of one case alone, and shorter than this, is a word: `postgres`, `test`, `admin`.
const LONGEST_WORD: usize = 12;

/// True if a secret cannot be distinguished from a word of our own sentences, keys and tables. Redacting it everywhere would destroy
/// them. A random password of so few letters of one case counts as a word, too.
fn is_word(secret: &str) -> bool {
    let lower = secret.chars().all(|c| c.is_ascii_lowercase());
    let upper = secret.chars().all(|c| c.is_ascii_uppercase());
    (lower || upper) && secret.len() < LONGEST_WORD
}

/// From now on, nothing writes these, but for those that are words: such are redacted where others write them alone, in a
/// service's log and in what it answers.
pub(crate) fn learn(secrets: &[String]) {
    let mut known = OF_PROCESS.write().unwrap_or_else(PoisonError::into_inner);
    let before = known.0.len();
    known.0.extend(secrets.iter().filter(|secret| !is_word(secret)).cloned());
    known.0.sort();
    known.0.dedup();
    if known.0.len() > before {
        known.1 = Redactor::of(&known.0);
    }
}

/// The redactor that every output of this process passes through.
pub(crate) fn of_process() -> Redactor {
    OF_PROCESS.read().unwrap_or_else(PoisonError::into_inner).1.clone()
}

/// The passwords in the URLs of a text, as they are written and as they are meant.
pub(crate) fn passwords_of_urls(text: &str) -> Vec<String> {
    let found = form::passwords_of_urls(text.as_bytes());
    let written = found.into_iter().filter_map(|range| text.get(range).map(str::to_owned));
    written
        .flat_map(|password| {
            let meant =
                View::of(password.as_bytes()).decoded().map(|it| String::from_utf8_lossy(it.bytes()).into_owned());
            std::iter::once(password.clone()).chain(meant)
        })
        .collect()
}

/// PostgreSQL cuts names after so many bytes, and of a statement it keeps a kilobyte by default.
const CUT_FROM: usize = 63;

/// The map of a document whose keys are texts of others: errors, with their counts.
const TEXTS_AS_KEYS: &str = "errors";

/// The strings of a document without secrets; its own keys, its numbers and its shape stay. A string that is so long that it may
/// have been cut is redacted as one that was.
pub(crate) fn redact_document(redactor: &Redactor, document: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let text = |text: String| if text.len() >= CUT_FROM { redactor.redact_cut(text) } else { redactor.redact(text) };
    let one = |value| redact_document(redactor, value);
    match document {
        Value::String(string) => Value::String(text(string)),
        Value::Array(list) => Value::Array(list.into_iter().map(one).collect()),
        Value::Object(map) => {
            let member = |(key, value)| match value {
                Value::Object(counts) if key == TEXTS_AS_KEYS => {
                    let counts = counts.into_iter().map(|(error, count)| (text(error), count));
                    (key, Value::Object(summed(counts)))
                }
                value => (key, one(value)),
            };
            Value::Object(map.into_iter().map(member).collect())
        }
        plain => plain,
    }
}

/// Counts by text, where texts may have become the same.
fn summed(counts: impl Iterator<Item = (String, serde_json::Value)>) -> serde_json::Map<String, serde_json::Value> {
    let mut sums = serde_json::Map::new();
    for (text, count) in counts {
        let before = sums.get(&text).and_then(serde_json::Value::as_u64);
        let sum = before.zip(count.as_u64()).map_or(count, |(before, count)| (before + count).into());
        sums.insert(text, sum);
    }
    sums
}

#[cfg(test)]
mod tests;
