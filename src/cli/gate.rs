//! `rbac-bench gate`: is it good enough?

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::ci::{self, CiEnvironment};
use super::compare::{scope, side};
use super::error::CliError;
use super::exit::Exit;
use super::run::{self, load_scenario};
use super::scenario::OverrideArgs;
use super::subject::{Recorded, read, recorded, run_folder};
use crate::compare::Side;
use crate::gate::{Asked, Baseline, GateReport, GateRule, Severity, Trust, Verdict, judge, nothing_measured, routes};
use crate::render::gate::{Told, json, markdown, table};
use crate::render::text::shell_word;
use crate::run::RunOptions;
use crate::scenario::overrides::Override;
use crate::scenario::{Scenario, SessionScope};
use crate::units::Span;

/// Judge a run, or run a scenario and judge it
///
/// Rules come from --rule, and otherwise from the scenario's [[gate]] tables; with --baseline there are rules against
/// that run beside them. Each variant is judged by each rule that concerns it; --variant picks one. A figure that is
/// missing, or that the instrument does not vouch for, makes a rule inconclusive and never passes it.
///
/// Exits with 0 when the rules hold, 99 when one of severity `error` is broken, 3 when it cannot be told, 2 when a rule
/// makes no sense (before any load).
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "\
Examples:
  rbac-bench gate reports/2026-11-23T23-59-21-issue-2318 --variant scoped --rule 'idle_in_transaction.max<60'
  rbac-bench gate issue-2318 --variant scoped --rule 'pool_timeouts==0' --rule 'latency.p95<2s for tools/call'
  rbac-bench gate mine.toml --junit gate.xml
  rbac-bench gate reports/after --baseline reports/before --rule 'idle_in_transaction.mean<=+10% vs baseline'
  rbac-bench gate --learn reports/monday reports/tuesday --variant scoped -o limits.toml

