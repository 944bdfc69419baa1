//! A verdict for people, for scripts and for a merge request.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::fitted::FittedTable;
use super::numbers::quantity;
use super::text::{markdown as md, plain, shell_word};
use crate::gate::{GateReport, RatioEstimate, RuleOutcome, Severity, Verdict};
use crate::record::Format;
use crate::scenario::VariantName;

/// A verdict, and what a reader has to know beside it.
#[derive(Clone, Copy, Debug)]
pub struct GateView<'a> {
    pub report: &'a GateReport,
    pub scenario: &'a str,
    /// The run that was judged; `None` when there is none.
    pub folder: Option<&'a Path>,
    /// The command that runs it again, without its variant.
    pub command: &'a str,
}

impl GateView<'_> {
    /// The command that reproduces what a rule came to, here and now.
    #[must_use]
    pub fn command_for(&self, variant: Option<VariantName>) -> String {
        match variant {
            Some(variant) => format!("{} --variant {}", self.command, shell_word(variant.name())),
            None => self.command.to_owned(),
        }
    }

    /// The rules that are not simply passed, and whose variant's command is worth telling.
    fn unsettled(&self) -> impl Iterator<Item = &RuleOutcome> {
        self.report.rules.iter().filter(|rule| rule.verdict != Verdict::Passed)
    }

    /// The commands that reproduce what is not passed, each once.
    fn commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = Vec::new();
        for rule in self.unsettled() {
            let command = self.command_for(rule.variant);
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        commands
    }
}

/// `gate --json`.
#[derive(Debug, Serialize)]
pub struct GateJson<'a> {
    format: Format,
    scenario: &'a str,
    folder: Option<&'a Path>,
    #[serde(flatten)]
    report: &'a GateReport,
    reproduce: Vec<String>,
}

/// The verdict as JSON.
#[must_use]
pub fn json(view: GateView<'_>) -> GateJson<'_> {
    let format = Format { name: "rbac-bench/gate".to_owned(), version: 1 };
    let GateView { report, scenario, folder, .. } = view;
    GateJson { format, scenario, folder, report, reproduce: view.commands() }
}

/// Verdict on a rule, in a word. A broken rule of severity `warn` is a warning.
#[must_use]
pub fn word(rule: &RuleOutcome) -> &'static str {
    match (rule.verdict, rule.severity) {
        (Verdict::Passed, _) => "passed",
        (Verdict::Failed, Severity::Error) => "FAILED",
        (Verdict::Failed, Severity::Warn) => "warning",
        (Verdict::Inconclusive, _) => "inconclusive",
    }
}

/// The verdict as a table, with a line for each reason, and the command that reproduces what is not passed. `width` is the terminal's.
#[must_use]
pub fn table(view: GateView<'_>, width: Option<usize>) -> String {
    let mut text = format!("gate  {}\n\n", plain(view.scenario));
    text += &rules(view.report, width);
    // Writing to a `String` cannot fail.
    let _ = reasons(&mut text, view).and_then(|()| conclusion(&mut text, view));
    text
}

fn rules(report: &GateReport, width: Option<usize>) -> String {
    let row = |rule: &RuleOutcome| {
        vec![
            word(rule).to_owned(),
            variant(rule).to_owned(),
            plain(&rule.rule),
            quantity(rule.measured, rule.unit),
            quantity(rule.limit, rule.unit),
        ]
    };
    let table = FittedTable {
        header: ["verdict", "variant", "rule", "measured", "limit"].map(str::to_owned).to_vec(),
        rows: report.rules.iter().map(row).collect(),
        figures: 3..5,
        leave: &[],
        breaks: 2,
    };
    table.text(width)
}

fn variant(rule: &RuleOutcome) -> &str {
    rule.variant.as_ref().map_or("", VariantName::name)
}

