//! The backend on the network: its socket and its routes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::delay::Delays;
use super::tools::Tools;
use crate::settings::BackendSettings;

/// Connections that may wait to be accepted: all users of a run may call at once, and a connection that finds the
/// queue full waits a second before it tries again, which would be measured as the gateway's latency.
const BACKLOG: i32 = 4096;

/// A port on loopback. Must be called inside a runtime.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until it is dropped; what is in flight then is dropped with the runtime.
pub(super) async fn serve(listener: TcpListener, settings: &BackendSettings) -> io::Result<()> {
    // An answer is one small packet. Should the option be refused, it only comes later.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, routes(settings)).await
}

fn routes(settings: &BackendSettings) -> Router {
    let tools = Tools::new(Delays::new(&settings.delays, settings.seed), &settings.tool_prefixes);
    let mcp = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(NeverSessionManager::default()),
        stateless_json(),
    );
    Router::new().route_service("/mcp", mcp).route("/health", get(async || StatusCode::OK))
}

/// No sessions and plain JSON answers: one POST is one call, as the gateway makes it.
fn stateless_json() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true)
}
