//! Tools by name, cached in each worker, as ContextForge's registry cache does: a tool call looks its tool up without
//! a query most of the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Row;

use crate::auth::TeamScope;

/// Lifetime of a cached list: ContextForge's `registry cache 300`.
const TTL: Duration = Duration::from_mins(5);

/// The rows that a list is made of.
pub(crate) const CALLABLE_TOOLS: &str =
    "SELECT original_name, visibility, team_id, owner_email FROM tools WHERE enabled AND reachable";

/// A worker's list of the tools that can be called.
#[derive(Default)]
pub struct ToolRegistry(Mutex<Option<Listed>>);

#[derive(Clone)]
struct Listed {
    read: Instant,
    tools: CallableTools,
}

/// Visibility of an entity: the same rule as [`crate::routes::entities`] has in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody with a token.
    Public,
    /// Visible with tokens of the team of this id.
    Team(Option<String>),
    /// Its owner, by e-mail.
    Private(Option<String>),
}

impl Visibility {
    /// True if the user of this e-mail may see it with a token for `teams`.
    #[must_use]
    pub fn admits(&self, email: &str, teams: &TeamScope) -> bool {
        match self {
            Self::Public => true,
            Self::Team(team) => match teams {
                TeamScope::Unrestricted => true,
                TeamScope::PublicOnly => false,
                TeamScope::Teams(teams) => team.as_ref().is_some_and(|team| teams.contains(team)),
            },
            Self::Private(owner) => {
                *teams != TeamScope::PublicOnly && owner.as_ref().is_some_and(|owner| owner == email)
            }
        }
    }
}

/// The tools of one name that can be called, by who may see them.
#[derive(Clone)]
pub struct CallableTools(Arc<HashMap<String, Vec<Visibility>>>);

impl CallableTools {
    /// True if the user may see a tool of this name.
    #[must_use]
    pub fn admit(&self, name: &str, email: &str, teams: &TeamScope) -> bool {
        self.0.get(name).is_some_and(|tools| tools.iter().any(|tool| tool.admits(email, teams)))
    }
}

impl ToolRegistry {
    /// The list, unless it was never read or is older than five minutes.
    #[must_use]
    pub fn cached(&self) -> Option<CallableTools> {
        let listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listed.as_ref().filter(|listed| listed.read.elapsed() <= TTL).map(|listed| listed.tools.clone())
    }

    /// Keeps the list that these rows of [`CALLABLE_TOOLS`] make. Two requests that read it at once do no harm.
    pub(crate) fn keep(&self, rows: &[Row]) -> CallableTools {
        let mut tools: HashMap<String, Vec<Visibility>> = HashMap::new();
        for row in rows {
            let visibility = match row.get(1) {
                "public" => Visibility::Public,
                "team" => Visibility::Team(row.get(2)),
                _ => Visibility::Private(row.get(3)),
            };
            tools.entry(row.get(0)).or_default().push(visibility);
        }
        let tools = CallableTools(Arc::new(tools));
        let listed = Listed { read: Instant::now(), tools: tools.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        tools
    }
}
