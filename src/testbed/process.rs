//! Identifies processes that this program started, also after their number was given to another one.

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Beginning of a supervisor's folder's name; its process number follows.
pub(super) const FOLDER_PREFIX: &str = "rbac-bench-";

/// The file in it that says who that was.
pub(super) const OWNER_FILE: &str = "owner.pid";

/// Time for a leftover process to obey a signal.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// The words of a process's command line; `None` when there is no such process.
pub(super) fn command_line(pid: i32) -> Option<Vec<String>> {
    if let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) {
        return Some(line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect());
    }
    // Where there is no /proc. Our paths hold no spaces unless the temporary folder's does; then it is not found.
    let output = process::Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| line.split_whitespace().map(str::to_owned).collect())
}

/// `signal`, and SIGKILL if that does not help.
pub(super) fn stop(process: Pid, signal: Signal) {
    for signal in [signal, Signal::SIGKILL] {
        let sent = kill(process, signal);
        let deadline = Instant::now() + PATIENCE;
        while sent.is_ok() && Instant::now() < deadline {
            if !process_exists(process) {
                return;
            }
            thread::sleep(POLL);
        }
    }
}

pub(super) fn process_exists(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH) && !matches!(ProcessStat::of(pid), Some(ProcessStat { ended: true, .. }))
}

/// The process that a folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderOwner {
    pub(super) pid: Pid,
    /// Clock ticks from boot to the start of the process; `None` where the system does not tell.
    pub(super) started: Option<u64>,
}

impl FolderOwner {
    pub(super) fn of_this_process() -> Self {
        let pid = Pid::this();
        Self { pid, started: ProcessStat::of(pid).map(|stat| stat.started) }
    }

    /// The owner of a cluster's folder; `None` when the folder has no name of ours.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let named = Self::from_name(folder.file_name()?.to_str()?)?;
        let written = fs::read_to_string(folder.join(OWNER_FILE)).ok();
        Some(written.and_then(|line| Self::from_line(&line)).unwrap_or(named))
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        let (pid, random) = name.strip_prefix(FOLDER_PREFIX)?.split_once('-')?;
        let is_ours = random.len() == 8 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then_some(Self { pid: parse_pid(pid)?, started: None })
    }

    pub(super) fn to_line(self) -> String {
        match self.started {
            Some(started) => format!("{} {started}\n", self.pid),
            None => format!("{}\n", self.pid),
        }
    }

    pub(super) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        Some(Self { pid: parse_pid(words.next()?)?, started: words.next().and_then(|word| word.parse().ok()) })
    }

    /// In doubt a process is alive: a folder too many does less harm than a server without its files.
    pub(super) fn is_alive(self) -> bool {
        let same = match (self.started, ProcessStat::of(self.pid)) {
            (Some(started), Some(stat)) => stat.started == started,
            _ => true,
        };
        same && process_exists(self.pid)
    }
}

pub(super) fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw)
}

/// Fields of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessStat {
    /// Dead, only its parent has not asked for its status yet.
    pub(super) ended: bool,
    /// Field 22: clock ticks from boot to its start.
    pub(super) started: u64,
    /// Field 5: its process group.
    pub(super) group: i32,
}

impl ProcessStat {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the name in brackets, and may hold spaces and brackets itself.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        let group = fields.nth(1)?.parse().ok()?;
        Some(Self { ended, started: fields.nth(16)?.parse().ok()?, group })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_last_bracket() {
        let line = "7 (a) b) c) Z 1 8 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(ProcessStat::parse(line), Some(ProcessStat { ended: true, started: 4711, group: 8 }));
        assert_eq!(ProcessStat::parse("7 (a"), None);
    }
}
