//! Real texts, each recognised with its limits.

use proptest::prelude::*;

use super::TextKind::{
    AdminShutdown, IdleInTransactionTimeout, LeakSuspected, LockTimeout, PendingRollback, PgbouncerIdleTransaction,
    PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait, PoolExhausted, PoolTimeout, StatementTimeout,
    TooManyConnections, TransactionTimeout,
};
use super::*;

/// (text, kind, library, (size, overflow, timeout)). Beside each, where its wording is from: a library's source as
/// published (`src`), a published issue or post with the text as somebody met it (`met`), `PostgreSQL`'s or
/// `PgBouncer`'s documented message (`doc`), or a run of this program's testbed (`run`).
type KnownText = (&'static str, TextKind, &'static str, (Option<u32>, Option<u32>, Option<f64>));

const NONE: (Option<u32>, Option<u32>, Option<f64>) = (None, None, None);

const KNOWN: [KnownText; 42] = [
    // run; SQLAlchemy, pool/impl.py
    (
        "sqlalchemy.exc.TimeoutError: QueuePool limit of size 20 overflow 10 reached, connection timed out, timeout 60.00 (Background on this error at: https://sqlalche.me/e/20/3o7r)",
        PoolTimeout,
        "SQLAlchemy",
        (Some(20), Some(10), Some(60.0)),
    ),
    (
        "JSON-RPC -32000 Internal error: QueuePool limit of size 6 overflow 2 reached, connection timed out, timeout 4.00",
        PoolTimeout,
        "SQLAlchemy",
        (Some(6), Some(2), Some(4.0)),
    ),
    (
        "QueuePool limit of size 5 overflow -3 reached, connection timed out, timeout 0.50",
        PoolTimeout,
        "SQLAlchemy",
        (Some(5), None, Some(0.5)),
    ),
    // met; SQLAlchemy, errors 8s2b and 7s2a
    (
        "sqlalchemy.exc.PendingRollbackError: Can't reconnect until invalid transaction is rolled back.  Please rollback() fully before proceeding",
        PendingRollback,
        "SQLAlchemy",
        NONE,
    ),
    (
        "This Session's transaction has been rolled back due to a previous exception during flush.",
        PendingRollback,
        "SQLAlchemy",
        NONE,
    ),
    // src: psycopg_pool/pool.py, null_pool.py
    (
        "psycopg_pool.PoolTimeout: couldn't get a connection after 30.00 sec",
        PoolTimeout,
        "psycopg_pool",
        (None, None, Some(30.0)),
    ),
    ("pool initialization incomplete after 15.0 sec", PoolTimeout, "psycopg_pool", (None, None, Some(15.0))),
    (
        "psycopg_pool.TooManyRequests: the pool 'pool-1' has already 5 requests waiting",
        PoolExhausted,
        "psycopg_pool",
        NONE,
    ),
    // Django's pool option is psycopg_pool, whose errors it wraps
    (
        "django.db.utils.OperationalError: couldn't get a connection after 10.00 sec",
        PoolTimeout,
        "psycopg_pool",
        (None, None, Some(10.0)),
    ),
    (
        "django.db.utils.OperationalError: connection to server at \"db\" (10.0.0.5), port 5432 failed: FATAL:  sorry, too many clients already",
        TooManyConnections,
        "PostgreSQL",
        NONE,
    ),
    // src: psycopg2/pool.py
    ("psycopg2.pool.PoolError: connection pool exhausted", PoolExhausted, "psycopg2", NONE),
    // src: asyncpg/pool.py, where asyncio's own TimeoutError has no text
    (
        "  File \"/usr/lib/python3/site-packages/asyncpg/pool.py\", line 864, in _acquire\n    return await compat.wait_for(\nTimeoutError",
        PoolTimeout,
        "asyncpg",
        NONE,
    ),
    (
        "asyncpg.exceptions.TooManyConnectionsError: remaining connection slots are reserved for roles with privileges of the \"rds_reserved\" role",
        TooManyConnections,
        "PostgreSQL",
        NONE,
    ),
    // met: HikariCP issues 1710, 1905, 2096
    (
        "java.sql.SQLTransientConnectionException: HikariPool-1 - Connection is not available, request timed out after 30002ms.",
        PoolTimeout,
        "HikariCP",
        (None, None, Some(30.002)),
    ),
    (
        "HikariPool-1 - Connection is not available, request timed out after 3000ms (total=10, active=10, idle=0, waiting=5)",
        PoolTimeout,
        "HikariCP",
        (Some(10), None, Some(3.0)),
    ),
    (
        "Connection leak detection triggered for org.postgresql.jdbc.PgConnection@1f2 on thread http-nio-8080-exec-3, stack trace follows",
        LeakSuspected,
        "HikariCP",
        NONE,
    ),
    // met: Tomcat JDBC
    (
        "[http-nio-8081-exec-97] Timeout: Pool empty. Unable to fetch a connection in 30 seconds, none available[size:98; busy:98; idle:0; lastwait:30000].",
        PoolTimeout,
        "Tomcat JDBC",
        (Some(98), None, Some(30.0)),
    ),
    // src: pg-pool/index.js
    ("Error: timeout exceeded when trying to connect", PoolTimeout, "node-postgres", NONE),
    ("Error: Connection terminated due to connection timeout", PoolTimeout, "node-postgres", NONE),
    // met: knex
    (
        "KnexTimeoutError: Knex: Timeout acquiring a connection. The pool is probably full. Are you missing a .transacting(trx) call?",
        PoolTimeout,
        "Knex",
        NONE,
    ),
    // met: prisma-engines 2403, prisma 5977, 24891
    (
        "Timed out fetching a new connection from the connection pool. More info: http://pris.ly/d/connection-pool (Current connection pool timeout: 10, connection limit: 5)",
        PoolTimeout,
        "Prisma",
        (Some(5), None, Some(10.0)),
    ),
    (
        "Error: Timed out fetching a new connection from the pool. Please consider reducing the number of requests or increasing the `connection_limit` parameter (https://www.prisma.io/docs/concepts/components/prisma-client/connection-management#connection-pool). Current limit: 10.",
        PoolTimeout,
        "Prisma",
        (Some(10), None, None),
    ),
    ("PrismaClientKnownRequestError: code: 'P2024'", PoolTimeout, "Prisma", NONE),
    // met: ActiveRecord
    (
        "could not obtain a connection from the pool within 5.000 seconds (waited 5.002 seconds); all pooled connections were in use (ActiveRecord::ConnectionTimeoutError)",
        PoolTimeout,
        "ActiveRecord",
        (None, None, Some(5.0)),
    ),
    // src: sqlx-core/src/error.rs, deadpool/src/managed/errors.rs, bb8/src/api.rs, r2d2/src/lib.rs
    ("pool timed out while waiting for an open connection", PoolTimeout, "sqlx", NONE),
    ("Timeout occurred while waiting for a slot to become available", PoolTimeout, "deadpool", NONE),
    ("Timed out in bb8", PoolTimeout, "bb8", NONE),
    ("timed out waiting for connection", PoolTimeout, "r2d2", NONE),
    // src: db_connection; Npgsql, PoolingDataSource.cs, and its older wording
    (
        "(DBConnection.ConnectionError) connection not available and request was dropped from queue after 1548ms. This means requests are coming in",
        PoolTimeout,
        "Ecto",
        (None, None, Some(1.548)),
    ),
    (
        "The connection pool has been exhausted, either raise 'Max Pool Size' (currently 24) or 'Timeout' (currently 15 seconds) in your connection string.",
        PoolTimeout,
        "Npgsql",
        (Some(24), None, Some(15.0)),
    ),
    (
        "The connection pool has been exhausted, either raise MaxPoolSize (currently 100) or Timeout (currently 15 seconds)",
        PoolTimeout,
        "Npgsql",
        (Some(100), None, Some(15.0)),
    ),
    // met: pgx
    (
        "failed to connect to `user=app database=app`: 10.1.3.77:5432 (db): server error: FATAL: sorry, too many clients already (SQLSTATE 53300)",
        TooManyConnections,
        "PostgreSQL",
        NONE,
    ),
    ("pgxpool: acquire: context deadline exceeded", PoolTimeout, "pgx", NONE),
    (
        "FATAL:  remaining connection slots are reserved for non-replication superuser connections",
        TooManyConnections,
        "PostgreSQL",
        NONE,
    ),
    // doc; run (57014)
    ("FATAL:  terminating connection due to idle-in-transaction timeout", IdleInTransactionTimeout, "PostgreSQL", NONE),
    ("FATAL:  terminating connection due to transaction timeout", TransactionTimeout, "PostgreSQL", NONE),
    ("ERROR:  canceling statement due to statement timeout", StatementTimeout, "PostgreSQL", NONE),
    ("ERROR:  canceling statement due to lock timeout", LockTimeout, "PostgreSQL", NONE),
    ("FATAL:  terminating connection due to administrator command", AdminShutdown, "PostgreSQL", NONE),
    // doc: PgBouncer
    (
        "(psycopg.errors.ProtocolViolation) idle transaction timeout\n[SQL: SELECT 1]",
        PgbouncerIdleTransaction,
        "PgBouncer",
        NONE,
    ),
    ("FATAL: query_wait_timeout", PgbouncerQueryWait, "PgBouncer", NONE),
    ("FATAL:  no more connections allowed (max_client_conn)", PgbouncerMaxClients, "PgBouncer", NONE),
];

