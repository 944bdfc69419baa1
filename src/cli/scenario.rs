//! `rbac-bench scenario`: the built-in scenarios, and the check of a file of your own.

use std::io::{self, Write};

use serde::Serialize;

use crate::gate::{ParsedRule, routes};
use crate::record::Format;
use crate::scenario::Experiment;
use crate::scenario::builtin::{BUILTINS, DEFAULT};
use crate::scenario::check::ProblemSeverity;
use crate::scenario::error::{KeyFault, LocatedProblem, ScenarioError, Site};
use crate::scenario::key::KeyPath;
use crate::scenario::locate::{Locator, PathPart, SourcePosition};
use crate::scenario::overrides::{DURATION, Override, OverrideError, USERS, VARIANT};
use crate::scenario::schema::schema;
use crate::scenario::source::{ScenarioText, problems, resolve};

/// The built-in scenarios; check a file of your own
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench scenario list
  rbac-bench scenario show collapse > mine.toml
  rbac-bench scenario check mine.toml
  rbac-bench scenario schema > rbac-bench.schema.json     completion in editors: `#:schema ./rbac-bench.schema.json`
  rbac-bench scenario show mine.toml --resolved --set gateway.pool.size=50")]
pub struct ScenarioArgs {
    #[command(subcommand)]
    pub command: ScenarioCommand,
}

