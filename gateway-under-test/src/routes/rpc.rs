//! `POST /rpc`: JSON-RPC 2.0, as MCP clients speak it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::catalogue::{self, List, Subscription};
use super::entities::lists;
use super::mcp::ACCESS_DENIED;
use super::protocol;
use super::tool_call;
use crate::error::GatewayError;
use crate::rbac::Caller;
use crate::settings::Masks;

#[derive(Deserialize)]
struct Call<'a> {
    method: String,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Value,
}

impl Call<'_> {
    /// The version that a client of `initialize` speaks.
    fn protocol_version(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Client {
            protocol_version: String,
        }
        self.params::<Client>().ok().map(|client| client.protocol_version)
    }

    fn params<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        let params = self.params.ok_or_else(|| RpcError::invalid_params("params are missing"))?;
        serde_json::from_str(params.get()).map_err(|error| RpcError::invalid_params(&error.to_string()))
    }
}

#[derive(Deserialize)]
struct ResourceUri {
    uri: String,
}

/// Result of a call, or one of JSON-RPC's errors.
type CallOutcome = Result<Box<RawValue>, RpcError>;

/// Answer to the client.
#[derive(Serialize)]
struct RpcAnswer<'a> {
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
    tools: Vec<lists::OfferedTool>,
}

/// A JSON-RPC error: code, message, and what belongs under `data`.
#[derive(Serialize)]
struct RpcError {
    code: i64,
    message: &'static str,
    data: Value,
}

/// Takes one call. Whatever goes wrong in a method answers with status 200 and a JSON-RPC error, as ContextForge's
/// does: a failure that a client sees only in the body (unless masks are off).
pub async fn rpc(Extension(caller): Extension<Caller>, body: Bytes) -> Response {
    let call = match parse(&body) {
        Ok(call) => call,
        Err(error) => return no_call(&error),
    };
    let outcome = match dispatch(&caller, &call).await {
        Ok(outcome) => outcome,
        // No token, no JSON-RPC: the transport refuses.
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => return error.into_response(),
        Err(error) => {
            caller.worker.record(&error);
            let shown = Err(RpcError::of(&error, &call.method));
            let unmasked = caller.worker.settings.masks == Masks::Off && error.status().is_server_error();
            let status = if unmasked { error.status() } else { StatusCode::OK };
            return (status, answer(shown, &call.id)).into_response();
        }
    };
    answer(outcome, &call.id)
}

/// A list of calls is none: the protocol has given them up.
fn parse(body: &[u8]) -> serde_json::Result<Call<'_>> {
    let object = body.trim_ascii_start().starts_with(b"{");
    if object { serde_json::from_slice(body) } else { Err(no_object(body)) }
}

/// Refusal of a body that is no JSON, or JSON but no call, with a status, as ContextForge does.
fn no_call(error: &serde_json::Error) -> Response {
    if error.is_data() {
        let wrong = json!({ "message": "Method invalid" });
        (StatusCode::UNPROCESSABLE_ENTITY, Json(wrong)).into_response()
    } else {
        let error = json!({ "jsonrpc": "2.0", "error": { "code": -32700, "message": "Parse error" }, "id": null });
        (StatusCode::BAD_REQUEST, Json(error)).into_response()
    }
}

/// Error of a body that is no object: its syntax, or what it holds.
fn no_object(body: &[u8]) -> serde_json::Error {
    let read = serde_json::from_slice::<IgnoredAny>(body);
    read.err().unwrap_or_else(|| serde::de::Error::custom("a call is an object"))
}

