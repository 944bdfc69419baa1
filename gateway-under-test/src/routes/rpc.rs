//! `POST /rpc`: JSON-RPC 2.0, as MCP clients speak it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::{entities, tool_call};
use crate::error::GatewayError;
use crate::rbac::require_permission;
use crate::request::RequestSession;
use crate::worker::Worker;

/// A call.
#[derive(Deserialize)]
struct Call<'a> {
    method: String,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Value,
}

/// What a call came to: a result, or one of JSON-RPC's errors.
type Outcome = Result<Box<RawValue>, RpcError>;

/// What the client gets.
#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
    id: &'a Value,
}

/// The result of `tools/list`.
#[derive(Serialize)]
struct ToolList {
    tools: Vec<entities::ToolEntry>,
}

/// A JSON-RPC error: code, message, and what belongs under `data`.
#[derive(Serialize)]
struct RpcError {
    code: i64,
    message: &'static str,
    data: String,
}

/// Takes one call. Whatever goes wrong in a method answers with status 200 and a JSON-RPC error, as ContextForge's
/// does: a failure that a client sees only in the body.
pub async fn rpc(
    State(worker): State<Arc<Worker>>,
    Extension(session): Extension<RequestSession>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(call) = serde_json::from_slice::<Call<'_>>(&body) else {
        let error = json!({ "jsonrpc": "2.0", "error": { "code": -32700, "message": "Parse error" }, "id": null });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let outcome = match dispatch(&worker, &session, &headers, &call).await {
        Ok(outcome) => outcome,
        // No token, no JSON-RPC: the transport refuses.
        Err(error @ (GatewayError::Unauthorized(_) | GatewayError::Account(_))) => return error.into_response(),
        Err(error) => {
            worker.record(&error);
            Err(error.into())
        }
    };
    answer(outcome, &call.id)
}

async fn dispatch(
    worker: &Worker,
    session: &RequestSession,
    headers: &HeaderMap,
    call: &Call<'_>,
) -> Result<Outcome, GatewayError> {
    match call.method.as_str() {
        "ping" => {
            worker.authenticator.authenticate(headers)?;
            Ok(Ok(raw(&json!({}))))
        }
        "tools/list" => {
            let user = require_permission(worker, session, headers, "tools.read").await?;
            Ok(Ok(raw(&ToolList { tools: entities::list_tools(worker, session, &user).await? })))
        }
        "tools/call" => {
            require_permission(worker, session, headers, "tools.execute").await?;
            let Some(params) = call.params else { return Ok(Err(RpcError::invalid_params("params are missing"))) };
            match tool_call::call(worker, session, params).await? {
                Some(result) => Ok(Ok(result)),
                None => Ok(Err(RpcError::invalid_params("no such tool"))),
            }
        }
        _ => {
            worker.authenticator.authenticate(headers)?;
            Ok(Err(RpcError { code: -32601, message: "Method not found", data: call.method.clone() }))
        }
    }
}

fn answer(outcome: Outcome, id: &Value) -> Response {
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    Json(Answer { jsonrpc: "2.0", result, error, id }).into_response()
}

/// A value as JSON text, written once and then copied into the answer.
fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("these values hold no map with keys other than text")
}

impl RpcError {
    fn invalid_params(data: &str) -> Self {
        Self { code: -32602, message: "Invalid params", data: data.to_owned() }
    }
}

impl From<GatewayError> for RpcError {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Forbidden(permission) => {
                Self { code: -32003, message: "Access denied", data: permission.to_owned() }
            }
            other => Self { code: -32000, message: "Internal error", data: other.to_string() },
        }
    }
}
