//! One variant of the reference gateway: testbed up, load and monitor on, testbed down, figures out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::collector::Collector;
use super::progress::{Progress, RunStage};
use super::variant_run::{Loaded, RunFacts, VariantRun, open_at_end};
use crate::monitor::{self, Console, GaugeNames, HealthProbe, PgBouncerWatch, SessionFilter, Watch};
use crate::record::{SessionsLost, VariantRecord};
use crate::scenario::{Scenario, SessionScope};
use crate::swarm::fleet::Fleet;
use crate::swarm::{Clock, Identity, LoadPlan, Swarm};
use crate::testbed::{Testbed, TestbedConfig};

/// A session that closes reports to the server's statistics within milliseconds; this is ample.
const COUNTERS_SETTLE: Duration = Duration::from_millis(300);

/// Context of a variant's run.
pub(super) struct Variant<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) scope: SessionScope,
    pub(super) premises: &'a TestbedConfig,
    /// A `PgBouncer` of the user's own.
    pub(super) pgbouncer: Option<&'a Console>,
    pub(super) collector: &'a Collector,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a CancellationToken,
}

impl Variant<'_> {
    /// Runs it; `None` when it was interrupted before its load began.
    pub(super) async fn execute(self) -> Result<Option<VariantRecord>, RunError> {
        self.arm().show(RunStage::Starting, 0.0, None);
        let began = Instant::now();
        let starting = Testbed::start(self.scenario, self.scope, self.premises);
        let Some(testbed) = self.stop.run_until_cancelled(Box::pin(starting)).await else { return Ok(None) };
        let mut testbed = testbed?;
        let measured = self.measure(&mut testbed, began.elapsed()).await;
        self.arm().show(RunStage::Stopping, 0.0, None);
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
        let subject = RunFacts {
            postgres_version: testbed.postgres_version().to_owned(),
            pgbouncer_version: self.premises.database.pgbouncer_version().map(str::to_owned),
            startup,
            replicas: self.scenario.gateway.replicas.get(),
            pages: self.scenario.gateway.replicas.get(),
            pool_capacity: Some(self.scenario.gateway.pool_capacity()),
            counted_is_lower_bound: counted.lost.and_then(|lost| lost.any()),
        };
        Ok(self.arm().record(&subject, &loaded, &samples, &counted))
    }

    async fn load(&self, testbed: &mut Testbed) -> Result<Loaded, RunError> {
        let (pace, plan) = (self.scenario.load.pace(), LoadPlan::of_gateway(&self.scenario.load));
        let fleet = Arc::new(Fleet::new(&testbed.replica_urls(), plan.labels())?);
        let identities = testbed.authorizations().iter().cloned().map(Identity::authorized).collect();
        let swarm = Swarm::new(&pace, plan, identities, Arc::clone(&fleet))?;
        let clock = Clock::starting_now(&pace);
        let sink = self.collector.sink(self.scope.into(), clock.started, fleet);
        let watch = self.watch(testbed, clock);
        let died = async { testbed.died().await.into() };
        self.arm().load(swarm, clock, watch, &sink, died).await
    }

    fn arm(&self) -> VariantRun<'_> {
        VariantRun {
            name: self.scope.into(),
            pace: self.scenario.load.pace(),
            interval: self.scenario.monitor.interval.duration(),
            collector: self.collector,
            progress: self.progress,
            stop: self.stop,
        }
    }

    fn watch(&self, testbed: &Testbed, clock: Clock) -> Watch {
        Watch {
            database: testbed.monitor_database(self.scenario.monitor.role.as_deref()).into(),
            interval: self.scenario.monitor.interval.duration(),
            pulse: self.scenario.monitor.pulse.duration(),
            // Nobody else is in a private database; a pool may have been opened before the load begins.
            whose: SessionFilter::everybody(),
            epoch: clock.started,
            replicas: testbed.replica_urls(),
            gauges: testbed.gauge_urls(),
            gauge_names: GaugeNames::default(),
            health: self.scenario.health.clone(),
            probe: HealthProbe::default(),
            pgbouncer: self.watched_pgbouncer(testbed),
        }
    }

    fn watched_pgbouncer(&self, testbed: &Testbed) -> Option<PgBouncerWatch> {
        let of_testbed = testbed.pgbouncer().map(|(console, log)| (Console::from(console), Some(log)));
        let (console, log) = of_testbed.or_else(|| Some((self.pgbouncer?.clone(), None)))?;
        Some(PgBouncerWatch { console, log })
    }
}
