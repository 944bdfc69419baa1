//! The `PgBouncer` of a scenario, by its own names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Count, Span};

/// A `PgBouncer` in transaction mode between the gateway and PostgreSQL. What is left out is as `PgBouncer` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PgBouncer {
    /// Server connections that it opens.
    pub default_pool_size: Count,
    /// Server connections beyond them, for clients that have waited for `reserve_pool_timeout`.
    pub reserve_pool_size: u32,
    /// Wait of a client before the reserve is used; `0s` is never.
    pub reserve_pool_timeout: Span,
    /// Server connections in all, the reserve included; 0 is no limit of its own.
    pub max_db_connections: u32,
    /// Clients that may be connected at once; later ones are refused.
    pub max_client_conn: Count,
    /// A transaction in which nothing was asked for this long is ended, with its client; `0s` is off.
    pub idle_transaction_timeout: Span,
    /// A client that has waited for a server connection for this long is disconnected; `0s` is off.
    pub query_wait_timeout: Span,
    /// When `server_reset_query` (`DISCARD ALL`) is sent before a server connection goes to the next client.
    pub server_reset_query: ServerResetQuery,
}

/// When a server connection is reset: `server_reset_query_always`, which in transaction mode decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerResetQuery {
    /// Never.
    #[default]
    Off,
    /// After each transaction, as ContextForge's deployment has it: one more statement for each.
    Always,
}

impl Default for PgBouncer {
    fn default() -> Self {
        Self {
            default_pool_size: Count::of(20),
            reserve_pool_size: 0,
            reserve_pool_timeout: Span::from_secs(5),
            max_db_connections: 0,
            max_client_conn: Count::of(100),
            idle_transaction_timeout: Span::ZERO,
            query_wait_timeout: Span::from_secs(120),
            server_reset_query: ServerResetQuery::Off,
        }
    }
}

impl PgBouncer {
    /// Server connections that it may open: the gateway is its only pool.
    #[must_use]
    pub fn server_connections(&self) -> u32 {
        let pool = self.default_pool_size.get().saturating_add(self.reserve_pool_size);
        if self.max_db_connections == 0 { pool } else { pool.min(self.max_db_connections) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_pool_and_cap_is_what_it_may_open() {
        let pool = PgBouncer { default_pool_size: Count::of(600), reserve_pool_size: 150, ..PgBouncer::default() };
        assert_eq!(pool.server_connections(), 750);
        assert_eq!(PgBouncer { max_db_connections: 700, ..pool.clone() }.server_connections(), 700);
        assert_eq!(PgBouncer { max_db_connections: 900, ..pool }.server_connections(), 750);
    }
}
