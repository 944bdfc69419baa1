//! The variants to run, which may be written as a list, as one name, or as `"both"`.

use std::fmt;

use gateway_under_test::settings::SessionScope;
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// Both scopes, the bug first.
pub(super) fn both_scopes() -> Vec<SessionScope> {
    vec![SessionScope::Held, SessionScope::Scoped]
}

/// Names that may be written.
const NAMES: [&str; SessionScope::ALL.len() + 1] = {
    let mut names = ["both"; SessionScope::ALL.len() + 1];
    let mut index = 0;
    // The last stays "both".
    while index < SessionScope::ALL.len() {
        names[index] = SessionScope::ALL[index].name();
        index += 1;
    }
    names
};

/// Reads a list of variants, one variant, or `"both"`: what `--variant` takes is so good in a file, too.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SessionScope>, D::Error> {
    deserializer.deserialize_any(VariantsVisitor)
}

struct VariantsVisitor;

impl<'de> Visitor<'de> for VariantsVisitor {
    type Value = Vec<SessionScope>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a session scope, \"both\" or a list of session scopes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "both" {
            return Ok(both_scopes());
        }
        let named = SessionScope::ALL.into_iter().find(|scope| scope.name() == text);
        named.map(|scope| vec![scope]).ok_or_else(|| E::unknown_variant(text, &NAMES))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq))
    }
}
