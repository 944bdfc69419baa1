//! `tools/call`: the slow route. It asks the service behind the gateway, and waits.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::db::DbError;
use crate::error::GatewayError;
use crate::rbac::User;
use crate::registry::{CALLABLE_TOOLS, CallableTools};
use crate::request::{RequestSession, SlowWork};
use crate::worker::Worker;

/// Timeout of a tool call: ContextForge's tool timeout.
const TOOL_TIMEOUT: Duration = Duration::from_mins(1);

const COUNT_USAGE: &str = "UPDATE usage_counters SET calls = calls + 1 WHERE id = $1";

#[derive(Deserialize)]
struct ToolName {
    name: String,
}

#[derive(Deserialize)]
struct BackendAnswer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The client of the backend, one for each worker.
///
/// # Errors
/// When the client cannot be built.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(TOOL_TIMEOUT).tcp_nodelay(true).no_proxy().build()
}

/// Calls a tool; `None` when there is no such tool, or none that `user` may know of.
///
/// # Errors
/// [`GatewayError::Database`] from the usage counter, [`GatewayError::Backend`] from the backend.
pub async fn call(
    worker: &Worker,
    session: &RequestSession,
    user: &User,
    params: &RawValue,
) -> Result<Option<Box<RawValue>>, GatewayError> {
    let Ok(ToolName { name }) = serde_json::from_str(params.get()) else { return Ok(None) };
    // Deeper than any arguments need to be: refused here, before somebody else is asked to read it.
    if let Err(unreadable) = serde_json::from_str::<serde_json::Value>(params.get()) {
        return Err(GatewayError::Invalid(format!("params: {unreadable}")));
    }
    if !callable_tools(worker, session).await?.admit(&name, &user.email, &user.teams) {
        return Ok(None);
    }
    session.before(worker, SlowWork::Hook(&name)).await?;
    let allowed = worker.plugins.before_tool(params).await;
    session.after(worker).await?;
    allowed?;
    count_usage(worker, session).await?;
    session.before(worker, SlowWork::Backend(&name)).await?;
    let answer = ask_backend(worker, params).await;
    session.after(worker).await?;
    answer.map(Some)
}

/// The tools that can be called, read in a session of the request where the worker's list is too old.
async fn callable_tools(worker: &Worker, session: &RequestSession) -> Result<CallableTools, DbError> {
    if let Some(tools) = worker.tools.cached() {
        return Ok(tools);
    }
    let mut work = session.open(worker).await;
    let rows = work.query(CALLABLE_TOOLS, &[]).await;
    let ended = work.done().await;
    let rows = rows?;
    ended?;
    Ok(worker.tools.keep(&rows))
}

/// Updates a row that calls share. Held, the row stays locked until the response has been sent, and anyone who wants it
/// next waits, with its whole event loop: the lock convoy of issue #2355.
async fn count_usage(worker: &Worker, session: &RequestSession) -> Result<(), DbError> {
    let counter = worker.settings.usage_counter;
    if counter.rows == 0 || rand::random::<f64>() >= counter.share {
        return Ok(());
    }
    let row = i32::try_from(rand::rng().random_range(1..=counter.rows)).unwrap_or(1);
    let mut work = session.open(worker).await;
    let updated = work.query(COUNT_USAGE, &[&row]).await;
    let ended = work.done().await;
    updated.and(ended)
}

async fn ask_backend(worker: &Worker, params: &RawValue) -> Result<Box<RawValue>, GatewayError> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}}"#, params.get());
    let answer = fetch(worker, body).await.map_err(|error| GatewayError::Backend { text: root_cause(&error) })?;
    let answer: BackendAnswer<'_> = serde_json::from_slice(&answer)
        .map_err(|error| GatewayError::Backend { text: format!("answer is not JSON-RPC: {error}") })?;
    match (answer.result, answer.error) {
        (Some(result), None) => Ok(result.to_owned()),
        (_, Some(error)) => Err(GatewayError::Backend { text: error.get().to_owned() }),
        (None, None) => Err(GatewayError::Backend { text: "answer has neither result nor error".to_owned() }),
    }
}

/// Root cause of a transport error, without the address.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TOOL_TIMEOUT.as_secs());
    }
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

async fn fetch(worker: &Worker, body: String) -> reqwest::Result<Bytes> {
    let request = worker
        .backend
        .post(&worker.settings.backend_url)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .body(body);
    request.send().await?.error_for_status()?.bytes().await
}
