//! Judgement of answers: an error status, and the failures that look like successes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::mcp;
use super::outcome::{READ_MOST, RequestOutcome};

/// Time for which a stream is read.
pub(super) const STREAM_READ: Duration = Duration::from_secs(1);

/// Failures that an answer with status 200 can hide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    None,
    /// The body holds a JSON-RPC error.
    JsonRpc,
    /// The body says `"unhealthy"`.
    Health,
    /// The body has no end: it is read for [`STREAM_READ`], and must not be empty.
    Stream,
    /// The scenario of an external service says what is good.
    Answer(Arc<Expected>),
    /// The same, of the call of an MCP tool.
    Tool(Arc<Expected>),
}

/// Definition of a good answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its statuses; 200 to 299 when empty.
    pub(super) statuses: Vec<u16>,
    /// JSON pointers that it has.
    pub(super) must_have: Vec<String>,
    /// JSON pointers that it does not have.
    pub(super) must_not_have: Vec<String>,
}

impl Expected {
    fn accepts(&self, status: StatusCode) -> bool {
        if self.statuses.is_empty() { status.is_success() } else { self.statuses.contains(&status.as_u16()) }
    }

    /// True if only the status is asked for.
    pub(super) fn ignores_body(&self) -> bool {
        self.must_have.is_empty() && self.must_not_have.is_empty()
    }

    /// Fault of the body.
    fn masked(&self, body: &[u8]) -> Option<String> {
        if self.ignores_body() {
            return None;
        }
        let value: serde_json::Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(_) if body.len() >= READ_MOST => {
                return Some(format!("the answer is longer than {READ_MOST} bytes: it cannot be judged"));
            }
            Err(error) => return Some(format!("the answer is not JSON: {error}")),
        };
        let missing = self.must_have.iter().find(|pointer| value.pointer(pointer).is_none());
        if let Some(pointer) = missing {
            return Some(format!("the answer has no `{pointer}`"));
        }
        let (pointer, found) = self.must_not_have.iter().find_map(|it| Some((it, value.pointer(it)?)))?;
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        Some(format!("the answer has `{pointer}`: {text}"))
    }
}

/// So much of it where only a failure's text is of interest: more than any header or cookie that it may repeat, since a
/// secret that is cut in two is not found.
const READ_OF_FAILURE: usize = 64 << 10;

impl Mask {
    /// So much of an answer with this status is kept.
    pub(super) fn read_most(&self, status: StatusCode) -> usize {
        match self {
            Self::Answer(expected) if expected.ignores_body() && expected.accepts(status) => 0,
            Self::Answer(expected) if expected.ignores_body() => READ_OF_FAILURE,
            _ => READ_MOST,
        }
    }
}

/// Judges a status, its headers and a body. The text of a failure is as long as the service made it: it may repeat
/// secrets, which must be redacted before it is cut.
pub(super) fn judge(mask: &Mask, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> RequestOutcome {
    let good = match mask {
        Mask::Answer(expected) | Mask::Tool(expected) => expected.accepts(status),
        _ => status.is_success(),
    };
    if !good {
        return RequestOutcome::Failure(format!("HTTP {}{}: {}", status.as_u16(), retry_after(headers), detail(body)));
    }
    let masked = match mask {
        Mask::None => None,
        Mask::Stream => body.is_empty().then(|| "the stream has sent nothing".to_owned()),
        Mask::JsonRpc => json_rpc_error(body),
        Mask::Health => unhealthy(body),
        Mask::Answer(expected) => expected.masked(body).map(|text| format!("{text}{}", encoding(headers))),
        Mask::Tool(expected) => mcp::failure(body).or_else(|| expected.masked(body)),
    };
    masked.map_or(RequestOutcome::Success, RequestOutcome::Failure)
}

/// When the service wants to be asked again, where it says so: of dates only that there is one, or each would be a text of
/// its own.
fn retry_after(headers: &HeaderMap) -> String {
    let Some(text_seen) = headers.get(RETRY_AFTER) else { return String::new() };
    match text_seen.to_str().ok().and_then(|text_seen| text_seen.trim().parse::<u32>().ok()) {
        Some(seconds) => format!(", Retry-After {seconds}"),
        None => ", Retry-After a date".to_owned(),
    }
}

/// A body that was packed, which nobody asked for, is read as it came.
fn encoding(headers: &HeaderMap) -> String {
    let text_seen = headers.get(CONTENT_ENCODING).and_then(|it| it.to_str().ok());
    text_seen.map_or_else(String::new, |it| {
        format!(" (it came with Content-Encoding `{}`)", it.chars().take(20).collect::<String>())
    })
}

/// `{"detail": …}` and `{"error": …}` as their text, anything else as it came.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct DetailBody {
        #[serde(alias = "error", alias = "message")]
        detail: String,
    }
    match serde_json::from_slice::<DetailBody>(body) {
        Ok(DetailBody { detail }) => detail,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

fn json_rpc_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct RpcErrorBody {
        error: Option<RpcError>,
    }
    #[derive(Deserialize)]
    struct RpcError {
        code: i64,
        message: String,
        #[serde(default)]
        data: serde_json::Value,
    }
    match serde_json::from_slice::<RpcErrorBody>(body) {
        Ok(RpcErrorBody { error: None }) => None,
        Ok(RpcErrorBody { error: Some(RpcError { code, message, data }) }) => Some(match data.as_str() {
            Some(data) => format!("JSON-RPC {code} {message}: {data}"),
            None => format!("JSON-RPC {code} {message}"),
        }),
        Err(error) => Some(format!("answer is not JSON-RPC: {error}")),
    }
}

