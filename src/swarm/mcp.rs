//! Sessions of MCP's streamable HTTP, as far as a load needs them: opened, and used to call tools.
//!
//! A session is opened by two requests, which are measured together as a route of their own. It is not closed: a load that
//! ends leaves its sessions as clients do that go away.

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::outcome::READ_MOST;
use crate::scenario::service::{McpCall, ServiceRoute};

/// The protocol that is asked for.
const PROTOCOL: &str = "2025-06-18";

const ACCEPTED: &str = "application/json, text/event-stream";

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The number of the only request that is under way in a session: users wait for each answer.
const ID: u64 = 1;

/// A session that is open.
#[derive(Clone, Debug)]
pub(super) struct McpSession {
    /// `None` where the server keeps none.
    id: Option<HeaderValue>,
    protocol: HeaderValue,
}

/// A call of a tool, as its message.
pub(super) fn call(call: &McpCall) -> Value {
    let params = json!({ "name": call.tool, "arguments": call.arguments });
    json!({ "jsonrpc": "2.0", "id": ID, "method": "tools/call", "params": params })
}

/// Accept header of a route, where it is such a call.
pub(super) fn accepts(route: &ServiceRoute) -> Option<(&'static str, &'static str)> {
    route.mcp.as_ref().map(|_| ("Accept", ACCEPTED))
}

