//! Entity lists: `GET /tools`, `GET /servers`.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Json, response::IntoResponse};
use serde::Serialize;
use tokio_postgres::Row;

use crate::error::GatewayError;
use crate::rbac::require_permission;
use crate::request::RequestSession;
use crate::worker::Worker;

/// Entities of a page, as ContextForge's default.
const PAGE: i64 = 50;

const LIST_TOOLS: &str = "SELECT id, name, original_name, url, integration_type, request_type, tags::text, enabled, \
     visibility, team_id, owner_email FROM tools WHERE enabled ORDER BY created_at, id LIMIT $1";

const LIST_SERVERS: &str = "SELECT id, name, description, enabled, visibility, team_id, owner_email, \
     (SELECT count(*) FROM server_tool_association a WHERE a.server_id = servers.id) AS tools \
     FROM servers WHERE enabled ORDER BY created_at, id LIMIT $1";

/// A tool as lists show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolEntry {
    id: String,
    pub(crate) name: String,
    original_name: String,
    url: Option<String>,
    integration_type: String,
    request_type: Option<String>,
    enabled: bool,
    visibility: String,
    team_id: Option<String>,
    owner_email: Option<String>,
}

/// A server as lists show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerEntry {
    id: String,
    name: String,
    description: Option<String>,
    enabled: bool,
    visibility: String,
    team_id: Option<String>,
    owner_email: Option<String>,
    tool_count: i64,
}

/// `GET /tools`.
///
/// # Errors
/// When the caller may not, or the database fails.
pub async fn tools(
    State(worker): State<Arc<Worker>>,
    Extension(session): Extension<RequestSession>,
    headers: HeaderMap,
) -> Result<Response, GatewayError> {
    let answer = async {
        require_permission(&worker, &session, &headers, "tools.read").await?;
        list_tools(&worker, &session).await
    };
    answer.await.map(|tools| Json(tools).into_response()).inspect_err(|error| worker.record(error))
}

/// `GET /servers`.
///
/// # Errors
/// When the caller may not, or the database fails.
pub async fn servers(
    State(worker): State<Arc<Worker>>,
    Extension(session): Extension<RequestSession>,
    headers: HeaderMap,
) -> Result<Response, GatewayError> {
    let answer = async {
        require_permission(&worker, &session, &headers, "servers.read").await?;
        list_servers(&worker, &session).await
    };
    answer.await.map(|servers| Json(servers).into_response()).inspect_err(|error| worker.record(error))
}

/// The first page of tools.
pub(crate) async fn list_tools(worker: &Worker, session: &RequestSession) -> Result<Vec<ToolEntry>, GatewayError> {
    list(worker, session, LIST_TOOLS, tool).await
}

/// The first page of servers.
pub(crate) async fn list_servers(worker: &Worker, session: &RequestSession) -> Result<Vec<ServerEntry>, GatewayError> {
    list(worker, session, LIST_SERVERS, server).await
}

async fn list<T>(
    worker: &Worker,
    session: &RequestSession,
    sql: &'static str,
    entry: fn(&Row) -> T,
) -> Result<Vec<T>, GatewayError> {
    let mut work = session.open(worker).await;
    let rows = work.query(sql, &[&PAGE]).await;
    work.done().await;
    Ok(rows?.iter().map(entry).collect())
}

fn tool(row: &Row) -> ToolEntry {
    ToolEntry {
        id: row.get("id"),
        name: row.get("name"),
        original_name: row.get("original_name"),
        url: row.get("url"),
        integration_type: row.get("integration_type"),
        request_type: row.get("request_type"),
        enabled: row.get("enabled"),
        visibility: row.get("visibility"),
        team_id: row.get("team_id"),
        owner_email: row.get("owner_email"),
    }
}

fn server(row: &Row) -> ServerEntry {
    ServerEntry {
        id: row.get("id"),
        name: row.get("name"),
        description: row.get("description"),
        enabled: row.get("enabled"),
        visibility: row.get("visibility"),
        team_id: row.get("team_id"),
        owner_email: row.get("owner_email"),
        tool_count: row.get("tools"),
    }
}
