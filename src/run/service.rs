//! One variant of an external service: it is started where the scenario says how, loaded, and its database is
//! watched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::access::Access;
use super::pooler::refuse_pooler;
use super::scan::{self, ScanSettings, ScanTarget};
use super::software::software_of;
use super::started::StartedService;
use super::target::{LoadTarget, RunningTarget};
use super::target_sessions::{SessionProcesses, attributed};
use super::variant_run::TargetFacts;
use crate::database::Database;
use crate::monitor::{self, GaugeNames, Good, HealthProbe, PgBouncerWatch, ServerCounters, SessionFilter, Watch};
use crate::record::{SessionsElsewhere, Software, VariantRecord, not_observed};
use crate::scan::traffic::Traffic;
use crate::scenario::service::BaseUrl;
use crate::scenario::{Pace, ServiceScenario, VariantName, Workload};
use crate::swarm::fleet::Fleet;
use crate::swarm::{self, Clock, Identity, LoadPlan, LoginCredentials, Swarm, SwarmError};
use crate::units::{Rate, Span};

/// A session that is idle reports to the server's statistics at its next transaction, or after ten seconds. What it has
/// not reported by now is missing in the counter, which is a lower bound.
const COUNTERS_SETTLE: Duration = Duration::from_millis(1200);

/// Places of sessions elsewhere that a record has.
const MOST_ELSEWHERE: usize = 5;

/// The service that a scenario describes.
pub(super) struct ServiceTarget<'a> {
    pub(super) scenario: &'a ServiceScenario,
    pub(super) access: &'a Access,
    /// Folder for the log of a service that is started.
    pub(super) folder: &'a Path,
    /// True if it is scanned, in place of a load.
    pub(super) is_scanned: bool,
}

impl<'a> LoadTarget for ServiceTarget<'a> {
    type Running = RunningService<'a>;

    fn variants(&self) -> Vec<VariantName> {
        self.scenario.variant_names()
    }

    fn pace(&self) -> Pace {
        self.scenario.pace()
    }

    fn interval(&self) -> Duration {
        self.scenario.monitor.interval.duration()
    }

    async fn start(&self, variant: VariantName, stop: &CancellationToken) -> Result<Option<Self::Running>, RunError> {
        let Self { scenario, access, folder, is_scanned } = *self;
        refuse_pooler(&access.database).await?;
        // A database that does not answer is reported before anything is started on it.
        let asking = monitor::server_version(&access.database);
        let Some(postgres_version) = stop.run_until_cancelled(asking).await else { return Ok(None) };
        let postgres_version = postgres_version?;
        let filter = &scenario.database;
        let filter = SessionFilter { applications: filter.applications.clone(), users: filter.users.clone() };
        let (whose, own_alone) = monitor::within_sight(&access.database, filter).await?;
        if let Some(role) = own_alone {
            tracing::warn!(
                "role `{role}` sees its own sessions alone; `GRANT pg_monitor TO \"{role}\"` shows others, too"
            );
        }
        let started = StartedService::start(scenario, variant, access, folder, stop).await?;
        let running = |service| RunningService {
            scenario,
            name: variant,
            access,
            folder,
            is_scanned,
            postgres_version,
            whose: whose.clone(),
            service,
        };
        Ok(started.map(running))
    }
}

/// One variant of it.
pub(super) struct RunningService<'a> {
    scenario: &'a ServiceScenario,
    name: VariantName,
    access: &'a Access,
    folder: &'a Path,
    is_scanned: bool,
    postgres_version: String,
    /// Sessions that are watched.
    whose: SessionFilter,
    service: StartedService,
}

