//! Tools by name, cached in each worker, as ContextForge's registry cache does: a tool call looks its tool up without
//! a query most of the time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::db::{Database, DbError};

/// How long a list is believed: ContextForge's `registry cache 300`.
const TTL: Duration = Duration::from_mins(5);

const CALLABLE_TOOLS: &str = "SELECT original_name FROM tools WHERE enabled AND reachable AND integration_type = 'MCP'";

/// Names of the tools that can be called.
#[derive(Default)]
pub struct ToolRegistry(Mutex<Option<(Instant, HashSet<String>)>>);

impl ToolRegistry {
    /// Whether there is a tool of this name.
    ///
    /// # Errors
    /// [`DbError`] when the list has to be read and cannot.
    pub async fn contains(&self, database: &Database, name: &str) -> Result<bool, DbError> {
        let mut cached = self.0.lock().await;
        if cached.as_ref().is_none_or(|(read, _)| read.elapsed() > TTL) {
            // Its own session in both variants, ended before anything is awaited.
            let mut session = database.session();
            let rows = session.query(CALLABLE_TOOLS, &[]).await;
            let ended = session.release().await;
            let names = rows?.iter().map(|row| row.get(0)).collect();
            ended?;
            *cached = Some((Instant::now(), names));
        }
        Ok(cached.as_ref().is_some_and(|(_, names)| names.contains(name)))
    }
}
