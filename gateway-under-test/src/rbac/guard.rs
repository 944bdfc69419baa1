//! Requirements of a route on its caller: ContextForge's decorators.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::Caller;
use crate::auth::NO_TOKEN;
use crate::error::GatewayError;
use crate::worker::Worker;

/// Requirement of a route on its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    Public,
    Token,
    /// A good token; each JSON-RPC method has a permission of its own, and answers with a JSON-RPC error without it.
    EachMethod,
    /// This permission: `@require_permission`.
    Permission(&'static str),
    /// One of these: `@require_any_permission`.
    AnyPermission(&'static [&'static str]),
}

/// Redirect target of a browser without a good token.
pub(crate) const LOGIN_PAGE: &str = "/admin/login";

impl Guard {
    /// The error as the caller is reported it: what is wrong with a token, only where nothing but a token is asked for.
    /// Before a permission check, ContextForge's dependency swallows it.
    fn shown(self, error: GatewayError) -> GatewayError {
        match error {
            GatewayError::Unauthorized(text) if self != Self::Token && text != NO_TOKEN => {
                GatewayError::Unauthorized("Invalid authentication credentials")
            }
            other => other,
        }
    }

    /// Puts the guard before a route's handlers. They find the [`Caller`], and the [`super::User`] of a permission check,
    /// in the request's extensions.
    pub fn before(self, routes: MethodRouter<Arc<Worker>>, worker: &Arc<Worker>) -> MethodRouter<Arc<Worker>> {
        if self == Self::Public {
            return routes;
        }
        routes.route_layer(from_fn_with_state((self, Arc::clone(worker)), guard))
    }
}

async fn guard(State((guard, worker)): State<(Guard, Arc<Worker>)>, mut request: Request, next: Next) -> Response {
    match let_through(guard, &worker, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(GatewayError::Unauthorized(_)) if is_browser(request.headers()) => to_login(),
        Err(error) => guard.shown(error).into_response(),
    }
}

/// True if a person looks at the answer.
fn is_browser(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accepts.contains("text/html") || headers.contains_key("hx-request")
}

fn to_login() -> Response {
    (StatusCode::FOUND, [(LOCATION, LOGIN_PAGE)]).into_response()
}

/// A body that comes with another type than JSON is not read.
///
/// # Errors
/// [`GatewayError::NotJson`].
pub(crate) fn json_or_nothing(request: &Request) -> Result<(), GatewayError> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        Ok(())
    } else {
        Err(GatewayError::NotJson)
    }
}

async fn let_through(guard: Guard, worker: &Arc<Worker>, request: &mut Request) -> Result<(), GatewayError> {
    let caller = Caller::of(worker, request)?;
    json_or_nothing(request)?;
    let user = match guard {
        Guard::Public | Guard::Token | Guard::EachMethod => None,
        Guard::Permission(permission) => Some(caller.require_permission(permission).await?),
        Guard::AnyPermission(permissions) => Some(caller.require_any_permission(permissions).await?),
    };
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    request.extensions_mut().insert(caller);
    Ok(())
}
