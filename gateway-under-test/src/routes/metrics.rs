//! `GET /metrics`: how many there are. `GET /metrics/prometheus` on the workers' port. A frozen loop does not answer it;
//! the replica's gauges port does.
//!
//! The gauges ask for no token: a scraper has none, and a check of one would need the pool that the gauges are to tell
//! about. They name replica, workers and the gateway's own errors; no user, entity or address, and nothing that a backend
//! has reported.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::entities::{as_json, query};
use crate::error::GatewayError;
use crate::rbac::Caller;
use crate::worker::Worker;

const COUNTS: &str = "\
SELECT json_build_object('tools', (SELECT count(*) FROM tools), 'servers', (SELECT count(*) FROM servers), \
    'resources', (SELECT count(*) FROM resources), 'prompts', (SELECT count(*) FROM prompts), \
    'gateways', (SELECT count(*) FROM gateways), 'users', (SELECT count(*) FROM email_users))::text";

/// The content type of Prometheus' text format.
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// All gauges of the replica.
pub async fn prometheus(State(worker): State<Arc<Worker>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS)], worker.replica.prometheus())
}

/// `GET /metrics`: how many entities and users there are.
///
/// # Errors
/// When the database fails.
pub async fn counts(Extension(caller): Extension<Caller>) -> Result<Response, GatewayError> {
    let rows = query(&caller, COUNTS, &[]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}
