//! `rbac-bench run`: the main job.

use std::io::Write;
use std::sync::Arc;

use super::by_url::scenario_or_url;
use super::causes::explained;
use super::ci::{self, Announcement};
use super::discover_args::{DiscoverArgs, database_of};
use super::error::CliError;
use super::exit::Exit;
use super::measure_args::MeasureArgs;
use super::output::{output_width, say};
use super::rules::{concerning, rules_of, unseen};
use super::scenario::OverrideArgs;
use super::service_args::ServiceArgs;
use super::signals::Signals;
use super::{diagnose, dry};
use super::{progress, report, subject};
use crate::gate::{GateReport, ParsedRule, judge};
use crate::record::Outcome;
use crate::render::diagnosis::conclusion;
use crate::render::gate::{self as render_gate, GateView};
use crate::render::text::shell_word;
use crate::render::{json, table};
use crate::run::{Finished, RunOptions, execute};
use crate::scenario::Experiment;
use crate::scenario::builtin::DEFAULT;
use crate::scenario::overrides::Override;
use crate::texts::PatternCounts;

/// Load a service and monitor its PostgreSQL sessions
///
/// Starts a private PostgreSQL, gateway replicas and a slow backend, once for each variant, loads them, and removes
/// everything again. What was seen stays in the run folder.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench run                                   the incident: 4000 users, about 90 seconds
  rbac-bench run --users 50 --duration 10s         a healthy system, in half a minute
  rbac-bench run collapse                          the plain case: everything freezes
  rbac-bench run mine.toml --variant held --json
  rbac-bench run my-service.toml                   an external service: docs/SERVICE.md
  rbac-bench run http://127.0.0.1:8000             the same, without a file
  rbac-bench run --set gateway.pool.size=50 --set gateway.usage_counter.share=0.02")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct RunArgs {
    /// A built-in scenario, the path of a file, or the URL of a service
    #[arg(value_name = "SCENARIO|URL", default_value = DEFAULT.name)]
    pub scenario: String,
    /// What the URL alone does not tell.
    #[command(flatten)]
    pub discover: DiscoverArgs,
    /// Overrides beside the file.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Address of an external service.
    #[command(flatten)]
    pub service: ServiceArgs,
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// The console of a `PgBouncer` of your own, to watch beside PostgreSQL
    #[arg(long, value_name = "URL", env = "RBAC_BENCH_PGBOUNCER_URL", hide_env_values = true)]
    pub pgbouncer_url: Option<String>,
    /// Print what would be sent to an external service, with N requests of each route (default 2), and send
    /// nothing
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = clap::value_parser!(u32).range(1..=1000),
        conflicts_with_all = ["report", "gate"])]
    pub dry_run: Option<u32>,
    /// Write the summary as JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Write `report.html` into the run folder at the end, and say its path
    #[arg(long)]
    pub report: bool,
    /// Open that report in the browser
    #[arg(long, requires = "report")]
    pub open: bool,
    /// Judge the run by the scenario's `[[gate]]` rules: exit 99 when one fails, 3 when it is inconclusive
    #[arg(long)]
    pub gate: bool,
}

/// Runs it, and writes table or JSON to `out`.
pub(super) fn run(
    args: &RunArgs,
    environment: &[Override],
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let (allow_remote, beside) = (&args.measure.allow_remote, (&args.overrides, environment));
    let mut scenario = scenario_or_url(&args.scenario, &args.discover, allow_remote, beside, quiet)?;
    let mut database_url = args.service.apply(&mut scenario)?;
    if database_url.is_none() {
        database_url = database_of(&args.scenario, &args.discover)?;
    }
    if let Some(samples) = args.dry_run {
        let given = database_url.is_some();
        let asked = dry::DryRunOptions { samples, allow_remote, database_given: given, plan: None, json: args.json };
        return dry::run(&scenario, &asked, out);
    }
    let pgbouncer = args.pgbouncer_url.as_deref().map(str::parse).transpose()?;
    let asked =
        if args.gate { concerning(rules_of(&scenario, false)?, &scenario.variant_names())? } else { Vec::new() };
    let options = RunOptions { pgbouncer, ..args.measure.options(database_url) };
    let (name, variants) = (scenario.name().to_owned(), scenario.variant_names());
    let (finished, interrupted) = match measure(scenario, &options, quiet) {
        Ok(measured) => measured,
        Err(error) if args.gate => match unseen(error, &asked, &variants) {
            Ok(report) => return tell_unseen(args, &name, &report, out),
            Err(error) => {
                ci::tell_broken(&name, None, &error);
                return Err(error);
            }
        },
        Err(error) => return Err(error),
    };
    let report = match args.gate.then(|| judged(&asked, &finished)).transpose() {
        Ok(report) => report,
        Err(error) => {
            ci::tell_broken(&name, None, &error);
            return Err(error);
        }
    };
    print(&finished, report.as_ref(), args.json, out)?;
    if !args.json {
        tell_cause(&finished, out)?;
    }
    let verdict = report.as_ref().map(|report| tell_verdict(args, &finished, report, out)).transpose()?;
    if args.report {
        write_report(args, &finished, out)?;
    }
    match (interrupted, verdict) {
        (Some(exit), _) | (None, Some(exit)) => Ok(exit),
        (None, None) => check_measured(&finished).map(|()| exit_of(&finished)),
    }
}

