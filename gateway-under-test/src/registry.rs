//! Tools by name, cached in each worker, as ContextForge's registry cache does: a tool call looks its tool up without
//! a query most of the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::auth::TeamScope;
use crate::db::{Database, DbError};
use crate::rbac::User;

/// How long a list is believed: ContextForge's `registry cache 300`.
const TTL: Duration = Duration::from_mins(5);

const CALLABLE_TOOLS: &str = "SELECT original_name, visibility, team_id, owner_email FROM tools \
                              WHERE enabled AND reachable AND integration_type = 'MCP'";

/// The tools that can be called.
#[derive(Default)]
pub struct ToolRegistry(Mutex<Option<Listed>>);

struct Listed {
    read: Instant,
    /// Several tools may have one name.
    tools: HashMap<String, Vec<Visibility>>,
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
    /// Whether there is a tool of this name that `user` may see.
    ///
    /// # Errors
    /// [`DbError`] when the list has to be read and cannot.
    pub async fn is_callable(&self, database: &Database, name: &str, user: &User) -> Result<bool, DbError> {
        let mut cached = self.0.lock().await;
        if cached.as_ref().is_none_or(|listed| listed.read.elapsed() > TTL) {
            *cached = Some(Listed { tools: read(database).await?, read: Instant::now() });
        }
        let listed = cached.as_ref().and_then(|listed| listed.tools.get(name));
        Ok(listed.is_some_and(|tools| tools.iter().any(|tool| tool.admits(user))))
    }

    /// The list is to be read again: something was changed.
    pub async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// In a session of its own whatever the session scope, ended before anything is awaited.
async fn read(database: &Database) -> Result<HashMap<String, Vec<Visibility>>, DbError> {
    let mut session = database.session();
    let rows = session.query(CALLABLE_TOOLS, &[]).await;
    let ended = session.release().await;
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
