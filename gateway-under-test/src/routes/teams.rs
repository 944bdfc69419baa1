//! `/teams`: those that the token speaks for, and who is in them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use garde::Validate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

use super::entities::checks::slug;
use super::entities::{Viewer, as_json, existing, query, write};
use crate::db::DbError;
use crate::error::GatewayError;
use crate::rbac::{Caller, User};

/// A team as JSON, with ContextForge's names.
macro_rules! shown {
    () => {
        "json_build_object('id', id, 'name', name, 'slug', slug, 'description', description, 'created_by', created_by, \
         'is_personal', is_personal, 'visibility', visibility, 'max_members', max_members, 'member_count', \
         (SELECT count(*) FROM email_team_members AS member WHERE team_id = email_teams.id AND member.is_active), \
         'created_at', created_at, 'updated_at', updated_at, 'is_active', is_active)"
    };
}

const LIST: &str = concat!(
    "SELECT json_build_object('teams', coalesce(json_agg(",
    shown!(),
    " ORDER BY name, id), '[]'), 'total', \
     count(*))::text FROM email_teams WHERE is_active AND ($1 OR id = ANY ($2))"
);

const ONE: &str =
    concat!("SELECT ", shown!(), "::text FROM email_teams WHERE id = $3 AND is_active AND ($1 OR id = ANY ($2))");

/// The maker owns the team, and has the role that goes with it.
const CREATE: &str = "\
WITH made AS (
    INSERT INTO email_teams (id, name, slug, description, visibility, max_members, created_by)
    VALUES ($1, $2, $3, $4, coalesce($5, 'private'), $6, $7) RETURNING id),
member AS (
    INSERT INTO email_team_members (id, team_id, user_email, role) SELECT $8, id, $7, 'owner' FROM made)
INSERT INTO user_roles (id, user_email, role_id, scope, scope_id, granted_by)
SELECT $9::text, $7::text, roles.id, 'team', made.id, $7::text FROM made, roles
WHERE roles.name = 'team_admin' AND roles.scope = 'team' RETURNING scope_id";

const UPDATE: &str = "\
UPDATE email_teams SET name = coalesce($2, name), description = coalesce($3, description), \
    visibility = coalesce($4, visibility), max_members = coalesce($5, max_members), updated_at = now()
WHERE id = $1 RETURNING id";

const END: &str = "UPDATE email_teams SET is_active = false, updated_at = now() WHERE id = $1 RETURNING id";

const MEMBERS: &str = "\
SELECT coalesce(json_agg(json_build_object('id', id, 'team_id', team_id, 'user_email', user_email, 'role', role, \
    'joined_at', joined_at, 'is_active', is_active) ORDER BY joined_at, user_email), '[]')::text
FROM email_team_members WHERE team_id = $1 AND is_active";

/// Whoever was in the team before comes back. A full team takes nobody.
const TAKE_IN: &str = "\
INSERT INTO email_team_members (id, team_id, user_email, role)
SELECT $1::text, email_teams.id, email, $4::text FROM email_teams, email_users
WHERE email_teams.id = $2 AND email = $3 AND email_users.is_active AND (max_members IS NULL OR max_members > (
    SELECT count(*) FROM email_team_members AS member WHERE team_id = $2 AND member.is_active AND user_email <> $3))
ON CONFLICT ON CONSTRAINT uq_team_member DO UPDATE SET is_active = true, role = excluded.role
RETURNING id";

/// With the membership go the roles in the team.
const PUT_OUT: &str = "\
WITH gone AS (
    UPDATE email_team_members SET is_active = false WHERE team_id = $1 AND user_email = $2 AND is_active RETURNING id),
roles AS (
    UPDATE user_roles SET is_active = false WHERE user_email = $2 AND scope = 'team' AND scope_id = $1)
SELECT id FROM gone";

const IS_LAST_OWNER: &str = "\
SELECT FROM email_team_members
WHERE team_id = $1 AND is_active AND role = 'owner' GROUP BY team_id HAVING array_agg(user_email::text) = ARRAY[$2::text]";

const IS_OWNER: &str =
    "SELECT FROM email_team_members WHERE team_id = $1 AND user_email = $2 AND role = 'owner' AND is_active";

/// What a team is made of.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
pub struct TeamFields {
    /// Its name.
    #[garde(length(bytes, min = 1, max = 255), pattern(r"^[\p{L}\p{N}][\p{L}\p{N} ._-]*$"))]
    name: Option<String>,
    /// What it is for.
    #[garde(length(bytes, max = 8192))]
    description: Option<String>,
    /// `private` or `public`.
    #[garde(pattern(r"^(private|public)$"))]
    visibility: Option<String>,
    /// How many may be in it.
    #[garde(range(min = 1, max = 100_000))]
    max_members: Option<i32>,
}

/// Who is to be in a team.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
pub struct Membership {
    /// E-mail of a user.
    #[garde(length(bytes, min = 3, max = 255))]
    email: String,
    /// `owner` or `member`.
    #[serde(default = "member")]
    #[garde(pattern(r"^(owner|member)$"))]
    role: String,
}

fn member() -> String {
    "member".to_owned()
}

fn parse<T: DeserializeOwned + Validate<Context = ()>>(body: &[u8]) -> Result<T, GatewayError> {
    let parsed: T = serde_json::from_slice(body).map_err(|error| GatewayError::Invalid(error.to_string()))?;
    parsed.validate().map_err(|report| GatewayError::Invalid(report.to_string().trim().to_owned()))?;
    Ok(parsed)
}

fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The team as JSON, if the token speaks for it.
async fn find(caller: &Caller, user: &User, id: &str) -> Result<String, GatewayError> {
    let Viewer { all_teams, teams, .. } = Viewer::of(user);
    let rows = query(caller, ONE, &[&all_teams, &teams, &existing(id)?]).await?;
    rows.first().map(|row| row.get(0)).ok_or(GatewayError::NotFound)
}

/// Only owners of a team, and administrators, change it.
async fn find_own(caller: &Caller, user: &User, id: &str) -> Result<(), GatewayError> {
    find(caller, user, id).await?;
    if user.is_admin || !query(caller, IS_OWNER, &[&id, &user.email]).await?.is_empty() {
        Ok(())
    } else {
        Err(GatewayError::Forbidden)
    }
}

/// A team keeps an owner.
async fn not_the_last_owner(caller: &Caller, team: &str, email: &str) -> Result<(), GatewayError> {
    if query(caller, IS_LAST_OWNER, &[&team, &email]).await?.is_empty() {
        Ok(())
    } else {
        Err(GatewayError::Invalid("email: the last owner of a team stays its owner".to_owned()))
    }
}

/// `GET /teams`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    let Viewer { all_teams, teams, .. } = Viewer::of(&user);
    let rows = query(&caller, LIST, &[&all_teams, &teams]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}

/// `GET /teams/{id}`.
///
/// # Errors
/// [`GatewayError::NotFound`] when the token does not speak for it.
pub async fn read(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    find(&caller, &user, &id).await.map(|team| as_json(&team))
}

/// `POST /teams`. The token that makes it does not speak for it; one that is made afterwards may.
///
/// # Errors
/// [`GatewayError::Invalid`] without a name, [`GatewayError::Conflict`] when there is one of this name.
pub async fn create(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<Response, GatewayError> {
    let fields: TeamFields = parse(&body)?;
    let name = fields.name.ok_or_else(|| GatewayError::Invalid("name: required".to_owned()))?;
    let id = new_id();
    // A name without any letter of an address has its id for one.
    let slug = Some(slug(&name)).filter(|slug| !slug.is_empty()).unwrap_or_else(|| id.clone());
    let made = write(
        &caller,
        CREATE,
        &[
            &id,
            &name,
            &slug,
            &fields.description,
            &fields.visibility,
            &fields.max_members,
            &user.email,
            &new_id(),
            &new_id(),
        ],
    )
    .await;
    made.map_err(|error| taken_or(error, &name))?;
    let team = json!({ "id": id, "name": name, "slug": slug, "description": fields.description, "created_by": user.email,
        "visibility": fields.visibility.as_deref().unwrap_or("private"), "max_members": fields.max_members,
        "member_count": 1, "is_personal": false, "is_active": true });
    Ok((StatusCode::CREATED, Json(team)).into_response())
}

fn taken_or(error: DbError, name: &str) -> GatewayError {
    if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
        GatewayError::Conflict(format!("A team called {name} exists already"))
    } else {
        error.into()
    }
}

/// `PUT /teams/{id}`: what the body does not name stays as it is.
///
/// # Errors
/// [`GatewayError::NotFound`] when the token does not speak for it, [`GatewayError::Forbidden`] for who does not own it.
pub async fn update(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<Response, GatewayError> {
    let fields: TeamFields = parse(&body)?;
    find_own(&caller, &user, &id).await?;
    let TeamFields { name, description, visibility, max_members } = fields;
    write(&caller, UPDATE, &[&id, &name, &description, &visibility, &max_members]).await?;
    find(&caller, &user, &id).await.map(|team| as_json(&team))
}

/// `DELETE /teams/{id}`: nobody's token speaks for it any more. What it owns stays.
///
/// # Errors
/// As [`update`].
pub async fn end(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Json<Value>, GatewayError> {
    find_own(&caller, &user, &id).await?;
    write(&caller, END, &[&id]).await?;
    Ok(Json(json!({ "message": "Team deleted successfully" })))
}

/// `GET /teams/{id}/members`.
///
/// # Errors
/// As [`read`].
pub async fn members(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Response, GatewayError> {
    find(&caller, &user, &id).await?;
    let rows = query(&caller, MEMBERS, &[&id]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::NotFound)
}

/// `POST /teams/{id}/members`.
///
/// # Errors
/// As [`update`]; [`GatewayError::Invalid`] when there is no such user, or no room.
pub async fn take_in(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), GatewayError> {
    let asked: Membership = parse(&body)?;
    find_own(&caller, &user, &id).await?;
    if asked.role != "owner" {
        not_the_last_owner(&caller, &id, &asked.email).await?;
    }
    let taken = write(&caller, TAKE_IN, &[&new_id(), &id, &asked.email, &asked.role]).await?;
    if taken.is_empty() {
        return Err(GatewayError::Invalid("email: there is no such user, or the team is full".to_owned()));
    }
    Ok((StatusCode::CREATED, Json(json!({ "team_id": id, "user_email": asked.email, "role": asked.role }))))
}

/// `DELETE /teams/{id}/members/{email}`.
///
/// # Errors
/// As [`update`]; [`GatewayError::NotFound`] for who is not in it, [`GatewayError::Invalid`] for the last owner.
pub async fn put_out(
    Path((id, email)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Json<Value>, GatewayError> {
    find_own(&caller, &user, &id).await?;
    let email = existing(&email)?;
    not_the_last_owner(&caller, &id, email).await?;
    if write(&caller, PUT_OUT, &[&id, &email]).await?.is_empty() {
        return Err(GatewayError::NotFound);
    }
    Ok(Json(json!({ "message": "Team member removed successfully" })))
}
