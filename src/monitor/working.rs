//! Which sessions of the filter worked while they were watched. Where none did, what was counted was not the service.

use std::collections::HashSet;

use super::activity::{ActivityPoll, SessionRow};
use super::clock::ServerTime;

/// The sessions that ran a query or began a transaction since the first poll.
#[derive(Debug, Default)]
pub(super) struct Working {
    /// When the first poll was asked for; `None` before it.
    since: Option<ServerTime>,
    pids: HashSet<i32>,
}

impl Working {
    /// Takes a poll.
    pub(super) fn take(&mut self, poll: &ActivityPoll) {
        let since = *self.since.get_or_insert(poll.began);
        let worked = |row: &&SessionRow| row.query_start.max(row.xact_start).is_some_and(|at| at >= since);
        self.pids.extend(poll.rows.iter().filter(worked).map(|row| row.pid));
    }

    /// Number of sessions; `None` without a poll.
    pub(super) fn sessions(&self) -> Option<u64> {
        self.since.map(|_| self.pids.len() as u64)
    }
}
