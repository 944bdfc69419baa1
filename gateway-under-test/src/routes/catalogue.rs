//! Catalogue for MCP clients: tools, resources and prompts, as the protocol names their parts. `POST /rpc` and
//! `POST /mcp` both answer from here; PostgreSQL builds the JSON.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::entities::kind::visible;
use super::entities::template;
use super::entities::{Viewer, query, write};
use crate::db::connection::Params;
use crate::error::GatewayError;
use crate::rbac::{Caller, User};

const TOOLS: &str = concat!(
    "SELECT json_build_object('tools', coalesce(json_agg(json_build_object('name', original_name, 'description', \
     description, 'inputSchema', input_schema) ORDER BY created_at, id), '[]'))::text FROM tools \
     WHERE enabled AND integration_type = 'MCP' AND ($1::text IS NULL OR id IN (SELECT tool_id \
     FROM server_tool_association WHERE server_id = $1)) AND ",
    visible!()
);

const OFFERS: &str = concat!(
    "SELECT FROM tools JOIN server_tool_association ON tool_id = id WHERE original_name = $1 AND enabled \
     AND server_id = $5 AND ",
    visible!()
);

const SERVER: &str = concat!("SELECT FROM servers WHERE id = $1 AND enabled AND ", visible!());

const RESOURCES: &str = concat!(
    "SELECT json_build_object('resources', coalesce(json_agg(json_build_object('uri', uri, 'name', name, \
     'description', description, 'mimeType', mime_type) ORDER BY created_at, id), '[]'))::text FROM resources \
     WHERE enabled AND uri !~ '[{]' AND ($1::text IS NULL OR id IN (SELECT resource_id \
     FROM server_resource_association WHERE server_id = $1)) AND ",
    visible!()
);

/// Resources whose URI has something to fill in.
const TEMPLATES: &str = concat!(
    "SELECT json_build_object('resourceTemplates', coalesce(json_agg(json_build_object('uriTemplate', uri, 'name', \
     name, 'description', description, 'mimeType', mime_type) ORDER BY created_at, id), '[]'))::text FROM resources \
     WHERE enabled AND uri ~ '[{]' AND $1::text IS NULL AND ",
    visible!()
);

const RESOURCE: &str = concat!(
    "SELECT json_build_object('contents', json_build_array(json_build_object('uri', uri, 'mimeType', mime_type, \
     'text', coalesce(text_content, ''))))::text FROM resources WHERE uri = $1 AND enabled AND ($5::text IS NULL \
     OR id IN (SELECT resource_id FROM server_resource_association WHERE server_id = $5)) AND ",
    visible!(),
    " ORDER BY created_at, id LIMIT 1"
);

const PROMPTS: &str = concat!(
    "SELECT json_build_object('prompts', coalesce(json_agg(json_build_object('name', name, 'description', \
     description, 'arguments', (SELECT coalesce(json_agg(json_build_object('name', key, 'required', \
     coalesce(argument_schema::jsonb -> 'required' ? key, false))), '[]') \
     FROM json_object_keys(argument_schema -> 'properties') AS key)) ORDER BY created_at, id), '[]'))::text \
     FROM prompts WHERE enabled AND ($1::text IS NULL OR id IN (SELECT prompt_id \
     FROM server_prompt_association WHERE server_id = $1)) AND ",
    visible!()
);

/// Subscribes a caller to a resource. `$5` is their e-mail.
const SUBSCRIBE: &str = concat!(
    "INSERT INTO resource_subscriptions (resource_id, subscriber_id) SELECT id, $5 FROM resources WHERE uri = $1 \
     AND enabled AND ",
    visible!(),
    " ON CONFLICT (resource_id, subscriber_id) DO UPDATE SET created_at = now() \
     RETURNING resource_id"
);
const UNSUBSCRIBE: &str = concat!(
    "WITH named AS (SELECT id FROM resources WHERE uri = $1 AND enabled AND ",
    visible!(),
    "), gone AS (DELETE FROM \
     resource_subscriptions WHERE resource_id IN (SELECT id FROM named) AND subscriber_id = $5) SELECT id FROM named"
);

const GATEWAYS: &str = concat!(
    "SELECT json_build_object('gateways', coalesce(json_agg(json_build_object('id', id, 'name', name, 'url', url, \
     'transport', transport, 'reachable', reachable) ORDER BY created_at, id), '[]'))::text FROM gateways \
     WHERE enabled AND $1::text IS NULL AND ",
    visible!()
);

const PROMPT: &str = concat!(
    "SELECT template, description FROM prompts WHERE name = $1 AND enabled AND ($5::text IS NULL \
     OR id IN (SELECT prompt_id FROM server_prompt_association WHERE server_id = $5)) AND ",
    visible!(),
    " ORDER BY created_at, id LIMIT 1"
);

/// A list of what a user may see, of one virtual server or of the whole gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) enum List {
    Tools,
    Resources,
    Templates,
    Prompts,
    Gateways,
}

