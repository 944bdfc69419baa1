//! What each kind of failure means, and what to do next, where a log is all there is.

use crate::texts::TextKind;

/// The failure in a few words, behind the name of who says it: "SQLAlchemy: a checkout gave up …".
#[must_use]
pub fn says(kind: TextKind) -> &'static str {
    match kind {
        TextKind::PoolTimeout => "a checkout gave up waiting for a connection of the pool",
        TextKind::PoolExhausted => "the pool refused a checkout at once: it was full, or too many waited",
        TextKind::TooManyConnections => "the server had no connection left",
        TextKind::IdleInTransactionTimeout => "the server ended a session that was idle in transaction for too long",
        TextKind::TransactionTimeout => "the server ended a transaction that took too long",
        TextKind::StatementTimeout => "a statement was cancelled: it took too long, or its client gave up",
        TextKind::LockTimeout => "a lock was not had in time",
        TextKind::AdminShutdown => "a session was ended by an operator, or because the server was stopped",
        TextKind::PgbouncerIdleTransaction => "the pooler ended a session that was idle in transaction for too long",
        TextKind::PgbouncerQueryWait => "the pooler had no server connection for a client in time",
        TextKind::PgbouncerOther => "the pooler ended a client: it did nothing, took too long, or could not log in",
        TextKind::PgbouncerMaxClients => "the pooler took no more clients",
        TextKind::PendingRollback => "a session that had failed was used again without a rollback",
        TextKind::LeakSuspected => "a connection was never given back, as far as the pool knows",
        TextKind::HeldLong => "a connection was kept for longer than its limit, and came back",
        TextKind::ReturnedInTransaction => "a connection came back with its transaction open",
    }
}

/// What to do next.
#[must_use]
pub fn next(kind: TextKind) -> &'static str {
    match kind {
        TextKind::PoolTimeout | TextKind::PoolExhausted | TextKind::PgbouncerQueryWait => {
            "Find who keeps the connections before you raise the pool: `rbac-bench scan URL` names the route, \
             `rbac-bench watch` shows the sessions while it happens."
        }
        TextKind::TooManyConnections | TextKind::PgbouncerMaxClients => {
            "Add up what all pools and processes may open, and compare it with the limit; then find who keeps them: \
             `rbac-bench watch`."
        }
        TextKind::IdleInTransactionTimeout | TextKind::TransactionTimeout | TextKind::PgbouncerIdleTransaction => {
            "The limit only ends what idles too long: find the route that leaves its transaction open with `rbac-bench scan URL`."
        }
        TextKind::StatementTimeout => {
            "Look at the plan of the statement with EXPLAIN (ANALYZE, BUFFERS), or at the lock that it waits for."
        }
        TextKind::LockTimeout => "Look for the session at the head of the queue with `rbac-bench watch`.",
        TextKind::AdminShutdown => "Nothing to mend if somebody meant it: the server's own log says why.",
        TextKind::PgbouncerOther => "PgBouncer's log names the limit: compare it with how long the sessions are kept.",
        TextKind::PendingRollback => "Roll back in every branch that swallows an error.",
        TextKind::LeakSuspected => {
            "Give the connection back in `finally`, also when the request is cancelled; `rbac-bench scan URL` names the route."
        }
        TextKind::HeldLong => {
            "Commit, and give the connection back, before the slow work (a call to another service, a stream)."
        }
        TextKind::ReturnedInTransaction => "Commit or roll back before the connection is given back, in every branch.",
    }
}
