//! Role-based access control: may this user do that?
//!
//! The check of ContextForge: the platform administrator by e-mail, without a query; a database administrator by one;
//! everybody else by the permissions of their roles. Any error denies.

pub mod guard;
pub mod permissions;
pub mod queries;

use std::sync::Arc;

use axum::extract::Request;

use crate::auth::{Claims, TeamScope};
use crate::error::GatewayError;
use crate::masks::MaskedFailure;
use crate::request::{RequestSession, WorkSession};
use crate::settings::Audit;
use crate::worker::Worker;

pub use guard::Guard;

/// An authorised caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub email: String,
    /// Visible teams: of those that the token names, the ones that the user is a member of.
    pub teams: TeamScope,
    /// True if they need no role: an administrator, by e-mail or by the database, with a token that says so.
    pub is_admin: bool,
}

/// The bearer of a good token, whose permissions are yet to be checked.
#[derive(Clone)]
pub struct Caller {
    /// The worker that serves the request.
    pub worker: Arc<Worker>,
    /// The sessions of the request.
    pub session: RequestSession,
    claims: Arc<Claims>,
}

impl Caller {
    /// The caller of `request`.
    ///
    /// # Errors
    /// [`GatewayError::Unauthorized`] without a good token.
    pub fn of(worker: &Arc<Worker>, request: &Request) -> Result<Self, GatewayError> {
        let claims = worker.authenticator.authenticate(request.headers())?;
        if let Some(reason) = worker.denied.reason(&claims.jti, &claims.sub) {
            return Err(GatewayError::Unauthorized(reason));
        }
        let session = request.extensions().get::<RequestSession>().cloned();
        let session = session.unwrap_or_else(|| RequestSession::new(worker));
        Ok(Self { worker: Arc::clone(worker), session, claims: Arc::new(claims) })
    }

    /// Lets the caller through when they have `permission`: ContextForge's `@require_permission`.
    ///
    /// # Errors
    /// [`GatewayError::Forbidden`] without the permission, [`GatewayError::Unauthorized`] for an unknown or disabled
    /// user, [`GatewayError::Database`] when it could not be checked.
    pub async fn require_permission(&self, permission: &str) -> Result<User, GatewayError> {
        self.require_any_permission(&[permission]).await
    }

    /// Lets the caller through when they have one of `permissions`: `@require_any_permission`.
    ///
    /// # Errors
    /// As [`Caller::require_permission`].
    pub async fn require_any_permission(&self, permissions: &[&str]) -> Result<User, GatewayError> {
        let mut work = self.session.open_for_check(&self.worker).await;
        let checked = self.check(&mut work, permissions).await;
        let ended = work.done().await;
        let user = checked.and_then(|user| ended.map(|()| user).map_err(GatewayError::from));
        user.map_err(|error| self.masked(error, MaskedFailure::PermissionCheck))?.ok_or(GatewayError::Forbidden)
    }

    /// The user, if they have one of the `wanted` permissions; the audit is reported where it was a matter of roles.
    async fn check(&self, work: &mut WorkSession, wanted: &[&str]) -> Result<Option<User>, GatewayError> {
        let (user, permissions) = self.access(work).await?;
        let has = |wanted: &&str| permissions.iter().any(|granted| granted == wanted || granted == permissions::ALL);
        let granted = wanted.iter().any(has);
        if self.worker.settings.audit == Audit::On && !user.is_admin {
            let team = user.teams.ids().first();
            work.query(queries::AUDIT, &[&user.email, &wanted.join(", "), &team, &granted]).await?;
            // As ContextForge's: anyone who is audited lets go of the session in passing.
            work.commit().await?;
        }
        Ok(granted.then_some(user))
    }

    /// Their e-mail.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.claims.sub
    }

    pub(crate) fn masked(&self, error: GatewayError, place: MaskedFailure) -> GatewayError {
        self.worker.settings.masks.over(error, place)
    }

    /// The user and their permissions; `*` alone for an administrator.
    async fn access(&self, work: &mut WorkSession) -> Result<(User, Vec<String>), GatewayError> {
        let email = self.claims.sub.clone();
        let teams = self.claims.team_scope();
        let administrator = |email, teams| (User { email, teams, is_admin: true }, vec!["*".to_owned()]);
        // A public-only token never lets its bearer do everything, even an administrator: only their roles count.
        if teams != TeamScope::PublicOnly && email == self.worker.settings.platform_admin_email {
            return Ok(administrator(email, teams));
        }
        let users = work.query(queries::USER_FLAGS, &[&email, &teams.ids()]).await;
        let users = users.map_err(|error| self.masked(error.into(), MaskedFailure::Authentication))?;
        let user = users.first().ok_or(GatewayError::Unauthorized("User not found in database"))?;
        if !user.get::<_, bool>("is_active") {
            return Err(GatewayError::Unauthorized("Account disabled"));
        }
        let is_admin = user.get::<_, bool>("is_admin");
        let teams = match teams.narrowed_to(&user.get::<_, Vec<String>>("teams")) {
            // The token says so, and the database no longer.
            TeamScope::Unrestricted if !is_admin => TeamScope::PublicOnly,
            teams => teams,
        };
        if teams != TeamScope::PublicOnly && is_admin {
            return Ok(administrator(email, teams));
        }
        let rows = work.query(queries::USER_PERMISSIONS, &[&email, &teams.ids().first()]).await?;
        let granted = rows.first().map(|row| row.get("permissions")).unwrap_or_default();
        Ok((User { email, teams, is_admin: false }, granted))
    }
}
