//! `GET /health` and `GET /ready`: both ask the database, through the same pool as everybody else.
//!
//! As in ContextForge, `/health` is a *sync* route with a session of its own, run on a thread, and says what is
//! wrong with status 200: a masked failure, so a prober must read the body (unless masks are off).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::db::{DbError, GatewayDatabase, Session};
use crate::settings::{Checkout, Masks, SessionScope};
use crate::worker::Worker;

/// Is the gateway, and the database behind it, well?
pub async fn health(State(worker): State<Arc<Worker>>) -> (StatusCode, Json<Value>) {
    match check(&worker).await {
        Ok(()) => (StatusCode::OK, Json(json!({ "status": "healthy" }))),
        Err(error) => {
            let unmasked = worker.settings.masks == Masks::Off;
            let status = if unmasked { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            let error = format!("Database connection error: {error}");
            (status, Json(json!({ "status": "unhealthy", "error": error })))
        }
    }
}

/// May load be sent here?
pub async fn ready(State(worker): State<Arc<Worker>>) -> (StatusCode, Json<Value>) {
    match check(&worker).await {
        Ok(()) => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "not ready", "error": format!("Readiness check failed: {error}") })),
        ),
    }
}

async fn check(worker: &Worker) -> Result<(), String> {
    let probe = ProbeSession {
        database: worker.database.clone(),
        kept: worker.settings.scopes().any(|it| it == SessionScope::NeverCommitted).then(|| Arc::clone(&worker.probe)),
    };
    let checked = match worker.settings.checkout {
        Checkout::Async => probe.select_one().await,
        // A thread of the sync routes waits for the pool, not the event loop.
        Checkout::Blocking => tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(probe.select_one())
        })
        .await
        .map_err(|error| error.to_string())?,
    };
    checked.map_err(|error| {
        worker.replica.record_error(&error.to_string());
        error.to_string()
    })
}

/// Session of the probe that asks the database whether it is there.
struct ProbeSession {
    database: GatewayDatabase,
    /// A session that is never ended: hold pattern H7.
    kept: Option<Arc<Mutex<Session>>>,
}

impl ProbeSession {
    async fn select_one(self) -> Result<(), DbError> {
        match self.kept {
            None => {
                let mut session = self.database.session();
                let asked = session.query("SELECT 1", &[]).await;
                let ended = session.release().await;
                asked.and(ended)
            }
            Some(kept) => {
                let mut session = kept.lock().await;
                let asked = session.query("SELECT 1", &[]).await;
                if asked.is_err() {
                    session.rollback().await?;
                }
                asked.map(drop)
            }
        }
    }
}
