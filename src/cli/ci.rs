//! What a CI system is told of a verdict, beside the exit code.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::render::gate::{Told, markdown};
use crate::render::{github, junit};

/// What the environment says of the CI system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CiEnvironment {
    /// Whether this is a step of GitHub Actions.
    github: bool,
    /// The file of the step's summary.
    summary: Option<PathBuf>,
}

impl CiEnvironment {
    /// Of this process.
    pub(super) fn of_this_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            github: set("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            summary: set("GITHUB_STEP_SUMMARY").map(PathBuf::from),
        }
    }
}

/// Writes annotations to `out` and appends markdown to the step's summary, when this is GitHub Actions.
pub(super) fn tell_github(told: Told<'_>, environment: &CiEnvironment, out: &mut dyn Write) -> Result<(), CliError> {
    if !environment.github {
        return Ok(());
    }
    out.write_all(github::annotations(told).as_bytes())?;
    match &environment.summary {
        Some(path) => append(path, &markdown(told)).map_err(|source| CliError::Write { path: path.clone(), source }),
        None => Ok(()),
    }
}

fn append(path: &Path, markdown: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let taken = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.write_all(github::fitting(markdown, taken).as_bytes())
}

/// Writes JUnit's file.
pub(super) fn write_junit(told: Told<'_>, path: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, junit::document(told)?).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::GateReport;

    fn told(report: &GateReport) -> Told<'_> {
        Told { report, scenario: "small", folder: None, command: "rbac-bench gate small.toml" }
    }

    #[test]
    fn outside_of_github_nothing_is_said() {
        let mut said = Vec::new();
        tell_github(told(&GateReport::of(Vec::new())), &CiEnvironment::default(), &mut said).unwrap();
        assert!(said.is_empty());
        assert_eq!(CiEnvironment::of(|_| None), CiEnvironment::default());
        assert!(!CiEnvironment::of(|name| (name == "GITHUB_ACTIONS").then(|| "false".into())).github);
    }

    #[test]
    fn the_summary_is_appended_to_what_other_steps_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        std::fs::write(&path, "before\n").unwrap();
        let environment = CiEnvironment { github: true, summary: Some(path.clone()) };
        tell_github(told(&GateReport::of(Vec::new())), &environment, &mut Vec::new()).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("before\n### gate inconclusive"), "{text}");
    }
}
