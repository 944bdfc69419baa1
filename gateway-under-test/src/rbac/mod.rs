//! Role-based access control: may this user do that?
//!
//! The check of ContextForge: the platform administrator by e-mail, without a query; a database administrator by one;
//! everybody else by the permissions of their roles. Any error denies.

pub mod queries;

use axum::http::HeaderMap;

use crate::auth::{Claims, TeamScope};
use crate::error::GatewayError;
use crate::request::{RequestSession, WorkSession};
use crate::worker::Worker;

/// Who was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their e-mail.
    pub email: String,
    /// What their token lets them see.
    pub teams: TeamScope,
}

/// Lets the request through when its user has `permission`: ContextForge's `@require_permission`.
///
/// # Errors
/// [`GatewayError::Unauthorized`] without a valid token, [`GatewayError::Forbidden`] without the permission,
/// [`GatewayError::Database`] when it could not be checked.
pub async fn require_permission(
    worker: &Worker,
    session: &RequestSession,
    headers: &HeaderMap,
    permission: &'static str,
) -> Result<User, GatewayError> {
    let claims = worker.authenticator.authenticate(headers)?;
    let mut work = session.open(worker).await;
    let granted = is_granted(&mut work, worker, &claims, permission).await;
    let ended = work.done().await;
    let granted = granted?;
    ended?;
    if granted {
        Ok(User { teams: claims.team_scope(), email: claims.sub })
    } else {
        Err(GatewayError::Forbidden(permission))
    }
}

async fn is_granted(
    work: &mut WorkSession,
    worker: &Worker,
    claims: &Claims,
    permission: &str,
) -> Result<bool, GatewayError> {
    let teams = claims.team_scope();
    // A public-only token is nobody's who may do everything, whoever carries it: what roles it has, it has.
    let may_bypass = teams != TeamScope::PublicOnly;
    if may_bypass && claims.sub == worker.settings.platform_admin_email {
        return Ok(true);
    }
    let users = work.query(queries::USER_FLAGS, &[&claims.sub]).await?;
    let user = users.first().ok_or(GatewayError::Account("User not found in database"))?;
    if !user.get::<_, bool>("is_active") {
        return Err(GatewayError::Account("Account disabled"));
    }
    if may_bypass && user.get::<_, bool>("is_admin") {
        return Ok(true);
    }
    let team = teams.ids().first();
    let rows = work.query(queries::USER_PERMISSIONS, &[&claims.sub, &team]).await?;
    let permissions: Vec<&str> = rows.first().map(|row| row.get("permissions")).unwrap_or_default();
    Ok(permissions.iter().any(|granted| *granted == permission || *granted == "*"))
}
