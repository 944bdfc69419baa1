//! Two runs side by side: for people, for scripts, for a merge request, for a spreadsheet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::fitted::FittedTable;
use super::numbers::{change, quantity};
use super::text::{markdown as md, plain};
use crate::compare::{Comparison, Difference, FigureRow, Mark};
use crate::record::{Format, RunRecord, Summary};
use crate::scenario::VariantName;

/// Two runs, and each comparison of a variant with a variant.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// Before: its folder and its record.
    pub baseline: (&'a Path, &'a RunRecord),
    /// After; the same run when two of its variants are compared.
    pub candidate: (&'a Path, &'a RunRecord),
    pub comparisons: &'a [Comparison],
}

/// `compare --json`.
#[derive(Debug, Serialize)]
pub struct CompareJson<'a> {
    format: Format,
    baseline: SideJson<'a>,
    candidate: SideJson<'a>,
    /// The candidate's, as in `run --json`.
    variants: BTreeMap<VariantName, &'a Summary>,
    comparisons: &'a [Comparison],
}

#[derive(Debug, Serialize)]
struct SideJson<'a> {
    scenario: &'a str,
    folder: &'a Path,
    tool_version: &'a str,
    variants: BTreeMap<VariantName, &'a Summary>,
}

fn side<'a>((folder, record): (&'a Path, &'a RunRecord)) -> SideJson<'a> {
    let variants = record.variants.iter().map(|(scope, variant)| (*scope, &variant.summary)).collect();
    SideJson { scenario: record.scenario.name(), folder, tool_version: &record.tool_version, variants }
}

/// The comparison as JSON.
#[must_use]
pub fn json(compared: Compared<'_>) -> CompareJson<'_> {
    CompareJson {
        format: Format { name: "rbac-bench/compare".to_owned(), version: 1 },
        baseline: side(compared.baseline),
        candidate: side(compared.candidate),
        variants: side(compared.candidate).variants,
        comparisons: compared.comparisons,
    }
}

/// A mark in words.
#[must_use]
pub const fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Better => "better",
        Mark::Worse => "WORSE",
        Mark::WithinNoise => "within noise",
        Mark::Different => "differs",
        Mark::Incomparable => "not comparable",
        Mark::Unknown => "unknown",
    }
}

/// The cells of a row: figure, before, after, delta, ratio, mark.
fn cells(row: &FigureRow) -> [String; 6] {
    let signed = |delta: f64| {
        let amount = quantity(Some(delta), row.unit);
        if delta > 0.0 { format!("+{amount}") } else { amount }
    };
    [
        row.metric.to_owned(),
        quantity(row.baseline, row.unit),
        quantity(row.candidate, row.unit),
        row.delta.map_or_else(|| "–".to_owned(), signed),
        change(row.baseline, row.candidate),
        word(row.mark).to_owned(),
    ]
}

fn titles(comparison: &Comparison) -> [String; 2] {
    let (before, after) = (comparison.baseline.name(), comparison.candidate.name());
    if before == after {
        ["baseline".to_owned(), "candidate".to_owned()]
    } else {
        [before.to_owned(), after.to_owned()]
    }
}

/// The comparison as tables.
#[must_use]
pub fn table(compared: Compared<'_>, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "baseline   {}\ncandidate  {}",
        plain(&compared.baseline.0.display().to_string()),
        plain(&compared.candidate.0.display().to_string())
    );
    for comparison in compared.comparisons {
        let _ = one(&mut text, comparison, width);
    }
    let note = "A mark is not a test: it compares one run with one run. `rbac-bench gate SCENARIO --paired` tests.";
    text.push('\n');
    text += &width.map_or_else(|| note.to_owned(), |width| textwrap::fill(note, width));
    text.push('\n');
    text
}

fn one(text: &mut String, comparison: &Comparison, width: Option<usize>) -> std::fmt::Result {
    let [before, after] = titles(comparison);
    if comparison.baseline == comparison.candidate {
        writeln!(text, "\n{}", comparison.baseline.name())?;
    } else {
        writeln!(text)?;
    }
    for difference in &comparison.differences {
        writeln!(text, "not comparable: {}", plain(&reported(difference)))?;
    }
    let table = FittedTable {
        header: ["", &before, &after, "delta", "change", ""].map(str::to_owned).to_vec(),
        rows: known(comparison).map(|row| cells(row).to_vec()).collect(),
        figures: 1..5,
        leave: &[3],
        breaks: 0,
    };
    write!(text, "{}", table.text(width))
}

/// Rows of which a side has the figure: people need no others.
fn known(comparison: &Comparison) -> impl Iterator<Item = &FigureRow> {
    comparison.rows.iter().filter(|row| row.baseline.or(row.candidate).is_some())
}

/// A difference in a clause.
#[must_use]
pub fn reported(difference: &Difference) -> String {
    let what =
        difference.key.as_ref().map_or_else(|| difference.what.name().to_owned(), |key| format!("scenario {key}"));
    format!("other {what}: {} there, {} here", difference.baseline, difference.candidate)
}

/// The comparison as markdown.
#[must_use]
pub fn markdown(compared: Compared<'_>) -> String {
    let path = |path: &Path| md(&path.display().to_string());
    let mut text = format!("Baseline {}, candidate {}\n", path(compared.baseline.0), path(compared.candidate.0));
    for comparison in compared.comparisons {
        let [before, after] = titles(comparison);
        let _ = writeln!(text, "\n#### {} → {}\n", md(comparison.baseline.name()), md(comparison.candidate.name()));
        for difference in &comparison.differences {
            let _ = writeln!(text, "- not comparable: {}", md(&reported(difference)));
        }
        let _ = write!(
            text,
            "\n| figure | {} | {} | delta | change | mark |\n|---|--:|--:|--:|--:|---|\n",
            md(&before),
            md(&after)
        );
        for row in known(comparison) {
            let _ = writeln!(text, "| {} |", cells(row).join(" | "));
        }
    }
    text
}

/// The comparison as CSV: a line for each figure, with plain numbers.
///
/// # Errors
/// When it cannot be written, which would be a mistake of ours.
pub fn csv(compared: Compared<'_>) -> Result<String, csv::Error> {
    #[derive(Serialize)]
    struct CompareCsvRow<'a> {
        baseline_variant: &'a str,
        candidate_variant: &'a str,
        metric: &'a str,
        unit: crate::units::Unit,
        baseline: Option<f64>,
        candidate: Option<f64>,
        delta: Option<f64>,
        ratio: Option<f64>,
        noise: Option<f64>,
        mark: Mark,
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    for comparison in compared.comparisons {
        for row in &comparison.rows {
            writer.serialize(CompareCsvRow {
                baseline_variant: comparison.baseline.name(),
                candidate_variant: comparison.candidate.name(),
                metric: row.metric,
                unit: row.unit,
                baseline: row.baseline,
                candidate: row.candidate,
                delta: row.delta,
                ratio: row.ratio,
                noise: row.noise,
                mark: row.mark,
            })?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::from(error.error().kind())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
