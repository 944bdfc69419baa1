//! What an answer means: an error status, and the failures that look like successes.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;

use super::recorder::RequestOutcome;

/// How long a stream is read before its reader has seen enough.
pub(super) const STREAM_READ: Duration = Duration::from_secs(1);

/// How an answer with status 200 can still be a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// It cannot.
    None,
    /// The body holds a JSON-RPC error.
    JsonRpc,
    /// The body says `"unhealthy"`.
    Health,
    /// The body has no end: it is read for [`STREAM_READ`], and must not be empty.
    Stream,
}

/// What a status and a body mean.
pub(super) fn judge(mask: &Mask, status: StatusCode, body: &Bytes) -> RequestOutcome {
    if !status.is_success() {
        return RequestOutcome::Failure(format!("HTTP {}: {}", status.as_u16(), detail(body)));
    }
    let masked = match mask {
        Mask::None => None,
        Mask::Stream => body.is_empty().then(|| "the stream has sent nothing".to_owned()),
        Mask::JsonRpc => json_rpc_error(body),
        Mask::Health => unhealthy(body),
    };
    masked.map_or(RequestOutcome::Success, RequestOutcome::Failure)
}

/// `{"detail": …}` and `{"error": …}` as their text, anything else by its beginning.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Detail {
        #[serde(alias = "error", alias = "message")]
        detail: String,
    }
    const SHOWN: usize = 300;
    match serde_json::from_slice::<Detail>(body) {
        Ok(Detail { detail }) => detail,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).trim().to_owned(),
    }
}

fn json_rpc_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        error: Option<RpcError>,
    }
    #[derive(Deserialize)]
    struct RpcError {
        code: i64,
        message: String,
        #[serde(default)]
        data: serde_json::Value,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { error: None }) => None,
        Ok(Answer { error: Some(RpcError { code, message, data }) }) => Some(match data.as_str() {
            Some(data) => format!("JSON-RPC {code} {message}: {data}"),
            None => format!("JSON-RPC {code} {message}"),
        }),
        Err(error) => Some(format!("answer is no JSON-RPC: {error}")),
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
        Err(error) => Some(format!("health is no JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(mask: Mask, status: u16, body: &'static str) -> Option<String> {
        match judge(&mask, StatusCode::from_u16(status).unwrap(), &Bytes::from_static(body.as_bytes())) {
            RequestOutcome::Failure(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn a_json_rpc_error_under_status_200_is_a_failure_with_its_exact_text() {
        let body =
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Internal error","data":"QueuePool limit"},"id":1}"#;
        assert_eq!(failure(Mask::JsonRpc, 200, body).unwrap(), "JSON-RPC -32000 Internal error: QueuePool limit");
        assert_eq!(failure(Mask::JsonRpc, 200, r#"{"jsonrpc":"2.0","result":{},"id":1}"#), None);
    }

    #[test]
    fn an_unhealthy_body_under_status_200_is_a_failure() {
        let body = r#"{"status":"unhealthy","error":"Database connection error: QueuePool"}"#;
        assert_eq!(failure(Mask::Health, 200, body).unwrap(), "unhealthy: Database connection error: QueuePool");
        assert_eq!(failure(Mask::Health, 200, r#"{"status":"healthy"}"#), None);
    }

    #[test]
    fn an_error_status_shows_its_detail() {
        assert_eq!(failure(Mask::None, 500, r#"{"detail":"QueuePool limit"}"#).unwrap(), "HTTP 500: QueuePool limit");
        assert_eq!(failure(Mask::None, 502, "Bad Gateway\n").unwrap(), "HTTP 502: Bad Gateway");
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_is_a_failure() {
        assert!(failure(Mask::JsonRpc, 200, "<html>").is_some());
        assert!(failure(Mask::Health, 200, "").is_some());
    }
}
