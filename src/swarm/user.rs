//! One user: think, pick a task, send it to a replica, judge the answer.

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Request, Response, StatusCode};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::fleet::Fleet;
use super::plan::{Class, Mask, STREAM_READ, Task};
use super::recorder::{Recorder, RequestOutcome};
use super::{Clock, Identity};
use crate::scenario::Balance;
use crate::units::Span;

/// What all users share.
pub(super) struct Shared {
    /// One client for all: identity travels in a header, and a client for each user costs 105 KB.
    pub(super) client: Client,
    pub(super) client_timeout: Span,
    pub(super) classes: Vec<Class>,
    /// Handed out in order; users beyond the last begin again.
    pub(super) identities: Vec<Identity>,
    pub(super) recorder: Recorder,
    pub(super) fleet: std::sync::Arc<Fleet>,
    pub(super) users: u32,
    pub(super) seed: u64,
    pub(super) balance: Balance,
    /// Users that have a number.
    pub(super) assigned: AtomicU32,
    /// Users whose place in the ramp has come.
    pub(super) started: AtomicU32,
}

/// One user's own state. `Clone` because goose asks it of what it keeps for a user.
#[derive(Clone)]
pub(super) struct User {
    pub(super) index: u32,
    class: usize,
    authorization: HeaderValue,
    random: SmallRng,
}

impl User {
    pub(super) fn new(shared: &Shared, index: u32, class: usize) -> Self {
        let identity = &shared.identities[index as usize % shared.identities.len()];
        Self {
            index,
            class,
            authorization: identity.authorization.clone(),
            random: SmallRng::seed_from_u64(shared.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(index)),
        }
    }

    /// One turn: a think time and a request; cut short by `stop`.
    pub(super) async fn turn(&mut self, shared: &Shared, clock: Clock, stop: &CancellationToken) {
        let class = &shared.classes[self.class];
        let think = class.think(&mut self.random);
        if stop.run_until_cancelled(tokio::time::sleep(think)).await.is_none() {
            return;
        }
        let task = class.pick(&mut self.random);
        let boarded = shared.fleet.board(shared.balance, self.index as usize, task.route);
        let request = self.request(task, boarded.url(task.path));
        let sent = Instant::now();
        let outcome = match stop.run_until_cancelled(send(shared, task, request)).await {
            Some(outcome) => outcome,
            None => RequestOutcome::CutOff,
        };
        drop(boarded);
        let done = Instant::now();
        shared.recorder.record(self.index, task.route, clock.phase(done), done - sent, outcome);
    }

    fn request(&self, task: &Task, url: reqwest::Url) -> Request {
        let mut request = Request::new(task.method.clone(), url);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        if let Some(body) = &task.body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.clone().into());
        }
        request
    }
}

/// Sends a request and waits for the whole answer.
async fn send(shared: &Shared, task: &Task, request: Request) -> RequestOutcome {
    let answer = async {
        let response = shared.client.execute(request).await?;
        let status = response.status();
        let body = match task.mask {
            Mask::Stream if status.is_success() => beginning(response).await?,
            _ => response.bytes().await?,
        };
        Ok((status, body))
    };
    match answer.await {
        Ok((status, body)) => judge(task.mask, status, &body),
        Err(error) => RequestOutcome::Failure(transport_error(&error, shared.client_timeout)),
    }
}

/// What comes of a stream while it is read.
async fn beginning(mut response: Response) -> reqwest::Result<Bytes> {
    let until = tokio::time::Instant::now() + STREAM_READ;
    let mut read = BytesMut::new();
    while let Ok(chunk) = tokio::time::timeout_at(until, response.chunk()).await {
        match chunk? {
            Some(chunk) => read.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(read.freeze())
}

/// What a status and a body mean.
fn judge(mask: Mask, status: StatusCode, body: &Bytes) -> RequestOutcome {
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

/// A transport error without the address, which differs from request to request.
fn transport_error(error: &reqwest::Error, timeout: Span) -> String {
    if error.is_timeout() {
        return format!("no answer within {timeout} (client timeout)");
    }
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    let what = if error.is_connect() { "connection failed" } else { "connection broken" };
    format!("{what}: {root}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(mask: Mask, status: u16, body: &'static str) -> Option<String> {
        match judge(mask, StatusCode::from_u16(status).unwrap(), &Bytes::from_static(body.as_bytes())) {
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
