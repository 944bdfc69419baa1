//! Role-based access control: may this user do that?
//!
//! The check of ContextForge: the platform administrator by e-mail, without a query; a database administrator by one;
//! everybody else by the permissions of their roles. Before it, the token must be good for the request: for its path,
//! its time, the address it comes from, the permission. Any error denies.

pub mod guard;
pub mod permissions;
pub mod queries;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};

use crate::auth::{Claims, Restrictions, TeamScope};
use crate::error::GatewayError;
use crate::masks::Place;
use crate::request::{RequestSession, WorkSession};
use crate::settings::Audit;
use crate::worker::Worker;

pub use guard::Guard;

/// Permissions each of which makes an administrator.
const ADMIN_PERMISSIONS: [&str; 3] = ["admin.system_config", "admin.user_management", "admin.security_audit"];

/// Who was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their e-mail.
    pub email: String,
    /// What their token lets them see: of the teams it names those that they are a member of.
    pub teams: TeamScope,
    /// Whether they need no role: an administrator, by e-mail or by the database, with a token that says so.
    pub is_admin: bool,
}

/// Who asks: the bearer of a good token, whose permissions are yet to be checked.
#[derive(Clone)]
pub struct Caller {
    /// The worker that serves the request.
    pub worker: Arc<Worker>,
    /// The sessions of the request.
    pub session: RequestSession,
    claims: Arc<Claims>,
    /// The team that the path names.
    team: Option<String>,
}

impl Caller {
    /// The caller of `request`.
    ///
    /// # Errors
    /// [`GatewayError::Unauthorized`] without a good token, [`GatewayError::Forbidden`] when it is not good for this.
    pub fn of(worker: &Arc<Worker>, request: &Request) -> Result<Self, GatewayError> {
        let claims = worker.authenticator.authenticate(request.headers())?;
        if let Some(reason) = worker.denied.reason(&claims.jti, &claims.sub) {
            return Err(GatewayError::Unauthorized(reason));
        }
        let path = request.uri().path();
        if let Some(restrictions) = &claims.scopes {
            // The address of the connection: what a header says of it, anybody can say.
            let peer: Option<IpAddr> =
                request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
            let allowed = restrictions.allow_path(path)
                && restrictions.allow_address(peer)
                && restrictions.allow_time(jiff::Timestamp::now());
            if !allowed {
                return Err(GatewayError::Forbidden);
            }
        }
        let session = request.extensions().get::<RequestSession>().cloned();
        let session = session.unwrap_or_else(|| RequestSession::new(worker));
        let team = path.strip_prefix("/teams/").and_then(|rest| rest.split('/').next()).map(str::to_owned);
        Ok(Self { worker: Arc::clone(worker), session, claims: Arc::new(claims), team })
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
        let wanted: Vec<&str> = permissions.iter().copied().filter(|wanted| self.is_good_for(wanted)).collect();
        if wanted.is_empty() {
            return Err(GatewayError::Forbidden);
        }
        let mut work = self.session.open_for_check(&self.worker).await;
        let checked = self.check(&mut work, &wanted).await;
        let ended = work.done().await;
        let user = checked.and_then(|user| ended.map(|()| user).map_err(GatewayError::from));
        user.map_err(|error| self.masked(error, Place::PermissionCheck))?.ok_or(GatewayError::Forbidden)
    }

    /// The user, if they have one of the `wanted` permissions; the audit is told where it was a matter of roles.
    async fn check(&self, work: &mut WorkSession, wanted: &[&str]) -> Result<Option<User>, GatewayError> {
        let (user, permissions) = self.access(work).await?;
        let has = |wanted: &&str| permissions.iter().any(|granted| granted == wanted || granted == permissions::ALL);
        let granted = wanted.iter().any(has);
        if self.worker.settings.audit == Audit::On && !user.is_admin {
            let team = self.team_of(&user.teams);
            work.query(queries::AUDIT, &[&user.email, &wanted.join(", "), &team, &granted]).await?;
            // As ContextForge's: whoever is audited lets go of the session in passing.
            work.commit().await?;
        }
        Ok(granted.then_some(user))
    }

    /// Lets an administrator through: `@require_admin_permission`.
    ///
    /// # Errors
    /// As [`Caller::require_permission`].
    pub async fn require_admin(&self) -> Result<User, GatewayError> {
        self.require_any_permission(&ADMIN_PERMISSIONS).await
    }

    /// Their e-mail.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.claims.sub
    }

    /// Whether their token is good for some things only.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.claims.scopes.as_ref().is_some_and(|restrictions| *restrictions != Restrictions::default())
    }

    /// What they may do with this token; `*` for everything.
    ///
    /// # Errors
    /// As [`Caller::require_permission`].
    pub async fn permissions(&self) -> Result<Vec<String>, GatewayError> {
        let mut work = self.session.open_for_check(&self.worker).await;
        let access = self.access(&mut work).await;
        let ended = work.done().await;
        let (_, permissions) = access?;
        ended?;
        Ok(permissions.into_iter().filter(|permission| self.is_good_for(permission)).collect())
    }

    pub(crate) fn masked(&self, error: GatewayError, place: Place) -> GatewayError {
        self.worker.settings.masks.over(error, place)
    }

    /// The same caller with this team as the context of permission checks.
    pub(crate) fn in_team(&self, team: &str) -> Self {
        Self { team: Some(team.to_owned()), ..self.clone() }
    }

    /// The team whose roles count beside the global ones: that of the path, if the token speaks for it, or else the
    /// token's first.
    pub(crate) fn team_of<'a>(&self, teams: &'a TeamScope) -> Option<&'a String> {
        match &self.team {
            Some(team) => teams.ids().iter().find(|id| *id == team),
            None => teams.ids().first(),
        }
    }

    fn is_good_for(&self, permission: &str) -> bool {
        self.claims.scopes.as_ref().is_none_or(|restrictions| restrictions.allow_permission(permission))
    }

    /// The user and their permissions; `*` alone for an administrator.
    async fn access(&self, work: &mut WorkSession) -> Result<(User, Vec<String>), GatewayError> {
        let email = self.claims.sub.clone();
        let teams = self.claims.team_scope();
        let administrator = |email, teams| (User { email, teams, is_admin: true }, vec!["*".to_owned()]);
        // A public-only token is nobody's who may do everything, whoever carries it: what roles it has, it has.
        if teams != TeamScope::PublicOnly && email == self.worker.settings.platform_admin_email {
            return Ok(administrator(email, teams));
        }
        let users = work.query(queries::USER_FLAGS, &[&email, &teams.ids()]).await;
        let users = users.map_err(|error| self.masked(error.into(), Place::Authentication))?;
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
        let rows = work.query(queries::USER_PERMISSIONS, &[&email, &self.team_of(&teams)]).await?;
        let granted = rows.first().map(|row| row.get("permissions")).unwrap_or_default();
        Ok((User { email, teams, is_admin: false }, granted))
    }
}
