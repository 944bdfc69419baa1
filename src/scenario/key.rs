//! Path of a setting in a scenario: `load.users`, `load.classes.realistic.tasks."GET /tools"`.
//!
//! Used wherever a message names a key, and to find the key's place in the text.

use std::fmt;

use serde::{Serialize, Serializer};

/// The names from the root of the file down to one setting; empty for the whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<String>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid key `{0}`: expected names with dots between, such as `load.users`, and quotes around other characters"
)]
pub struct KeyPathError(String);

impl KeyPath {
    /// The path made of these names.
    pub fn of<Name: Into<String>>(names: impl IntoIterator<Item = Name>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Reads a dotted key as TOML does.
    ///
    /// # Errors
    /// When `text` is no TOML key.
    ///
    /// ```
    /// use rbac_bench::scenario::key::KeyPath;
    /// let key = KeyPath::parse("load.classes.time.tasks.\"GET /tools\"").unwrap();
    /// assert_eq!(key.names().len(), 5);
    /// assert_eq!(key.to_string(), "load.classes.time.tasks.\"GET /tools\"");
    /// ```
    pub fn parse(text: &str) -> Result<Self, KeyPathError> {
        // The position inside so short a text would not help: only what is expected does.
        let names = toml_edit::Key::parse(text).ok().ok_or_else(|| KeyPathError(text.to_owned()))?;
        Ok(Self::of(names.iter().map(toml_edit::Key::get)))
    }

    /// The names, outermost first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The innermost name that is no place in a list; empty for the whole file.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.iter().rev().find(|name| !name.starts_with('[')).map_or("", String::as_str)
    }

    /// True if this is the whole file.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The same key, one level deeper.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self(self.0.iter().map(String::as_str).chain([name]).map(str::to_owned).collect())
    }

    /// One of a list of tables, counted from 0: `route[1]` is the first.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.child(&format!("[{}]", index + 1))
    }

    /// The key that holds this one; the root holds itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default())
    }

    /// True if one of the two holds the other, or they are the same.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if place_in_list(name).is_some() {
                f.write_str(name)?;
                continue;
            }
            let dot = if index == 0 { "" } else { "." };
            let name = toml_edit::Key::new(name);
            write!(f, "{dot}{}", name.display_repr())?;
        }
        Ok(())
    }
}

/// The place, from 0, that a name of [`KeyPath::item`] says.
pub(super) fn place_in_list(name: &str) -> Option<usize> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok()?.checked_sub(1)
}

impl Serialize for KeyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The candidate that `typed` was probably meant to be, if one is close enough to be worth a hint.
#[must_use]
pub fn nearest<'a, S: AsRef<str> + ?Sized + 'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    /// Below this, what is found has little to do with what was typed.
    const CLOSE: f64 = 0.8;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(typed, candidate.as_ref()), candidate.as_ref()))
        .filter(|(closeness, _)| *closeness >= CLOSE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_written_key_is_the_identity() {
        for names in
            [vec!["load", "users"], vec!["load", "classes", "a b", "tasks", "POST /rpc tools/call echo"], vec!["é\"x"]]
        {
            let key = KeyPath::of(names);
            assert_eq!(KeyPath::parse(&key.to_string()), Ok(key));
        }
    }

    #[test]
    fn one_of_a_list_of_tables_is_shown_by_its_number() {
        let key = KeyPath::of(["route"]).item(1).child("weight");
        assert_eq!(key.to_string(), "route[2].weight");
        assert_eq!(place_in_list("[2]"), Some(1));
        assert_eq!(["[0]", "[]", "2", "[x]"].map(place_in_list), [None; 4]);
    }

    #[test]
    fn a_key_with_a_hole_is_refused() {
        for text in ["", "load..users", ".users", "load.", "load users"] {
            assert!(KeyPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_is_close_or_nothing() {
        let keys = ["users", "ramp_up", "duration"];
        assert_eq!(nearest("usrs", keys), Some("users"));
        assert_eq!(nearest("rampup", keys), Some("ramp_up"));
        assert_eq!(nearest("zzz", keys), None);
    }
}