impl List {
    pub(crate) const fn permission(self) -> &'static str {
        match self {
            Self::Tools => "tools.read",
            Self::Resources | Self::Templates => "resources.read",
            Self::Prompts => "prompts.read",
            Self::Gateways => "gateways.read",
        }
    }

    /// The list with nothing in it.
    pub(crate) const fn empty(self) -> &'static str {
        match self {
            Self::Tools => r#"{"tools": []}"#,
            Self::Resources => r#"{"resources": []}"#,
            Self::Templates => r#"{"resourceTemplates": []}"#,
            Self::Prompts => r#"{"prompts": []}"#,
            Self::Gateways => r#"{"gateways": []}"#,
        }
    }

    const fn statement(self) -> &'static str {
        match self {
            Self::Tools => TOOLS,
            Self::Resources => RESOURCES,
            Self::Templates => TEMPLATES,
            Self::Prompts => PROMPTS,
            Self::Gateways => GATEWAYS,
        }
    }
}

async fn rows(
    caller: &Caller,
    user: &User,
    sql: &'static str,
    key: &(dyn tokio_postgres::types::ToSql + Sync),
) -> Result<Vec<Row>, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let params: Params<'_> = &[key, &all_teams, &teams, &own];
    Ok(query(caller, sql, params).await?)
}

/// The list as JSON: `{"tools": […]}`.
///
/// # Errors
/// [`GatewayError::Forbidden`] without the permission to read it.
pub(crate) async fn list(caller: &Caller, list: List, server: Option<&str>) -> Result<String, GatewayError> {
    let user = caller.require_permission(list.permission()).await?;
    let rows = rows(caller, &user, list.statement(), &server).await?;
    rows.first().map(|row| row.get(0)).ok_or(GatewayError::NotFound)
}

/// Finds a virtual server.
///
/// # Errors
/// [`GatewayError::NotFound`] when the user may not know of it either.
pub(crate) async fn find_server(caller: &Caller, user: &User, server: &str) -> Result<(), GatewayError> {
    let found = rows(caller, user, SERVER, &server).await?;
    if found.is_empty() { Err(GatewayError::NotFound) } else { Ok(()) }
}

/// True if a virtual server offers a tool to the user.
///
/// # Errors
/// When the database fails.
pub(crate) async fn offers(caller: &Caller, user: &User, server: &str, tool: &str) -> Result<bool, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    Ok(!query(caller, OFFERS, &[&tool, &all_teams, &teams, &own, &server]).await?.is_empty())
}

/// A resource as JSON, by its URI: `{"contents": […]}`.
///
/// # Errors
/// [`GatewayError::NotFound`] when there is none that the user may see.
pub(crate) async fn read_resource(caller: &Caller, uri: &str, server: Option<&str>) -> Result<String, GatewayError> {
    let user = caller.require_permission(List::Resources.permission()).await?;
    let Viewer { all_teams, teams, own } = Viewer::of(&user);
    let rows = query(caller, RESOURCE, &[&uri, &all_teams, &teams, &own, &server]).await?;
    rows.first().map(|row| row.get(0)).ok_or(GatewayError::NotFound)
}

/// A subscription to a resource, or its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subscription {
    Begin,
    End,
}

/// Stores who subscribed to a resource. This gateway notifies nobody: its answers are plain JSON, not streams.
///
/// # Errors
/// As [`read_resource`].
pub(crate) async fn subscribe(caller: &Caller, uri: &str, what: Subscription) -> Result<(), GatewayError> {
    let user = caller.require_permission(List::Resources.permission()).await?;
    let Viewer { all_teams, teams, own } = Viewer::of(&user);
    let sql = match what {
        Subscription::Begin => SUBSCRIBE,
        Subscription::End => UNSUBSCRIBE,
    };
    let named = write(caller, sql, &[&uri, &all_teams, &teams, &own, &user.email]).await?;
    if named.is_empty() { Err(GatewayError::NotFound) } else { Ok(()) }
}

/// Which prompt, and what to put into it.
#[derive(Deserialize)]
pub(crate) struct PromptCall {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
}

/// A prompt with its arguments put in, as the protocol's messages.
///
/// # Errors
/// [`GatewayError::NotFound`] when there is none that the user may see, [`GatewayError::Invalid`] when its template
/// cannot be rendered with these arguments.
pub(crate) async fn get_prompt(
    caller: &Caller,
    call: &PromptCall,
    server: Option<&str>,
) -> Result<Value, GatewayError> {
    let user = caller.require_permission(List::Prompts.permission()).await?;
    let Viewer { all_teams, teams, own } = Viewer::of(&user);
    let rows = query(caller, PROMPT, &[&call.name, &all_teams, &teams, &own, &server]).await?;
    let row = rows.first().ok_or(GatewayError::NotFound)?;
    let text = template::fill(row.get(0), &call.arguments)?;
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    Ok(json!({ "description": row.get::<_, Option<&str>>(1), "messages": [message] }))
}
