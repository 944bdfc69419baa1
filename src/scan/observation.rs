//! Observation of a scan: turns of requests, and polls of the sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::scan::TurnKind;

/// Failed requests of each route, by its number, and by their text.
pub type Failures = BTreeMap<usize, BTreeMap<String, u64>>;

/// One session that is in a transaction, or runs a statement. Times are seconds since the load began.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionObservation {
    pub pid: i32,
    /// Identifies its transaction among those of its process; the same in every poll.
    pub transaction: i64,
    /// When its transaction began; of an aborted one, which hides that, when it was aborted.
    pub began_s: f64,
    pub since_s: f64,
    pub activity: SessionActivity,
    /// The last statement of an idle one.
    pub statement: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionActivity {
    /// It is idle in its transaction, aborted or not.
    Idle,
    /// It runs a statement.
    Active,
    /// Its statement waits for a lock.
    WaitsForLock,
    /// Its statement waits for the client to read or to send: it holds its session as an idle one does.
    WaitsForClient,
}

impl Turn {
    /// True if a request had no answer in time.
    pub fn is_unanswered(&self) -> bool {
        self.batches.iter().any(|batch| batch.unanswered > 0)
    }
}

impl SessionActivity {
    /// True if it has a transaction and waits for its client.
    pub fn holds(self) -> bool {
        matches!(self, Self::Idle | Self::WaitsForClient)
    }
}

/// All such sessions at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionPoll {
    pub at_s: f64,
    /// Client sessions of the service, idle ones included.
    pub open: u32,
    pub sessions: Vec<SessionObservation>,
}

/// A few requests that were sent together, and awaited together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Batch {
    /// Before the first was sent.
    pub from_s: f64,
    pub to_s: f64,
    pub requests: u32,
    pub failures: u32,
    /// Those of them without an answer in time.
    pub unanswered: u32,
    /// Requests whose clients left on purpose before the answer had come; they do not count as failures.
    pub hung_up: u32,
    /// Their response times, added up.
    pub response_s: f64,
}

/// A time in which one route alone was asked for, and the rest after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Its number among the routes; `None` when nothing was asked for.
    pub route: Option<usize>,
    /// From 0, the first requests.
    pub round: u32,
    pub kind: TurnKind,
    pub from_s: f64,
    pub to_s: f64,
    /// The end of the rest.
    pub cooldown_end_s: f64,
    /// The requests, in order of time; of a quiet turn one without any, for its whole time.
    pub batches: Vec<Batch>,
    /// Session seconds that the server counted more at its end than at its beginning; `None` when it does not count.
    pub counted_s: Option<f64>,
    /// Seconds in which threads of the target and of its sessions' backends waited for a core, all together; `None` where the
    /// target runs elsewhere.
    pub cpu_wait_s: Option<f64>,
}

/// Requests of the mix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConcurrentPhase {
    pub from_s: f64,
    pub to_s: f64,
    /// Each request: its route's number, when it was sent and when it was answered.
    pub requests: Vec<(usize, f64, f64)>,
    /// As a turn's.
    pub cpu_wait_s: Option<f64>,
}

/// After these requests of one route, the service answered nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceBreak {
    /// Its number among the routes.
    pub route: usize,
    /// Requests of it that had been answered since the service was started, as far as that is known.
    pub answered: u32,
    /// True if the pool's connections were lost outside a transaction: as many sessions were open as requests of it had been answered, and
    /// as the pool has, and not one was in a transaction or at work, while others' requests waited.
    pub has_taken_the_pool: bool,
    pub recovery: Recovery,
}

/// Continuation of a scan after the service had stopped answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It was started anew.
    Restarted,
    /// After a while it answered again.
    Waited,
    /// It did not answer again: routes are judged by what was seen before.
    None,
}
