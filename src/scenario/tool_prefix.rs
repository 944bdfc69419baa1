//! The prefix of a tool's name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest prefix, in bytes.
const LONGEST: usize = 64;

/// ASCII letters, digits, `-`, `_` and `.`, 1 to 64 of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ToolPrefix(String);

impl TryFrom<String> for ToolPrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(format!("invalid tool prefix `{text}`: expected 1 to {LONGEST} of A-Z, a-z, 0-9, `-`, `_` and `.`"))
        }
    }
}

impl From<ToolPrefix> for String {
    fn from(prefix: ToolPrefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for ToolPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
