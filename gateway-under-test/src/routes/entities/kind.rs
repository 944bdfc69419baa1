//! The kinds of entity, and what is asked of the database about each.

use axum::http::StatusCode;

use super::fields::{Fields, GatewayFields, PromptFields, ResourceFields, ServerFields, ToolFields};

/// One kind: its routes, its permissions, its statements.
///
/// Parameters `$2`, `$3`, `$4` of every statement are those of `visible!`; an entity that they hide does not exist.
pub struct Kind {
    /// One of them: `tool`.
    pub name: &'static str,
    /// What the entity is under in the body that makes one; the whole body, where there is no key.
    pub body_key: Option<&'static str>,
    /// The status of one that was made.
    pub created: StatusCode,
    /// Path of the list: `/tools`.
    pub list_path: &'static str,
    /// Path of one entity.
    pub item_path: &'static str,
    /// Path of its switch.
    pub state_path: &'static str,
    /// Permission to see them.
    pub read_permission: &'static str,
    /// Permission to make them.
    pub create_permission: &'static str,
    /// Permission to change them.
    pub update_permission: &'static str,
    /// Permission to delete them.
    pub delete_permission: &'static str,
    /// A page: JSON, and microseconds and id for the cursor. `$1` rows at most, after the entity `$6` of the time `$5`
    /// (microseconds), `$7` also those that are switched off, `$8` of this team, `$9` of this visibility, `$10` with
    /// one of these tags; null asks for all.
    pub list: &'static str,
    /// One entity as JSON; `$1` is its id.
    pub by_id: &'static str,
    /// Makes the entity `$1` of the columns in `$2` (JSON), in the team `$3`, of `$4`, with the visibility `$5`.
    pub insert: &'static str,
    /// Changes the entity `$1` under the condition of `delete`: the columns that `$6` (JSON) names, the team to `$7` and
    /// the visibility to `$8` unless they are null. `$9` is who does it.
    pub update: &'static str,
    /// Deletes the entity `$1` if it is `$4`'s own, or in a team that `$4` owns, or if `$5`.
    pub delete: &'static str,
    /// Switches it on or off (`$6`), under the same condition; fails at once if another transaction holds the row.
    pub set_state: &'static str,
}

/// A kind of entity, for the handlers that are the same for all.
pub trait Entity: Send + Sync + 'static {
    /// What it is made of.
    type Fields: Fields;
    /// Its kind.
    const KIND: Kind;
}

/// Who sees what, in SQL. `$2` is whether all teams are meant, `$3` the teams of the token, `$4` the e-mail, null for a
/// public-only token. Private entities are their owner's alone, whatever an administrator's token says.
macro_rules! visible {
    () => {
        "(visibility = 'public' OR visibility = 'team' AND ($2 OR team_id = ANY ($3)) \
         OR visibility = 'private' AND owner_email = $4)"
    };
}
pub(in crate::routes) use visible;

/// Who may change what they see: its owner, an owner of its team, an administrator (`$5`).
macro_rules! mine {
    ($table:literal) => {
        concat!(
            "(($5 OR owner_email = $4 OR EXISTS (SELECT FROM email_team_members AS member WHERE member.team_id = ",
            $table,
            ".team_id AND member.user_email = $4 AND member.role = 'owner' AND member.is_active)) AND ",
            visible!(),
            ")"
        )
    };
}

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident, $table:literal, $fields:ty, {
        name: $one:literal,
        body_key: $body_key:expr,
        created: $created:expr,
        fixed: $fixed:literal,
        written: $written:literal,
        shown: [$($columns:tt)*] $(,)?
    }) => {
        $(#[$doc])*
        pub struct $name;

        impl Entity for $name {
            type Fields = $fields;
            const KIND: Kind = Kind {
                name: $one,
                body_key: $body_key,
                created: $created,
                list_path: concat!("/", $table),
                item_path: concat!("/", $table, "/{id}"),
                state_path: concat!("/", $table, "/{id}/state"),
                read_permission: concat!($table, ".read"),
                create_permission: concat!($table, ".create"),
                update_permission: concat!($table, ".update"),
                delete_permission: concat!($table, ".delete"),
                list: concat!(
                    "SELECT row_to_json(entity)::text, (extract(epoch FROM \"createdAt\") * 1000000)::bigint, id \
                     FROM (SELECT ", shown!($($columns)*), " FROM ", $table, " WHERE ", visible!(),
                    " AND ($7 OR enabled) AND ($5::bigint IS NULL OR (created_at, id) > \
                     (timestamptz 'epoch' + $5 * interval '1 microsecond', $6::text)) \
                     AND ($8::text IS NULL OR team_id = $8) AND ($9::text IS NULL OR visibility = $9) \
                     AND ($10::text[] IS NULL OR tags::jsonb ?| $10) \
                     ORDER BY created_at, id LIMIT $1) AS entity ORDER BY \"createdAt\", id"
                ),
                by_id: concat!(
                    "SELECT row_to_json(entity)::text FROM (SELECT ", shown!($($columns)*), " FROM ", $table,
                    " WHERE id = $1 AND ", visible!(), ") AS entity"
                ),
                insert: concat!(
                    "INSERT INTO ", $table, " (", $fixed, $written, ", description, tags, id, team_id, owner_email, visibility, \
                     created_by, created_via) SELECT ", $fixed, $written, ", description, tags, $1, $3, $4, $5, $4, 'api' \
                     FROM json_populate_record(NULL::", $table, ", $2::text::json)"
                ),
                update: concat!(
                    "UPDATE ", $table, " AS target SET (", $written, ", description, tags) = (SELECT ", $written,
                    ", description, tags FROM json_populate_record(target, $6::text::json)), \
                     team_id = coalesce($7, team_id), visibility = coalesce($8, visibility), version = version + 1, \
                     updated_at = now(), modified_by = $9, modified_via = 'api' WHERE id = $1 \
                     AND (coalesce($8, visibility) <> 'team' OR coalesce($7, team_id) IS NOT NULL) AND ", mine!("target"),
                    " RETURNING id"
                ),
                delete: concat!("DELETE FROM ", $table, " WHERE id = $1 AND ", mine!($table), " RETURNING id"),
                set_state: concat!(
                    "WITH locked AS (SELECT id AS locked_id FROM ", $table, " WHERE id = $1 AND ", mine!($table),
                    " FOR UPDATE NOWAIT) UPDATE ", $table, " SET enabled = $6, version = version + 1, \
                     updated_at = now(), modified_by = $4 FROM locked WHERE id = locked_id RETURNING id"
                ),
            };
        }
    };
}

