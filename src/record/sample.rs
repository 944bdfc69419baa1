//! One line of `samples.ndjson`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Presence, Spanning, WaitHistogram};
use crate::scenario::VariantName;

/// A sample, and when it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// The variant that was running.
    pub variant: VariantName,
    /// Seconds since this variant's load began: the real time of the sample, not of the tick that asked for it.
    pub at_s: f64,
    #[serde(flatten)]
    pub sample: Sample,
}

/// Kinds of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sample {
    /// PostgreSQL's sessions, at each poll.
    Activity(ActivitySample),
    /// The open transactions in three figures, more often than that.
    Pulse(PulseSample),
    /// The idle-in-transaction sessions in detail, once a second.
    Breakdown(BreakdownSample),
    /// One session's idle-in-transaction episode that has ended.
    Episode(EpisodeSample),
    /// A transaction that was idle at a poll, once it is over: who was there when it began.
    Transaction(TransactionSample),
    /// The server's own counters, once a second.
    Counters(CountersSample),
    /// Chains of sessions that wait for a lock.
    Blocking(BlockingSample),
    /// The pools of a replica, once a second.
    Pools(PoolSample),
    /// One probe of a replica.
    Health(HealthSample),
    /// The load, at each poll.
    Load(LoadSample),
    /// `PgBouncer`, once a second.
    #[serde(rename = "pgbouncer")]
    PgBouncer(PgBouncerSample),
    Event(Event),
}

/// Sessions of the database under test, from `pg_stat_activity`, client backends other than our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivitySample {
    pub sessions: u32,
    /// State `active`.
    pub active: u32,
    /// State `idle`.
    pub idle: u32,
    /// State `idle in transaction`.
    pub idle_in_transaction: u32,
    /// State `idle in transaction (aborted)`.
    pub idle_in_transaction_aborted: u32,
    /// Sessions that wait for a heavyweight lock.
    pub waiting_for_lock: u32,
    /// Active ones whose statement waits for the client to read or to send; left out in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for_client: Option<u32>,
    /// Sessions idle in transaction that became so while the server read the sessions, or no longer before than that took: the
    /// poll itself may be why; left out in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub just_idle: Option<u32>,
    /// Age of the oldest transaction in seconds, aborted ones by `state_change`; `None` when there is none.
    pub oldest_transaction_s: Option<f64>,
    /// Duration of the poll in milliseconds, measured here.
    pub poll_ms: f64,
}

impl ActivitySample {
    /// Sessions idle in a transaction, aborted or not.
    pub fn idle_in_transaction_total(&self) -> u32 {
        self.idle_in_transaction + self.idle_in_transaction_aborted
    }
}

/// The open transactions at one instant, as cheaply as PostgreSQL tells: from the backend-id functions, which do not know
/// of aborted transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PulseSample {
    /// Sessions with a transaction open, aborted ones not among them.
    pub in_transaction: u32,
    /// Those of them that wait for their client.
    pub idle_in_transaction: u32,
    /// Age of the oldest of these transactions in seconds; `None` when there is none.
    pub oldest_transaction_s: Option<f64>,
    /// Duration of the poll in milliseconds, measured here.
    pub poll_ms: f64,
}

/// Sessions that are idle in transaction, or were since the last breakdown; most session seconds first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakdownSample {
    /// Sessions grouped by their last statement and application.
    pub groups: Vec<HoldGroup>,
    /// Session seconds of further groups, which are left out; `None` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out_s: Option<f64>,
}

/// Sessions idle in transaction with one last statement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HoldGroup {
    /// The last statement, as the server keeps it.
    pub statement: String,
    /// `application_name`, whole; in records of earlier programs up to its first `/`.
    pub application_name: String,
    /// Number of them at this instant.
    pub sessions: u32,
    /// Age of the oldest of them in seconds.
    pub oldest_s: f64,
    /// Session seconds idle in transaction since the last breakdown; `None` in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<f64>,
    /// True if their transactions began before the load did: no request of it holds them. Left out where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub earlier: bool,
}

