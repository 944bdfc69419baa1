//! The two lists that every user interface asks for all the time, tools and servers, read column by column, so that
//! PostgreSQL need not build JSON of each row again and again.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::kind::visible;
use super::{DEFAULT_PAGE, Viewer};
use crate::db::DbError;
use crate::error::GatewayError;
use crate::rbac::User;
use crate::request::RequestSession;
use crate::worker::Worker;

const LIST_TOOLS: &str = concat!(
    "SELECT id, name, original_name, url, integration_type, request_type, enabled, visibility, team_id, owner_email \
     FROM tools WHERE enabled AND ",
    visible!(),
    " ORDER BY created_at, id LIMIT $1"
);

/// All of them, as the protocol names their parts.
const OFFERED_TOOLS: &str = concat!(
    "SELECT original_name, description, input_schema::text FROM tools \
     WHERE enabled AND integration_type = 'MCP' AND $1 AND ",
    visible!(),
    " ORDER BY created_at, id"
);

const LIST_SERVERS: &str = concat!(
    "SELECT id, name, description, enabled, visibility, team_id, owner_email, \
     (SELECT count(*) FROM server_tool_association JOIN tools ON tools.id = tool_id WHERE server_id = servers.id AND ",
    visible!(),
    ") AS tools FROM servers WHERE enabled AND ",
    visible!(),
    " ORDER BY created_at, id LIMIT $1"
);

/// A tool as lists show it, read from its row only when it is written.
pub struct ToolEntry(Row);

/// A server as lists show it, read from its row only when it is written.
pub struct ServerEntry(Row);

/// A tool as clients of the protocol are offered it, read from its row only when it is written.
pub struct OfferedTool(Row);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfferedFields<'a> {
    name: &'a str,
    description: Option<&'a str>,
    input_schema: &'a RawValue,
}

impl Serialize for OfferedTool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = &self.0;
        let input_schema = serde_json::from_str(row.get(2)).map_err(serde::ser::Error::custom)?;
        OfferedFields { name: row.get(0), description: row.get(1), input_schema }.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolFields<'a> {
    id: &'a str,
    name: &'a str,
    original_name: &'a str,
    url: Option<&'a str>,
    integration_type: &'a str,
    request_type: Option<&'a str>,
    enabled: bool,
    visibility: &'a str,
    team_id: Option<&'a str>,
    owner_email: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerFields<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    enabled: bool,
    visibility: &'a str,
    team_id: Option<&'a str>,
    owner_email: Option<&'a str>,
    tool_count: i64,
}

impl Serialize for ToolEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = &self.0;
        let fields = ToolFields {
            id: row.get(0),
            name: row.get(1),
            original_name: row.get(2),
            url: row.get(3),
            integration_type: row.get(4),
            request_type: row.get(5),
            enabled: row.get(6),
            visibility: row.get(7),
            team_id: row.get(8),
            owner_email: row.get(9),
        };
        fields.serialize(serializer)
    }
}

impl Serialize for ServerEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = &self.0;
        let fields = ServerFields {
            id: row.get(0),
            name: row.get(1),
            description: row.get(2),
            enabled: row.get(3),
            visibility: row.get(4),
            team_id: row.get(5),
            owner_email: row.get(6),
            tool_count: row.get(7),
        };
        fields.serialize(serializer)
    }
}

/// The first page of the tools that `user` may see.
pub(crate) async fn tools(
    worker: &Worker,
    session: &RequestSession,
    user: &User,
) -> Result<Vec<ToolEntry>, GatewayError> {
    Ok(first_page(worker, session, user, LIST_TOOLS).await?.into_iter().map(ToolEntry).collect())
}

/// The tools of MCP servers that `user` may see.
pub(crate) async fn offered_tools(
    worker: &Worker,
    session: &RequestSession,
    user: &User,
) -> Result<Vec<OfferedTool>, GatewayError> {
    Ok(rows(worker, session, user, OFFERED_TOOLS, &true).await?.into_iter().map(OfferedTool).collect())
}

/// The first page of the servers that `user` may see.
pub(crate) async fn servers(
    worker: &Worker,
    session: &RequestSession,
    user: &User,
) -> Result<Vec<ServerEntry>, GatewayError> {
    Ok(first_page(worker, session, user, LIST_SERVERS).await?.into_iter().map(ServerEntry).collect())
}

async fn first_page(
    worker: &Worker,
    session: &RequestSession,
    user: &User,
    sql: &'static str,
) -> Result<Vec<Row>, DbError> {
    rows(worker, session, user, sql, &DEFAULT_PAGE).await
}

async fn rows(
    worker: &Worker,
    session: &RequestSession,
    user: &User,
    sql: &'static str,
    first: &(dyn ToSql + Sync),
) -> Result<Vec<Row>, DbError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let mut work = session.open(worker).await;
    let rows = work.query(sql, &[first, &all_teams, &teams, &own]).await;
    let ended = work.done().await;
    let rows = rows?;
    ended.map(|()| rows)
}