fn reasons(text: &mut String, view: GateView<'_>) -> std::fmt::Result {
    for rule in &view.report.rules {
        let mut lines: Vec<String> = rule.reason.iter().map(|reason| plain(reason)).collect();
        if rule.verdict != Verdict::Passed {
            lines.extend(rule.because.iter().map(|because| format!("because {}", plain(because))));
        }
        lines.extend(paired(rule));
        if lines.is_empty() {
            continue;
        }
        writeln!(text, "\n {} {}", variant(rule), plain(&rule.rule))?;
        lines.iter().try_for_each(|line| writeln!(text, "   {line}"))?;
    }
    Ok(())
}

/// The statistics of a paired rule, in a line or two.
fn paired(rule: &RuleOutcome) -> Vec<String> {
    let Some(paired) = &rule.paired else { return Vec::new() };
    let p = paired.p_value.map_or_else(|| "–".to_owned(), |p| format!("{p:.4}"));
    let ratio = paired.ratio.map_or_else(|| "–".to_owned(), ratio);
    let smallest = paired.smallest_effect.map_or_else(String::new, |it| format!(", could have seen × {it:.2}"));
    let mut lines = vec![format!("p {p}, ratio {ratio}, {} pairs{smallest}", paired.pairs)];
    lines.extend(paired.would_settle.iter().map(|settle| format!("what would settle it: {}", plain(settle))));
    lines
}

/// A ratio with its interval, as far as there is one.
pub(super) fn ratio(ratio: RatioEstimate) -> String {
    match ratio.low.zip(ratio.high) {
        Some((low, high)) => format!("{:.2} ({low:.2} to {high:.2})", ratio.value),
        None => format!("{:.2} (too few pairs for an interval)", ratio.value),
    }
}

fn conclusion(text: &mut String, view: GateView<'_>) -> std::fmt::Result {
    writeln!(text, "\n{}", sentence(view.report))?;
    for command in view.commands() {
        writeln!(text, "reproduce  {}", plain(&command))?;
    }
    match view.folder {
        Some(folder) => writeln!(text, "record     {}", plain(&folder.display().to_string())),
        None => Ok(()),
    }
}

/// The verdict in a sentence.
#[must_use]
pub fn sentence(report: &GateReport) -> String {
    let count = |verdict, severity: &[Severity]| {
        report.rules.iter().filter(|it| it.verdict == verdict && severity.contains(&it.severity)).count()
    };
    let both = [Severity::Error, Severity::Warn];
    let mut parts = vec![format!("{} of {} passed", count(Verdict::Passed, &both), report.rules.len())];
    for (number, what) in [
        (count(Verdict::Failed, &[Severity::Error]), "failed"),
        (count(Verdict::Failed, &[Severity::Warn]), "warned"),
        (count(Verdict::Inconclusive, &both), "inconclusive"),
    ] {
        parts.extend((number > 0).then(|| format!("{number} {what}")));
    }
    format!("gate {}: {}", report.verdict.name(), parts.join(", "))
}

/// The markdown of a gate that came to no verdict.
#[must_use]
pub fn without_verdict(scenario: &str, reason: &str) -> String {
    format!("### gate without a verdict\n\nscenario {}\n\n{}\n", md(scenario), md(reason))
}

/// The verdict as markdown, for a job summary or a merge request.
#[must_use]
pub fn markdown(view: GateView<'_>) -> String {
    let mut text = format!("### {}\n\nscenario {}\n\n", md(&sentence(view.report)), md(view.scenario));
    text += "| verdict | variant | rule | measured | limit | |\n|---|---|---|--:|--:|---|\n";
    for rule in &view.report.rules {
        let mut notes: Vec<String> = rule.reason.iter().map(|reason| md(reason)).collect();
        if rule.verdict != Verdict::Passed {
            notes.extend(rule.because.iter().map(|because| format!("because {}", md(because))));
        }
        notes.extend(paired(rule).iter().map(|line| md(line)));
        let cells = [
            word(rule).to_owned(),
            md(variant(rule)),
            md(&rule.rule),
            quantity(rule.measured, rule.unit),
            quantity(rule.limit, rule.unit),
            notes.join("<br>"),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    for command in view.commands() {
        let _ = writeln!(text, "\nReproduce it: <code>{}</code>", md(&command));
    }
    text
}

#[cfg(test)]
#[path = "gate_tests.rs"]
pub(super) mod tests;