impl RunningTarget for RunningService<'_> {
    fn database(&self) -> Database {
        self.access.database.clone()
    }

    async fn swarm(&self, pace: &Pace, stop: &CancellationToken) -> Result<(Swarm, Arc<Fleet>), RunError> {
        let plan = LoadPlan::of_service(self.scenario, &self.access.files)?;
        let fleet = Arc::new(Fleet::new(&self.urls(), plan.labels())?);
        let client = self.access.guard.client();
        let identities = self.log_in(pace, stop).await?;
        let swarm = Swarm::among_other_sessions(
            client,
            pace,
            plan,
            identities,
            Arc::clone(&fleet),
            self.access.secrets.known(),
        )?;
        Ok((swarm, fleet))
    }

    fn watch(&self, clock: Clock) -> Watch {
        let health = self.scenario.target.health.as_ref();
        Watch {
            database: self.access.database.clone(),
            interval: self.scenario.monitor.interval.duration(),
            pulse: self.scenario.monitor.pulse.duration(),
            whose: self.whose.clone(),
            epoch: clock.started,
            replicas: if health.is_some() { self.urls() } else { Vec::new() },
            gauges: self.pages(),
            gauge_names: self.scenario.target.metrics.as_ref().map(GaugeNames::from).unwrap_or_default(),
            pgbouncer: self.access.pgbouncer.clone().map(|console| PgBouncerWatch { console, log: None }),
            health: self.scenario.health.clone(),
            probe: HealthProbe {
                path: health.cloned().unwrap_or_default(),
                good: Good::Status,
                resolved: self.access.guard.resolved(),
                tls: self.access.guard.tls().clone(),
            },
        }
    }

    fn session_processes(&self) -> Option<SessionProcesses> {
        Some(SessionProcesses::watch(self.ports(), self.access.database.ports()))
    }

    fn scan_target(&self, settings: ScanSettings) -> Result<Option<(ScanTarget, Pace)>, RunError> {
        let load = self.scenario.pace();
        let labels = LoadPlan::of_service(self.scenario, &self.access.files)?.labels();
        let target = ScanTarget {
            settings,
            database: self.access.database.clone(),
            ports: self.ports(),
            routes: self.traffic_shares(&labels),
            traffic: Some(settings.rate.map_or_else(|| self.traffic(), Traffic::Rate)),
            pool_capacity: self.scenario.pool_capacity.map(crate::units::Count::get),
        };
        Ok(Some((target, scan::pace(&load, &settings.plan, self.access.ceiling(&load)))))
    }

    async fn restart(&mut self, stop: &CancellationToken) -> Result<bool, RunError> {
        // A login may be gone with the service that gave it.
        let logs_in = self.access.credentials.iter().any(|it| !matches!(it, LoginCredentials::Known(_)));
        if !self.service.is_ours() || logs_in {
            return Ok(false);
        }
        std::mem::take(&mut self.service).stop().await;
        let started = StartedService::start(self.scenario, self.name, self.access, self.folder, stop).await?;
        let is_there = started.is_some();
        self.service = started.unwrap_or_default();
        Ok(is_there)
    }

    async fn died(&mut self) -> RunError {
        self.service.died().await.into()
    }

    async fn counters_since(
        &mut self,
        before: &ServerCounters,
        stop: &CancellationToken,
    ) -> Result<ServerCounters, RunError> {
        // An interrupt does not wait for it: the count is a lower bound anyway.
        stop.run_until_cancelled(tokio::time::sleep(COUNTERS_SETTLE)).await;
        let mut counted = counted_since(before, &self.access.database).await;
        if !self.whose.is_everybody() {
            // The server counts for the whole database: others' sessions are in it.
            counted.idle_in_transaction_s = None;
        }
        Ok(counted)
    }

    async fn counted_later(&self, before: &ServerCounters) -> Option<f64> {
        counted_since(before, &self.access.database).await.idle_in_transaction_s
    }

    fn facts(&self, counted: &ServerCounters) -> TargetFacts {
        TargetFacts {
            postgres_version: self.postgres_version.clone(),
            replicas: self.replicas(),
            pages: u32::try_from(self.pages().len()).unwrap_or(u32::MAX),
            pool_capacity: self.scenario.pool_capacity.map(crate::units::Count::get),
            counted_is_lower_bound: counted.idle_in_transaction_s.map(|_| true),
            ..TargetFacts::default()
        }
    }

    async fn completed(&self, record: VariantRecord, lasted_s: f64) -> VariantRecord {
        let record = VariantRecord { software: self.software().await, ..self.with_short_sessions(record) };
        if record.unobserved().is_none() || !self.scenario.database.expect_sessions {
            return record;
        }
        let record = VariantRecord { sessions_elsewhere: self.sessions_elsewhere(lasted_s).await, ..record };
        let because = record.unobserved().map(|elsewhere| not_observed(&elsewhere)).unwrap_or_default();
        VariantRecord { scan: record.scan.map(|scan| scan.of_unknown(&because)), ..record }
    }

    fn is_ours(&self) -> bool {
        self.service.is_ours()
    }

    async fn stop(self) -> Result<(), RunError> {
        self.service.stop().await;
        Ok(())
    }
}

