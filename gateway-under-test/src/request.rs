//! A request's own database sessions, and who ends them when.
//!
//! This is where the session scopes differ, `held` and `scoped` above all; everything else in the gateway is the same
//! for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_channel::oneshot;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_postgres::Row;

use crate::db::connection::Params;
use crate::db::{DbError, HoldClock, Session};
use crate::error::{GatewayError, ServerFault};
use crate::gauges::WorkerGauges;
use crate::settings::SessionScope;
use crate::worker::Worker;

/// Time that the request's sessions had a connection, in seconds, up to the response.
pub const HELD_HEADER: &str = "x-session-held-seconds";
/// How much of [`HELD_HEADER`] the server saw idle in transaction, in seconds.
pub const IDLE_HEADER: &str = "x-session-idle-in-transaction-seconds";
/// The session scope that the replica runs.
pub const SCOPE_HEADER: &str = "x-session-scope";

/// What a handler reads of a tool with its own session.
const TOOL_ROW: &str = "SELECT id, name, url, auth_type, auth_value FROM tools WHERE original_name = $1";
/// What a lazy load reads once the session was released.
const LAZY_LOAD: &str = "SELECT id, name, slug, url FROM gateways WHERE id = (SELECT gateway_id FROM tools \
                         WHERE original_name = $1 LIMIT 1)";
/// What the database refuses: a metric row without its timestamp.
const REFUSED: &str = "INSERT INTO permission_audit_log (timestamp, permission, granted) VALUES (NULL, $1, true)";

/// The sessions that live as long as the request. Under `scoped` nothing ever uses them.
#[derive(Clone)]
pub struct RequestSession {
    session: Arc<Mutex<Session>>,
    /// The handler's own, where it has a second one.
    second: Arc<Mutex<Session>>,
    clock: Arc<HoldClock>,
}

impl RequestSession {
    pub(crate) fn new(worker: &Worker) -> Self {
        let clock = Arc::new(HoldClock::default());
        let session = || Arc::new(Mutex::new(worker.database.session_of(&clock)));
        Self { session: session(), second: session(), clock }
    }

    /// A session for one piece of work: the permission check, or a handler's query.
    pub async fn open(&self, worker: &Worker) -> WorkSession {
        match worker.settings.session_scope {
            // The bug of issue #2318: the check takes its session from the request and leaves its transaction open,
            // and whatever the handler then awaits, the server sees `idle in transaction`. With `endpoint_shared`
            // it does so too, but before slow work the transaction is ended.
            SessionScope::Held | SessionScope::DoubleCheckout | SessionScope::EndpointShared => {
                WorkSession::Request(Arc::clone(&self.session).lock_owned().await)
            }
            // The fix: a session around this piece of work only. What the other scopes do wrong comes later.
            SessionScope::Scoped
            | SessionScope::AcrossBackend
            | SessionScope::BeginAgain
            | SessionScope::FailedKept => WorkSession::Own(worker.database.session_of(&self.clock)),
        }
    }

    /// Slow work about `tool` begins: what is open after this stays open across it.
    ///
    /// # Errors
    /// [`DbError`] when the statement of the hold pattern, or a commit, fails.
    pub async fn before_slow_work(&self, worker: &Worker, tool: &str) -> Result<(), DbError> {
        match worker.settings.session_scope {
            SessionScope::Held | SessionScope::Scoped => Ok(()),
            SessionScope::EndpointShared => self.session.lock().await.release().await,
            SessionScope::AcrossBackend => self.session.lock().await.query(TOOL_ROW, &[&tool]).await.map(drop),
            SessionScope::DoubleCheckout => self.second.lock().await.query(TOOL_ROW, &[&tool]).await.map(drop),
            SessionScope::BeginAgain => self.session.lock().await.query(LAZY_LOAD, &[&tool]).await.map(drop),
            SessionScope::FailedKept => match self.session.lock().await.query(REFUSED, &[&tool]).await {
                // Swallowed and never rolled back: the mistake.
                Ok(_) | Err(DbError::Statement { .. }) => Ok(()),
                Err(other) => Err(other),
            },
        }
    }

    /// Slow work has ended.
    ///
    /// # Errors
    /// [`DbError`] when a commit fails.
    pub async fn after_slow_work(&self, worker: &Worker) -> Result<(), DbError> {
        match worker.settings.session_scope {
            SessionScope::AcrossBackend => self.session.lock().await.release().await,
            _ => Ok(()),
        }
    }

    /// Ends what the request still holds, the first error of both.
    async fn release(&self) -> Result<(), DbError> {
        let first = self.session.lock().await.release().await;
        let second = self.second.lock().await.release().await;
        first.and(second)
    }

    /// Tells the client what its request has held so far.
    fn tell(&self, scope: SessionScope, response: &mut Response) {
        let seconds = |span: Duration| HeaderValue::from_str(&format!("{:.6}", span.as_secs_f64()));
        let told = [(HELD_HEADER, self.clock.held()), (IDLE_HEADER, self.clock.idle_in_transaction())];
        for (name, span) in told {
            if let Ok(value) = seconds(span) {
                response.headers_mut().insert(name, value);
            }
        }
        response.headers_mut().insert(SCOPE_HEADER, HeaderValue::from_static(scope.name()));
    }
}

/// A session for one piece of work; see [`RequestSession::open`].
pub enum WorkSession {
    /// The request's: stays open until the response has been sent.
    Request(OwnedMutexGuard<Session>),
    /// The work's own: ends with it.
    Own(Session),
}

impl WorkSession {
    /// Runs a statement.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn query(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        match self {
            Self::Request(session) => session.query(sql, params).await,
            Self::Own(session) => session.query(sql, params).await,
        }
    }

    /// The work is done: a session of its own is committed and given back, the request's is left as it is.
    ///
    /// # Errors
    /// [`DbError`] when what was done could not be committed.
    pub async fn done(self) -> Result<(), DbError> {
        match self {
            Self::Request(_) => Ok(()),
            Self::Own(mut session) => session.release().await,
        }
    }
}

/// Middleware: gives the request its sessions, runs the handler in a task of its own, and releases them after the
/// response.
///
/// A client that goes away does not stop the handler, as in FastAPI, where only middleware could cancel it: the
/// session stays held until the handler has run to its end.
pub async fn with_session(State(worker): State<Arc<Worker>>, mut request: Request, next: Next) -> Response {
    let session = RequestSession::new(&worker);
    request.extensions_mut().insert(session.clone());
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let running = Running::new(&worker.gauges);
        let mut response = next.run(request).await;
        session.tell(worker.settings.session_scope, &mut response);
        if let Some(ServerFault(why)) = response.extensions().get() {
            worker.replica.record_error(why);
        }
        if answer.send(response).is_err() {
            worker.gauges.orphaned.fetch_add(1, Ordering::Relaxed);
        }
        drop(running);
        // The response was handed over first. The loop takes no turn between: FastAPI leaves its dependencies on a
        // thread, which a loop that freezes now does not stop either.
        // The client has its answer: that the commit failed, for instance because the server had ended the idle
        // transaction, only the gateway can tell.
        if let Err(error) = session.release().await {
            worker.replica.record_error(&error.to_string());
        }
    });
    answered.await.unwrap_or_else(|_panicked| GatewayError::Panicked.into_response())
}

/// Counts a handler for as long as it runs.
struct Running<'a>(&'a AtomicU64);

impl<'a> Running<'a> {
    fn new(gauges: &'a WorkerGauges) -> Self {
        gauges.handlers.fetch_add(1, Ordering::Relaxed);
        Self(&gauges.handlers)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
