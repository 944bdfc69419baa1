//! `rbac-bench gate`: is it good enough?

use std::io::Write;
use std::path::{Path, PathBuf};

use super::ci::{self, Announcement};
use super::compare::{side, variant_name};
use super::error::CliError;
use super::exit::Exit;
use super::paired::PairedArgs;
use super::run::{self, load_scenario};
use super::scenario::OverrideArgs;
use super::service_args::ServiceArgs;
use super::subject::{Recorded, read, recorded, run_folder};
use crate::compare::Side;
use crate::gate::{Baseline, GateReport, GateRule, ParsedRule, Severity, Trust, judge, nothing_measured, routes};
use crate::record::store::read_record;
use crate::render::gate::{GateView, json, markdown, table};
use crate::render::json::text as text_of;
use crate::render::text::{plain, shell_word};
use crate::run::RunOptions;
use crate::scenario::overrides::Override;
use crate::scenario::{Experiment, Scenario, VariantName};
use crate::testbed::command::shown;
use crate::units::Span;

/// Judge a run, or run a scenario and judge it
///
/// Rules come from --rule, and otherwise from the scenario's `[[gate]]` tables; with --baseline there are rules against
/// that run beside them. Each variant is judged by each rule that concerns it; --variant picks one. A figure that is
/// missing, or that the instrument does not vouch for, makes a rule inconclusive and never passes it.
///
/// With --paired, baseline and candidate are measured in turn, in pairs of windows, and judged by an exact test: a gate
/// that does not flap. `rbac-bench calibrate` says what it sees on this machine.
///
/// Exits with 0 when the rules hold, 99 when one of severity `error` is broken, 3 when it is inconclusive, 2 when a rule
/// is invalid (before any load).
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "\
Examples:
  rbac-bench gate reports/2026-11-23T23-59-21-issue-2318 --variant scoped --rule 'idle_in_transaction.max<60'
  rbac-bench gate issue-2318 --variant scoped --rule 'pool_timeouts==0' --rule 'latency.p95<2s for tools/call'
  rbac-bench gate mine.toml --junit gate.xml
  rbac-bench gate reports/after --baseline reports/before --rule 'idle_in_transaction.mean<=+10% vs baseline'
  rbac-bench gate issue-2318 --paired --baseline scoped --candidate early_close --max-duration 15m
  rbac-bench gate --learn reports/monday reports/tuesday --variant scoped -o limits.toml

Rules: metric[.aggregate] op value [for ROUTE] [vs baseline]; docs/GATE.md lists the metrics.")]
pub struct GateArgs {
    /// Folder of a run, a built-in scenario, or the path of a scenario file; with --learn, folders of healthy runs to
    /// derive limits from
    #[arg(value_name = "RUN|SCENARIO", required = true)]
    pub subjects: Vec<String>,
    /// Rule that replaces the scenario's rules; may be repeated
    #[arg(long = "rule", value_name = "RULE", allow_hyphen_values = true)]
    pub rules: Vec<String>,
    /// Folder of the run that `vs baseline` means; with --paired a variant [default: the scenario's last]
    #[arg(long, value_name = "RUN|VARIANT")]
    pub baseline: Option<String>,
    /// The baseline's variant, where it is another than the judged one
    #[arg(long, value_name = "V", requires = "baseline")]
    pub baseline_variant: Option<String>,
    /// Let a baseline fail the gate although it was measured under other conditions
    #[arg(long, requires = "baseline")]
    pub trust_baseline: bool,
    /// Run the scenario of a recorded run again, and judge that
    #[arg(long)]
    pub rerun: bool,
    /// With --rerun, start the command that the record names
    #[arg(long, requires = "rerun")]
    pub yes: bool,
    /// Write the verdict as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write JSON; the same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How the verdict is written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: GateFormat,
    /// Derive limits from healthy runs instead of judging one
    #[arg(long, conflicts_with_all = ["rules", "baseline", "junit", "rerun", "json", "format"])]
    pub learn: bool,
    /// Length of the windows from which limits are learned
    #[arg(long, value_name = "D", default_value = "5s", requires = "learn")]
    pub window: Span,
    /// Where learned limits are written, as `[[gate]]` tables for a scenario; otherwise to standard output
    #[arg(short, long = "output", value_name = "FILE", requires = "learn")]
    pub output: Option<PathBuf>,
    /// Pairs of windows instead of one run.
    #[command(flatten)]
    pub paired: PairedArgs,
    /// What is set beside the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Where an external service is.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Folder in which a run's own folder is made
    #[arg(long, value_name = "DIR", default_value = "reports", env = "RBAC_BENCH_OUT")]
    pub out: PathBuf,
    /// Folder of the PostgreSQL binaries, instead of the one that is found
    #[arg(long, value_name = "DIR", env = "RBAC_BENCH_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// A host other than this machine that may be loaded, as its URL names it; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_remote: Vec<String>,
}

