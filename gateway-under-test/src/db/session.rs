//! SQLAlchemy's `Session`, as far as the bug needs it.
//!
//! A session takes no connection until its first statement, which also begins a transaction. `commit`, `rollback`
//! and `close` each give the connection back; the next statement silently begins again. **Between the first
//! statement and the end of the transaction the server sees the session `idle in transaction` whenever nothing runs.**

use std::sync::Arc;

use tokio_postgres::Row;

use super::connection::{Begin, Connection, Params};
use super::hold::{Hold, HoldClock};
use super::pool::Lease;
use super::{DbError, GatewayDatabase};
use crate::settings::PrePing;

/// A unit of work on one connection, taken lazily.
pub struct Session {
    database: GatewayDatabase,
    /// Second clock for its hold time, beside the worker's: its request's, if it belongs to one.
    clock: Option<Arc<HoldClock>>,
    /// The connection, from the first statement to the end of the transaction.
    held: Option<Held>,
}

struct Held {
    lease: Lease<Connection>,
    transaction: TransactionState,
    hold: Hold,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TransactionState {
    NotBegun,
    Open,
    /// A statement has failed: only a rollback is allowed.
    Failed,
}

impl Session {
    pub(super) fn new(database: GatewayDatabase, clock: Option<Arc<HoldClock>>) -> Self {
        Self { database, clock, held: None }
    }

    /// Runs a statement, taking a connection and beginning a transaction where there is none.
    ///
    /// # Errors
    /// [`DbError`]; after it the transaction has failed and wants [`Session::rollback`].
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping it midway leaves the transaction open until the session is closed.
    pub async fn query(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        let held = self.hold().await?;
        let begin = match held.transaction {
            TransactionState::NotBegun => Begin::First,
            TransactionState::Open => Begin::No,
            TransactionState::Failed => return Err(DbError::PendingRollback),
        };
        let Some(connection) = held.lease.connection() else { return Err(DbError::PendingRollback) };
        // Taken back below: whatever interrupts this leaves a transaction that wants a rollback.
        held.transaction = TransactionState::Failed;
        held.hold.idle_ends();
        let result = connection.query(begin, sql, params).await;
        match &result {
            Ok(_) => held.transaction = TransactionState::Open,
            Err(error) if connection.is_lost_with(error) => {
                held.lease.invalidate();
                return result;
            }
            Err(_) => {}
        }
        held.hold.idle_begins();
        result
    }

    /// Commits what was done and gives the connection back.
    ///
    /// # Errors
    /// [`DbError`] when the server did not commit; the connection is given back all the same.
    pub async fn commit(&mut self) -> Result<(), DbError> {
        if self.held.as_ref().is_some_and(|held| held.transaction == TransactionState::Failed) {
            self.rollback().await?;
            return Err(DbError::PendingRollback);
        }
        self.end("COMMIT").await
    }

    /// Undoes what was done and gives the connection back.
    ///
    /// # Errors
    /// [`DbError`] when the server could not be reported; the connection is thrown away then.
    pub async fn rollback(&mut self) -> Result<(), DbError> {
        self.end("ROLLBACK").await
    }

    /// Ends the session as FastAPI's `get_db` does on the way out: commit if all went well, else rollback.
    ///
    /// # Errors
    /// As [`Session::commit`] and [`Session::rollback`].
    pub async fn release(&mut self) -> Result<(), DbError> {
        let failed = self.held.as_ref().is_some_and(|held| held.transaction == TransactionState::Failed);
        if failed { self.rollback().await } else { self.commit().await }
    }

    async fn end(&mut self, command: &'static str) -> Result<(), DbError> {
        let Some(mut held) = self.held.take() else { return Ok(()) };
        // With no transaction open there is nothing to tell the server: reset on return is silent then.
        if held.transaction == TransactionState::NotBegun {
            return Ok(());
        }
        let Some(connection) = held.lease.connection() else { return Ok(()) };
        held.hold.idle_ends();
        let answered = connection.command(command).await;
        if let Err(error) = &answered {
            if connection.is_lost_with(error) {
                held.lease.invalidate();
            } else {
                held.lease.discard();
            }
        }
        answered
    }

    /// The connection of this session, taken from the pool and made if need be.
    async fn hold(&mut self) -> Result<&mut Held, DbError> {
        if self.held.is_none() {
            let mut lease = self.database.pool.checkout(self.database.checkout).await?;
            if self.database.pre_ping == PrePing::On {
                ping(&mut lease).await?;
            }
            if lease.connection().is_none() {
                lease.fill(self.database.connector.connect().await?);
            }
            let clocks = [Some(Arc::clone(&self.database.clock)), self.clock.clone()].into_iter().flatten().collect();
            self.held = Some(Held { lease, transaction: TransactionState::NotBegun, hold: Hold::begin(clocks) });
        }
        self.held.as_mut().ok_or(DbError::PendingRollback)
    }
}

/// Tries a pooled connection before it is used. It begins no transaction; a dead connection is thrown away.
async fn ping(lease: &mut Lease<Connection>) -> Result<(), DbError> {
    // One that is yet to be made needs no trial.
    let Some(connection) = lease.connection() else { return Ok(()) };
    match connection.command("SELECT 1").await {
        Err(error) if connection.is_lost_with(&error) => {
            lease.invalidate();
            Ok(())
        }
        answer => answer,
    }
}

impl Drop for Session {
    /// A session that nobody ended must not leak its transaction into the pool: the connection is closed, and the
    /// server rolls back.
    fn drop(&mut self) {
        if let Some(held) = &mut self.held
            && held.transaction != TransactionState::NotBegun
        {
            held.lease.discard();
        }
    }
}
