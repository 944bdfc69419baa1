//! The error texts that users meet: which pool or server says it, what it means, and the limits it tells.
//!
//! Pure and linear: the `regex` crate does not backtrack, and of one text no more than [`LONGEST`] bytes are read.

mod known;
mod localised;
mod table;
mod tally;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Serialize;

pub use tally::{PatternCount, PatternCounts};

/// Bytes of one text that are read. Whatever is longer says what it has to say before.
pub const LONGEST: usize = 8_192;

/// Kinds of error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    /// A checkout gave up waiting for a connection of the application's pool.
    PoolTimeout,
    /// The pool refuses a checkout at once, since all are out or too many wait.
    PoolExhausted,
    /// The server has no connection left (53300).
    TooManyConnections,
    /// The server ended a session that was idle in a transaction (25P03).
    IdleInTransactionTimeout,
    /// The server ended a transaction that took too long (25P04).
    TransactionTimeout,
    /// The server cancelled a statement that took too long (57014).
    StatementTimeout,
    /// A lock was not had in time (55P03).
    LockTimeout,
    /// An operator, or a stop of the server, ended the session (57P01).
    AdminShutdown,
    /// `PgBouncer` ended a session that was idle in a transaction.
    PgbouncerIdleTransaction,
    /// `PgBouncer` had no server connection for a client in time.
    PgbouncerQueryWait,
    /// `PgBouncer` ended a client that did nothing, or a query or transaction that took too long.
    PgbouncerOther,
    /// `PgBouncer` takes no more clients.
    PgbouncerMaxClients,
    /// A session that failed and was not rolled back is used again.
    PendingRollback,
    /// The pool suspects that a connection was never given back.
    LeakSuspected,
    /// A connection was kept for longer than its pool allows, and came back.
    HeldLong,
    /// A connection came back to its pool with its transaction open.
    ReturnedInTransaction,
}

impl TextKind {
    /// True if a pool of the application had no connection.
    pub fn is_pool(self) -> bool {
        matches!(self, Self::PoolTimeout | Self::PoolExhausted)
    }

    /// True if `PgBouncer` says it.
    pub fn is_pgbouncer(self) -> bool {
        use TextKind::{PgbouncerIdleTransaction, PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait};
        matches!(self, PgbouncerIdleTransaction | PgbouncerQueryWait | PgbouncerOther | PgbouncerMaxClients)
    }
}

/// The limits that a text tells; `None` is one that it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PoolLimits {
    /// Connections of the pool.
    pub size: Option<u32>,
    pub overflow: Option<u32>,
    /// Timeout of a checkout, in seconds.
    pub timeout_s: Option<f64>,
}

/// A text that was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recognised {
    pub kind: TextKind,
    /// Library that it is of: `SQLAlchemy`, `PostgreSQL`, `PgBouncer`.
    pub library: &'static str,
    /// The limits it tells.
    pub limits: PoolLimits,
}

/// Recognises a text, or a line of a log; `None` when it is none of those that are known.
///
/// ```
/// use rbac_bench::texts::{TextKind, recognise};
/// let text = "QueuePool limit of size 20 overflow 10 reached, connection timed out, timeout 60.00";
/// let recognised = recognise(text).unwrap();
/// assert_eq!((recognised.kind, recognised.library), (TextKind::PoolTimeout, "SQLAlchemy"));
/// assert_eq!(recognised.limits.timeout_s, Some(60.0));
/// ```
pub fn recognise(text: &str) -> Option<Recognised> {
    let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    recognised_words(&text[..end]).map(|(recognised, _)| recognised)
}

/// The same of a text that somebody else has bounded, with the words that say so.
pub(crate) fn recognised_words(text: &str) -> Option<(Recognised, String)> {
    let owned = |(recognised, words): (Recognised, &str)| (recognised, words.to_owned());
    table::recognise(text).map(owned).or_else(|| match plain(text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(plain) => table::recognise(&plain).map(owned),
    })
}

/// A text without what JSON and HTML put into it.
fn plain(text: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(text);
    let mut replace = |from: &str, to: &str| {
        if plain.contains(from) {
            plain = Cow::Owned(plain.replace(from, to));
        }
    };
    // The backslash and the ampersand last: what they hide is no escape.
    for (from, to) in [
        ("\\n", "\n"),
        ("\\t", "\t"),
        ("\\\"", "\""),
        ("\\u0027", "'"),
        ("\\u0022", "\""),
        ("\\\\", "\\"),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ] {
        replace(from, to);
    }
    plain
}
