//! A child process that serves: the program itself, started again with a subcommand.
//!
//! Its settings go in on its standard input, which then stays open: when that closes, for whatever reason, it ends. It
//! has a process group of its own, so that Ctrl-C in a terminal reaches this process only.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gateway_under_test::settings::Listening;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Deadline of a service for saying where it listens.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Time to end once its standard input is closed, before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("cannot start `{program}` as {name}", program = program.display())]
    Spawn {
        name: String,
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot talk to {name}")]
    Talk {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{name} has ended by itself ({status}): {last_words}")]
    Ended {
        name: String,
        status: ExitStatus,
        /// The end of its log.
        last_words: String,
    },
    #[error("{name} did not say where it listens within {} s", START_DEADLINE.as_secs())]
    Silent { name: String },
    #[error("{name} did not report where it listens, but `{line}`")]
    Gibberish { name: String, line: String },
}

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    name: String,
    child: Child,
    lifeline: Option<ChildStdin>,
    listening: Listening,
    log: PathBuf,
}

impl Service {
    /// Starts `program SUBCOMMAND`, hands it its settings, and waits until it says where it listens.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing is left running then.
    pub async fn start(
        program: &Path,
        subcommand: &str,
        name: &str,
        settings: &impl Serialize,
        log: &Path,
    ) -> Result<Self, ServiceError> {
        let spawn_failed = |source| ServiceError::Spawn { name: name.to_owned(), program: program.to_owned(), source };
        let talk_failed = |source| ServiceError::Talk { name: name.to_owned(), source };
        let stderr = std::fs::File::create(log).map_err(spawn_failed)?;
        let mut child = Command::new(program)
            .arg(subcommand)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn_failed)?;
        let no_pipe = || talk_failed(std::io::Error::other("no pipe"));
        let mut lifeline = child.stdin.take().ok_or_else(no_pipe)?;
        let stdout = child.stdout.take().ok_or_else(no_pipe)?;
        let mut line = serde_json::to_vec(settings).map_err(|error| talk_failed(error.into()))?;
        line.push(b'\n');
        lifeline.write_all(&line).await.map_err(talk_failed)?;
        let mut text_seen = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_DEADLINE, text_seen.next_line())
            .await
            .map_err(|_elapsed| ServiceError::Silent { name: name.to_owned() })?;
        let Some(line) = first.map_err(talk_failed)? else {
            let status = child.wait().await.map_err(talk_failed)?;
            return Err(ServiceError::Ended { name: name.to_owned(), status, last_words: last_words(log) });
        };
        let listening = serde_json::from_str(&line)
            .map_err(|_unparsable| ServiceError::Gibberish { name: name.to_owned(), line: line.clone() })?;
        Ok(Self { name: name.to_owned(), child, lifeline: Some(lifeline), listening, log: log.to_owned() })
    }

    /// Address that it serves.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Waits until it has ended by itself, which it should not, and says how.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&mut self) -> ServiceError {
        let name = self.name.clone();
        match self.child.wait().await {
            Ok(status) => ServiceError::Ended { name, status, last_words: last_words(&self.log) },
            Err(source) => ServiceError::Talk { name, source },
        }
    }

    /// Ends it: by closing its standard input, and by force when it takes too long.
    pub async fn stop(&mut self) {
        self.lifeline = None;
        if tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await.is_err() {
            tracing::warn!("{} did not end within {} s and is killed", self.name, STOP_DEADLINE.as_secs());
            if let Err(error) = self.child.kill().await {
                tracing::warn!(%error, "cannot kill {}", self.name);
            }
        }
    }
}

/// The end of a child's log, where it says why it could not go on.
fn last_words(log: &Path) -> String {
    const LINES: usize = 3;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return format!("its log `{}` is empty", log.display());
    }
    let last = lines[lines.len().saturating_sub(LINES)..].join("; ");
    // A child that is this program says `error:` itself.
    last.trim_start_matches("error: ").to_owned()
}
