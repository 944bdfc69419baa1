//! Transactions that are seen idle, each from its beginning to its end: who was there when it began can have begun it, and
//! nobody else.
//!
//! A statement that waits for its client holds its session as well: here it counts as idle.
//!
//! Pure, but for the random draw. Identity is the server process and `xact_start`; an aborted transaction has none any more,
//! and goes on as the one that its session had.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::activity::SessionRow;
use super::clock::ServerTime;
use super::surroundings::{Located, Surroundings};
use crate::record::presence::PAUSE_S;
use crate::record::{Presence, TransactionSample};
use crate::redact::without_literals;

/// Of more new ones in a poll so many are drawn, which bounds the record: 120 lines a second.
const DRAWN_MAX: usize = 12;

/// Requests are remembered for ten seconds after their end.
const REMEMBERED_S: f64 = 8.0;

/// An answer comes so much before the end of its transaction, or after it, at most.
const ANSWERED_WITHIN_S: f64 = 0.05;

/// Different statements that are kept of a transaction.
const STATEMENTS_MAX: usize = 8;

const SEED: u64 = 2318;

/// A server process: its pid alone may come again.
type SessionKey = (i32, ServerTime);

/// A transaction that is over; who ended with it is asked once the answers have come.
#[derive(Debug)]
struct EndedTransaction {
    sample: TransactionSample,
    client_port: Option<u16>,
    between_s: (f64, f64),
}

/// A transaction that goes on.
#[derive(Debug)]
struct OpenTransaction {
    xact_start: Option<ServerTime>,
    began: Located,
    /// 0: it was not drawn.
    weight: f64,
    present: BTreeMap<String, Presence>,
    idle_s: f64,
    /// Of it, at polls at which it was older than a pause.
    aged_s: f64,
    was_idle: bool,
    was_aged: bool,
    aborted: bool,
    last_seen_s: f64,
    /// Polls at which it was idle after each statement.
    statements: Vec<(Arc<str>, u32)>,
    application_name: String,
    client_port: Option<u16>,
}

/// All transactions that go on and were idle at a poll.
#[derive(Debug)]
pub(super) struct Transactions {
    open: HashMap<SessionKey, OpenTransaction>,
    ended: Vec<EndedTransaction>,
    random: SmallRng,
    last_s: Option<f64>,
}

impl Default for Transactions {
    fn default() -> Self {
        Self { open: HashMap::new(), ended: Vec::new(), random: SmallRng::seed_from_u64(SEED), last_s: None }
    }
}

impl Transactions {
    /// Takes a poll at `now_s`: all sessions that do something, and those that have gone idle since the last one. Gives
    /// transactions that are over.
    pub(super) fn poll(
        &mut self,
        now_s: f64,
        rows: &[SessionRow],
        gap_s: f64,
        around: &impl Surroundings,
    ) -> Vec<TransactionSample> {
        // Half of a step belongs to the poll before it, and half to the one after it.
        let step_s = self.last_s.replace(now_s).map(|last_s| now_s - last_s).filter(|step_s| *step_s <= gap_s);
        let half_s = step_s.unwrap_or(0.0).max(0.0) / 2.0;
        let mut before = std::mem::take(&mut self.open);
        let mut new = Vec::new();
        for transaction in before.values_mut().filter(|it| it.was_idle) {
            transaction.idle_s += half_s;
            transaction.aged_s += if transaction.was_aged { half_s } else { 0.0 };
        }
        for row in rows {
            let key = (row.pid, row.backend_start);
            let known = before.remove(&key);
            let idle = row.state.is_idle_in_transaction() || row.waits_for_client();
            match known {
                Some(mut transaction) if transaction.is_of(row, idle) => {
                    transaction.take(row, idle, now_s, half_s);
                    self.open.insert(key, transaction);
                }
                known => {
                    self.ended.extend(known.and_then(|it| it.ended_by(key.0, row, now_s, around)));
                    if idle {
                        new.push((key, row));
                    }
                }
            }
        }
        // A session that is not reported is gone, or idle.
        self.ended.extend(before.into_iter().filter_map(|((pid, _), it)| it.gone(pid, now_s)));
        let chance = DRAWN_MAX as f64 / new.len() as f64;
        for (key, row) in new {
            let drawn = chance >= 1.0 || self.random.random::<f64>() < chance;
            let Some(since) = row.xact_start.or(row.state_change) else { continue };
            let began = around.locate(since);
            // Of what began before, nobody remembers who was there.
            let drawn = drawn && now_s - began.at_s + began.error_s < REMEMBERED_S;
            let weight = if drawn { (1.0 / chance).max(1.0) } else { 0.0 };
            let present = if drawn { around.present(began) } else { BTreeMap::new() };
            let mut transaction = OpenTransaction {
                xact_start: row.xact_start,
                began,
                weight,
                present,
                idle_s: 0.0,
                aged_s: 0.0,
                was_idle: false,
                was_aged: false,
                aborted: false,
                last_seen_s: now_s,
                statements: Vec::new(),
                application_name: row.application_name.clone(),
                client_port: row.local_port(),
            };
            transaction.take(row, true, now_s, half_s);
            self.open.insert(key, transaction);
        }
        let answered = self.ended.extract_if(.., |it| it.between_s.1 + ANSWERED_WITHIN_S <= now_s);
        answered.map(|it| it.sample(around)).collect()
    }

