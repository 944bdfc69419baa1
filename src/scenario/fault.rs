//! Fault of one key: what Serde refuses, in words of ours.
//!
//! Serde says what it saw and what it expected, but speaks of `i64` and `struct Load`; anyone who edits a scenario
//! file knows neither.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clause(&KeyPath::default()))
    }
}

impl std::error::Error for Fault {}

/// Refusals of Serde, as any format gets them.
impl de::Error for Fault {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Refused { reason: reason.to_string() }
    }

    fn invalid_type(seen: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::WrongKind { seen: seen_in_plain_words(seen), allowed: in_plain_words(&expected.to_string()) }
    }

    fn invalid_value(seen: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(seen, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::WrongKind { seen: format!("of length {length}"), allowed: in_plain_words(&expected.to_string()) }
    }

    fn unknown_variant(seen: &str, allowed: &'static [&'static str]) -> Self {
        Self::UnknownName { seen: seen.to_owned(), allowed: allowed.iter().copied().map(str::to_owned).collect() }
    }

    fn unknown_field(_: &str, allowed: &'static [&'static str]) -> Self {
        let allowed = allowed.iter().filter(|name| !FORMER_KEYS.contains(name));
        Self::UnknownKey { allowed: allowed.copied().map(str::to_owned).collect() }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing { name: name.to_owned() }
    }
}

/// Without its kind, which the value shows by itself.
fn seen_in_plain_words(seen: Unexpected<'_>) -> String {
    match seen {
        Unexpected::Map => "a table".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Signed(number) => format!("`{number}`"),
        Unexpected::Unsigned(number) => format!("`{number}`"),
        Unexpected::Float(number) => format!("`{number:?}`"),
        Unexpected::Bool(value) => format!("`{value}`"),
        other => other.to_string(),
    }
}

/// Expectations are texts, and name types of the program.
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
