//! Entities: tools, servers, resources, prompts, gateways. Lists of them, and one by its id.

pub mod kind;
pub mod lists;
pub mod tags;
pub(super) mod template;

use axum::Json;
use axum::extract::{Extension, Path, Query};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::Route;
use crate::auth::TeamScope;
use crate::db::DbError;
use crate::db::connection::Params;
use crate::error::GatewayError;
use crate::masks::MaskedFailure;
use crate::rbac::{Caller, Guard, User};
use kind::{Entity, visible};

pub use kind::{Gateways, Prompts, Resources, Servers, Tools};

/// Entities of a page unless asked otherwise, and at most: ContextForge's.
const DEFAULT_PAGE: i64 = 50;
const LARGEST_PAGE: i64 = 500;

/// Entities of a kind that a virtual server offers, as in its list.
macro_rules! offered {
    ($table:literal, $association:literal, $column:literal, $shown:literal) => {
        concat!(
            "SELECT row_to_json(entity)::text FROM (SELECT id, name, description, enabled, visibility, team_id AS \
             \"teamId\", owner_email AS \"ownerEmail\", ",
            $shown,
            " FROM ",
            $table,
            " JOIN ",
            $association,
            " ON ",
            $column,
            " = id WHERE server_id = $1 AND enabled AND ",
            visible!(),
            " ORDER BY created_at, id) AS entity"
        )
    };
}

const SERVER_TOOLS: &str = offered!(
    "tools",
    "server_tool_association",
    "tool_id",
    "original_name AS \"originalName\", input_schema AS \"inputSchema\""
);
const SERVER_RESOURCES: &str =
    offered!("resources", "server_resource_association", "resource_id", "uri, mime_type AS \"mimeType\"");
const SERVER_PROMPTS: &str =
    offered!("prompts", "server_prompt_association", "prompt_id", "template, argument_schema AS \"arguments\"");

/// The routes of a kind; `list` answers its list.
pub(super) fn routes<E: Entity>(list: MethodRouter<std::sync::Arc<crate::worker::Worker>>) -> [Route; 2] {
    let kind = E::KIND;
    let route = |path, summary, handler| {
        Route::new(Method::GET, path, Guard::Permission(kind.read_permission), summary, handler)
    };
    [route(kind.list_path, "Page by page, with filters", list), route(kind.item_path, "One by its id", get(read::<E>))]
}

/// Viewer of entities, as parameters of `kind::visible!`.
pub(crate) struct Viewer<'a> {
    pub(crate) all_teams: bool,
    pub(crate) teams: &'a [String],
    /// The e-mail of somebody who has private entities.
    pub(crate) own: Option<&'a str>,
}

impl<'a> Viewer<'a> {
    pub(crate) fn of(user: &'a User) -> Self {
        Self {
            all_teams: user.teams == TeamScope::Unrestricted,
            teams: user.teams.ids(),
            own: (user.teams != TeamScope::PublicOnly).then_some(user.email.as_str()),
        }
    }
}

/// Query parameters of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    cursor: Option<String>,
    limit: Option<i64>,
    include_pagination: bool,
    include_inactive: bool,
    tags: Option<String>,
    team_id: Option<String>,
    visibility: Option<String>,
}

/// A page of a list with its name, when it was asked for with `include_pagination`.
#[derive(Serialize)]
struct EntityPage<'a> {
    #[serde(flatten)]
    entities: std::collections::BTreeMap<&'a str, Vec<&'a RawValue>>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// Beginning of a page: after the entity of this time and id.
struct PageCursor {
    micros: i64,
    id: String,
}

impl PageCursor {
    fn parse(text: &str) -> Result<Self, GatewayError> {
        let parts = text.split_once('-').and_then(|(micros, id)| Some((micros.parse().ok()?, id)));
        let (micros, id) =
            parts.ok_or_else(|| GatewayError::Invalid("cursor: not one that a list has given".into()))?;
        Ok(Self { micros, id: id.to_owned() })
    }
}

/// Runs one statement in a session as the request's scope wants it.
pub(super) async fn query(caller: &Caller, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
    let mut work = caller.session.open(&caller.worker).await;
    let rows = work.query(sql, params).await;
    let ended = work.done().await;
    let rows = rows?;
    ended.map(|()| rows)
}

/// As [`query`], for a statement that changes something: committed before the response, whatever the scope, as
/// ContextForge's services do. What was answered is there.
pub(super) async fn write(caller: &Caller, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
    let mut work = caller.session.open(&caller.worker).await;
    let mut rows = work.query(sql, params).await;
    if rows.is_ok() {
        rows = work.commit().await.and(rows);
    }
    let ended = work.done().await;
    let rows = rows?;
    ended.map(|()| rows)
}

/// PostgreSQL knows no NUL in a text, so that nothing is called like that.
pub(super) fn existing(id: &str) -> Result<&str, GatewayError> {
    if id.contains('\0') { Err(GatewayError::NotFound) } else { Ok(id) }
}

