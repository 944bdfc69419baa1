//! A few requests to a service, one at a time: bounded in size and time, and only to where load may go.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

use super::remote_guard::{GuardError, RemoteGuard};
use crate::scenario::service::BaseUrl;

/// Longest time for an answer, whole.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of an answer that are read; the rest is not waited for.
const LONGEST: usize = 20 << 20;

/// A service that is asked.
#[derive(Debug)]
pub struct Asker {
    client: reqwest::Client,
    base: BaseUrl,
    identity: Option<(HeaderName, HeaderValue)>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    /// As far as it was read.
    pub body: Vec<u8>,
}

/// Body of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum AskedBody {
    Json(serde_json::Value),
    Form(Vec<(String, String)>),
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("cannot make a client")]
    Client(#[source] reqwest::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("no answer")]
    Request(#[source] reqwest::Error),
    #[error("it cannot be sent: it is no URL of the service")]
    Path,
}

impl AskError {
    /// True if the request made no sense.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Guard(GuardError::Remote { .. }))
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Guard(error) => error.hint(),
            _ => None,
        }
    }
}

impl Answer {
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Its JSON, if it is some.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Asker {
    /// `allowed` are the hosts beside this machine.
    ///
    /// # Errors
    /// When the host may not be spoken to, or is not known.
    pub async fn new(base: &BaseUrl, allowed: &[String]) -> Result<Self, AskError> {
        let mut guard = RemoteGuard::allowing(allowed);
        guard.admit(base.host(), base.port()).await?;
        let client = guard.client().timeout(TIMEOUT).build().map_err(AskError::Client)?;
        Ok(Self { client, base: base.clone(), identity: None })
    }

    /// From now on each request has this header.
    pub fn identify(&mut self, name: HeaderName, value: HeaderValue) {
        self.identity = Some((name, value));
    }

    /// Asks for a path behind the base URL, its query with it.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn get(&self, path: &str) -> Result<Answer, AskError> {
        self.ask(Method::GET, path, &[], None).await
    }

    /// Sends a request; `path` is behind the base URL.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&AskedBody>,
    ) -> Result<Answer, AskError> {
        let url = reqwest::Url::parse(&self.base.with_path(path)).map_err(|_invalid| AskError::Path)?;
        let mut request = self.client.request(method, url);
        for (name, value) in self.identity.iter().chain(headers) {
            request = request.header(name, value);
        }
        let request = match body {
            Some(AskedBody::Json(value)) => request.json(value),
            Some(AskedBody::Form(fields)) => request.form(fields),
            None => request,
        };
        let failed = |error: reqwest::Error| {
            if error.is_timeout() { AskError::Timeout } else { AskError::Request(error.without_url()) }
        };
        let mut answer = request.send().await.map_err(failed)?;
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let mut read = Answer { status: answer.status().as_u16(), content_type: kind, body: Vec::new() };
        // A stream has no end.
        while !read.content_type.starts_with("text/event-stream") && answer.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            let Some(chunk) = answer.chunk().await.map_err(failed)? else { break };
            read.body.extend_from_slice(&chunk);
            if read.body.len() > LONGEST {
                break;
            }
        }
        Ok(read)
    }
}
