//! `rbac-bench gate --paired`: baseline and candidate in turn, on one machine.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::error::CliError;
use super::exit::Exit;
use super::gate_args::GateArgs;
use super::load::load_scenario;
use super::output::show_progress;
use super::pairs::PairedArgs;
use super::rules::unseen;
use super::signals::Signals;
use crate::gate::paired::{Arm, Pair, PairsEnd, Trial};
use crate::gate::{GateReport, ParsedRule};
use crate::paired::{Arrangement, PairObserver, PairedRun, Stopping, measure};
use crate::render::gate::GateView;
use crate::render::text::{plain, shell_word};
use crate::run::RunOptions;
use crate::scenario::overrides::Override;
use crate::scenario::{Experiment, VariantName};

/// Measures, judges, and writes the verdict to `out`.
pub(super) fn run(
    args: &GateArgs,
    environment: &[Override],
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let [name] = args.subjects.as_slice() else { return Err(CliError::OneSubject) };
    let mut scenario = load_scenario(name, &args.overrides, environment)?;
    let [baseline, candidate] = arms(args, &scenario)?;
    let trial = args.paired.pairs.trial(&args.rules, &scenario)?;
    let asked: Vec<ParsedRule> = trial.rules().iter().map(|rule| rule.asked().clone()).collect();
    let arrangement = args.paired.pairs.arrangement([baseline, candidate], Stopping::WhenSettled);
    let options = args.measure.options(args.service.apply(&mut scenario)?);
    let title = scenario.name().to_owned();
    match measure_repeatedly(&scenario, &trial, 1, &arrangement, &options, quiet) {
        Ok((runs, interrupted)) => {
            let run = runs.first();
            let report = run.map_or_else(|| trial.report(PairsEnd::Interrupted), |run| run.trial.report(run.ended));
            let exit = finish(args, &report, &title, run, out)?;
            Ok(interrupted.unwrap_or(exit))
        }
        Err(error) => finish(args, &unseen(error, &asked, &[candidate])?, &title, None, out),
    }
}

/// Baseline and candidate: those that are named, else the scenario's last and first, as the bug comes first.
fn arms(args: &GateArgs, scenario: &Experiment) -> Result<[VariantName; 2], CliError> {
    let named = |name: Option<&String>| name.map(|name| variant(name, scenario)).transpose();
    let [baseline, candidate] = [named(args.baseline.as_ref())?, named(args.paired.candidate.as_ref())?];
    match (baseline, candidate, scenario.variant_names().as_slice()) {
        (Some(baseline), Some(candidate), _) => Ok([baseline, candidate]),
        (baseline, candidate, [first, .., last]) => Ok([baseline.unwrap_or(*last), candidate.unwrap_or(*first)]),
        _ => Err(CliError::NoArms),
    }
}

/// A variant that the scenario may run, by its name.
fn variant(name: &str, scenario: &Experiment) -> Result<VariantName, CliError> {
    let allowed = scenario.possible_variants();
    let found = allowed.iter().copied().find(|variant| variant.name() == name);
    found.ok_or_else(|| CliError::UnknownVariant { name: name.to_owned(), allowed })
}

/// Measures a trial so many times, until a signal comes; its exit code, when one did.
pub(super) fn measure_repeatedly(
    scenario: &Experiment,
    trial: &Trial,
    repeats: usize,
    arrangement: &Arrangement,
    options: &RunOptions,
    quiet: bool,
) -> Result<(Vec<PairedRun>, Option<Exit>), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    runtime.block_on(async {
        let signals = Signals::take().map_err(CliError::Start)?;
        let watcher: Arc<dyn PairObserver> = if quiet { Arc::new(NoPairProgress) } else { Arc::new(PairLines) };
        let began = std::time::Instant::now();
        let mut runs = Vec::new();
        for _ in 0..repeats {
            // All repeats together have the time that was given.
            let left = |most: Duration| most.saturating_sub(began.elapsed());
            let arrangement = Arrangement { max_duration: arrangement.max_duration.map(left), ..arrangement.clone() };
            let measuring = measure(scenario.clone(), trial.clone(), &arrangement, options, &*watcher, signals.token());
            let run = Box::pin(measuring).await?;
            let goes_on = !matches!(run.ended, PairsEnd::Interrupted | PairsEnd::OutOfTime);
            runs.push(run);
            if !goes_on {
                break;
            }
        }
        Ok((runs, signals.exit()))
    })
}