/// Columns as ContextForge's JSON names them: those of all kinds, then the kind's own.
macro_rules! shown {
    ($($columns:tt)*) => {
        concat!(
            "id, name, description, enabled, tags, visibility, team_id AS \"teamId\", owner_email AS \"ownerEmail\", \
             version, created_at AS \"createdAt\", updated_at AS \"updatedAt\", created_by AS \"createdBy\", \
             modified_by AS \"modifiedBy\", ",
            $($columns)*
        )
    };
}

/// Ids of what a server offers, as far as the caller may see it.
macro_rules! offered {
    ($column:literal, $association:literal, $table:literal, $key:literal) => {
        concat!(
            "(SELECT coalesce(json_agg(",
            $column,
            " ORDER BY ",
            $column,
            "), '[]') FROM ",
            $association,
            " AS offered WHERE offered.server_id = servers.id AND ",
            $column,
            " IN (SELECT id FROM ",
            $table,
            " WHERE ",
            visible!(),
            ")) AS \"",
            $key,
            "\""
        )
    };
}

entity!(
    /// Tools that can be called.
    Tools,
    "tools",
    ToolFields,
    {
        name: "tool",
        body_key: Some("tool"),
        created: StatusCode::OK,
        fixed: "original_name, ",
        written: "name, custom_name, custom_name_slug, url, integration_type, request_type, headers, \
                  input_schema, output_schema, annotations",
        shown: [
            "original_name AS \"originalName\", custom_name AS \"customName\", custom_name_slug AS \"customNameSlug\", \
             url, integration_type AS \"integrationType\", request_type AS \"requestType\", \
             input_schema AS \"inputSchema\", output_schema AS \"outputSchema\", annotations, reachable, \
             gateway_id AS \"gatewayId\""
        ],
    }
);
entity!(
    /// Virtual servers, each with tools, resources and prompts of its own.
    Servers,
    "servers",
    ServerFields,
    {
        name: "server",
        body_key: Some("server"),
        created: StatusCode::CREATED,
        fixed: "",
        written: "name, icon",
        shown: [
            "icon, ",
            offered!("tool_id", "server_tool_association", "tools", "associatedTools"), ", ",
            offered!("resource_id", "server_resource_association", "resources", "associatedResources"), ", ",
            offered!("prompt_id", "server_prompt_association", "prompts", "associatedPrompts")
        ],
    }
);
entity!(
    /// Texts and files.
    Resources,
    "resources",
    ResourceFields,
    {
        name: "resource",
        body_key: Some("resource"),
        created: StatusCode::OK,
        fixed: "",
        written: "uri, name, mime_type, text_content, size",
        shown: ["uri, mime_type AS \"mimeType\", size, gateway_id AS \"gatewayId\""],
    }
);
entity!(
    /// Templates of prompts.
    Prompts,
    "prompts",
    PromptFields,
    {
        name: "prompt",
        body_key: Some("prompt"),
        created: StatusCode::OK,
        fixed: "",
        written: "name, template, argument_schema",
        shown: ["template, argument_schema AS \"arguments\", gateway_id AS \"gatewayId\""],
    }
);
entity!(
    /// MCP servers behind this gateway.
    Gateways,
    "gateways",
    GatewayFields,
    {
        name: "gateway",
        body_key: None,
        created: StatusCode::OK,
        fixed: "",
        written: "name, slug, url, transport, capabilities, reachable",
        shown: ["slug, url, transport, capabilities, reachable, last_seen AS \"lastSeen\""],
    }
);