    /// Nothing was seen for a while: the next poll continues nothing.
    pub(super) fn interrupted(&mut self) {
        self.last_s = None;
    }

    /// Nothing more will be seen; gives those that have just ended, and those that go on.
    pub(super) fn rest(&mut self, around: &impl Surroundings) -> Vec<TransactionSample> {
        let open = self.open.drain().filter_map(|((pid, _), it)| it.still_open(pid));
        self.ended.drain(..).chain(open).map(|it| it.sample(around)).collect()
    }
}

impl OpenTransaction {
    /// True if the session is in this transaction still.
    fn is_of(&self, row: &SessionRow, idle: bool) -> bool {
        match row.xact_start {
            Some(start) => self.xact_start == Some(start),
            None => idle && row.state_change.is_some_and(|since| Some(since) >= self.xact_start),
        }
    }

    fn take(&mut self, row: &SessionRow, idle: bool, now_s: f64, half_s: f64) {
        self.last_seen_s = now_s;
        self.was_idle = idle;
        self.aborted = row.xact_start.is_none();
        if !idle {
            return;
        }
        self.was_aged = now_s - self.began.at_s >= PAUSE_S;
        self.idle_s += half_s;
        self.aged_s += if self.was_aged { half_s } else { 0.0 };
        // A statement is reported once, and stays the last one until another is.
        if let Some(statement) = row.statement.as_deref().map(without_literals) {
            match self.statements.iter().position(|(known, _)| **known == *statement) {
                Some(place) => {
                    let known = self.statements.remove(place);
                    self.statements.push(known);
                }
                None if self.statements.len() < STATEMENTS_MAX => self.statements.push((statement.into(), 0)),
                None => {}
            }
        }
        if let Some((_, polls)) = self.statements.last_mut() {
            *polls += 1;
        }
    }

    /// The session was seen elsewhere: whatever ran last there has ended it.
    fn ended_by(
        mut self,
        pid: i32,
        row: &SessionRow,
        now_s: f64,
        around: &impl Surroundings,
    ) -> Option<EndedTransaction> {
        let moved = row.xact_start.or(row.query_start).or(row.state_change).map(|it| around.locate(it).at_s);
        let seen_s = self.last_seen_s.min(now_s);
        self.last_seen_s = moved.unwrap_or(now_s).clamp(seen_s, now_s);
        let between_s = (seen_s, self.last_seen_s);
        self.ended(pid, between_s, false)
    }

    /// Between two polls, nobody knows when.
    fn gone(mut self, pid: i32, now_s: f64) -> Option<EndedTransaction> {
        let between_s = (self.last_seen_s, now_s.max(self.last_seen_s));
        self.last_seen_s = f64::midpoint(between_s.0, between_s.1);
        self.ended(pid, between_s, false)
    }

