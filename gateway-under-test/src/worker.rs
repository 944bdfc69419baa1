//! One worker: a single-threaded event loop with a listener and a pool of its own, as a pre-forked Python server has.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::auth::{Authenticator, Denied};
use crate::db::{Database, Session};
use crate::error::GatewayError;
use crate::gauges::{BEAT_INTERVAL, ReplicaGauges, WorkerGauges};
use crate::http;
use crate::plugins::Plugins;
use crate::registry::ToolRegistry;
use crate::request::Garbage;
use crate::routes;
use crate::settings::Settings;
use crate::waits::Wait;

/// What a worker's handlers share.
pub struct Worker {
    /// The replica's settings.
    pub settings: Arc<Settings>,
    /// This worker's pool.
    pub database: Database,
    /// This worker's gauges.
    pub gauges: Arc<WorkerGauges>,
    /// All gauges of the replica.
    pub replica: Arc<ReplicaGauges>,
    /// Checks tokens.
    pub authenticator: Authenticator,
    /// Whom it does not let in all the same.
    pub denied: Arc<Denied>,
    /// Tools by name, cached.
    pub tools: ToolRegistry,
    /// Client of the service behind the gateway.
    pub backend: reqwest::Client,
    /// Page templates.
    pub pages: minijinja::Environment<'static>,
    /// What a page waits for beside its rendering.
    pub rendering: Wait,
    /// Whom a tool call must get past.
    pub plugins: Plugins,
    /// What nobody closed.
    pub garbage: Arc<Garbage>,
    /// The session of the health probe, where it has one for good.
    pub probe: Arc<Mutex<Session>>,
}

impl Worker {
    /// The worker `index` of a replica, with an empty pool.
    ///
    /// # Errors
    /// When a client cannot be built or a template does not parse.
    pub fn new(
        index: usize,
        settings: Arc<Settings>,
        replica: Arc<ReplicaGauges>,
        denied: Arc<Denied>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let gauges = replica.worker(index);
        let name = format!("{}/worker-{}", settings.name, index + 1);
        let pool = Arc::clone(&gauges.pool);
        let database = Database::new(&name, &settings.database, &settings.pool, settings.checkout, pool);
        Ok(Self {
            authenticator: Authenticator::new(&settings.jwt_secret),
            denied,
            tools: ToolRegistry::default(),
            backend: routes::tool_call::client()?,
            pages: routes::admin::pages()?,
            rendering: Wait::of(settings.slow_work.render),
            plugins: Plugins::new(Wait::of(settings.slow_work.hook)),
            garbage: Arc::new(Garbage::new(settings.garbage_after)),
            probe: Arc::new(Mutex::new(database.session())),
            database,
            settings,
            gauges,
            replica,
        })
    }

    /// Counts an error that a handler ended in, where it is the gateway's and not the caller's.
    pub fn record(&self, error: &GatewayError) {
        if let Some(fault) = error.fault() {
            self.replica.record_error(&fault);
        }
    }
}

/// Threads on which a worker answers what its sync routes do: anyio's limit.
const SYNC_ROUTE_THREADS: usize = 40;

/// Serves `listener` on this thread until the process ends.
///
/// # Errors
/// When the event loop cannot be made or the listener cannot be used.
pub fn serve(
    index: usize,
    settings: Arc<Settings>,
    replica: Arc<ReplicaGauges>,
    denied: Arc<Denied>,
    listener: TcpListener,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SYNC_ROUTE_THREADS)
        .thread_name(format!("worker-{}-sync", index + 1))
        .build()?;
    runtime.block_on(async move {
        let worker = Worker::new(index, settings, replica, denied).map_err(std::io::Error::other)?;
        let worker = Arc::new(worker);
        tokio::spawn(beat(Arc::clone(&worker.gauges)));
        let header_timeout = worker.settings.header_timeout;
        http::serve(tokio::net::TcpListener::from_std(listener)?, routes::router(worker), header_timeout).await;
        Ok(())
    })
}

/// Says that the loop is alive, as long as it is.
async fn beat(gauges: Arc<WorkerGauges>) {
    let mut ticks = tokio::time::interval(BEAT_INTERVAL);
    loop {
        ticks.tick().await;
        gauges.beat();
    }
}
