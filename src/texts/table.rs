//! The texts, most telling first: the first that fits is taken.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::localised::MESSAGES;
use super::{PoolLimits, Recognised, TextKind};
use TextKind::{
    AdminShutdown, HeldLong, IdleInTransactionTimeout, LeakSuspected, LockTimeout, PendingRollback,
    PgbouncerIdleTransaction, PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait, PoolExhausted, PoolTimeout,
    ReturnedInTransaction, StatementTimeout, TooManyConnections, TransactionTimeout,
};

/// A text: what it says, who says it, parts of which it has one, and how it is written. Groups: `size`, `overflow`, `s` (seconds), `ms`.
/// In place of `STATE(53300)` stands whatever surrounds a SQLSTATE, and in place of `REPORTED(words)` whatever comes before the words of an
/// error; see [`state`] and [`REPORTED`].
type Text = (TextKind, &'static str, &'static [&'static str], &'static str);

const TEXTS: [Text; 68] = [
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

/// A SQLSTATE where one stands: behind the word for it (`SQLSTATE 53300`, `SQLSTATE[53300]`, `sqlState: "53300"`), as the code of an error
/// (`severity: 'FATAL', code: '53300'`), behind the class of an error (`PostgresError [53300]`), in a log of the server's with
/// `log_error_verbosity = verbose` or `%e`, and in its column of a csvlog. A bare number is a port, a pid, a size, and one that is called a
/// code may be a postal one.
fn state(code: &str) -> String {
    let before = [
        r#"(?i:sql_?state(?:_code)?|sqlerrcode|pgcode|errcode)["']?\s*(?:[:=(\[]|=>|is)?\s*["']?"#,
        r#"(?s)\b(?:[sS]everity|[rR]outine)["']?\s*(?:[:=(]|=>).{0,1000}?\b[cC]ode["']?\s*(?:[:=(]|=>)\s*["']"#,
        r#"(?s)\w(?:Error|Exception)\b.{0,1000}?\b[cC]ode["']?\s*(?:[:=(]|=>)\s*["']"#,
        r"\bSqlState\(E?",
        r"(?:Error|Exception)(?:\s*\[|\s*\(|:\s*\[)",
        r"(?:ERROR|FATAL|PANIC),",
    ];
    let severities = "ERROR|FATAL|PANIC";
    // A colon behind it: `FATAL:  53300: sorry`, `PostgresException (0x80004005): 53300: sorry`.
    let colon = format!(r"(?:(?:{severities}):\s+|(?:Error|Exception)(?: \([^)]*\))?:\s+){code}:");
    let severity =
        format!(r#"(?s)\b[cC]ode["']?\s*(?:[:=(]|=>)\s*["']{code}["'].{{0,1000}}?\b(?:[sS]everity|[rR]outine)\b"#);
    format!(r"(?:{}){code}\b|{colon}|{severity}|(?:^|\s){code}:?\s+(?:{severities}):", before.join("|"))
}

/// What comes before the words of an error, where they are not all that there is: its class or severity, a field that has a message, the cause
/// of an end.
const REPORTED: &str =
    r#"(?i)(?:because|error|fatal|violation|exception|failure|failed|message|msg|event|detail|reason)["')]*:?\s+["']?"#;

struct Entry {
    kind: TextKind,
    library: &'static str,
    text: Regex,
}

/// The table, and which parts lead to which of its texts.
struct Table {
    entries: Vec<Entry>,
    parts: AhoCorasick,
    /// By the part's place: the text's.
    of_part: Vec<usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Parts::default();
    for (kind, library, parts, text) in &TEXTS {
        table.add(*kind, library, parts, &written(text));
    }
    for (kind, _language, message) in &MESSAGES {
        let parts: Vec<&str> = message.split("%s").collect();
        let longest = parts.iter().copied().max_by_key(|part| part.len()).unwrap_or(message);
        let text: Vec<String> = parts.iter().map(|part| regex::escape(part)).collect();
        // One of them has a line break in it.
        table.add(*kind, "PostgreSQL", &[longest.trim()], &text.join(".{1,80}?").replace(' ', r"\s+"));
    }
    Table {
        entries: table.entries,
        of_part: table.of_part,
        parts: AhoCorasick::new(table.words).expect("a few short parts"),
    }
});

/// A table that is being put together.
#[derive(Default)]
struct Parts {
    entries: Vec<Entry>,
    words: Vec<String>,
    of_part: Vec<usize>,
}

impl Parts {
    fn add(&mut self, kind: TextKind, library: &'static str, parts: &[&str], text: &str) {
        // Words that a line break parts are looked for by the first of them.
        let first = |part: &&str| part.chars().take(PART).collect::<String>();
        self.words.extend(parts.iter().map(first));
        self.of_part.extend(parts.iter().map(|_| self.entries.len()));
        let text = Regex::new(text).expect("each expression of the table is tried by a test");
        self.entries.push(Entry { kind, library, text });
    }
}

/// Characters of a part that are looked for.
const PART: usize = 40;

fn written(text: &str) -> String {
    let within = |text: &str, mark: &str, written: &dyn Fn(&str) -> String| {
        let Some((before, rest)) = text.split_once(mark) else { return text.to_owned() };
        let (inner, after) = rest.split_once(')').unwrap_or((rest, ""));
        format!("{before}{}{after}", written(inner))
    };
    let reported =
        within(text, "REPORTED(", &|words| format!(r"(?:{REPORTED}(?:{words})\b|\A(?:{words})\s*(?:\z|\n|\())"));
    within(&reported, "STATE(", &state)
}

/// The most telling text, and the words of it.
pub(super) fn recognise(text: &str) -> Option<(Recognised, &str)> {
    let table = &*TABLE;
    let met = table.parts.find_overlapping_iter(text).map(|part| table.of_part[part.pattern().as_usize()]);
    let mut places: Vec<usize> = met.collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().find_map(|place| {
        let Entry { kind, library, text: expression } = &table.entries[place];
        let found = expression.captures(text)?;
        let group = |name: &str| found.name(name).map(|it| it.as_str());
        // SQLAlchemy prints a negative overflow while its pool is not full.
        let count = |name: &str| group(name).and_then(|it| it.parse::<u32>().ok());
        let seconds = |name: &str| group(name).and_then(|it| it.trim_end_matches('.').parse::<f64>().ok());
        let timeout_s = seconds("s").or_else(|| seconds("ms").map(|ms| ms / 1e3));
        let limits = PoolLimits { size: count("size"), overflow: count("overflow"), timeout_s };
        let words = found.get(0).map_or("", |it| it.as_str());
        Some((Recognised { kind: *kind, library, limits }, words))
    })
}
