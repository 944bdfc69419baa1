//! `GET /admin/`: the page that renders all lists, the slowest of the user interface.

use axum::extract::Extension;
use axum::response::Html;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::entities::lists::{self, ServerEntry, ToolEntry};
use crate::error::GatewayError;
use crate::rbac::{Caller, User};
use crate::request::SlowWork;
use crate::worker::Worker;

/// What the template shows.
#[derive(Serialize)]
struct Page {
    email: String,
    tools: Vec<ToolEntry>,
    servers: Vec<ServerEntry>,
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
    Extension(Caller { worker, session, .. }): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Html<String>, GatewayError> {
    let page = Page {
        tools: lists::tools(&worker, &session, &user).await?,
        servers: lists::servers(&worker, &session, &user).await?,
        email: user.email,
    };
    session.before(&worker, SlowWork::Render(&page.email)).await?;
    let rendered = render(&worker, &page).await;
    session.after(&worker).await?;
    rendered.map(Html)
}

async fn render(worker: &Worker, page: &Page) -> Result<String, GatewayError> {
    let delay = worker.settings.slow_work.render;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    Ok(worker.pages.get_template("admin")?.render(Serde(page))?)
}
