//! One variant under load, whatever it is of: users and monitor side by side, and what they saw.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::collector::{Collector, VariantSink};
use super::machine_load::MachineMeter;
use super::progress::{Live, Progress, RunStage, Update};
use crate::monitor::{Monitor, MonitorResult, ServerCounters, Sink, Watch};
use crate::record::summary::{Measured, RequestTotals};
use crate::record::{
    GeneratorRecord, LatencyPoint, LoadSample, MachineLoad, Phases, Sample, Stamped, Summary, VariantRecord,
};
use crate::scenario::{Pace, VariantName};
use crate::swarm::{Clock, Phase, Swarm, SwarmView};

/// Time for requests that the end has cut off, so that their transactions end normally and the server
/// counts them.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Length of a window of latencies: shorter ones hold too few requests for a 99th percentile.
const LATENCY_WINDOW: Duration = Duration::from_secs(1);

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// One variant under load.
pub(super) struct VariantRun<'a> {
    pub(super) name: VariantName,
    pub(super) pace: Pace,
    /// Time between two samples of the load.
    pub(super) interval: Duration,
    pub(super) collector: &'a Collector,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a CancellationToken,
}

/// Facts about what is under load, beside what was seen of it.
#[derive(Default)]
pub(super) struct TargetFacts {
    pub(super) postgres_version: String,
    pub(super) pgbouncer_version: Option<String>,
    pub(super) startup: Duration,
    /// Replicas whose health is sampled.
    pub(super) replicas: u32,
    /// Pages of pools' gauges that are.
    pub(super) pages: u32,
    pub(super) pool_capacity: Option<u32>,
    /// True if the server has counted less than there was; `None` when it does not count.
    pub(super) counted_is_lower_bound: Option<bool>,
}

/// Result of a load.
pub(super) struct Loaded {
    clock: Clock,
    /// The last user stopped.
    load_ended: Instant,
    /// The last sample was taken.
    ended: Instant,
    view: SwarmView,
    pub(super) watched: MonitorResult,
    cpu_s: Option<f64>,
    machine_load: Option<MachineLoad>,
}

impl Loaded {
    /// Duration of the load, in seconds.
    pub(super) fn lasted_s(&self) -> f64 {
        self.ended.saturating_duration_since(self.clock.started).as_secs_f64()
    }
}

/// Services around a load.
pub(super) struct Round {
    pub(super) view: SwarmView,
    pub(super) clock: Clock,
    pub(super) watch: Watch,
    pub(super) sink: Arc<VariantSink>,
    /// Time between two samples of the load.
    pub(super) interval: Duration,
    /// Longest time for transactions to end when the load is over.
    pub(super) drain: Duration,
}

/// Progress of a load, with a word on it.
type Course<'a> = &'a (dyn Fn() -> Whereabouts + Sync);

/// Where it is.
pub(super) struct Whereabouts {
    pub(super) stage: RunStage,
    pub(super) detail: Option<String>,
    /// Estimated seconds to the end; `None` where the duration is set.
    pub(super) left_s: Option<f64>,
}

