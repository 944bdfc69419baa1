//! The supervisor of PostgreSQL, seen from the run: a child, and the pipe whose end is its signal to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::supervisor::{self, StartedServer, SupervisorPlan, SupervisorReport};

/// Reasons why a supervisor gives no server.
#[derive(Debug, thiserror::Error)]
pub enum SupervisionError {
    #[error("starting the supervisor of PostgreSQL, `{}`", .program.display())]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("talking to the supervisor of PostgreSQL")]
    Talk(#[source] io::Error),
    #[error("invalid report of the PostgreSQL supervisor: {line:?}")]
    Gibberish {
        line: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("PostgreSQL supervisor exited without a report ({status})")]
    Gone { status: ExitStatus },
    #[error("no private PostgreSQL: {reason}")]
    Failed {
        /// Error in the supervisor's words, with its causes.
        reason: String,
        /// The last lines of the server's log, oldest first.
        log: Vec<String>,
    },
}

/// Deadline of the supervisor for stopping its children and removing the folder; its own steps add up to 12 s.
const STOP_DEADLINE: Duration = Duration::from_secs(16);

/// The supervisor's process, seen from the run.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    /// Its stdin; `None` once the supervisor was asked to end.
    lifeline: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Supervisor {
    /// Starts the program as a supervisor.
    pub(super) fn spawn(program: &Path) -> Result<Self, SupervisionError> {
        let failed = |source| SupervisionError::Spawn { program: program.to_owned(), source };
        let mut child = Command::new(program)
            .arg(supervisor::SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it has to say it reports; the same on stderr would reach the user twice.
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole foreground group. The supervisor has to survive it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let missing = || failed(io::Error::other("no pipe"));
        let lifeline = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { child, lifeline: Some(lifeline), reports: BufReader::new(stdout).lines() })
    }

    /// Sends the plan.
    pub(super) async fn order(&mut self, plan: &SupervisorPlan) -> Result<(), SupervisionError> {
        let mut line = serde_json::to_vec(plan).map_err(|error| SupervisionError::Talk(error.into()))?;
        line.push(b'\n');
        match &mut self.lifeline {
            Some(lifeline) => lifeline.write_all(&line).await.map_err(SupervisionError::Talk),
            None => Ok(()),
        }
    }

    /// The server that it has started.
    ///
    /// # Cancel safety
    /// Safe: nothing that was read is lost.
    pub(super) async fn started(&mut self) -> Result<StartedServer, SupervisionError> {
        match self.next_report().await? {
            SupervisorReport::Started(server) => Ok(server),
            SupervisorReport::Failed { reason, log } => Err(SupervisionError::Failed { reason, log }),
        }
    }

    async fn next_report(&mut self) -> Result<SupervisorReport, SupervisionError> {
        match self.reports.next_line().await.map_err(SupervisionError::Talk)? {
            Some(line) => serde_json::from_str(&line).map_err(|source| SupervisionError::Gibberish { line, source }),
            None => Err(SupervisionError::Gone { status: self.child.wait().await.map_err(SupervisionError::Talk)? }),
        }
    }

    /// Waits for the supervisor to report that the server is gone.
    ///
    /// # Cancel safety
    /// Safe: nothing that was read is lost.
    pub(super) async fn next_failure(&mut self) -> SupervisionError {
        loop {
            match self.next_report().await {
                Ok(SupervisorReport::Started(_)) => {}
                Ok(SupervisorReport::Failed { reason, log }) => return SupervisionError::Failed { reason, log },
                Err(error) => return error,
            }
        }
    }

    /// Its process; `None` once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets the supervisor end, by force if it takes too long; gives the failure that it reported, if any.
    pub(super) async fn end(&mut self) -> Option<SupervisionError> {
        self.lifeline = None;
        let Ok(last) = timeout(STOP_DEADLINE, self.next_failure()).await else {
            tracing::warn!("the supervisor of PostgreSQL did not end within {STOP_DEADLINE:?}");
            if let Err(error) = self.child.kill().await {
                tracing::warn!("killing the supervisor of PostgreSQL: {error}");
            }
            return None;
        };
        match last {
            SupervisionError::Gone { status } if status.success() => None,
            error => {
                // After its last report the supervisor has yet to end.
                if timeout(STOP_DEADLINE, self.child.wait()).await.is_err() {
                    tracing::warn!(
                        "the supervisor of PostgreSQL did not end within {STOP_DEADLINE:?} of its last report"
                    );
                }
                Some(error)
            }
        }
    }
}