struct NoPairProgress;

impl PairObserver for NoPairProgress {
    fn window(&self, _: usize, _: usize, _: Arm, _: VariantName) {}
    fn pair(&self, _: &Trial, _: &Pair, _: Option<&str>) {}
}

/// A line on stderr for each window and for each pair.
struct PairLines;

impl PairObserver for PairLines {
    fn window(&self, pair: usize, planned: usize, arm: Arm, variant: VariantName) {
        show_progress(&format!("pair {pair}/{planned} · {} · {}", arm.name(), variant.name()));
    }

    fn pair(&self, trial: &Trial, pair: &Pair, fault: Option<&str>) {
        let ratios = trial.rules().iter().zip(trial.ratios(pair)).map(|(rule, ratio)| {
            let rule = rule.rule();
            let aggregate = rule.aggregate.map(|it| format!(".{it}")).unwrap_or_default();
            let ratio = ratio.map_or_else(|| "–".to_owned(), |it| format!("× {it:.2}"));
            format!("{}{aggregate} {ratio}", rule.metric)
        });
        show_progress(&format!("  {}", ratios.collect::<Vec<_>>().join(" · ")));
        if let Some(fault) = fault {
            let fault = crate::redact::of_process().redact(fault.to_owned());
            show_progress(&format!("  measured again: {}", plain(&fault)));
        }
    }
}

fn finish(
    args: &GateArgs,
    report: &GateReport,
    scenario: &str,
    run: Option<&PairedRun>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let command = command(args);
    let view = GateView { report, scenario, folder: run.map(|run| run.folder.as_path()), command: &command };
    args.publish(view, out)
}

/// The command that measures and judges the same again.
fn command(args: &GateArgs) -> String {
    let mut words = vec!["rbac-bench gate".to_owned()];
    words.extend(args.subjects.iter().map(|subject| shell_word(subject)));
    words.push("--paired".to_owned());
    let mut flag = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{name} {}", shell_word(&value))));
    };
    let PairedArgs { candidate, pairs, .. } = &args.paired;
    let percent = |share: f64| format!("{}%", (share * 1e6).round() / 1e4);
    flag("--baseline", args.baseline.clone());
    flag("--candidate", candidate.clone());
    flag("--pairs", pairs.pairs.map(|it| it.to_string()));
    flag("--alpha", pairs.alpha.map(percent));
    flag("--min-effect", pairs.min_effect.map(percent));
    flag("--settle", pairs.settle.map(|it| it.to_string()));
    flag("--measured", pairs.measured.map(|it| it.to_string()));
    flag("--max-duration", pairs.max_duration.map(|it| it.to_string()));
    pairs.metrics.iter().for_each(|metric| flag("--metric", Some(metric.clone())));
    args.rules.iter().for_each(|rule| flag("--rule", Some(rule.clone())));
    flag("--users", args.overrides.users.clone());
    args.overrides.set.iter().for_each(|set| flag("--set", Some(set.clone())));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_command_that_reproduces_it_has_every_flag_of_the_pairs() {
        let flags = "--paired --baseline scoped --pairs 9 --alpha 5% --min-effect 30% --settle 1s --measured 2s \
                     --max-duration 3m --metric latency.p95 --users 24 --set load.ramp_up=1s";
        let written = format!("rbac-bench gate small.toml {flags}");
        let cli = Cli::parse_from(written.split_whitespace());
        let Command::Gate(args) = cli.command else { panic!("it is a gate") };
        assert_eq!(command(&args).replace('\'', ""), written.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}
