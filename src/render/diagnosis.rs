//! Findings, for people and for scripts.

use std::fmt::Write;

use serde::Serialize;

use super::numbers::count;
use super::text::plain;
use crate::diagnose::what_if::{Forecast, Need, Unknown};
use crate::diagnose::{Evidence, Finding, FindingKind};
use crate::logs::meaning::says;
use crate::record::Format;
use crate::scenario::VariantName;
use crate::texts::PatternCounts;

/// Columns of prose where the terminal does not say.
const WIDTH: usize = 120;

/// Diagnosis of one variant.
#[derive(Clone, Debug)]
pub struct Diagnosed {
    pub variant: VariantName,
    /// Its findings, most harmful first.
    pub findings: Vec<Finding>,
    /// The answer to what was asked, or why there is none.
    pub what_if: Option<Result<Forecast, Unknown>>,
}

#[derive(Serialize)]
struct DiagnosisJson<'a> {
    format: Format,
    scenario: &'a str,
    findings: Vec<FindingJson<'a>>,
    what_if: Vec<WhatIfJson<'a>>,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    variant: VariantName,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Serialize)]
struct WhatIfJson<'a> {
    variant: VariantName,
    forecast: Option<&'a Forecast>,
    /// Reason why there is no forecast.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<Unknown>,
}

/// `diagnose --json`.
pub fn json<'a>(scenario: &'a str, diagnosed: &'a [Diagnosed]) -> impl Serialize + 'a {
    let lines = |it: &'a Diagnosed| it.findings.iter().map(|finding| FindingJson { variant: it.variant, finding });
    let answer = |it: &'a Diagnosed| {
        let answer = it.what_if.as_ref()?;
        Some(WhatIfJson {
            variant: it.variant,
            forecast: answer.as_ref().ok(),
            unknown: answer.as_ref().err().copied(),
        })
    };
    DiagnosisJson {
        format: Format { name: "rbac-bench/diagnosis".to_owned(), version: 1 },
        scenario,
        findings: diagnosed.iter().flat_map(lines).collect(),
        what_if: diagnosed.iter().filter_map(answer).collect(),
    }
}

/// The line or lines at the end of a run: what is wrong in each variant, in a sentence.
pub fn conclusion(diagnosed: &[Diagnosed], width: Option<usize>) -> String {
    let mut text = String::new();
    let several = diagnosed.len() > 1;
    for it in diagnosed {
        let Some(first) = it.findings.first() else { continue };
        // A healthy variant beside an ill one needs no word: the table shows it.
        if first.kind == FindingKind::Healthy {
            continue;
        }
        let variant = if several { format!(" in {}", it.variant.name()) } else { String::new() };
        wrapped(&mut text, &format!("What is wrong{variant}: {}", first.title), "", width);
    }
    text
}

/// Advice that is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// For the stack that is there.
    OfStack,
    /// For all stacks.
    All,
}

impl Advice {
    /// All where that is asked for.
    #[must_use]
    pub fn of(all: bool) -> Self {
        if all { Self::All } else { Self::OfStack }
    }

    /// The lines of a finding.
    pub(super) fn lines(self, finding: &Finding) -> Vec<String> {
        let mut lines = vec![format!("what to do: {}", finding.fix)];
        let shown = |stack: &str| self == Self::All || finding.stack == Some(stack);
        let in_code = finding.fix_by_stack.iter().filter(|(stack, _)| shown(stack));
        lines.extend(in_code.map(|(stack, fix)| format!("{stack}: {fix}")));
        lines
    }
}

/// `diagnose`, for people.
pub fn text(diagnosed: &[Diagnosed], logs: &PatternCounts, advice: Advice, width: Option<usize>) -> String {
    let mut text = String::new();
    for it in diagnosed {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", it.variant.name());
        let (effects, causes): (Vec<&Finding>, Vec<&Finding>) =
            it.findings.iter().partition(|finding| finding.effect_of.is_some());
        for (index, finding) in causes.into_iter().enumerate() {
            let of_it = |effect: &&&Finding| effect.effect_of.as_ref().is_some_and(|cause| cause.is(finding));
            one(&mut text, (index + 1, finding), effects.iter().filter(of_it), advice, width);
        }
        match &it.what_if {
            Some(Ok(forecast)) => forecasted(&mut text, forecast, width),
            Some(Err(unknown)) => {
                wrapped(&mut text, &format!("what if: unknown, since {}.", unknown.why()), "  ", width);
            }
            None => {}
        }
        text.push('\n');
    }
    in_logs(&mut text, logs);
    let findings = || diagnosed.iter().flat_map(|it| &it.findings);
    if findings().any(Finding::is_trouble) {
        wrapped(&mut text, CONFIDENCE, "", width);
    }
    if advice == Advice::OfStack && findings().any(|it| it.stack.is_none() && !it.fix_by_stack.is_empty()) {
        wrapped(&mut text, MORE_ADVICE, "", width);
    }
    text
}

