//! Overrides beside the file: by the environment, by a flag, by `--set`.
//!
//! An override is a key and a text. All are merged into the TOML document before it is read, so that whatever a file
//! can say, a flag can say too, with the same checks and the same messages.

use std::fmt;

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use super::key::{KeyPath, KeyPathError};
use super::service::url::holds_password;

/// One setting from outside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub key: KeyPath,
    /// To what: a TOML value; a text that is none counts as a string, so that `10s` needs no quotes.
    pub value: String,
    pub origin: Origin,
}

/// Origin of an override, in the words of the person who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of its own: `--users`.
    Flag(String),
    /// A variable: `RBAC_BENCH_USERS`.
    Environment(String),
    /// `--set`, with any key.
    Set,
}

/// A key that has a flag and a variable of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// The flag: `--users`.
    pub flag: &'static str,
    /// The variable: `RBAC_BENCH_USERS`.
    pub variable: &'static str,
    /// The names of the key: `load`, `users`.
    pub key: &'static [&'static str],
}

/// `load.users`
pub const USERS: Shortcut = Shortcut { flag: "--users", variable: "RBAC_BENCH_USERS", key: &["load", "users"] };
/// `load.duration`
pub const DURATION: Shortcut =
    Shortcut { flag: "--duration", variable: "RBAC_BENCH_DURATION", key: &["load", "duration"] };
/// `variants`
pub const VARIANT: Shortcut = Shortcut { flag: "--variant", variable: "RBAC_BENCH_VARIANT", key: &["variants"] };

/// Every key that has a flag and a variable of its own.
pub const SHORTCUTS: [Shortcut; 3] = [USERS, DURATION, VARIANT];

impl Shortcut {
    /// The override that the flag makes.
    pub fn by_flag(self, value: impl Into<String>) -> Override {
        self.by(Origin::Flag(self.flag.to_owned()), value.into())
    }

    /// The override that the variable makes.
    pub fn by_environment(self, value: impl Into<String>) -> Override {
        self.by(Origin::Environment(self.variable.to_owned()), value.into())
    }

    fn by(self, origin: Origin, value: String) -> Override {
        Override { key: KeyPath::of(self.key.iter().copied()), value, origin }
    }
}

/// Errors of an override.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OverrideError {
    #[error("`--set {0}` sets nothing: write it as key=value, such as `--set load.users=500`")]
    NoValue(String),
    #[error("`--set {text}` names no key")]
    Key {
        /// The given text.
        text: String,
        #[source]
        source: KeyPathError,
    },
}

impl Override {
    /// Reads what `--set` takes: `load.users=50`.
    ///
    /// # Errors
    /// When there is no `=`, or no key before it.
    pub fn from_set(text: &str) -> Result<Self, OverrideError> {
        let (key, value) = split_at_equals(text).ok_or_else(|| OverrideError::NoValue(text.to_owned()))?;
        let key = KeyPath::parse(key.trim()).map_err(|source| OverrideError::Key { text: text.to_owned(), source })?;
        Ok(Self { key, value: value.trim().to_owned(), origin: Origin::Set })
    }

    fn toml_value(&self) -> Value {
        self.value.parse().unwrap_or_else(|_| Value::from(self.value.as_str()))
    }
}

/// Splits at the first `=` outside of quotes: a quoted name may hold one.
fn split_at_equals(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let at = text.find(|c| {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        c == '=' && quote.is_none()
    })?;
    Some((&text[..at], &text[at + 1..]))
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password stays where it was written.
        let value = if holds_password(&self.value) { "…" } else { &self.value };
        match &self.origin {
            Origin::Flag(flag) => write!(f, "{flag} {value}"),
            Origin::Environment(variable) => write!(f, "{variable}={value}"),
            Origin::Set => write!(f, "--set {}={value}", self.key),
        }
    }
}

