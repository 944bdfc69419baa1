//! `GET /health` and `GET /ready`: both ask the database, through the same pool as everybody else.
//!
//! As in ContextForge, `/health` is a *sync* route with a session of its own, run on a thread, and says what is
//! wrong with status 200: a masked failure, so a prober must read the body.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::db::{Database, DbError};
use crate::settings::Checkout;
use crate::worker::Worker;

/// Is the gateway, and the database behind it, well?
pub async fn health(State(worker): State<Arc<Worker>>) -> Json<Value> {
    match check(&worker).await {
        Ok(()) => Json(json!({ "status": "healthy" })),
        Err(error) => Json(json!({ "status": "unhealthy", "error": format!("Database connection error: {error}") })),
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
    let database = worker.database.clone();
    let checked = match worker.settings.checkout {
        Checkout::Async => select_one(&database).await,
        // A thread of the sync routes waits for the pool, not the event loop.
        Checkout::Blocking => tokio::task::spawn_blocking(move || {
            select_one(&database).now_or_never().expect("a blocking session is ready at its first poll")
        })
        .await
        .map_err(|error| error.to_string())?,
    };
    checked.map_err(|error| {
        worker.replica.record_error(&error.to_string());
        error.to_string()
    })
}

async fn select_one(database: &Database) -> Result<(), DbError> {
    let mut session = database.session();
    let asked = session.query("SELECT 1", &[]).await;
    let ended = session.release().await;
    asked.and(ended)
}
