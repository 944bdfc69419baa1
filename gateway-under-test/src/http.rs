//! HTTP/1.1 on a listener, with a deadline for what a client has to send first.
//!
//! `axum::serve` has no such deadline: anyone who sends half a request's head would keep a connection for ever.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

/// Serves `router` until it is dropped.
///
/// A connection whose next request's head is not there after `header_timeout` is closed: one that says nothing between
/// two requests, one that has reported half of it, and one that says a letter a second. Handlers find their client's address
/// in the request's extensions.
pub(crate) async fn serve(mut listener: TcpListener, router: Router, header_timeout: Duration) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    loop {
        // It waits by itself when the process has no file descriptor left.
        let (stream, peer) = Listener::accept(&mut listener).await;
        tokio::spawn(connection(builder.clone(), stream, peer, router.clone()));
    }
}

async fn connection(builder: http1::Builder, stream: TcpStream, peer: SocketAddr, router: Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        // The client's doing: it went away, took too long, or spoke no HTTP.
        tracing::debug!(%peer, %error, "a connection has ended");
    }
}