/// Subcommands of `rbac-bench scenario`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ScenarioCommand {
    /// List the built-in scenarios
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a scenario as TOML, to run it or to start your own from it
    Show(ShowArgs),
    /// Check a scenario without running it: each problem with its file, line and column
    ///
    /// Exits with 0 when it can be run (warnings or not), with 2 when it cannot.
    Check(CheckArgs),
    /// Print the JSON schema of scenario files, for editors
    ///
    /// `rbac-bench scenario schema > rbac-bench.schema.json`, and `#:schema ./rbac-bench.schema.json` as the first line of
    /// a scenario: Taplo and Even Better TOML then complete its keys, explain them, and underline mistakes.
    Schema,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// A built-in scenario, or the path of a file
    #[arg(value_name = "SCENARIO", default_value = DEFAULT.name)]
    pub name: String,
    /// Print every key with the value that a run would use: defaults, file, environment and flags together;
    /// implied by a flag that sets something
    #[arg(long)]
    pub resolved: bool,
    /// Overrides beside the file.
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The path of a file, or a built-in scenario
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Overrides beside the file.
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// The flags that change a scenario, for each subcommand that takes one.
///
/// All are texts: the scenario's own types read them, so that a flag and a file are refused in the same words.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Scenario")]
pub struct OverrideArgs {
    /// Simulated users [env: `RBAC_BENCH_USERS`]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub users: Option<String>,
    /// Steady phase per variant, such as 30s or 5m [env: `RBAC_BENCH_DURATION`]
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    pub duration: Option<String>,
    /// Which variants to run: held, scoped, both, or another session scope of docs/HOLD-PATTERNS.md
    /// [env: `RBAC_BENCH_VARIANT`]
    #[arg(long, value_name = "V", alias = "scope")]
    pub variant: Option<String>,
    /// Set any key of the scenario file, such as gateway.pool.size=50 or load.duration=10s; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl OverrideArgs {
    /// The overrides of these flags on top of the `environment`'s.
    ///
    /// # Errors
    /// When `--set` was given something that sets nothing.
    pub fn on_top_of(&self, environment: &[Override]) -> Result<Vec<Override>, OverrideError> {
        let flags = [(USERS, &self.users), (DURATION, &self.duration), (VARIANT, &self.variant)];
        let flags = flags.into_iter().filter_map(|(shortcut, value)| value.clone().map(|it| shortcut.by_flag(it)));
        let sets = self.set.iter().map(|text| Override::from_set(text));
        environment.iter().cloned().chain(flags).map(Ok).chain(sets).collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ScenarioCommandError {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error("cannot write the scenario as TOML")]
    Toml(#[from] toml::ser::Error),
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Done; exit code 0.
    Fine,
    /// The scenario was checked and cannot be run; exit code 2.
    Refused,
}

/// Runs a `scenario` subcommand. `environment` are the overrides of the environment's variables.
///
/// # Errors
/// When the scenario is refused (`check` prints a refusal instead), or the output cannot be written.
pub fn run(
    args: &ScenarioArgs,
    environment: &[Override],
    out: &mut dyn Write,
) -> Result<CheckOutcome, ScenarioCommandError> {
    match &args.command {
        ScenarioCommand::List { json: true } => list_json(out)?,
        ScenarioCommand::List { json: false } => list(out)?,
        ScenarioCommand::Show(args) => show(args, environment, out)?,
        ScenarioCommand::Check(args) => return check(args, environment, out),
        ScenarioCommand::Schema => write_json(&schema(), out)?,
    }
    Ok(CheckOutcome::Fine)
}

fn list(out: &mut dyn Write) -> Result<(), ScenarioCommandError> {
    let width = BUILTINS.map(|builtin| builtin.name.len()).into_iter().max().unwrap_or_default();
    for builtin in BUILTINS {
        writeln!(out, "{:width$}  {}", builtin.name, builtin.title())?;
    }
    Ok(())
}

fn list_json(out: &mut dyn Write) -> Result<(), ScenarioCommandError> {
    #[derive(Serialize)]
    struct Entry {
        name: &'static str,
        title: String,
        default: bool,
    }
    #[derive(Serialize)]
    struct List {
        format: Format,
        scenarios: Vec<Entry>,
    }
    let entry = |builtin: crate::scenario::builtin::Builtin| Entry {
        name: builtin.name,
        title: builtin.title(),
        default: builtin == DEFAULT,
    };
    let format = Format { name: "rbac-bench/scenario-list".to_owned(), version: 1 };
    write_json(&List { format, scenarios: BUILTINS.into_iter().map(entry).collect() }, out)
}

fn write_json(document: &impl Serialize, out: &mut dyn Write) -> Result<(), ScenarioCommandError> {
    out.write_all(crate::render::json::text(document)?.as_bytes())?;
    Ok(())
}

fn show(args: &ShowArgs, environment: &[Override], out: &mut dyn Write) -> Result<(), ScenarioCommandError> {
    let source = resolve(&args.name)?;
    // Anyone who sets something wants to see it set: the text as it is would leave it out without a word.
    let asked_for_more = !args.overrides.on_top_of(&[]).map_err(ScenarioError::from)?.is_empty();
    if !args.resolved && !asked_for_more {
        out.write_all(source.text.as_bytes())?;
        return Ok(());
    }
    let overrides = args.overrides.on_top_of(environment).map_err(ScenarioError::from)?;
    let scenario = Experiment::from_text(&source.name, &source.text, &overrides)?;
    out.write_all(toml::to_string_pretty(&scenario)?.as_bytes())?;
    Ok(())
}

fn check(
    args: &CheckArgs,
    environment: &[Override],
    out: &mut dyn Write,
) -> Result<CheckOutcome, ScenarioCommandError> {
    let source = resolve(&args.file)?;
    let overrides = args.overrides.on_top_of(environment).map_err(ScenarioError::from)?;
    let findings = findings(&source, &overrides)?;
    if args.json {
        write_findings_json(&source, findings.clone(), out)?;
    } else {
        write_findings(&source, &findings, out)?;
    }
    let refused = findings.iter().any(|finding| finding.severity == ProblemSeverity::Error);
    Ok(if refused { CheckOutcome::Refused } else { CheckOutcome::Fine })
}

/// One line of the check's result.
#[derive(Clone, Serialize)]
struct CheckFinding {
    severity: ProblemSeverity,
    /// The file's name; `None` when it was set beside the file.
    file: Option<String>,
    /// Line and column in the file; `None` when it was set beside the file.
    #[serde(flatten)]
    place: Option<SourcePosition>,
    /// The flag or variable that set it beside the file.
    set_by: Option<String>,
    /// The key; `None` when the text is no TOML.
    key: Option<String>,
    message: String,
    hint: Option<String>,
}

impl CheckFinding {
    fn new(site: Site, severity: ProblemSeverity, key: Option<String>, message: String, hint: Option<String>) -> Self {
        let (file, place, set_by) = match site {
            Site::Text { name, place } => (Some(name), Some(place), None),
            Site::Override(text) => (None, None, Some(text)),
        };
        Self { severity, file, place, set_by, key, message, hint }
    }

    fn of_problem(located: LocatedProblem) -> Self {
        let hint = located.hint();
        let LocatedProblem { site, problem } = located;
        Self::new(site, problem.severity, Some(problem.key.to_string()), problem.to_string(), hint)
    }

    /// Position as editors and CI logs recognise it: `held.toml:12:9`.
    fn place_text(&self) -> String {
        match (&self.file, self.place, &self.set_by) {
            (Some(file), Some(place), _) => format!("{file}:{}:{}", place.line, place.column),
            (_, _, set_by) => set_by.clone().unwrap_or_default(),
        }
    }
}

/// Findings of a check; a text that is refused before there is a whole to check is one finding.
fn findings(source: &ScenarioText, overrides: &[Override]) -> Result<Vec<CheckFinding>, ScenarioError> {
    match problems(&source.name, &source.text, overrides) {
        Ok(problems) => {
            let mut findings: Vec<CheckFinding> = problems.into_iter().map(CheckFinding::of_problem).collect();
            findings.extend(rule_findings(source, overrides));
            Ok(findings)
        }
        Err(error) => finding_of_error(error).map(|finding| vec![finding]),
    }
}

/// Findings in the rules of the scenario's gate; none when the scenario is refused anyway.
fn rule_findings(source: &ScenarioText, overrides: &[Override]) -> Vec<CheckFinding> {
    let Ok(scenario) = Experiment::from_text(&source.name, &source.text, overrides) else { return Vec::new() };
    let routes = routes(&scenario);
    let errors = scenario.gate().iter().filter_map(|rule| ParsedRule::read(rule, &routes).err());
    let key = Some("gate".to_owned());
    let place = Locator::new(&source.text).map_or(SourcePosition { line: 1, column: 1 }, |locator| {
        locator.place(&KeyPath::of(["gate"]), PathPart::Value)
    });
    let site = || Site::Text { name: source.name.clone(), place };
    errors
        .map(|error| CheckFinding::new(site(), ProblemSeverity::Error, key.clone(), error.to_string(), error.hint()))
        .collect()
}

fn finding_of_error(error: ScenarioError) -> Result<CheckFinding, ScenarioError> {
    let hint = error.hint();
    match error {
        ScenarioError::Syntax { site, reason } => {
            Ok(CheckFinding::new(site, ProblemSeverity::Error, None, format!("no TOML: {reason}"), hint))
        }
        ScenarioError::Key(it) => {
            let KeyFault { site, key, fault, .. } = *it;
            Ok(CheckFinding::new(site, ProblemSeverity::Error, Some(key.to_string()), fault.clause(&key), hint))
        }
        other => Err(other),
    }
}

fn write_findings(
    source: &ScenarioText,
    findings: &[CheckFinding],
    out: &mut dyn Write,
) -> Result<(), ScenarioCommandError> {
    for finding in findings {
        let severity = match finding.severity {
            ProblemSeverity::Error => "error",
            ProblemSeverity::Warning => "warning",
        };
        writeln!(out, "{}: {severity}: {}", finding.place_text(), finding.message)?;
        if let Some(hint) = &finding.hint {
            writeln!(out, "  hint: {hint}")?;
        }
    }
    if findings.is_empty() {
        writeln!(out, "{}: fine", source.name)?;
    }
    Ok(())
}

fn write_findings_json(
    source: &ScenarioText,
    problems: Vec<CheckFinding>,
    out: &mut dyn Write,
) -> Result<(), ScenarioCommandError> {
    #[derive(Serialize)]
    struct Check<'a> {
        format: Format,
        scenario: &'a str,
        problems: Vec<CheckFinding>,
    }
    let format = Format { name: "rbac-bench/scenario-check".to_owned(), version: 1 };
    write_json(&Check { format, scenario: &source.name, problems }, out)
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
