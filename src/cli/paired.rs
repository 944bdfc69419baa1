//! `rbac-bench gate --paired`: baseline and candidate in turn, on one machine.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::ci::{self, Announcement};
use super::error::CliError;
use super::exit::Exit;
use super::gate::{GateArgs, GateFormat, read_rules, unseen};
use super::run::load_scenario;
use super::signals::Signals;
use crate::compare::Direction;
use crate::gate::paired::{Arm, DEFAULT_RULES, Pair, PairPlan, PairsEnd, Trial, paired_rules};
use crate::gate::{GateReport, GateRule, Metric, ParsedRule, Severity};
use crate::paired::{Arrangement, PairObserver, PairedRun, Stopping, measure};
use crate::render::gate::{GateView, json, markdown, table};
use crate::render::json::text as text_of;
use crate::render::text::{plain, shell_word};
use crate::run::RunOptions;
use crate::scenario::overrides::Override;
use crate::scenario::{Experiment, VariantName};
use crate::units::Span;

/// The flags of a paired gate.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Paired")]
pub struct PairedArgs {
    /// Measure baseline and candidate in turn, in pairs of windows, and judge by an exact test: --baseline names a
    /// variant then; docs/GATE-PAIRED.md says how it decides
    #[arg(long, conflicts_with_all = ["duration", "variant", "learn", "rerun", "baseline_variant", "trust_baseline"])]
    pub paired: bool,
    /// With --paired: the variant that is judged [default: the scenario's first]
    #[arg(long, value_name = "VARIANT", requires = "paired")]
    pub candidate: Option<String>,
    /// How it is measured.
    #[command(flatten)]
    pub pairs: PairsArgs,
}

/// How pairs are measured and judged: for `gate --paired` and `calibrate`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Pairs")]
pub struct PairsArgs {
    /// Pairs of windows, 7 to 60; three metrics at 1 % need 9 [default: 10]
    #[arg(long, value_name = "N")]
    pub pairs: Option<usize>,
    /// How often the gate may fail though nothing is worse, over all rules together [default: 1%]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub alpha: Option<f64>,
    /// A change up to here is no failure, however significant; for --metric and the default metrics [default: 10%]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub min_effect: Option<f64>,
    /// Judge this metric, such as latency.p95 or throughput; may be repeated [default:
    /// `idle_in_transaction.mean`, `transaction_age.p50`, `latency.p95`]
    #[arg(long = "metric", value_name = "METRIC", conflicts_with = "rules")]
    pub metrics: Vec<String>,
    /// Part of each window that is discarded, after the ramp [default: 5s]
    #[arg(long, value_name = "D")]
    pub settle: Option<Span>,
    /// Part of each window that is measured [default: 15s]
    #[arg(long, value_name = "D")]
    pub measured: Option<Span>,
    /// Begin no pair that would end later than this
    #[arg(long, value_name = "D")]
    pub max_duration: Option<Span>,
}

/// `1%`, or 0.01.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.trim().strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|it| it / unit).filter(|it| (0.0..=100.0).contains(it));
    match share {
        // Whoever writes 10 means 10 %, and would be given a thousand.
        Some(share) if share >= 1.0 && !text.trim().ends_with('%') => {
            Err(format!("expected a fraction below 1, such as 0.1, or a percentage; did you mean `{}%`?", text.trim()))
        }
        share => share.ok_or_else(|| "expected a percentage or a fraction, such as 1% or 0.01".to_owned()),
    }
}

