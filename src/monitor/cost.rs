//! Cost of monitoring: CPU time of our thread, and of the server process that answers us.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// CPU seconds of the calling thread, user and system; `None` when the system will not say.
#[cfg(target_os = "linux")]
pub(super) fn thread_cpu_s() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn thread_cpu_s() -> Option<f64> {
    None
}

/// CPU seconds of the server processes that have answered us, as far as they run on this machine.
#[derive(Debug, Default)]
pub(super) struct BackendCpu {
    /// Of those that are gone.
    past_s: f64,
    current: Option<Process>,
    unknown: bool,
}

#[derive(Debug)]
struct Process {
    pid: i32,
    first_s: f64,
    last_s: f64,
}

impl BackendCpu {
    /// We are answered by this process from now on; `local`: whether it runs here.
    pub(super) fn connected(&mut self, pid: i32, local: bool) {
        self.disconnected();
        self.current = cpu_s(pid).filter(|_| local).map(|now| Process { pid, first_s: now, last_s: now });
        self.unknown |= self.current.is_none();
    }

    /// Reads it again: once it is gone nobody can.
    pub(super) fn update(&mut self) {
        if let Some(process) = &mut self.current
            && let Some(now) = cpu_s(process.pid)
        {
            process.last_s = process.last_s.max(now);
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.past_s += self.current.take().map_or(0.0, |it| it.last_s - it.first_s);
    }

    /// All of them; `None` when it is not known of one.
    pub(super) fn total_s(mut self) -> Option<f64> {
        self.update();
        self.disconnected();
        (!self.unknown).then_some(self.past_s)
    }
}

/// CPU time of a server process. A number that is no `postgres` here is a process of another machine or container.
fn cpu_s(pid: i32) -> Option<f64> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if name.trim() != "postgres" {
        return None;
    }
    let times = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    // The first is the time on a CPU, in nanoseconds.
    Some(times.split_whitespace().next()?.parse::<u64>().ok()? as f64 / 1e9)
}
