//! The top of all errors: what it says, what it becomes.

use std::io;
use std::path::PathBuf;

use super::discover_args::ByUrlError;
use super::exit::Exit;
use super::init::InitCommandError;
use super::scenario::ScenarioCommandError;
use crate::database::UrlError;
use crate::gate::paired::{PairedRuleError, PlanError};
use crate::gate::{LearnError, RuleError};
use crate::logs::LogSourceError;
use crate::monitor::ConsoleUrlError;
use crate::record::store::StoreError;
use crate::run::RunError;
use crate::scenario::error::ScenarioError;
use crate::scenario::key::nearest;
use crate::scenario::overrides::OverrideError;
use crate::scenario::{NotAVariantName, VariantName};
use crate::testbed::TestbedError;
use crate::watch::live::WatchError;

/// Top-level errors.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error(transparent)]
    Override(#[from] OverrideError),
    #[error(transparent)]
    ScenarioCommand(#[from] ScenarioCommandError),
    #[error(transparent)]
    Init(#[from] InitCommandError),
    #[error(transparent)]
    ByUrl(#[from] ByUrlError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Replica(#[from] gateway_under_test::replica::ReplicaError),
    #[error(transparent)]
    Backend(#[from] gateway_under_test::backend::BackendError),
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot open `{}`", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    PgBouncerUrl(#[from] ConsoleUrlError),
    #[error(transparent)]
    Record(StoreError),
    #[error(transparent)]
    Rule(RuleError),
    #[error("rule `{rule}` needs a baseline")]
    NoBaseline { rule: String },
    #[error("no rule given: expected `--rule`, or `[[gate]]` tables in the scenario")]
    NoRules,
    #[error("cannot judge more than one run or scenario at a time")]
    OneSubject,
    #[error("cannot apply `--users`, `--duration` or `--set` to a recorded run")]
    NothingToSet,
    #[error("`--rerun` would start the command that the record names: `{command}`")]
    RunsCommand { command: String },
    #[error("unknown variant `{name}`: expected one of {}", names(allowed))]
    UnknownVariant { name: String, allowed: Vec<VariantName> },
    #[error(transparent)]
    VariantName(NotAVariantName),
    #[error("environment variable `{variable}` is empty or not set: expected the key that signs tokens")]
    NoJwtSecret { variable: String },
    #[error("cannot use `{name}` with `{command}`: expected a reference-gateway scenario")]
    GatewayOnly { name: String, command: &'static str },
    #[error("cannot use `{name}` with `scan`: expected a scenario with a [target] section")]
    NotScanned { name: String },
    #[error(
        "`{flag}` requires a scenario with a [target] section: expected one of your own, such as `rbac-bench init` writes"
    )]
    ServiceOnly { flag: &'static str },
    #[error("cannot use the database URL of {from}")]
    DatabaseUrl {
        /// The flag or the variable.
        from: &'static str,
        #[source]
        source: UrlError,
    },
    #[error("cannot run a watched record again: its load was not ours")]
    NotRunAgain,
    #[error("`{}` has more than one variant: expected `--variant` with the healthy one", folder.display())]
    WhichVariant { folder: PathBuf },
    #[error("cannot learn from `{}` twice", folder.display())]
    TwiceLearned { folder: PathBuf },
    #[error("cannot learn from `{}`: its {what} differs from the first run's", folder.display())]
    OtherConditions { folder: PathBuf, what: String },
    #[error("cannot compare `{}` with itself: it has a single variant", folder.display())]
    NothingToCompare { folder: PathBuf },
    #[error(transparent)]
    PairedRule(PairedRuleError),
    #[error(transparent)]
    Plan(PlanError),
    #[error("cannot pair a single variant: expected `--baseline` and `--candidate`")]
    NoArms,
    #[error("`{flag}` requires `--paired`")]
    NeedsPaired { flag: &'static str },
    #[error(transparent)]
    Log(LogSourceError),
    #[error("nothing to diagnose: expected the folder of a run, or `--log FILE` (`-` is standard input)")]
    NothingToDiagnose,
    #[error("`{flag}` requires a run: a log alone has no load in it")]
    NeedsRun { flag: &'static str },
    #[error("cannot diagnose `{}`: no variant has a result", folder.display())]
    NothingRecorded { folder: PathBuf },
    #[error(transparent)]
    Learn(LearnError),
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{}`", path.display())]
    NotWritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot find a session of `{service}` in the database `{database}`{}", where_else(elsewhere))]
    NoSessions { service: String, database: String, elsewhere: String },
    #[error(transparent)]
    Blind(RunError),
    #[error("cannot write it as TOML")]
    Toml(#[source] toml::ser::Error),
    #[error("cannot write the result as CSV")]
    Csv(#[from] csv::Error),
    #[error("cannot write the result as JUnit XML")]
    Junit(#[from] quick_junit::SerializeError),
    #[error("cannot write the result as OpenMetrics")]
    Render(#[source] std::fmt::Error),
    #[error("cannot report on `{variant}`: no request finished in its steady phase")]
    NothingMeasured { variant: VariantName },
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
            | Self::Log(_)
            | Self::NothingToDiagnose
            | Self::NeedsRun { .. }
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
            Self::ByUrl(error) if error.is_bad_request() => Exit::BadRequest,
            Self::Testbed(error) if error.is_bad_request() => Exit::BadRequest,
            Self::Run(error) if error.is_bad_request() => Exit::BadRequest,
            Self::ScenarioCommand(error) => match error {
                ScenarioCommandError::Scenario(_) => Exit::BadRequest,
                ScenarioCommandError::Toml(_) | ScenarioCommandError::Json(_) | ScenarioCommandError::Output(_) => {
                    Exit::CouldNotMeasure
                }
            },
            Self::Blind(_) | Self::NoSessions { .. } => Exit::Inconclusive,
            Self::Init(_)
            | Self::ByUrl(_)
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
            Self::ByUrl(error) => error.hint(),
            Self::Testbed(error) => error.hint(),
            Self::Watch(error) => error.hint(),
            Self::Rule(error) => error.hint(),
            Self::NoSessions { .. } => Some(
                "where its process is not to be seen from here (a Unix socket, a container, another user or machine, a role without \
                 pg_monitor), name its sessions without the URL: `--application NAME` or `--user ROLE`"
                    .to_owned(),
            ),
            Self::OneSubject => Some("put quotes around a rule that contains a space".to_owned()),
            Self::NotScanned { .. } => Some("`rbac-bench init` generates one".to_owned()),
            Self::NothingToSet => Some("pass `--rerun` to run its scenario again".to_owned()),
            Self::NoBaseline { .. } => Some("pass `--baseline RUN`".to_owned()),
            Self::RunsCommand { .. } => Some("pass `--yes` if you trust the record".to_owned()),
            Self::UnknownVariant { name, allowed } => {
                let meant = nearest(name, allowed.iter().map(VariantName::name));
                meant.map(|meant| format!("did you mean `{meant}`?"))
            }
            _ => None,
        }
    }

    /// True if the reader of our output has gone, which is no error of anybody's.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(error)
            | Self::Watch(WatchError::Show(error))
            | Self::Init(InitCommandError::Output(error))
            | Self::ScenarioCommand(ScenarioCommandError::Output(error)) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Json(error) | Self::ScenarioCommand(ScenarioCommandError::Json(error)) => {
                error.io_error_kind() == Some(io::ErrorKind::BrokenPipe)
            }
            _ => false,
        }
    }
}

fn where_else(elsewhere: &str) -> String {
    if elsewhere.is_empty() { String::new() } else { format!(": {elsewhere}") }
}

fn names(variants: &[VariantName]) -> String {
    let quoted: Vec<String> = variants.iter().map(|variant| format!("`{}`", variant.name())).collect();
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(", ") }
}
