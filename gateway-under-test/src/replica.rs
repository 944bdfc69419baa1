//! A gateway replica: one process, several workers on one port, and a port for its gauges.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use socket2::{Domain, Protocol, Socket, Type};

use crate::gauges::ReplicaGauges;
use crate::lifeline::{self, Lifeline};
use crate::routes::metrics::PROMETHEUS;
use crate::settings::{Listening, Settings};
use crate::worker;

/// Connections that may wait to be accepted: a frozen worker collects thousands.
const BACKLOG: i32 = 4096;

/// Why a replica could not run.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The settings did not arrive.
    #[error(transparent)]
    Settings(#[from] lifeline::LifelineError),
    /// The port is taken, or not allowed.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread or its event loop could not be started.
    #[error("cannot start {what}")]
    Start {
        /// Which one.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Serves with the settings that arrive on standard input, until that is closed.
///
/// The listeners are bound before the first worker starts, so that an address in use is an error and not a
/// half-started replica.
///
/// # Errors
/// [`ReplicaError`] when it could not start.
pub fn serve_until_stdin_closes() -> Result<(), ReplicaError> {
    let (settings, lifeline) = lifeline::read_settings::<Settings>()?;
    let (listeners, address) = bind_workers(settings.port, settings.workers)?;
    let gauges = Arc::new(ReplicaGauges::new(&settings.name, settings.workers));
    let (gauges_listener, gauges_address) = bind_gauges()?;
    let settings = Arc::new(settings);
    for (index, listener) in listeners.into_iter().enumerate() {
        let (settings, gauges) = (Arc::clone(&settings), Arc::clone(&gauges));
        std::thread::Builder::new()
            .name(format!("worker-{}", index + 1))
            .spawn(move || {
                if let Err(error) = worker::serve(index, settings, gauges, listener) {
                    tracing::error!(%error, worker = index + 1, "a worker has ended");
                }
            })
            .map_err(|source| ReplicaError::Start { what: "a worker", source })?;
    }
    let listening = Listening {
        url: format!("http://{address}"),
        gauges_url: Some(format!("http://{gauges_address}/metrics/prometheus")),
    };
    lifeline::announce(&mut std::io::stdout().lock(), &listening)?;
    // The workers are not joined: a frozen one would never end. The process ends, and they with it.
    serve_gauges(gauges_listener, gauges, &lifeline)
}

/// One listener for each worker, all on one port: the system spreads the connections.
fn bind_workers(port: u16, workers: u32) -> Result<(Vec<TcpListener>, SocketAddr), ReplicaError> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let first = bind(wanted)?;
    let address = first.local_addr().map_err(|source| ReplicaError::Listen { address: wanted, source })?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(bind(address)?);
    }
    Ok((listeners, address))
}

fn bind(address: SocketAddr) -> Result<TcpListener, ReplicaError> {
    let bound = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|source| ReplicaError::Listen { address, source })
}

fn bind_gauges() -> Result<(TcpListener, SocketAddr), ReplicaError> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = bind(wanted)?;
    let address = listener.local_addr().map_err(|source| ReplicaError::Listen { address: wanted, source })?;
    Ok((listener, address))
}

/// Answers the gauges from this thread, which no worker can freeze, until the parent lets go.
fn serve_gauges(listener: TcpListener, gauges: Arc<ReplicaGauges>, lifeline: &Lifeline) -> Result<(), ReplicaError> {
    let router = Router::new().route(
        "/metrics/prometheus",
        get(move || std::future::ready(([(CONTENT_TYPE, PROMETHEUS)], gauges.prometheus()))),
    );
    let failed = |source| ReplicaError::Start { what: "the gauges' event loop", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        tokio::select! {
            served = axum::serve(listener, router) => served.map_err(failed),
            () = lifeline.closed() => Ok(()),
        }
    })
}
