//! One variant: testbed up, load and monitor on, testbed down, figures out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::collector::{Collector, VariantSink};
use super::progress::{Live, Progress, Stage, Update};
use crate::monitor::{self, Console, GaugeNames, Monitor, PgBouncerWatch, ServerCounters, Sink, Watch, Watched, Whose};
use crate::record::summary::{Measured, RequestTotals};
use crate::record::{
    GeneratorRecord, LatencyPoint, LoadSample, Phases, Sample, SessionsLost, Stamped, Summary, VariantRecord,
};
use crate::scenario::{Scenario, SessionScope};
use crate::swarm::fleet::Fleet;
use crate::swarm::{Clock, Identity, Swarm, SwarmView};
use crate::testbed::{Premises, Testbed};

/// How long requests that the end has cut off may go on, so that their transactions end normally and the server
/// counts them.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// A session that closes reports to the server's statistics within milliseconds; this is ample.
const COUNTERS_SETTLE: Duration = Duration::from_millis(300);

/// How long a window of latencies is: shorter ones hold too few requests for a 99th percentile.
const LATENCY_WINDOW: Duration = Duration::from_secs(1);

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What a variant needs.
pub(super) struct Variant<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) scope: SessionScope,
    pub(super) premises: &'a Premises,
    /// A `PgBouncer` of the user's own.
    pub(super) pgbouncer: Option<&'a Console>,
    pub(super) collector: &'a Collector,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a CancellationToken,
}

/// What the load left behind.
struct Loaded {
    clock: Clock,
    /// The last user stopped.
    load_ended: Instant,
    /// The last sample was taken.
    ended: Instant,
    view: SwarmView,
    watched: Watched,
    cpu_s: Option<f64>,
}