impl RunningService<'_> {
    async fn software(&self) -> Option<Software> {
        let client = self.access.guard.client();
        software_of(client, self.scenario.urls(self.name).first()?, self.scenario.target.health.as_deref()).await
    }

    /// A service that connects for each request may have no session at any poll: the server has counted them all the same. Of
    /// some sessions alone it counts none, and a scan opens sessions of its own.
    fn with_short_sessions(&self, mut record: VariantRecord) -> VariantRecord {
        let counts = record.scan.is_none() && self.whose.is_everybody();
        if let Some(monitor) = record.monitor.as_mut().filter(|_| counts) {
            monitor.sessions_with_activity = monitor.sessions_with_activity.max(monitor.sessions_opened);
        }
        record
    }

    /// Sessions that ran queries while none of the filter did, by place.
    async fn sessions_elsewhere(&self, lasted_s: f64) -> Vec<SessionsElsewhere> {
        let within_s = lasted_s + COUNTERS_SETTLE.as_secs_f64();
        match monitor::elsewhere(&self.access.database, Some(within_s)).await {
            Ok(groups) => {
                let ports = self.ports();
                let mut found = attributed(groups, &ports, &self.access.database.ports());
                found.sort_by_key(|group| group.process.is_none());
                found.truncate(MOST_ELSEWHERE);
                found
            }
            Err(error) => {
                tracing::debug!(%error, "cannot find the service's sessions");
                Vec::new()
            }
        }
    }

    /// Everybody who loads it; anyone who must log in does, at the first of its replicas. Whose turn never comes, does not.
    async fn log_in(&self, pace: &Pace, stop: &CancellationToken) -> Result<Vec<Identity>, RunError> {
        let credentials = &self.access.credentials;
        // A scan's company has users of each route.
        let for_each = if self.is_scanned { self.scenario.routes().count() } else { 1 };
        let wanted = match pace.workload {
            Workload::Closed { users } => (users as usize).saturating_mul(for_each).min(credentials.len()),
            Workload::Open { .. } => credentials.len(),
        };
        let client = self.access.guard.client().timeout(pace.client_timeout.duration());
        let client = client.build().map_err(SwarmError::Prepare)?;
        let base = self.scenario.urls(self.name);
        let base = base.first().map(|it| it.url().clone());
        let Some(base) = base else { return Ok(Vec::new()) };
        let login = swarm::log_in(&client, &base, &credentials[..wanted], self.access.ceiling(pace));
        // Once it was asked to stop, nobody asks any more.
        Ok(stop.run_until_cancelled(login).await.transpose()?.unwrap_or_else(|| vec![Identity::of([])]))
    }

    /// Each route and its share of the requests, by the plan's order.
    fn traffic_shares(&self, labels: &[String]) -> Vec<(String, f64)> {
        let shares = self.scenario.shares();
        let weight = |label: &str| shares.iter().filter(|(name, _)| *name == label).map(|(_, it)| it).sum::<f64>();
        let all: f64 = shares.iter().map(|(_, weight)| weight).sum();
        labels.iter().map(|label| (label.clone(), weight(label) / all)).collect()
    }

    /// The traffic of the scenario's own load.
    fn traffic(&self) -> Traffic {
        let pace = self.scenario.pace();
        let most_rps = pace.max_rate.map(Rate::get);
        match pace.workload {
            Workload::Closed { users } => Traffic::Users { users, think_s: self.mean_think_s(), most_rps },
            Workload::Open { rate, .. } => Traffic::Rate(rate),
        }
    }

    /// Mean think time before a request, over the routes' shares.
    fn mean_think_s(&self) -> f64 {
        let own = |name: &str| self.scenario.routes().find(|it| it.route.name() == name).and_then(|it| it.think_time);
        let shares = self.scenario.shares();
        let all: f64 = shares.iter().map(|(_, weight)| weight).sum();
        let think_s = |name: &str| {
            let [shortest, longest] = own(name).unwrap_or(self.scenario.load.think_time).map(Span::secs);
            f64::midpoint(shortest, longest)
        };
        shares.iter().map(|(name, weight)| weight / all * think_s(name)).sum()
    }

    /// The pages of its pools' gauges.
    fn pages(&self) -> Vec<String> {
        let metrics = self.scenario.target.metrics.as_ref();
        metrics.map(|metrics| metrics.pages(&self.scenario.urls(self.name))).unwrap_or_default()
    }

    /// Where it listens.
    fn ports(&self) -> Vec<u16> {
        self.scenario.urls(self.name).iter().map(BaseUrl::port).collect()
    }

    fn urls(&self) -> Vec<String> {
        self.scenario.urls(self.name).iter().map(ToString::to_string).collect()
    }

    fn replicas(&self) -> u32 {
        // Without a health path nobody knows how many there are.
        let probed = if self.scenario.target.health.is_some() { self.urls().len() } else { 0 };
        u32::try_from(probed).unwrap_or(u32::MAX)
    }
}

/// Counters since then. A server that does not answer any more, as after a crash or with all its connections
/// taken, is what is to be measured: the figure is missing, and all that was seen remains.
async fn counted_since(before: &ServerCounters, database: &Database) -> ServerCounters {
    match monitor::read_counters(database).await {
        Ok(now) => now.since(before),
        Err(error) => {
            tracing::warn!("the server's own count is missing: {error}: {}", crate::tls::cause(&error));
            before.unknown()
        }
    }
}
