//! `/tokens`: a user's own API tokens. They can do what their user may, or less.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

use super::catalogue::find_server;
use super::entities::{as_json, existing, query, write};
use crate::auth::{Restrictions, TeamScope, issue_restricted_token};
use crate::db::DbError;
use crate::error::GatewayError;
use crate::rbac::{Caller, User};

const LONGEST_NAME: usize = 255;
const LONGEST_LIFE_DAYS: u64 = 365;
const DAY_S: u64 = 24 * 3600;

/// The token itself is not kept: only what would tell it again.
const INSERT: &str = "\
INSERT INTO email_api_tokens (id, user_email, team_id, name, jti, token_hash, server_id, resource_scopes, \
    ip_restrictions, time_restrictions, expires_at)
VALUES ($1, $2, $3, $4, $1, encode(sha256(convert_to($5, 'UTF8')), 'hex'), $6::text::json ->> 'server_id', \
    $6::text::json -> 'permissions', $6::text::json -> 'ip_restrictions', $6::text::json -> 'time_restrictions', \
    now() + $7 * interval '1 second')
RETURNING (SELECT json_build_object('id', $1::text, 'name', $4::text))::text";

const LIST: &str = "\
SELECT coalesce(json_agg(json_build_object('id', id, 'name', name, 'teamId', team_id, 'serverId', server_id, \
    'permissions', resource_scopes, 'expiresAt', expires_at, 'isActive', is_active) ORDER BY created_at, id), '[]')::text
FROM email_api_tokens WHERE user_email = $1";

const REVOKE: &str = "\
WITH gone AS (
    UPDATE email_api_tokens SET is_active = false
    WHERE id = $1 AND (user_email = $2 OR $3) AND is_active RETURNING jti)
INSERT INTO token_revocations (jti, revoked_by, reason) SELECT jti, $2, 'revoked through the gateway' FROM gone
RETURNING jti";

/// What a token is asked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Wanted {
    /// What to call it.
    name: String,
    /// Days until it expires.
    #[serde(default = "default_life")]
    expires_in_days: u64,
    /// Ids of teams; those of the token that asks, unless given.
    teams: Option<Vec<String>>,
    /// What it is good for: `permissions`, `server_id`, `ip_restrictions`, `time_restrictions`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    scopes: Restrictions,
}

const fn default_life() -> u64 {
    30
}

/// A restriction that was asked for and is not kept would be worse than a refusal.
fn names_usage_limits(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let limits = &body["scopes"]["usage_limits"];
    !(limits.is_null() || limits.as_object().is_some_and(serde_json::Map::is_empty))
}

impl Wanted {
    fn parse(body: &[u8]) -> Result<Self, GatewayError> {
        let wanted: Self = serde_json::from_slice(body).map_err(|error| GatewayError::Invalid(error.to_string()))?;
        let invalid = |why: String| Err(GatewayError::Invalid(why));
        if names_usage_limits(body) {
            return invalid("scopes.usage_limits: this gateway counts no uses, and would not hold to them".to_owned());
        }
        if wanted.name.is_empty() || wanted.name.len() > LONGEST_NAME || wanted.name.contains(char::is_control) {
            return invalid(format!("name: 1 to {LONGEST_NAME} bytes, no control characters"));
        }
        if !(1..=LONGEST_LIFE_DAYS).contains(&wanted.expires_in_days) {
            return invalid(format!("expires_in_days: {}, not 1 to {LONGEST_LIFE_DAYS}", wanted.expires_in_days));
        }
        Ok(wanted)
    }

    /// The teams that the new token speaks for: of those that the asking one speaks for, all or some.
    fn teams(&self, user: &User) -> Result<TeamScope, GatewayError> {
        let Some(wanted) = &self.teams else { return Ok(user.teams.clone()) };
        let allowed = match &user.teams {
            TeamScope::Unrestricted => true,
            TeamScope::PublicOnly => wanted.is_empty(),
            TeamScope::Teams(teams) => wanted.iter().all(|team| teams.contains(team)),
        };
        match (allowed, wanted.is_empty()) {
            (false, _) => Err(GatewayError::Forbidden),
            (true, true) => Ok(TeamScope::PublicOnly),
            (true, false) => Ok(TeamScope::Teams(wanted.clone())),
        }
    }
}

/// `POST /tokens`: issues one, and shows it this once.
///
/// # Errors
/// [`GatewayError::Forbidden`] to a token that is itself restricted, or for a team that it does not speak for; status
/// 409 when there is one of this name.
pub async fn issue(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<Response, GatewayError> {
    if caller.is_restricted() {
        return Err(GatewayError::Forbidden);
    }
    let wanted = Wanted::parse(&body)?;
    let teams = wanted.teams(&user)?;
    if let Some(server) = &wanted.scopes.server_id {
        let found = find_server(&caller, &user, existing(server)?).await;
        found.map_err(|_hidden| GatewayError::Invalid("scopes.server_id: there is no such server".to_owned()))?;
    }
    let id = format!("{:032x}", rand::random::<u128>());
    let life_s = wanted.expires_in_days * DAY_S;
    let token =
        issue_restricted_token(&caller.worker.settings.jwt_secret, &user.email, &id, &teams, &wanted.scopes, life_s)
            .map_err(|error| GatewayError::Invalid(error.to_string()))?;
    let team = teams.ids().first();
    let scopes = json!(wanted.scopes).to_string();
    #[expect(clippy::cast_precision_loss, reason = "a year in seconds is exact")]
    let life = life_s as f64;
    let made = write(&caller, INSERT, &[&id, &user.email, &team, &wanted.name, &token, &scopes, &life]).await;
    let made = made.map_err(|error| taken_or(error, &wanted.name))?;
    let described: Option<Value> = made.first().and_then(|row| serde_json::from_str(row.get(0)).ok());
    Ok((StatusCode::CREATED, Json(json!({ "access_token": token, "token": described }))).into_response())
}

fn taken_or(error: DbError, name: &str) -> GatewayError {
    if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
        GatewayError::Conflict(format!("A token called {name} exists already"))
    } else {
        error.into()
    }
}

/// `GET /tokens`: the caller's own.
///
/// # Errors
/// When the database fails.
pub async fn list(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    let rows = query(&caller, LIST, &[&user.email]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}

/// `DELETE /tokens/{id}`: of no use any more, in this replica at once.
///
/// # Errors
/// [`GatewayError::NotFound`] when it is nobody's, or somebody else's.
pub async fn revoke(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<StatusCode, GatewayError> {
    let rows = write(&caller, REVOKE, &[&existing(&id)?, &user.email, &user.is_admin]).await?;
    let jti = rows.first().ok_or(GatewayError::NotFound)?.get(0);
    caller.worker.denied.revoke(jti);
    Ok(StatusCode::NO_CONTENT)
}
