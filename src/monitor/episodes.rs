//! Idle-in-transaction episodes: a session from the statement after which it waits in a transaction to what it does next.
//!
//! Pure. An episode begins at `state_change`. When a later poll finds the session elsewhere, its `query_start` is the
//! end, which makes both exact for episodes longer than two intervals, however rarely one polls. Shorter ones are missed
//! or cut, so that totals come from plain counting and not from here.

use std::collections::HashMap;
use std::sync::Arc;

use super::activity::{SessionRow, SessionState};
use super::clock::ServerTime;
use crate::record::{EpisodeEnd, EpisodeSample};
use crate::redact::without_literals;

/// A server process: its pid alone may come again.
type EpisodeKey = (i32, ServerTime);

/// An episode that goes on.
#[derive(Clone, Debug)]
pub(super) struct Open {
    state_change: ServerTime,
    xact_start: Option<ServerTime>,
    /// All times are seconds on the record's clock.
    began_s: f64,
    /// Its transaction's beginning.
    pub(super) transaction_began_s: f64,
    last_seen_s: f64,
    /// `None` when it was not reported.
    pub(super) statement: Option<Arc<str>>,
    pub(super) application_name: Arc<str>,
    user: u32,
    client: Option<String>,
    aborted: bool,
    /// Group that its time is added to; set by the caller.
    pub(super) group: Option<u32>,
}

/// All episodes that go on.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    open: HashMap<EpisodeKey, Open>,
}

/// An episode that has ended; the user by its oid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EndedEpisode {
    pub(super) sample: EpisodeSample,
    pub(super) user: u32,
}

impl EndedEpisode {
    pub(super) fn length_s(&self) -> f64 {
        self.sample.ended_s - self.sample.began_s
    }
}

impl Tracker {
    /// Takes a poll at `now_s`: all sessions that do something, and those that went idle since the last poll. `at_s`
    /// gives the time of the record for one of the server.
    pub(super) fn poll(
        &mut self,
        now_s: f64,
        rows: &[SessionRow],
        at_s: impl Fn(ServerTime) -> f64,
    ) -> Vec<EndedEpisode> {
        let mut before = std::mem::take(&mut self.open);
        let mut ended = Vec::new();
        for row in rows {
            let key = (row.pid, row.backend_start);
            let known = before.remove(&key);
            let idle_since = row.state_change.filter(|_| row.state.is_idle_in_transaction());
            match (known, idle_since) {
                (Some(mut open), Some(since)) if open.state_change == since => {
                    open.last_seen_s = now_s;
                    if open.statement.is_none() {
                        open.statement = recorded(row);
                    }
                    self.open.insert(key, open);
                }
                (known, since) => {
                    ended.extend(known.map(|open| open.ended_by(row, now_s, &at_s).recorded(key.0)));
                    if let Some(since) = since {
                        self.open.insert(key, Open::new(row, since, now_s, &at_s));
                    }
                }
            }
        }
        // A session that is not reported is gone: to be idle now, a session would have had to change.
        ended.extend(before.into_iter().map(|(key, open)| open.gone(now_s).recorded(key.0)));
        ended
    }

    /// Ends all: nothing more will be seen of them.
    pub(super) fn end_all(&mut self, end: EpisodeEnd) -> Vec<EndedEpisode> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|((pid, _), open)| Closed { ended_s: open.last_seen_s, open, end }.recorded(pid)).collect()
    }

    /// Those that go on.
    pub(super) fn open(&mut self) -> impl Iterator<Item = &mut Open> {
        self.open.values_mut()
    }

    /// True if a statement was not reported: then all must be reported once more.
    pub(super) fn lacks_statements(&self) -> bool {
        self.open.values().any(|open| open.statement.is_none())
    }
}

/// The statement as it may be reported: it is kept in records.
fn recorded(row: &SessionRow) -> Option<Arc<str>> {
    row.statement.as_deref().map(|statement| without_literals(statement).into())
}

struct Closed {
    open: Open,
    ended_s: f64,
    end: EpisodeEnd,
}

