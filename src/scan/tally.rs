//! Tally of the sessions for each batch of requests: session seconds, by the transactions that began in it.
//!
//! A transaction belongs to the batch in which it began, and is followed until the rest of the turn is over. So what was
//! open before is nobody's here: another session's, or what another route left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::THRESHOLDS;
use super::observation::{Batch, SessionActivity, SessionObservation, SessionPoll, Turn};
use crate::record::scan::TurnKind;

/// A transaction cannot begin before its request, but a query's travel may make it seem so: by less than this.
const TRAVEL_S: f64 = 0.001;

/// Time after the last answer from which a new transaction belongs to others.
pub const AFTERMATH_S: f64 = 0.1;

/// Time after a client has left from which on an open transaction counts as left behind: until then the service may still be at work for it.
pub const LEFT_ALONE_S: f64 = 5.0;

/// Two polls further apart have a gap between them, in which nothing is known.
pub const GAP_S: f64 = 0.5;

/// Session seconds of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchTally {
    pub batch: Batch,
    /// Time in which transactions could begin in it.
    pub lasted_s: f64,
    pub idle_s: f64,
    /// Of it, beyond pauses between two statements.
    pub beyond_s: f64,
    pub active_s: f64,
    /// Waiting for a lock.
    pub lock_s: f64,
    /// Of the idle seconds, in a statement that waits for the client.
    pub client_s: f64,
    /// The longest that one was idle at a time.
    pub longest_s: f64,
    /// Idle seconds by last statement.
    pub statements: BTreeMap<Arc<str>, f64>,
}

/// Tally of a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnTally {
    pub batches: Vec<BatchTally>,
    /// Sessions whose transaction began in it, and that were idle in it at the last poll of the rest; `None` without polls, when a
    /// request had no answer in time, or when clients hung up and the service may still be at work for them.
    pub left_behind: Option<u64>,
    /// True if there is a gap between polls: then it says nothing.
    pub has_gap: bool,
}

impl TurnTally {
    /// Session seconds idle in transaction.
    #[must_use]
    pub fn idle_s(&self) -> f64 {
        self.batches.iter().map(|batch| batch.idle_s).sum()
    }
}

/// Adds up what was seen of each turn. Polls and turns are ascending in time.
#[must_use]
pub fn tally(polls: &[SessionPoll], turns: &[Turn]) -> Vec<TurnTally> {
    turns.iter().map(|turn| one(polls, turn)).collect()
}

fn one(polls: &[SessionPoll], turn: &Turn) -> TurnTally {
    let first = polls.partition_point(|poll| poll.at_s < turn.from_s);
    let end = polls.partition_point(|poll| poll.at_s <= turn.cooldown_end_s);
    let mut batches: Vec<BatchTally> = (0..turn.batches.len()).map(|index| empty(turn, index)).collect();
    let mut has_gap = first >= end;
    for index in first..end {
        // The time that a poll stands for: half of that to its neighbours.
        let before_s = index.checked_sub(1).map_or(turn.from_s, |it| polls[it].at_s).max(turn.from_s);
        let after_s = polls.get(index + 1).map_or(turn.cooldown_end_s, |it| it.at_s).min(turn.cooldown_end_s);
        let poll = &polls[index];
        has_gap |= poll.at_s - before_s > GAP_S || after_s - poll.at_s > GAP_S;
        // At the ends the whole of it, since there is no other poll.
        let half = |gap_s: f64, whole: bool| if whole { gap_s } else { gap_s / 2.0 };
        let weight_s = half(poll.at_s - before_s, index == first) + half(after_s - poll.at_s, index + 1 == end);
        for session in &poll.sessions {
            if let Some(batch) = batch_of(turn, session.began_s) {
                batches[batch].add(session, poll.at_s, weight_s);
            }
        }
    }
    let last = polls[first..end].last().filter(|_| !has_gap && !turn.is_unanswered());
    // The service may still be at work for a client that has left.
    let is_known = |poll: &&SessionPoll| {
        turn.kind != TurnKind::HangUp || turn.cooldown_end_s - turn.to_s >= LEFT_ALONE_S || !is_at_work(poll, turn)
    };
    TurnTally { left_behind: last.filter(is_known).map(|poll| left_behind(poll, turn)), batches, has_gap }
}

/// True if a session is in a transaction which began in the turn, whatever it does.
#[must_use]
pub fn is_at_work(poll: &SessionPoll, turn: &Turn) -> bool {
    poll.sessions.iter().any(|it| batch_of(turn, it.began_s).is_some())
}

fn empty(turn: &Turn, index: usize) -> BatchTally {
    let batch = turn.batches[index];
    let until_s = turn.batches.get(index + 1).map_or(turn.to_s + AFTERMATH_S, |next| next.from_s);
    BatchTally { batch, lasted_s: until_s - batch.from_s, ..BatchTally::default() }
}

/// The batch in which a transaction began.
fn batch_of(turn: &Turn, began_s: f64) -> Option<usize> {
    if began_s > turn.to_s + AFTERMATH_S {
        return None;
    }
    turn.batches.partition_point(|batch| batch.from_s - TRAVEL_S <= began_s).checked_sub(1)
}

/// Sessions that are idle in a transaction which began in the turn.
#[must_use]
pub fn left_behind(poll: &SessionPoll, turn: &Turn) -> u64 {
    let left = poll.sessions.iter().filter(|it| it.activity.holds() && batch_of(turn, it.began_s).is_some());
    left.map(|it| it.pid).collect::<BTreeSet<_>>().len() as u64
}