/// Explanation of the figure, once.
const CONFIDENCE: &str = "confidence: how sure the finding as a whole is; docs/DIAGNOSIS.md says what it rests on.";

/// Where more advice is.
pub(super) const MORE_ADVICE: &str =
    "The same in code for SQLAlchemy, Django, node-postgres, HikariCP and tokio-postgres: `--all-advice`.";

fn one<'a>(
    text: &mut String,
    (number, finding): (usize, &Finding),
    effects: impl Iterator<Item = &'a &'a Finding>,
    advice: Advice,
    width: Option<usize>,
) {
    wrapped(text, &format!("{number}. {}", finding.title), "  ", width);
    let mut say = |line: &str| wrapped(text, line, "     ", width);
    if let Some(held) = finding.held_s_per_request {
        say(&format!(
            "held: {:.3} s per request (95 % confidence interval {:.3} to {:.3} s)",
            held.value, held.low, held.high
        ));
    }
    if let Some(statement) = &finding.statement {
        let of = finding.application_name.as_ref().map_or_else(String::new, |name| format!(" (of {name})"));
        say(&format!("last statement{of}: {statement}"));
    }
    advice.lines(finding).iter().for_each(|line| say(line));
    effects.for_each(|effect| say(&format!("effect: {}", effect.title)));
    say(&format!("confidence: {:.0} %", finding.confidence * 100.0));
    if let Some((id, sure)) = finding.pattern.zip(finding.pattern_confidence) {
        say(&format!("pattern: {} {id:?} (docs/HOLD-PATTERNS.md)", likelihood(sure)));
    }
    for Evidence { figure: place, value, text } in &finding.evidence {
        say(&format!("- {} {text} ({place})", figure(*value)));
    }
}

/// Confidence in a pattern, in a word: another figure beside the finding's would be taken for it.
pub(super) fn likelihood(sure: f64) -> &'static str {
    if sure >= LIKELY { "most likely" } else { "perhaps" }
}

/// From here on a pattern is more than a guess.
const LIKELY: f64 = 0.8;

/// A figure of evidence: whole where it is whole.
pub(super) fn figure(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn forecasted(text: &mut String, forecast: &Forecast, width: Option<usize>) {
    let need = |name: &str, need: &Need| {
        let users = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |it| format!("{it:.0}"));
        format!(
            "{name}: {:.1} of {} sessions at the mean; a worker's pool is full now and then from {} users on, all are from {}",
            need.sessions,
            forecast.capacity,
            users(need.first_full_at_users),
            users(need.full_at_users),
        )
    };
    wrapped(
        text,
        &format!(
            "what if: {} users, estimated from {} polls at which no pool was full",
            forecast.users, forecast.polls
        ),
        "  ",
        width,
    );
    wrapped(text, &need("as it is", &forecast.before), "     ", width);
    wrapped(text, &need("with what is named above cured", &forecast.after), "     ", width);
}

fn in_logs(text: &mut String, logs: &PatternCounts) {
    for (index, (kind, library, reported)) in logs.iter().enumerate() {
        if index == 0 {
            text.push_str("in the logs\n");
        }
        let _ = writeln!(text, "{:>9} ×  {library}: {}", count(Some(reported.count)), says(kind));
    }
}

/// A line of prose, made harmless, broken between words.
fn wrapped(text: &mut String, line: &str, indent: &str, width: Option<usize>) {
    let deeper = format!("{indent}   ");
    let options =
        textwrap::Options::new(width.unwrap_or(WIDTH).max(40)).initial_indent(indent).subsequent_indent(&deeper);
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    text.push_str(&textwrap::fill(&plain(line), options));
    text.push('\n');
}
