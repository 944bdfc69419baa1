//! One document from a service: bounded in size and time, and only from where load may go.

use std::time::Duration;

use reqwest::header::LOCATION;

use super::remote_guard::{GuardError, RemoteGuard};
use crate::scenario::service::BaseUrl;

pub const LONGEST_DOCUMENT: u64 = 20 << 20;

/// Timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reasons why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("cannot fetch `{url}`")]
    Request {
        url: BaseUrl,
        #[source]
        source: reqwest::Error,
    },
    #[error("`{url}` answered {status}{}: 200 is needed", points_to(location.as_deref()))]
    Status { url: BaseUrl, status: u16, location: Option<String> },
    #[error("`{url}` is longer than {} MB: it is not an OpenAPI document", LONGEST_DOCUMENT >> 20)]
    TooLong { url: BaseUrl },
    #[error("`{url}` is not UTF-8 text")]
    NotText { url: BaseUrl },
}

fn points_to(location: Option<&str>) -> String {
    location.map_or_else(String::new, |it| format!(" and points to `{it}`, which is not followed"))
}

impl FetchError {
    /// True if the request made no sense.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Guard(GuardError::Remote { .. }))
    }

    /// One line that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Guard(error) => error.hint(),
            Self::Status { .. } => Some("FastAPI serves it at /openapi.json, Spring at /v3/api-docs".to_owned()),
            _ => None,
        }
    }
}

/// Fetches a text. `allowed` are the hosts beside this machine.
///
/// # Errors
/// When the host may not be spoken to, does not answer in time, or answers something else.
pub async fn fetch(url: &BaseUrl, allowed: &[String]) -> Result<String, FetchError> {
    let mut guard = RemoteGuard::allowing(allowed);
    guard.admit(url.host(), url.port()).await?;
    let failed = |source: reqwest::Error| FetchError::Request { url: url.clone(), source: source.without_url() };
    let client = guard.client().timeout(TIMEOUT).build().map_err(failed)?;
    let mut answer = client.get(url.url().clone()).send().await.map_err(failed)?;
    if answer.status() != reqwest::StatusCode::OK {
        let location = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok()).map(str::to_owned);
        return Err(FetchError::Status { url: url.clone(), status: answer.status().as_u16(), location });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > LONGEST_DOCUMENT {
            return Err(FetchError::TooLong { url: url.clone() });
        }
    }
    String::from_utf8(body).map_err(|_no_text| FetchError::NotText { url: url.clone() })
}