Rules: metric[.aggregate] op value [for ROUTE] [vs baseline]; docs/GATE.md lists the metrics.")]
pub struct GateArgs {
    /// Folder of a run, a built-in scenario, or the path of a scenario file; with --learn, folders of healthy runs
    #[arg(value_name = "RUN|SCENARIO", required = true)]
    pub subjects: Vec<String>,
    /// A rule, in place of the scenario's; may be repeated
    #[arg(long = "rule", value_name = "RULE", allow_hyphen_values = true)]
    pub rules: Vec<String>,
    /// Folder of the run that `vs baseline` means
    #[arg(long, value_name = "RUN")]
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
    #[arg(long, conflicts_with_all = ["rules", "baseline", "junit", "rerun"])]
    pub learn: bool,
    /// Length of the windows from which limits are learned
    #[arg(long, value_name = "D", default_value = "5s", requires = "learn")]
    pub window: Span,
    /// Where learned limits are written, as [[gate]] tables for a scenario; otherwise to standard output
    #[arg(short, long = "output", value_name = "FILE", requires = "learn")]
    pub output: Option<PathBuf>,
    /// What is set beside the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Folder in which a run's own folder is made
    #[arg(long, value_name = "DIR", default_value = "reports", env = "RBAC_BENCH_OUT")]
    pub out: PathBuf,
    /// Folder of the PostgreSQL binaries, instead of the one that is found
    #[arg(long, value_name = "DIR", env = "RBAC_BENCH_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
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

/// Judges, and writes the verdict to `out`.
pub(super) fn run(
    args: &GateArgs,
    environment: &[Override],
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    if args.learn {
        return super::learn::run(args, out);
    }
    let [subject] = args.subjects.as_slice() else { return Err(CliError::OneSubject) };
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
    if !args.overrides.set.is_empty() || args.overrides.users.is_some() || args.overrides.duration.is_some() {
        return Err(CliError::NothingToSet);
    }
    let mut scenario = run.record.scenario.clone();
    scenario.variants = variants(args, &scenario)?;
    if args.rerun {
        return run_and_judge(args, scenario, baseline, quiet, out);
    }
    let asked = asked(args, &scenario, baseline.is_some())?;
    let report = judge_recorded(args, &asked, run, &scenario.variants, baseline)?;
    finish(args, &report, &scenario.name, Some(&run.folder), out)
}

/// The variants that are judged: those of the scenario, or the one that was asked for.
fn variants(args: &GateArgs, scenario: &Scenario) -> Result<Vec<SessionScope>, CliError> {
    let Some(name) = args.overrides.variant.as_deref().filter(|name| *name != "both") else {
        return Ok(scenario.variants.clone());
    };
    let known = scenario.variants.iter().copied().find(|it| it.name() == name);
    known
        .map(|it| vec![it])
        .ok_or_else(|| CliError::UnknownVariant { name: name.to_owned(), allowed: scenario.variants.clone() })
}

fn judge_recorded(
    args: &GateArgs,
    asked: &[Asked],
    run: &Recorded,
    variants: &[SessionScope],
    baseline: Option<&Recorded>,
) -> Result<GateReport, CliError> {
    let trust = if args.trust_baseline { Trust::Full } else { Trust::Advisory };
    let variant = args.baseline_variant.as_deref().map(scope).transpose()?;
    if let Some((baseline, variant)) = baseline.zip(variant) {
        let _known: Side<'_> = side(baseline, variant)?;
    }
    let baseline = baseline.map(|it| Baseline { record: &it.record, samples: &it.samples, variant, trust });
    Ok(judge(asked, &run.record, &run.samples, variants, baseline))
}

/// Runs the scenario; the rules are read first, so that a wrong one costs nobody a run.
fn run_and_judge(
    args: &GateArgs,
    scenario: Scenario,
    baseline: Option<&Recorded>,
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let asked = asked(args, &scenario, baseline.is_some())?;
    let options = RunOptions { out: args.out.clone(), pg_bin: args.pg_bin.clone() };
    let (name, variants) = (scenario.name.clone(), scenario.variants.clone());
    match run::measure(scenario, &options, quiet) {
        Ok((finished, interrupted)) => {
            let run = read(finished.folder)?;
            let report = judge_recorded(args, &asked, &run, &variants, baseline)?;
            let exit = finish(args, &report, &name, Some(&run.folder), out)?;
            Ok(interrupted.unwrap_or(exit))
        }
        // The instrument was not allowed to see: that is no verdict on the gateway.
        Err(CliError::Run(error)) if error.is_blind() => {
            let hint = error.hint().map_or_else(String::new, |hint| format!(": {hint}"));
            let report = nothing_measured(&asked, &variants, &format!("{error}{hint}"));
            finish(args, &report, &name, None, out)
        }
        Err(error) => Err(error),
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
fn asked(args: &GateArgs, scenario: &Scenario, has_baseline: bool) -> Result<Vec<Asked>, CliError> {
    let mut written: Vec<GateRule> = if args.rules.is_empty() {
        scenario.gate.clone()
    } else {
        args.rules.iter().map(|rule| plain_rule(rule)).collect()
    };
    let mut asked = read_rules(&written, scenario)?;
    if has_baseline && !asked.iter().any(|asked| asked.rule.is_relative()) {
        written.extend(AGAINST_BASELINE.map(plain_rule));
        asked = read_rules(&written, scenario)?;
    }
    if let Some(relative) = asked.iter().find(|asked| asked.rule.is_relative()).filter(|_| !has_baseline) {
        return Err(CliError::NoBaseline { rule: relative.rule.text.clone() });
    }
    let judged: BTreeSet<SessionScope> = scenario.variants.iter().copied().collect();
    let concerned = |asked: &Asked| asked.variants.is_empty() || asked.variants.iter().any(|it| judged.contains(it));
    if asked.iter().any(concerned) { Ok(asked) } else { Err(CliError::NoRules) }
}

fn plain_rule(rule: &str) -> GateRule {
    GateRule { rule: rule.to_owned(), severity: Severity::Error, because: None, variants: Vec::new(), windows: None }
}

/// Reads rules of a scenario.
///
/// # Errors
/// When one of them is none, or names no route of the scenario.
pub(super) fn read_rules(written: &[GateRule], scenario: &Scenario) -> Result<Vec<Asked>, CliError> {
    let routes = routes(scenario);
    written.iter().map(|rule| Asked::read(rule, &routes).map_err(CliError::Rule)).collect()
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
    let told = Told { report, scenario, folder, command: &command };
    let format = if args.json { GateFormat::Json } else { args.format };
    let text = match format {
        GateFormat::Table => table(told),
        GateFormat::Json => serde_json::to_string_pretty(&json(told))? + "\n",
        GateFormat::Markdown => markdown(told),
    };
    out.write_all(text.as_bytes())?;
    tell_ci(told, args.junit.as_deref(), format == GateFormat::Table, out)?;
    out.flush()?;
    Ok(exit(report.verdict))
}

/// JUnit's file, and what GitHub reads. Where stdout holds data, annotations go to stderr, which GitHub reads as well.
pub(super) fn tell_ci(
    told: Told<'_>,
    junit: Option<&Path>,
    annotate_out: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if let Some(path) = junit {
        ci::write_junit(told, path)?;
    }
    let environment = CiEnvironment::of_this_process();
    if annotate_out {
        ci::tell_github(told, &environment, out)
    } else {
        ci::tell_github(told, &environment, &mut std::io::stderr())
    }
}

/// The exit code of a verdict.
pub(super) const fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Passed => Exit::Ok,
        Verdict::Failed => Exit::GateFailed,
        Verdict::Inconclusive => Exit::Inconclusive,
    }
}

/// The command that measures and judges the same again, without the variant, which is each rule's own.
fn command(args: &GateArgs) -> String {
    let mut words = vec!["rbac-bench".to_owned(), "gate".to_owned()];
    let subject = args.subjects.first().map_or("", String::as_str);
    words.push(shell_word(subject));
    words.extend((run_folder(subject).is_some()).then(|| "--rerun".to_owned()));
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
