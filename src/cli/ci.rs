//! Output of a verdict for a CI system, beside the exit code.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::exit::Exit;
use super::output::say;
use super::redacted::Redacted;
use crate::gate::Verdict;
use crate::redact;
use crate::render::gate::{GateView, markdown, without_verdict};
use crate::render::text::plain;
use crate::render::{github, junit};

/// Environment of the CI system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CiEnvironment {
    /// True if this is a step of GitHub Actions.
    github: bool,
    /// The file of the step's summary.
    summary: Option<PathBuf>,
}

impl CiEnvironment {
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

/// Text of a verdict beside files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement<'a> {
    /// The verdict as it was asked for; empty when it has been stated.
    pub(super) text: &'a str,
    /// True if annotations go to stdout as well. Where that holds data they go to stderr, which GitHub reads, too.
    pub(super) annotate_out: bool,
}

/// Says the verdict everywhere where it is wanted, and gives its exit code: files first, so that a reader of `out` who
/// has gone takes nothing with them.
///
/// # Errors
/// When something could not be written, unless the gate has failed: that is reported then, and nothing hides it.
pub(super) fn tell(
    view: GateView<'_>,
    junit: Option<&Path>,
    announcement: Announcement<'_>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let written = junit.map_or(Ok(()), |path| write_junit(view, path));
    let environment = CiEnvironment::of_this_process();
    append_summary(view, &environment);
    let annotations = if environment.github { github::annotations(view) } else { String::new() };
    let mut announce = || {
        say(out, announcement.text)?;
        if announcement.annotate_out {
            say(out, &annotations)
        } else {
            say(&mut Redacted::messages(io::stderr()), &annotations)
        }
    };
    let all = written.and_then(|()| Ok(announce()?));
    match (view.report.verdict, all) {
        (Verdict::Failed, Err(error)) => {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            tracing::warn!("{}", plain(&format!("{error}{cause}")));
            Ok(Exit::GateFailed)
        }
        (verdict, all) => all.map(|()| exit(verdict)),
    }
}

/// The exit code of a verdict.
const fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Passed => Exit::Ok,
        Verdict::Failed => Exit::GateFailed,
        Verdict::Inconclusive => Exit::Inconclusive,
    }
}

/// A command line that is refused leaves no earlier file of JUnit's behind: that would be taken for its verdict.
pub(super) fn refuse_junit(reason: &str) {
    // Arguments are bytes: what is no text is one of the things that are refused.
    let mut arguments = std::env::args_os();
    let mut path = None;
    while let Some(argument) = arguments.next() {
        match argument.as_bytes().strip_prefix(b"--junit") {
            Some(b"") => path = arguments.next(),
            Some([b'=', rest @ ..]) => path = Some(OsStr::from_bytes(rest).to_owned()),
            _ => {}
        }
    }
    let Some(path) = path else { return };
    let reason = redact::of_process().redact_arguments(reason.to_owned());
    let written = junit::without_verdict("rbac-bench", &reason)
        .map_err(io::Error::other)
        .and_then(|document| std::fs::write(path, document));
    // The refusal itself is what matters.
    drop(written);
}

fn append_summary(view: GateView<'_>, environment: &CiEnvironment) {
    append_to_summary(&markdown(view), environment);
}

/// Appends markdown to the step's summary, when this is GitHub Actions. The verdict does not depend on that.
fn append_to_summary(markdown: &str, environment: &CiEnvironment) {
    let Some(path) = environment.summary.as_ref().filter(|_| environment.github) else { return };
    if let Err(error) = append(path, markdown) {
        let path = path.display().to_string();
        tracing::warn!("the job summary is missing: cannot write `{}`: {error}", plain(&path));
    }
}

fn append(path: &Path, markdown: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let taken = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let markdown = redact::of_process().redact(markdown.to_owned());
    file.write_all(github::fitting(&markdown, taken).as_bytes())
}

/// Text of the JUnit file until there is a verdict.
const NOT_ENDED: &str = "the gate has not ended: it is still running, or was killed";

