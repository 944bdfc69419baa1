//! Routes of the gateway. The table below is the place to look up what a route takes.

pub mod admin;
mod catalogue;
pub mod entities;
pub mod health;
pub mod login;
pub mod mcp;
pub mod metrics;
pub mod openapi;
pub mod protocol;
pub mod rpc;
pub mod sse;
pub mod tool_call;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};

use crate::rbac::Guard;
use crate::rbac::guard::LOGIN_PAGE;
use crate::request::with_session;
use crate::worker::{Parts, Worker};
use entities::{Gateways, Prompts, Resources, Servers, Tools, tags};

/// One line of the table.
pub struct Route {
    pub method: Method,
    /// Its path, with `{…}` for what varies.
    pub path: &'static str,
    /// Requirement on its caller.
    pub guard: Guard,
    /// Purpose in one line.
    pub summary: &'static str,
    /// The JSON schema of its body; `None` where that is not described.
    pub body: Option<fn() -> serde_json::Value>,
    handler: MethodRouter<Arc<Worker>>,
}

impl Route {
    fn new(
        method: Method,
        path: &'static str,
        guard: Guard,
        summary: &'static str,
        handler: MethodRouter<Arc<Worker>>,
    ) -> Self {
        Self { method, path, guard, summary, body: None, handler }
    }

    fn taking(self, body: fn() -> serde_json::Value) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// Every route of the gateway.
#[must_use]
pub fn table() -> Vec<Route> {
    let mut routes = open_routes();
    routes.extend(protocol_routes());
    routes.extend(entities::routes::<Tools>(get(entities::tools)));
    routes.extend(entities::routes::<Servers>(get(entities::servers)));
    routes.extend(entities::routes::<Resources>(get(entities::list::<Resources>)));
    routes.extend(entities::routes::<Prompts>(get(entities::list::<Prompts>)));
    routes.extend(entities::routes::<Gateways>(get(entities::list::<Gateways>)));
    routes
}

/// Routes without a token: liveness and login.
#[rustfmt::skip]
fn open_routes() -> Vec<Route> {
    use Guard::{AnyPermission, Permission, Public, Token};
    let r = Route::new;
    vec![
        r(Method::GET, "/health", Public, "Is the database well?", get(health::health)),
        r(Method::GET, "/ready", Public, "May load be sent here?", get(health::ready)),
        r(Method::GET, "/metrics/prometheus", Public, "Gauges of the replica", get(metrics::prometheus)),
        r(Method::GET, "/metrics", AnyPermission(&["admin.metrics", "metrics:read"]), "Counts", get(metrics::counts)),
        r(Method::GET, "/openapi.json", Token, "This table, for machines", get(openapi::document)),
        r(Method::GET, "/admin/", Permission("admin.dashboard"), "All lists as a page", get(admin::index)),
        r(Method::GET, LOGIN_PAGE, Public, "How to log in", get(admin::login)),
        r(Method::GET, "/admin/{list}", Permission("admin.dashboard"), "One list as a page", get(admin::list)),
        r(Method::POST, "/auth/email/login", Public, "A token for a password", post(login::login))
            .taking(login::schema),
        r(Method::GET, "/auth/email/me", Token, "Who one is", get(login::me)),
    ]
}

/// The Model Context Protocol, over JSON-RPC and over HTTP.
#[rustfmt::skip]
fn protocol_routes() -> Vec<Route> {
    use Guard::{EachMethod, Permission, Token};
    let r = Route::new;
    vec![
        r(Method::POST, "/rpc", EachMethod, "JSON-RPC 2.0, as MCP clients speak it", post(rpc::rpc)),
        r(Method::POST, "/mcp", EachMethod, "The Model Context Protocol, streamable HTTP", mcp::service()),
        r(Method::POST, "/servers/{id}/mcp", Permission("servers.use"), "The same for one server", mcp::service()),
        r(Method::GET, "/servers/{id}/sse", Permission("servers.use"), "Its events", get(sse::events)),
        r(Method::GET, "/servers/{id}/tools", Permission("servers.read"), "Its tools", get(entities::server_tools)),
        r(Method::GET, "/servers/{id}/resources", Permission("servers.read"), "Its resources",
            get(entities::server_resources)),
        r(Method::GET, "/servers/{id}/prompts", Permission("servers.read"), "Its prompts",
            get(entities::server_prompts)),
        r(Method::POST, "/protocol/initialize", Token, "What the gateway can do", post(protocol::initialize)),
        r(Method::POST, "/protocol/ping", Token, "Nothing", post(protocol::ping)),
        r(Method::POST, "/protocol/notifications", Token, "Takes notice", post(protocol::notifications)),
        r(Method::GET, "/roots", Token, "The gateway's roots", get(protocol::roots)),
        r(Method::GET, "/tags", Permission("tags.read"), "Tags, and how often each is used", get(tags::list)),
    ]
}

/// Parts that the handlers need beside the database.
///
/// # Errors
/// When the client cannot be built or a template does not parse.
pub fn parts() -> Result<Parts, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Parts { backend: tool_call::client()?, pages: admin::pages()? })
}

/// The routes of the table, each behind its guard, with and without a slash at its end; those that ask for a token have
/// sessions of their own. Everything else answers 404 or 405 in FastAPI's words.
pub fn router(worker: Arc<Worker>) -> Router {
    let (open, guarded): (Vec<_>, Vec<_>) = table().into_iter().partition(|route| route.guard == Guard::Public);
    let add = |router: Router<Arc<Worker>>, route: Route| {
        let handler = route.guard.before(route.handler, &worker);
        let twin = route.path.strip_suffix('/').map_or_else(|| format!("{}/", route.path), str::to_owned);
        router.route(route.path, handler.clone()).route(&twin, handler)
    };
    let guarded = guarded.into_iter().fold(Router::new(), add);
    let guarded = guarded.layer(from_fn_with_state(Arc::clone(&worker), with_session));
    let detail = |status: StatusCode, text: &'static str| (status, Json(serde_json::json!({ "detail": text })));
    open.into_iter()
        .fold(guarded, add)
        .fallback(async move || detail(StatusCode::NOT_FOUND, "Not Found"))
        .method_not_allowed_fallback(async move || detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
        .with_state(worker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::permissions::is_known;

    #[test]
    fn every_route_asks_for_known_permissions() {
        for route in table() {
            let asked = match route.guard {
                Guard::Permission(permission) => vec![permission],
                Guard::AnyPermission(permissions) => permissions.to_vec(),
                Guard::Public | Guard::Token | Guard::EachMethod => Vec::new(),
            };
            assert!(asked.iter().all(|permission| is_known(permission)), "{} {}: {asked:?}", route.method, route.path);
        }
    }
}
