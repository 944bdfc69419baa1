//! Gauges of a replica, readable from outside its event loops.
//!
//! Plain atomics, written by the workers and read by the thread that answers `/metrics/prometheus`: a frozen loop
//! cannot say that it is frozen, so nobody asks it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::db::{PoolGauges, WAIT_BOUNDS_S};
use crate::settings::SessionScope;

#[derive(Debug)]
pub struct WorkerGauges {
    pub pool: Arc<PoolGauges>,
    /// Requests that its handlers are working on, those included whose client has gone.
    pub handlers: AtomicU64,
    /// Requests whose client had gone when the answer was ready, since the start.
    pub orphaned: AtomicU64,
    /// When the event loop last took its turn, in microseconds after `born`.
    beat: AtomicU64,
    born: Instant,
}

impl Default for WorkerGauges {
    fn default() -> Self {
        Self {
            pool: Arc::default(),
            handlers: AtomicU64::new(0),
            orphaned: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            born: Instant::now(),
        }
    }
}

impl WorkerGauges {
    /// Says that the event loop is alive.
    pub(crate) fn beat(&self) {
        self.beat.store(u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Time since the event loop's last turn; about [`BEAT_INTERVAL`] at most when it is free.
    #[must_use]
    pub fn stalled_for(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_micros(self.beat.load(Ordering::Relaxed)))
    }
}

/// Interval of a free event loop's heartbeat.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct ReplicaGauges {
    name: String,
    scope: SessionScope,
    workers: Vec<Arc<WorkerGauges>>,
    /// Error counts by text.
    errors: Mutex<BTreeMap<String, u64>>,
}

/// Different error texts that are kept apart; later ones are counted together, so that a text with a changing part
/// cannot fill the memory.
const ERROR_TEXTS_MAX: usize = 64;

impl ReplicaGauges {
    /// Gauges of a replica with `workers` workers, whose sessions are of this scope.
    #[must_use]
    pub fn new(name: &str, workers: u32, scope: SessionScope) -> Self {
        let workers = (0..workers).map(|_| Arc::default()).collect();
        Self { name: name.to_owned(), scope, workers, errors: Mutex::default() }
    }

    /// The gauges of worker `index`.
    #[must_use]
    pub fn worker(&self, index: usize) -> Arc<WorkerGauges> {
        Arc::clone(&self.workers[index])
    }

    /// Counts an error that the gateway raised.
    pub fn record_error(&self, text: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let room = errors.len() < ERROR_TEXTS_MAX || errors.contains_key(text);
        *errors.entry(if room { text } else { "(other errors)" }.to_owned()).or_default() += 1;
    }

    /// The gauges as Prometheus text, under OpenTelemetry's names where it has any.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = String::with_capacity(4096);
        for (name, kind, help, value) in POOL_METRICS {
            header(&mut text, name, kind, help);
            for (index, worker) in self.workers.iter().enumerate() {
                value(&mut text, name, &format!("{}/worker-{}", self.name, index + 1), &worker.pool);
            }
        }
        for (name, kind, help, value) in WORKER_METRICS {
            header(&mut text, name, kind, help);
            for (index, worker) in self.workers.iter().enumerate() {
                line(&mut text, name, &[("worker", &format!("{}/worker-{}", self.name, index + 1))], value(worker));
            }
        }
        header(
            &mut text,
            "gateway_session_scope_info",
            "gauge",
            "How its requests hold sessions, and the pattern of it",
        );
        let pattern = self.scope.pattern().unwrap_or_default();
        line(&mut text, "gateway_session_scope_info", &[("scope", self.scope.name()), ("pattern", pattern)], 1.0);
        header(&mut text, "gateway_errors_total", "counter", "Errors raised, by text");
        for (error, count) in &*self.errors.lock().unwrap_or_else(PoisonError::into_inner) {
            line(&mut text, "gateway_errors_total", &[("text", error)], *count as f64);
        }
        text
    }
}

type PoolMetric = (&'static str, &'static str, &'static str, fn(&mut String, &str, &str, &PoolGauges));
type WorkerMetric = (&'static str, &'static str, &'static str, fn(&WorkerGauges) -> f64);

/// OpenTelemetry's semantic conventions for database client pools, in Prometheus' spelling.
const POOL_METRICS: [PoolMetric; 7] = [
    ("db_client_connection_count", "gauge", "Connections by state", |text, name, pool, gauges| {
        for (state, value) in [("used", &gauges.checked_out), ("idle", &gauges.checked_in)] {
            line(text, name, &[(POOL, pool), ("db_client_connection_state", state)], load(value));
        }
    }),
    ("db_client_connection_max", "gauge", "Connections that may exist", |text, name, pool, gauges| {
        line(text, name, &[(POOL, pool)], load(&gauges.max));
    }),
    ("db_client_connection_pending_requests", "gauge", "Checkouts that wait", |text, name, pool, gauges| {
        line(text, name, &[(POOL, pool)], load(&gauges.waiters));
    }),
    ("db_client_connection_timeouts_total", "counter", "Checkouts that gave up", |text, name, pool, gauges| {
        line(text, name, &[(POOL, pool)], load(&gauges.timeouts));
    }),
    (
        "db_client_connection_wait_time_seconds",
        "histogram",
        "Time that checkouts waited",
        |text, name, pool, gauges| {
            let (bucket, counts) = (format!("{name}_bucket"), gauges.waits.cumulative());
            let bounds = WAIT_BOUNDS_S.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(counts) {
                line(text, &bucket, &[(POOL, pool), ("le", &bound)], count as f64);
            }
            line(text, &format!("{name}_sum"), &[(POOL, pool)], gauges.waits.sum().as_secs_f64());
            line(text, &format!("{name}_count"), &[(POOL, pool)], counts[WAIT_BOUNDS_S.len()] as f64);
        },
    ),
    // Not OpenTelemetry's: the truth that an instrument outside can be checked against.
    (
        "gateway_session_held_seconds_total",
        "counter",
        "Time that sessions had a connection",
        |text, name, pool, gauges| {
            line(text, name, &[(POOL, pool)], gauges.holds.held().as_secs_f64());
        },
    ),
    (
        "gateway_session_idle_in_transaction_seconds_total",
        "counter",
        "Of it, idle in a transaction",
        |text, name, pool, gauges| {
            line(text, name, &[(POOL, pool)], gauges.holds.idle_in_transaction().as_secs_f64());
        },
    ),
];

const POOL: &str = "db_client_connection_pool_name";

const WORKER_METRICS: [WorkerMetric; 3] = [
    ("gateway_handlers", "gauge", "Requests being handled", |worker| load(&worker.handlers)),
    ("gateway_orphaned_total", "counter", "Answers whose client had gone", |worker| load(&worker.orphaned)),
    ("gateway_event_loop_stalled_seconds", "gauge", "Time since the event loop took its turn", |worker| {
        worker.stalled_for().as_secs_f64()
    }),
];

fn load(value: &AtomicU64) -> f64 {
    value.load(Ordering::Relaxed) as f64
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| {
            format!("{label}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        })
        .collect();
    let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
}