/// How a verdict is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GateFormat {
    /// For a terminal.
    Table,
    /// For a script.
    Json,
    /// For a merge request.
    Markdown,
}

/// Judges, and writes the verdict to `out`. Where there is none, the files for CI say why.
pub(super) fn run(
    args: &GateArgs,
    environment: &[Override],
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let judged = run_or_judge(args, environment, quiet, out);
    match &judged {
        Err(error) if !error.is_closed_pipe() => ci::tell_broken(subject(args), args.junit.as_deref(), error),
        Ok(_) | Err(_) => {}
    }
    judged
}

fn subject(args: &GateArgs) -> &str {
    args.subjects.first().map_or("", String::as_str)
}

fn run_or_judge(args: &GateArgs, environment: &[Override], quiet: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    if args.paired.paired {
        ci::begin_junit(args.junit.as_deref(), subject(args))?;
        return super::paired::run(args, environment, quiet, out);
    }
    if let Some(flag) = args.paired.pairs.first_given() {
        return Err(CliError::NeedsPaired { flag });
    }
    if args.learn {
        return super::learn::run(args, out);
    }
    let [subject] = args.subjects.as_slice() else { return Err(CliError::OneSubject) };
    ci::begin_junit(args.junit.as_deref(), subject)?;
    let baseline = args.baseline.as_deref().map(recorded).transpose()?;
    if let Some(folder) = run_folder(subject) {
        return judge_run(args, &read(folder)?, baseline.as_ref(), quiet, out);
    }
    let scenario = load_scenario(subject, &args.overrides, environment)?;
    run_and_judge(args, scenario, baseline.as_ref(), quiet, out)
}

/// A run that has been recorded.
fn judge_run(
    args: &GateArgs,
    run: &Recorded,
    baseline: Option<&Recorded>,
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let variants = variants(args, run.record.all_names())?;
    let sets = !args.overrides.set.is_empty() || args.overrides.users.is_some() || args.overrides.duration.is_some();
    if sets && !args.rerun {
        return Err(CliError::NothingToSet);
    }
    let experiment = &run.record.scenario;
    if args.rerun {
        if let Some(command) = first_command(experiment).filter(|_| !args.yes) {
            return Err(CliError::RunsCommand { command });
        }
        let again = if sets { changed(args, experiment)? } else { experiment.clone() };
        return run_and_judge(args, of_variants(again, &variants)?, baseline, quiet, out);
    }
    let asked = concerning(asked(args, experiment, baseline.is_some())?, &variants)?;
    let report = judge_recorded(args, &asked, run, &variants, baseline)?;
    finish(args, &report, experiment.name(), Some(&run.folder), out)
}

/// The command that a scenario starts; `None` when it starts none.
fn first_command(experiment: &Experiment) -> Option<String> {
    let Experiment::Service(scenario) = experiment else { return None };
    let mut commands = scenario.variant_names().into_iter().filter_map(|variant| scenario.command(variant));
    commands.next().map(|command| shown(&command.words))
}

/// The scenario of a recorded run with what the flags set of it. The environment was there at the time, and is in it.
fn changed(args: &GateArgs, recorded: &Experiment) -> Result<Experiment, CliError> {
    if matches!(recorded, Experiment::Watched(_)) {
        return Err(CliError::NotRunAgain);
    }
    let text = toml::to_string_pretty(recorded).map_err(CliError::Toml)?;
    let overrides = OverrideArgs { variant: None, ..args.overrides.clone() }.on_top_of(&[])?;
    Ok(Experiment::from_text(recorded.name(), &text, &overrides)?)
}

