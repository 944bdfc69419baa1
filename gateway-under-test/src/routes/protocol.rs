//! `/protocol/*` and `/roots`: what a client of the protocol asks before it asks for anything.

use axum::Json;
use axum::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::GatewayError;

/// The version of the protocol that a client is offered when it names none.
const PROTOCOL_VERSION: &str = "2025-06-18";

/// Capabilities of the gateway, to a client that speaks `wanted`: the answer to `initialize`.
pub(crate) fn initialized(wanted: Option<&str>) -> Value {
    json!({
        "protocolVersion": wanted.unwrap_or(PROTOCOL_VERSION),
        "capabilities": {
            "prompts": { "listChanged": false },
            "resources": { "subscribe": true, "listChanged": false },
            "tools": { "listChanged": false },
            "logging": {},
            "completions": {},
        },
        "serverInfo": { "name": "rbac-bench-gateway", "version": env!("CARGO_PKG_VERSION") },
        "instructions": "Lists and calls the tools of the service behind this gateway.",
    })
}

/// The roots: a gateway that runs by itself has none, and says so in the shape that clients expect.
pub(crate) fn no_roots() -> Value {
    json!([])
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialize {
    #[serde(alias = "protocol_version")]
    protocol_version: String,
}

#[derive(Deserialize)]
struct Ping {
    method: String,
    #[serde(default)]
    id: Value,
}

/// `POST /protocol/initialize`.
///
/// # Errors
/// [`GatewayError::Invalid`] without a `protocolVersion`.
pub async fn initialize(body: Bytes) -> Result<Json<Value>, GatewayError> {
    let asked: Initialize = parse(&body)?;
    Ok(Json(initialized(Some(&asked.protocol_version))))
}

/// `POST /protocol/ping`.
///
/// # Errors
/// [`GatewayError::Invalid`] for anything but a ping.
pub async fn ping(body: Bytes) -> Result<Json<Value>, GatewayError> {
    let asked: Ping = parse(&body)?;
    if asked.method != "ping" {
        return Err(GatewayError::Invalid("method: `ping` is expected".to_owned()));
    }
    Ok(Json(json!({ "jsonrpc": "2.0", "id": asked.id, "result": {} })))
}

/// `POST /protocol/notifications`: a client says that it has begun, or that it no longer waits.
///
/// # Errors
/// [`GatewayError::Invalid`] for what is no notification.
pub async fn notifications(body: Bytes) -> Result<Json<Value>, GatewayError> {
    let notification: Ping = parse(&body)?;
    if !notification.method.starts_with("notifications/") {
        return Err(GatewayError::Invalid("method: one of `notifications/…` is expected".to_owned()));
    }
    Ok(Json(json!({})))
}

/// `GET /roots`.
pub async fn roots() -> Json<Value> {
    Json(no_roots())
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, GatewayError> {
    serde_json::from_slice(body).map_err(|error| GatewayError::Invalid(error.to_string()))
}
