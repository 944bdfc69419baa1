//! The top of all errors: what it says, what it becomes.

use std::io;
use std::path::PathBuf;

use super::exit::Exit;
use super::scenario::ScenarioCommandError;
use crate::record::store::StoreError;
use crate::run::RunError;
use crate::scenario::error::ScenarioError;
use crate::scenario::overrides::OverrideError;
use crate::testbed::TestbedError;

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
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The testbed of `gateway`.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
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
    /// A run folder that a report is made of.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The report.
    #[error("cannot write `{}`", path.display())]
    WriteReport {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The browser.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing was measured.
    #[error("no request finished in the steady phase of `{variant}`: there is nothing to report")]
    NothingMeasured {
        /// Which variant.
        variant: &'static str,
    },
}

impl CliError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Scenario(_) | Self::Override(_) => Exit::BadRequest,
            Self::ScenarioCommand(error) => match error {
                ScenarioCommandError::Scenario(_) => Exit::BadRequest,
                ScenarioCommandError::Toml(_) | ScenarioCommandError::Json(_) | ScenarioCommandError::Output(_) => {
                    Exit::CouldNotMeasure
                }
            },
            Self::Run(_)
            | Self::Testbed(_)
            | Self::Replica(_)
            | Self::Backend(_)
            | Self::Start(_)
            | Self::Output(_)
            | Self::Json(_)
            | Self::Store(_)
            | Self::WriteReport { .. }
            | Self::Open { .. }
            | Self::NothingMeasured { .. } => Exit::CouldNotMeasure,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Scenario(error) | Self::ScenarioCommand(ScenarioCommandError::Scenario(error)) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Testbed(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether the reader of our output has gone, which is no error of anybody's.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
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
