//! One worker: a single-threaded event loop with a listener and a pool of its own, as a pre-forked Python server has.

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::auth::Authenticator;
use crate::db::Database;
use crate::error::GatewayError;
use crate::gauges::{BEAT_INTERVAL, ReplicaGauges, WorkerGauges};
use crate::registry::ToolRegistry;
use crate::request::with_session;
use crate::routes;
use crate::settings::Settings;

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
    /// Tools by name, cached.
    pub tools: ToolRegistry,
    /// Client of the service behind the gateway.
    pub backend: reqwest::Client,
    /// Page templates.
    pub pages: minijinja::Environment<'static>,
}

impl Worker {
    /// Counts an error that a handler ended in, where it is the gateway's and not the caller's.
    pub fn record(&self, error: &GatewayError) {
        if error.status().is_server_error() {
            self.replica.record_error(&error.to_string());
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
    listener: TcpListener,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SYNC_ROUTE_THREADS)
        .thread_name(format!("worker-{}-sync", index + 1))
        .build()?;
    runtime.block_on(async move {
        let gauges = replica.worker(index);
        let database = Database::new(
            &format!("{}/worker-{}", settings.name, index + 1),
            &settings.database,
            &settings.pool,
            settings.checkout,
            Arc::clone(&gauges.pool),
        );
        let worker = Arc::new(Worker {
            authenticator: Authenticator::new(&settings.jwt_secret),
            tools: ToolRegistry::default(),
            backend: routes::tool_call::client().map_err(std::io::Error::other)?,
            pages: routes::admin::pages().map_err(std::io::Error::other)?,
            settings,
            database,
            gauges,
            replica,
        });
        tokio::spawn(beat(Arc::clone(&worker.gauges)));
        axum::serve(tokio::net::TcpListener::from_std(listener)?, router(worker)).await
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

fn router(worker: Arc<Worker>) -> Router {
    Router::new()
        .route("/tools", get(routes::entities::tools))
        .route("/servers", get(routes::entities::servers))
        .route("/rpc", post(routes::rpc::rpc))
        .route("/admin/", get(routes::admin::index))
        .layer(from_fn_with_state(Arc::clone(&worker), with_session))
        .route("/health", get(routes::health::health))
        .route("/ready", get(routes::health::ready))
        .route("/metrics/prometheus", get(routes::metrics::prometheus))
        .with_state(worker)
}
