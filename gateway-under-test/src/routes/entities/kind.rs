//! The kinds of entity, and what is asked of the database about each.

/// One kind: its routes, its permissions, its statements.
///
/// Parameters `$2`, `$3`, `$4` of every statement are those of `visible!`; an entity that they hide does not exist.
pub struct EntityKind {
    /// Path of the list: `/tools`.
    pub list_path: &'static str,
    /// Path of one entity.
    pub item_path: &'static str,
    /// Permission to see them.
    pub read_permission: &'static str,
    /// A page: JSON, and microseconds and id for the cursor. `$1` rows at most, after the entity `$6` of the time `$5`
    /// (microseconds), `$7` also those that are switched off, `$8` of this team, `$9` of this visibility, `$10` with
    /// one of these tags; null asks for all.
    pub list: &'static str,
    /// One entity as JSON; `$1` is its id.
    pub by_id: &'static str,
}

/// A kind of entity, for the handlers that are the same for all.
pub trait Entity: Send + Sync + 'static {
    const KIND: EntityKind;
}

/// Visibility rule in SQL. `$2` is whether all teams are meant, `$3` the teams of the token, `$4` the e-mail, null for a
/// public-only token. Private entities are their owner's alone, whatever an administrator's token says.
macro_rules! visible {
    () => {
        "(visibility = 'public' OR visibility = 'team' AND ($2 OR team_id = ANY ($3)) \
         OR visibility = 'private' AND owner_email = $4)"
    };
}
pub(in crate::routes) use visible;

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident, $table:literal, shown: [$($columns:tt)*] $(,)?) => {
        $(#[$doc])*
        pub struct $name;

        impl Entity for $name {
            const KIND: EntityKind = EntityKind {
                list_path: concat!("/", $table),
                item_path: concat!("/", $table, "/{id}"),
                read_permission: concat!($table, ".read"),
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
    shown: [
            "original_name AS \"originalName\", custom_name AS \"customName\", custom_name_slug AS \"customNameSlug\", \
             url, integration_type AS \"integrationType\", request_type AS \"requestType\", \
             input_schema AS \"inputSchema\", output_schema AS \"outputSchema\", annotations, reachable, \
             gateway_id AS \"gatewayId\""
        ],
);
entity!(
    /// Virtual servers, each with tools, resources and prompts of its own.
    Servers,
    "servers",
    shown: [
            "icon, ",
            offered!("tool_id", "server_tool_association", "tools", "associatedTools"), ", ",
            offered!("resource_id", "server_resource_association", "resources", "associatedResources"), ", ",
            offered!("prompt_id", "server_prompt_association", "prompts", "associatedPrompts")
        ],
);
entity!(
    Resources,
    "resources",
    shown: ["uri, mime_type AS \"mimeType\", size, gateway_id AS \"gatewayId\""],
);
entity!(
    Prompts,
    "prompts",
    shown: ["template, argument_schema AS \"arguments\", gateway_id AS \"gatewayId\""],
);
entity!(
    /// MCP servers behind this gateway.
    Gateways,
    "gateways",
    shown: ["slug, url, transport, capabilities, reachable, last_seen AS \"lastSeen\""],
);
