//! Reading the scenario that a command was given, with everything that is set beside it.

use super::error::CliError;
use super::rules::read_rules;
use super::scenario::OverrideArgs;
use crate::scenario::check::ProblemSeverity;
use crate::scenario::overrides::Override;
use crate::scenario::source::{problems, resolve};
use crate::scenario::{Experiment, Scenario};

/// Reads a scenario with everything that is set beside it; warnings go to the log.
pub(super) fn load_scenario(
    name: &str,
    flags: &OverrideArgs,
    environment: &[Override],
) -> Result<Experiment, CliError> {
    let overrides = flags.on_top_of(environment)?;
    let source = resolve(name)?;
    let scenario = Experiment::from_text(&source.name, &source.text, &overrides)?;
    for located in problems(&source.name, &source.text, &overrides)? {
        if located.problem.severity == ProblemSeverity::Warning {
            tracing::warn!("{located}");
        }
    }
    read_rules(scenario.gate(), &scenario)?;
    Ok(scenario)
}

/// The same, of the reference gateway: for a command that starts it.
pub(super) fn load_gateway_scenario(
    name: &str,
    flags: &OverrideArgs,
    environment: &[Override],
    command: &'static str,
) -> Result<Scenario, CliError> {
    match load_scenario(name, flags, environment)? {
        Experiment::Gateway(scenario) => Ok(*scenario),
        other => Err(CliError::GatewayOnly { name: other.name().to_owned(), command }),
    }
}
