//! A request's own database session, and who ends it when.
//!
//! This is where `held` and `scoped` differ; everything else in the gateway is the same for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_channel::oneshot;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_postgres::Row;

use crate::db::connection::Params;
use crate::db::{DbError, Session};
use crate::error::GatewayError;
use crate::gauges::WorkerGauges;
use crate::settings::SessionScope;
use crate::worker::Worker;

/// The session that lives as long as the request. Under `scoped` nothing ever uses it.
#[derive(Clone)]
pub struct RequestSession(Arc<Mutex<Session>>);

impl RequestSession {
    /// A session for one piece of work: the permission check, or a handler's query.
    pub async fn open(&self, worker: &Worker) -> WorkSession {
        match worker.settings.session_scope {
            // The bug of issue #2318: the check takes its session from the request and leaves its transaction open,
            // and whatever the handler then awaits, the server sees `idle in transaction`.
            SessionScope::Held => WorkSession::Request(Arc::clone(&self.0).lock_owned().await),
            // The fix: a session around this piece of work only.
            SessionScope::Scoped => WorkSession::Own(worker.database.session()),
        }
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

/// Middleware: gives the request its session, runs the handler in a task of its own, and releases the session after
/// the response.
///
/// A client that goes away does not stop the handler, as in FastAPI, where only middleware could cancel it: the
/// session stays held until the handler has run to its end.
pub async fn with_session(State(worker): State<Arc<Worker>>, mut request: Request, next: Next) -> Response {
    let session = RequestSession(Arc::new(Mutex::new(worker.database.session())));
    request.extensions_mut().insert(session.clone());
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let running = Running::new(&worker.gauges);
        let response = next.run(request).await;
        if answer.send(response).is_err() {
            worker.gauges.orphaned.fetch_add(1, Ordering::Relaxed);
        }
        drop(running);
        // The response was handed over first. The loop takes no turn between: FastAPI leaves its dependencies on a
        // thread, which a loop that freezes now does not stop either.
        // The client has its answer: that the commit failed, for instance because the server had ended the idle
        // transaction, only the gateway can tell.
        if let Err(error) = session.0.lock().await.release().await {
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
