//! Trace of a service that a supervisor starts, so that a later run finds and ends it when both supervisor and run
//! were killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::testbed::folder::{owned_folder, remove};
use crate::testbed::process::{ProcessStat, command_line, process_exists};

/// The variable that every process of the service inherits; its value is the name of the supervisor's folder.
const MARK: &str = "RBAC_BENCH_SERVICE";

const FILE: &str = "service.json";

/// Signals that end leftover processes, and the time to obey each.
const STEPS: [(Signal, Duration); 2] =
    [(Signal::SIGTERM, Duration::from_secs(5)), (Signal::SIGKILL, Duration::from_secs(2))];
const POLL: Duration = Duration::from_millis(10);

/// The folder of a supervisor of a service. Removed when dropped.
#[derive(Debug)]
pub(super) struct ServiceFolder {
    path: PathBuf,
}

/// Identifies the processes of a service.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ServiceTrace {
    /// This boot of the machine, in which process numbers and start times mean something; `None` where it has no name.
    boot: Option<String>,
    /// The value of [`MARK`].
    mark: String,
    /// The first process, which leads the group; `None` before it is there.
    leader: Option<i32>,
    /// Its start time in clock ticks since boot; `None` where the system does not tell.
    started: Option<u64>,
    command: Vec<String>,
}

impl ServiceFolder {
    /// Makes the folder, before the service is started.
    pub(super) fn create() -> io::Result<Self> {
        let place = std::env::temp_dir();
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("the temporary folder `{}`: {error}", place.display()))
        };
        let folder = Self { path: owned_folder(&place).map_err(failed)? };
        folder.write(&folder.trace()).map_err(failed)?;
        Ok(folder)
    }

    /// The variable for the service's environment.
    pub(super) fn mark(&self) -> (&'static str, String) {
        (MARK, self.trace().mark)
    }

    /// Takes down who the service is.
    pub(super) fn started(&self, leader: &Child) -> io::Result<()> {
        let pid = leader.id().cast_signed();
        let started = ProcessStat::of(Pid::from_raw(pid)).map(|stat| stat.started);
        let command = command_line(pid).unwrap_or_default();
        self.write(&ServiceTrace { leader: Some(pid), started, command, ..self.trace() })
    }

    fn trace(&self) -> ServiceTrace {
        let mark = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ServiceTrace { boot: boot(), mark, ..ServiceTrace::default() }
    }

    fn write(&self, trace: &ServiceTrace) -> io::Result<()> {
        let partial = self.path.join("service.partial");
        fs::write(&partial, serde_json::to_vec(trace)?)?;
        fs::rename(partial, self.path.join(FILE))
    }
}

impl Drop for ServiceFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::debug!("removing `{}`: {error}", self.path.display());
        }
    }
}

/// Ends the processes of a service whose supervisor has left this folder, if it is one of a service; false when some are left.
pub(in crate::testbed) fn stop(folder: &Path) -> bool {
    let trace = fs::read(folder.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    trace.is_none_or(|trace| stop_traced(&trace))
}

fn stop_traced(trace: &ServiceTrace) -> bool {
    if trace.boot != boot() {
        return true;
    }
    for (signal, patience) in STEPS {
        let deadline = Instant::now() + patience;
        let mut signalled = Vec::new();
        loop {
            let left = processes(trace);
            if left.is_empty() {
                return true;
            }
            // Also those that have come meanwhile.
            for pid in left.into_iter().filter(|pid| !signalled.contains(pid)).collect::<Vec<_>>() {
                signalled.push(pid);
                if let Err(error) = kill(pid, signal) {
                    tracing::debug!("process {pid} of a service that was left running: {error}");
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(POLL);
        }
    }
    let left: Vec<String> = processes(trace).iter().map(ToString::to_string).collect();
    tracing::warn!("processes of a service that an earlier run left running do not end: {}", left.join(", "));
    left.is_empty()
}

/// The processes of a service that run.
fn processes(trace: &ServiceTrace) -> Vec<Pid> {
    let us = Pid::this();
    let Ok(entries) = fs::read_dir("/proc") else { return without_proc(trace) };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()).map(Pid::from_raw);
    pids.filter(|pid| *pid != us && is_of(trace, *pid) && process_exists(*pid)).collect()
}

/// True if a process is the first of the service, has inherited its mark, or is of its group and younger than it. A group
/// number is reused only when the group has no process left; then its leader has another start time.
fn is_of(trace: &ServiceTrace, pid: Pid) -> bool {
    let Some(stat) = ProcessStat::of(pid) else { return false };
    let mark = format!("{MARK}={}", trace.mark);
    let marked = || {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let (Some(leader), Some(started)) = (trace.leader, trace.started) else { return marked() };
    if pid.as_raw() == leader {
        return stat.started == started;
    }
    let of_group = || {
        let leads = ProcessStat::of(Pid::from_raw(leader));
        stat.group == leader && stat.started >= started && leads.is_none_or(|it| it.started == started)
    };
    of_group() || marked()
}

/// The first process, by its number and command line, where no `/proc` tells more.
fn without_proc(trace: &ServiceTrace) -> Vec<Pid> {
    let same = |pid: &i32| !trace.command.is_empty() && command_line(*pid).as_ref() == Some(&trace.command);
    trace.leader.filter(same).map(Pid::from_raw).into_iter().collect()
}

/// This boot of the machine.
fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    fn started(folder: &ServiceFolder, marked: bool) -> Child {
        let mut command = Command::new("sleep");
        command.arg("600").process_group(0);
        if marked {
            let (name, value) = folder.mark();
            command.env(name, value);
        }
        command.spawn().unwrap()
    }

    fn trace(folder: &ServiceFolder) -> ServiceTrace {
        serde_json::from_slice(&fs::read(folder.path.join(FILE)).unwrap()).unwrap()
    }

    /// Waits for a child, so that it is no zombie, and says whether it was ended by a signal.
    fn was_ended(mut child: Child) -> bool {
        let ended = child.try_wait().unwrap().is_some();
        drop(child.kill());
        child.wait().unwrap();
        ended
    }

    #[test]
    fn a_service_and_what_left_its_group_end_and_bystanders_do_not() {
        let folder = ServiceFolder::create().unwrap();
        let (leader, stray, bystander) = (started(&folder, false), started(&folder, true), started(&folder, false));
        folder.started(&leader).unwrap();
        assert!(stop(&folder.path));
        assert!(was_ended(leader) && was_ended(stray) && !was_ended(bystander));
    }

    #[test]
    fn a_process_with_a_reused_pid_is_not_the_services() {
        let folder = ServiceFolder::create().unwrap();
        let later = started(&folder, false);
        folder.started(&later).unwrap();
        let earlier = ServiceTrace { started: trace(&folder).started.map(|it| it - 1), ..trace(&folder) };
        folder.write(&earlier).unwrap();
        stop(&folder.path);
        let other_boot = ServiceTrace { boot: Some("another".to_owned()), ..trace(&folder) };
        stop_traced(&ServiceTrace { started: trace(&folder).started.map(|it| it + 1), ..other_boot });
        assert!(!was_ended(later));
    }
}
