//! Errors of a request, and the response that each becomes.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio_postgres::error::SqlState;

use crate::db::DbError;

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("Access denied")]
    Forbidden,
    #[error("Resource not found")]
    NotFound,
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("{shown}")]
    Masked {
        /// The status that the client sees.
        status: StatusCode,
        /// The text that the client sees.
        shown: String,
        cause: String,
    },
    #[error("Unsupported Media Type: application/json is expected")]
    NotJson,
    #[error("backend: {text}")]
    Backend {
        /// Error text without the address.
        text: String,
    },
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
    #[error("internal error")]
    Panicked,
}

impl GatewayError {
    /// The status that the client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Masked { status, .. } => *status,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Backend { .. } => StatusCode::BAD_GATEWAY,
            Self::Database(error) => status_of(error),
            Self::Template(_) | Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl GatewayError {
    /// Text of the error where it is the gateway's fault and not the caller's.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Masked { cause, .. } => Some(cause.clone()),
            // Its text is the backend's: it may be anything, and the gauges are shown to everybody.
            Self::Backend { .. } => Some("the service behind the gateway failed".to_owned()),
            other => other.status().is_server_error().then(|| other.to_string()),
        }
    }
}

/// Status of a database error: values that the server refuses are the caller's error.
fn status_of(error: &DbError) -> StatusCode {
    match error.code() {
        Some(code)
            if [
                SqlState::UNIQUE_VIOLATION,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
            ]
            .contains(code) =>
        {
            StatusCode::CONFLICT
        }
        Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => StatusCode::UNPROCESSABLE_ENTITY,
        // Class 22: a NUL byte in a text, a number out of range.
        Some(code) if code.code().starts_with("22") => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Says beside a response why it is an error of the gateway, so that it can be counted.
#[derive(Clone, Debug)]
pub struct ServerFault(pub String);

impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        let (status, text) = (self.status(), self.to_string());
        let fault = self.fault();
        let mut response = (status, Json(json!({ "detail": text }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(fault) = fault {
            response.extensions_mut().insert(ServerFault(fault));
        }
        response
    }
}
