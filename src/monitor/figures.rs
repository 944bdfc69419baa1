//! Figures of one poll of all sessions.

use super::activity::{ActivityPoll, SessionRow, SessionState};
use super::clock::{Clocks, ServerTime};
use super::count_of;
use crate::record::{ActivitySample, PulseSample};

/// The figures of a poll; what a pulse would have reported is among them.
pub(super) fn figures(clocks: &Clocks, seen: &ActivityPoll) -> (ActivitySample, PulseSample) {
    let count = |of: fn(&SessionRow) -> bool| count_of(seen.rows.iter().filter(|row| of(row)).count());
    let oldest = |since: fn(&SessionRow) -> Option<ServerTime>| {
        let ages = seen.rows.iter().filter_map(since).map(|since| clocks.age_s(seen.now, since));
        ages.max_by(f64::total_cmp)
    };
    let poll_ms = (seen.answered - seen.asked).as_secs_f64() * 1e3;
    let idle_in_transaction = count(|row| row.state == SessionState::IdleInTransaction);
    let reading_s = clocks.age_s(seen.now, seen.began);
    let just_idle = |row: &&SessionRow| {
        row.state.is_idle_in_transaction() && seen.state_s(row).is_some_and(|idle_s| idle_s <= 2.0 * reading_s)
    };
    let activity = ActivitySample {
        sessions: seen.sessions,
        active: count(|row| row.state == SessionState::Active),
        idle: seen.idle,
        idle_in_transaction,
        idle_in_transaction_aborted: count(|row| row.state == SessionState::IdleInTransactionAborted),
        waiting_for_lock: count(SessionRow::waits_for_lock),
        waiting_for_client: Some(count(SessionRow::waits_for_client)),
        just_idle: Some(count_of(seen.rows.iter().filter(just_idle).count())),
        oldest_transaction_s: oldest(SessionRow::transaction_since),
        poll_ms,
    };
    let pulse = PulseSample {
        in_transaction: count(|row| row.xact_start.is_some()),
        idle_in_transaction,
        oldest_transaction_s: oldest(|row| row.xact_start),
        poll_ms,
    };
    (activity, pulse)
}