impl VariantRun<'_> {
    /// Runs load and monitor side by side until the load has ended, the run is interrupted, or something dies.
    pub(super) async fn load(
        &self,
        swarm: Swarm,
        clock: Clock,
        watch: Watch,
        sink: &Arc<VariantSink>,
        died: impl Future<Output = RunError>,
    ) -> Result<Loaded, RunError> {
        let (view, sink) = (swarm.view(), Arc::clone(sink));
        let round = Round { view, clock, watch, sink, interval: self.interval, drain: DRAIN_DEADLINE };
        let abandoned = self.stop.child_token();
        let _stops = abandoned.clone().drop_guard();
        let work = async { swarm.run(clock, abandoned).await.map_err(RunError::from) };
        let ramp = clock.steady_from - clock.started;
        let course = || Whereabouts {
            stage: if clock.elapsed() < ramp { RunStage::RampUp } else { RunStage::Steady },
            detail: None,
            left_s: None,
        };
        Ok(self.around(round, &course, work, died).await?.0)
    }

    /// Watches while `work` loads.
    pub(super) async fn around<T>(
        &self,
        round: Round,
        course: Course<'_>,
        work: impl Future<Output = Result<T, RunError>>,
        died: impl Future<Output = RunError>,
    ) -> Result<(Loaded, T), RunError> {
        let Round { view, clock, watch, sink, interval, drain } = round;
        let watching = Monitor::start(watch, Arc::clone(&sink) as Arc<dyn Sink>).await?;
        let (cpu_before, meter) = (cpu_seconds(), MachineMeter::default());
        let ended = tokio::select! {
            ran = work => ran,
            () = self.sample(&view, (clock, interval), (&sink, &meter), course) => unreachable!("sampling goes on until it is dropped"),
            died = died => Err(died),
        };
        let load_ended = Instant::now();
        if ended.is_ok() {
            self.drain(clock, drain).await;
        }
        let watched = watching.stop().await?;
        let came_to = ended?;
        let cpu_s = cpu_before.zip(cpu_seconds()).map(|(before, after)| after - before);
        let (machine_load, ended) = (meter.load(), Instant::now());
        Ok((Loaded { clock, load_ended, ended, view, watched, cpu_s, machine_load }, came_to))
    }

    /// Samples the load at the monitor's rate; reads how busy the machine is, and shows progress, once a second.
    async fn sample(
        &self,
        view: &SwarmView,
        (clock, interval): (Clock, Duration),
        (sink, meter): (&VariantSink, &MachineMeter),
        course: Course<'_>,
    ) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut shown, mut shown_finished) = (Instant::now(), 0);
        let mut window_taken = Instant::now();
        loop {
            let late = ticks.tick().await.elapsed();
            if clock.phase(Instant::now()) == Phase::Steady {
                meter.late(late);
            }
            let (finished, failed) = view.recorder().counts();
            let users = view.users();
            let (fleet, now) = (view.fleet(), Instant::now());
            let present = fleet.present_at(now, Duration::ZERO);
            let mut load =
                LoadSample { users, finished, failed, in_flight: fleet.in_flight(), present, ..LoadSample::default() };
            if window_taken.elapsed() >= LATENCY_WINDOW {
                load.latency = view.recorder().take_window();
                window_taken = Instant::now();
            }
            sink.take(now, Sample::Load(load));
            let since = shown.elapsed();
            if since >= PROGRESS_INTERVAL {
                if clock.phase(Instant::now()) == Phase::Steady {
                    meter.read();
                }
                let rps = (finished - shown_finished) as f64 / since.as_secs_f64();
                let live = Live { users, rps, failed, ..self.collector.live() };
                let Whereabouts { stage, detail, left_s } = course();
                let update = self.update(stage, clock.elapsed().as_secs_f64(), Some(live));
                self.progress.show(&Update { left_s, detail, ..update });
                (shown, shown_finished) = (Instant::now(), finished);
            }
        }
    }

    /// Waits until no transaction is open any more, or the deadline.
    async fn drain(&self, clock: Clock, longest: Duration) {
        self.show(RunStage::Draining, clock.elapsed().as_secs_f64(), None);
        let deadline = Instant::now() + longest;
        while Instant::now() < deadline && self.collector.live().idle_in_transaction != Some(0) {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    pub(super) fn record(
        &self,
        subject: &TargetFacts,
        loaded: &Loaded,
        samples: &[Stamped],
        counted: &ServerCounters,
    ) -> VariantRecord {
        let clock = loaded.clock;
        let since_start = |at: Instant| at.saturating_duration_since(clock.started).as_secs_f64();
        let recorder = loaded.view.recorder();
        let (finished, failed) = recorder.counts();
        // An interrupted load ends where it was interrupted.
        let phases = Phases {
            steady_from_s: since_start(clock.steady_from),
            steady_to_s: since_start(clock.steady_to.min(loaded.load_ended)),
            ended_s: since_start(loaded.ended),
        };
        let steady = recorder.steady();
        let summary = Summary::of(&Measured {
            phases,
            steady: &steady,
            since_start: &RequestTotals { finished, failed, ..RequestTotals::default() },
            cut_off: recorder.requests_cut_off(),
            samples,
            replicas: subject.replicas,
            pages: subject.pages,
            pool_capacity: subject.pool_capacity,
            counted_s: counted.idle_in_transaction_s,
            counted_is_lower_bound: subject.counted_is_lower_bound,
            polls_missed: loaded.watched.polls.missed,
        });
        let mut errors = recorder.errors();
        errors.extend(super::errors::of_gateway(samples));
        errors.extend(super::errors::of_pgbouncer(samples));
        VariantRecord {
            postgres_version: subject.postgres_version.clone(),
            pgbouncer_version: subject.pgbouncer_version.clone(),
            complete: !self.stop.is_cancelled(),
            startup_s: subject.startup.as_secs_f64(),
            phases,
            summary,
            routes: recorder.routes(),
            errors,
            sessions_lost: counted.lost,
            monitor: Some(loaded.watched.record),
            generator: GeneratorRecord {
                cpu_s: loaded.cpu_s,
                samples_dropped: self.collector.dropped(),
                polls_late: loaded.watched.polls.late,
                schedule: loaded.view.schedule(),
                given_up: Some(recorder.given_up()),
                cut_off_oldest_s: recorder.oldest_cut_off().map(|age| age.as_secs_f64()),
            },
            scan: None,
            sessions_elsewhere: Vec::new(),
            software: None,
            machine_load: loaded.machine_load,
            latency_distribution: steady
                .latency
                .distribution()
                .into_iter()
                .map(|(percentile, ms)| LatencyPoint { percentile, ms })
                .collect(),
        }
    }

    pub(super) fn show(&self, stage: RunStage, elapsed_s: f64, live: Option<Live>) {
        self.progress.show(&self.update(stage, elapsed_s, live));
    }

    fn update(&self, stage: RunStage, elapsed_s: f64, live: Option<Live>) -> Update {
        let Pace { ramp_up, settle, duration, .. } = &self.pace;
        let total_s = ramp_up.secs() + settle.secs() + duration.secs();
        Update { variant: self.name, stage, elapsed_s, total_s, left_s: None, live, detail: None }
    }
}

/// Sessions idle in transaction at the last poll.
pub(super) fn open_at_end(samples: &[Stamped]) -> i64 {
    let last = samples.iter().rev().find_map(|stamped| match &stamped.sample {
        Sample::Activity(activity) => Some(activity.idle_in_transaction_total()),
        _ => None,
    });
    last.map_or(0, i64::from)
}

/// CPU time of this process, user and system; `None` when the system will not say.
fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}
