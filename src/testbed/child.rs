//! A program of the server as the supervisor's child: started, waited for, ended.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Signals that end the server, and the time to obey each: fast shutdown, immediate shutdown, no more asking.
pub(super) const STOP_STEPS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(2)),
    (Signal::SIGQUIT, Duration::from_secs(2)),
    (Signal::SIGKILL, Duration::from_secs(2)),
];

/// The same for `PgBouncer`, whose SIGINT would wait for its clients: shutdown, no more asking.
pub(super) const POOLER_STOP_STEPS: [(Signal, Duration); 2] =
    [(Signal::SIGTERM, Duration::from_secs(2)), (Signal::SIGKILL, Duration::from_secs(2))];

/// Interval of looking at a child that is about to end.
pub(super) const FAST_TICK: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("running `{}`", .program.display())]
    Program {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}`, process {pid}, did not end within {:?} of SIGKILL", .program.display(), STOP_STEPS[2].1)]
    Survived { program: PathBuf, pid: u32 },
}

/// End of a wait for a child.
pub(super) enum ChildEvent {
    Ended(ExitStatus),
    /// The run is over: stdin is closed, or a signal came.
    Stopped,
}

/// The run is over.
pub(super) struct StopSignal;

/// A child that does not outlive this value.
pub(super) struct RunningChild {
    program: PathBuf,
    child: Child,
    stop_steps: &'static [(Signal, Duration)],
}

impl RunningChild {
    /// Starts `command`, its output appended to `log`.
    pub(super) fn start(command: Command, log: &Path) -> Result<Self, ChildError> {
        Self::start_to_stop_by(&STOP_STEPS, command, log)
    }

    /// The same, for a program that is stopped in another way.
    pub(super) fn start_to_stop_by(
        stop_steps: &'static [(Signal, Duration)],
        mut command: Command,
        log: &Path,
    ) -> Result<Self, ChildError> {
        let program = PathBuf::from(command.get_program());
        let start = || {
            let out = File::options().create(true).append(true).open(log)?;
            command.stdout(out.try_clone()?).stderr(out).spawn()
        };
        let failed = |source| ChildError::Program { program: program.clone(), source };
        let child = { start }().map_err(failed)?;
        Ok(Self { program, child, stop_steps })
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends or the run does, looking at it once per `tick`.
    pub(super) fn wait_or_order(
        &mut self,
        orders: &Receiver<StopSignal>,
        tick: Duration,
    ) -> Result<ChildEvent, ChildError> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(ChildEvent::Ended(status));
            }
            match orders.recv_timeout(tick) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(StopSignal) | Err(RecvTimeoutError::Disconnected) => return Ok(ChildEvent::Stopped),
            }
        }
    }

    /// Ends the child, step by step harder, and waits for it.
    pub(super) fn stop(&mut self) -> Result<(), ChildError> {
        for (signal, patience) in self.stop_steps {
            let deadline = Instant::now() + *patience;
            self.send(*signal);
            while Instant::now() < deadline {
                if self.try_wait()?.is_some() {
                    return Ok(());
                }
                thread::sleep(FAST_TICK);
            }
        }
        Err(ChildError::Survived { program: self.program.clone(), pid: self.child.id() })
    }

    /// To the child alone: a server passes it on to its sessions, which are in groups of their own.
    fn send(&self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        // The child was not waited for yet, so the number is still its own.
        if let Err(error) = kill(Pid::from_raw(pid), signal) {
            tracing::warn!("sending {signal} to process {pid}: {error}");
        }
    }

    /// Exit status, if it has ended.
    pub(super) fn try_wait(&mut self) -> Result<Option<ExitStatus>, ChildError> {
        self.child.try_wait().map_err(|source| ChildError::Program { program: self.program.clone(), source })
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        // Reached with a living child only after an error or a panic. Otherwise `try_wait` repeats the status.
        if matches!(self.child.try_wait(), Ok(None))
            && let Err(error) = self.stop()
        {
            tracing::warn!("stopping `{}`: {error}", self.program.display());
        }
    }
}