fn unhealthy(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Health {
        status: String,
        #[serde(default)]
        error: String,
    }
    match serde_json::from_slice::<Health>(body) {
        Ok(health) if health.status == "healthy" => None,
        Ok(health) => Some(format!("{}: {}", health.status, health.error)),
        Err(error) => Some(format!("health is not JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(mask: &Mask, status: u16, body: &'static str) -> Option<String> {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), Bytes::from_static(body.as_bytes()));
        match judge(mask, status, &HeaderMap::new(), &body) {
            RequestOutcome::Failure(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn a_json_rpc_error_under_status_200_is_a_failure_with_its_exact_text() {
        let body =
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Internal error","data":"QueuePool limit"},"id":1}"#;
        assert_eq!(failure(&Mask::JsonRpc, 200, body).unwrap(), "JSON-RPC -32000 Internal error: QueuePool limit");
        assert_eq!(failure(&Mask::JsonRpc, 200, r#"{"jsonrpc":"2.0","result":{},"id":1}"#), None);
    }

    #[test]
    fn an_unhealthy_body_under_status_200_is_a_failure() {
        let body = r#"{"status":"unhealthy","error":"Database connection error: QueuePool"}"#;
        assert_eq!(failure(&Mask::Health, 200, body).unwrap(), "unhealthy: Database connection error: QueuePool");
        assert_eq!(failure(&Mask::Health, 200, r#"{"status":"healthy"}"#), None);
    }

    #[test]
    fn a_service_that_wants_to_be_left_alone_says_for_how_long() {
        let text_seen = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            judge(&Mask::None, StatusCode::TOO_MANY_REQUESTS, &headers, &Bytes::from_static(b"slow down"))
        };
        let failure = |text: &str| RequestOutcome::Failure(text.to_owned());
        assert_eq!(text_seen("7"), failure("HTTP 429, Retry-After 7: slow down"));
        assert_eq!(text_seen("Wed, 21 Oct 2026 07:28:00 GMT"), failure("HTTP 429, Retry-After a date: slow down"));
    }

    #[test]
    fn an_error_status_shows_its_detail() {
        assert_eq!(failure(&Mask::None, 500, r#"{"detail":"QueuePool limit"}"#).unwrap(), "HTTP 500: QueuePool limit");
        assert_eq!(failure(&Mask::None, 502, "Bad Gateway\n").unwrap(), "HTTP 502: Bad Gateway");
    }

    #[test]
    fn a_service_of_your_own_says_what_is_good() {
        let expected = |expected: Expected| Mask::Answer(Arc::new(expected));
        assert_eq!(failure(&expected(Expected::default()), 204, ""), None);
        assert_eq!(failure(&expected(Expected::default()), 302, "").unwrap(), "HTTP 302: ");
        let missing_is_fine = Expected { statuses: vec![200, 404], ..Expected::default() };
        assert_eq!(failure(&expected(missing_is_fine.clone()), 404, "no"), None);
        assert!(failure(&expected(missing_is_fine), 201, "").is_some());
        let judged = Expected {
            must_have: vec!["/data/0/id".to_owned()],
            must_not_have: vec!["/error".to_owned()],
            ..Expected::default()
        };
        assert_eq!(failure(&expected(judged.clone()), 200, r#"{"data":[{"id":1}]}"#), None);
        assert_eq!(
            failure(&expected(judged.clone()), 200, r#"{"data":[]}"#).unwrap(),
            "the answer has no `/data/0/id`"
        );
        let masked = r#"{"data":[{"id":1}],"error":"QueuePool limit"}"#;
        assert_eq!(
            failure(&expected(judged.clone()), 200, masked).unwrap(),
            "the answer has `/error`: QueuePool limit"
        );
        assert!(failure(&expected(judged), 200, "<html>").unwrap().starts_with("the answer is not JSON"));
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_is_a_failure() {
        assert!(failure(&Mask::JsonRpc, 200, "<html>").is_some());
        assert!(failure(&Mask::Health, 200, "").is_some());
    }
}
