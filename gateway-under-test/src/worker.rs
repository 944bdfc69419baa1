//! State that the handlers of one worker share: settings, pool, gauges, clients and caches. `serving` runs it.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::auth::{Authenticator, Denied};
use crate::db::{GatewayDatabase, Session};
use crate::error::GatewayError;
use crate::garbage::Garbage;
use crate::gauges::{ReplicaGauges, WorkerGauges};
use crate::plugins::Plugins;
use crate::registry::ToolRegistry;
use crate::settings::Settings;
use crate::waits::Wait;

/// Parts that `routes` brings for its handlers.
pub struct Parts {
    /// Client of the service behind the gateway.
    pub backend: reqwest::Client,
    pub pages: minijinja::Environment<'static>,
}

pub struct Worker {
    pub settings: Arc<Settings>,
    pub database: GatewayDatabase,
    pub gauges: Arc<WorkerGauges>,
    /// All gauges of the replica.
    pub replica: Arc<ReplicaGauges>,
    pub authenticator: Authenticator,
    /// Denied bearers of good tokens.
    pub denied: Arc<Denied>,
    /// Tools by name, cached.
    pub tools: ToolRegistry,
    /// Client of the service behind the gateway.
    pub backend: reqwest::Client,
    pub pages: minijinja::Environment<'static>,
    /// Delay of a page beside its rendering.
    pub rendering: Wait,
    /// Plugins before a tool call.
    pub plugins: Plugins,
    pub garbage: Arc<Garbage>,
    /// The session of the health probe, where it has one for good.
    pub probe: Arc<Mutex<Session>>,
}

impl Worker {
    /// The worker `index` of a replica, with an empty pool.
    #[must_use]
    pub fn new(
        index: usize,
        settings: Arc<Settings>,
        replica: Arc<ReplicaGauges>,
        denied: Arc<Denied>,
        Parts { backend, pages }: Parts,
    ) -> Self {
        let gauges = replica.worker(index);
        let name = format!("{}/worker-{}", settings.name, index + 1);
        let pool = Arc::clone(&gauges.pool);
        let database = GatewayDatabase::new(&name, &settings.database, &settings.pool, settings.checkout, pool);
        Self {
            authenticator: Authenticator::new(&settings.jwt_secret),
            denied,
            tools: ToolRegistry::default(),
            backend,
            pages,
            rendering: Wait::of(settings.slow_work.render),
            plugins: Plugins::new(Wait::of(settings.slow_work.hook)),
            garbage: Arc::new(Garbage::new(settings.garbage_after)),
            probe: Arc::new(Mutex::new(database.session())),
            database,
            settings,
            gauges,
            replica,
        }
    }

    /// Counts an error that a handler ended in, where it is the gateway's and not the caller's.
    pub fn record(&self, error: &GatewayError) {
        if let Some(fault) = error.fault() {
            self.replica.record_error(&fault);
        }
    }
}