/// The verdict on a run in which nothing could be seen, as `gate` tells it.
fn tell_unseen(args: &RunArgs, scenario: &str, report: &GateReport, out: &mut dyn Write) -> Result<Exit, CliError> {
    let command = format!("rbac-bench gate {}", shell_word(&args.scenario));
    let view = GateView { report, scenario, folder: None, command: &command };
    let text = if args.json { json::text(&render_gate::json(view))? } else { render_gate::table(view, output_width()) };
    ci::tell(view, None, Announcement { text: &text, annotate_out: !args.json }, out)
}

/// Runs a scenario with progress on stderr and signals taken. The exit code is the signal's, when there was one.
pub(super) fn measure(
    scenario: Experiment,
    options: &RunOptions,
    quiet: bool,
) -> Result<(Finished, Option<Exit>), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    runtime.block_on(async {
        let signals = Signals::take().map_err(CliError::Start)?;
        let progress = progress::for_terminal(quiet, &scenario);
        let finished = execute(scenario, options, Arc::clone(&progress), signals.token()).await;
        drop(progress);
        Ok((finished?, signals.exit()))
    })
}

/// Conclusion for each variant, in a sentence. The run is over and printed: what cannot be read back is a warning.
fn tell_cause(finished: &Finished, out: &mut dyn Write) -> Result<(), CliError> {
    match subject::read(finished.folder.clone()) {
        Ok(run) => {
            let diagnosed = diagnose::all(&run.record, &run.samples, &PatternCounts::default(), None, None);
            say(out, &conclusion(&diagnosed, output_width()))?;
        }
        Err(error) => tracing::warn!("no diagnosis: {error}"),
    }
    Ok(())
}

/// The verdict of the scenario's rules on what was just run.
fn judged(asked: &[ParsedRule], finished: &Finished) -> Result<GateReport, CliError> {
    let run = subject::read(finished.folder.clone())?;
    let report = judge(asked, run.as_read(), &run.record.scenario.variant_names(), None);
    Ok(explained(report, &run.record, &run.samples))
}

/// The verdict after the run's table; in JSON it is a part of the document.
fn tell_verdict(
    args: &RunArgs,
    finished: &Finished,
    report: &GateReport,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    // What is started by a command or runs elsewhere is run again by its scenario.
    let command = match finished.record.scenario.gateway() {
        Some(_) => format!("rbac-bench gate {} --rerun", shell_word(&finished.folder.display().to_string())),
        None => format!("rbac-bench gate {}", shell_word(&args.scenario)),
    };
    let scenario = finished.record.scenario.name();
    let view = GateView { report, scenario, folder: Some(&finished.folder), command: &command };
    let text = if args.json { String::new() } else { format!("\n{}", render_gate::table(view, output_width())) };
    ci::tell(view, None, Announcement { text: &text, annotate_out: !args.json }, out)
}

fn print(finished: &Finished, gate: Option<&GateReport>, as_json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if as_json {
        say(out, &json::text(&json::run_summary(&finished.record, &finished.folder, gate))?)
    } else {
        say(out, &table::run(&finished.record, &finished.folder, output_width()))
    }?;
    Ok(())
}

/// Writes the report and says where; beside JSON, which must stay one document, on standard error.
fn write_report(args: &RunArgs, finished: &Finished, out: &mut dyn Write) -> Result<(), CliError> {
    let path = report::write_beside(&finished.folder)?;
    let line = format!("report  {}\n", path.display());
    if args.json { say(&mut std::io::stderr(), &line) } else { say(out, &line) }?;
    if args.open {
        report::open(&path)?;
    }
    Ok(())
}

/// A run that did not see the service's sessions has shown nothing of them.
fn exit_of(finished: &Finished) -> Exit {
    let record = &finished.record;
    let unseen = record.variants.values().any(|variant| record.not_observed(variant).is_some());
    if unseen { Exit::Inconclusive } else { Exit::Ok }
}

/// A run without a single finished request has measured nothing, whatever else went well.
fn check_measured(finished: &Finished) -> Result<(), CliError> {
    let record = &finished.record;
    let empty = record.variants.iter().find(|(_, variant)| variant.summary.requests == 0);
    match empty {
        Some((scope, _)) if record.outcome == Outcome::Finished => Err(CliError::NothingMeasured { variant: *scope }),
        _ => Ok(()),
    }
}
