//! The polls that were taken so far, on the clock of the load.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::monitor::activity::{ActivityPoll, SessionRow, SessionState};
use crate::scan::observation::{SessionActivity, SessionObservation, SessionPoll};
use crate::scan::report::StatementTexts;

/// All polls, shared between who takes them and who decides by them.
#[derive(Clone)]
pub(super) struct PollLog {
    epoch: Instant,
    taken: Arc<Mutex<Taken>>,
}

/// Number and beginning of a transaction, by process.
type BeganByProcess = HashMap<i32, (i64, f64)>;

#[derive(Default)]
struct Taken {
    polls: Vec<SessionPoll>,
    statements: StatementTexts,
    /// The transactions of the last poll and when they began, by process: an aborted one hides that, and a statement that fails in it
    /// makes it look younger.
    began: BeganByProcess,
    /// Since when sessions have waited for their clients in the statement that they run, by process: the server tells when that began.
    waits_since_s: HashMap<i32, f64>,
}

impl PollLog {
    /// None yet; times count from `epoch`.
    pub(super) fn since(epoch: Instant) -> Self {
        Self { epoch, taken: Arc::default() }
    }

    /// Receiver of polls.
    pub(super) fn taker(&self) -> Arc<dyn Fn(ActivityPoll) + Send + Sync> {
        let polls = self.clone();
        Arc::new(move |seen| polls.keep(&seen))
    }

    /// Seconds since the load began; negative before.
    pub(super) fn at_s(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.epoch) {
            Some(since) => since.as_secs_f64(),
            None => -self.epoch.duration_since(at).as_secs_f64(),
        }
    }

    /// Value that `of` takes from the latest poll; `None` when there is none since `at_s`.
    pub(super) fn latest_since<T>(&self, at_s: f64, of: impl Fn(&SessionPoll) -> T) -> Option<T> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.polls.last().filter(|poll| poll.at_s >= at_s).map(of)
    }

    /// The backends that were at work or in a transaction since then.
    pub(super) fn backends_since(&self, at_s: f64) -> BTreeSet<i32> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let since = taken.polls.iter().rev().take_while(|poll| poll.at_s >= at_s);
        since.flat_map(|poll| &poll.sessions).map(|it| it.pid).collect()
    }

    /// Those that were taken so far, in order of time.
    pub(super) fn so_far(&self) -> Vec<SessionPoll> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).polls.clone()
    }

    /// All of them, in order of time.
    pub(super) fn take(&self) -> Vec<SessionPoll> {
        std::mem::take(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner).polls)
    }

    fn keep(&self, seen: &ActivityPoll) {
        let at_s = self.at_s(seen.at());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut taken.began);
        let waited = std::mem::take(&mut taken.waits_since_s);
        let statements = &mut taken.statements;
        let one = |row| session(seen, row, at_s, (&before, &waited), statements);
        let sessions: Vec<SessionObservation> = seen.rows.iter().filter_map(one).collect();
        taken.began = sessions.iter().map(|it| (it.pid, (it.transaction, it.began_s))).collect();
        let waiting = sessions.iter().filter(|it| it.activity == SessionActivity::WaitsForClient);
        taken.waits_since_s = waiting.map(|it| (it.pid, it.since_s)).collect();
        taken.polls.push(SessionPoll { at_s, open: seen.sessions, sessions });
    }
}

fn session(
    seen: &ActivityPoll,
    row: &SessionRow,
    at_s: f64,
    (before, waited): (&BeganByProcess, &HashMap<i32, f64>),
    statements: &mut StatementTexts,
) -> Option<SessionObservation> {
    let activity = match row.state {
        SessionState::IdleInTransaction | SessionState::IdleInTransactionAborted => SessionActivity::Idle,
        SessionState::Active if row.waits_for_lock() => SessionActivity::WaitsForLock,
        SessionState::Active if row.waits_for_client() => SessionActivity::WaitsForClient,
        SessionState::Active => SessionActivity::Active,
        SessionState::Idle | SessionState::Other => return None,
    };
    let state_s = seen.state_s(row)?;
    let since_s = match activity {
        SessionActivity::WaitsForClient => waited.get(&row.pid).copied().unwrap_or(at_s),
        _ => at_s - state_s,
    };
    let own_s = at_s - seen.transaction_s(row).unwrap_or(state_s);
    let is_aborted = row.state == SessionState::IdleInTransactionAborted || !row.has_transaction();
    let own = (row.transaction_number()?, own_s);
    let (transaction, began_s) = if is_aborted { before.get(&row.pid).copied().unwrap_or(own) } else { own };
    let held = row.statement.as_deref().filter(|_| activity.holds());
    Some(SessionObservation {
        pid: row.pid,
        transaction,
        began_s,
        since_s,
        activity,
        statement: held.map(|text| statements.once(text)),
    })
}
