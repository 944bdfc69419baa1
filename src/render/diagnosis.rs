//! Findings, for people and for scripts.

use std::fmt::Write;

use serde::Serialize;

use super::numbers::count;
use super::text::plain;
use crate::diagnose::what_if::{Forecast, Need, Unknown};
use crate::diagnose::{Finding, FindingKind};
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

/// `diagnose`, for people.
pub fn text(diagnosed: &[Diagnosed], logs: &PatternCounts, width: Option<usize>) -> String {
    let mut text = String::new();
    for it in diagnosed {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", it.variant.name());
        let (effects, causes): (Vec<&Finding>, Vec<&Finding>) =
            it.findings.iter().partition(|finding| finding.effect_of.is_some());
        for (index, finding) in causes.into_iter().enumerate() {
            let of_it = |effect: &&&Finding| effect.effect_of.as_ref().is_some_and(|cause| cause.is(finding));
            one(&mut text, index + 1, finding, effects.iter().filter(of_it), width);
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
    text
}

fn one<'a>(
    text: &mut String,
    number: usize,
    finding: &Finding,
    effects: impl Iterator<Item = &'a &'a Finding>,
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
    let pattern = finding.pattern.zip(finding.pattern_confidence);
    let pattern =
        pattern.map_or_else(String::new, |(id, sure)| format!(", {:.0} % that the pattern is {id:?}", sure * 100.0));
    say(&format!("confidence: {:.0} %{pattern}", finding.confidence * 100.0));
    for evidence in &finding.evidence {
        say(&format!("{}: {} {}", evidence.figure, figure(evidence.value), evidence.text));
    }
    effects.for_each(|effect| say(&format!("effect: {}", effect.title)));
    say(&format!("what to do: {}", finding.fix));
    for (stack, fix) in &finding.fix_by_stack {
        say(&format!("{stack}: {fix}"));
    }
}

/// A figure of evidence: whole where it is whole.
fn figure(value: f64) -> String {
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
