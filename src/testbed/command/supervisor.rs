//! The supervisor of a service that a scenario's command starts: reads a [`CommandPlan`], starts the command in a process
//! group of its own, reports, and ends it when its own standard input closes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CommandPlan;
use super::group::{GroupError, ProcessGroup};
use super::leftover::ServiceFolder;
use super::log::{LogFile, ServiceLog};

/// The hidden subcommand under which the program is this supervisor.
pub const SUBCOMMAND: &str = "supervise-service";

/// Interval of looking at the command: long, so that watching does not disturb what is measured.
const TICK: Duration = Duration::from_millis(100);

/// Time for the last words of a command that has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Reports of the supervisor: a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CommandReport {
    /// The command's process exists.
    Started {
        /// The process, and the number of its group.
        pid: u32,
    },
    /// It could not be started.
    Failed { reason: String },
    /// It ended by itself.
    Ended {
        status: String,
        /// The last lines that it wrote, oldest first.
        last_lines: Vec<String>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum CommandSupervisorError {
    #[error("reading the command from stdin")]
    Plan(#[source] io::Error),
    #[error("setting the signal handler of the supervisor")]
    Signals(#[source] ctrlc::Error),
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// The run is over.
struct ServiceStop;

/// Runs the supervisor on this process's stdin and stdout, until it is asked to stop or the command has ended.
///
/// # Errors
/// [`CommandSupervisorError`].
pub fn keep() -> Result<(), CommandSupervisorError> {
    let mut stdin = BufReader::new(io::stdin());
    let (sender, orders) = mpsc::channel();
    let on_signal = sender.clone();
    ctrlc::set_handler(move || drop(on_signal.send(ServiceStop))).map_err(CommandSupervisorError::Signals)?;
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(CommandSupervisorError::Plan)?;
    if line.is_empty() {
        return Ok(());
    }
    let plan = serde_json::from_str(&line).map_err(|error| CommandSupervisorError::Plan(error.into()))?;
    listen_for_end(stdin, sender);
    match start(&plan) {
        Ok((group, tail, _folder)) => serve(group, &tail, &orders),
        Err(error) => {
            report(&CommandReport::Failed { reason: error.to_string() });
            Ok(())
        }
    }
}

fn listen_for_end(mut stdin: impl Read + Send + 'static, sender: Sender<ServiceStop>) {
    // The thread is not joined: it may sit in its read when the supervisor ends for another reason.
    thread::spawn(move || {
        let end = io::copy(&mut stdin, &mut io::sink());
        tracing::debug!("the lifeline ended: {end:?}");
        drop(sender.send(ServiceStop));
    });
}

/// Starts the command with nothing to read, and everything it writes in the log.
fn start(plan: &CommandPlan) -> io::Result<(ProcessGroup, ServiceLog, ServiceFolder)> {
    let log = LogFile::create(&plan.log, &plan.secrets)?;
    let (reader, writer) = io::pipe()?;
    ProcessGroup::adopt_orphans();
    let folder = plan.folder.canonicalize()?;
    let (program, arguments) = plan.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program_in(&folder, program));
    let traces = ServiceFolder::create()?;
    let (mark, value) = traces.mark();
    command.args(arguments).envs(&plan.env).env(mark, value).current_dir(&folder).process_group(0);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    // Ours are closed, so that the pipe ends with the last process that writes to it.
    drop(command);
    let group = ProcessGroup::of(&child);
    if let Err(error) = traces.started(&child) {
        // Its processes are found by the mark then.
        tracing::debug!("nothing is written down of the service: {error}");
    }
    Ok((group, log.follow(reader), traces))
}

/// A program with a path is found from the working folder, as a shell there would find it.
fn program_in(folder: &Path, program: &str) -> PathBuf {
    if program.contains('/') { folder.join(program) } else { PathBuf::from(program) }
}

fn serve(
    mut group: ProcessGroup,
    tail: &ServiceLog,
    orders: &Receiver<ServiceStop>,
) -> Result<(), CommandSupervisorError> {
    report(&CommandReport::Started { pid: group.id() });
    loop {
        if let Some(status) = group.leader_ended()? {
            // Anyone who it has left behind writes to the same pipe.
            let stopped = group.stop();
            let last_lines = tail.last_words(LAST_WORDS);
            report(&CommandReport::Ended { status: status_text(status), last_lines });
            return Ok(stopped?);
        }
        match orders.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(ServiceStop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    group.stop()?;
    tail.last_words(LAST_WORDS);
    Ok(())
}

/// `exit status: 1`, or the signal; 0 is stated with what it probably means.
fn status_text(status: ExitStatus) -> String {
    if status.success() && status.signal().is_none() {
        return format!("{status}: it has to stay in the foreground");
    }
    status.to_string()
}

/// Writes a report. A run that is gone cannot read it, and its end arrives by stdin; so a failure is ignored.
fn report(report: &CommandReport) {
    let mut stdout = io::stdout().lock();
    let written = serde_json::to_string(report)
        .map_err(io::Error::from)
        .and_then(|line| writeln!(stdout, "{line}"))
        .and_then(|()| stdout.flush());
    if let Err(error) = written {
        tracing::debug!("nobody reads the supervisor's report: {error}");
    }
}