impl Open {
    fn new(row: &SessionRow, since: ServerTime, now_s: f64, at_s: impl Fn(ServerTime) -> f64) -> Self {
        let began_s = at_s(since).min(now_s);
        Self {
            state_change: since,
            xact_start: row.xact_start,
            began_s,
            transaction_began_s: row.xact_start.map_or(began_s, |it| at_s(it).min(began_s)),
            last_seen_s: now_s,
            statement: recorded(row),
            application_name: Arc::from(row.application_name.as_str()),
            user: row.user,
            client: row.client.clone(),
            aborted: row.state == SessionState::IdleInTransactionAborted,
            group: None,
        }
    }

    /// The session was seen elsewhere: whatever runs or ran last there has ended the episode.
    fn ended_by(self, row: &SessionRow, now_s: f64, at_s: impl Fn(ServerTime) -> f64) -> Closed {
        let after = |time: &ServerTime| *time >= self.state_change;
        let moved = row.query_start.filter(after).or(row.state_change.filter(after));
        let same = row.xact_start.is_some() && row.xact_start == self.xact_start;
        let end = if same { EpisodeEnd::NextStatement } else { EpisodeEnd::Committed };
        // Not before it was last seen, nor after now, whatever the clocks say.
        let ended_s = moved.map_or(now_s, at_s).clamp(self.last_seen_s.min(now_s), now_s);
        Closed { open: self, ended_s, end }
    }

    /// Between two polls, nobody knows when.
    fn gone(self, now_s: f64) -> Closed {
        let ended_s = f64::midpoint(self.last_seen_s, now_s.max(self.last_seen_s));
        Closed { open: self, ended_s, end: EpisodeEnd::SessionGone }
    }
}

impl Closed {
    fn recorded(self, pid: i32) -> EndedEpisode {
        let Self { open, ended_s, end } = self;
        let sample = EpisodeSample {
            pid,
            began_s: open.began_s,
            ended_s: ended_s.max(open.began_s),
            statement: open.statement.as_deref().map(str::to_owned),
            application_name: open.application_name.to_string(),
            user: None,
            client: open.client,
            aborted: open.aborted,
            end,
        };
        EndedEpisode { sample, user: open.user }
    }
}

/// Which ended episodes get a line: the longest of each second.
#[derive(Debug)]
pub(super) struct Longest {
    shortest_s: f64,
    waiting: Vec<EndedEpisode>,
    /// Episodes that ended, and those of them that got a line.
    pub(super) ended: u64,
    pub(super) recorded: u64,
}

/// Lines in a second.
const LINES_MAX: usize = 20;

/// Shorter episodes are not worth a line.
const SHORTEST_S: f64 = 0.2;

impl Longest {
    /// For polls every `interval_s`: what is shorter than two of them is not exact.
    pub(super) fn new(interval_s: f64) -> Self {
        Self { shortest_s: SHORTEST_S.max(2.0 * interval_s), waiting: Vec::new(), ended: 0, recorded: 0 }
    }

    pub(super) fn add(&mut self, ended: Vec<EndedEpisode>) {
        self.ended += ended.len() as u64;
        self.waiting.extend(ended.into_iter().filter(|it| it.length_s() >= self.shortest_s));
    }