/// The same scenario, with these variants alone.
fn of_variants(experiment: Experiment, variants: &[VariantName]) -> Result<Experiment, CliError> {
    match experiment {
        Experiment::Gateway(scenario) => {
            let scopes = variants.iter().filter_map(VariantName::scope).collect();
            Ok(Scenario { variants: scopes, ..*scenario }.into())
        }
        Experiment::Service(mut scenario) => {
            // Without variants there is one, which the scenario does not name.
            scenario.run = if scenario.variants.is_empty() { Vec::new() } else { variants.to_vec() };
            Ok(Experiment::Service(scenario))
        }
        Experiment::Watched(_) => Err(CliError::NotRunAgain),
    }
}

/// The variants that are judged: all that are known, or the one that was asked for.
fn variants(args: &GateArgs, known: Vec<VariantName>) -> Result<Vec<VariantName>, CliError> {
    let Some(name) = args.overrides.variant.as_deref().filter(|name| *name != "both") else {
        return Ok(known);
    };
    let named = known.iter().find(|it| it.name() == name);
    named.map(|it| vec![*it]).ok_or_else(|| CliError::UnknownVariant { name: name.to_owned(), allowed: known.clone() })
}

fn judge_recorded(
    args: &GateArgs,
    asked: &[ParsedRule],
    run: &Recorded,
    variants: &[VariantName],
    baseline: Option<&Recorded>,
) -> Result<GateReport, CliError> {
    let trust = if args.trust_baseline { Trust::Full } else { Trust::Advisory };
    let variant = args.baseline_variant.as_deref().map(variant_name).transpose()?;
    if let Some((baseline, variant)) = baseline.zip(variant) {
        let _known: Side<'_> = side(baseline, variant)?;
    }
    let baseline = baseline.map(|it| Baseline { run: it.as_read(), variant, trust });
    Ok(judge(asked, run.as_read(), variants, baseline))
}

/// Runs the scenario; the rules are read first, so that a wrong one costs nobody a run.
fn run_and_judge(
    args: &GateArgs,
    mut scenario: Experiment,
    baseline: Option<&Recorded>,
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let asked = asked(args, &scenario, baseline.is_some())?;
    let asked = concerning(asked, &scenario.variant_names())?;
    let database_url = args.service.apply(&mut scenario)?;
    let options = RunOptions {
        out: args.out.clone(),
        pg_bin: args.pg_bin.clone(),
        allow_remote: args.allow_remote.clone(),
        pgbouncer: None,
        database_url,
    };
    let (name, variants) = (scenario.name().to_owned(), scenario.variant_names());
    match run::measure(scenario, &options, quiet) {
        Ok((finished, interrupted)) => {
            let run = read(finished.folder)?;
            let report = judge_recorded(args, &asked, &run, &variants, baseline)?;
            let exit = finish(args, &report, &name, Some(&run.folder), out)?;
            Ok(interrupted.unwrap_or(exit))
        }
        Err(error) => finish(args, &unseen(error, &asked, &variants)?, &name, None, out),
    }
}

/// Where the instrument was not allowed to see, that is no verdict on the gateway: each rule is inconclusive.
///
/// # Errors
/// Any other error.
pub(super) fn unseen(error: CliError, asked: &[ParsedRule], variants: &[VariantName]) -> Result<GateReport, CliError> {
    match error {
        CliError::Run(error) if error.is_blind() => {
            let hint = error.hint().map_or_else(String::new, |hint| format!(": {hint}"));
            Ok(nothing_measured(asked, variants, &format!("{error}{hint}")))
        }
        error => Err(error),
    }
}

/// The rules against a baseline that are meant when none is written.
const AGAINST_BASELINE: [&str; 5] = [
    "idle_in_transaction.mean<=+10% vs baseline",
    "latency.p95<=+10% vs baseline",
    "failure_rate<=+10% vs baseline",
    "pool_timeouts<=+10% vs baseline",
    "throughput>=-10% vs baseline",
];

