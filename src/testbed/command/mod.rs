//! An external service that the run starts: the command of a scenario, held by a supervisor of its own.
//!
//! The supervisor is this program again, in a process group of its own, with a pipe as its lifeline: the system closes that
//! when the run ends, in whatever way, and the supervisor ends the command with its whole process group. If the supervisor itself
//! is killed, its run ends the service; otherwise the next start does (`leftover`). What the command writes goes into a `log` that has a bound and
//! holds no secret that is known.

mod group;
pub(in crate::testbed) mod leftover;
mod log;
pub mod supervisor;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use supervisor::{CommandReport, SUBCOMMAND};

/// Deadline of the supervisor for ending the command: its own steps add up to less.
const STOP_DEADLINE: Duration = Duration::from_secs(17);

/// Deadline of the supervisor for starting the command's process.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Order to a supervisor: one line of JSON on its standard input.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPlan {
    pub words: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    pub folder: PathBuf,
    /// File for its output.
    pub log: PathBuf,
    /// Secrets that are redacted there.
    pub secrets: Vec<String>,
}

impl fmt::Debug for CommandPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandPlan").field("words", &self.words).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Reasons why the command of a scenario does not run.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot start this program as the supervisor of the service")]
    Supervisor(#[source] std::io::Error),
    #[error("cannot talk to the supervisor of the service")]
    Talk(#[source] std::io::Error),
    #[error("cannot start `{command}` in `{}`: {reason}", folder.display())]
    Start { command: String, folder: PathBuf, reason: String },
    #[error("the supervisor of the service did not start `{command}` within {START_DEADLINE:?}")]
    SupervisorSilent { command: String },
    #[error("the service, `{command}`, has ended by itself ({status}); {}", last_words(last_lines))]
    Ended {
        command: String,
        status: String,
        /// The last lines that it wrote, oldest first.
        last_lines: Vec<String>,
    },
    #[error("service supervisor died: `{command}` may still be running")]
    SupervisorGone { command: String },
}

impl CommandError {
    /// True if the request itself is invalid.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Start { .. })
    }
}

/// The last lines of a service, for the end of a sentence.
pub fn last_words(last_lines: &[String]) -> String {
    if last_lines.is_empty() {
        "it wrote nothing".to_owned()
    } else {
        format!("its last lines: {}", last_lines.join("\n  | "))
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct StartedCommand {
    command: String,
    supervisor: Child,
    /// The supervisor's standard input; `None` once it was asked to end.
    lifeline: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl StartedCommand {
    /// Starts it; that its process exists is all that is known then. `None` when `stop` came before that.
    ///
    /// # Errors
    /// [`CommandError`]; nothing is left running then.
    pub async fn start(plan: &CommandPlan, stop: &CancellationToken) -> Result<Option<Self>, CommandError> {
        let mut started = Self::supervisor(plan)?;
        let asked = stop.run_until_cancelled(timeout(START_DEADLINE, started.ask(plan))).await;
        let command = started.command.clone();
        let error = match asked {
            Some(Ok(Ok(Some(CommandReport::Started { .. })))) => return Ok(Some(started)),
            Some(Ok(Ok(Some(CommandReport::Failed { reason })))) => {
                Some(CommandError::Start { command, folder: plan.folder.clone(), reason })
            }
            Some(Ok(Ok(Some(CommandReport::Ended { .. }) | None))) => Some(CommandError::SupervisorGone { command }),
            Some(Ok(Err(error))) => Some(error),
            Some(Err(_elapsed)) => Some(CommandError::SupervisorSilent { command }),
            None => None,
        };
        started.stop().await;
        error.map_or(Ok(None), Err)
    }

    /// A supervisor that has received nothing yet.
    fn supervisor(plan: &CommandPlan) -> Result<Self, CommandError> {
        let program = std::env::current_exe().map_err(CommandError::Supervisor)?;
        let mut supervisor = Command::new(program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it has to say it reports.
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole foreground group. The supervisor has to survive it.
            .process_group(0)
            .spawn()
            .map_err(CommandError::Supervisor)?;
        let missing = || CommandError::Supervisor(std::io::Error::other("no pipe"));
        let lifeline = supervisor.stdin.take().ok_or_else(missing)?;
        let stdout = supervisor.stdout.take().ok_or_else(missing)?;
        let command = shown(&plan.words);
        let reports = BufReader::new(stdout).lines();
        Ok(Self { command, supervisor, lifeline: Some(lifeline), reports, log: plan.log.clone() })
    }

    /// Tells the supervisor what to start, and hears what became of it.
    async fn ask(&mut self, plan: &CommandPlan) -> Result<Option<CommandReport>, CommandError> {
        let mut line = serde_json::to_vec(plan).map_err(|error| CommandError::Talk(error.into()))?;
        line.push(b'\n');
        if let Some(lifeline) = &mut self.lifeline {
            lifeline.write_all(&line).await.map_err(CommandError::Talk)?;
        }
        self.report().await
    }

    /// Waits until it has ended by itself, which it should not, and says how.
    ///
    /// # Cancel safety
    /// Safe: nothing that was read is lost.
    pub async fn ended(&mut self) -> CommandError {
        let command = self.command.clone();
        match self.report().await {
            Ok(Some(CommandReport::Ended { status, last_lines })) => {
                CommandError::Ended { command, status, last_lines }
            }
            Ok(_) => CommandError::SupervisorGone { command },
            Err(error) => error,
        }
    }

    async fn report(&mut self) -> Result<Option<CommandReport>, CommandError> {
        let line = self.reports.next_line().await.map_err(CommandError::Talk)?;
        line.map(|line| serde_json::from_str(&line)).transpose().map_err(|error| CommandError::Talk(error.into()))
    }

    /// The program and its arguments, as a shell would read them.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The last lines that it wrote so far, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        log::tail(&self.log)
    }

    /// Ends it, with its whole process group.
    pub async fn stop(mut self) {
        self.lifeline = None;
        match timeout(STOP_DEADLINE, self.supervisor.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(ended) => {
                tracing::debug!("the supervisor of `{}` has ended before its time: {ended:?}", self.command);
                super::sweep_leftovers().await;
            }
            Err(_elapsed) => {
                tracing::warn!(
                    "the supervisor of `{}` did not end within {STOP_DEADLINE:?} and is killed",
                    self.command
                );
                if let Err(error) = self.supervisor.kill().await {
                    tracing::warn!("killing the supervisor of `{}`: {error}", self.command);
                }
                super::sweep_leftovers().await;
            }
        }
    }
}

/// The words with quotes where a shell needs them.
pub fn shown(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter))
    };
    let quoted = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The file in a run folder to which the service of a variant writes.
pub fn log_file(folder: &Path, variant: &str) -> PathBuf {
    folder.join(format!("service.{variant}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_as_a_shell_would_read_them() {
        let words = ["serve", "--name", "my shop", "", "it's"].map(str::to_owned);
        assert_eq!(shown(&words), r"serve --name 'my shop' '' 'it'\''s'");
    }

    #[test]
    fn a_plan_goes_through_the_pipe_whole_and_shows_no_secret() {
        let plan = CommandPlan {
            words: vec!["serve".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "line\nbreak".to_owned())]),
            folder: PathBuf::from("."),
            log: PathBuf::from("log"),
            secrets: vec!["s3cret".to_owned()],
        };
        let line = serde_json::to_string(&plan).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<CommandPlan>(&line).unwrap(), plan);
        assert!(!format!("{plan:?}").contains("s3cret"));
    }
}
