//! `GET /tags`: what entities are labelled with.

use axum::extract::Extension;
use axum::response::Response;

use super::kind::visible;
use super::{Viewer, as_json, query};
use crate::error::GatewayError;
use crate::rbac::{Caller, User};

/// Tags of one table that the user may see. `$1` keeps the numbers of `visible!`.
macro_rules! of_table {
    ($table:literal) => {
        concat!(
            "SELECT '",
            $table,
            "' AS kind, json_array_elements_text(tags) AS tag FROM ",
            $table,
            " WHERE $1 AND enabled AND ",
            visible!()
        )
    };
}

const TAGS: &str = concat!(
    "SELECT coalesce(json_agg(json_build_object('name', tag, 'stats', json_build_object('tools', tools, 'resources', \
     resources, 'prompts', prompts, 'servers', servers, 'gateways', gateways, 'total', total)) ORDER BY tag), \
     '[]')::text FROM (SELECT tag, count(*) AS total, count(*) FILTER (WHERE kind = 'tools') AS tools, \
     count(*) FILTER (WHERE kind = 'resources') AS resources, count(*) FILTER (WHERE kind = 'prompts') AS prompts, \
     count(*) FILTER (WHERE kind = 'servers') AS servers, count(*) FILTER (WHERE kind = 'gateways') AS gateways FROM (",
    of_table!("tools"),
    " UNION ALL ",
    of_table!("resources"),
    " UNION ALL ",
    of_table!("prompts"),
    " UNION ALL ",
    of_table!("servers"),
    " UNION ALL ",
    of_table!("gateways"),
    ") AS tagged GROUP BY tag) AS counted"
);

/// `GET /tags`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(&user);
    let rows = query(&caller, TAGS, &[&true, &all_teams, &teams, &own]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}
