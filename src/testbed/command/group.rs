//! A command's processes: its group, and anyone who it has left behind.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Signals that end the group, and the time to obey each.
const STEPS: [(Signal, Duration); 2] =
    [(Signal::SIGTERM, Duration::from_secs(10)), (Signal::SIGKILL, Duration::from_secs(2))];

/// Interval of looking at processes that are about to end.
const TICK: Duration = Duration::from_millis(5);

/// Reasons why a group cannot be waited for.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("waiting for the processes of the command")]
    Wait(#[source] Errno),
    #[error("processes of group {group} did not end within {:?} of SIGKILL", STEPS[1].1)]
    Survived { group: Pid },
    #[error("{count} processes that have left the command's group did not end within {:?} of SIGKILL", STEPS[1].1)]
    StraysSurvived { count: usize },
}

/// The processes of a command that was started as the leader of a group.
pub(super) struct ProcessGroup {
    leader: Pid,
    ended: Option<ExitStatus>,
}

impl ProcessGroup {
    /// The group of a child that leads one.
    pub(super) fn of(leader: &Child) -> Self {
        Self { leader: Pid::from_raw(leader.id().cast_signed()), ended: None }
    }

    /// From now on, processes whose parent dies become children of this one, where the system knows of that: so that
    /// one that has left the group is found, and none stays a zombie.
    pub(super) fn adopt_orphans() {
        #[cfg(target_os = "linux")]
        if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
            tracing::debug!("orphans go elsewhere: {error}");
        }
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.leader.as_raw().cast_unsigned()
    }

    /// Exit status of its leader, if it has ended.
    pub(super) fn leader_ended(&mut self) -> Result<Option<ExitStatus>, GroupError> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(self.ended),
                Ok(status) if status.pid() == Some(self.leader) => self.ended = exit_status(status).or(self.ended),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(GroupError::Wait(error)),
            }
        }
    }

    /// Ends all of it, step by step harder, and then anyone who has left it.
    pub(super) fn stop(&mut self) -> Result<(), GroupError> {
        self.stop_by(&STEPS)
    }

    fn stop_by(&mut self, steps: &[(Signal, Duration)]) -> Result<(), GroupError> {
        let mut gone = false;
        for (signal, patience) in steps.iter().copied() {
            gone = self.signalled(signal, patience)?;
            if gone {
                break;
            }
        }
        let strays = self.end_strays();
        if gone { strays } else { Err(GroupError::Survived { group: self.leader }) }
    }

    /// True if the group is gone within `patience` of a signal.
    fn signalled(&mut self, signal: Signal, patience: Duration) -> Result<bool, GroupError> {
        let deadline = Instant::now() + patience;
        // Its leader may be gone while others live: the number is theirs as long as one does.
        let mut sent = killpg(self.leader, signal);
        while sent != Err(Errno::ESRCH) {
            self.leader_ended()?;
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(TICK);
            sent = killpg(self.leader, None);
        }
        Ok(true)
    }

    /// Kills children that are none of the group: those that have left it, and were orphaned by its end.
    fn end_strays(&mut self) -> Result<(), GroupError> {
        let deadline = Instant::now() + STEPS[1].1;
        loop {
            self.leader_ended()?;
            let strays = children();
            if strays.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(GroupError::StraysSurvived { count: strays.len() });
            }
            for stray in strays {
                if let Err(error) = nix::sys::signal::kill(stray, Signal::SIGKILL) {
                    tracing::debug!("killing process {stray}: {error}");
                }
            }
            thread::sleep(TICK);
        }
    }
}

fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    match status {
        WaitStatus::Exited(_, code) => Some(ExitStatus::from_raw(code << 8)),
        WaitStatus::Signaled(_, signal, _) => Some(ExitStatus::from_raw(signal as i32)),
        _ => None,
    }
}

/// The children of this process, where `/proc` tells; none elsewhere.
fn children() -> Vec<Pid> {
    let us = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent_of(*pid).is_ok_and(|parent| parent == Some(us))).map(Pid::from_raw).collect()
}

/// The parent of a process; `None` when it is a zombie.
fn parent_of(pid: i32) -> io::Result<Option<u32>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before the last parenthesis may hold any character.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let (state, parent) = (fields.next(), fields.next());
    Ok(parent.and_then(|it| it.parse().ok()).filter(|_| state != Some("Z")))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "the group waits for it")]
    fn a_group_that_does_not_obey_is_killed_whole() {
        // The shell hands its deafness on to its children.
        let script = "trap '' TERM; sleep 600 & sleep 600 & echo up; wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut text_seen = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut text_seen).unwrap();
        let mut group = ProcessGroup::of(&child);
        let short = [(Signal::SIGTERM, Duration::from_millis(100)), (Signal::SIGKILL, Duration::from_mins(1))];
        group.stop_by(&short).unwrap();
        assert_eq!(killpg(group.leader, None), Err(Errno::ESRCH));
        assert_eq!(group.leader_ended().unwrap().and_then(|status| status.signal()), Some(9));
    }
}
