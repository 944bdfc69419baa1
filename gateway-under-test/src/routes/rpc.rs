//! `POST /rpc`: JSON-RPC 2.0, as MCP clients speak it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::catalogue::{self, List};
use super::entities::lists;
use super::mcp::ACCESS_DENIED;
use super::tool_call;
use crate::error::GatewayError;
use crate::rbac::Caller;

/// A call.
#[derive(Deserialize)]
struct Call<'a> {
    method: String,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Value,
}

impl Call<'_> {
    fn params<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        let params = self.params.ok_or_else(|| RpcError::invalid_params("params are missing"))?;
        serde_json::from_str(params.get()).map_err(|error| RpcError::invalid_params(&error.to_string()))
    }
}

#[derive(Deserialize)]
struct ResourceUri {
    uri: String,
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
    tools: Vec<lists::ToolEntry>,
}

/// A JSON-RPC error: code, message, and what belongs under `data`.
#[derive(Serialize)]
struct RpcError {
    code: i64,
    message: &'static str,
    data: Value,
}

/// Takes one call. Whatever goes wrong in a method answers with status 200 and a JSON-RPC error, as ContextForge's
/// does: a failure that a client sees only in the body.
pub async fn rpc(Extension(caller): Extension<Caller>, body: Bytes) -> Response {
    let Ok(call) = serde_json::from_slice::<Call<'_>>(&body) else {
        let error = json!({ "jsonrpc": "2.0", "error": { "code": -32700, "message": "Parse error" }, "id": null });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let outcome = match dispatch(&caller, &call).await {
        Ok(outcome) => outcome,
        // No token, no JSON-RPC: the transport refuses.
        Err(error @ GatewayError::Unauthorized(_)) => return error.into_response(),
        Err(error) => {
            caller.worker.record(&error);
            Err(RpcError::of(&error, &call.method))
        }
    };
    answer(outcome, &call.id)
}

async fn dispatch(caller: &Caller, call: &Call<'_>) -> Result<Outcome, GatewayError> {
    let Caller { worker, session, .. } = caller;
    match call.method.as_str() {
        "ping" => Ok(Ok(raw(&json!({})))),
        "tools/list" => {
            let user = caller.require_permission("tools.read").await?;
            Ok(Ok(raw(&ToolList { tools: lists::tools(worker, session, &user).await? })))
        }
        "tools/call" => {
            let user = caller.require_permission("tools.execute").await?;
            let Some(params) = call.params else { return Ok(Err(RpcError::invalid_params("params are missing"))) };
            match found(tool_call::call(worker, session, &user, params).await)? {
                Ok(Some(result)) => Ok(Ok(result)),
                Ok(None) => Ok(Err(RpcError::invalid_params("no such tool"))),
                Err(invalid) => Ok(Err(invalid)),
            }
        }
        "resources/list" => listed(caller, List::Resources).await,
        "prompts/list" => listed(caller, List::Prompts).await,
        "resources/read" => match call.params::<ResourceUri>() {
            Ok(ResourceUri { uri }) => found(catalogue::read_resource(caller, &uri).await.and_then(json_text)),
            Err(error) => Ok(Err(error)),
        },
        "prompts/get" => match call.params() {
            Ok(prompt) => found(catalogue::get_prompt(caller, &prompt).await.map(|prompt| raw(&prompt))),
            Err(error) => Ok(Err(error)),
        },
        _ => Ok(Err(RpcError { code: -32601, message: "Method not found", data: json!(call.method) })),
    }
}

async fn listed(caller: &Caller, list: List) -> Result<Outcome, GatewayError> {
    catalogue::list(caller, list, None).await.and_then(json_text).map(Ok)
}

/// What names nothing, or cannot be used, is a wrong parameter.
fn found<T>(result: Result<T, GatewayError>) -> Result<Result<T, RpcError>, GatewayError> {
    match result {
        Ok(result) => Ok(Ok(result)),
        Err(error @ (GatewayError::NotFound | GatewayError::Invalid(_))) => {
            Ok(Err(RpcError::invalid_params(&error.to_string())))
        }
        Err(error) => Err(error),
    }
}

/// JSON that the database has made.
fn json_text(text: String) -> Result<Box<RawValue>, GatewayError> {
    RawValue::from_string(text).map_err(|error| GatewayError::Invalid(error.to_string()))
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
        Self { code: -32602, message: "Invalid params", data: json!(data) }
    }

    /// The error that a method ended in. A denial names the method, not what it would have taken.
    fn of(error: &GatewayError, method: &str) -> Self {
        match error {
            GatewayError::Forbidden => {
                Self { code: ACCESS_DENIED.into(), message: "Access denied", data: json!({ "method": method }) }
            }
            other => Self { code: -32000, message: "Internal error", data: json!(other.to_string()) },
        }
    }
}
