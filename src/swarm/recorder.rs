//! Results of the requests: counts, latencies by route, error texts.
//!
//! Users write to one of a few shards, chosen by their number, so that two threads rarely want the same lock; readers
//! merge the shards. A histogram is made when its route is first seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Phase;
use super::outcome::RequestOutcome;
use crate::record::summary::RequestTotals;
use crate::record::{ErrorRecord, RouteRecord, SeenBy, WindowLatency};
use crate::stats::LatencyHistogram;

/// Two threads run the users on the machines this is made for; more shards only cost memory.
const SHARDS: usize = 2;

/// Different error texts that are kept apart.
const ERROR_TEXTS_MAX: usize = 256;

/// Collects outcomes.
#[derive(Debug)]
pub struct Recorder {
    finished: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    cut_off: AtomicU64,
    /// Age of the oldest of those, in microseconds.
    cut_off_oldest: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
    labels: Arc<[String]>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Steady phase, by the route's place among the labels.
    steady: BTreeMap<usize, RequestTotals>,
    errors: BTreeMap<String, u64>,
    /// Latencies since the window was last taken.
    window: LatencyHistogram,
}

impl Recorder {
    pub(super) fn new(labels: Arc<[String]>) -> Self {
        Self {
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            cut_off_oldest: AtomicU64::new(0),
            shards: Default::default(),
            labels,
        }
    }

