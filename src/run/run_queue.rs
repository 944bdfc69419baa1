//! Wait of the target, and of the database's backends, for a core of this machine: while a service waits for one, it holds its
//! sessions, and no route is to blame.

use std::collections::{BTreeSet, HashMap};

use super::processes::waited_for_cpu;

/// Reads the kernel's `run_delay` of the processes that serve the target's ports, and of backends.
pub(super) struct RunQueue {
    ports: Vec<u16>,
    last: QueueTimes,
}

/// Nanoseconds by process.
#[derive(Default)]
struct QueueTimes {
    target: HashMap<i32, u64>,
    backends: HashMap<i32, u64>,
}

impl RunQueue {
    /// Begins to count.
    pub(super) fn of(ports: &[u16]) -> Self {
        Self { ports: ports.to_vec(), last: QueueTimes::read(ports) }
    }

    /// Seconds since the last reading, over all threads of the target and of the backends with these process ids; `None` where the
    /// target's processes are unknown, as on another machine.
    pub(super) fn since_last(&mut self, backends: &BTreeSet<i32>) -> Option<f64> {
        let now = QueueTimes::read(&self.ports);
        let before = std::mem::replace(&mut self.last, now);
        if before.target.is_empty() || self.last.target.is_empty() {
            return None;
        }
        let target = more(&before.target, &self.last.target, |_| true);
        let backends = more(&before.backends, &self.last.backends, |pid| backends.contains(&pid));
        Some((target + backends) as f64 / 1e9)
    }
}

impl QueueTimes {
    fn read(ports: &[u16]) -> Self {
        let (target, backends) = waited_for_cpu(ports);
        Self { target, backends }
    }
}

/// Increase over those processes that count. Who was not there before has begun since.
fn more(before: &HashMap<i32, u64>, now: &HashMap<i32, u64>, counts: impl Fn(i32) -> bool) -> u64 {
    let of = |(pid, waited): (&i32, &u64)| waited.saturating_sub(before.get(pid).copied().unwrap_or(0));
    now.iter().filter(|(pid, _)| counts(**pid)).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_there_before_counts_from_its_beginning() {
        let before = HashMap::from([(1, 100), (2, 50), (3, 7)]);
        let now = HashMap::from([(1, 130), (2, 20), (4, 5)]);
        assert_eq!(more(&before, &now, |_| true), 35, "threads that ended take their time with them");
        assert_eq!(more(&before, &now, |pid| pid == 4), 5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_that_compete_for_a_core_wait_for_it() {
        use std::net::TcpListener;
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut queue = RunQueue::of(&[service.local_addr().unwrap().port()]);
        let cores = std::thread::available_parallelism().unwrap().get();
        let compete = || {
            let began = std::time::Instant::now();
            while began.elapsed() < std::time::Duration::from_millis(300) {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..3 * cores {
                scope.spawn(compete);
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
            // Three for each core: together they wait for about two thirds of the time.
            let waited_s = queue.since_last(&BTreeSet::new()).unwrap();
            assert!(waited_s > 0.05 * cores as f64, "{waited_s} s");
        });
        assert_eq!(RunQueue::of(&[1]).since_last(&BTreeSet::new()), None, "nobody listens there");
    }
}
