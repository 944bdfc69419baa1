//! Fault of one key, in words: Serde's messages, put into ours.
//!
//! Serde says what it saw and what it expected, but speaks of `i64` and `struct Load`; anyone who edits a scenario
//! file knows neither. Serde's forms are fixed by its `de::Error` trait; a text of no known form is kept as it is.

use std::fmt;

use super::key::{KeyPath, nearest};
use super::locate::PathPart;

/// Fault of the value, or the name, of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such key.
    UnknownKey {
        /// The keys that are allowed beside it.
        allowed: Vec<String>,
    },
    /// The value is none of the names that are allowed.
    UnknownName { seen: String, allowed: Vec<String> },
    /// A key that has no default is not there.
    Missing {
        /// The key inside the one that lacks it.
        name: String,
    },
    /// The value is of another kind or size.
    WrongKind {
        /// Written value: `"x"`.
        seen: String,
        /// Expected kind: `a whole number`.
        allowed: String,
    },
    /// A refusal in the words of the value's own type.
    Refused { reason: String },
}

impl Fault {
    /// Reads one of Serde's messages.
    #[must_use]
    pub fn from_serde(message: &str) -> Self {
        let message = message.trim();
        unknown(message)
            .or_else(|| missing(message))
            .or_else(|| wrong_kind(message))
            .or_else(|| no_name(message))
            .unwrap_or_else(|| Self::Refused { reason: message.to_owned() })
    }

    /// Part of `key` that is at fault: its name, or its value.
    #[must_use]
    pub fn part(&self, key: &KeyPath) -> PathPart {
        match self {
            Self::UnknownKey { .. } => PathPart::Key,
            Self::UnknownName { seen, .. } if key.names().last() == Some(seen) => PathPart::Key,
            _ => PathPart::Value,
        }
    }

    /// Probable meaning of `key`. `known` are keys that exist elsewhere, for one set at the wrong level.
    #[must_use]
    pub fn meant(&self, key: &KeyPath, known: &[KeyPath]) -> Option<String> {
        let name = key.names().last().map(String::as_str).unwrap_or_default();
        match self {
            Self::UnknownKey { allowed } => nearest(name, allowed)
                .map(|name| key.parent().child(name))
                .or_else(|| known.iter().find(|known| known.names().last().is_some_and(|last| last == name)).cloned())
                .map(|key| key.to_string()),
            Self::UnknownName { seen, allowed } => nearest(seen, allowed).map(str::to_owned),
            Self::Missing { .. } | Self::WrongKind { .. } | Self::Refused { .. } => None,
        }
    }

    /// The clause that a message says of `key`.
    #[must_use]
    pub fn clause(&self, key: &KeyPath) -> String {
        match self {
            Self::UnknownKey { allowed } => format!("unknown key `{key}`: {}", allowed_list(allowed)),
            Self::UnknownName { seen, allowed } => {
                let holder = if self.part(key) == PathPart::Key { key.parent() } else { key.clone() };
                format!("unknown value `{seen}` for `{holder}`: {}", allowed_list(allowed))
            }
            Self::Missing { name } => format!("`{}` is missing", key.child(name)),
            Self::WrongKind { seen, allowed } => format!("invalid value {seen} for `{key}`: expected {allowed}"),
            Self::Refused { reason } => format!("`{key}`: {reason}"),
        }
    }
}

fn allowed_list(names: &[String]) -> impl fmt::Display {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let one_of = if names.len() == 1 { "" } else { "one of " };
    format!("expected {one_of}{}", names.join(", "))
}

/// Names that keys had before; files with them are still read.
const FORMER_KEYS: [&str; 2] = ["change_data", "waiting"];

/// ``unknown field `x`, expected one of `a`, `b` ``, and the same of a variant.
fn unknown(message: &str) -> Option<Fault> {
    const EXPECTED: &str = "`, expected ";
    let (head, tail) = message.split_at(message.rfind(EXPECTED)?);
    let names = tail[EXPECTED.len()..].split('`').skip(1).step_by(2);
    let allowed = names.filter(|name| !FORMER_KEYS.contains(name)).map(str::to_owned).collect();
    if head.starts_with("unknown field `") {
        return Some(Fault::UnknownKey { allowed });
    }
    let seen = head.strip_prefix("unknown variant `")?.to_owned();
    Some(Fault::UnknownName { seen, allowed })
}

/// ``missing field `x` ``.
fn missing(message: &str) -> Option<Fault> {
    let name = message.strip_prefix("missing field `")?.strip_suffix('`')?.to_owned();
    Some(Fault::Missing { name })
}

/// `invalid type: string "x", expected i64`, and the same of a value or a length.
fn wrong_kind(message: &str) -> Option<Fault> {
    let (kind, rest) = message.strip_prefix("invalid ")?.split_once(' ')?;
    let (seen, expected) = rest.rsplit_once(", expected ")?;
    let seen = match kind {
        "type:" | "value:" => seen_in_plain_words(seen),
        "length" => format!("of length {seen}"),
        _ => return None,
    };
    Some(Fault::WrongKind { seen, allowed: in_plain_words(expected) })
}

/// TOML's message for a name that is no text.
fn no_name(message: &str) -> Option<Fault> {
    let fault = || Fault::Refused { reason: "expected a name in quotes".to_owned() };
    (message == "wanted string or table").then(fault)
}

/// ``integer `5` `` without its kind, which the value shows by itself.
fn seen_in_plain_words(seen: &str) -> String {
    let kinds = ["string ", "integer ", "floating point ", "boolean "];
    match seen {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => kinds.iter().find_map(|kind| other.strip_prefix(kind)).unwrap_or(other).to_owned(),
    }
}

fn in_plain_words(expected: &str) -> String {
    let words = match expected {
        "i64" => "a whole number",
        "u32" | "u64" => "a whole number, 0 or more",
        "f64" => "a number",
        "a string" | "a borrowed string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        "an array of length 2" => "a list of two",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_no_known_form_is_kept() {
        for text in ["", "invalid", "invalid type", "unknown field", "missing field `a", "is 0: at least 1"] {
            assert_eq!(Fault::from_serde(text), Fault::Refused { reason: text.to_owned() });
        }
    }

    #[test]
    fn what_was_seen_may_look_like_the_message_itself() {
        let fault = Fault::from_serde("unknown variant `a`, expected `b`, expected one of `c`, `d`");
        let allowed = vec!["c".to_owned(), "d".to_owned()];
        assert_eq!(fault, Fault::UnknownName { seen: "a`, expected `b".to_owned(), allowed });
    }
}
