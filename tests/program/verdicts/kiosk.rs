//! A small service on a PostgreSQL, which can be made to fail in each way that a gate must not take for health.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

use crate::support::postgres::cluster;

/// The `application_name` of its sessions.
pub(super) const APPLICATION: &str = "kiosk";

/// Behaviour towards requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// It works.
    Fine,
    /// It answers 404 to everything but `/health`.
    NotFound,
    /// It answers 500 to everything but `/health`.
    Broken,
    /// Only `/reports/{id}` fails.
    ReportsFail,
    /// It answers 200, and an error in the body.
    Masked,
    /// It answers nothing.
    Hangs,
    /// `/health` fails, and nothing else.
    Unhealthy,
    /// `/reports/{id}` keeps its transaction open while it waits.
    Holds,
}

const MODES: [Mode; 8] = [
    Mode::Fine,
    Mode::NotFound,
    Mode::Broken,
    Mode::ReportsFail,
    Mode::Masked,
    Mode::Hangs,
    Mode::Unhealthy,
    Mode::Holds,
];

/// The service. It runs on an event loop of its own, so that it can be killed as a process is.
pub(super) struct Kiosk {
    pub(super) url: String,
    mode: Arc<AtomicU8>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Clone)]
struct App {
    mode: Arc<AtomicU8>,
    sessions: Arc<Vec<Mutex<Client>>>,
}

const SESSIONS: usize = 4;

impl Kiosk {
    pub(super) fn start(mode: Mode) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mode = Arc::new(AtomicU8::new(mode as u8));
        let url = runtime.block_on(serve(Arc::clone(&mode)));
        Self { url, mode, runtime: Some(runtime) }
    }

    pub(super) fn become_(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Ends it as a signal would: its sockets close, whatever is under way.
    pub(super) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Kiosk {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(mode: Arc<AtomicU8>) -> String {
    let mut config = cluster().await.config();
    config.application_name(APPLICATION);
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let (client, connection) = config.connect(NoTls).await.expect("a session");
        tokio::spawn(connection);
        sessions.push(Mutex::new(client));
    }
    let app = App { mode, sessions: Arc::new(sessions) };
    let router = Router::new()
        .route("/health", get(health))
        .route("/items", get(items))
        .route("/reports/{id}", get(report))
        .route("/static", get(async || "{}"))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its number"));
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

impl App {
    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::Relaxed))]
    }

    /// A short transaction, and what the mode makes of the answer.
    async fn answer(&self, number: usize, is_report: bool) -> Response {
        match self.mode() {
            Mode::NotFound => return StatusCode::NOT_FOUND.into_response(),
            Mode::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Mode::ReportsFail if is_report => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Mode::Masked => return r#"{"error":"no luck"}"#.into_response(),
            Mode::Hangs => std::future::pending().await,
            Mode::Fine | Mode::ReportsFail | Mode::Unhealthy | Mode::Holds => {}
        }
        let session = self.sessions[number % SESSIONS].lock().await;
        let holds = is_report && self.mode() == Mode::Holds;
        let begun = session.batch_execute("BEGIN; SELECT 1 AS kiosk").await;
        if holds {
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        let ended = session.batch_execute("COMMIT").await;
        if begun.and(ended).is_ok() { "{}".into_response() } else { StatusCode::BAD_GATEWAY.into_response() }
    }
}

async fn health(State(app): State<App>) -> StatusCode {
    if app.mode() == Mode::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

async fn items(State(app): State<App>) -> Response {
    app.answer(0, false).await
}

async fn report(State(app): State<App>, Path(id): Path<usize>) -> Response {
    app.answer(id, true).await
}
