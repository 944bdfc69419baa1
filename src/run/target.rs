//! Targets of a load, one variant after the other: the reference gateway on its testbed ([`gateway`](super::gateway)), or a
//! service of the user's own ([`service`](super::service)); and what is done with either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::collector::Collector;
use super::progress::{Progress, RunStage};
use super::restarts::{RestartOrders, Restarts};
use super::scan::{self, ScanSettings, ScanTarget};
use super::target_sessions::SessionProcesses;
use super::variant_run::{Loaded, Round, TargetFacts, VariantRun, open_at_end};
use crate::database::Database;
use crate::monitor::{self, ServerCounters, Watch};
use crate::record::{ScanRecord, SessionsLost, Stamped, VariantRecord, summary};
use crate::scenario::{Pace, VariantName};
use crate::swarm::fleet::Fleet;
use crate::swarm::{Clock, Swarm};

/// Something that can be started in several variants.
pub(super) trait LoadTarget {
    type Running: RunningTarget;

    /// In the order in which they are run.
    fn variants(&self) -> Vec<VariantName>;

    /// Load over time.
    fn pace(&self) -> Pace;

    /// Time between two samples.
    fn interval(&self) -> Duration;

    /// Starts a variant; `None` when `stop` came first.
    async fn start(&self, variant: VariantName, stop: &CancellationToken) -> Result<Option<Self::Running>, RunError>;
}

/// One variant that runs.
pub(super) trait RunningTarget {
    /// The database whose counters are read.
    fn database(&self) -> Database;

    /// Its users, for a load of this pace.
    async fn swarm(&self, pace: &Pace, stop: &CancellationToken) -> Result<(Swarm, Arc<Fleet>), RunError>;

    /// Monitoring of it.
    fn watch(&self, clock: Clock) -> Watch;

    /// The processes that have sessions; `None` where they tell nothing.
    fn session_processes(&self) -> Option<SessionProcesses>;

    /// Plan and pace of a scan; `None` for a target that cannot be scanned.
    fn scan_target(&self, settings: ScanSettings) -> Result<Option<(ScanTarget, Pace)>, RunError>;

    /// Waits until it has ended by itself, which it should not.
    ///
    /// # Cancel safety
    /// Safe.
    async fn died(&mut self) -> RunError;

    /// Stops it, and starts it anew; false where it was not started here, or `stop` came first.
    async fn restart(&mut self, stop: &CancellationToken) -> Result<bool, RunError>;

    /// The server's count since then, once sessions had time to report to it.
    async fn counters_since(
        &mut self,
        before: &ServerCounters,
        stop: &CancellationToken,
    ) -> Result<ServerCounters, RunError>;

    /// The same session seconds read again, for sessions that live on and report later; `None` where all have ended.
    async fn counted_later(&self, _before: &ServerCounters) -> Option<f64> {
        None
    }

    /// Facts that no sample has. `counted`: the server's count.
    fn facts(&self, counted: &ServerCounters) -> TargetFacts;

    /// Adds what it alone knows to a record of so many seconds.
    async fn completed(&self, record: VariantRecord, lasted_s: f64) -> VariantRecord;

    /// True if it was started here, so that stopping it takes time.
    fn is_ours(&self) -> bool;

    /// Stops what was started, with its last process.
    async fn stop(self) -> Result<(), RunError>;
}

/// Everything around a variant's run.
#[derive(Clone, Copy)]
pub(super) struct RunParts<'a> {
    pub(super) collector: &'a Collector,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a CancellationToken,
    /// Settings of a scan, where that is what is asked for.
    pub(super) scan: Option<ScanSettings>,
}

/// Runs one variant; `None` when it was interrupted before its load began.
pub(super) async fn run_variant<T: LoadTarget>(
    target: &T,
    name: VariantName,
    parts: RunParts<'_>,
) -> Result<Option<VariantRecord>, RunError> {
    let RunParts { collector, progress, stop, .. } = parts;
    let mut run = VariantRun { name, pace: target.pace(), interval: target.interval(), collector, progress, stop };
    run.show(RunStage::Starting, 0.0, None);
    let began = Instant::now();
    let Some(mut running) = target.start(name, stop).await? else { return Ok(None) };
    let measured = Box::pin(measure(&mut run, &mut running, began.elapsed(), parts.scan)).await;
    if running.is_ours() {
        run.show(RunStage::Stopping, 0.0, None);
    }
    let stopped = running.stop().await;
    // The first thing that went wrong is the one to tell.
    let measured = measured?;
    stopped?;
    Ok(Some(measured))
}

