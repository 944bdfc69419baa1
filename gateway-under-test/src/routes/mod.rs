//! What the gateway answers. The table below is the place to look up what a route takes.

pub mod admin;
mod catalogue;
pub mod entities;
pub mod health;
pub mod mcp;
pub mod metrics;
pub mod roles;
pub mod rpc;
pub mod sse;
pub mod tokens;
pub mod tool_call;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

use crate::rbac::Guard;
use crate::request::with_session;
use crate::worker::Worker;
use entities::{Gateways, Prompts, Resources, Servers, Tools};

/// One line of the table.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with `{…}` for what varies.
    pub path: &'static str,
    /// What it asks of its caller.
    pub guard: Guard,
    /// What it is for, in one line.
    pub summary: &'static str,
    handler: MethodRouter<Arc<Worker>>,
}

/// Every route of the gateway.
#[must_use]
pub fn table() -> Vec<Route> {
    use Guard::{Admin, AnyPermission, EachMethod, Permission, Public, Token};
    const MANAGE_USERS: Guard = Permission("admin.user_management");
    let route = |method, path, guard, summary, handler| Route { method, path, guard, summary, handler };
    let mut routes = vec![
        route(Method::GET, "/health", Public, "Is the database well? With status 200 in any case", get(health::health)),
        route(Method::GET, "/ready", Public, "May load be sent here?", get(health::ready)),
        route(Method::GET, "/metrics/prometheus", Public, "Gauges of the replica", get(metrics::prometheus)),
        route(Method::POST, "/rpc", EachMethod, "JSON-RPC 2.0, as MCP clients speak it", post(rpc::rpc)),
        route(Method::POST, "/mcp", EachMethod, "The Model Context Protocol, streamable HTTP", mcp::service()),
        route(
            Method::POST,
            "/servers/{id}/mcp",
            Permission("servers.use"),
            "The same for one virtual server",
            mcp::service(),
        ),
        route(Method::GET, "/servers/{id}/sse", Permission("servers.use"), "Its events", get(sse::events)),
        route(Method::GET, "/admin/", Permission("admin.dashboard"), "All lists as a page", get(admin::index)),
        route(Method::GET, "/servers/{id}/tools", Permission("servers.read"), "Its tools", get(entities::server_tools)),
        route(
            Method::GET,
            "/metrics",
            AnyPermission(&["admin.metrics", "metrics:read"]),
            "Counts",
            get(metrics::counts),
        ),
        route(Method::GET, "/tokens", Permission("tokens.read"), "The caller's own tokens", get(tokens::list)),
        route(Method::POST, "/tokens", Permission("tokens.create"), "Issues a token", post(tokens::issue)),
        route(Method::DELETE, "/tokens/{id}", Permission("tokens.revoke"), "Revokes it", delete(tokens::revoke)),
        route(Method::GET, "/rbac/my/permissions", Token, "What the caller may do", get(roles::my_permissions)),
        route(Method::GET, "/rbac/my/roles", Token, "Why they may", get(roles::my_roles)),
        route(Method::GET, "/rbac/roles", Admin, "All roles", get(roles::list)),
        route(Method::POST, "/rbac/users/{email}/roles", MANAGE_USERS, "Gives a role", post(roles::assign)),
        route(
            Method::DELETE,
            "/rbac/users/{email}/roles/{role_id}",
            MANAGE_USERS,
            "Takes a role away",
            delete(roles::take_away),
        ),
    ];
    routes.extend(entities::routes::<Tools>(get(entities::tools)));
    routes.extend(entities::routes::<Servers>(get(entities::servers)));
    routes.extend(entities::routes::<Resources>(get(entities::list::<Resources>)));
    routes.extend(entities::routes::<Prompts>(get(entities::list::<Prompts>)));
    routes.extend(entities::routes::<Gateways>(get(entities::list::<Gateways>)));
    routes
}

/// The routes of the table, each behind its guard; those that ask for a token have sessions of their own.
pub fn router(worker: Arc<Worker>) -> Router {
    let (open, guarded): (Vec<_>, Vec<_>) = table().into_iter().partition(|route| route.guard == Guard::Public);
    let add = |router: Router<Arc<Worker>>, route: Route| {
        router.route(route.path, route.guard.before(route.handler, &worker))
    };
    let guarded = guarded.into_iter().fold(Router::new(), add);
    let guarded = guarded.layer(from_fn_with_state(Arc::clone(&worker), with_session));
    open.into_iter().fold(guarded, add).with_state(worker)
}
