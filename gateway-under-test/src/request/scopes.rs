//! **Where the bug is, and its fixes**: which session a piece of work gets, and what stays open across slow work.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{RequestSession, WorkSession};
use crate::db::{DbError, Session};
use crate::settings::SessionScope;
use crate::settings::SessionScope::{
    AcrossBackend, AcrossHook, AcrossRender, BeginAgain, DoubleCheckout, EarlyClose, EndpointShared, FailedKept, Held,
    LeakedOnCancel, NeverClosed, NeverCommitted, Scoped, SessionPerLayer, UntilSent as UntilSentScope,
};
use crate::worker::Worker;

/// Row of a tool that a handler reads with its own session, before it asks the service behind the gateway.
const TOOL_ROW: &str = "SELECT id, name, url, auth_type, auth_value FROM tools WHERE original_name = $1";
/// Row that a handler reads before it asks the plugins.
const PLUGIN_ROW: &str = "SELECT id, name, annotations, headers FROM tools WHERE original_name = $1";
/// Rows for the head of a page.
const TEAMS_OF_USER: &str = "SELECT id, name, slug FROM email_teams WHERE id IN (SELECT team_id \
                             FROM email_team_members WHERE user_email = $1)";
/// Row that a stream reads when it begins.
const SERVER_ROW: &str = "SELECT id, name, description, icon FROM servers WHERE id = $1";
/// Lazy load after the session was released.
const LAZY_LOAD: &str = "SELECT id, name, slug, url FROM gateways WHERE id = (SELECT gateway_id FROM tools \
                         WHERE original_name = $1 LIMIT 1)";
/// Statement that the database refuses: a metric row without its timestamp.
const REFUSED: &str = "INSERT INTO permission_audit_log (timestamp, permission, granted) VALUES (NULL, $1, true)";
/// Statements of layers that have a session each: authentication, the audit, observability.
const LAYERS: [&str; 3] = [
    "SELECT id, user_email, team_id FROM email_api_tokens WHERE jti = $1",
    "SELECT id, permission, granted FROM permission_audit_log WHERE resource_id = $1 LIMIT 1",
    "SELECT id, name, reachable FROM tools WHERE original_name = $1",
];

/// Work that takes its time and needs no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowWork<'a> {
    /// The plugins are asked about a tool.
    Hook(&'a str),
    /// The service behind the gateway is asked for a tool.
    Backend(&'a str),
    /// A page is rendered for a user.
    Render(&'a str),
    /// A stream about a server is sent.
    Stream(&'a str),
}

impl RequestSession {
    /// A session for one piece of work of a handler.
    pub async fn open(&self, worker: &Worker) -> WorkSession {
        match worker.settings.session_scope {
            // The bug of issue #2318: all take the request's session and leave its transaction open, and whatever the
            // handler then awaits, the server sees `idle in transaction`. The last two do so too, but end the
            // transaction before slow work.
            Held | DoubleCheckout | SessionPerLayer | EarlyClose | EndpointShared => {
                WorkSession::Request(Arc::clone(&self.session).lock_owned().await)
            }
            // The fix: a session around this piece of work only. What the others do wrong comes later.
            Scoped | AcrossBackend | AcrossHook | AcrossRender | UntilSentScope | BeginAgain | NeverCommitted
            | LeakedOnCancel | NeverClosed | FailedKept => WorkSession::Own(worker.database.session_of(&self.clock)),
        }
    }

    /// A session for a permission check.
    pub async fn open_for_check(&self, worker: &Worker) -> WorkSession {
        match worker.settings.session_scope {
            EarlyClose => WorkSession::Closed(Arc::clone(&self.session).lock_owned().await),
            NeverClosed => WorkSession::Lost(worker.database.session_of(&self.clock), Arc::clone(&worker.garbage)),
            _ => self.open(worker).await,
        }
    }

    /// Slow work begins: what is open after this stays open across it.
    ///
    /// # Errors
    /// [`DbError`] when the statement of the hold pattern, or a commit, fails.
    pub async fn before(&self, worker: &Worker, work: SlowWork<'_>) -> Result<(), DbError> {
        for scope in worker.settings.scopes() {
            self.before_in(scope, worker, work).await?;
        }
        Ok(())
    }

    async fn before_in(&self, scope: SessionScope, worker: &Worker, work: SlowWork<'_>) -> Result<(), DbError> {
        match (scope, work) {
            (EarlyClose | EndpointShared, _) => self.session.lock().await.release().await,
            (AcrossBackend | LeakedOnCancel, SlowWork::Backend(tool)) => self.read(TOOL_ROW, tool).await,
            (AcrossHook, SlowWork::Hook(tool)) => self.read(PLUGIN_ROW, tool).await,
            (AcrossRender, SlowWork::Render(email)) => self.read(TEAMS_OF_USER, email).await,
            (UntilSentScope, SlowWork::Stream(server)) => self.read(SERVER_ROW, server).await,
            (BeginAgain, SlowWork::Backend(tool)) => self.read(LAZY_LOAD, tool).await,
            (DoubleCheckout, SlowWork::Backend(tool)) => self.read_beside(worker, TOOL_ROW, tool).await,
            (SessionPerLayer, SlowWork::Backend(tool)) => {
                for statement in LAYERS {
                    self.read_beside(worker, statement, tool).await?;
                }
                Ok(())
            }
            (FailedKept, SlowWork::Backend(tool)) => match self.read(REFUSED, tool).await {
                // Swallowed and never rolled back: the mistake.
                Ok(()) | Err(DbError::Statement { .. }) => Ok(()),
                Err(other) => Err(other),
            },
            _ => Ok(()),
        }
    }

    /// Slow work has ended.
    ///
    /// # Errors
    /// [`DbError`] when a commit fails.
    pub async fn after(&self, worker: &Worker) -> Result<(), DbError> {
        let mut scopes = worker.settings.scopes();
        if scopes.any(|it| matches!(it, AcrossBackend | AcrossHook | AcrossRender | LeakedOnCancel)) {
            return self.session.lock().await.release().await;
        }
        Ok(())
    }

    /// Sessions that a stream takes with it, to drop when it has been sent or its client has gone.
    #[must_use]
    pub fn until_sent(&self, worker: &Arc<Worker>) -> UntilSent {
        let keeps = |it| matches!(it, Held | DoubleCheckout | SessionPerLayer | UntilSentScope);
        let kept = worker.settings.scopes().any(keeps);
        self.until_sent.store(kept, Ordering::Relaxed);
        UntilSent(kept.then(|| (self.clone(), Arc::clone(worker))))
    }

    async fn read(&self, sql: &'static str, subject: &str) -> Result<(), DbError> {
        self.session.lock().await.query(sql, &[&subject]).await.map(drop)
    }

    async fn read_beside(&self, worker: &Worker, sql: &'static str, subject: &str) -> Result<(), DbError> {
        let mut session: Session = worker.database.session_of(&self.clock);
        let read = session.query(sql, &[&subject]).await;
        self.extra.lock().await.push(session);
        read.map(drop)
    }
}

/// The sessions of a request whose response is a stream; see [`RequestSession::until_sent`].
pub struct UntilSent(Option<(RequestSession, Arc<Worker>)>);

impl Drop for UntilSent {
    fn drop(&mut self) {
        if let Some((session, worker)) = self.0.take() {
            tokio::spawn(async move { session.end(&worker).await });
        }
    }
}
