//! One thread takes all samples: writes them, keeps those of the running variant, and knows the latest of each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::RunError;
use super::progress::Live;
use super::target_sessions::SessionProcesses;
use crate::monitor::Sink;
use crate::record::store::{SampleWriter, StoreError};
use crate::record::{Presence, Sample, SessionProcess, Spanning, Stamped};
use crate::scenario::VariantName;
use crate::swarm::fleet::Fleet;

/// Samples that may wait for the disk; later ones are dropped, and counted.
const QUEUE: usize = 16_384;

/// At most this much is lost with the process.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// The thread that takes the samples.
pub(super) struct Collector {
    queue: SyncSender<CollectorOrder>,
    dropped: Arc<AtomicU64>,
    latest: Arc<Mutex<Latest>>,
    thread: JoinHandle<Result<(), StoreError>>,
}

#[expect(clippy::large_enum_variant, reason = "nearly all of them are samples")]
enum CollectorOrder {
    Take(Stamped),
    /// Hand over what was kept, and begin anew.
    HandOver(tokio::sync::oneshot::Sender<Vec<Stamped>>),
    Close,
}

impl Collector {
    pub(super) fn start(writer: SampleWriter) -> Result<Self, RunError> {
        let (queue, orders) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || collect(writer, &orders))
            .map_err(|_refused| RunError::CollectorCrashed)?;
        Ok(Self { queue, dropped: Arc::default(), latest: Arc::default(), thread })
    }

    /// Sink for the samples of one variant.
    pub(super) fn sink(
        &self,
        variant: VariantName,
        epoch: Instant,
        fleet: Arc<Fleet>,
        processes: Option<SessionProcesses>,
    ) -> Arc<VariantSink> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Latest::default();
        self.dropped.store(0, Ordering::Relaxed);
        Arc::new(VariantSink {
            variant,
            epoch,
            fleet,
            processes,
            queue: self.queue.clone(),
            dropped: Arc::clone(&self.dropped),
            latest: Arc::clone(&self.latest),
        })
    }

    /// Samples of the running variant that the queue had no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The latest figures.
    pub(super) fn live(&self) -> Live {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).live()
    }

    /// All samples of the variant that has just ended, in order of time.
    pub(super) async fn hand_over(&self) -> Result<Vec<Stamped>, RunError> {
        let (answer, samples) = tokio::sync::oneshot::channel();
        self.queue.send(CollectorOrder::HandOver(answer)).map_err(|_crashed| RunError::CollectorCrashed)?;
        let mut samples = samples.await.map_err(|_crashed| RunError::CollectorCrashed)?;
        samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Ok(samples)
    }

    /// Writes out what is left and ends the thread.
    pub(super) async fn close(self) -> Result<(), RunError> {
        // A thread that is gone has left its error to be joined.
        let _gone = self.queue.send(CollectorOrder::Close);
        drop(self.queue);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        Ok(joined.ok().and_then(Result::ok).ok_or(RunError::CollectorCrashed)??)
    }
}

fn collect(mut writer: SampleWriter, orders: &Receiver<CollectorOrder>) -> Result<(), StoreError> {
    let mut kept = Vec::new();
    let mut flushed = Instant::now();
    loop {
        match orders.recv_timeout(FLUSH_INTERVAL) {
            Ok(CollectorOrder::Take(sample)) => {
                writer.append(&sample)?;
                kept.push(sample);
            }
            // The caller has gone: then nobody needs them.
            Ok(CollectorOrder::HandOver(answer)) => drop(answer.send(std::mem::take(&mut kept))),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(CollectorOrder::Close) | Err(RecvTimeoutError::Disconnected) => return writer.flush(),
        }
        if flushed.elapsed() >= FLUSH_INTERVAL {
            writer.flush()?;
            flushed = Instant::now();
        }
    }
}

/// Sink for the samples of one variant.
pub(super) struct VariantSink {
    variant: VariantName,
    epoch: Instant,
    fleet: Arc<Fleet>,
    processes: Option<SessionProcesses>,
    queue: SyncSender<CollectorOrder>,
    dropped: Arc<AtomicU64>,
    latest: Arc<Mutex<Latest>>,
}

impl Sink for VariantSink {
    fn present_at(&self, at: Instant, error: Duration) -> BTreeMap<String, Presence> {
        self.fleet.present_at(at, error)
    }

    fn spanning(&self, began: Instant, ended: (Instant, Instant)) -> Option<BTreeMap<String, Spanning>> {
        Some(self.fleet.spanning(began, ended))
    }

    fn process_of(&self, client_port: u16) -> Option<SessionProcess> {
        self.processes.as_ref()?.of(client_port)
    }

    fn take(&self, at: Instant, sample: Sample) {
        // The monitor says what is down; here the swarm learns of it.
        if let Sample::Health(probe) = &sample {
            self.fleet.set_up((probe.replica as usize).wrapping_sub(1), probe.up);
        }
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).note(&sample);
        // Samples taken before the load began lie before zero.
        let at_s = match at.checked_duration_since(self.epoch) {
            Some(since) => since.as_secs_f64(),
            None => -self.epoch.duration_since(at).as_secs_f64(),
        };
        let stamped = Stamped { variant: self.variant, at_s, sample };
        if self.queue.try_send(CollectorOrder::Take(stamped)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The latest of each kind of sample.
#[derive(Default)]
struct Latest {
    idle_in_transaction: Option<u32>,
    oldest_transaction_s: Option<f64>,
    checked_out: BTreeMap<u32, u32>,
    up: BTreeMap<u32, bool>,
}

impl Latest {
    fn note(&mut self, sample: &Sample) {
        match sample {
            Sample::Activity(activity) => {
                self.idle_in_transaction = Some(activity.idle_in_transaction_total());
                self.oldest_transaction_s = Some(activity.oldest_transaction_s.unwrap_or(0.0));
            }
            Sample::Pools(pools) => {
                if let Some(out) = pools.checked_out {
                    self.checked_out.insert(pools.replica, out);
                }
            }
            Sample::Health(probe) => {
                self.up.insert(probe.replica, probe.up);
            }
            Sample::Breakdown(_)
            | Sample::Transaction(_)
            | Sample::Load(_)
            | Sample::PgBouncer(_)
            | Sample::Event(_)
            | Sample::Pulse(_)
            | Sample::Episode(_)
            | Sample::Counters(_)
            | Sample::Blocking(_) => {}
        }
    }

    fn live(&self) -> Live {
        let up = self.up.values().filter(|up| **up).count();
        Live {
            idle_in_transaction: self.idle_in_transaction,
            oldest_transaction_s: self.oldest_transaction_s,
            checked_out: (!self.checked_out.is_empty()).then(|| self.checked_out.values().sum()),
            replicas_up: (!self.up.is_empty()).then(|| u32::try_from(up).unwrap_or(u32::MAX)),
            ..Live::default()
        }
    }
}