/// A JSON text that the database has made.
pub(super) fn as_json(text: &str) -> Response {
    ([(CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}

/// `GET /tools`: the first page as fast as it goes, everything else as for all kinds.
///
/// # Errors
/// When the query is wrong or the database fails.
pub async fn tools(
    uri: Uri,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    match uri.query() {
        None => Ok(Json(lists::tools(&caller.worker, &caller.session, &user).await?).into_response()),
        Some(_) => list_of::<Tools>(&caller, &user, &uri).await,
    }
}

/// `GET /servers`, as [`tools`].
///
/// # Errors
/// As [`tools`].
pub async fn servers(
    uri: Uri,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    match uri.query() {
        None => Ok(Json(lists::servers(&caller.worker, &caller.session, &user).await?).into_response()),
        Some(_) => list_of::<Servers>(&caller, &user, &uri).await,
    }
}

/// A page of a kind.
///
/// # Errors
/// As [`tools`].
pub async fn list<E: Entity>(
    uri: Uri,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    list_of::<E>(&caller, &user, &uri).await
}

/// The first page of a kind, as values.
pub(super) async fn first_page<E: Entity>(caller: &Caller, user: &User) -> Result<Vec<Value>, GatewayError> {
    caller.require_permission(E::KIND.read_permission).await?;
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let nothing: Option<&str> = None;
    let params: Params<'_> = &[
        &DEFAULT_PAGE,
        &all_teams,
        &teams,
        &own,
        &None::<i64>,
        &nothing,
        &true,
        &nothing,
        &nothing,
        &None::<Vec<&str>>,
    ];
    let rows = query(caller, E::KIND.list, params).await?;
    let entities = rows.iter().map(|row| serde_json::from_str(row.get(0))).collect::<Result<_, _>>();
    entities.map_err(|error| GatewayError::Invalid(error.to_string()))
}

async fn list_of<E: Entity>(caller: &Caller, user: &User, uri: &Uri) -> Result<Response, GatewayError> {
    let Query(asked) =
        Query::<ListQuery>::try_from_uri(uri).map_err(|wrong| GatewayError::Invalid(wrong.body_text()))?;
    let limit = asked.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(GatewayError::Invalid(format!("invalid limit {limit}: expected 1 to {LARGEST_PAGE}")));
    }
    let after = asked.cursor.as_deref().map(PageCursor::parse).transpose()?;
    let (micros, id) = after.map(|cursor| (cursor.micros, cursor.id)).unzip();
    let tags: Option<Vec<&str>> = asked.tags.as_ref().map(|tags| tags.split(',').map(str::trim).collect());
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let params: Params<'_> = &[
        // One more tells whether there is a next page.
        &(limit + 1),
        &all_teams,
        &teams,
        &own,
        &micros,
        &id,
        &asked.include_inactive,
        &asked.team_id,
        &asked.visibility,
        &tags,
    ];
    let rows = query(caller, E::KIND.list, params).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
    let shown = &rows[..rows.len() - usize::from(more)];
    let entities = shown.iter().map(|row| serde_json::from_str(row.get(0))).collect::<Result<Vec<&RawValue>, _>>();
    let entities = entities.map_err(|error| GatewayError::Invalid(error.to_string()))?;
    if !asked.include_pagination {
        return Ok(Json(entities).into_response());
    }
    let last = shown.last().filter(|_| more);
    let next_cursor = last.map(|row| format!("{}-{}", row.get::<_, i64>(1), row.get::<_, &str>(2)));
    let name = E::KIND.list_path.trim_start_matches('/');
    Ok(Json(EntityPage { entities: [(name, entities)].into(), next_cursor }).into_response())
}

/// `GET /tools/{id}` and the like.
///
/// # Errors
/// [`GatewayError::NotFound`] when there is none that the user may see.
pub async fn read<E: Entity>(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(&user);
    let rows = query(&caller, E::KIND.by_id, &[&existing(&id)?, &all_teams, &teams, &own]).await;
    let rows = rows.map_err(|error| caller.masked(error.into(), MaskedFailure::EntityById))?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}

/// `GET /servers/{id}/tools`.
///
/// # Errors
/// As [`read`].
pub async fn server_tools(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    of_server(&caller, &user, &id, SERVER_TOOLS).await
}

/// `GET /servers/{id}/resources`.
///
/// # Errors
/// As [`read`].
pub async fn server_resources(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    of_server(&caller, &user, &id, SERVER_RESOURCES).await
}

/// `GET /servers/{id}/prompts`.
///
/// # Errors
/// As [`read`].
pub async fn server_prompts(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    of_server(&caller, &user, &id, SERVER_PROMPTS).await
}

async fn of_server(caller: &Caller, user: &User, id: &str, sql: &'static str) -> Result<Response, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let id = existing(id)?;
    if query(caller, Servers::KIND.by_id, &[&id, &all_teams, &teams, &own]).await?.is_empty() {
        return Err(GatewayError::NotFound);
    }
    let rows = query(caller, sql, &[&id, &all_teams, &teams, &own]).await?;
    let entities: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Ok(as_json(&format!("[{}]", entities.join(","))))
}
