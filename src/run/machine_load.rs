//! How busy this machine is while a load runs: whether its processors are the limit, and not what is measured.

use std::sync::{Mutex, PoisonError};

use crate::record::MachineLoad;

/// The first and the last reading of a steady phase.
#[derive(Debug, Default)]
pub(super) struct MachineMeter(Mutex<Option<(Reading, Reading)>>);

/// The kernel's counters at one instant.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Ticks of all cores in which they worked, and all ticks.
    busy: u64,
    all: u64,
    /// Time in which some task waited for a core, in microseconds; `None` where the kernel does not count it.
    stalled_us: Option<u64>,
    at: std::time::Instant,
}

impl MachineMeter {
    /// Reads the counters, which costs some 50 µs.
    pub(super) fn read(&self) {
        let Some(now) = Reading::now() else { return };
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = readings.map_or(now, |(first, _)| first);
        *readings = Some((first, now));
    }

    /// What came of it; `None` with less than two readings.
    pub(super) fn load(&self) -> Option<MachineLoad> {
        let (first, last) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        between(first, last)
    }
}

fn between(first: Reading, last: Reading) -> Option<MachineLoad> {
    let all = last.all.checked_sub(first.all).filter(|ticks| *ticks > 0)?;
    let lasted_us = last.at.duration_since(first.at).as_micros() as f64;
    let stalled_us = last.stalled_us.zip(first.stalled_us).and_then(|(last, first)| last.checked_sub(first));
    Some(MachineLoad {
        busy_ratio: (last.busy.saturating_sub(first.busy) as f64 / all as f64).min(1.0),
        stalled_ratio: stalled_us.map(|it| (it as f64 / lasted_us).min(1.0)),
    })
}

#[cfg(target_os = "linux")]
impl Reading {
    fn now() -> Option<Self> {
        use procfs::{Current, CurrentSI};
        let ticks = procfs::KernelStats::current().ok()?.total;
        let idle = ticks.idle + ticks.iowait.unwrap_or(0);
        let other = [ticks.irq, ticks.softirq, ticks.steal].into_iter().flatten().sum::<u64>();
        let busy = ticks.user + ticks.nice + ticks.system + other;
        let stalled_us = procfs::CpuPressure::current().ok().map(|pressure| pressure.some.total);
        Some(Self { busy, all: busy + idle, stalled_us, at: std::time::Instant::now() })
    }
}

#[cfg(not(target_os = "linux"))]
impl Reading {
    fn now() -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_readings() {
        let at = Instant::now();
        let first = Reading { busy: 100, all: 1000, stalled_us: Some(5), at };
        let last = Reading { busy: 1090, all: 2000, stalled_us: Some(900_005), at: at + Duration::from_secs(1) };
        let load = between(first, last).unwrap();
        assert!((load.busy_ratio - 0.99).abs() < 1e-9 && load.is_limit());
        assert!(load.stalled_ratio.is_some_and(|it| (it - 0.9).abs() < 1e-9));
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
        assert!(meter.load().is_some_and(|load| (0.0..=1.0).contains(&load.busy_ratio)));
    }
}
