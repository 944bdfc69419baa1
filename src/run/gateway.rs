//! The reference gateway under load: each variant on a fresh testbed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::scan::{ScanSettings, ScanTarget};
use super::target::{LoadTarget, RunningTarget};
use super::target_sessions::SessionProcesses;
use super::variant_run::TargetFacts;
use crate::database::Database;
use crate::monitor::{self, Console, GaugeNames, HealthProbe, PgBouncerWatch, ServerCounters, SessionFilter, Watch};
use crate::record::VariantRecord;
use crate::scenario::{Pace, Scenario, VariantName};
use crate::swarm::fleet::Fleet;
use crate::swarm::{Clock, Identity, LoadPlan, Swarm};
use crate::testbed::{Testbed, TestbedConfig};

/// A session that closes reports to the server's statistics within milliseconds; this is ample.
const COUNTERS_SETTLE: Duration = Duration::from_millis(300);

/// The gateway that a scenario describes.
pub(super) struct GatewayTarget<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) premises: &'a TestbedConfig,
    /// A `PgBouncer` of the user's own.
    pub(super) pgbouncer: Option<&'a Console>,
}

impl<'a> LoadTarget for GatewayTarget<'a> {
    type Running = RunningGateway<'a>;

    fn variants(&self) -> Vec<VariantName> {
        self.scenario.variant_names()
    }

    fn pace(&self) -> Pace {
        self.scenario.load.pace()
    }

    fn interval(&self) -> Duration {
        self.scenario.monitor.interval.duration()
    }

    async fn start(&self, variant: VariantName, stop: &CancellationToken) -> Result<Option<Self::Running>, RunError> {
        let Self { scenario, premises, pgbouncer } = *self;
        // The gateway's variants are session scopes.
        let Some(scope) = variant.scope() else { return Ok(None) };
        let starting = Testbed::start(scenario, scope, premises);
        let Some(testbed) = stop.run_until_cancelled(Box::pin(starting)).await else { return Ok(None) };
        Ok(Some(RunningGateway { scenario, premises, pgbouncer, testbed: testbed? }))
    }
}

/// One variant of it.
pub(super) struct RunningGateway<'a> {
    scenario: &'a Scenario,
    premises: &'a TestbedConfig,
    pgbouncer: Option<&'a Console>,
    testbed: Testbed,
}

impl RunningTarget for RunningGateway<'_> {
    fn database(&self) -> Database {
        self.testbed.database().into()
    }

    async fn swarm(&self, pace: &Pace, _stop: &CancellationToken) -> Result<(Swarm, Arc<Fleet>), RunError> {
        let plan = LoadPlan::of_gateway(&self.scenario.load);
        let fleet = Arc::new(Fleet::new(&self.testbed.replica_urls(), plan.labels())?);
        let identities = self.testbed.authorizations().iter().cloned().map(Identity::authorized).collect();
        Ok((Swarm::new(pace, plan, identities, Arc::clone(&fleet))?, fleet))
    }

    fn watch(&self, clock: Clock) -> Watch {
        let monitor = &self.scenario.monitor;
        Watch {
            database: self.testbed.monitor_database(monitor.role.as_deref()).into(),
            interval: monitor.interval.duration(),
            pulse: monitor.pulse.duration(),
            // Nobody else is in a private database; a pool may have been opened before the load begins.
            whose: SessionFilter::everybody(),
            epoch: clock.started,
            replicas: self.testbed.replica_urls(),
            gauges: self.testbed.gauge_urls(),
            gauge_names: GaugeNames::default(),
            health: self.scenario.health.clone(),
            probe: HealthProbe::default(),
            pgbouncer: self.watched_pgbouncer(),
        }
    }

    fn session_processes(&self) -> Option<SessionProcesses> {
        None
    }

    fn scan_target(&self, _settings: ScanSettings) -> Result<Option<(ScanTarget, Pace)>, RunError> {
        Ok(None)
    }

    async fn restart(&mut self, _stop: &CancellationToken) -> Result<bool, RunError> {
        Ok(false)
    }

    async fn died(&mut self) -> RunError {
        self.testbed.died().await.into()
    }

    async fn counters_since(
        &mut self,
        before: &ServerCounters,
        _stop: &CancellationToken,
    ) -> Result<ServerCounters, RunError> {
        // Stopping the gateway ends all its sessions, which loses nothing of those that are idle by then.
        let lost = monitor::read_counters(self.database()).await?.since(before).lost;
        self.testbed.stop_gateway().await;
        tokio::time::sleep(COUNTERS_SETTLE).await;
        let mut counted = monitor::read_counters(self.database()).await?.since(before);
        counted.lost = lost;
        Ok(counted)
    }

    fn facts(&self, counted: &ServerCounters) -> TargetFacts {
        let replicas = self.scenario.gateway.replicas.get();
        TargetFacts {
            postgres_version: self.testbed.postgres_version().to_owned(),
            pgbouncer_version: self.premises.database.pgbouncer_version().map(str::to_owned),
            replicas,
            pages: replicas,
            pool_capacity: Some(self.scenario.gateway.pool_capacity()),
            counted_is_lower_bound: counted.lost.and_then(|lost| lost.any()),
            ..TargetFacts::default()
        }
    }

    async fn completed(&self, record: VariantRecord, _lasted_s: f64) -> VariantRecord {
        record
    }

    fn is_ours(&self) -> bool {
        true
    }

    async fn stop(self) -> Result<(), RunError> {
        Ok(self.testbed.stop().await?)
    }
}

impl RunningGateway<'_> {
    fn watched_pgbouncer(&self) -> Option<PgBouncerWatch> {
        let of_testbed = self.testbed.pgbouncer().map(|(console, log)| (Console::from(console), Some(log)));
        let (console, log) = of_testbed.or_else(|| Some((self.pgbouncer?.clone(), None)))?;
        Some(PgBouncerWatch { console, log })
    }
}
