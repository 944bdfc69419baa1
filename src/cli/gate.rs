//! `rbac-bench gate`: is it good enough?

use std::io::Write;
use std::path::{Path, PathBuf};

use super::by_url::scenario_or_url;
use super::causes::explained;
use super::ci;
use super::compare::{side, variant_name};
use super::discover_args::database_of;
use super::error::CliError;
use super::exit::Exit;
use super::gate_args::GateArgs;
use super::output::show_progress;
use super::rules::{AGAINST_BASELINE, concerning, plain_rule, read_rules, rules_of, unseen};
use super::scenario::OverrideArgs;
use super::subject::{Recorded, read, recorded, run_folder};
use crate::compare::Side;
use crate::gate::{Baseline, GateReport, ParsedRule, RuleOutcome, Trust, judge, nothing_measured};
use crate::record::RunRecord;
use crate::record::store::read_record;
use crate::render::gate::GateView;
use crate::render::text::{plain, shell_word};
use crate::run::{RunOptions, ScanSettings};
use crate::scenario::overrides::Override;
use crate::scenario::{Experiment, Scenario, VariantName};
use crate::testbed::command::shown;

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
    if args.paired.paired || args.learn {
        args.discover.refuse_beside(subject(args))?;
    }
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
        args.discover.refuse_beside(subject)?;
        return judge_run(args, &read(folder)?, baseline.as_ref(), quiet, out);
    }
    let beside = (&args.overrides, environment);
    let scenario = scenario_or_url(subject, &args.discover, &args.measure.allow_remote, beside, quiet)?;
    run_and_judge(args, scenario, ScanSettings::default(), baseline.as_ref(), quiet, out)
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
        return run_and_judge(args, of_variants(again, &variants)?, scanned_before(&run.record), baseline, quiet, out);
    }
    let asked = concerning(asked(args, experiment, baseline.is_some())?, &variants)?;
    let report = judge_recorded(args, &asked, run, &variants, baseline)?;
    finish(args, &report, experiment.name(), Some(&run.folder), out)
}

/// The plan of a recorded scan, to be done again; without one as `scan` does.
fn scanned_before(record: &RunRecord) -> ScanSettings {
    let scan = record.variants.values().find_map(|variant| variant.scan.as_ref());
    scan.map_or_else(ScanSettings::default, |scan| ScanSettings { plan: scan.plan, rate: None })
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
    let report = judge(asked, run.as_read(), variants, baseline);
    Ok(explained(report, &run.record, &run.samples))
}

/// Runs the scenario, scans it, or does both, as the rules need; they are read first, so that a wrong one costs nobody a run.
fn run_and_judge(
    args: &GateArgs,
    mut scenario: Experiment,
    settings: ScanSettings,
    baseline: Option<&Recorded>,
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let asked = asked(args, &scenario, baseline.is_some())?;
    let asked = concerning(asked, &scenario.variant_names())?;
    let mut database_url = args.service.apply(&mut scenario)?;
    if database_url.is_none() {
        database_url = database_of(subject(args), &args.discover)?;
    }
    let options = args.measure.options(database_url);
    let (name, variants) = (scenario.name().to_owned(), scenario.variant_names());
    let Measured { mut rules, folder, interrupted } =
        measured(args, (&scenario, settings), &asked, baseline, (&options, quiet))?;
    let place = |it: &RuleOutcome| asked.iter().position(|asked| asked.rule.text == it.rule);
    rules.sort_by_key(|it| (variants.iter().position(|variant| Some(*variant) == it.variant), place(it)));
    let exit = finish(args, &GateReport::of(rules), &name, folder.as_deref(), out)?;
    Ok(interrupted.unwrap_or(exit))
}

/// Outcomes of rules that were measured.
struct Measured {
    rules: Vec<RuleOutcome>,
    /// The last run's.
    folder: Option<PathBuf>,
    /// The exit code of the signal that came.
    interrupted: Option<Exit>,
}

/// Loads for some of the rules, and scans for the others.
fn measured(
    args: &GateArgs,
    (scenario, settings): (&Experiment, ScanSettings),
    asked: &[ParsedRule],
    baseline: Option<&Recorded>,
    (options, quiet): (&RunOptions, bool),
) -> Result<Measured, CliError> {
    let variants = scenario.variant_names();
    let is_service = matches!(scenario, Experiment::Service(_));
    let by_scan = |it: &ParsedRule| is_service && it.rule.needs_scan();
    let (of_scan, of_load): (Vec<_>, Vec<_>) = asked.iter().cloned().partition(by_scan);
    let is_wanted = |rules: &[ParsedRule]| rules.iter().any(|it| variants.iter().any(|variant| it.concerns(*variant)));
    let (mut judged, mut folder, mut interrupted) = (Vec::new(), None, None);
    for (rules, scans) in [(of_load, false), (of_scan, true)].into_iter().filter(|(rules, _)| is_wanted(rules)) {
        if interrupted.is_some() {
            judged.extend(nothing_measured(&rules, &variants, "it was interrupted before").rules);
            continue;
        }
        let measured = if scans {
            super::scan::measure(scenario.clone(), settings, options, quiet)
        } else {
            super::run::measure(scenario.clone(), options, quiet)
        };
        match measured {
            Ok((finished, signal)) => {
                let run = read(finished.folder)?;
                judged.extend(judge_recorded(args, &rules, &run, &variants, baseline)?.rules);
                interrupted = signal;
                if let Some(first) = folder.replace(run.folder) {
                    show_progress(&format!("record  {}", plain(&first.display().to_string())));
                }
            }
            // What was judged before stands.
            Err(error) if !judged.is_empty() => {
                tracing::warn!("{error}");
                judged.extend(nothing_measured(&rules, &variants, &error.to_string()).rules);
            }
            Err(error) => judged.extend(unseen(error, &rules, &variants)?.rules),
        }
    }
    Ok(Measured { rules: judged, folder, interrupted })
}

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

fn finish(
    args: &GateArgs,
    report: &GateReport,
    scenario: &str,
    folder: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let command = command(args);
    let view = GateView { report, scenario, folder, command: &command };
    args.publish(view, out)
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
    args.discover.words().iter().for_each(|(name, value)| flag(name, Some(value)));
    words.extend(args.discover.change_data.then(|| "--change-data".to_owned()));
    words.extend(args.trust_baseline.then(|| "--trust-baseline".to_owned()));
    words.join(" ")
}
