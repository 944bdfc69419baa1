//! The rules of a gate: read, selected, and judged inconclusive where nothing could be seen.

use super::error::CliError;
use crate::gate::{GateReport, GateRule, ParsedRule, Severity, nothing_measured, routes};
use crate::render::text::plain;
use crate::scenario::{Experiment, VariantName};

/// The rules against a baseline that are meant when none is written.
pub(super) const AGAINST_BASELINE: [&str; 5] = [
    "idle_in_transaction.mean<=+10% vs baseline",
    "latency.p95<=+10% vs baseline",
    "failure_rate<=+10% vs baseline",
    "pool_timeouts<=+10% vs baseline",
    "throughput>=-10% vs baseline",
];

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

/// A rule as the command line gives it: one that fails the gate.
pub(super) fn plain_rule(rule: &str) -> GateRule {
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

/// No verdict on the gateway where the instrument was not allowed to see: each rule is inconclusive.
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
