//! `rbac-bench gate --learn`: limits from healthy runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use super::compare::{side, variant_name};
use super::error::CliError;
use super::exit::Exit;
use super::gate_args::GateArgs;
use super::subject::{Recorded, recorded};
use crate::compare::{Side, differences};
use crate::gate::{GateRule, Learned, Windows, learn};

/// Learns, and writes `[[gate]]` tables to the file that was asked for, or to `out`.
pub(super) fn run(args: &GateArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let runs: Vec<Recorded> = args.subjects.iter().map(|name| recorded(name)).collect::<Result<_, _>>()?;
    each_once(&runs)?;
    let sides: Vec<Side<'_>> = runs.iter().map(|run| healthy_side(args, run)).collect::<Result<_, _>>()?;
    alike(&runs, &sides)?;
    let learned = learn(&sides, args.window).map_err(CliError::Learn)?;
    let text = tables(&learned)?;
    match &args.output {
        Some(path) => {
            std::fs::write(path, text).map_err(|source| CliError::Write { path: path.clone(), source })?;
            writeln!(out, "{}\nlimits  {}", price(&learned), path.display())?;
        }
        None => out.write_all(text.as_bytes())?,
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// A run given twice has no more windows than once: the rate that it bought would not be true.
fn each_once(runs: &[Recorded]) -> Result<(), CliError> {
    let mut seen = BTreeSet::new();
    for run in runs {
        let folder = run.folder.canonicalize().unwrap_or_else(|_| run.folder.clone());
        if !seen.insert(folder) {
            return Err(CliError::TwiceLearned { folder: run.folder.clone() });
        }
    }
    Ok(())
}

/// Runs that were measured under other conditions than the first are not windows of one kind.
fn alike(runs: &[Recorded], sides: &[Side<'_>]) -> Result<(), CliError> {
    let Some(first) = sides.first() else { return Ok(()) };
    for (run, side) in runs.iter().zip(sides) {
        if let Some(differs) = differences(*first, *side).into_iter().next() {
            let what = differs.key.unwrap_or_else(|| differs.what.name().to_owned());
            return Err(CliError::OtherConditions { folder: run.folder.clone(), what });
        }
    }
    Ok(())
}

/// The variant that was asked for, or the only one.
fn healthy_side<'a>(args: &GateArgs, run: &'a Recorded) -> Result<Side<'a>, CliError> {
    if let Some(name) = &args.overrides.variant {
        return side(run, variant_name(name)?);
    }
    let mut variants = run.record.variants.keys().copied();
    match (variants.next(), variants.next()) {
        (Some(only), None) => side(run, only),
        _ => Err(CliError::WhichVariant { folder: run.folder.clone() }),
    }
}

/// Price of the limits, in a sentence.
fn price(learned: &Learned) -> String {
    let Windows { length, learned: healthy, judged } = learned.windows;
    format!(
        "{} limits from {} healthy windows of {length}, broken when {} of {} new windows exceed one: {:.2} % of healthy \
         runs break a given rule, at most {:.1} % any of them, as long as windows are alike and independent",
        learned.rules.len(),
        healthy.get(),
        Windows::NEEDED,
        judged.get(),
        learned.windows.false_alarm_rate() * 100.0,
        learned.false_alarm_rate() * 100.0,
    )
}

fn tables(learned: &Learned) -> Result<String, CliError> {
    #[derive(Serialize)]
    struct File<'a> {
        gate: Vec<&'a GateRule>,
    }
    let gate = learned.rules.iter().map(|it| &it.rule).collect();
    let tables = toml::to_string_pretty(&File { gate }).map_err(CliError::Toml)?;
    let mut text = String::new();
    for line in textwrap::wrap(&price(learned), 110) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "# {line}");
    }
    if !learned.without_limit.is_empty() {
        let names = learned.without_limit.join(", ");
        let _ = writeln!(text, "# No limit, because some window has no figure of it: {names}");
    }
    Ok(text + "# Append them to a scenario.\n\n" + &tables)
}