async fn measure(
    run: &mut VariantRun<'_>,
    running: &mut impl RunningTarget,
    startup: Duration,
    scan: Option<ScanSettings>,
) -> Result<VariantRecord, RunError> {
    let before = monitor::read_counters(running.database()).await?;
    let target = scan.map(|settings| running.scan_target(settings)).transpose()?.flatten();
    let (loaded, scan) = match target {
        Some((target, pace)) => {
            let (loaded, scan) = scanned(run, running, target, &pace).await?;
            (loaded, Some(scan))
        }
        None => (loaded(run, running).await?, None),
    };
    let mut counted = running.counters_since(&before, run.stop).await?;
    let samples = run.collector.hand_over().await?;
    let (open_at_end, pgbouncer) = (open_at_end(&samples), super::errors::ended_by_pgbouncer(&samples));
    counted.lost = counted.lost.map(|lost| SessionsLost { open_at_end, pgbouncer, ..lost });
    // Of a session that is lost in a transaction the server never counts the last episode.
    let any_lost = counted.lost.and_then(|lost| lost.any());
    let is_whole = any_lost == Some(false) && reported(running, &before, &mut counted, &samples, run.stop).await;
    let mut facts = TargetFacts { startup, ..running.facts(&counted) };
    if is_whole {
        facts.counted_is_lower_bound = Some(false);
    }
    let record = VariantRecord { scan, ..run.record(&facts, &loaded, &samples, &counted) };
    Ok(running.completed(record, loaded.lasted_s()).await)
}

/// An idle session reports what it has spent within ten seconds (`PGSTAT_IDLE_INTERVAL` in PostgreSQL's `pgstat.c`).
const REPORTED_WITHIN: Duration = Duration::from_millis(10_500);

/// Time between two looks at whether it has.
const RECOUNTED_EVERY: Duration = Duration::from_millis(500);

/// Waits for what sessions have not reported yet, where the samples saw more than the server counts; true if it waited for as long as any
/// session takes.
async fn reported(
    running: &impl RunningTarget,
    before: &ServerCounters,
    counted: &mut ServerCounters,
    samples: &[Stamped],
    stop: &CancellationToken,
) -> bool {
    let Some((sampled_s, error_s)) = summary::sampled(samples) else { return false };
    let since = Instant::now();
    while counted.idle_in_transaction_s.is_some_and(|counted_s| counted_s < sampled_s - 1.96 * error_s) {
        if since.elapsed() >= REPORTED_WITHIN {
            return true;
        }
        if stop.run_until_cancelled(tokio::time::sleep(RECOUNTED_EVERY)).await.is_none() {
            return false;
        }
        let Some(counted_s) = running.counted_later(before).await else { return false };
        counted.idle_in_transaction_s = Some(counted_s);
    }
    false
}

async fn loaded(run: &VariantRun<'_>, running: &mut impl RunningTarget) -> Result<Loaded, RunError> {
    let (swarm, fleet) = running.swarm(&run.pace, run.stop).await?;
    let clock = Clock::starting_now(&run.pace);
    let sink = run.collector.sink(run.name, clock.started, fleet, running.session_processes());
    let watch = running.watch(clock);
    run.load(swarm, clock, watch, &sink, running.died()).await
}

async fn scanned(
    run: &mut VariantRun<'_>,
    running: &mut impl RunningTarget,
    target: ScanTarget,
    pace: &Pace,
) -> Result<(Loaded, ScanRecord), RunError> {
    run.pace = target.settings.expected(&run.pace, target.routes.len());
    let (swarm, fleet) = running.swarm(pace, run.stop).await?;
    let clock = Clock::starting_now(pace);
    let sink = run.collector.sink(run.name, clock.started, fleet, running.session_processes());
    let watch = Watch { interval: scan::MONITOR_INTERVAL, pulse: scan::MONITOR_PULSE, ..running.watch(clock) };
    // What it leaves open, it has waited for.
    let (view, interval, drain) = (swarm.view(), scan::MONITOR_INTERVAL, Duration::ZERO);
    let round = Round { view, clock, watch, sink, interval, drain };
    let (restarts, orders) = Restarts::new();
    let died = kept(running, orders, run.stop);
    Box::pin(scan::scan(run, &target, swarm, round, restarts, died)).await
}

/// Waits until the target has ended by itself, and starts it anew where that is asked for.
async fn kept(running: &mut impl RunningTarget, mut orders: RestartOrders, stop: &CancellationToken) -> RunError {
    loop {
        let done = tokio::select! {
            error = running.died() => return error,
            Some(done) = orders.recv() => done,
        };
        let restarted = running.restart(stop).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the service could not be started anew");
            false
        });
        // Who asked may have been interrupted.
        let _unheard = done.send(restarted);
    }
}
