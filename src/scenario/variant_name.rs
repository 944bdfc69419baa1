//! The name of a variant: what a record, a table and a flag call one side of an experiment.
//!
//! The reference gateway's variants are its session scopes, and have their names. An external service has the names
//! that its owner gives.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use super::SessionScope;

/// Longest name, in bytes.
const LONGEST: usize = 32;

/// A short name of ASCII letters, digits, `_`, `-` and `.`, so that it may stand in a file's name, a flag and a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantName {
    /// The name, and zeros behind it, so that the order of the bytes is the order of the names.
    bytes: [u8; LONGEST],
    length: u8,
}

impl VariantName {
    /// The incident of issue #2318.
    pub const HELD: Self = Self::of(SessionScope::Held);
    pub const SCOPED: Self = Self::of(SessionScope::Scoped);

    /// The name of a session scope.
    #[must_use]
    pub const fn of(scope: SessionScope) -> Self {
        Self::copied(scope.name().as_bytes())
    }

    /// At most [`LONGEST`] ASCII bytes.
    const fn copied(name: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        let mut index = 0;
        while index < name.len() {
            bytes[index] = name[index];
            index += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "no longer than the array")]
        Self { bytes, length: name.len() as u8 }
    }

    pub fn name(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// The session scope of the reference gateway that has this name.
    pub fn scope(&self) -> Option<SessionScope> {
        SessionScope::ALL.into_iter().find(|scope| scope.name() == self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid variant name `{0}`: expected 1 to {LONGEST} ASCII letters, digits, `_`, `-` and `.`, a letter or digit first"
)]
pub struct NotAVariantName(String);

impl FromStr for VariantName {
    type Err = NotAVariantName;

    fn from_str(text: &str) -> Result<Self, NotAVariantName> {
        let refused = || NotAVariantName(text.chars().take(2 * LONGEST).collect());
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if first && rest && text.len() <= LONGEST { Ok(Self::copied(text.as_bytes())) } else { Err(refused()) }
    }
}

impl From<SessionScope> for VariantName {
    fn from(scope: SessionScope) -> Self {
        Self::of(scope)
    }
}

impl PartialEq<SessionScope> for VariantName {
    fn eq(&self, scope: &SessionScope) -> bool {
        self.name() == scope.name()
    }
}

impl fmt::Display for VariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for VariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name(), f)
    }
}

impl Serialize for VariantName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for VariantName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = VariantName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a variant")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<VariantName, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_scope_names_a_variant_and_is_found_by_it() {
        for scope in SessionScope::ALL {
            let name = VariantName::from(scope);
            assert_eq!(name.name(), scope.name());
            assert_eq!(name.scope(), Some(scope));
            assert_eq!(scope.name().parse(), Ok(name));
        }
    }

    #[test]
    fn what_may_not_stand_in_a_path_a_flag_or_a_table_is_no_name() {
        for text in ["", "-x", ".", "../x", "a b", "a/b", "ä", "a\n", &"x".repeat(33)] {
            assert!(text.parse::<VariantName>().is_err(), "{text:?}");
        }
        for text in ["before", "1.0.0", "fix_2319", &"x".repeat(32)] {
            assert_eq!(text.parse::<VariantName>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
    }
}
