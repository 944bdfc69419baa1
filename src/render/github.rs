//! A verdict as GitHub Actions shows it: annotations of the job, and markdown for its summary.

use std::fmt::Write;

use super::gate::{GateView, word};
use super::junit::message;
use super::text::{annotation, annotation_property};
use crate::gate::{RuleOutcome, Severity, Verdict};

/// So many annotations of a kind are shown for a step; later ones are thrown away without a word.
pub const MOST_ANNOTATIONS: usize = 10;

/// A step's summary may have so many bytes; a longer one is not shown at all.
pub const LONGEST_SUMMARY: usize = 1 << 20;

/// A workflow command for each rule that is not passed, a line each, errors first; where there are too many, the last
/// one says how many more.
#[must_use]
pub fn annotations(view: GateView<'_>) -> String {
    let mut unsettled: Vec<&RuleOutcome> =
        view.report.rules.iter().filter(|rule| rule.verdict != Verdict::Passed).collect();
    unsettled.sort_by_key(|rule| rule.severity == Severity::Warn);
    let shown = if unsettled.len() > MOST_ANNOTATIONS { MOST_ANNOTATIONS - 1 } else { unsettled.len() };
    let mut text: String = unsettled.iter().take(shown).map(|rule| one(rule, view)).collect();
    if unsettled.len() > shown {
        let kind = command(unsettled[shown]);
        let _ = writeln!(text, "::{kind} title=gate::and {} more rules, in the job summary", unsettled.len() - shown);
    }
    text
}

/// The annotation of a gate that came to no verdict.
#[must_use]
pub fn without_verdict(reason: &str) -> String {
    format!("::error title=gate without a verdict::{}\n", annotation(reason))
}

fn command(rule: &RuleOutcome) -> &'static str {
    match rule.severity {
        Severity::Error => "error",
        Severity::Warn => "warning",
    }
}

fn one(rule: &RuleOutcome, view: GateView<'_>) -> String {
    let title = format!("gate {}: {}", word(rule), rule.rule);
    let because = rule.because.as_ref().map_or_else(String::new, |because| format!("; because {because}"));
    let variant = rule.variant.map_or_else(String::new, |variant| format!("{}: ", variant.name()));
    let body = format!("{variant}{}{because}. Reproduce: {}", message(rule), view.command_for(rule.variant));
    format!("::{} title={}::{}\n", command(rule), annotation_property(&title), annotation(&body))
}

/// The part of `markdown` that fits into a summary in which `taken` bytes are written, cut at the end of a line, with a
/// line that says so.
#[must_use]
pub fn fitting(markdown: &str, taken: usize) -> String {
    const CUT: &str = "\nThe rest does not fit into a job summary.\n";
    let room = LONGEST_SUMMARY.saturating_sub(taken);
    if markdown.len() <= room {
        return markdown.to_owned();
    }
    let room = room.saturating_sub(CUT.len());
    let end =
        markdown.as_bytes()[..room.min(markdown.len())].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if end == 0 { String::new() } else { format!("{}{CUT}", &markdown[..end]) }
}