    /// Once a second: those that get a line, in the order in which they ended.
    pub(super) fn take(&mut self) -> Vec<EndedEpisode> {
        let mut taken = std::mem::take(&mut self.waiting);
        taken.sort_by(|a, b| b.length_s().total_cmp(&a.length_s()));
        taken.truncate(LINES_MAX);
        taken.sort_by(|a, b| a.sample.ended_s.total_cmp(&b.sample.ended_s));
        self.recorded += taken.len() as u64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const APP: &str = "app";

    /// A server's time is microseconds since the record's clock began.
    fn at_s(time: ServerTime) -> f64 {
        time.0 as f64 / 1e6
    }

    #[expect(clippy::cast_possible_truncation, reason = "small")]
    fn server(at_s: f64) -> ServerTime {
        ServerTime((at_s * 1e6).round() as i64)
    }

    fn row(pid: i32, state: SessionState, changed_s: f64, queried_s: f64, xact_s: Option<f64>) -> SessionRow {
        SessionRow {
            pid,
            application_name: APP.to_owned(),
            state,
            state_change: Some(server(changed_s)),
            query_start: Some(server(queried_s)),
            xact_start: xact_s.map(server),
            statement: Some("SELECT 1".to_owned()),
            ..SessionRow::default()
        }
    }

    fn span(ended: &[EndedEpisode]) -> Vec<(f64, f64, EpisodeEnd)> {
        ended.iter().map(|it| (it.sample.began_s, it.sample.ended_s, it.sample.end)).collect()
    }

    #[test]
    fn an_episode_lasts_from_state_change_to_the_start_of_what_came_next() {
        let mut tracker = Tracker::default();
        let held = row(1, SessionState::IdleInTransaction, 1.02, 1.01, Some(1.0));
        assert_eq!(tracker.poll(1.1, std::slice::from_ref(&held), at_s), []);
        assert_eq!(tracker.poll(1.2, &[held], at_s), []);
        // COMMIT began at 1.25; the session is idle since 1.251.
        let ended = tracker.poll(1.3, &[row(1, SessionState::Idle, 1.251, 1.25, None)], at_s);
        assert_eq!(span(&ended), [(1.02, 1.25, EpisodeEnd::Committed)]);
        assert_eq!((ended[0].sample.statement.as_deref(), &*ended[0].sample.application_name), (Some("SELECT 1"), APP));
        assert_eq!(tracker.open().count(), 0);
    }

    #[test]
    fn the_next_statement_of_a_transaction_ends_its_episode() {
        let mut tracker = Tracker::default();
        tracker.poll(1.1, &[row(1, SessionState::IdleInTransaction, 1.02, 1.01, Some(1.0))], at_s);
        let ended = tracker.poll(1.2, &[row(1, SessionState::IdleInTransaction, 1.17, 1.15, Some(1.0))], at_s);
        assert_eq!(span(&ended), [(1.02, 1.15, EpisodeEnd::NextStatement)]);
        let ended = tracker.poll(1.3, &[row(1, SessionState::Active, 1.22, 1.22, Some(1.0))], at_s);
        assert_eq!(span(&ended), [(1.17, 1.22, EpisodeEnd::NextStatement)]);
        let open = tracker.poll(1.4, &[row(1, SessionState::IdleInTransaction, 1.35, 1.34, Some(1.33))], at_s);
        assert_eq!(open, []);
        assert_eq!(span(&tracker.end_all(EpisodeEnd::StillOpen)), [(1.35, 1.4, EpisodeEnd::StillOpen)]);
    }

    #[test]
    fn a_vanished_session_ended_between_polls_and_its_pid_may_return() {
        let mut tracker = Tracker::default();
        tracker.poll(1.1, &[row(1, SessionState::IdleInTransaction, 1.0, 1.0, Some(1.0))], at_s);
        let again = SessionRow {
            backend_start: ServerTime(9),
            ..row(1, SessionState::IdleInTransaction, 1.18, 1.18, Some(1.18))
        };
        let ended = tracker.poll(1.2, &[again], at_s);
        let [(began, ended, end)] = span(&ended)[..] else { panic!("{ended:?}") };
        assert!((began - 1.0).abs() < 1e-9 && (ended - 1.15).abs() < 1e-9, "{began} {ended}");
        assert_eq!(end, EpisodeEnd::SessionGone);
        assert_eq!(tracker.open().count(), 1);
    }

    #[test]
    fn an_aborted_transaction_has_no_beginning_and_is_as_old_as_its_state() {
        let mut tracker = Tracker::default();
        tracker.poll(5.0, &[row(1, SessionState::IdleInTransactionAborted, 2.0, 1.9, None)], at_s);
        assert!(tracker.open().all(|open| (open.transaction_began_s - 2.0).abs() < 1e-9));
        let ended = tracker.poll(5.1, &[row(1, SessionState::Idle, 5.06, 5.05, None)], at_s);
        assert!(ended[0].sample.aborted);
        assert_eq!(span(&ended), [(2.0, 5.05, EpisodeEnd::Committed)]);
    }

    #[test]
    fn a_clock_that_goes_astray_keeps_an_end_between_the_looks() {
        let mut tracker = Tracker::default();
        tracker.poll(1.1, &[row(1, SessionState::IdleInTransaction, 1.0, 1.0, Some(1.0))], at_s);
        let ended = tracker.poll(1.2, &[row(1, SessionState::Idle, 900.0, 900.0, None)], at_s);
        assert_eq!(span(&ended), [(1.0, 1.2, EpisodeEnd::Committed)]);
    }

    #[test]
    fn the_longest_of_a_second_get_a_line_and_short_ones_none() {
        let ended = |length_s: f64| {
            let mut tracker = Tracker::default();
            tracker.poll(length_s, &[row(1, SessionState::IdleInTransaction, 0.0, 0.0, Some(0.0))], at_s);
            tracker.end_all(EpisodeEnd::Committed)
        };
        let mut longest = Longest::new(0.1);
        (1..=100).for_each(|tenths| longest.add(ended(f64::from(tenths) / 10.0)));
        let taken = longest.take();
        assert_eq!(taken.len(), LINES_MAX);
        assert!(taken.iter().all(|it| it.length_s() > 7.99), "{:?}", span(&taken));
        longest.add(ended(0.1));
        assert_eq!((longest.take().len(), longest.ended, longest.recorded), (0, 101, LINES_MAX as u64));
    }

    /// Behaviour of sessions: so long idle, so long idle in transaction, and so on.
    fn sessions() -> impl Strategy<Value = Vec<Vec<(f64, f64)>>> {
        prop::collection::vec(prop::collection::vec((0.0..1.0f64, 0.25..3.0f64), 1..12), 1..8)
    }

    proptest! {
        /// Statements take no time here, so that a session is always in one of two states.
        #[test]
        fn episodes_longer_than_two_intervals_are_all_seen_and_exact(sessions in sessions(), phase in 0.0..0.1f64) {
            let mut truth = Vec::new();
            let mut lanes = Vec::new();
            for (pid, session) in (1..).zip(&sessions) {
                let mut changes = vec![(0.0, SessionState::Idle)];
                let mut now = 0.0;
                for (gap, hold) in session {
                    let (from, to) = (now + gap, now + gap + hold);
                    changes.extend([(from, SessionState::IdleInTransaction), (to, SessionState::Idle)]);
                    truth.push((pid, from, to));
                    now = to;
                }
                lanes.push((pid, changes));
            }
            let end = truth.iter().map(|it| it.2).fold(0.0, f64::max) + 0.3;
            let (mut tracker, mut ended) = (Tracker::default(), Vec::new());
            let mut now = phase;
            while now < end {
                let rows: Vec<SessionRow> = lanes.iter().map(|(pid, changes)| {
                    let (since, state) = changes.iter().rev().find(|it| it.0 <= now).copied().unwrap_or((0.0, SessionState::Idle));
                    let xact = state.is_idle_in_transaction().then_some(since);
                    row(*pid, state, since, since, xact)
                }).collect();
                ended.extend(tracker.poll(now, &rows, at_s));
                now += 0.1;
            }
            prop_assert_eq!(ended.len(), truth.len());
            let sum = |lengths: &mut dyn Iterator<Item = f64>| lengths.sum::<f64>();
            let seen_s = sum(&mut ended.iter().map(EndedEpisode::length_s));
            let true_s = sum(&mut truth.iter().map(|it| it.2 - it.1));
            // The beginning is exact; an end may be hidden by the next episode that begins before the next poll.
            prop_assert!(seen_s >= true_s - 1e-3 && seen_s <= true_s + 0.1 * truth.len() as f64, "{} for {}", seen_s, true_s);
            for it in &ended {
                prop_assert!(truth.iter().any(|(pid, from, _)| *pid == it.sample.pid && (from - it.sample.began_s).abs() < 1e-5));
            }
        }
    }
}
