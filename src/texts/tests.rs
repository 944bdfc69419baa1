//! Real texts, each recognised with its limits.

use proptest::prelude::*;

use super::TextKind::{
    AdminShutdown, HeldLong, IdleInTransactionTimeout, LeakSuspected, LockTimeout, PendingRollback,
    PgbouncerIdleTransaction, PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait, PoolExhausted, PoolTimeout,
    ReturnedInTransaction, StatementTimeout, TooManyConnections, TransactionTimeout,
};
use super::*;

/// (text, kind, library, (size, overflow, timeout)). Beside each, where its wording is from: a library's source as
/// published (`src`), a published issue or post with the text as somebody met it (`met`), `PostgreSQL`'s or
/// `PgBouncer`'s documented message (`doc`), or a run of this program's testbed (`run`).
type KnownText = (&'static str, TextKind, &'static str, (Option<u32>, Option<u32>, Option<f64>));

const NONE: (Option<u32>, Option<u32>, Option<f64>) = (None, None, None);

const KNOWN: [KnownText; 81] = [
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
    // src: sqlalchemy/pool/base.py; psycopg_pool/base.py
    (
        "The garbage collector is trying to clean up non-checked-in connection <AdaptedConnection <asyncpg.connection.Connection object at 0x7f13e4a915e0>>, which will be terminated.",
        LeakSuspected,
        "SQLAlchemy",
        NONE,
    ),
    (
        "WARNING psycopg.pool: rolling back returned connection: <psycopg.Connection [INTRANS] (host=db user=app database=shop) at 0x7f0a3c1d2e10>",
        ReturnedInTransaction,
        "psycopg_pool",
        NONE,
    ),
    // src: odoo/sql_db.py; playhouse/pool.py
    ("psycopg2.pool.PoolError: The Connection Pool Is Full", PoolExhausted, "Odoo", NONE),
    (
        "playhouse.pool.MaxConnectionsExceeded: Max connections exceeded, timed out attempting to connect.",
        PoolTimeout,
        "peewee",
        NONE,
    ),
    // src: Agroal's ConnectionPool.java, as Hibernate wraps it
    ("Unable to acquire JDBC Connection [Sorry, acquisition timeout!]", PoolTimeout, "Agroal", NONE),
    // met: Druid
    (
        "com.alibaba.druid.pool.GetConnectionTimeoutException: wait millis 5004, active 50, maxActive 50, creating 0",
        PoolTimeout,
        "Druid",
        (Some(50), None, Some(5.004)),
    ),
    // src: c3p0's C3P0PooledConnectionPool.java; Vert.x' SimpleConnectionPool.java; Tomcat's ConnectionPool.java
    (
        "java.sql.SQLException: An attempt by a client to checkout a Connection has timed out.",
        PoolTimeout,
        "c3p0",
        NONE,
    ),
    (
        "io.vertx.core.http.ConnectionPoolTooBusyException: Connection pool reached max wait queue size of 24",
        PoolExhausted,
        "Vert.x",
        NONE,
    ),
    (
        "WARNING: Connection has been abandoned PooledConnection[org.postgresql.jdbc.PgConnection@5e2]:java.lang.Exception",
        LeakSuspected,
        "Tomcat JDBC",
        NONE,
    ),
    // src: generic-pool's ResourceRequest.js; prisma-engines
    ("TimeoutError: ResourceRequest timed out", PoolTimeout, "generic-pool", NONE),
    ("Transaction API error: Unable to start a transaction in the given time.", PoolTimeout, "Prisma", NONE),
    (
        "Transaction API error: Transaction already closed: A query cannot be executed on an expired transaction. The timeout for this transaction was 5000 ms, however 6011 ms passed since the start of the transaction.",
        HeldLong,
        "Prisma",
        (None, None, Some(5.0)),
    ),
    ("Error code: P2037: Too many database connections opened: FATAL", TooManyConnections, "Prisma", NONE),
    // src: db_connection's connection_pool.ex
    (
        "** (DBConnection.ConnectionError) client #PID<0.478.0> timed out because it queued and checked out the connection for longer than 15000ms",
        HeldLong,
        "Ecto",
        (None, None, Some(15.0)),
    ),
    // src: PgBouncer's client.c and janitor.c, from 1.24 and 1.25 on
    (
        "WARNING C-0x7fbe: shop/app@10.0.0.7:50270 pooler error: client connections exceeded (max_user_client_connections)",
        PgbouncerMaxClients,
        "PgBouncer",
        NONE,
    ),
    ("WARNING C-0x7fbe: shop/app@10.0.0.7:50274 pooler error: query_timeout", PgbouncerOther, "PgBouncer", NONE),
    // src: Supavisor's errors; met, too
    (
        "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 5000ms in Transaction mode",
        PoolTimeout,
        "Supavisor",
        (None, None, Some(5.0)),
    ),
    (
        "FATAL: (EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15",
        PgbouncerMaxClients,
        "Supavisor",
        (Some(15), None, None),
    ),
    (
        "[error] (EMAXCONN) max client connections reached in transaction mode, limit: 200",
        PgbouncerMaxClients,
        "Supavisor",
        NONE,
    ),
    (
        "FATAL:  (EMAXCLIENTSESSION) max clients reached in session mode - max clients are limited to pool_size: 15",
        PgbouncerMaxClients,
        "Supavisor",
        (Some(15), None, None),
    ),
    ("FATAL:  (EMAXCLIENTCONN) max client connections reached, limit: 200", PgbouncerMaxClients, "Supavisor", NONE),
    ("FATAL:  Max pools count reached", PgbouncerMaxClients, "Supavisor", NONE),
    ("FATAL:  Unable to check out process from the pool due to timeout", PoolTimeout, "Supavisor", NONE),
    (
        "(ECHECKOUTTIMEOUT) Pool checkout timeout. Request was dropped after 60000ms in transaction mode.",
        PoolTimeout,
        "Supavisor",
        (None, None, Some(60.0)),
    ),
    // src: Quarkus' AgroalEventLoggingListener.java; Druid's removeAbandoned; db_connection's ownership; sqlx' Debug; Odyssey's log
    (
        "Datasource '<default>': Connection leak of io.agroal.pool.wrapper.ConnectionWrapper@4f2a1c3e",
        LeakSuspected,
        "Agroal",
        NONE,
    ),
    (
        "ERROR c.a.d.pool.DruidDataSource - abandon connection, owner thread: http-nio-8080-exec-1, connected at : 1796041817043, open stackTrace",
        LeakSuspected,
        "Druid",
        NONE,
    ),
    (
        "owner #PID<0.400.0> timed out because it owned the connection for longer than 120000ms (set via the :ownership_timeout option)",
        HeldLong,
        "Ecto",
        (None, None, Some(120.0)),
    ),
    ("called `Result::unwrap()` on an `Err` value: PoolTimedOut", PoolTimeout, "sqlx", NONE),
    (
        "[main] NoWait: Pool empty. Unable to fetch a connection, none available[2 in use].",
        PoolExhausted,
        "Tomcat JDBC",
        NONE,
    ),
    (
        "12345 30 Nov 12:00:00.000 error [c1a2b3 none] (router) server pool wait timed out, closing",
        PgbouncerQueryWait,
        "Odyssey",
        NONE,
    ),
    // doc: RDS Proxy
    (
        "psycopg2.errors.ConnectionException: Timed-out waiting to acquire database connection",
        PgbouncerQueryWait,
        "RDS Proxy",
        NONE,
    ),
    // src: Neon's proxy; pgcat's client.rs; Odyssey's frontend.c
    (
        "Server error (HTTP status 500): Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.",
        TooManyConnections,
        "Neon",
        NONE,
    ),
    ("FATAL: could not get connection from the pool - AllServersDown", PgbouncerQueryWait, "pgcat", NONE),
    (
        "too many active clients for user (pool_size for user shop.app reached 20)",
        PgbouncerMaxClients,
        "Odyssey",
        (Some(20), None, None),
    ),
    // SQLSTATEs where they stand: PDO, node-postgres, tokio-postgres, the server's log
    ("SQLSTATE[53300] [7] connection failed", TooManyConnections, "PostgreSQL", NONE),
    ("error: { severity: 'FATAL', code: '57014', position: undefined }", StatementTimeout, "PostgreSQL", NONE),
    (
        "Error { kind: Db, cause: Some(DbError { code: SqlState(E25P03) }) }",
        IdleInTransactionTimeout,
        "PostgreSQL",
        NONE,
    ),
    ("2026-11-20 10:15:01 UTC [7] ERROR:  55P03: canceled", LockTimeout, "PostgreSQL", NONE),
    (
        "2026-11-20 10:15:01.100 UTC,\"app\",\"shop\",57,\"10.0.0.7:41000\",6,7,\"\",2026,1/1,0,FATAL,57P01,\"bye\"",
        AdminShutdown,
        "PostgreSQL",
        NONE,
    ),
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
fn the_servers_messages_are_recognised_in_the_languages_that_it_ships() {
    for (kind, language, message) in crate::texts::localised::MESSAGES {
        let text = format!("FATAL:  {}", message.replace("%s", "orders"));
        let recognised = recognise(&text).map(|it| (it.kind, it.library));
        assert_eq!(recognised, Some((kind, "PostgreSQL")), "{language}: {text}");
    }
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
        // Ports, pids, sizes and ids.
        "INFO:     172.18.0.1:53300 - \"GET /orders/0 HTTP/1.1\" 200 OK",
        "2026-11-20 10:15:01.100 UTC [53300] LOG:  connection received: host=10.0.0.7 port=57014",
        "2026-11-20 10:15:01.100 UTC [57014] app@shop LOG:  duration: 12.1 ms  statement: SELECT 53300",
        "\"GET /reports/7.csv HTTP/1.1\" 200 57014 \"-\"",
        "exit code 53300, code: 57014, error 53300",
        "order 25P03 and ticket 57P01 were shipped",
        // What others say in passing.
        "Datasource '<default>': JDBC resources leaked: 1 ResultSet(s) and 0 Statement(s)",
        "returned connection: <psycopg.Connection [IDLE] (host=db) at 0x7f0a>",
        "The timeout for this request was 5000 ms",
        "Connection has been established PooledConnection",
        "client_login_timeout = 60",
        "max_user_client_connections = 100",
        "wait millis is a setting of Druid's",
        "too many active clients",
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
    fn no_text_makes_it_panic(text in any::<String>(), cut in 0..200_usize, at in 0..KNOWN.len()) {
        let _ = recognise(&text);
        let known: String = KNOWN[at].0.chars().take(cut).collect();
        let _ = recognise(&(known + &text));
    }
}