/// A transaction that was seen idle, and the requests around its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TransactionSample {
    pub pid: i32,
    /// `xact_start`, in seconds since the variant's load began; negative before.
    pub began_s: f64,
    /// Largest error of that, by the round trip of the clock's reading.
    pub error_s: f64,
    /// When it was over, or last seen.
    pub ended_s: f64,
    /// Session seconds idle in it, by the polls at which it was.
    pub idle_s: f64,
    /// Of them, at polls at which it was older than a pause between two statements takes. `None` of records without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aged_s: Option<f64>,
    /// Transactions that it stands for: where many begin between two polls, some are drawn.
    pub weight: f64,
    /// The statement after which it was idle the longest, by polls.
    pub statement: String,
    /// `application_name`.
    pub application_name: String,
    /// True if it was aborted when it was last seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
    /// True if it was not over when the monitor stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_open: bool,
    /// Requests when it began, by route; routes without any are left out.
    pub present: BTreeMap<String, Presence>,
    /// Requests that were in flight when it began and when it ended, by route; routes without any are left out. `None` of records
    /// without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spanning: Option<BTreeMap<String, Spanning>>,
    /// The process whose session it is, where it runs on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<SessionProcess>,
}

/// A process that has a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionProcess {
    pub pid: u32,
    /// The program, and its script where it has one.
    pub name: String,
    /// True if it listens at the target's address, or is a child or of the process group of one that does.
    pub serves_target: bool,
}

/// A session that was idle in transaction, from the statement after which it was to what it did next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeSample {
    pub pid: i32,
    /// When the episode began, seconds since the variant's load began; exact to a poll's duration.
    pub began_s: f64,
    /// When it ended, on the same clock: exact where the session was seen again, between two polls where it was gone.
    pub ended_s: f64,
    /// The last statement before it; `None` when it was not reported.
    pub statement: Option<String>,
    /// `application_name`.
    pub application_name: String,
    /// The role; `None` when it is not known.
    pub user: Option<String>,
    /// The client's address; `None` for a Unix socket.
    pub client: Option<String>,
    /// True if the transaction was aborted.
    pub aborted: bool,
    pub end: EpisodeEnd,
}

/// End of an idle-in-transaction episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpisodeEnd {
    /// The client ended the transaction, by `COMMIT` or `ROLLBACK`.
    Committed,
    /// The next statement of the same transaction began.
    NextStatement,
    /// The session was gone: killed, timed out, or its client vanished.
    SessionGone,
    /// It had not ended when the monitor stopped.
    StillOpen,
}

/// The server's own counters, since the load began, and what is beside the sessions of the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CountersSample {
    /// `pg_stat_database.idle_in_transaction_time`, in session seconds; `None` when the server does not count it (before
    /// PostgreSQL 14), or was restarted or reset meanwhile.
    pub idle_in_transaction_counted_s: Option<f64>,
    /// `sessions_abandoned`, `sessions_fatal` and `sessions_killed` together; `None` as before.
    pub sessions_lost: Option<i64>,
    /// Prepared transactions of the database, now; `None` when they could not be counted.
    pub prepared_transactions: Option<u32>,
    /// Age of the oldest of them in seconds; `None` without any, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared_oldest_s: Option<f64>,
    /// Sessions that are not the load's, now.
    pub others: OtherSessions,
}

/// Sessions of the server that are not the load's, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSessions {
    pub other_database: u32,
    /// Of replication (`walsender`).
    pub replication: u32,
    /// Of the same database, of an application or a user that does not count.
    #[serde(default)]
    pub same_database: u32,
    /// Those of the same database that are idle in transaction.
    pub idle_in_transaction: u32,
}

/// Blockers and waiters, walked to those that wait for nobody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockingSample {
    /// Sessions that block others and wait for no lock themselves; most blocked first.
    pub roots: Vec<BlockingRoot>,
    /// Sessions that wait for a lock.
    pub waiting: u32,
}

/// A session behind which others wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockingRoot {
    /// Its server process; 0 for a prepared transaction, which has none.
    pub pid: i32,
    /// Its state, as the server says it; `None` when it is gone or a prepared transaction.
    pub state: Option<String>,
    /// Its statement, or its last one; `None` as before.
    pub statement: Option<String>,
    /// Its `application_name`; `None` as before.
    pub application_name: Option<String>,
    /// Age of its transaction in seconds; `None` as before.
    pub age_s: Option<f64>,
    /// Sessions that wait behind it, over others or not.
    pub blocked: u32,
}

/// The pools of one replica, summed over its workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolSample {
    /// The replica, counted from 1.
    pub replica: u32,
    /// Connections out; `None` when the gauges did not answer, and so for the rest.
    pub checked_out: Option<u32>,
    pub pending: Option<u32>,
    /// Checkouts that have given up since the replica started; of an external service, since the load began.
    pub timeouts: Option<u64>,
    /// Workers whose event loop has not taken its turn for a second; `None` where no gauge tells.
    pub stalled_workers: Option<u32>,
    /// Errors raised since the replica started, by text.
    pub errors: BTreeMap<String, u64>,
    /// Session seconds idle in transaction since the replica started, as it counts them itself: the truth that the figures
    /// from outside are held against. `None` of all but the reference gateway, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_s: Option<f64>,
    /// Connections that the pool keeps, where an external service tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Connections beyond those, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<u32>,
    /// Waits for a connection since the pool began, where it publishes their histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitHistogram>,
}