/// Reads the rules.
fn asked(args: &GateArgs, experiment: &Experiment, has_baseline: bool) -> Result<Vec<ParsedRule>, CliError> {
    let mut asked = if args.rules.is_empty() {
        rules_of(experiment, has_baseline)?
    } else {
        read_rules(&args.rules.iter().map(|rule| plain_rule(rule)).collect::<Vec<_>>(), experiment)?
    };
    if has_baseline && !asked.iter().any(|asked| asked.rule.is_relative()) {
        asked.extend(read_rules(&AGAINST_BASELINE.map(plain_rule), experiment)?);
    }
    if let Some(relative) = asked.iter().find(|asked| asked.rule.is_relative()).filter(|_| !has_baseline) {
        return Err(CliError::NoBaseline { rule: relative.rule.text.clone() });
    }
    Ok(asked)
}

/// The scenario's own rules. Those against a baseline are for runs that have one: without it they are left out, and
/// that is stated.
pub(super) fn rules_of(experiment: &Experiment, has_baseline: bool) -> Result<Vec<ParsedRule>, CliError> {
    let (answerable, left_out): (Vec<_>, Vec<_>) =
        read_rules(experiment.gate(), experiment)?.into_iter().partition(|it| has_baseline || !it.rule.is_relative());
    for asked in left_out {
        tracing::warn!("rule `{}` is left out: it needs a baseline", plain(&asked.rule.text));
    }
    Ok(answerable)
}

/// The rules, when at least one of them concerns a variant that is judged.
pub(super) fn concerning(asked: Vec<ParsedRule>, judged: &[VariantName]) -> Result<Vec<ParsedRule>, CliError> {
    let concerned =
        |asked: &ParsedRule| asked.variants.is_empty() || asked.variants.iter().any(|it| judged.contains(it));
    if asked.iter().any(concerned) { Ok(asked) } else { Err(CliError::NoRules) }
}

fn plain_rule(rule: &str) -> GateRule {
    GateRule { rule: rule.to_owned(), severity: Severity::Error, because: None, variants: Vec::new(), windows: None }
}

/// Reads rules of a scenario.
///
/// # Errors
/// When one of them is none, or names no route of the scenario.
pub(super) fn read_rules(written: &[GateRule], experiment: &Experiment) -> Result<Vec<ParsedRule>, CliError> {
    let routes = routes(experiment);
    written.iter().map(|rule| ParsedRule::read(rule, &routes).map_err(CliError::Rule)).collect()
}

/// Writes the verdict everywhere where it is wanted.
fn finish(
    args: &GateArgs,
    report: &GateReport,
    scenario: &str,
    folder: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let command = command(args);
    let view = GateView { report, scenario, folder, command: &command };
    let format = if args.json { GateFormat::Json } else { args.format };
    let text = match format {
        GateFormat::Table => table(view),
        GateFormat::Json => text_of(&json(view))?,
        GateFormat::Markdown => markdown(view),
    };
    ci::tell(view, args.junit.as_deref(), Announcement { text: &text, annotate_out: format == GateFormat::Table }, out)
}

/// The command that measures and judges the same again, without the variant, which is each rule's own.
fn command(args: &GateArgs) -> String {
    let mut words = vec!["rbac-bench".to_owned(), "gate".to_owned()];
    let subject = args.subjects.first().map_or("", String::as_str);
    words.push(shell_word(subject));
    // What was only watched cannot be run again, and is judged again as it was recorded.
    let runs_again = |folder: PathBuf| read_record(&folder).is_ok_and(|record| record.scenario.gateway().is_some());
    words.extend(run_folder(subject).is_some_and(runs_again).then(|| "--rerun".to_owned()));
    let mut flag = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            words.extend([name.to_owned(), shell_word(value)]);
        }
    };
    args.rules.iter().for_each(|rule| flag("--rule", Some(rule)));
    flag("--baseline", args.baseline.as_deref());
    flag("--baseline-variant", args.baseline_variant.as_deref());
    flag("--users", args.overrides.users.as_deref());
    flag("--duration", args.overrides.duration.as_deref());
    args.overrides.set.iter().for_each(|set| flag("--set", Some(set)));
    words.extend(args.trust_baseline.then(|| "--trust-baseline".to_owned()));
    words.join(" ")
}
