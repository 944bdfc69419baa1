//! The looks that were taken so far, on the clock of the load.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::monitor::closeup::{CloseSession, Closeup};
use crate::monitor::sessions::SessionState;
use crate::scan::report::Statements;
use crate::scan::seen::{Doing, Look, Sight};

/// All looks, shared between who takes them and who decides by them.
#[derive(Clone)]
pub(super) struct Looks {
    epoch: Instant,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    looks: Vec<Look>,
    statements: Statements,
}

impl Looks {
    /// None yet; times count from `epoch`.
    pub(super) fn since(epoch: Instant) -> Self {
        Self { epoch, taken: Arc::default() }
    }

    /// Who keeps what is handed to it.
    pub(super) fn taker(&self) -> Arc<dyn Fn(Closeup) + Send + Sync> {
        let looks = self.clone();
        Arc::new(move |closeup| looks.keep(&closeup))
    }

    /// Seconds since the load began; negative before.
    pub(super) fn at_s(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.epoch) {
            Some(since) => since.as_secs_f64(),
            None => -self.epoch.duration_since(at).as_secs_f64(),
        }
    }

    /// What `of` makes of the latest look; `None` when there is none since `at_s`.
    pub(super) fn latest_since<T>(&self, at_s: f64, of: impl Fn(&Look) -> T) -> Option<T> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.looks.last().filter(|look| look.at_s >= at_s).map(of)
    }

    /// Those that were taken so far, in order of time.
    pub(super) fn so_far(&self) -> Vec<Look> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).looks.clone()
    }

    /// All of them, in order of time.
    pub(super) fn take(&self) -> Vec<Look> {
        std::mem::take(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner).looks)
    }

    fn keep(&self, closeup: &Closeup) {
        let at_s = self.at_s(closeup.at);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let sights = closeup.sessions.iter().filter_map(|it| sight(it, at_s, &mut taken.statements)).collect();
        taken.looks.push(Look { at_s, sights });
    }
}

fn sight(session: &CloseSession, at_s: f64, statements: &mut Statements) -> Option<Sight> {
    let doing = match session.state {
        SessionState::IdleInTransaction | SessionState::Aborted => Doing::Idle,
        SessionState::Active if session.waits_for_lock => Doing::WaitsForLock,
        SessionState::Active => Doing::Active,
        SessionState::Idle | SessionState::Other => return None,
    };
    Some(Sight {
        pid: session.pid,
        began_s: at_s - session.transaction_s,
        since_s: at_s - session.state_s,
        doing,
        statement: session.statement.as_deref().map(|text| statements.once(text)),
    })
}
