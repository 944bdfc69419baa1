//! `rbac-bench compare`: two runs side by side, or two variants of one.

use std::io::Write;

use super::error::CliError;
use super::exit::Exit;
use super::output::output_width;
use super::subject::{Recorded, recorded};
use crate::compare::{Comparison, Side, compare};
use crate::render::compare::{Compared, csv, json, markdown, table};
use crate::render::openmetrics;
use crate::scenario::VariantName;

/// Two runs side by side, or two variants of one
///
/// Each figure with its delta, its direction of good, and a mark: better, worse, within noise, or not comparable, with
/// what differs. A mark is no test; `gate --paired` tests.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench compare reports/2026-11-23T23-59-21-issue-2318          its two variants
  rbac-bench compare reports/before reports/after --variant scoped
  rbac-bench compare reports/before reports/after --format markdown
  rbac-bench compare reports/after --format prometheus               its summary, for a push gateway")]
pub struct CompareArgs {
    /// Folder of a run
    #[arg(value_name = "BASELINE")]
    pub baseline: String,
    /// Folder of another run; without it, two variants of the first are compared
    #[arg(value_name = "CANDIDATE")]
    pub candidate: Option<String>,
    /// Only this variant of both runs; all that both have by default
    #[arg(long, value_name = "V")]
    pub variant: Option<String>,
    /// The baseline's variant, where it is another than the candidate's
    #[arg(long, value_name = "V")]
    pub baseline_variant: Option<String>,
    /// Write JSON; the same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Output format; prometheus is the candidate's summary in the OpenMetrics text format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: CompareFormat,
}

/// Format of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CompareFormat {
    /// For a terminal.
    Table,
    /// For a script.
    Json,
    /// For a merge request.
    Markdown,
    /// For a spreadsheet.
    Csv,
    /// For a push gateway.
    Prometheus,
}

/// Compares, and writes the result to `out`.
pub(super) fn run(args: &CompareArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let baseline = recorded(&args.baseline)?;
    let candidate = args.candidate.as_deref().map(recorded).transpose()?;
    let after = candidate.as_ref().unwrap_or(&baseline);
    if args.format == CompareFormat::Prometheus {
        out.write_all(openmetrics::document(&after.record).map_err(CliError::Render)?.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let comparisons: Vec<Comparison> = pairs(args, &baseline, after, candidate.is_some())?
        .into_iter()
        .map(|(before, after)| compare(before, after))
        .collect();
    let compared = Compared {
        baseline: (&baseline.folder, &baseline.record),
        candidate: (&after.folder, &after.record),
        comparisons: &comparisons,
    };
    let format = if args.json { CompareFormat::Json } else { args.format };
    let text = match format {
        CompareFormat::Table | CompareFormat::Prometheus => table(compared, output_width()),
        CompareFormat::Json => crate::render::json::text(&json(compared))?,
        CompareFormat::Markdown => markdown(compared),
        CompareFormat::Csv => csv(compared)?,
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let unseen = |run: &Recorded| {
        let compared = run
            .record
            .variants
            .iter()
            .filter(|(name, _)| comparisons.iter().any(|it| it.baseline == **name || it.candidate == **name));
        compared.into_iter().any(|(_, variant)| run.record.not_observed(variant).is_some())
    };
    Ok(if unseen(&baseline) || unseen(after) { Exit::Inconclusive } else { Exit::Ok })
}

/// A text as the name of a variant.
///
/// # Errors
/// When it cannot name one.
pub(super) fn variant_name(name: &str) -> Result<VariantName, CliError> {
    name.parse().map_err(CliError::VariantName)
}

/// A variant that a run must have.
pub(super) fn side(run: &Recorded, variant: VariantName) -> Result<Side<'_>, CliError> {
    let has = || run.record.variants.keys().copied().collect();
    run.as_read()
        .side(variant)
        .ok_or_else(|| CliError::UnknownVariant { name: variant.name().to_owned(), allowed: has() })
}

/// Pairs of variants to compare.
fn pairs<'a>(
    args: &CompareArgs,
    baseline: &'a Recorded,
    candidate: &'a Recorded,
    two_runs: bool,
) -> Result<Vec<(Side<'a>, Side<'a>)>, CliError> {
    let wanted = args.variant.as_deref().map(variant_name).transpose()?;
    let wanted_before = args.baseline_variant.as_deref().map(variant_name).transpose()?;
    let (before, after) = match (wanted_before, wanted, two_runs) {
        (Some(before), Some(after), _) => (vec![before], vec![after]),
        (None, Some(both), true) => (vec![both], vec![both]),
        (Some(before), None, true) => (vec![before], vec![only(candidate)?]),
        (None, None, true) => {
            let common: Vec<VariantName> = baseline.record.variants.keys().copied().collect();
            let common: Vec<_> = common.into_iter().filter(|it| candidate.record.variants.contains_key(it)).collect();
            // Runs of one variant each are compared whatever the variants are called.
            if common.is_empty() { (vec![only(baseline)?], vec![only(candidate)?]) } else { (common.clone(), common) }
        }
        // Two variants of one run: the scenario's first is the one to compare with.
        (before, after, false) => {
            let order = || baseline.record.scenario.variant_names().into_iter();
            let measured = |it: &VariantName| baseline.record.variants.contains_key(it);
            let after = after
                .or_else(|| order().filter(measured).find(|it| Some(*it) != before && Some(*it) != order().next()));
            let before = before.or_else(|| order().filter(measured).find(|it| Some(*it) != after));
            let missing = || CliError::NothingToCompare { folder: baseline.folder.clone() };
            (vec![before.ok_or_else(missing)?], vec![after.ok_or_else(missing)?])
        }
    };
    before
        .into_iter()
        .zip(after)
        .map(|(before, after)| Ok((side(baseline, before)?, side(candidate, after)?)))
        .collect()
}

/// The only variant of a run.
fn only(run: &Recorded) -> Result<VariantName, CliError> {
    let mut variants = run.record.variants.keys().copied();
    match (variants.next(), variants.next()) {
        (Some(variant), None) => Ok(variant),
        _ => Err(CliError::NothingToCompare { folder: run.folder.clone() }),
    }
}
