//! Tools by name, cached in each worker, as ContextForge's registry cache does: a tool call looks its tool up without
//! a query most of the time. What one worker changes, all workers of its replica know at once; other replicas within
//! the cache's life.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::auth::TeamScope;
use crate::db::DbError;
use crate::rbac::User;
use crate::request::RequestSession;
use crate::worker::Worker;

/// How long a list is believed: ContextForge's `registry cache 300`.
const TTL: Duration = Duration::from_mins(5);

const CALLABLE_TOOLS: &str = "SELECT original_name, visibility, team_id, owner_email FROM tools \
                              WHERE enabled AND reachable AND integration_type = 'MCP' AND gateway_id IS NOT NULL";

/// The tools that can be called.
#[derive(Default)]
pub struct ToolRegistry(Mutex<Option<Listed>>);

#[derive(Clone)]
struct Listed {
    read: Instant,
    /// [`crate::gauges::ReplicaGauges::changes`] when it was read: whatever worker changes something, all read again.
    changes: u64,
    /// Several tools may have one name.
    tools: Arc<HashMap<String, Vec<Visibility>>>,
}

/// Who may see an entity: the same rule as [`crate::routes::entities`] has in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody with a token.
    Public,
    /// Whoever's token speaks for the team of this id.
    Team(Option<String>),
    /// Its owner, by e-mail.
    Private(Option<String>),
}

impl Visibility {
    /// Whether `user` may see it.
    #[must_use]
    pub fn admits(&self, user: &User) -> bool {
        match self {
            Self::Public => true,
            Self::Team(team) => match &user.teams {
                TeamScope::Unrestricted => true,
                TeamScope::PublicOnly => false,
                TeamScope::Teams(teams) => team.as_ref().is_some_and(|team| teams.contains(team)),
            },
            Self::Private(owner) => {
                user.teams != TeamScope::PublicOnly && owner.as_ref().is_some_and(|owner| *owner == user.email)
            }
        }
    }
}

impl ToolRegistry {
    /// Whether there is a tool of this name that `user` may see. The list is read in a session of the request.
    ///
    /// # Errors
    /// [`DbError`] when the list has to be read and cannot.
    pub async fn is_callable(
        &self,
        worker: &Worker,
        session: &RequestSession,
        name: &str,
        user: &User,
    ) -> Result<bool, DbError> {
        let changes = worker.replica.changes.load(Ordering::Acquire);
        let fresh = |listed: &Listed| listed.changes == changes && listed.read.elapsed() <= TTL;
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(fresh);
        let listed = if let Some(listed) = cached {
            listed
        } else {
            // Nobody waits for somebody else's reading: two at once do no harm.
            let listed = Listed { read: Instant::now(), changes, tools: Arc::new(read(worker, session).await?) };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed.clone());
            listed
        };
        Ok(listed.tools.get(name).is_some_and(|tools| tools.iter().any(|tool| tool.admits(user))))
    }
}

async fn read(worker: &Worker, session: &RequestSession) -> Result<HashMap<String, Vec<Visibility>>, DbError> {
    let mut work = session.open(worker).await;
    let rows = work.query(CALLABLE_TOOLS, &[]).await;
    let ended = work.done().await;
    let rows = rows?;
    ended?;
    let mut tools: HashMap<String, Vec<Visibility>> = HashMap::new();
    for row in rows {
        let visibility = match row.get(1) {
            "public" => Visibility::Public,
            "team" => Visibility::Team(row.get(2)),
            _ => Visibility::Private(row.get(3)),
        };
        tools.entry(row.get(0)).or_default().push(visibility);
    }
    Ok(tools)
}
