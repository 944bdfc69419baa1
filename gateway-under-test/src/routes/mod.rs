//! What the gateway answers. The table below is the place to look up what a route takes.

pub mod admin;
mod catalogue;
pub mod entities;
pub mod health;
pub mod login;
pub mod mcp;
pub mod metrics;
pub mod openapi;
pub mod protocol;
pub mod roles;
pub mod rpc;
pub mod sse;
pub mod teams;
pub mod tokens;
pub mod tool_call;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::rbac::Guard;
use crate::rbac::guard::LOGIN_PAGE;
use crate::request::with_session;
use crate::worker::Worker;
use entities::{Gateways, Prompts, Resources, Servers, Tools, tags};
use openapi::Body;

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
    /// The JSON that it reads, where that is described.
    pub body: Option<Body>,
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

    fn taking(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// Every route of the gateway.
#[must_use]
pub fn table() -> Vec<Route> {
    let mut routes = open_routes();
    routes.extend(protocol_routes());
    routes.extend(account_routes());
    routes.extend(team_routes());
    routes.extend(entities::routes::<Tools>(get(entities::tools)));
    routes.extend(entities::routes::<Servers>(get(entities::servers)));
    routes.extend(entities::routes::<Resources>(get(entities::list::<Resources>)));
    routes.extend(entities::routes::<Prompts>(get(entities::list::<Prompts>)));
    routes.extend(entities::routes::<Gateways>(get(entities::list::<Gateways>)));
    routes
}

/// Whether it lives, and who one is.
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
            .taking(Body::of::<login::Credentials>(None)),
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

/// Tokens and roles.
#[rustfmt::skip]
fn account_routes() -> Vec<Route> {
    use Guard::{Admin, Permission, Token};
    const MANAGE_USERS: Guard = Permission("admin.user_management");
    let r = Route::new;
    vec![
        r(Method::GET, "/tokens", Permission("tokens.read"), "The caller's own tokens", get(tokens::list)),
        r(Method::POST, "/tokens", Permission("tokens.create"), "Issues a token", post(tokens::issue))
            .taking(Body::of::<tokens::Wanted>(None)),
        r(Method::DELETE, "/tokens/{id}", Permission("tokens.revoke"), "Revokes it", delete(tokens::revoke)),
        r(Method::GET, "/rbac/my/permissions", Token, "What the caller may do", get(roles::my_permissions)),
        r(Method::GET, "/rbac/my/roles", Token, "Why they may", get(roles::my_roles)),
        r(Method::GET, "/rbac/permissions/available", Admin, "All permissions", get(roles::permissions)),
        r(Method::GET, "/rbac/roles", Admin, "All roles", get(roles::list)),
        r(Method::POST, "/rbac/users/{email}/roles", MANAGE_USERS, "Gives a role", post(roles::assign))
            .taking(Body::of::<roles::Assignment>(None)),
        r(Method::DELETE, "/rbac/users/{email}/roles/{role_id}", MANAGE_USERS, "Takes a role away",
            delete(roles::take_away)),
    ]
}

/// Teams and who is in them.
#[rustfmt::skip]
fn team_routes() -> Vec<Route> {
    use Guard::Permission;
    const MANAGE_MEMBERS: Guard = Permission("teams.manage_members");
    let r = Route::new;
    vec![
        r(Method::GET, "/teams", Permission("teams.read"), "The teams of the token", get(teams::list)),
        r(Method::POST, "/teams", Permission("teams.create"), "Makes one", post(teams::create))
            .taking(Body::of::<teams::TeamFields>(None)),
        r(Method::GET, "/teams/{id}", Permission("teams.read"), "One by its id", get(teams::read)),
        r(Method::PUT, "/teams/{id}", Permission("teams.update"), "Changes it", put(teams::update))
            .taking(Body::of::<teams::TeamFields>(None)),
        r(Method::DELETE, "/teams/{id}", Permission("teams.delete"), "Ends it", delete(teams::end)),
        r(Method::GET, "/teams/{id}/members", Permission("teams.read"), "Who is in it", get(teams::members)),
        r(Method::POST, "/teams/{id}/members", MANAGE_MEMBERS, "Takes somebody in", post(teams::take_in))
            .taking(Body::of::<teams::Membership>(None)),
        r(Method::DELETE, "/teams/{id}/members/{email}", MANAGE_MEMBERS, "Puts somebody out", delete(teams::put_out)),
    ]
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
