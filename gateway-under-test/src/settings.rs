//! Settings that a replica, or the backend, gets when it starts: plain data, one JSON line on its standard input.
//!
//! It holds secrets (the database URL, the token key), so it never travels in an argument list, where every
//! local user could read it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lifetime of the database session of a request's permission check. **This is the bug and its fix**, with the
/// bug's relatives and the other ways in which it was fixed. `docs/HOLD-PATTERNS.md` has the cause, the fingerprint
/// and the real-world issues of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionScope {
    /// Opened at authentication, released after the response (H1, issue #2318).
    #[default]
    Held,
    /// The handler's session stays open across the backend call (H2, #1706, #2518).
    AcrossBackend,
    /// The handler's session stays open while a plugin is asked (H3).
    AcrossHook,
    /// The handler's session stays open while a page is rendered (H4, #1944).
    AcrossRender,
    /// A stream keeps its session until it has been sent (H5, #2336).
    UntilSent,
    /// The sessions are released, and then a lazy load begins again (H6).
    BeginAgain,
    /// The health probe reads and never commits (H7, #1996).
    NeverCommitted,
    /// A client that leaves cancels the handler, and its cleanup with it (H8, #2664).
    LeakedOnCancel,
    /// The check and the handler hold a session each until the response (H10).
    DoubleCheckout,
    /// The check's own session is closed by nobody but the garbage collector (H11, #2529).
    NeverClosed,
    /// Every layer has a session of its own until the response (H12, #1887, #3883).
    SessionPerLayer,
    /// A statement fails, and its transaction is kept until the response (H21, #1766).
    FailedKept,
    /// The request's session is closed after the check, and the handler begins it again (the fix of #2529).
    EarlyClose,
    /// The check uses the handler's session, which is released before slow work (the fix of #2549).
    EndpointShared,
    /// A fresh session around each permission check (the fix of #2319).
    Scoped,
}

impl SessionScope {
    /// All of them: the bug first, then its relatives, then the fixes.
    pub const ALL: [Self; 15] = [
        Self::Held,
        Self::AcrossBackend,
        Self::AcrossHook,
        Self::AcrossRender,
        Self::UntilSent,
        Self::BeginAgain,
        Self::NeverCommitted,
        Self::LeakedOnCancel,
        Self::DoubleCheckout,
        Self::NeverClosed,
        Self::SessionPerLayer,
        Self::FailedKept,
        Self::EarlyClose,
        Self::EndpointShared,
        Self::Scoped,
    ];

    /// True if it may stand beside another scope: a mistake that is made around slow work, and nowhere else.
    #[must_use]
    pub const fn stands_beside_others(self) -> bool {
        matches!(
            self,
            Self::AcrossBackend
                | Self::AcrossHook
                | Self::AcrossRender
                | Self::UntilSent
                | Self::BeginAgain
                | Self::NeverCommitted
                | Self::DoubleCheckout
                | Self::SessionPerLayer
                | Self::FailedKept
        )
    }

    /// The name in files, flags and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::AcrossBackend => "across_backend",
            Self::AcrossHook => "across_hook",
            Self::AcrossRender => "across_render",
            Self::UntilSent => "until_sent",
            Self::BeginAgain => "begin_again",
            Self::NeverCommitted => "never_committed",
            Self::LeakedOnCancel => "leaked_on_cancel",
            Self::DoubleCheckout => "double_checkout",
            Self::NeverClosed => "never_closed",
            Self::SessionPerLayer => "session_per_layer",
            Self::FailedKept => "failed_kept",
            Self::EarlyClose => "early_close",
            Self::EndpointShared => "endpoint_shared",
            Self::Scoped => "scoped",
        }
    }

    /// The hold pattern's id, or `None` for a fix.
    #[must_use]
    pub const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Held => Some("H1"),
            Self::AcrossBackend => Some("H2"),
            Self::AcrossHook => Some("H3"),
            Self::AcrossRender => Some("H4"),
            Self::UntilSent => Some("H5"),
            Self::BeginAgain => Some("H6"),
            Self::NeverCommitted => Some("H7"),
            Self::LeakedOnCancel => Some("H8"),
            Self::DoubleCheckout => Some("H10"),
            Self::NeverClosed => Some("H11"),
            Self::SessionPerLayer => Some("H12"),
            Self::FailedKept => Some("H21"),
            Self::EarlyClose | Self::EndpointShared | Self::Scoped => None,
        }
    }
}

/// Execution mode of waits for the pool and for queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checkout {
    /// The worker's whole event loop: a synchronous driver inside async code (H13).
    #[default]
    Blocking,
    /// Only the request that waits.
    Async,
}

/// SQLAlchemy's `QueuePool`, by its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSettings {
    pub size: u32,
    /// Connections beyond `size` under load.
    pub max_overflow: u32,
    /// Timeout of a checkout.
    pub timeout: Duration,
    #[serde(default)]
    pub pre_ping: PrePing,
    /// A connection older than this is replaced when it is next taken; `None` is SQLAlchemy's −1, at no age.
    #[serde(default)]
    pub recycle: Option<Duration>,
}

/// Test of a pooled connection before it is used: SQLAlchemy's `pool_pre_ping`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrePing {
    /// A dead connection is found by the first statement on it, which fails: SQLAlchemy's default.
    #[default]
    Off,
    /// A statement of its own, outside any transaction, finds a dead connection, and it is replaced silently.
    On,
}

/// Audit of permission checks: ContextForge's `PERMISSION_AUDIT_ENABLED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// Nothing is written: the default since 1.0.
    #[default]
    Off,
    /// Each check of a user's roles writes a row, and commits.
    On,
}

