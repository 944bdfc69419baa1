//! A worker at work: a single-threaded event loop with a listener and a pool of its own, as a pre-forked Python server
//! has.

use std::net::TcpListener;
use std::sync::Arc;

use crate::auth::Denied;
use crate::gauges::{BEAT_INTERVAL, ReplicaGauges, WorkerGauges};
use crate::http;
use crate::routes;
use crate::settings::Settings;
use crate::worker::Worker;

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
        let parts = routes::parts().map_err(std::io::Error::other)?;
        let worker = Arc::new(Worker::new(index, settings, replica, denied, parts));
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