impl BatchTally {
    fn add(&mut self, session: &SessionObservation, at_s: f64, weight_s: f64) {
        match session.activity {
            SessionActivity::Active => self.active_s += weight_s,
            SessionActivity::WaitsForLock => self.lock_s += weight_s,
            SessionActivity::Idle | SessionActivity::WaitsForClient => {
                if session.activity == SessionActivity::WaitsForClient {
                    self.client_s += weight_s;
                }
                let idle_for_s = (at_s - session.since_s).max(0.0);
                self.idle_s += weight_s;
                self.beyond_s += if idle_for_s > THRESHOLDS.pause_s { weight_s } else { 0.0 };
                self.longest_s = self.longest_s.max(idle_for_s);
                if let Some(statement) = &session.statement {
                    *self.statements.entry(Arc::clone(statement)).or_default() += weight_s;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(batches: &[(f64, f64)], rested_s: f64) -> Turn {
        let batch =
            |(from_s, to_s): &(f64, f64)| Batch { from_s: *from_s, to_s: *to_s, requests: 1, ..Batch::default() };
        let to_s = batches.last().expect("a batch").1;
        Turn {
            route: Some(0),
            round: 1,
            kind: TurnKind::Isolated,
            from_s: batches[0].0,
            to_s,
            cooldown_end_s: rested_s,
            batches: batches.iter().map(batch).collect(),
            counted_s: None,
            cpu_wait_s: None,
        }
    }

    /// Polls every 10 ms; spans are (pid, transaction began, idle from, idle to).
    fn polls(to_s: f64, spans: &[(i32, f64, f64, f64)]) -> Vec<SessionPoll> {
        let at = |tick: u32| 0.003 + f64::from(tick) * 0.01;
        let sessions = |at_s: f64| {
            let open = spans.iter().filter(|span| (span.2..span.3).contains(&at_s));
            open.map(|span| SessionObservation {
                pid: span.0,
                transaction: span.1.to_bits().cast_signed(),
                began_s: span.1,
                since_s: span.2,
                activity: SessionActivity::Idle,
                statement: Some("SELECT 1".into()),
            })
            .collect()
        };
        std::iter::successors(Some(0), |n| Some(n + 1))
            .map(at)
            .take_while(|at_s| *at_s < to_s)
            .map(|at_s| SessionPoll { at_s, sessions: sessions(at_s), ..SessionPoll::default() })
            .collect()
    }

    #[test]
    fn idle_time_belongs_to_the_wave_in_which_its_transaction_began() {
        let turn = turn(&[(1.0, 1.2), (1.25, 1.4)], 2.0);
        let polls = polls(3.0, &[(1, 1.01, 1.02, 1.12), (2, 1.05, 1.1, 1.35), (3, 1.3, 1.31, 1.33)]);
        let tally = &tally(&polls, &[turn])[0];
        assert!((tally.batches[0].idle_s - 0.35).abs() < 0.015, "{tally:?}");
        assert!((tally.batches[1].idle_s - 0.02).abs() < 0.011, "{tally:?}");
        assert!((tally.batches[0].beyond_s - 0.33).abs() < 0.015, "{tally:?}");
        assert!((tally.batches[0].longest_s - 0.25).abs() < 0.011 && tally.left_behind == Some(0));
        assert!((tally.batches[0].statements["SELECT 1"] - tally.batches[0].idle_s).abs() < 1e-9);
    }

    #[test]
    fn what_was_open_before_and_what_begins_after_is_nobodys() {
        let turn = turn(&[(1.0, 1.2)], 2.0);
        let polls = polls(3.0, &[(1, 0.5, 0.6, 9.0), (2, 1.5, 1.5, 1.9)]);
        let tally = &tally(&polls, &[turn])[0];
        assert_eq!((tally.idle_s(), tally.left_behind, tally.has_gap), (0.0, Some(0), false));
    }

    #[test]
    fn a_session_idle_after_the_rest_is_left_behind_if_no_request_runs() {
        let polls = polls(3.0, &[(1, 1.01, 1.02, 9.0), (2, 1.01, 1.02, 1.6)]);
        let mut turn = turn(&[(1.0, 1.2)], 2.0);
        assert_eq!(tally(&polls, std::slice::from_ref(&turn))[0].left_behind, Some(1));
        turn.batches[0].unanswered = 1;
        assert_eq!(tally(&polls, std::slice::from_ref(&turn))[0].left_behind, None, "it may still be at work");
        let soon = Turn { kind: TurnKind::HangUp, batches: vec![Batch { unanswered: 0, ..turn.batches[0] }], ..turn };
        assert_eq!(tally(&polls, std::slice::from_ref(&soon))[0].left_behind, None, "and so it may after a hang-up");
        let polls = self::polls(8.0, &[(1, 1.01, 1.02, 9.0), (2, 1.01, 1.02, 1.6)]);
        let much_later = Turn { cooldown_end_s: 1.2 + LEFT_ALONE_S, ..soon };
        assert_eq!(tally(&polls, &[much_later])[0].left_behind, Some(1));
    }

    #[test]
    fn a_window_that_nobody_looked_at_says_nothing() {
        let mut polls = polls(3.0, &[(1, 1.01, 1.02, 9.0)]);
        polls.retain(|poll| !(1.1..1.8).contains(&poll.at_s));
        let turn = turn(&[(1.0, 1.2)], 2.0);
        let seen = &tally(&polls, std::slice::from_ref(&turn))[0];
        assert!(seen.has_gap && seen.left_behind.is_none());
        assert!(tally(&[], &[turn])[0].has_gap);
    }
}