/// The request that opens a session at this URL.
pub(super) fn initialize(url: Url) -> Request {
    let client = json!({ "name": "rbac-bench", "version": env!("CARGO_PKG_VERSION") });
    let params = json!({ "protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client });
    post(url, &json!({ "jsonrpc": "2.0", "id": ID, "method": "initialize", "params": params }))
}

/// Notification that the session is in use.
pub(super) fn initialized(url: Url, session: &McpSession) -> Request {
    let mut request = post(url, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    session.join(request.headers_mut());
    request
}

fn post(url: Url, message: &Value) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Some(message.to_string().into());
    request
}

impl McpSession {
    /// The session that an answer to `initialize` opens.
    ///
    /// # Errors
    /// Error in words, where it opens none.
    pub(super) fn opened(headers: &HeaderMap, message: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(message)
            .map_err(|error| format!("the answer to initialize is not JSON: {error}"))?;
        if let Some(error) = value.get("error") {
            return Err(rpc_error(error));
        }
        let protocol = value.pointer("/result/protocolVersion").and_then(Value::as_str);
        let protocol = protocol.and_then(|it| HeaderValue::from_str(it).ok());
        let protocol = protocol.ok_or("the answer to initialize has no `/result/protocolVersion`")?;
        let id = headers.get(SESSION_ID).cloned().map(|mut id| {
            id.set_sensitive(true);
            id
        });
        Ok(Self { id, protocol })
    }

    /// Makes a request one of this session.
    pub(super) fn join(&self, headers: &mut HeaderMap) {
        if let Some(id) = &self.id {
            headers.insert(SESSION_ID, id.clone());
        }
        headers.insert(PROTOCOL_VERSION, self.protocol.clone());
    }

    /// True if a server that answers so has forgotten the session.
    pub(super) fn is_gone(status: StatusCode) -> bool {
        status == StatusCode::NOT_FOUND
    }
}

/// A JSON-RPC error, in words.
fn rpc_error(error: &Value) -> String {
    let code = error.get("code").map(ToString::to_string).unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    match error.get("data").and_then(Value::as_str) {
        Some(data) => format!("JSON-RPC {code} {message}: {data}"),
        None => format!("JSON-RPC {code} {message}"),
    }
}

/// Fault in the answer to a call.
pub(super) fn failure(message: &[u8]) -> Option<String> {
    let value: Value = match serde_json::from_slice(message) {
        Ok(value) => value,
        Err(error) => return Some(format!("the answer is not JSON-RPC: {error}")),
    };
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        return Some(rpc_error(error));
    }
    let Some(result) = value.get("result") else {
        return Some("the answer is not JSON-RPC: it has neither `result` nor `error`".to_owned());
    };
    let failed = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
    let text = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
    failed.then(|| format!("the tool failed: {text}"))
}

/// The message that answers: the whole body, or of a stream of events the one that has an answer's form. The stream may stay
/// open behind it.
pub(super) async fn message(mut response: Response, headers: &HeaderMap) -> reqwest::Result<Bytes> {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut events = kind.starts_with("text/event-stream").then(Events::default);
    let mut read = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if let Some(events) = &mut events {
            if let Some(answer) = events.answer_with(&chunk) {
                return Ok(answer);
            }
        } else {
            let room = READ_MOST.saturating_sub(read.len());
            read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    }
    Ok(events.map_or_else(|| read.freeze(), |events| events.begun.into()))
}

/// A stream of events, each looked at once: it may have no end, and bring requests and notifications before the answer.
#[derive(Default)]
struct Events {
    /// The one that is not whole yet, without carriage returns.
    begun: Vec<u8>,
}

impl Events {
    /// The data of the first event that is an answer, once it is whole.
    fn answer_with(&mut self, chunk: &[u8]) -> Option<Bytes> {
        for byte in chunk.iter().filter(|byte| **byte != b'\r') {
            if *byte == b'\n' && self.begun.last() == Some(&b'\n') {
                let answer = answer_in(&self.begun);
                self.begun.clear();
                if answer.is_some() {
                    return answer;
                }
            } else if self.begun.len() < READ_MOST {
                self.begun.push(*byte);
            }
        }
        None
    }
}

/// The data of an event that is an answer.
fn answer_in(event: &[u8]) -> Option<Bytes> {
    let event = String::from_utf8_lossy(event);
    let data = event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start);
    let data = data.collect::<Vec<_>>().join("\n");
    let value: Value = serde_json::from_str(&data).ok()?;
    let answers = value.get("id").and_then(Value::as_u64) == Some(ID) || value.get("error").is_some();
    (answers && value.get("method").is_none()).then(|| Bytes::from(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_protocol_and_tool_are_failures_and_results_are_none() {
        let of = |message: Value| failure(message.to_string().as_bytes());
        assert_eq!(of(json!({ "id": 1, "result": { "content": [], "isError": false } })), None);
        let failed =
            json!({ "id": 1, "result": { "isError": true, "content": [{ "type": "text", "text": "no session" }] } });
        assert_eq!(of(failed).unwrap(), "the tool failed: no session");
        let refused = json!({ "id": 1, "error": { "code": -32602, "message": "no such tool", "data": "x" } });
        assert_eq!(of(refused).unwrap(), "JSON-RPC -32602 no such tool: x");
        assert!(of(json!({ "id": 1 })).unwrap().contains("neither `result` nor `error`"));
        assert!(failure(b"<html>").unwrap().starts_with("the answer is not JSON-RPC"));
    }

    #[test]
    fn the_answer_is_found_among_the_events_of_a_stream() {
        let note = "event: message\r\ndata: {\"method\":\"notifications/progress\",\"id\":1}\r\n\r\n";
        let answer = "id: 7\r\ndata: {\"id\":1,\r\ndata: \"result\":{}}\r\n\r\n";
        let answer_among = |chunks: &[&str]| {
            let mut events = Events::default();
            chunks.iter().find_map(|chunk| events.answer_with(chunk.as_bytes()))
        };
        assert_eq!(answer_among(&[note]), None);
        assert_eq!(answer_among(&[note, &answer[..answer.len() - 2]]), None);
        assert!(answer_among(&[note, &answer[..9], &answer[9..]]).is_some());
        let whole = answer_among(&[&[note, answer, ": and on"].concat()]).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), json!({ "id": 1, "result": {} }));
    }

    #[test]
    fn a_session_has_the_id_and_the_protocol_that_the_server_gave() {
        let headers = HeaderMap::from_iter([(SESSION_ID, HeaderValue::from_static("abc"))]);
        let answer = json!({ "id": 1, "result": { "protocolVersion": "2025-03-26" } }).to_string();
        let mut joined = HeaderMap::new();
        McpSession::opened(&headers, answer.as_bytes()).unwrap().join(&mut joined);
        assert_eq!(
            (&joined[SESSION_ID], &joined[PROTOCOL_VERSION]),
            (&"abc".parse().unwrap(), &"2025-03-26".parse().unwrap())
        );
        assert!(McpSession::opened(&headers, b"{}").unwrap_err().contains("protocolVersion"));
    }
}
