//! A gateway replica: one process, several workers on one port, and a port for its gauges.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use socket2::{Domain, Protocol, Socket, Type};

use tokio_util::sync::CancellationToken;

use crate::auth::Denied;
use crate::gauges::ReplicaGauges;
use crate::http;
use crate::lifeline;
use crate::routes::metrics::PROMETHEUS;
use crate::serving;
use crate::settings::{Listening, Settings};

/// Connections that may wait to be accepted: a frozen worker collects thousands.
const BACKLOG: i32 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error(transparent)]
    Settings(#[from] lifeline::LifelineError),
    #[error("cannot read the revoked tokens and the disabled users")]
    Denied(#[from] tokio_postgres::Error),
    #[error("cannot listen on `{address}`")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("a worker has ended, and a replica short of one would measure something else")]
    WorkerEnded,
    #[error("cannot start {what}")]
    Start {
        what: &'static str,
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
    let gauges = Arc::new(ReplicaGauges::new(&settings.name, settings.workers, settings.session_scope));
    let (gauges_listener, gauges_address) = bind_gauges()?;
    let settings = Arc::new(settings);
    let header_timeout = settings.header_timeout;
    let failed = |source| ReplicaError::Start { what: "the main event loop", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let denied = Arc::new(Denied::default());
    // Before the first request: a list that was never read would let everybody in.
    let reader = runtime.block_on(denied.read(&settings))?;
    // A replica short of a worker would be another system than the one that was asked for.
    let ended = CancellationToken::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let (settings, gauges, ended) = (Arc::clone(&settings), Arc::clone(&gauges), ended.clone().drop_guard());
        let denied = Arc::clone(&denied);
        std::thread::Builder::new()
            .name(format!("worker-{}", index + 1))
            .spawn(move || {
                // Dropped by a panic too.
                let _ended = ended;
                if let Err(error) = serving::serve(index, settings, gauges, denied, listener) {
                    tracing::error!("worker {} has ended: {error}", index + 1);
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
    runtime.block_on(async {
        tokio::select! {
            served = serve_gauges(gauges_listener, gauges, header_timeout) => served.map_err(failed),
            () = denied.keep_fresh(&settings, reader) => Ok(()),
            () = lifeline.closed() => Ok(()),
            () = ended.cancelled() => Err(ReplicaError::WorkerEnded),
        }
    })
}

/// One listener for each worker, all on one port: the system spreads the connections.
fn bind_workers(port: u16, workers: u32) -> Result<(Vec<TcpListener>, SocketAddr), ReplicaError> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // With SO_REUSEPORT alone, a second gateway would share the port of the first without a word.
    drop(TcpListener::bind(wanted).map_err(|source| ReplicaError::Listen { address: wanted, source })?);
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
        // Connections of a gateway that has ended may linger on the port for a minute.
        socket.set_reuse_address(true)?;
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

/// Answers the gauges from the main thread, which no worker can freeze.
async fn serve_gauges(
    listener: TcpListener,
    gauges: Arc<ReplicaGauges>,
    header_timeout: Duration,
) -> std::io::Result<()> {
    let router = Router::new().route(
        "/metrics/prometheus",
        get(move || std::future::ready(([(CONTENT_TYPE, PROMETHEUS)], gauges.prometheus()))),
    );
    http::serve(tokio::net::TcpListener::from_std(listener)?, router, header_timeout).await;
    Ok(())
}