    /// Counts a request that ended in `phase`. One that ends after the steady phase is cut off, whatever it says:
    /// the end of the load has touched it.
    pub(super) fn record(&self, user: u32, route: usize, phase: Phase, latency: Duration, outcome: RequestOutcome) {
        let given_up = matches!(outcome, RequestOutcome::NoAnswer(_)) && phase != Phase::RampDown;
        self.given_up.fetch_add(u64::from(given_up), Ordering::Relaxed);
        let failure = match outcome {
            _ if phase == Phase::RampDown => return self.cut_off(latency),
            RequestOutcome::CutOff => return self.cut_off(latency),
            RequestOutcome::Success => None,
            RequestOutcome::Failure(text) | RequestOutcome::NoAnswer(text) => Some(text),
        };
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
        let mut shard = self.shards[user as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        shard.window.record(latency);
        if phase == Phase::Steady {
            let totals = shard.steady.entry(route).or_default();
            totals.finished += 1;
            totals.failed += u64::from(failure.is_some());
            totals.latency.record(latency);
        }
        if let Some(text) = failure {
            shard.count_error(text);
        }
    }

    fn cut_off(&self, age: Duration) {
        self.cut_off.fetch_add(1, Ordering::Relaxed);
        self.cut_off_oldest.fetch_max(u64::try_from(age.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Requests finished, and failed of those, since the load began.
    pub fn counts(&self) -> (u64, u64) {
        (self.finished.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Latencies of the requests that finished since this was last asked; `None` when none did.
    pub fn take_window(&self) -> Option<WindowLatency> {
        let mut window = LatencyHistogram::default();
        for shard in &self.shards {
            // Users wait for the lock: take the histogram out of it, and merge outside.
            let taken = std::mem::take(&mut shard.lock().unwrap_or_else(PoisonError::into_inner).window);
            window.merge(&taken);
        }
        Some(WindowLatency {
            latency_p50_ms: window.quantile_ms(0.50)?,
            latency_p95_ms: window.quantile_ms(0.95)?,
            latency_p99_ms: window.quantile_ms(0.99)?,
        })
    }

    /// Requests that users gave up after the client timeout, since the load began.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Requests cut off by the end.
    pub fn requests_cut_off(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Age of the oldest request that the end cut off; `None` when it cut off none.
    pub fn oldest_cut_off(&self) -> Option<Duration> {
        let oldest = Duration::from_micros(self.cut_off_oldest.load(Ordering::Relaxed));
        (self.requests_cut_off() > 0).then_some(oldest)
    }

    /// All requests of the steady phase together.
    pub fn steady(&self) -> RequestTotals {
        let mut all = RequestTotals::default();
        for totals in self.steady_by_route().values() {
            all.add(totals);
        }
        all
    }

    /// Each route of the steady phase, most requests first.
    pub fn routes(&self) -> Vec<RouteRecord> {
        let totals = self.steady_by_route();
        let mut routes: Vec<_> = totals.iter().map(|(route, it)| it.route(&self.labels[*route])).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.requests));
        routes
    }

    /// Error texts since the load began, most frequent first.
    pub fn errors(&self) -> Vec<ErrorRecord> {
        let mut merged = BTreeMap::<String, u64>::new();
        for shard in &self.shards {
            for (text, count) in &shard.lock().unwrap_or_else(PoisonError::into_inner).errors {
                *merged.entry(text.clone()).or_default() += count;
            }
        }
        let mut errors: Vec<_> =
            merged.into_iter().map(|(text, count)| ErrorRecord { seen_by: SeenBy::Client, text, count }).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    fn steady_by_route(&self) -> BTreeMap<usize, RequestTotals> {
        let mut merged = BTreeMap::<_, RequestTotals>::new();
        for shard in &self.shards {
            for (route, totals) in &shard.lock().unwrap_or_else(PoisonError::into_inner).steady {
                merged.entry(*route).or_default().add(totals);
            }
        }
        merged
    }
}

impl Shard {
    fn count_error(&mut self, text: String) {
        let known = self.errors.len() < ERROR_TEXTS_MAX || self.errors.contains_key(&text);
        *self.errors.entry(if known { text } else { "(other errors)".to_owned() }).or_default() += 1;
    }
}

impl RequestTotals {
    fn add(&mut self, other: &Self) {
        self.finished += other.finished;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
    }

    fn route(&self, name: &str) -> RouteRecord {
        let latency: &LatencyHistogram = &self.latency;
        RouteRecord {
            route: name.to_owned(),
            requests: self.finished,
            failures: self.failed,
            latency_p50_ms: latency.quantile_ms(0.50),
            latency_p95_ms: latency.quantile_ms(0.95),
            latency_p99_ms: latency.quantile_ms(0.99),
            latency_max_ms: latency.max_ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn recorder() -> Recorder {
        Recorder::new(["GET /a".to_owned()].into())
    }

    #[test]
    fn ramp_requests_count_since_the_start_but_not_in_the_steady_figures() {
        let recorder = recorder();
        recorder.record(0, 0, Phase::RampUp, MS, RequestOutcome::Failure("x".into()));
        recorder.record(1, 0, Phase::Steady, MS, RequestOutcome::Success);
        assert_eq!(recorder.counts(), (2, 1));
        let steady = recorder.steady();
        assert_eq!((steady.finished, steady.failed, steady.latency.len()), (1, 0, 1));
        assert_eq!(recorder.errors()[0].text, "x");
        assert_eq!(recorder.routes()[0].route, "GET /a");
    }

    #[test]
    fn a_window_holds_what_finished_since_the_last_one_and_nothing_twice() {
        let recorder = recorder();
        assert_eq!(recorder.take_window(), None);
        recorder.record(0, 0, Phase::RampUp, 2 * MS, RequestOutcome::Success);
        recorder.record(1, 0, Phase::Steady, 8 * MS, RequestOutcome::Failure("x".into()));
        let window = recorder.take_window().expect("two requests finished");
        assert!((window.latency_p50_ms / 2.0 - 1.0).abs() < 2e-3, "{window:?}");
        assert!((window.latency_p99_ms / 8.0 - 1.0).abs() < 2e-3, "{window:?}");
        assert_eq!(recorder.take_window(), None);
        assert_eq!(recorder.steady().latency.len(), 1);
    }

    #[test]
    fn a_request_that_the_end_cut_off_is_neither_success_nor_failure() {
        let recorder = recorder();
        assert_eq!(recorder.oldest_cut_off(), None);
        recorder.record(0, 0, Phase::Steady, 3 * MS, RequestOutcome::CutOff);
        recorder.record(0, 0, Phase::RampDown, MS, RequestOutcome::Failure("too late".into()));
        assert_eq!((recorder.counts(), recorder.requests_cut_off()), ((0, 0), 2));
        assert_eq!(recorder.oldest_cut_off(), Some(3 * MS));
        assert_eq!(recorder.errors(), []);
    }

    #[test]
    fn error_texts_cannot_fill_the_memory() {
        let recorder = recorder();
        for id in 0..10_000 {
            recorder.record(0, 0, Phase::Steady, MS, RequestOutcome::Failure(format!("id {id}")));
        }
        let errors = recorder.errors();
        assert_eq!(errors.len(), ERROR_TEXTS_MAX + 1);
        assert_eq!(errors.iter().map(|error| error.count).sum::<u64>(), 10_000);
    }
}
