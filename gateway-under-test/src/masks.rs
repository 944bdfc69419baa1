//! Failures under other names: where ContextForge's clients see something else than that the database failed.
//!
//! A load test that reads only statuses takes these for a client's mistakes, or for success. The gateway's own count of
//! errors has the truth in any case.

use axum::http::StatusCode;

use crate::error::GatewayError;
use crate::settings::Masks;

/// Places where a failure of the database can be taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaskedFailure {
    /// The look-up of the user: their token is no good.
    Authentication,
    /// The check of their permissions: they may not.
    PermissionCheck,
    /// An entity by its id: there is none.
    EntityById,
}

impl Masks {
    /// The error as the client is to see it.
    pub(crate) fn over(self, error: GatewayError, place: MaskedFailure) -> GatewayError {
        let GatewayError::Database(failure) = &error else { return error };
        if self != Self::On || !error.status().is_server_error() {
            return error;
        }
        let cause = failure.to_string();
        let (status, shown) = match place {
            MaskedFailure::Authentication => {
                (StatusCode::UNAUTHORIZED, "Invalid authentication credentials".to_owned())
            }
            MaskedFailure::PermissionCheck => (StatusCode::FORBIDDEN, "Insufficient permissions".to_owned()),
            MaskedFailure::EntityById => (StatusCode::NOT_FOUND, cause.clone()),
        };
        GatewayError::Masked { status, shown, cause }
    }
}
