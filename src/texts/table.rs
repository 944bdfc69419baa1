//! Recognises the known texts: by parts that each must have, and by its expression.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::known::TEXTS;
use super::localised::MESSAGES;
use super::{PoolLimits, Recognised, TextKind};

/// A SQLSTATE where one stands: behind the word for it (`SQLSTATE 53300`, `SQLSTATE[53300]`, `sqlState: "53300"`), as the code of an error
/// (`severity: 'FATAL', code: '53300'`), behind the class of an error (`PostgresError [53300]`), in a log of the server's with
/// `log_error_verbosity = verbose` or `%e`, and in its column of a csvlog. A bare number is a port, a pid, a size, and one that is called a
/// code may be a postal one.
fn state(code: &str) -> String {
    let before = [
        r#"(?i:sql_?state(?:_code)?|sqlerrcode|pgcode|errcode)["']?\s*(?:[:=(\[]|=>|is)?\s*["']?"#,
        r#"(?s)\b(?:[sS]everity|[rR]outine)["']?\s*(?:[:=(]|=>).{0,1000}?\b[cC]ode["']?\s*(?:[:=(]|=>)\s*["']"#,
        r#"(?s)\w(?:Error|Exception)\b.{0,1000}?\b[cC]ode["']?\s*(?:[:=(]|=>)\s*["']"#,
        r"\bSqlState\(E?",
        r"(?:Error|Exception)(?:\s*\[|\s*\(|:\s*\[)",
        r"(?:ERROR|FATAL|PANIC),",
    ];
    let severities = "ERROR|FATAL|PANIC";
    // A colon behind it: `FATAL:  53300: sorry`, `PostgresException (0x80004005): 53300: sorry`.
    let colon = format!(r"(?:(?:{severities}):\s+|(?:Error|Exception)(?: \([^)]*\))?:\s+){code}:");
    let severity =
        format!(r#"(?s)\b[cC]ode["']?\s*(?:[:=(]|=>)\s*["']{code}["'].{{0,1000}}?\b(?:[sS]everity|[rR]outine)\b"#);
    format!(r"(?:{}){code}\b|{colon}|{severity}|(?:^|\s){code}:?\s+(?:{severities}):", before.join("|"))
}

/// What comes before the words of an error, where they are not all that there is: its class or severity, a field that has a message, the cause
/// of an end.
const REPORTED: &str =
    r#"(?i)(?:because|error|fatal|violation|exception|failure|failed|message|msg|event|detail|reason)["')]*:?\s+["']?"#;

struct Entry {
    kind: TextKind,
    library: &'static str,
    text: Regex,
}

/// The table, and which parts lead to which of its texts.
struct Table {
    entries: Vec<Entry>,
    parts: AhoCorasick,
    /// By the part's place: the text's.
    of_part: Vec<usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Parts::default();
    for (kind, library, parts, text) in &TEXTS {
        table.add(*kind, library, parts, &written(text));
    }
    for (kind, _language, message) in &MESSAGES {
        let parts: Vec<&str> = message.split("%s").collect();
        let longest = parts.iter().copied().max_by_key(|part| part.len()).unwrap_or(message);
        let text: Vec<String> = parts.iter().map(|part| regex::escape(part)).collect();
        // One of them has a line break in it.
        table.add(*kind, "PostgreSQL", &[longest.trim()], &text.join(".{1,80}?").replace(' ', r"\s+"));
    }
    Table {
        entries: table.entries,
        of_part: table.of_part,
        parts: AhoCorasick::new(table.words).expect("a few short parts"),
    }
});

/// A table that is being put together.
#[derive(Default)]
struct Parts {
    entries: Vec<Entry>,
    words: Vec<String>,
    of_part: Vec<usize>,
}

impl Parts {
    fn add(&mut self, kind: TextKind, library: &'static str, parts: &[&str], text: &str) {
        // Words that a line break parts are looked for by the first of them.
        let first = |part: &&str| part.chars().take(PART).collect::<String>();
        self.words.extend(parts.iter().map(first));
        self.of_part.extend(parts.iter().map(|_| self.entries.len()));
        let text = Regex::new(text).expect("each expression of the table is tried by a test");
        self.entries.push(Entry { kind, library, text });
    }
}

/// Characters of a part that are looked for.
const PART: usize = 40;

fn written(text: &str) -> String {
    let within = |text: &str, mark: &str, written: &dyn Fn(&str) -> String| {
        let Some((before, rest)) = text.split_once(mark) else { return text.to_owned() };
        let (inner, after) = rest.split_once(')').unwrap_or((rest, ""));
        format!("{before}{}{after}", written(inner))
    };
    let reported =
        within(text, "REPORTED(", &|words| format!(r"(?:{REPORTED}(?:{words})\b|\A(?:{words})\s*(?:\z|\n|\())"));
    within(&reported, "STATE(", &state)
}

/// The most telling text, and the words of it.
pub(super) fn recognise(text: &str) -> Option<(Recognised, &str)> {
    let table = &*TABLE;
    let met = table.parts.find_overlapping_iter(text).map(|part| table.of_part[part.pattern().as_usize()]);
    let mut places: Vec<usize> = met.collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().find_map(|place| {
        let Entry { kind, library, text: expression } = &table.entries[place];
        let found = expression.captures(text)?;
        let group = |name: &str| found.name(name).map(|it| it.as_str());
        // SQLAlchemy prints a negative overflow while its pool is not full.
        let count = |name: &str| group(name).and_then(|it| it.parse::<u32>().ok());
        let seconds = |name: &str| group(name).and_then(|it| it.trim_end_matches('.').parse::<f64>().ok());
        let timeout_s = seconds("s").or_else(|| seconds("ms").map(|ms| ms / 1e3));
        let limits = PoolLimits { size: count("size"), overflow: count("overflow"), timeout_s };
        let words = found.get(0).map_or("", |it| it.as_str());
        Some((Recognised { kind: *kind, library, limits }, words))
    })
}
