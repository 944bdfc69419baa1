//! `GET /metrics/prometheus` on the workers' port. A frozen loop does not answer it; the replica's gauges port does.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::worker::Worker;

/// The content type of Prometheus' text format.
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// All gauges of the replica.
pub async fn prometheus(State(worker): State<Arc<Worker>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS)], worker.replica.prometheus())
}
