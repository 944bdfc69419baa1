//! Errors of a scenario, with their place in the text, or on the command line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::Utf8Error;

use super::builtin;
use super::check::Problem;
use super::fault::Fault;
use super::key::{KeyPath, nearest};
use super::locate::SourcePosition;
use super::overrides::OverrideError;

/// Errors of a scenario. All of these are requests that are invalid as they stand: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error(
        "`{name}` is neither a file nor a built-in scenario: expected a path, or one of {}",
        builtin::quoted_names()
    )]
    Unknown {
        /// The given name.
        name: String,
    },
    #[error("cannot read scenario `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("scenario `{}` is a folder: a TOML file is needed", path.display())]
    Folder { path: PathBuf },
    #[error("cannot read scenario `{}`: longer than {limit} bytes", path.display())]
    TooLong {
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    #[error("cannot read scenario `{}:{}:{}`: expected UTF-8", path.display(), place.line, place.column)]
    NotText {
        path: PathBuf,
        /// The first byte that is wrong.
        place: SourcePosition,
        #[source]
        source: Utf8Error,
    },
    #[error("{site}: invalid TOML: {reason}")]
    Syntax { site: Site, reason: String },
    #[error("{0}")]
    Key(Box<KeyFault>),
    #[error(transparent)]
    Override(#[from] OverrideError),
    #[error("{}", Refused(problems))]
    Refused {
        /// Errors only, in the order of [`check`](super::check::check); at least one.
        problems: Vec<LocatedProblem>,
    },
}

impl ScenarioError {
    /// One line that helps, for the printer to put below the error.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let meant = match self {
            Self::Unknown { name } => nearest(name, builtin::BUILTINS.iter().map(|builtin| builtin.name)),
            Self::Key(it) => it.meant.as_deref(),
            Self::Refused { problems } if problems.len() > 1 => {
                return Some("`rbac-bench scenario check` lists them all".to_owned());
            }
            Self::Refused { problems } => return problems.first().and_then(LocatedProblem::hint),
            _ => None,
        };
        meant.map(|meant| format!("did you mean `{meant}`?"))
    }
}

/// One key that is wrong by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFault {
    pub site: Site,
    pub key: KeyPath,
    pub fault: Fault,
    pub meant: Option<String>,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.site, self.fault.clause(&self.key))
    }
}

/// Origin of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// A place in the scenario's text.
    Text {
        /// The file's name, or the built-in's.
        name: String,
        place: SourcePosition,
    },
    /// A flag or variable, as the person wrote it.
    Override(String),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { name, place } => write!(f, "scenario `{name}:{}:{}`", place.line, place.column),
            Self::Override(text) => write!(f, "`{text}`"),
        }
    }
}

/// A [`Problem`], and where its key was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedProblem {
    pub site: Site,
    pub problem: Problem,
}

impl LocatedProblem {
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.problem.meant.as_ref().map(|meant| format!("did you mean `{meant}`?"))
    }
}

impl fmt::Display for LocatedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.site, self.problem)
    }
}

/// The first problem in full and the number of the others: an error is one clause.
struct Refused<'a>(&'a [LocatedProblem]);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else { return f.write_str("the scenario is refused") };
        match others.len() {
            0 => write!(f, "{first}"),
            others => write!(f, "{first} (and {others} more)"),
        }
    }
}
