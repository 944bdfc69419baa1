//! The gateway's way to PostgreSQL: a driver, a pool with SQLAlchemy's semantics, and a session on top.
//!
//! ```text
//! Session   lazy: takes a connection at its first statement, begins, gives it back on commit, rollback or close
//!    │
//! QueuePool size + overflow, waiters served in order, the error text of SQLAlchemy
//!    │
//! Connection   blocking (the calling thread does the I/O) or async (the worker's loop does it)
//! ```

pub mod connection;
mod gauges;
pub mod hold;
mod migrations;
mod polled;
pub mod pool;
pub mod session;

use std::sync::Arc;

use crate::settings::{Checkout, DatabaseSettings, PoolSettings, PrePing};

pub use connection::{Connection, Connector};
pub use gauges::{PoolGauges, WAIT_BOUNDS_S};
pub use hold::HoldClock;
pub use migrations::migrate;
pub use pool::{HandOutOrder, PoolTimeout, QueueLimits, QueuePool};
pub use session::Session;

/// Errors of a session.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error(transparent)]
    PoolTimeout(#[from] PoolTimeout),
    #[error("connection failed: {text}")]
    Connect {
        /// Message of the server or the system.
        text: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("connection to `{address}` failed")]
    Unreachable {
        /// The socket file, or host and port.
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{text}")]
    Statement {
        /// The server's own message, which is what a user searches for.
        text: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("Can't reconnect until invalid transaction is rolled back.  Please rollback() fully before proceeding")]
    PendingRollback,
}

impl DbError {
    /// The server's code for it, where the server reported one.
    #[must_use]
    pub fn code(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Statement { source, .. } => source.code(),
            Self::PoolTimeout(_) | Self::Unreachable { .. } | Self::PendingRollback => None,
        }
    }
}

/// One worker's database: where it connects, and the pool of what it has.
#[derive(Clone)]
pub struct GatewayDatabase {
    connector: Arc<Connector>,
    pool: Arc<QueuePool<Connection>>,
    checkout: Checkout,
    pre_ping: PrePing,
    clock: Arc<HoldClock>,
}

impl GatewayDatabase {
    /// A database whose pool is empty: connections are made when sessions need them.
    #[must_use]
    pub fn new(
        name: &str,
        settings: &DatabaseSettings,
        pool: &PoolSettings,
        checkout: Checkout,
        gauges: Arc<PoolGauges>,
    ) -> Self {
        let limits = QueueLimits {
            size: pool.size as usize,
            max_overflow: Some(pool.max_overflow as usize),
            timeout: pool.timeout,
            order: HandOutOrder::Fifo,
            recycle: pool.recycle,
        };
        Self {
            connector: Arc::new(Connector::new(name, settings, checkout)),
            clock: Arc::clone(&gauges.holds),
            pool: Arc::new(QueuePool::new(limits, gauges)),
            checkout,
            pre_ping: pool.pre_ping,
        }
    }

    /// A new session. It takes no connection before its first statement.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.clone(), None)
    }

    /// As [`GatewayDatabase::session`], counted by `clock` too.
    #[must_use]
    pub fn session_of(&self, clock: &Arc<HoldClock>) -> Session {
        Session::new(self.clone(), Some(Arc::clone(clock)))
    }

    /// The pool, for its gauges.
    #[must_use]
    pub fn pool(&self) -> &QueuePool<Connection> {
        &self.pool
    }
}