impl PairsArgs {
    /// The first of these flags that was given; `None` when none was.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.pairs.is_some(), "--pairs"),
            (self.alpha.is_some(), "--alpha"),
            (self.min_effect.is_some(), "--min-effect"),
            (!self.metrics.is_empty(), "--metric"),
            (self.settle.is_some(), "--settle"),
            (self.measured.is_some(), "--measured"),
            (self.max_duration.is_some(), "--max-duration"),
        ];
        given.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
    }

    /// A trial of the rules that are meant: those of the command line, else the scenario's against a baseline, else the
    /// default ones.
    pub(super) fn trial(&self, rules: &[String], experiment: &Experiment) -> Result<Trial, CliError> {
        let asked = self.asked(rules, experiment)?;
        let plan = PairPlan { pairs: self.pairs.unwrap_or(10), alpha: self.alpha.unwrap_or(0.01) };
        let rules = paired_rules(asked).map_err(CliError::PairedRule)?;
        Trial::new(rules, plan).map_err(CliError::Plan)
    }

    fn asked(&self, rules: &[String], experiment: &Experiment) -> Result<Vec<ParsedRule>, CliError> {
        if !rules.is_empty() {
            return read_rules(&rules.iter().map(|rule| written(rule)).collect::<Vec<_>>(), experiment);
        }
        if !self.metrics.is_empty() {
            let rules: Vec<GateRule> = self.metrics.iter().map(|metric| written(&self.rule_of(metric))).collect();
            return read_rules(&rules, experiment);
        }
        let of_scenario = read_rules(experiment.gate(), experiment)?;
        let relative: Vec<ParsedRule> = of_scenario.into_iter().filter(|asked| asked.rule.is_relative()).collect();
        if !relative.is_empty() {
            return Ok(relative);
        }
        let default = |rule: &&str| written(&self.rule_of(rule.split("<=").next().unwrap_or(rule)));
        read_rules(&DEFAULT_RULES.iter().map(default).collect::<Vec<_>>(), experiment)
    }

    /// The rule that a metric must not get worse by more than the smallest effect.
    fn rule_of(&self, metric: &str) -> String {
        // Rounded, so that 0.07 is 7 % and prints as such.
        let percent = (self.min_effect.unwrap_or(0.10) * 1e6).round() / 1e4;
        let name = metric.split('.').next().unwrap_or(metric).trim();
        // A name that is none is refused as a rule, with its column.
        let direction = Metric::ALL.iter().find(|it| it.name() == name).map(|it| it.good());
        if direction == Some(Direction::Higher) {
            format!("{metric}>=-{percent}% vs baseline")
        } else {
            format!("{metric}<=+{percent}% vs baseline")
        }
    }

    /// How the windows are measured.
    pub(super) fn arrangement(&self, arms: [VariantName; 2], stopping: Stopping) -> Arrangement {
        let [baseline, candidate] = arms;
        Arrangement {
            baseline,
            candidate,
            settle: self.settle.unwrap_or(Span::from_secs(5)),
            measured: self.measured.unwrap_or(Span::from_secs(15)),
            max_duration: self.max_duration.map(Span::duration),
            stopping,
        }
    }
}

fn written(rule: &str) -> GateRule {
    GateRule { rule: rule.to_owned(), severity: Severity::Error, because: None, variants: Vec::new(), windows: None }
}

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
    let options = RunOptions {
        out: args.out.clone(),
        pg_bin: args.pg_bin.clone(),
        allow_remote: args.allow_remote.clone(),
        database_url: args.service.apply(&mut scenario)?,
        ..RunOptions::default()
    };
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

#[expect(clippy::print_stderr, reason = "this shows progress")]
impl PairObserver for PairLines {
    fn window(&self, pair: usize, planned: usize, arm: Arm, variant: VariantName) {
        eprintln!("pair {pair}/{planned} · {} · {}", arm.name(), variant.name());
    }

    fn pair(&self, trial: &Trial, pair: &Pair, fault: Option<&str>) {
        let ratios = trial.rules().iter().zip(trial.ratios(pair)).map(|(rule, ratio)| {
            let rule = rule.rule();
            let aggregate = rule.aggregate.map(|it| format!(".{it}")).unwrap_or_default();
            let ratio = ratio.map_or_else(|| "–".to_owned(), |it| format!("× {it:.2}"));
            format!("{}{aggregate} {ratio}", rule.metric)
        });
        eprintln!("  {}", ratios.collect::<Vec<_>>().join(" · "));
        if let Some(fault) = fault {
            eprintln!("  measured again: {}", plain(&crate::redact::of_process().redact(fault.to_owned())));
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
    let format = if args.json { GateFormat::Json } else { args.format };
    let text = match format {
        GateFormat::Table => table(view),
        GateFormat::Json => text_of(&json(view))?,
        GateFormat::Markdown => markdown(view),
    };
    ci::tell(view, args.junit.as_deref(), Announcement { text: &text, annotate_out: format == GateFormat::Table }, out)
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

    #[test]
    fn a_metric_must_not_get_worse_in_its_own_direction() {
        let rule = |metric: &str| PairsArgs { min_effect: Some(0.07), ..PairsArgs::default() }.rule_of(metric);
        assert_eq!(rule("latency.p95"), "latency.p95<=+7% vs baseline");
        for metric in ["throughput", "goodput", "requests", "replicas_healthy.mean"] {
            assert_eq!(rule(metric), format!("{metric}>=-7% vs baseline"));
        }
    }

    #[test]
    fn a_share_of_one_and_more_needs_its_per_cent_sign() {
        assert_eq!(share("10%"), Ok(0.10));
        assert_eq!(share(" 0.3 "), Ok(0.3));
        assert_eq!(share("200%"), Ok(2.0));
        for refused in ["10", "1", "-1%", "nan", "ten"] {
            assert!(share(refused).is_err(), "{refused}");
        }
    }
}