/// Which failures of the database reach the client under another name (docs/HOLD-PATTERNS.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Masks {
    /// None: `/health` and `/rpc` answer with status 503 and 500.
    Off,
    /// Those of the protocols: an unhealthy `/health` and a JSON-RPC error come with status 200.
    #[default]
    Protocol,
    /// All of ContextForge's: a failed look-up of the user is a 401, a failed check a 403, a tool that could not be
    /// read is not found, a list over MCP is empty.
    On,
}

/// A row that a share of the tool calls update in their transaction (hold pattern H14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageCounterSettings {
    /// Share of the tool calls that update it, 0 to 1.
    pub share: f64,
    /// Number of such rows.
    pub rows: u32,
}

/// Everything a replica needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Its name in metrics, logs and `application_name`: `gw-1`.
    pub name: String,
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// Single-threaded event loops, each with its own listener and pool.
    pub workers: u32,
    /// Lifetime of a request's session.
    pub session_scope: SessionScope,
    /// Further mistakes that it makes beside that scope's, on the routes that each is about.
    #[serde(default)]
    pub also: Vec<SessionScope>,
    pub checkout: Checkout,
    pub pool: PoolSettings,
    pub database: DatabaseSettings,
    /// The MCP endpoint of the service behind the gateway: `http://127.0.0.1:40213/mcp`.
    pub backend_url: String,
    /// HS256 key of the tokens.
    pub jwt_secret: String,
    /// E-mail of the platform administrator, who passes the permission check without a query.
    pub platform_admin_email: String,
    /// The shared row, if any.
    pub usage_counter: UsageCounterSettings,
    /// Durations of work that needs no database.
    #[serde(default)]
    pub slow_work: SlowWorkSettings,
    /// True if each check of a user's roles writes a row of `permission_audit_log`, and commits it.
    #[serde(default)]
    pub audit: Audit,
    /// Which failures of the database reach the client under another name.
    #[serde(default)]
    pub masks: Masks,
    /// After this long a session that nobody closed is found by the garbage collector.
    pub garbage_after: Duration,
    /// A connection whose next request has not reported its whole head after this long is closed.
    #[serde(default = "default_header_timeout")]
    pub header_timeout: Duration,
}

/// Longer than any client of ours keeps a connection that nothing is sent on (reqwest: 90 s): a server that closes one
/// first may do so in the moment in which the next request is on its way.
const fn default_header_timeout() -> Duration {
    Duration::from_mins(2)
}

impl Settings {
    /// The session scope, and the mistakes beside it.
    pub fn scopes(&self) -> impl Iterator<Item = SessionScope> + '_ {
        std::iter::once(self.session_scope).chain(self.also.iter().copied())
    }
}

/// Durations of work that needs no database; the backend's delays are its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowWorkSettings {
    /// Delay of a plugin before a tool is called: the moderation service that it stands for.
    pub hook: Duration,
    /// Delay of a page beside its rendering: the slow template that it stands for.
    pub render: Duration,
}

/// Address of PostgreSQL, and the limits of the gateway's sessions on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseSettings {
    pub host: DatabaseHost,
    /// Port, which also names the socket file.
    pub port: u16,
    /// Role to connect as.
    pub user: String,
    /// Its password, where the server wants one.
    #[serde(default)]
    pub password: Option<String>,
    pub dbname: String,
    #[serde(default)]
    pub route: DatabaseRoute,
    /// `statement_timeout`; zero is off. Through a pooler it must be set on the server itself.
    pub statement_timeout: Duration,
    /// `idle_in_transaction_session_timeout`; zero is off. As above.
    pub idle_in_transaction_session_timeout: Duration,
}

/// Path from the gateway to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseRoute {
    /// Nothing: a session is a session of the server.
    #[default]
    Direct,
    /// A pooler in transaction mode: each transaction may have another session of the server, so that no statement is
    /// prepared by name, and nothing is asked for at the start of a session but what poolers keep track of.
    TransactionPooler,
}

/// A PostgreSQL server's address. The connection is in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseHost {
    /// Folder of its Unix socket.
    Socket(PathBuf),
    /// Name or address of its machine.
    Tcp(String),
}

/// Everything the slow service behind the gateway needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendSettings {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// Delay of each tool, by its name; a tool that is not named answers at once.
    pub delays: BTreeMap<String, DelaySettings>,
    /// Seed of the random numbers: the same seed gives each tool the same sequence of delays.
    pub seed: u64,
    /// Each tool answers to its name behind each of these, too.
    #[serde(default)]
    pub tool_prefixes: Vec<String>,
}

/// A tool's delay: `min` + an exponential of mean `exponential_mean`, cut at `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelaySettings {
    pub min: Duration,
    /// Mean of the exponential part before the cut; 0 makes the delay constant.
    pub exponential_mean: Duration,
    /// The longest delay; larger draws are cut to it, not drawn again.
    pub max: Duration,
}

/// The line a replica, or the backend, prints on standard output once it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Address that it serves: `http://127.0.0.1:40213`.
    pub url: String,
    /// Address at which its gauges are answered from outside the event loops; `None` for the backend.
    pub gauges_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_neither_pinged_nor_recycled_unless_asked() {
        let timeout = r#""timeout": {"secs": 30, "nanos": 0}"#;
        let plain = format!(r#"{{"size": 3, "max_overflow": 2, {timeout}}}"#);
        let pool: PoolSettings = serde_json::from_str(&plain).unwrap();
        assert_eq!((pool.pre_ping, pool.recycle), (PrePing::Off, None));
        let asked = PoolSettings { pre_ping: PrePing::On, recycle: Some(Duration::from_hours(1)), ..pool };
        let line = serde_json::to_string(&asked).unwrap();
        assert!(line.contains(r#""pre_ping":"on""#), "{line}");
        assert_eq!(serde_json::from_str::<PoolSettings>(&line).unwrap(), asked);
    }
}