/// The overrides among the environment's variables; one that is set to nothing counts as not set.
pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let of_variable = |(name, value): (String, String)| {
        let shortcut = SHORTCUTS.into_iter().find(|shortcut| shortcut.variable == name)?;
        (!value.is_empty()).then(|| shortcut.by_environment(value))
    };
    variables.into_iter().filter_map(of_variable).collect()
}

/// The overrides in the order in which they are merged: the environment's first, since flags win, and of flags the
/// later one.
pub(super) fn in_order(overrides: &[Override]) -> Vec<&Override> {
    let mut ordered: Vec<_> = overrides.iter().collect();
    ordered.sort_by_key(|it| !matches!(it.origin, Origin::Environment(_)));
    ordered
}

/// Merges one override. A key whose parent is a value is left for the reader to refuse: the value becomes a table,
/// which is of the wrong kind there.
pub(super) fn merge(document: &mut DocumentMut, it: &Override) {
    let Some((name, parents)) = it.key.names().split_last() else { return };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for parent in parents {
        table = table_within(table, parent);
    }
    match table.get_mut(name) {
        Some(item) => *item = Item::Value(it.toml_value()),
        None => drop(table.insert(name, Item::Value(it.toml_value()))),
    }
}

fn table_within<'a>(table: &'a mut dyn TableLike, name: &str) -> &'a mut dyn TableLike {
    let item = table.entry(name).or_insert_with(empty_table);
    if !item.is_table_like() {
        *item = Item::Value(Value::InlineTable(toml_edit::InlineTable::new()));
    }
    item.as_table_like_mut().expect("it was made a table when it was none")
}

fn empty_table() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str, sets: &[&str]) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        for set in sets {
            merge(&mut document, &Override::from_set(set).unwrap());
        }
        document.to_string()
    }

    #[test]
    fn a_value_is_toml_or_else_a_string() {
        let text = merged("", &["a=1", "b=10s", "c=\"1\"", "d=[1, 2]", "e={x = 1}", "f=", "g=x=y", "h=1\ni = 2"]);
        let document: toml::Table = text.parse().unwrap();
        assert_eq!(document["a"].as_integer(), Some(1));
        assert_eq!(document["b"].as_str(), Some("10s"));
        assert_eq!(document["c"].as_str(), Some("1"));
        assert_eq!(document["d"].as_array().map(Vec::len), Some(2));
        assert_eq!(document["e"]["x"].as_integer(), Some(1));
        assert_eq!(document["f"].as_str(), Some(""));
        assert_eq!(document["g"].as_str(), Some("x=y"));
        assert_eq!(document["h"].as_str(), Some("1\ni = 2"));
    }

    #[test]
    fn tables_of_every_form_are_reached() {
        let text = "a = { b = 1 }\nc.d = 1\n[e]\nf = 1\n[[g]]\n";
        let text = merged(text, &["a.b=2", "c.d=2", "e.f=2", "h.i.j=2", "a.x.y=2", "e.\"k =\"=2"]);
        let document: toml::Table = text.parse().unwrap();
        for path in
            [vec!["a", "b"], vec!["c", "d"], vec!["e", "f"], vec!["h", "i", "j"], vec!["a", "x", "y"], vec!["e", "k ="]]
        {
            let table = path[..path.len() - 1].iter().fold(&document, |table, name| table[*name].as_table().unwrap());
            assert_eq!(table[path[path.len() - 1]].as_integer(), Some(2), "{path:?} in {text}");
        }
    }

    #[test]
    fn what_set_takes_is_refused_with_the_form() {
        let refusal = |text: &str| Override::from_set(text).unwrap_err().to_string();
        assert_eq!(
            refusal("load.users"),
            "`--set load.users` sets nothing: write it as key=value, such as `--set load.users=500`"
        );
        assert_eq!(refusal("load..users=5"), "`--set load..users=5` names no key");
    }

    #[test]
    fn an_empty_variable_or_another_program_s_is_no_override() {
        let variables = [("RBAC_BENCH_USERS", "50"), ("RBAC_BENCH_DURATION", ""), ("PATH", "/bin")];
        let overrides = from_environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(overrides, [USERS.by_environment("50")]);
    }
}
