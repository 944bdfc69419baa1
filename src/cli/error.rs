//! The top of all errors: what it says, what it becomes.

use std::io;
use std::path::PathBuf;

use super::exit::Exit;
use super::init::InitCommandError;
use super::scenario::ScenarioCommandError;
use crate::database::UrlError;
use crate::gate::paired::{PairedRuleError, PlanError};
use crate::gate::{LearnError, RuleError};
use crate::monitor::ConsoleUrlError;
use crate::record::store::StoreError;
use crate::run::RunError;
use crate::scenario::error::ScenarioError;
use crate::scenario::key::nearest;
use crate::scenario::overrides::OverrideError;
use crate::scenario::{NotAVariantName, VariantName};
use crate::testbed::TestbedError;
use crate::watch::live::WatchError;

/// Why the program could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The scenario is refused.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A flag sets nothing.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The `scenario` subcommand.
    #[error(transparent)]
    ScenarioCommand(#[from] ScenarioCommandError),
    /// `init`.
    #[error(transparent)]
    Init(#[from] InitCommandError),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The testbed of `gateway`.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// `watch`.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A replica process.
    #[error(transparent)]
    Replica(#[from] gateway_under_test::replica::ReplicaError),
    /// A backend process.
    #[error(transparent)]
    Backend(#[from] gateway_under_test::backend::BackendError),
    /// The event loop or the signal handler.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// Standard output.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// JSON: a mistake of ours.
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
    /// The browser.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The URL of a `PgBouncer` of the user's own cannot be used.
    #[error(transparent)]
    PgBouncerUrl(#[from] ConsoleUrlError),
    /// A run that was named is none, or cannot be read.
    #[error(transparent)]
    Record(StoreError),
    /// A rule is none.
    #[error(transparent)]
    Rule(RuleError),
    /// A rule against a baseline that there is not.
    #[error("rule `{rule}` needs a baseline: give one with `--baseline RUN`")]
    NoBaseline {
        /// The rule.
        rule: String,
    },
    /// Nothing to judge by.
    #[error("there is no rule for what is judged: give `--rule`, or `[[gate]]` tables in the scenario")]
    NoRules,
    /// More than one run or scenario.
    #[error("one run or scenario is judged at a time")]
    OneSubject,
    /// Settings beside a run that is over.
    #[error("`--users`, `--duration` and `--set` set nothing of a run that is over")]
    NothingToSet,
    /// `--rerun` of a record whose scenario starts a command.
    #[error("`--rerun` would start the command that the record names: `{command}`")]
    RunsCommand {
        /// The command.
        command: String,
    },
    /// A variant that is none, or that a run does not have.
    #[error("there is no variant `{name}` here: there are {}", names(allowed))]
    UnknownVariant {
        /// What was asked for.
        name: String,
        /// What there is.
        allowed: Vec<VariantName>,
    },
    /// A text that names no variant anywhere.
    #[error(transparent)]
    VariantName(NotAVariantName),
    /// `--jwt-secret-env` without a key behind it.
    #[error("cannot read the key of tokens: the environment variable `{variable}` is empty or not set")]
    NoJwtSecret {
        /// Its name.
        variable: String,
    },
    /// A scenario of a service where only the reference gateway's makes sense.
    #[error("scenario `{name}` is of a service of one's own: `{command}` is for the reference gateway's")]
    GatewayOnly {
        /// The scenario.
        name: String,
        /// The command.
        command: &'static str,
    },
    /// The reference gateway where a service is scanned.
    #[error("scenario `{name}` is of the reference gateway: `scan` is for a service of one's own, with a `[target]`")]
    NotScanned {
        /// The scenario.
        name: String,
    },
    /// A flag of services where the reference gateway is loaded.
    #[error("`{flag}` is for a service of one's own, a scenario with a [target]: this one has a testbed of its own")]
    ServiceOnly {
        /// The flag.
        flag: &'static str,
    },
    /// The URL of a database. It is not repeated: it may hold a password.
    #[error("the database URL of {from} cannot be used")]
    DatabaseUrl {
        /// The flag or the variable.
        from: &'static str,
        /// What is wrong with it.
        #[source]
        source: UrlError,
    },
    /// A record of a load that is not ours.
    #[error("this record is of a database that was watched: its load cannot be run again")]
    NotRunAgain,
    /// A run with more than one variant, of which one is needed.
    #[error("`{}` has more than one variant: name the healthy one with `--variant`", folder.display())]
    WhichVariant {
        /// The run.
        folder: PathBuf,
    },
    /// One run as several healthy ones.
    #[error("`{}` is given twice: limits are learned from each run once", folder.display())]
    TwiceLearned {
        /// The run.
        folder: PathBuf,
    },
    /// Healthy runs of different conditions.
    #[error("`{}` has another {what} than the first run: limits are learned from runs of the same", folder.display())]
    OtherConditions {
        /// The run.
        folder: PathBuf,
        /// What differs.
        what: String,
    },
    /// A run in which there are not two variants to compare.
    #[error("`{}` has no two variants to compare: name another run, or the variants", folder.display())]
    NothingToCompare {
        /// The run.
        folder: PathBuf,
    },
    /// A rule that pairs cannot judge.
    #[error(transparent)]
    PairedRule(PairedRuleError),
    /// A plan by which nothing can fail.
    #[error(transparent)]
    Plan(PlanError),
    /// A scenario with one variant, and not two named.
    #[error("the scenario has no two variants to pair: name them with `--baseline` and `--candidate`")]
    NoArms,
    /// A flag of paired gates alone.
    #[error("`{flag}` is for pairs of windows: it needs `--paired`")]
    NeedsPaired {
        /// The flag.
        flag: &'static str,
    },
    /// A log that was named cannot be read.
    #[error("cannot read the log `{}`", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A run of which no variant was measured.
    #[error("no variant of `{}` was run to a result: there is nothing to diagnose", folder.display())]
    NothingRecorded {
        /// The run.
        folder: PathBuf,
    },
    /// Nothing can be learned from the runs.
    #[error(transparent)]
    Learn(LearnError),
    /// A file that was asked for cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The same, before anything was done for it.
    #[error("cannot write `{}`", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The monitor's role may not see what has to be seen, where that is no verdict yet.
    #[error(transparent)]
    Blind(RunError),
    /// TOML: a mistake of ours.
    #[error("cannot write it as TOML")]
    Toml(#[source] toml::ser::Error),
    /// CSV: a mistake of ours.
    #[error("cannot write the result as CSV")]
    Csv(#[from] csv::Error),
    /// XML: a mistake of ours.
    #[error("cannot write the result as JUnit XML")]
    Junit(#[from] quick_junit::SerializeError),
    /// OpenMetrics: a mistake of ours.
    #[error("cannot write the result as OpenMetrics")]
    Render(#[source] std::fmt::Error),
    /// Nothing was measured.
    #[error("no request finished in the steady phase of `{variant}`: there is nothing to report")]
    NothingMeasured {
        /// Which variant.
        variant: VariantName,
    },
}

impl CliError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Scenario(_)
            | Self::Override(_)
            | Self::Record(_)
            | Self::Rule(_)
            | Self::NoBaseline { .. }
            | Self::NoRules
            | Self::Log { .. }
            | Self::OneSubject
            | Self::NothingToSet
            | Self::RunsCommand { .. }
            | Self::UnknownVariant { .. }
            | Self::VariantName(_)
            | Self::NotRunAgain
            | Self::GatewayOnly { .. }
            | Self::NoJwtSecret { .. }
            | Self::ServiceOnly { .. }
            | Self::NotScanned { .. }
            | Self::DatabaseUrl { .. }
            | Self::WhichVariant { .. }
            | Self::TwiceLearned { .. }
            | Self::OtherConditions { .. }
            | Self::NothingToCompare { .. }
            | Self::PairedRule(_)
            | Self::Plan(_)
            | Self::NoArms
            | Self::NeedsPaired { .. }
            | Self::NotWritable { .. }
            | Self::PgBouncerUrl(_)
            | Self::Run(RunError::TwoPgBouncers)
            | Self::Learn(_)
            | Self::Watch(WatchError::Exists(_)) => Exit::BadRequest,
            Self::Init(error) if error.is_bad_request() => Exit::BadRequest,
            Self::Testbed(error) if error.is_bad_request() => Exit::BadRequest,
            Self::Run(error) if error.is_bad_request() => Exit::BadRequest,
            Self::ScenarioCommand(error) => match error {
                ScenarioCommandError::Scenario(_) => Exit::BadRequest,
                ScenarioCommandError::Toml(_) | ScenarioCommandError::Json(_) | ScenarioCommandError::Output(_) => {
                    Exit::CouldNotMeasure
                }
            },
            Self::Blind(_) => Exit::Inconclusive,
            Self::Init(_)
            | Self::Run(_)
            | Self::Testbed(_)
            | Self::Watch(_)
            | Self::Replica(_)
            | Self::Backend(_)
            | Self::Start(_)
            | Self::Output(_)
            | Self::Json(_)
            | Self::Open { .. }
            | Self::Write { .. }
            | Self::Toml(_)
            | Self::Csv(_)
            | Self::Junit(_)
            | Self::Render(_)
            | Self::NothingRecorded { .. }
            | Self::NothingMeasured { .. } => Exit::CouldNotMeasure,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Scenario(error) | Self::ScenarioCommand(ScenarioCommandError::Scenario(error)) => error.hint(),
            Self::Run(error) | Self::Blind(error) => error.hint(),
            Self::Init(error) => error.hint(),
            Self::Testbed(error) => error.hint(),
            Self::Watch(error) => error.hint(),
            Self::Rule(error) => error.hint(),
            Self::RunsCommand { .. } => Some("pass `--yes` if you trust the record".to_owned()),
            Self::UnknownVariant { name, allowed } => {
                let meant = nearest(name, allowed.iter().map(VariantName::name));
                meant.map(|meant| format!("did you mean `{meant}`?"))
            }
            _ => None,
        }
    }

    /// Whether the reader of our output has gone, which is no error of anybody's.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Watch(WatchError::Show(error)) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Output(error) | Self::ScenarioCommand(ScenarioCommandError::Output(error)) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            Self::Json(error) | Self::ScenarioCommand(ScenarioCommandError::Json(error)) => {
                error.io_error_kind() == Some(io::ErrorKind::BrokenPipe)
            }
            _ => false,
        }
    }
}

fn names(variants: &[VariantName]) -> String {
    let quoted: Vec<String> = variants.iter().map(|variant| format!("`{}`", variant.name())).collect();
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(", ") }
}
