//! Load of this machine while a load runs: are its processors the limit, and not what is measured?

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::record::MachineLoad;
use crate::stats::LatencyHistogram;

/// The first and the last reading of a steady phase, and how late the load generator was in it.
#[derive(Debug, Default)]
pub(super) struct MachineMeter(Mutex<LoadMeasurement>);

#[derive(Debug, Default)]
struct LoadMeasurement {
    readings: Option<(KernelCounters, KernelCounters)>,
    lag: LatencyHistogram,
}

/// The kernel's counters at one instant.
#[derive(Clone, Copy, Debug)]
struct KernelCounters {
    /// Ticks in which the cores worked that we may use, and all their ticks.
    busy: u64,
    all: u64,
    /// Time in which some task waited for a core, in microseconds; `None` where the kernel does not count it.
    stalled_us: Option<u64>,
    /// Wait of our threads for a core, in nanoseconds, and the number of times that they ran; `None` as before.
    waited: Option<(u64, u64)>,
    /// Throttled time of the control group, in microseconds; `None` without a limit.
    throttled_us: Option<u64>,
    at: Instant,
}

impl MachineMeter {
    /// Takes how much later than planned the load generator did something.
    pub(super) fn late(&self, by: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lag.record(by);
    }

    /// Reads the counters, which costs some 100 µs.
    pub(super) fn read(&self) {
        let Some(now) = KernelCounters::now() else { return };
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = measured.readings.map_or(now, |(first, _)| first);
        measured.readings = Some((first, now));
    }

    /// Load between the readings; `None` with less than two.
    pub(super) fn load(&self) -> Option<MachineLoad> {
        let measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = measured.readings?;
        let load = between(first, last)?;
        Some(MachineLoad { generator_lag_p99_ms: measured.lag.quantile_ms(0.99), ..load })
    }
}

fn between(first: KernelCounters, last: KernelCounters) -> Option<MachineLoad> {
    let all = last.all.checked_sub(first.all).filter(|ticks| *ticks > 0)?;
    let lasted_us = last.at.duration_since(first.at).as_micros() as f64;
    let stalled_us = last.stalled_us.zip(first.stalled_us).and_then(|(last, first)| last.checked_sub(first));
    let throttled_us = last.throttled_us.zip(first.throttled_us).and_then(|(last, first)| last.checked_sub(first));
    let waited = last.waited.zip(first.waited).and_then(|(last, first)| {
        // Threads that have ended take their counts with them.
        let (waited_ns, runs) = (last.0.checked_sub(first.0)?, last.1.checked_sub(first.1)?);
        (runs > 0).then(|| waited_ns as f64 / runs as f64 / 1e6)
    });
    Some(MachineLoad {
        busy_ratio: (last.busy.saturating_sub(first.busy) as f64 / all as f64).min(1.0),
        stalled_ratio: stalled_us.map(|it| (it as f64 / lasted_us).min(1.0)),
        run_queue_delay_ms: waited,
        throttled_ratio: throttled_us.map(|it| it as f64 / lasted_us),
        generator_lag_p99_ms: None,
    })
}

#[cfg(target_os = "linux")]
impl KernelCounters {
    fn now() -> Option<Self> {
        use procfs::{Current, CurrentSI};
        let cores = procfs::KernelStats::current().ok()?.cpu_time;
        let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok();
        let is_ours = |core: usize| allowed.is_none_or(|set| set.is_set(core).unwrap_or(false));
        let (mut busy, mut all) = (0, 0);
        for (_, ticks) in cores.iter().enumerate().filter(|(core, _)| is_ours(*core)) {
            let idle = ticks.idle + ticks.iowait.unwrap_or(0);
            let other = [ticks.irq, ticks.softirq, ticks.steal].into_iter().flatten().sum::<u64>();
            let working = ticks.user + ticks.nice + ticks.system + other;
            busy += working;
            all += working + idle;
        }
        let stalled_us = procfs::CpuPressure::current().ok().map(|pressure| pressure.some.total);
        Some(Self { busy, all, stalled_us, waited: waited(), throttled_us: throttled_us(), at: Instant::now() })
    }
}

/// Wait of the threads of this process for a core, in nanoseconds, and the number of times that they ran.
#[cfg(target_os = "linux")]
fn waited() -> Option<(u64, u64)> {
    let tasks = procfs::process::Process::myself().and_then(|it| it.tasks()).ok()?;
    let each = tasks.flatten().filter_map(|task| task.schedstat().ok());
    let (waited_ns, runs) = each.fold((0, 0), |(waited, runs), it| (waited + it.run_delay, runs + it.pcount));
    (runs > 0).then_some((waited_ns, runs))
}

/// Throttled time of the control group (version 2) of this process, in microseconds.
#[cfg(target_os = "linux")]
fn throttled_us() -> Option<u64> {
    let groups = procfs::process::Process::myself().and_then(|it| it.cgroups()).ok()?;
    let group = groups.into_iter().find(|group| group.hierarchy == 0)?;
    let path = std::path::Path::new("/sys/fs/cgroup").join(group.pathname.trim_start_matches('/')).join("cpu.stat");
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("throttled_usec ")).and_then(|count| count.trim().parse().ok())
}

#[cfg(not(target_os = "linux"))]
impl KernelCounters {
    fn now() -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_readings() {
        let at = Instant::now();
        let first =
            KernelCounters { busy: 100, all: 1000, stalled_us: Some(5), waited: Some((0, 0)), throttled_us: None, at };
        let second = at + Duration::from_secs(1);
        let waited = Some((9_000_000, 3));
        let last =
            KernelCounters { busy: 1090, all: 2000, stalled_us: Some(900_005), waited, throttled_us: None, at: second };
        let load = between(first, last).expect("a second lies between them");
        assert!((load.busy_ratio - 0.99).abs() < 1e-9 && load.is_limit(), "{load:?}");
        assert!(load.stalled_ratio.is_some_and(|it| (it - 0.9).abs() < 1e-9), "{load:?}");
        assert!(load.run_queue_delay_ms.is_some_and(|it| (it - 3.0).abs() < 1e-9), "{load:?}");
        let quick = KernelCounters { waited: Some((900_000, 3)), ..last };
        assert!(!between(first, quick).expect("the same").is_limit(), "busy, and nobody waits");
        let [idle, throttled] = [0, 100_000].map(|us| KernelCounters { busy: 100, throttled_us: Some(us), ..last });
        assert!(
            between(KernelCounters { throttled_us: Some(0), ..first }, throttled).is_some_and(MachineLoad::is_limit)
        );
        assert!(!between(KernelCounters { throttled_us: Some(0), ..first }, idle).is_some_and(MachineLoad::is_limit));
        assert_eq!(between(first, first), None, "no time between them");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_how_busy_it_is() {
        let meter = MachineMeter::default();
        assert_eq!(meter.load(), None);
        let deadline = Instant::now() + Duration::from_secs(30);
        while meter.load().is_none() {
            meter.read();
            assert!(Instant::now() < deadline, "the kernel's ticks stand still");
        }
        let load = meter.load().expect("it has just been there");
        assert!((0.0..=1.0).contains(&load.busy_ratio), "{load:?}");
    }
}
