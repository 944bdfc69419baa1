//! `GET /admin/`: the page that renders the lists (for anyone who may read them, too), the slowest of the user interface; and a page for each list.

use axum::extract::{Extension, Path};
use axum::response::Html;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use serde_json::Value;

use super::entities::kind::Entity;
use super::entities::lists::{self, ServerEntry, ToolEntry};
use super::entities::{Gateways, Prompts, Resources, Servers, Tools, first_page};
use crate::error::GatewayError;
use crate::rbac::{Caller, User};
use crate::request::SlowWork;
use crate::worker::Worker;

#[derive(Serialize)]
struct ListsPage {
    email: String,
    tools: Vec<ToolEntry>,
    servers: Vec<ServerEntry>,
}

#[derive(Serialize)]
struct ListPage<'a> {
    email: &'a str,
    list: &'a str,
    entities: Vec<Value>,
}

/// The page templates, compiled once for each worker.
///
/// # Errors
/// When a template does not parse.
pub fn pages() -> Result<Environment<'static>, minijinja::Error> {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_template("admin", include_str!("admin.html"))?;
    pages.add_template("list", include_str!("admin_list.html"))?;
    Ok(pages)
}

/// `GET /admin/login`: where browsers without a token end up. Pages are asked for with a token, as everything else.
pub async fn login() -> Html<&'static str> {
    Html(include_str!("admin_login.html"))
}

/// `GET /admin/`: tools and servers.
///
/// # Errors
/// When the caller may not, or the database fails.
pub async fn index(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Html<String>, GatewayError> {
    caller.require_permission(Tools::KIND.read_permission).await?;
    caller.require_permission(Servers::KIND.read_permission).await?;
    let Caller { worker, session, .. } = caller;
    let page = ListsPage {
        tools: lists::tools(&worker, &session, &user).await?,
        servers: lists::servers(&worker, &session, &user).await?,
        email: user.email,
    };
    session.before(&worker, SlowWork::Render(&page.email)).await?;
    let rendered = render(&worker, "admin", &page).await;
    session.after(&worker).await?;
    rendered.map(Html)
}

/// `GET /admin/{list}`: the first page of one of the lists.
///
/// # Errors
/// As [`index`]; [`GatewayError::NotFound`] when there is no such list.
pub async fn list(
    Path(list): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Html<String>, GatewayError> {
    let entities = match list.as_str() {
        "tools" => first_page::<Tools>(&caller, &user).await?,
        "servers" => first_page::<Servers>(&caller, &user).await?,
        "resources" => first_page::<Resources>(&caller, &user).await?,
        "prompts" => first_page::<Prompts>(&caller, &user).await?,
        "gateways" => first_page::<Gateways>(&caller, &user).await?,
        _ => return Err(GatewayError::NotFound),
    };
    let Caller { worker, session, .. } = &caller;
    let page = ListPage { email: &user.email, list: &list, entities };
    session.before(worker, SlowWork::Render(page.email)).await?;
    let rendered = render(worker, "list", &page).await;
    session.after(worker).await?;
    rendered.map(Html)
}

async fn render(worker: &Worker, template: &str, page: &impl Serialize) -> Result<String, GatewayError> {
    worker.rendering.pass().await;
    Ok(worker.pages.get_template(template)?.render(Serde(page))?)
}