/// One probe of one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthSample {
    /// The replica, counted from 1.
    pub replica: u32,
    /// True if the replica counts as up, this probe included.
    pub up: bool,
    /// Error of this health check; `None` when it was good.
    pub error: Option<String>,
}

/// The load at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// Users that have started and do not rest; of an open workload, those with a request in flight.
    pub users: u32,
    /// Requests finished since the load began.
    pub finished: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Requests in flight by route; routes with none are left out.
    pub in_flight: BTreeMap<String, u32>,
    /// The same by age, and those that have just ended; left out in records of earlier programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub present: BTreeMap<String, Presence>,
    /// Latencies of the requests that finished since the last sample that has them: once a second, and never when none
    /// finished.
    #[serde(flatten)]
    pub latency: Option<WindowLatency>,
}

/// Latencies of the requests that finished within a second or so, failed ones included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowLatency {
    pub latency_p50_ms: f64,
    /// Their 95th percentile.
    pub latency_p95_ms: f64,
    /// Their 99th percentile.
    pub latency_p99_ms: f64,
}

/// `PgBouncer`'s figures. A figure that its version does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PgBouncerSample {
    /// `SHOW POOLS` without the console's own; `None` when the console did not answer.
    pub pools: Option<Vec<PgBouncerPool>>,
    /// `SHOW STATS` without the console's own; `None` as above.
    pub stats: Option<Vec<PgBouncerStats>>,
    /// Errors that it reported to its clients since it started, by text, from its log; `None` when that cannot be read.
    pub errors: Option<BTreeMap<String, u64>>,
}

/// One pool: a database and a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PgBouncerPool {
    pub database: String,
    pub user: String,
    /// Clients that have a server connection, or want none.
    pub cl_active: Option<u32>,
    /// Clients that wait for one.
    pub cl_waiting: Option<u32>,
    /// Server connections that a client has.
    pub sv_active: Option<u32>,
    /// Server connections that are free.
    pub sv_idle: Option<u32>,
    /// Server connections that have been free for so long that they are tried before they are used.
    pub sv_used: Option<u32>,
    /// Wait of the client that has waited longest, in seconds.
    pub maxwait_s: Option<f64>,
}

/// Totals of a database since `PgBouncer` started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PgBouncerStats {
    pub database: String,
    /// Transactions that have ended.
    pub xact_count: Option<u64>,
    /// Queries that have ended.
    pub query_count: Option<u64>,
    /// Time in transactions that have ended, in seconds.
    pub xact_time_s: Option<f64>,
    /// Time in queries, in seconds; the difference to the above is idle in transaction.
    pub query_time_s: Option<f64>,
    /// Time that clients waited for a server connection which they then had, in seconds.
    pub wait_time_s: Option<f64>,
}

/// Something that happened at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The health probe calls a replica down.
    ReplicaDown {
        /// Counted from 1.
        replica: u32,
    },
    /// The health probe calls it up again.
    ReplicaUp {
        /// Counted from 1.
        replica: u32,
    },
    /// A poll of the database failed: there is a gap in the samples.
    PollFailed { error: String },
    /// The monitor's connection was lost: nothing is seen until it is back.
    ConnectionLost { error: String },
    Reconnected {
        /// Duration of the gap, in milliseconds.
        after_ms: u64,
    },
    /// The server was started again since the last connection: its counters are no continuation.
    ServerRestarted,
    /// A clock was set: ages that span it were corrected by as much.
    ClockJumped {
        /// `server`, or `local` where both live on this machine.
        clock: String,
        /// By how much, in milliseconds; negative: back.
        by_ms: i64,
    },
    /// Polls became rarer, or as frequent again as they should be.
    BackedOff {
        /// `pulse` or `rows`.
        tier: String,
        /// The time between two polls from now on, in milliseconds.
        interval_ms: u64,
        /// Usual interval, in milliseconds.
        usual_ms: u64,
        /// `cost`: a poll took too much of its interval; `sessions`: there are too many; `exact`: the totals are as exact
        /// as they should be with fewer.
        because: String,
    },
}
