//! The flags of pairs of windows, and what they mean: for `gate --paired` and `calibrate`.

use super::error::CliError;
use super::rules::{plain_rule, read_rules};
use crate::compare::Direction;
use crate::gate::paired::{DEFAULT_RULES, PairPlan, Trial, paired_rules};
use crate::gate::{GateRule, Metric, ParsedRule};
use crate::paired::{Arrangement, Stopping};
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
    /// Flags of the pairs.
    #[command(flatten)]
    pub pairs: PairsArgs,
}

/// Measuring and judging pairs: for `gate --paired` and `calibrate`.
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
        // A plain 10 means 10 %, and would be read as 1,000 %.
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
            return read_rules(&rules.iter().map(|rule| plain_rule(rule)).collect::<Vec<_>>(), experiment);
        }
        if !self.metrics.is_empty() {
            let rules: Vec<GateRule> = self.metrics.iter().map(|metric| plain_rule(&self.rule_of(metric))).collect();
            return read_rules(&rules, experiment);
        }
        let of_scenario = read_rules(experiment.gate(), experiment)?;
        let relative: Vec<ParsedRule> = of_scenario.into_iter().filter(|asked| asked.rule.is_relative()).collect();
        if !relative.is_empty() {
            return Ok(relative);
        }
        let default = |rule: &&str| plain_rule(&self.rule_of(rule.split("<=").next().unwrap_or(rule)));
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

    /// Arrangement of the windows.
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

#[cfg(test)]
mod tests {
    use super::*;

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
