//! `run --json`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::text::is_unsafe;
use crate::gate::GateReport;
use crate::record::{Format, Outcome, RunRecord, Summary};
use crate::scenario::VariantName;

/// A document as JSON, ending in a line break.
///
/// Text of others may stand in any string of it, and a terminal or a CI system may be what reads it: what acts there
/// (control characters, marks that turn the direction of writing, GitHub's `##[`) is written as an escape sequence,
/// which every reader of JSON turns back into the character.
///
/// # Errors
/// As [`serde_json::to_string_pretty`].
pub fn text(document: &impl Serialize) -> serde_json::Result<String> {
    let written = serde_json::to_string_pretty(document)?;
    let mut safe = String::with_capacity(written.len() + 1);
    for c in written.chars() {
        match c {
            // What is no string of others holds no such character but the line break between values.
            '\n' => safe.push(c),
            c if is_unsafe(c) => escape(c, &mut safe),
            '[' if safe.ends_with("##") => escape(c, &mut safe),
            c => safe.push(c),
        }
    }
    safe.push('\n');
    Ok(safe)
}

fn escape(c: char, text: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// Output of `run --json`.
#[derive(Debug, Serialize)]
pub struct RunSummary<'a> {
    format: Format,
    scenario: &'a str,
    outcome: &'a Outcome,
    folder: &'a Path,
    variants: BTreeMap<VariantName, &'a Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<&'a GateReport>,
}

/// The summary of a run, and its verdict when it was judged.
pub fn run_summary<'a>(record: &'a RunRecord, folder: &'a Path, gate: Option<&'a GateReport>) -> RunSummary<'a> {
    RunSummary {
        format: Format { name: "rbac-bench/run-summary".to_owned(), version: 1 },
        scenario: record.scenario.name(),
        outcome: &record.outcome,
        folder,
        variants: record.variants.iter().map(|(scope, variant)| (*scope, &variant.summary)).collect(),
        gate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        let written = text(&["\u{9b}2J \u{202e} ##[error] \u{e0041}"]).unwrap();
        assert_eq!(written, "[\n  \"\\u009b2J \\u202e ##\\u005berror] \\udb40\\udc41\"\n]\n");
    }

    proptest! {
        #[test]
        fn every_text_reads_back_and_none_acts(text_seen in any::<String>(), middle in any::<String>()) {
            let document = [text_seen, format!("##[{middle}\u{9b}\u{61c}")];
            let written = text(&document).unwrap();
            prop_assert!(!written.chars().any(|c| c != '\n' && is_unsafe(c)), "{}", written);
            prop_assert!(!written.contains("##["), "{}", written);
            prop_assert_eq!(serde_json::from_str::<[String; 2]>(&written).unwrap(), document);
        }
    }
}
