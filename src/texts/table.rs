//! The texts, most telling first: the first that fits is taken.

use std::sync::LazyLock;

use regex::Regex;

use super::{PoolLimits, Recognised, TextKind};
use TextKind::{
    AdminShutdown, IdleInTransactionTimeout, LeakSuspected, LockTimeout, PendingRollback, PgbouncerIdleTransaction,
    PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait, PoolExhausted, PoolTimeout, StatementTimeout,
    TooManyConnections, TransactionTimeout,
};

/// (what it says, who says it, how it is written). Groups: `size`, `overflow`, `s` (seconds), `ms`.
const TEXTS: [(TextKind, &str, &str); 39] = [
    (
        PoolTimeout,
        "SQLAlchemy",
        r"QueuePool limit of size (?P<size>\d+) overflow (?P<overflow>-?\d+) reached, connection timed out, timeout (?P<s>[\d.]+)",
    ),
    (PendingRollback, "SQLAlchemy", r"Can't reconnect until invalid transaction is rolled back"),
    (PendingRollback, "SQLAlchemy", r"This Session's transaction has been rolled back due to a previous exception"),
    (PoolTimeout, "psycopg_pool", r"couldn't get a connection after (?P<s>[\d.]+) sec"),
    (PoolTimeout, "psycopg_pool", r"pool initialization incomplete after (?P<s>[\d.]+) sec"),
    (PoolExhausted, "psycopg_pool", r"the pool '[^']*' has already \d+ requests waiting"),
    (PoolExhausted, "psycopg2", r"connection pool exhausted"),
    (
        PoolTimeout,
        "HikariCP",
        r"Connection is not available, request timed out after (?P<ms>\d+)ms\.?(?: \(total=(?P<size>\d+), active=\d+, idle=\d+, waiting=\d+\))?",
    ),
    (LeakSuspected, "HikariCP", r"Connection leak detection triggered for "),
    (
        PoolTimeout,
        "Tomcat JDBC",
        r"Timeout: Pool empty\. Unable to fetch a connection in (?P<s>\d+) seconds, none available\[size:(?P<size>\d+);",
    ),
    (PoolTimeout, "DBCP", r"Cannot get a connection, pool error Timeout waiting for idle object"),
    (PoolTimeout, "R2DBC", r"Connection acquisition timed out after (?P<ms>\d+)ms"),
    (PoolTimeout, "node-postgres", r"timeout exceeded when trying to connect"),
    (PoolTimeout, "node-postgres", r"Connection terminated due to connection timeout"),
    (PoolTimeout, "Knex", r"Timeout acquiring a connection\. The pool is probably full"),
    (PoolTimeout, "Sequelize", r"SequelizeConnectionAcquireTimeoutError|ConnectionAcquireTimeoutError"),
    (
        PoolTimeout,
        "Prisma",
        r"Timed out fetching a new connection from the connection pool(?:.{0,200}?timeout: (?P<s>\d+), connection limit: (?P<size>\d+))?",
    ),
    (
        PoolTimeout,
        "Prisma",
        r"Timed out fetching a new connection from the pool(?:.{0,300}?Current limit: (?P<size>\d+))?",
    ),
    (PoolTimeout, "Prisma", r"\bP2024\b"),
    (PoolTimeout, "ActiveRecord", r"could not obtain a connection from the pool within (?P<s>[\d.]+) seconds"),
    (PoolTimeout, "sqlx", r"pool timed out while waiting for an open connection"),
    (PoolTimeout, "deadpool", r"Timeout (?:occurred )?while waiting for a slot to become available"),
    (PoolTimeout, "bb8", r"Timed out in bb8"),
    (PoolTimeout, "r2d2", r"timed out waiting for connection"),
    (PoolTimeout, "Ecto", r"connection not available and request was dropped from queue after (?P<ms>\d+)ms"),
    (
        PoolTimeout,
        "Npgsql",
        r"The connection pool has been exhausted, either raise '?Max ?Pool ?Size'? \(currently (?P<size>\d+)\) or '?Timeout'? \(currently (?P<s>\d+)",
    ),
    (PoolTimeout, "asyncpg", r#"(?s)asyncpg[/\\]pool\.py", line \d+, in _acquire.{0,4000}TimeoutError"#),
    (PoolTimeout, "pgx", r"pgxpool.{0,200}context deadline exceeded|acquir\w+ .{0,60}context deadline exceeded"),
    (PgbouncerIdleTransaction, "PgBouncer", r"\bidle transaction timeout\b"),
    // The settings have these names too: what follows tells a message from `query_wait_timeout = 120`.
    (PgbouncerQueryWait, "PgBouncer", r#"(?m)\bquery_wait_timeout(?:\s*$|["'),.;\]]|\s+\()"#),
    (PgbouncerMaxClients, "PgBouncer", r"no more connections allowed(?: \(max_client_conn\))?"),
    (
        PgbouncerOther,
        "PgBouncer",
        r#"(?m)\b(?:client_idle_timeout|server_login_retry)(?:\s*$|["'),.;\]]|\s+\()|pooler error: (?:query|transaction) timeout"#,
    ),
    (
        TooManyConnections,
        "PostgreSQL",
        r"sorry, too many clients already|remaining connection slots are reserved|too many connections for (?:role|database)|\b53300\b",
    ),
    (
        IdleInTransactionTimeout,
        "PostgreSQL",
        r"terminating connection due to idle-in-transaction timeout|\b25P03\b|IdleInTransactionSessionTimeout",
    ),
    (TransactionTimeout, "PostgreSQL", r"terminating connection due to transaction timeout|\b25P04\b"),
    (LockTimeout, "PostgreSQL", r"canceling statement due to lock timeout|could not obtain lock on row|\b55P03\b"),
    (StatementTimeout, "PostgreSQL", r"canceling statement due to (?:statement timeout|user request)|\b57014\b"),
    (AdminShutdown, "PostgreSQL", r"terminating connection due to administrator command|\b57P01\b"),
    (AdminShutdown, "PostgreSQL", r"the database system is shutting down"),
];

struct Entry {
    kind: TextKind,
    library: &'static str,
    text: Regex,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let entry = |(kind, library, text): &(TextKind, &'static str, &str)| Entry {
        kind: *kind,
        library,
        text: Regex::new(text).expect("each expression of the table is tried by a test"),
    };
    TEXTS.iter().map(entry).collect()
});

pub(super) fn recognise(text: &str) -> Option<Recognised> {
    ENTRIES.iter().find_map(|entry| {
        let found = entry.text.captures(text)?;
        let group = |name: &str| found.name(name).map(|it| it.as_str());
        // SQLAlchemy prints a negative overflow while its pool is not full.
        let count = |name: &str| group(name).and_then(|it| it.parse::<u32>().ok());
        let seconds = |name: &str| group(name).and_then(|it| it.trim_end_matches('.').parse::<f64>().ok());
        let timeout_s = seconds("s").or_else(|| seconds("ms").map(|ms| ms / 1e3));
        let limits = PoolLimits { size: count("size"), overflow: count("overflow"), timeout_s };
        Some(Recognised { kind: entry.kind, library: entry.library, limits })
    })
}
