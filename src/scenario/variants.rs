//! The variants to run, which may be written as a list, as one name, or as `"both"`.

use std::fmt;

use gateway_under_test::settings::SessionScope;
use serde::Deserialize;
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// Both scopes, the bug first.
pub(super) fn both_scopes() -> Vec<SessionScope> {
    vec![SessionScope::Held, SessionScope::Scoped]
}

/// Reads a list of variants, one variant, or `"both"`: what `--variant` takes is so good in a file, too.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SessionScope>, D::Error> {
    deserializer.deserialize_any(VariantsVisitor)
}

struct VariantsVisitor;

impl<'de> Visitor<'de> for VariantsVisitor {
    type Value = Vec<SessionScope>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"held\", \"scoped\", \"both\" or a list of variants")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "both" => Ok(both_scopes()),
            "held" | "scoped" => SessionScope::deserialize(StrDeserializer::new(text)).map(|scope| vec![scope]),
            _ => Err(E::unknown_variant(text, &["held", "scoped", "both"])),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq))
    }
}