    /// It goes on: nothing has ended with it.
    fn still_open(self, pid: i32) -> Option<EndedTransaction> {
        let between_s = (self.last_seen_s, self.last_seen_s);
        self.ended(pid, between_s, true)
    }

    /// `None` of one that was not drawn.
    fn ended(self, pid: i32, between_s: (f64, f64), still_open: bool) -> Option<EndedTransaction> {
        let client_port = self.client_port;
        let statement = self.statements.iter().max_by_key(|(_, polls)| *polls);
        let sample = (self.weight > 0.0).then(|| TransactionSample {
            pid,
            began_s: self.began.at_s,
            error_s: self.began.error_s,
            ended_s: self.last_seen_s.max(self.began.at_s),
            idle_s: self.idle_s,
            aged_s: Some(self.aged_s),
            weight: self.weight,
            statement: statement.map(|(text, _)| text.to_string()).unwrap_or_default(),
            application_name: self.application_name,
            aborted: self.aborted,
            still_open,
            present: self.present,
            spanning: None,
            process: None,
        });
        sample.map(|sample| EndedTransaction { sample, client_port, between_s })
    }
}

impl EndedTransaction {
    fn sample(self, around: &impl Surroundings) -> TransactionSample {
        let (from_s, to_s) = self.between_s;
        let TransactionSample { began_s, error_s, still_open, .. } = self.sample;
        // What goes on has no end that could go with an answer's.
        let slack_s = if still_open { 0.0 } else { ANSWERED_WITHIN_S };
        let spanning = around.spanning(began_s + error_s, (from_s - slack_s, to_s + slack_s));
        let process = self.client_port.and_then(|port| around.process(port));
        TransactionSample { spanning, process, ..self.sample }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::activity::SessionState;
    use crate::record::{SessionProcess, Spanning};

    const STEP_S: f64 = 0.1;

    fn server(at_s: f64) -> ServerTime {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        ServerTime((at_s * 1e6).round() as i64)
    }

    fn row(pid: i32, state: SessionState, xact_s: Option<f64>, changed_s: f64, statement: Option<&str>) -> SessionRow {
        SessionRow {
            pid,
            state,
            xact_start: xact_s.map(server),
            query_start: Some(server(changed_s)),
            state_change: Some(server(changed_s)),
            statement: statement.map(str::to_owned),
            client: Some("127.0.0.1".to_owned()),
            client_port: Some(4711),
            ..SessionRow::default()
        }
    }

    /// A request of one route comes just before each beginning, and is answered within each end.
    struct OneRoute;

    impl Surroundings for OneRoute {
        fn locate(&self, time: ServerTime) -> Located {
            Located { at_s: time.0 as f64 / 1e6, error_s: 0.0 }
        }

        fn present(&self, at: Located) -> BTreeMap<String, Presence> {
            let mut of_it = Presence::default();
            of_it.add(at.at_s - 0.01, at.at_s + 1.0, at.at_s, 0.0);
            BTreeMap::from([("GET /a".to_owned(), of_it)])
        }

        fn spanning(&self, began_s: f64, (from_s, to_s): (f64, f64)) -> Option<BTreeMap<String, Spanning>> {
            assert!(began_s <= to_s && from_s <= to_s, "{began_s} {from_s} {to_s}");
            let spanning = Spanning { ended_with_it: 1, throughout: 1, expected: Some(0.25) };
            Some(BTreeMap::from([("GET /a".to_owned(), spanning)]))
        }

        fn process(&self, client_port: u16) -> Option<SessionProcess> {
            let serves_target = client_port == 4711;
            Some(SessionProcess { pid: 1, name: "shop".to_owned(), serves_target })
        }
    }

    fn polled(transactions: &mut Transactions, now_s: f64, rows: &[SessionRow]) -> Vec<TransactionSample> {
        transactions.poll(now_s, rows, 1.0, &OneRoute)
    }

    #[test]
    fn a_transaction_is_followed_over_its_statements_to_its_end() {
        use SessionState::{Active, Idle, IdleInTransaction};
        let mut transactions = Transactions::default();
        let held = |changed_s, statement| row(1, IdleInTransaction, Some(0.95), changed_s, statement);
        assert_eq!(polled(&mut transactions, 0.9, &[]), []);
        assert_eq!(polled(&mut transactions, 1.0, &[held(0.97, Some("SELECT 1"))]), []);
        assert_eq!(polled(&mut transactions, 1.1, &[row(1, Active, Some(0.95), 1.05, None)]), []);
        for tick in 2..6 {
            let statement = (tick == 2).then_some("SELECT b FROM t WHERE name = 'x'");
            assert_eq!(polled(&mut transactions, 1.0 + STEP_S * f64::from(tick), &[held(1.15, statement)]), []);
        }
        assert_eq!(
            polled(&mut transactions, 1.6, &[row(1, Idle, None, 1.59, None)]),
            [],
            "its answer may not have come"
        );
        let ended = polled(&mut transactions, 1.7, &[]);
        let [it] = &ended[..] else { panic!("{ended:?}") };
        assert!((it.began_s - 0.95).abs() < 1e-9 && (it.ended_s - 1.59).abs() < 1e-9, "{it:?}");
        assert!((it.idle_s - 5.0 * STEP_S).abs() < 1e-9, "at five polls: {it:?}");
        assert!(it.aged_s.is_some_and(|aged_s| (aged_s - 5.0 * STEP_S).abs() < 1e-9), "it is 0.05 s old: {it:?}");
        assert_eq!(
            (it.statement.as_str(), it.aborted, it.still_open),
            ("SELECT b FROM t WHERE name = '…'", false, false)
        );
        assert_eq!(it.present["GET /a"], Presence([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
        assert!(it.process.as_ref().is_some_and(|process| process.serves_target), "{it:?}");
        assert_eq!(it.spanning.as_ref().map(|routes| routes["GET /a"].ended_with_it), Some(1));
    }

    #[test]
    fn the_next_transaction_of_a_session_is_another_one_and_an_aborted_one_is_the_same() {
        use SessionState::{IdleInTransaction, IdleInTransactionAborted};
        let mut transactions = Transactions::default();
        polled(&mut transactions, 1.0, &[row(1, IdleInTransaction, Some(0.9), 0.95, Some("SELECT 1"))]);
        assert_eq!(polled(&mut transactions, 1.1, &[row(1, IdleInTransactionAborted, None, 1.05, None)]), []);
        polled(&mut transactions, 1.2, &[row(1, IdleInTransaction, Some(1.18), 1.19, Some("SELECT 2"))]);
        let ended = polled(&mut transactions, 1.3, &[row(1, IdleInTransaction, Some(1.18), 1.19, None)]);
        assert!(ended.len() == 1 && ended[0].aborted && (ended[0].began_s - 0.9).abs() < 1e-9, "{ended:?}");
        let open = transactions.rest(&OneRoute);
        assert!(open.len() == 1 && open[0].still_open && open[0].statement == "SELECT 2", "{open:?}");
    }

    #[test]
    fn of_many_new_ones_some_are_drawn_and_stand_for_all() {
        let mut transactions = Transactions::default();
        let mut drawn = Vec::new();
        for tick in 0..50 {
            let now_s = f64::from(tick) * STEP_S;
            let rows: Vec<SessionRow> = (0..60)
                .map(|session| row(session, SessionState::IdleInTransaction, Some(now_s), now_s, Some("SELECT 1")))
                .collect();
            drawn.extend(polled(&mut transactions, now_s, &rows));
        }
        let stands_for: f64 = drawn.iter().map(|it| it.weight).sum();
        assert!(
            drawn.len() < 50 * 12 && (stands_for / (49.0 * 60.0) - 1.0).abs() < 0.2,
            "{} {stands_for}",
            drawn.len()
        );
        let idle_s: f64 = drawn.iter().map(|it| it.weight * it.idle_s).sum();
        assert!((idle_s / (60.0 * 4.9) - 1.0).abs() < 0.2, "{idle_s}");
        assert!(drawn.iter().all(|it| it.aged_s == Some(0.0)), "each has just begun: {drawn:?}");
    }
}
