//! `/auth/email`: a token for a password.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::entities::{as_json, query};
use crate::auth::{TeamScope, issue_token, password};
use crate::db::connection::Params;
use crate::error::GatewayError;
use crate::rbac::Caller;
use crate::rbac::guard::json_or_nothing;
use crate::worker::Worker;

/// Lifetime of a token for a password.
const TOKEN_LIFE_S: u64 = 7 * 24 * 3600;

/// A body longer than this is no e-mail and password.
const LONGEST_BODY: usize = 8192;

/// Hashes that are made at the same time.
static HASHING: Semaphore = Semaphore::const_new(2);

const REFUSED: GatewayError = GatewayError::Unauthorized("Invalid email or password");

const USER: &str = "\
SELECT password_hash, is_admin, is_active AND coalesce(locked_until < now(), true) AS may_log_in, ARRAY(
    SELECT team_id::text FROM email_team_members AS member JOIN email_teams ON email_teams.id = team_id
    WHERE user_email = $1 AND member.is_active AND email_teams.is_active ORDER BY is_personal, team_id) AS teams
FROM email_users WHERE email = $1";

/// Five in a row lock the account for a quarter of an hour.
const FAILED: &str = "\
UPDATE email_users SET
    failed_login_attempts = CASE WHEN locked_until < now() THEN 1 ELSE failed_login_attempts + 1 END,
    locked_until = CASE WHEN locked_until < now() THEN NULL WHEN failed_login_attempts >= 4
        THEN now() + interval '15 minutes' ELSE locked_until END
WHERE email = $1";

const SUCCEEDED: &str =
    "UPDATE email_users SET failed_login_attempts = 0, locked_until = NULL, last_login = now() WHERE email = $1";

const ME: &str = "\
SELECT json_build_object('email', email, 'full_name', full_name, 'is_admin', is_admin, 'is_active', is_active, \
    'auth_provider', auth_provider, 'created_at', created_at, 'last_login', last_login)::text
FROM email_users WHERE email = $1";

/// Claimed user and proof.
#[derive(Deserialize)]
pub struct Credentials {
    /// E-mail of the user.
    email: String,
    password: String,
}

/// JSON schema of [`Credentials`].
pub(super) fn schema() -> Value {
    let text = json!({ "type": "string" });
    json!({ "type": "object", "properties": { "email": text, "password": text }, "required": ["email", "password"] })
}

/// `POST /auth/email/login`. What is wrong, the e-mail or the password, is not reported.
///
/// # Errors
/// [`GatewayError::Unauthorized`] when they do not fit, or the account is disabled or locked.
pub async fn login(State(worker): State<Arc<Worker>>, request: Request) -> Result<Json<Value>, GatewayError> {
    json_or_nothing(&request)?;
    let body = axum::body::to_bytes(request.into_body(), LONGEST_BODY).await;
    let body = body.map_err(|error| GatewayError::Invalid(error.to_string()))?;
    let asked: Credentials = serde_json::from_slice(&body).map_err(|error| GatewayError::Invalid(error.to_string()))?;
    if asked.email.contains('\0') {
        return Err(REFUSED);
    }
    let Credentials { email, password } = asked;
    let rows = alone(&worker, USER, &[&email]).await?;
    let hash = rows.first().map_or("", |row| row.get("password_hash")).to_owned();
    // A hash takes its time and its memory on purpose: on a thread, and few at a time, so that nobody else waits for it.
    let _turn = HASHING.acquire().await;
    let fits = tokio::task::spawn_blocking(move || password::fits(&password, &hash));
    let fits = fits.await.map_err(|_panicked| GatewayError::Panicked)?;
    let Some(user) = rows.first().filter(|row| row.get("may_log_in")) else { return Err(REFUSED) };
    if !fits {
        alone(&worker, FAILED, &[&email]).await?;
        return Err(REFUSED);
    }
    alone(&worker, SUCCEEDED, &[&email]).await?;
    let teams = scope_of(user.get("is_admin"), user.get("teams"));
    let jti = format!("{:032x}", rand::random::<u128>());
    let token = issue_token(&worker.settings.jwt_secret, &email, &jti, &teams, TOKEN_LIFE_S);
    let token = token.map_err(|error| GatewayError::Invalid(error.to_string()))?;
    Ok(Json(json!({ "access_token": token, "token_type": "bearer", "expires_in": TOKEN_LIFE_S,
        "user": { "email": email, "is_admin": user.get::<_, bool>("is_admin") } })))
}

/// Scope of a token for a password: everything that its user may see.
fn scope_of(is_admin: bool, teams: Vec<String>) -> TeamScope {
    match (is_admin, teams.is_empty()) {
        (true, _) => TeamScope::Unrestricted,
        (false, true) => TeamScope::PublicOnly,
        (false, false) => TeamScope::Teams(teams),
    }
}

/// One statement in a session of its own: who logs in has no request's session yet.
async fn alone(
    worker: &Worker,
    sql: &'static str,
    params: Params<'_>,
) -> Result<Vec<tokio_postgres::Row>, GatewayError> {
    let mut session = worker.database.session();
    let rows = session.query(sql, params).await;
    let ended = session.release().await;
    let rows = rows?;
    ended?;
    Ok(rows)
}

/// `GET /auth/email/me`.
///
/// # Errors
/// [`GatewayError::Unauthorized`] when there is no such user any more.
pub async fn me(Extension(caller): Extension<Caller>) -> Result<Response, GatewayError> {
    let rows = query(&caller, ME, &[&caller.email()]).await?;
    rows.first().map(|row| as_json(row.get(0))).ok_or(GatewayError::Unauthorized("User not found"))
}
