//! `rbac-bench calibrate`: how often would the paired gate be wrong on this machine?

use std::io::Write;
use std::path::PathBuf;

use super::error::CliError;
use super::exit::Exit;
use super::load::load_scenario;
use super::output::{output_width, say};
use super::paired::measure_repeatedly;
use super::pairs::PairsArgs;
use super::scenario::OverrideArgs;
use crate::gate::paired::calibration::calibrate;
use crate::paired::Stopping;
use crate::render::calibration::{CalibrationView, json, table};
use crate::run::RunOptions;
use crate::scenario::builtin::DEFAULT;
use crate::scenario::overrides::Override;

/// Measure the false-alarm rate of `gate --paired` on this machine: the same variant as baseline and candidate
///
/// Measures whole trials, each of as many pairs as a gate has, and says how many failed although nothing was worse, with
/// the Clopper–Pearson interval at 95 %; how often a gate fails when the signs of the measured differences are chance
/// alone; and the smallest effect that a gate would see here. Two variants in the scenario: the last is taken.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench calibrate                                  three trials of ten pairs of the default scenario: 25 minutes
  rbac-bench calibrate mine.toml --variant scoped --repeats 5
  rbac-bench calibrate mine.toml --pairs 7 --metric latency.p95 --max-duration 10m")]
pub struct CalibrateArgs {
    /// A built-in scenario, or the path of a file
    #[arg(value_name = "SCENARIO", default_value = DEFAULT.name)]
    pub scenario: String,
    /// Number of trials
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Rule that replaces the scenario's rules; may be repeated
    #[arg(long = "rule", id = "rules", value_name = "RULE", allow_hyphen_values = true)]
    pub rules: Vec<String>,
    /// Flags of the pairs.
    #[command(flatten)]
    pub pairs: PairsArgs,
    /// Overrides beside the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Folder in which the runs' own folders are made
    #[arg(long, value_name = "DIR", default_value = "reports", env = "RBAC_BENCH_OUT")]
    pub out: PathBuf,
    /// Folder of the PostgreSQL binaries, instead of the one that is found
    #[arg(long, value_name = "DIR", env = "RBAC_BENCH_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Measures, and writes what came of it to `out`. A rate is no verdict: it exits with 0 whatever it is, and with 3 when
/// no trial was complete.
pub(super) fn run(
    args: &CalibrateArgs,
    environment: &[Override],
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let scenario = load_scenario(&args.scenario, &args.overrides, environment)?;
    let variant = *scenario.variant_names().last().ok_or(CliError::NoArms)?;
    let trial = args.pairs.trial(&args.rules, &scenario)?;
    let arrangement = args.pairs.arrangement([variant, variant], Stopping::AfterAll);
    let options = RunOptions { out: args.out.clone(), pg_bin: args.pg_bin.clone(), ..RunOptions::default() };
    let repeats = usize::from(args.repeats);
    let measured = measure_repeatedly(&scenario, &trial, repeats, &arrangement, &options, quiet);
    let (runs, interrupted) = measured.map_err(|error| match error {
        // As for a gate: where nothing could be seen, there is no rate.
        CliError::Run(error) if error.is_blind() => CliError::Blind(error),
        error => error,
    })?;
    let (trials, folders): (Vec<_>, Vec<_>) = runs.into_iter().map(|run| (run.trial, run.folder)).unzip();
    let calibration = calibrate(&trials);
    let shown = CalibrationView {
        calibration: &calibration,
        scenario: scenario.name(),
        variant,
        plan: trial.plan(),
        folders: &folders,
    };
    let text = if args.json { crate::render::json::text(&json(shown))? } else { table(shown, output_width()) };
    say(out, &text)?;
    let exit = if calibration.measured.is_some() { Exit::Ok } else { Exit::Inconclusive };
    Ok(interrupted.unwrap_or(exit))
}
