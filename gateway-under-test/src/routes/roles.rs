//! `/rbac`: who has which role.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::entities::{as_json, existing, query, write};
use crate::error::GatewayError;
use crate::rbac::permissions::PERMISSIONS;
use crate::rbac::{Caller, User};

const ROLES: &str = "\
SELECT coalesce(json_agg(json_build_object('id', id, 'name', name, 'description', description, 'scope', scope, \
    'permissions', permissions, 'inheritsFrom', inherits_from, 'isActive', is_active) ORDER BY name, scope), '[]')::text
FROM roles";

const MY_ROLES: &str = "\
SELECT coalesce(json_agg(json_build_object('roleId', role_id, 'roleName', name, 'scope', user_roles.scope, \
    'scopeId', scope_id, 'expiresAt', expires_at) ORDER BY name, scope_id), '[]')::text
FROM user_roles JOIN roles ON roles.id = role_id
WHERE user_email = $1 AND user_roles.is_active AND (expires_at IS NULL OR expires_at > now())";

/// A role's scope is that of its assignments; one in a team names the team.
const ASSIGN: &str = "\
INSERT INTO user_roles (id, user_email, role_id, scope, scope_id, granted_by)
SELECT $1::text, email, roles.id, roles.scope, $4::text, $5::text FROM roles, email_users
WHERE roles.id = $3 AND email = $2 AND roles.is_active AND (roles.scope = 'team') = ($4::text IS NOT NULL)
    AND ($4::text IS NULL OR EXISTS (SELECT FROM email_teams WHERE email_teams.id = $4::text AND is_active))
RETURNING id";

const HAS: &str = "\
SELECT FROM user_roles WHERE user_email = $1 AND role_id = $2 AND scope_id IS NOT DISTINCT FROM $3 AND is_active \
    AND (expires_at IS NULL OR expires_at > now())";

const TAKE_AWAY: &str = "\
UPDATE user_roles SET is_active = false
WHERE user_email = $1 AND role_id = $2 AND is_active RETURNING id";

/// `GET /rbac/my/permissions`: what the caller may do, with this token.
///
/// # Errors
/// [`GatewayError::Unauthorized`] for an unknown or disabled user.
pub async fn my_permissions(Extension(caller): Extension<Caller>) -> Result<Json<Vec<String>>, GatewayError> {
    caller.permissions().await.map(Json)
}

/// `GET /rbac/my/roles`.
///
/// # Errors
/// When the database fails.
pub async fn my_roles(Extension(caller): Extension<Caller>) -> Result<Response, GatewayError> {
    let rows = query(&caller, MY_ROLES, &[&caller.email()]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}

/// `GET /rbac/roles`.
///
/// # Errors
/// When the database fails.
pub async fn list(Extension(caller): Extension<Caller>) -> Result<Response, GatewayError> {
    let rows = query(&caller, ROLES, &[]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}

/// `GET /rbac/permissions/available`: by category.
pub async fn permissions() -> Json<Value> {
    let by_category: serde_json::Map<String, Value> =
        PERMISSIONS.iter().map(|(category, permissions)| ((*category).to_owned(), json!(permissions))).collect();
    let all: Vec<&str> = PERMISSIONS.iter().flat_map(|(_, permissions)| permissions.iter().copied()).collect();
    Json(json!({ "all_permissions": all, "permissions_by_resource": by_category, "total_count": all.len() }))
}

/// Which role, and for a role of a team in which one.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Assignment {
    /// Id of the role.
    role_id: String,
    /// Id of the team, for a role of a team.
    scope_id: Option<String>,
}

/// `POST /rbac/users/{email}/roles`.
///
/// # Errors
/// [`GatewayError::NotFound`] without such a user, role or team, or when a role is for a team and none is named.
pub async fn assign(
    Path(email): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), GatewayError> {
    let asked: Assignment = serde_json::from_slice(&body).map_err(|error| GatewayError::Invalid(error.to_string()))?;
    let id = format!("{:032x}", rand::random::<u128>());
    let (email, role) = (existing(&email)?, existing(&asked.role_id)?);
    let team = asked.scope_id.as_deref().map(existing).transpose()?;
    if !query(&caller, HAS, &[&email, &role, &team]).await?.is_empty() {
        return Err(GatewayError::Conflict("The user has this role already".to_owned()));
    }
    let made = write(&caller, ASSIGN, &[&id, &email, &role, &team, &user.email]).await?;
    if made.is_empty() {
        return Err(GatewayError::NotFound);
    }
    let assigned = json!({ "id": id, "userEmail": email, "roleId": role, "scopeId": team });
    Ok((StatusCode::CREATED, Json(assigned)))
}

/// `DELETE /rbac/users/{email}/roles/{role_id}`: in every team.
///
/// # Errors
/// [`GatewayError::NotFound`] when the user does not have it.
pub async fn take_away(
    Path((email, role)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, GatewayError> {
    let gone = write(&caller, TAKE_AWAY, &[&existing(&email)?, &existing(&role)?]).await?;
    if gone.is_empty() { Err(GatewayError::NotFound) } else { Ok(StatusCode::NO_CONTENT) }
}
