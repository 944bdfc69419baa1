//! A request's own database sessions, and who ends them when.
//!
//! Differences between session scopes, `held` and `scoped` above all, are in `scopes`; everything else in the gateway is the
//! same for all of them.

mod scopes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_channel::oneshot;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_postgres::Row;

use crate::db::connection::Params;
use crate::db::{DbError, HoldClock, Session};
use crate::error::{GatewayError, ServerFault};
use crate::garbage::Garbage;
use crate::gauges::WorkerGauges;
use crate::settings::SessionScope;
use crate::worker::Worker;

pub use scopes::{SlowWork, UntilSent};

/// Time that the request's sessions had a connection, in seconds, up to the response.
pub const HELD_HEADER: &str = "x-session-held-seconds";
/// Part of [`HELD_HEADER`] that the server saw idle in transaction, in seconds.
pub const IDLE_HEADER: &str = "x-session-idle-in-transaction-seconds";
/// The session scope that the replica runs.
pub const SCOPE_HEADER: &str = "x-session-scope";
/// The hold pattern of that scope, such as `H2`; not sent by a fix.
pub const PATTERN_HEADER: &str = "x-session-pattern";

/// A body larger than this is refused with status 413.
pub const LARGEST_BODY: usize = 2 * 1024 * 1024;
/// A body that has not arrived after this long is refused with status 408.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The sessions that live as long as the request. Under `scoped` nothing ever uses them.
#[derive(Clone)]
pub struct RequestSession {
    session: Arc<Mutex<Session>>,
    /// Those beside it, where a scope has more than one.
    extra: Arc<Mutex<Vec<Session>>>,
    /// True if the body of the response ends the sessions, and not its head.
    until_sent: Arc<AtomicBool>,
    clock: Arc<HoldClock>,
}

impl RequestSession {
    pub(crate) fn new(worker: &Worker) -> Self {
        let clock = Arc::new(HoldClock::default());
        let session = Arc::new(Mutex::new(worker.database.session_of(&clock)));
        Self { session, extra: Arc::default(), until_sent: Arc::default(), clock }
    }

    /// Ends what the request still holds; the first error of all.
    async fn release(&self) -> Result<(), DbError> {
        let mut released = self.session.lock().await.release().await;
        for session in self.extra.lock().await.iter_mut() {
            released = released.and(session.release().await);
        }
        released
    }

    /// Ends what the request still holds. The client has its answer: that the commit failed, for instance because the
    /// server had ended the idle transaction, only the gateway can tell.
    async fn end(&self, worker: &Worker) {
        if let Err(error) = self.release().await {
            worker.replica.record_error(&error.to_string());
        }
    }

    /// Tells the client what its request has held so far.
    fn tell(&self, scope: SessionScope, response: &mut Response) {
        let seconds = |span: Duration| HeaderValue::from_str(&format!("{:.6}", span.as_secs_f64()));
        let headers = [(HELD_HEADER, self.clock.held()), (IDLE_HEADER, self.clock.idle_in_transaction())];
        for (name, span) in headers {
            if let Ok(value) = seconds(span) {
                response.headers_mut().insert(name, value);
            }
        }
        response.headers_mut().insert(SCOPE_HEADER, HeaderValue::from_static(scope.name()));
        if let Some(pattern) = scope.pattern() {
            response.headers_mut().insert(PATTERN_HEADER, HeaderValue::from_static(pattern));
        }
    }
}

/// A session for one piece of work; see [`RequestSession::open`].
pub enum WorkSession {
    /// The request's: stays open until the response has been sent.
    Request(OwnedMutexGuard<Session>),
    /// The request's, but ends with the work; the next work begins again.
    Closed(OwnedMutexGuard<Session>),
    /// The work's own: ends with it.
    Own(Session),
    /// The work's own: nobody ends it.
    Lost(Session, Arc<Garbage>),
}

impl WorkSession {
    /// Runs a statement.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn query(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        match self {
            Self::Request(session) | Self::Closed(session) => session.query(sql, params).await,
            Self::Own(session) | Self::Lost(session, _) => session.query(sql, params).await,
        }
    }

    /// Commits what was done so far, in the session of the request or in one of its own.
    ///
    /// # Errors
    /// As [`Session::commit`].
    pub async fn commit(&mut self) -> Result<(), DbError> {
        match self {
            Self::Request(session) | Self::Closed(session) => session.commit().await,
            Self::Own(session) | Self::Lost(session, _) => session.commit().await,
        }
    }

    /// The work is done: a session of its own is committed and given back, the request's is left as it is.
    ///
    /// # Errors
    /// [`DbError`] when what was done could not be committed.
    pub async fn done(self) -> Result<(), DbError> {
        match self {
            Self::Request(_) => Ok(()),
            Self::Closed(mut session) => session.release().await,
            Self::Own(mut session) => session.release().await,
            Self::Lost(session, garbage) => {
                garbage.keep(session);
                Ok(())
            }
        }
    }
}

/// Middleware: gives the request its sessions, runs the handler in a task of its own, and releases them after the
/// response.
///
/// A client that goes away does not stop the handler, as in FastAPI, where only middleware could cancel it: the
/// session stays held until the handler has run to its end.
///
/// The body is read before anything is asked of the database, as FastAPI does: a client that sends it slowly holds
/// nothing.
pub async fn with_session(State(worker): State<Arc<Worker>>, request: Request, next: Next) -> Response {
    let mut request = match with_whole_body(request).await {
        Ok(request) => request,
        Err(status) => return status.into_response(),
    };
    let session = RequestSession::new(&worker);
    request.extensions_mut().insert(session.clone());
    let (answer, answered) = oneshot::channel();
    let lost = session.clone();
    let serving = Arc::clone(&worker);
    let handler = tokio::spawn(async move {
        let worker = serving;
        let running = RunningHandler::new(&worker.gauges);
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
        if !session.until_sent.load(Ordering::Relaxed) {
            session.end(&worker).await;
        }
    });
    let cancelled = (worker.settings.session_scope == SessionScope::LeakedOnCancel).then(|| Cancelled {
        handler: handler.abort_handle(),
        lost: Some(lost),
        garbage: Arc::clone(&worker.garbage),
    });
    let response = answered.await.unwrap_or_else(|_panicked| GatewayError::Panicked.into_response());
    if let Some(cancelled) = cancelled {
        cancelled.not_this_time();
    }
    response
}

/// The request with its body in memory; the status that it is refused with.
async fn with_whole_body(request: Request) -> Result<Request, StatusCode> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_DEADLINE, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, Body::from(body))),
        Ok(Err(_too_large_or_broken_off)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_elapsed) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Cancels a handler when its client goes away, and forgets to release what it held: hold pattern H8. In Python,
/// `except Exception` does not catch the `CancelledError`.
struct Cancelled {
    handler: tokio::task::AbortHandle,
    /// Session of a handler that has not answered.
    lost: Option<RequestSession>,
    garbage: Arc<Garbage>,
}

impl Cancelled {
    /// The handler has answered, and ends by itself.
    fn not_this_time(mut self) {
        self.lost = None;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.garbage.keep(lost);
            self.handler.abort();
        }
    }
}

/// Counts a handler for as long as it runs.
struct RunningHandler<'a>(&'a AtomicU64);

impl<'a> RunningHandler<'a> {
    fn new(gauges: &'a WorkerGauges) -> Self {
        gauges.handlers.fetch_add(1, Ordering::Relaxed);
        Self(&gauges.handlers)
    }
}

impl Drop for RunningHandler<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
