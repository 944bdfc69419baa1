//! A scan of one variant: every route alone in turn, in several rounds with rests between them, and then all together in
//! a mix that is designed to tell them apart; and meanwhile, polls the sessions.
//!
//! The meaning of the figures is `scan`'s to say: here is decided what is asked for when.

mod poll_log;
mod scheduler;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::progress::RunStage;
use super::restarts::Restarts;
use super::variant_run::{Loaded, Round, VariantRun, Whereabouts};
use crate::database::Database;
use crate::monitor::scan_poll::ScanPoller;
use crate::record::ScanRecord;
use crate::record::scan::ScanPlan;
use crate::scan::report::{self, ScanInput};
use crate::scan::traffic::Traffic;
use crate::scenario::{Pace, Workload};
use crate::swarm::Swarm;
use crate::units::{Rate, Span};
use poll_log::PollLog;
use scheduler::ScanScheduler;

/// Time between two polls: what is held for five of them is measured to a tenth in one request.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The monitor polls more often than at a load of minutes.
pub(super) const MONITOR_INTERVAL: Duration = Duration::from_millis(50);
pub(super) const MONITOR_PULSE: Duration = Duration::from_millis(25);

/// Longer than any scan: it ends by itself.
const LONGEST: Span = Span::from_secs(24 * 3600);

/// Estimated duration of a turn and its rest.
const TURN_S: f64 = 1.5;

/// Settings of a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanSettings {
    /// Users, rounds and times.
    pub plan: ScanPlan,
    /// Requests a second that harm is reckoned for, in place of the scenario's load.
    pub rate: Option<f64>,
}

impl Default for ScanSettings {
    fn default() -> Self {
        let plan =
            ScanPlan { users: 3, rounds: 3, requests: 60, seconds: 8.0, concurrent_s: 20.0, seed: 2318, hang_up: true };
        Self { plan, rate: None }
    }
}

impl ScanSettings {
    /// Estimated duration, for progress.
    pub(super) fn expected(&self, of: &Pace, routes: usize) -> Pace {
        let turns = (u64::from(self.plan.rounds) + 1) * (routes as u64 + 1);
        let duration = Span::from(Duration::from_secs_f64(turns as f64 * TURN_S + self.plan.concurrent_s));
        Pace { ramp_up: Span::ZERO, settle: Span::ZERO, duration, ..of.clone() }
    }
}

/// Target of a scan.
pub(super) struct ScanTarget {
    pub(super) settings: ScanSettings,
    pub(super) database: Database,
    /// Where the target listens.
    pub(super) ports: Vec<u16>,
    /// The plan's routes by their place, and the share of the traffic of each.
    pub(super) routes: Vec<(String, f64)>,
    pub(super) traffic: Option<Traffic>,
    pub(super) pool_capacity: Option<u32>,
}

/// Progress of a scan.
#[derive(Clone, Default)]
pub(super) struct ScanProgress(Arc<Mutex<ScanStage>>);

#[derive(Default)]
struct ScanStage {
    of: Option<(RunStage, String)>,
    /// The estimated end.
    ends: Option<Instant>,
}

impl ScanProgress {
    fn lock(&self) -> MutexGuard<'_, ScanStage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: RunStage, detail: String) {
        self.lock().of = Some((stage, detail));
    }

    fn set_left(&self, left_s: f64) {
        self.lock().ends = Some(Instant::now() + Duration::from_secs_f64(left_s.max(0.0)));
    }

    fn get(&self) -> Whereabouts {
        let progress = self.lock();
        let (stage, detail) = progress.of.clone().map_or((RunStage::Isolation, None), |(stage, it)| (stage, Some(it)));
        let left = progress.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        Whereabouts { stage, detail, left_s: left.map(|left| left.as_secs_f64()) }
    }
}

/// Scans: asks and polls; what was done before an interruption is kept.
pub(super) async fn scan(
    arm: &VariantRun<'_>,
    target: &ScanTarget,
    swarm: Swarm,
    round: Round,
    restarts: Restarts,
    died: impl Future<Output = RunError>,
) -> Result<(Loaded, ScanRecord), RunError> {
    let polls = PollLog::since(round.clock.started);
    let everybody = round.watch.whose.is_everybody();
    let poller = ScanPoller::connect(&target.database, &round.watch.whose).await?;
    let polling = CancellationToken::new();
    let ended = tokio::spawn(poller.run(POLL_INTERVAL, polling.clone(), polls.taker()));
    // Whatever happens, no poll follows.
    let guard = polling.drop_guard();
    let progress = ScanProgress::default();
    let scheduler = ScanScheduler::new(arm, target, &polls, round.clock, progress.clone(), restarts);
    let users = swarm.scan_users(round.clock);
    let work = async {
        let log = scheduler.run(users).await;
        drop(guard);
        log
    };
    // A poll that failed leaves a hole that no figure may bridge.
    let blind = async {
        match ended.await {
            Ok(Err(error)) => RunError::from(error),
            Ok(Ok(())) | Err(_) => std::future::pending().await,
        }
    };
    let died = async {
        tokio::select! { error = died => error, error = blind => error }
    };
    let (loaded, log) = arm.around(round, &|| progress.get(), work, died).await?;
    let polls = polls.take();
    let record = report::record(&ScanInput {
        plan: target.settings.plan,
        routes: &target.routes,
        polls: &polls,
        turns: &log.turns,
        breaks: &log.breaks,
        failures: &log.failures,
        concurrent: log.concurrent.as_ref(),
        // The server counts for the whole database: others' sessions are in it.
        counted_s: log.counted_s.filter(|_| everybody),
        traffic: target.traffic,
        pool_capacity: target.pool_capacity,
    });
    Ok((loaded, record))
}

/// The users of a scan, of a load with such users, under this ceiling.
pub(super) fn pace(of: &Pace, plan: &ScanPlan, max_rate: Option<Rate>) -> Pace {
    let workload = Workload::Closed { users: plan.users.max(1) };
    let stages = Vec::new();
    Pace { workload, stages, ramp_up: Span::ZERO, settle: Span::ZERO, duration: LONGEST, max_rate, ..of.clone() }
}
