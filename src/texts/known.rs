//! The texts, most telling first: the first that fits is taken.

use super::TextKind;
use TextKind::{
    AdminShutdown, HeldLong, IdleInTransactionTimeout, LeakSuspected, LockTimeout, PendingRollback,
    PgbouncerIdleTransaction, PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait, PoolExhausted, PoolTimeout,
    ReturnedInTransaction, StatementTimeout, TooManyConnections, TransactionTimeout,
};

/// A text: what it says, who says it, parts of which it has one, and how it is written. Groups: `size`, `overflow`, `s` (seconds), `ms`.
/// In place of `STATE(53300)` stands whatever surrounds a SQLSTATE, and in place of `REPORTED(words)` whatever comes before the words of an
/// error; see `table`.
pub(super) type Text = (TextKind, &'static str, &'static [&'static str], &'static str);

pub(super) const TEXTS: [Text; 68] = [
    (
        PoolTimeout,
        "SQLAlchemy",
        &["QueuePool limit of size"],
        r"QueuePool limit of size (?P<size>\d+) overflow (?P<overflow>-?\d+) reached, connection timed out, timeout (?P<s>[\d.]+)",
    ),
    (
        PendingRollback,
        "SQLAlchemy",
        &["Can't reconnect until"],
        r"Can't reconnect until invalid transaction is rolled back",
    ),
    (
        PendingRollback,
        "SQLAlchemy",
        &["This Session's transaction"],
        r"This Session's transaction has been rolled back due to a previous exception",
    ),
    // SQLAlchemy, pool/base.py
    (
        LeakSuspected,
        "SQLAlchemy",
        &["clean up non-checked-in connection"],
        r"The garbage collector is trying to clean up non-checked-in connection",
    ),
    (PoolTimeout, "psycopg_pool", &["couldn't get a connection"], r"couldn't get a connection after (?P<s>[\d.]+) sec"),
    (
        PoolTimeout,
        "psycopg_pool",
        &["pool initialization incomplete"],
        r"pool initialization incomplete after (?P<s>[\d.]+) sec",
    ),
    (PoolExhausted, "psycopg_pool", &["requests waiting"], r"the pool '[^']*' has already \d+ requests waiting"),
    // psycopg_pool, base.py
    (
        ReturnedInTransaction,
        "psycopg_pool",
        &["returned connection"],
        r"(?:rolling back|closing) returned connection: <psycopg\.\w+ \[(?:INTRANS|INERROR|ACTIVE)\]",
    ),
    (PoolExhausted, "psycopg2", &["connection pool exhausted"], r"connection pool exhausted"),
    // Odoo, odoo/sql_db.py
    (PoolExhausted, "Odoo", &["The Connection Pool Is Full"], r"The Connection Pool Is Full"),
    // peewee, playhouse/pool.py
    (
        PoolTimeout,
        "peewee",
        &["Max connections exceeded"],
        r"Max connections exceeded, timed out attempting to connect",
    ),
    (PoolExhausted, "peewee", &["Exceeded maximum connections"], r"Exceeded maximum connections\."),
    (
        PoolTimeout,
        "HikariCP",
        &["Connection is not available"],
        r"Connection is not available, request timed out after (?P<ms>\d+)ms\.?(?: \(total=(?P<size>\d+), active=\d+, idle=\d+, waiting=\d+\))?",
    ),
    (LeakSuspected, "HikariCP", &["leak detection triggered"], r"Connection leak detection triggered for "),
    (
        PoolTimeout,
        "Tomcat JDBC",
        &["Pool empty. Unable to fetch"],
        r"Timeout: Pool empty\. Unable to fetch a connection in (?P<s>\d+) seconds, none available\[size:(?P<size>\d+);",
    ),
    (PoolExhausted, "Tomcat JDBC", &["NoWait: Pool empty"], r"NoWait: Pool empty\. Unable to fetch a connection"),
    // Tomcat JDBC, ConnectionPool.java: the first is closed, the second is only suspected
    (
        LeakSuspected,
        "Tomcat JDBC",
        &["has been abandoned", "possibly abandoned"],
        r"Connection has been (?:abandoned|marked suspect, possibly abandoned) PooledConnection",
    ),
    (
        PoolTimeout,
        "DBCP",
        &["Timeout waiting for idle object"],
        r"Cannot get a connection, pool error:? Timeout waiting for idle object(?:, borrowMaxWaitDuration=PT(?P<s>[\d.]+)S)?",
    ),
    (
        PoolExhausted,
        "DBCP",
        &["pool error Pool exhausted", "pool error: Pool exhausted"],
        r"Cannot get a connection, pool error:? Pool exhausted",
    ),
    // Commons Pool, AbandonedObjectCreatedException in DefaultPooledObject.java
    (
        LeakSuspected,
        "DBCP",
        &["Pooled object created"],
        r"Pooled object created .{10,60} by the following code (?:has not been returned to|was never returned to|has not been returned)",
    ),
    // Agroal, ConnectionPool.java
    (
        PoolTimeout,
        "Agroal",
        &["acquisition timeout!", "Acquisition timeout while waiting"],
        r"Sorry, acquisition timeout!|Acquisition timeout while waiting for new connection",
    ),
    // Quarkus, AgroalEventLoggingListener.java
    (LeakSuspected, "Agroal", &["Connection leak of"], r"Datasource '[^']*': Connection leak of "),
    // Druid, DruidDataSource.java
    (LeakSuspected, "Druid", &["abandon connection, owner"], r"abandon connection, owner thread: "),
    (PoolTimeout, "Druid", &["wait millis "], r"wait millis (?P<ms>\d+), active \d+, maxActive (?P<size>\d+)"),
    // c3p0, C3P0PooledConnectionPool.java
    (
        PoolTimeout,
        "c3p0",
        &["by a client to checkout a"],
        r"An attempt by a client to checkout a [Cc]onnection has timed out",
    ),
    // c3p0, BasicResourcePool.java
    (
        LeakSuspected,
        "c3p0",
        &["checked-out resource is overdue"],
        r"A checked-out resource is overdue, and will be destroyed",
    ),
    (PoolTimeout, "R2DBC", &["acquisition timed out after"], r"Connection acquisition timed out after (?P<ms>\d+)ms"),
    // Vert.x, SimpleConnectionPool.java
    (PoolExhausted, "Vert.x", &["reached max wait queue size"], r"Connection pool reached max wait queue size of \d+"),
    (PoolTimeout, "node-postgres", &["timeout exceeded when trying"], r"timeout exceeded when trying to connect"),
    (
        PoolTimeout,
        "node-postgres",
        &["terminated due to connection timeout"],
        r"Connection terminated due to connection timeout",
    ),
    (
        PoolTimeout,
        "Knex",
        &["Timeout acquiring a connection"],
        r"Timeout acquiring a connection\. The pool is probably full",
    ),
    (
        PoolTimeout,
        "Sequelize",
        &["ConnectionAcquireTimeoutError"],
        r"SequelizeConnectionAcquireTimeoutError|ConnectionAcquireTimeoutError",
    ),
    // generic-pool, ResourceRequest.js
    (PoolTimeout, "generic-pool", &["ResourceRequest timed out"], r"ResourceRequest timed out"),
    (PoolExhausted, "generic-pool", &["max waitingClients count"], r"max waitingClients count exceeded"),
    (
        PoolTimeout,
        "Prisma",
        &["from the connection pool"],
        r"Timed out fetching a new connection from the connection pool(?:.{0,200}?timeout: (?P<s>\d+), connection limit: (?P<size>\d+))?",
    ),
    (
        PoolTimeout,
        "Prisma",
        &["a new connection from the pool"],
        r"Timed out fetching a new connection from the pool(?:.{0,300}?Current limit: (?P<size>\d+))?",
    ),
    (PoolTimeout, "Prisma", &["P2024"], r"(?is)prisma.{0,2000}?\bP2024\b|\bP2024\b.{0,2000}?(?:prisma|clientVersion)"),
    // Prisma, query-engine: both are P2028
    (PoolTimeout, "Prisma", &["Unable to start a transaction"], r"Unable to start a transaction in the given time"),
    (
        HeldLong,
        "Prisma",
        &["on an expired transaction", "The timeout for this transaction"],
        r"cannot be executed on an expired transaction(?:\. The timeout for this transaction was (?P<ms>\d+) ms)?|The timeout for this transaction was \d+ ms, however",
    ),
    (
        TooManyConnections,
        "Prisma",
        &["P2037", "Too many database connections opened"],
        r"(?is)prisma.{0,2000}?\bP2037\b|\bP2037\b.{0,2000}?(?:prisma|clientVersion)|Too many database connections opened",
    ),
    (
        PoolTimeout,
        "ActiveRecord",
        &["could not obtain a connection"],
        r"could not obtain a connection from the pool within (?P<s>[\d.]+) seconds",
    ),
    // The second as its Debug has it
    (
        PoolTimeout,
        "sqlx",
        &["pool timed out while waiting", "PoolTimedOut"],
        r"pool timed out while waiting for an open connection|\bPoolTimedOut\b",
    ),
    (
        PoolTimeout,
        "deadpool",
        &["for a slot to become", "Timeout(Wait)"],
        r"Timeout (?:occurred )?while waiting for a slot to become available|\bTimeout\(Wait\)",
    ),
    (PoolTimeout, "bb8", &["Timed out in bb8"], r"Timed out in bb8"),
    (PoolTimeout, "r2d2", &["timed out waiting for connection"], r"\btimed out waiting for connection"),
    (
        PoolTimeout,
        "Ecto",
        &["dropped from queue after"],
        r"connection not available and request was dropped from queue after (?P<ms>\d+)ms",
    ),
    // db_connection, connection_pool.ex: its time is queue and hold together
    (
        HeldLong,
        "Ecto",
        &["checked out the connection for longer", "owned the connection for longer"],
        r"it (?:queued and checked out|owned) the connection for longer than (?P<ms>\d+)ms",
    ),
    (
        PoolTimeout,
        "Npgsql",
        &["connection pool has been exhausted"],
        r"The connection pool has been exhausted, either raise '?Max ?Pool ?Size'? \(currently (?P<size>\d+)\) or '?Timeout'? \(currently (?P<s>\d+)",
    ),
    (
        PoolTimeout,
        "asyncpg",
        &["in _acquire"],
        r#"(?s)asyncpg[/\\]pool\.py", line \d+, in _acquire.{0,4000}TimeoutError"#,
    ),
    (
        PoolTimeout,
        "pgx",
        &["context deadline exceeded"],
        r"pgxpool.{0,200}context deadline exceeded|acquir\w+ .{0,60}context deadline exceeded",
    ),
    (PgbouncerIdleTransaction, "PgBouncer", &["idle transaction timeout"], r"REPORTED(idle transaction timeout)"),
    // The settings have these names too: what stands before tells a message from `query_wait_timeout = 120`.
    (PgbouncerQueryWait, "PgBouncer", &["query_wait_timeout"], r"REPORTED(query_wait_timeout)"),
    // PgBouncer 1.24, client.c: the last two
    (
        PgbouncerMaxClients,
        "PgBouncer",
        &["no more connections allowed", "client connections exceeded"],
        r"no more connections allowed(?: \(max_client_conn\))?|client connections exceeded \(max_(?:user|db)_client_connections\)",
    ),
    // PgBouncer 1.25, janitor.c
    (
        PgbouncerOther,
        "PgBouncer",
        &[
            "client_idle_timeout",
            "server_login_retry",
            "client_login_timeout",
            "query_timeout",
            "transaction timeout",
            "query timeout",
        ],
        r"REPORTED(client_idle_timeout|server_login_retry|client_login_timeout)|(?i:pooler error|closing because|FATAL): +(?:query[ _]timeout|transaction timeout)",
    ),
    // Supavisor, client_handler/error.ex
    (
        PoolTimeout,
        "Supavisor",
        &["ECHECKOUTTIMEOUT", "Unable to check out process"],
        r"\(ECHECKOUTTIMEOUT\)(?:.{0,100}? after (?P<ms>\d+)ms)?|Unable to check out process from the pool due to timeout",
    ),
    (
        PgbouncerMaxClients,
        "Supavisor",
        &[
            "MaxClientsInSessionMode",
            "EMAXCONN",
            "EMAXCLIENT",
            "Max client connections reached",
            "Max pools count reached",
        ],
        r"(?:MaxClientsInSessionMode|\((?:EMAXCONN|EMAXCLIENT)SESSION\))(?:.{0,120}?pool_size: (?P<size>\d+))?|\((?:EMAXCONN|EMAXCLIENTCONN)\)|Max client connections reached|Max pools count reached",
    ),
    // AWS, RDS Proxy's troubleshooting
    (
        PgbouncerQueryWait,
        "RDS Proxy",
        &["Timed-out waiting to acquire"],
        r"Timed-out waiting to acquire database connection",
    ),
    // Neon, proxy/src/serverless/backend.rs
    (TooManyConnections, "Neon", &["Failed to acquire permit"], r"Failed to acquire permit to connect to the database"),
    // pgcat, src/client.rs: to the client, and in its log
    (
        PgbouncerQueryWait,
        "pgcat",
        &["could not get connection from the pool", "Could not get connection from pool"],
        r"could not get connection from the pool - |Could not get connection from pool: ",
    ),
    // Odyssey, sources/frontend.c
    (PgbouncerQueryWait, "Odyssey", &["server pool wait timed out"], r"server pool wait timed out, closing"),
    (
        PgbouncerMaxClients,
        "Odyssey",
        &["too many active clients for user", "too many clients for pool"],
        r"too many active clients for user \(pool_size for user \S+ reached (?P<size>-?\d+)\)|sorry, too many clients for pool",
    ),
    (
        TooManyConnections,
        "PostgreSQL",
        &["too many clients already", "connection slots are reserved", "too many connections for", "53300"],
        r"sorry, too many clients already|remaining connection slots are reserved|too many connections for (?:role|database)|STATE(53300)",
    ),
    (
        IdleInTransactionTimeout,
        "PostgreSQL",
        &["idle-in-transaction timeout", "25P03", "IdleInTransactionSessionTimeout"],
        r"terminating connection due to idle-in-transaction timeout|STATE(25P03)|IdleInTransactionSessionTimeout",
    ),
    (
        TransactionTimeout,
        "PostgreSQL",
        &["due to transaction timeout", "25P04"],
        r"terminating connection due to transaction timeout|STATE(25P04)",
    ),
    (
        LockTimeout,
        "PostgreSQL",
        &["due to lock timeout", "could not obtain lock on row", "55P03"],
        r"canceling statement due to lock timeout|could not obtain lock on row|STATE(55P03)",
    ),
    (
        StatementTimeout,
        "PostgreSQL",
        &["due to statement timeout", "due to user request", "57014"],
        r"canceling statement due to (?:statement timeout|user request)|STATE(57014)",
    ),
    (
        AdminShutdown,
        "PostgreSQL",
        &["due to administrator command", "57P01"],
        r"terminating connection due to administrator command|STATE(57P01)",
    ),
    (AdminShutdown, "PostgreSQL", &["system is shutting down"], r"the database system is shutting down"),
];
