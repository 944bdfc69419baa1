//! What a request can end in, and how the client sees it.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::db::DbError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No valid token.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The user may not do that.
    #[error("Insufficient permissions. Required: {0}")]
    Forbidden(&'static str),
    /// The user's account is switched off or unknown.
    #[error("{0}")]
    Account(&'static str),
    /// The database failed. The text reaches the client unmasked, so that it can be found.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The service behind the gateway failed.
    #[error("backend: {text}")]
    Backend {
        /// What went wrong, without the address.
        text: String,
    },
    /// A page could not be rendered.
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
    /// The handler panicked.
    #[error("internal error")]
    Panicked,
}

impl GatewayError {
    /// The status that the client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) | Self::Account(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Backend { .. } => StatusCode::BAD_GATEWAY,
            Self::Database(_) | Self::Template(_) | Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({ "detail": self.to_string() }))).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