#[test]
fn each_known_text_is_recognised_with_its_limits() {
    for (text, kind, library, (size, overflow, timeout_s)) in KNOWN {
        let limits = PoolLimits { size, overflow, timeout_s };
        assert_eq!(recognise(text), Some(Recognised { kind, library, limits }), "{text}");
    }
    let log = "2026-01-22 12:00:00 UTC [7] LOG C-0x1: db/app@1:2 closing because: idle transaction timeout (age=2s)";
    assert_eq!(recognise(log).map(|it| it.kind), Some(PgbouncerIdleTransaction));
    assert_eq!(recognise("closing because: client_idle_timeout (age=60s)").map(|it| it.kind), Some(PgbouncerOther));
    assert_eq!(recognise("error: query_wait_timeout\nSSL off").map(|it| it.kind), Some(PgbouncerQueryWait));
}

#[test]
fn other_texts_are_not_taken_for_one() {
    for text in [
        "",
        "no answer within 12s (client timeout)",
        "HTTP 500: Internal Server Error",
        "idle in transaction",
        "relation \"pool\" does not exist",
        "transaction 153300 done",
        "HTTP 404: tool P20240 not found",
        // Settings, and PgBouncer's answer to SHOW CONFIG.
        "idle_transaction_timeout = 30",
        ";query_wait_timeout = 120",
        "client_idle_timeout=0 ; off",
        "server_login_retry: 15",
        " query_wait_timeout | 120 | 120 | yes",
    ] {
        assert_eq!(recognise(text), None, "{text}");
    }
}

#[test]
fn of_a_long_text_its_beginning_is_read_and_nothing_else() {
    for (text, kind, ..) in KNOWN {
        let behind = |bytes: usize| recognise(&format!("{} {text}", "-".repeat(bytes))).map(|it| it.kind);
        assert_eq!(behind(LONGEST - text.len() - 1), Some(kind), "{text}");
        assert_eq!(behind(LONGEST), None, "{text}");
        // As much again as anybody could log in a line.
        let long = format!("{text}{}", " -".repeat(10_000_000));
        assert_eq!(recognise(&long), recognise(&long[..LONGEST]), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), cut in 0..200_usize, at in 0..42_usize) {
        let _ = recognise(&text);
        let known: String = KNOWN[at].0.chars().take(cut).collect();
        let _ = recognise(&(known + &text));
    }
}