impl Variant<'_> {
    /// Runs it; `None` when it was interrupted before its load began.
    pub(super) async fn execute(self) -> Result<Option<VariantRecord>, RunError> {
        self.show(Stage::Starting, 0.0, None);
        let began = Instant::now();
        let starting = Testbed::start(self.scenario, self.scope, self.premises);
        let Some(testbed) = self.stop.run_until_cancelled(Box::pin(starting)).await else { return Ok(None) };
        let mut testbed = testbed?;
        let measured = self.measure(&mut testbed, began.elapsed()).await;
        self.show(Stage::Stopping, 0.0, None);
        let stopped = testbed.stop().await;
        // The first thing that went wrong is the one to tell.
        let measured = measured?;
        stopped?;
        Ok(Some(measured))
    }

    async fn measure(&self, testbed: &mut Testbed, startup: Duration) -> Result<VariantRecord, RunError> {
        let database = testbed.database();
        let before = monitor::read_counters(&database).await?;
        let loaded = self.load(testbed).await?;
        // Stopping the gateway ends all its sessions, which loses nothing of those that are idle by then.
        let lost = monitor::read_counters(&database).await?.since(&before).lost;
        testbed.stop_gateway().await;
        tokio::time::sleep(COUNTERS_SETTLE).await;
        let samples = self.collector.hand_over().await?;
        let mut counted = monitor::read_counters(&database).await?.since(&before);
        let (open_at_end, pgbouncer) = (open_at_end(&samples), super::errors::ended_by_pgbouncer(&samples));
        counted.lost = lost.map(|lost| SessionsLost { open_at_end, pgbouncer, ..lost });
        Ok(VariantRecord { startup_s: startup.as_secs_f64(), ..self.record(testbed, &loaded, &samples, &counted) })
    }

    /// Runs load and monitor side by side until the load has ended, the run is interrupted, or something dies.
    async fn load(&self, testbed: &mut Testbed) -> Result<Loaded, RunError> {
        let fleet = Arc::new(Fleet::new(&testbed.replica_urls())?);
        let identities = testbed.authorizations().iter().map(|it| Identity { authorization: it.clone() }).collect();
        let swarm = Swarm::new(&self.scenario.load, identities, Arc::clone(&fleet))?;
        let view = swarm.view();
        let clock = Clock::starting_now(&self.scenario.load);
        let sink = self.collector.sink(self.scope.into(), clock.started, fleet);
        let watching = Monitor::start(self.watch(testbed, clock), Arc::clone(&sink) as Arc<dyn Sink>).await?;
        let cpu_before = cpu_seconds();
        let abandoned = self.stop.child_token();
        let ended = tokio::select! {
            ran = swarm.run(clock, abandoned.clone()) => ran.map_err(RunError::from),
            () = self.sample(&view, clock, &sink) => unreachable!("sampling goes on until it is dropped"),
            died = testbed.died() => Err(died.into()),
        };
        let load_ended = Instant::now();
        abandoned.cancel();
        if ended.is_ok() {
            self.drain(clock).await;
        }
        let watched = watching.stop().await?;
        ended?;
        let cpu_s = cpu_before.zip(cpu_seconds()).map(|(before, after)| after - before);
        Ok(Loaded { clock, load_ended, ended: Instant::now(), view, watched, cpu_s })
    }

    fn watch(&self, testbed: &Testbed, clock: Clock) -> Watch {
        Watch {
            database: testbed.monitor_database(self.scenario.monitor.role.as_deref()),
            interval: self.scenario.monitor.interval.duration(),
            pulse: self.scenario.monitor.pulse.duration(),
            // Nobody else is in a private database; a pool may have been opened before the load begins.
            whose: Whose::Everybody,
            epoch: clock.started,
            replicas: testbed.replica_urls(),
            gauges: testbed.gauge_urls(),
            gauge_names: GaugeNames::default(),
            health: self.scenario.health.clone(),
            pgbouncer: self.watched_pgbouncer(testbed),
        }
    }

    fn watched_pgbouncer(&self, testbed: &Testbed) -> Option<PgBouncerWatch> {
        let of_testbed = testbed.pgbouncer().map(|(console, log)| (Console::from(console), Some(log)));
        let (console, log) = of_testbed.or_else(|| Some((self.pgbouncer?.clone(), None)))?;
        Some(PgBouncerWatch { console, log })
    }

    /// Samples the load at the monitor's rate, and shows progress once a second.
    async fn sample(&self, view: &SwarmView, clock: Clock, sink: &VariantSink) {
        let mut ticks = tokio::time::interval(self.scenario.monitor.interval.duration());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut shown, mut shown_finished) = (Instant::now(), 0);
        let mut window_taken = Instant::now();
        loop {
            ticks.tick().await;
            let (finished, failed) = view.recorder().counts();
            let users = view.users();
            let mut load = LoadSample { users, finished, failed, in_flight: view.fleet().in_flight(), latency: None };
            if window_taken.elapsed() >= LATENCY_WINDOW {
                load.latency = view.recorder().take_window();
                window_taken = Instant::now();
            }
            sink.take(Instant::now(), Sample::Load(load));
            let since = shown.elapsed();
            if since >= PROGRESS_INTERVAL {
                let rps = (finished - shown_finished) as f64 / since.as_secs_f64();
                let live = Live { users, rps, failed, ..self.collector.live() };
                let stage =
                    if clock.elapsed() < clock.steady_from - clock.started { Stage::RampUp } else { Stage::Steady };
                self.show(stage, clock.elapsed().as_secs_f64(), Some(live));
                (shown, shown_finished) = (Instant::now(), finished);
            }
        }
    }

    /// Waits until no transaction is open any more, or the deadline.
    async fn drain(&self, clock: Clock) {
        self.show(Stage::Draining, clock.elapsed().as_secs_f64(), None);
        let deadline = Instant::now() + DRAIN_DEADLINE;
        while Instant::now() < deadline && self.collector.live().idle_in_transaction != Some(0) {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    fn record(
        &self,
        testbed: &Testbed,
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
            replicas: self.scenario.gateway.replicas.get(),
            pool_capacity: Some(self.scenario.gateway.pool_capacity()),
            counted_s: counted.idle_in_transaction_s,
            counted_is_lower_bound: counted.lost.map(|lost| lost.total() > 0),
            polls_missed: loaded.watched.polls.missed,
        });
        let mut errors = recorder.errors();
        errors.extend(super::errors::of_gateway(samples));
        errors.extend(super::errors::of_pgbouncer(samples));
        VariantRecord {
            postgres_version: testbed.postgres_version().to_owned(),
            pgbouncer_version: self.premises.database.pgbouncer_version().map(str::to_owned),
            complete: !self.stop.is_cancelled(),
            startup_s: 0.0,
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
            },
            latency_distribution: steady
                .latency
                .distribution()
                .into_iter()
                .map(|(percentile, ms)| LatencyPoint { percentile, ms })
                .collect(),
        }
    }

    fn show(&self, stage: Stage, elapsed_s: f64, live: Option<Live>) {
        let load = &self.scenario.load;
        let total_s = load.ramp_up.secs() + load.settle.secs() + load.duration.secs();
        self.progress.show(&Update { variant: self.scope.into(), stage, elapsed_s, total_s, live });
    }
}

/// Sessions idle in transaction at the last poll.
fn open_at_end(samples: &[Stamped]) -> i64 {
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