async fn dispatch(caller: &Caller, call: &Call<'_>) -> Result<CallOutcome, GatewayError> {
    match call.method.as_str() {
        "ping" => Ok(Ok(raw(&json!({})))),
        "initialize" => Ok(Ok(raw(&protocol::initialized(call.protocol_version().as_deref())))),
        "tools/list" | "list_tools" => {
            let user = caller.require_permission("tools.read").await?;
            Ok(Ok(raw(&ToolList { tools: lists::offered_tools(&caller.worker, &caller.session, &user).await? })))
        }
        "tools/call" => call_tool(caller, call).await,
        "resources/list" => listed(caller, List::Resources).await,
        "resources/templates/list" => listed(caller, List::Templates).await,
        "prompts/list" => listed(caller, List::Prompts).await,
        "list_gateways" => listed(caller, List::Gateways).await,
        "roots/list" | "list_roots" => Ok(Ok(raw(&json!({ "roots": protocol::no_roots() })))),
        "resources/read" => match call.params::<ResourceUri>() {
            Ok(ResourceUri { uri }) => found(catalogue::read_resource(caller, &uri, None).await.and_then(json_text)),
            Err(error) => Ok(Err(error)),
        },
        "resources/subscribe" => subscribed(caller, call, Subscription::Begin).await,
        "resources/unsubscribe" => subscribed(caller, call, Subscription::End).await,
        "prompts/get" => match call.params() {
            Ok(prompt) => found(catalogue::get_prompt(caller, &prompt, None).await.map(|prompt| raw(&prompt))),
            Err(error) => Ok(Err(error)),
        },
        "completion/complete" => {
            caller.require_permission("tools.read").await?;
            // Arguments of prompts are free text: there is nothing to propose.
            Ok(Ok(raw(&json!({ "completion": { "values": [], "total": 0, "hasMore": false } }))))
        }
        "logging/setLevel" => {
            caller.require_permission("admin.system_config").await?;
            Ok(set_level(call))
        }
        notification if notification.starts_with("notifications/") => Ok(Ok(raw(&json!({})))),
        tool => call_by_name(caller, tool, call.params).await,
    }
}

async fn call_tool(caller: &Caller, call: &Call<'_>) -> Result<CallOutcome, GatewayError> {
    let user = caller.require_permission("tools.execute").await?;
    let Some(params) = call.params else { return Ok(Err(RpcError::invalid_params("params are missing"))) };
    match found(tool_call::call(&caller.worker, &caller.session, &user, params).await)? {
        Ok(Some(result)) => Ok(Ok(result)),
        Ok(None) => Ok(Err(RpcError::invalid_params("no such tool"))),
        Err(invalid) => Ok(Err(invalid)),
    }
}

/// Before the protocol had `tools/call`, the name of a tool was the method: still so, for old clients.
async fn call_by_name(caller: &Caller, tool: &str, arguments: Option<&RawValue>) -> Result<CallOutcome, GatewayError> {
    let user = caller.require_permission("tools.execute").await?;
    let params = raw(&json!({ "name": tool, "arguments": arguments.map(RawValue::get).and_then(value_of) }));
    match found(tool_call::call(&caller.worker, &caller.session, &user, &params).await)? {
        Ok(Some(result)) => Ok(Ok(result)),
        Ok(None) => Ok(Err(RpcError { code: -32000, message: "Invalid method", data: json!(tool) })),
        Err(invalid) => Ok(Err(invalid)),
    }
}

/// Nothing that is too deep to be read reaches a tool: it has no value.
fn value_of(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

async fn subscribed(caller: &Caller, call: &Call<'_>, what: Subscription) -> Result<CallOutcome, GatewayError> {
    match call.params::<ResourceUri>() {
        Ok(ResourceUri { uri }) => found(catalogue::subscribe(caller, &uri, what).await.map(|()| raw(&json!({})))),
        Err(error) => Ok(Err(error)),
    }
}

#[derive(Deserialize)]
struct LogLevel {
    level: String,
}

/// The protocol's levels. Clients of this gateway are sent no log, so that the level only has to be one.
fn set_level(call: &Call<'_>) -> CallOutcome {
    const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    let LogLevel { level } = call.params()?;
    if LEVELS.contains(&level.as_str()) {
        Ok(raw(&json!({})))
    } else {
        Err(RpcError::invalid_params(&format!("level: one of {} is expected", LEVELS.join(", "))))
    }
}

async fn listed(caller: &Caller, list: List) -> Result<CallOutcome, GatewayError> {
    catalogue::list(caller, list, None).await.and_then(json_text).map(Ok)
}

/// Result of a look-up: a name of nothing, or of something unusable, is a wrong parameter.
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

fn answer(outcome: CallOutcome, id: &Value) -> Response {
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    Json(RpcAnswer { jsonrpc: "2.0", result, error, id }).into_response()
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
            GatewayError::Forbidden | GatewayError::Masked { status: StatusCode::FORBIDDEN, .. } => {
                Self { code: ACCESS_DENIED.into(), message: "Access denied", data: json!({ "method": method }) }
            }
            other => Self { code: -32000, message: "Internal error", data: json!(other.to_string()) },
        }
    }
}
