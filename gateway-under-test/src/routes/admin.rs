//! `GET /admin/`: the page that renders all lists, the slowest of the user interface.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Html;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::entities;
use crate::error::GatewayError;
use crate::rbac::require_permission;
use crate::request::RequestSession;
use crate::worker::Worker;

/// What the template shows.
#[derive(Serialize)]
struct Page {
    email: String,
    tools: Vec<entities::ToolEntry>,
    servers: Vec<entities::ServerEntry>,
}

/// The page templates, compiled once for each worker.
///
/// # Errors
/// When a template does not parse.
pub fn pages() -> Result<Environment<'static>, minijinja::Error> {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_template("admin", include_str!("admin.html"))?;
    Ok(pages)
}

/// Renders tools and servers.
///
/// # Errors
/// When the caller may not, or the database fails.
pub async fn index(
    State(worker): State<Arc<Worker>>,
    Extension(session): Extension<RequestSession>,
    headers: HeaderMap,
) -> Result<Html<String>, GatewayError> {
    let page = async {
        let user = require_permission(&worker, &session, &headers, "admin.dashboard").await?;
        let page = Page {
            tools: entities::list_tools(&worker, &session, &user).await?,
            servers: entities::list_servers(&worker, &session, &user).await?,
            email: user.email,
        };
        Ok(worker.pages.get_template("admin")?.render(Serde(&page))?)
    };
    page.await.map(Html).inspect_err(|error| worker.record(error))
}