/// Makes JUnit's file before anything is measured: one that cannot be written is refused while that costs nothing, and one
/// of an earlier run does not outlive a run that breaks off. It is whole from the beginning, with an error for a verdict.
pub(super) fn begin_junit(path: Option<&Path>, subject: &str) -> Result<(), CliError> {
    let Some(path) = path else { return Ok(()) };
    let document = junit::without_verdict(subject, NOT_ENDED)?;
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder
        .and_then(|()| std::fs::write(path, document))
        .map_err(|source| CliError::NotWritable { path: path.to_owned(), source })
}

/// Writes to JUnit's file, the job summary and the annotations why there is no verdict, so that a gate that breaks off is a pass
/// in none of them. A file that cannot be written is a warning: the error itself is reported anyway.
pub(super) fn tell_broken(subject: &str, junit: Option<&Path>, error: &CliError) {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let reason = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let reason = redact::of_process().redact_arguments(reason);
    let written = junit.map_or(Ok(()), |path| {
        let document = junit::without_verdict(subject, &reason).map_err(io::Error::other)?;
        std::fs::write(path, document)
    });
    if let Err(error) = written {
        tracing::warn!("the JUnit file does not say why there is no verdict: {error}");
    }
    let environment = CiEnvironment::of_this_process();
    append_to_summary(&without_verdict(subject, &reason), &environment);
    if environment.github {
        let annotation = github::without_verdict(&reason);
        // A closed stderr changes nothing.
        let _closed = io::stderr().write_all(annotation.as_bytes());
    }
}

fn write_junit(view: GateView<'_>, path: &Path) -> Result<(), CliError> {
    let document = redact::of_process().redact(junit::document(view)?);
    std::fs::write(path, document).map_err(|source| CliError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::GateReport;

    fn view(report: &GateReport) -> GateView<'_> {
        GateView { report, scenario: "small", folder: None, command: "rbac-bench gate small.toml" }
    }

    /// A reader who has gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_has_gone_changes_no_verdict_and_takes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/gate.xml");
        begin_junit(Some(&path), "small").unwrap();
        let begun = std::fs::read_to_string(&path).unwrap();
        assert!(begun.contains("<error") && begun.contains("has not ended"), "{begun}");
        let failed = GateReport { verdict: Verdict::Failed, rules: Vec::new() };
        let announcement = Announcement { text: "gate FAILED", annotate_out: true };
        assert_eq!(tell(view(&failed), Some(&path), announcement, &mut Gone).unwrap(), Exit::GateFailed);
        assert!(std::fs::read_to_string(&path).unwrap().contains("<testsuites"));
    }

    #[test]
    fn an_unwritable_file_is_refused_early_and_hides_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(begin_junit(Some(folder.path()), "small").unwrap_err().exit(), Exit::BadRequest);
        let announcement = Announcement { text: "", annotate_out: true };
        let failed = GateReport { verdict: Verdict::Failed, rules: Vec::new() };
        assert_eq!(tell(view(&failed), Some(folder.path()), announcement, &mut Vec::new()).unwrap(), Exit::GateFailed);
        let passed = GateReport { verdict: Verdict::Passed, rules: Vec::new() };
        assert!(tell(view(&passed), Some(folder.path()), announcement, &mut Vec::new()).is_err());
        let unwritable = CiEnvironment { github: true, summary: Some(folder.path().to_owned()) };
        append_summary(view(&passed), &unwritable);
    }

    #[test]
    fn outside_of_github_nothing_is_stated() {
        assert_eq!(CiEnvironment::of(|_| None), CiEnvironment::default());
        assert!(!CiEnvironment::of(|name| (name == "GITHUB_ACTIONS").then(|| "false".into())).github);
    }

    #[test]
    fn the_summary_is_appended_to_what_other_steps_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        std::fs::write(&path, "before\n").unwrap();
        let environment = CiEnvironment { github: true, summary: Some(path.clone()) };
        append_summary(view(&GateReport::of(Vec::new())), &environment);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("before\n### gate inconclusive"), "{text}");
    }
}
