//! One poll of the sessions, put in order: who is in a transaction, by statement, by application, and who is in whose
//! way.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::normalise;
use crate::monitor::activity::SessionState;
use crate::monitor::sessions::{Session, SessionSnapshot};
use crate::record::ActivitySample;

/// Groups that are kept of each kind: the largest.
const GROUPS: usize = 200;

/// A poll in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arranged {
    pub counts: Counts,
    /// Sessions in a transaction, oldest first.
    pub transactions: Vec<Session>,
    /// Those by statement, most sessions first.
    pub statements: Vec<StatementGroup>,
    /// All sessions by `application_name`, most in a transaction first.
    pub applications: Vec<ApplicationGroup>,
    /// Sessions that block others and wait for nobody, most behind first.
    pub roots: Vec<RootSession>,
    /// Sessions that wait for a lock, and whose blockers were not asked for.
    pub untraced: u32,
}

/// Sessions by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sessions: u32,
    /// They run a statement.
    pub active: u32,
    /// They have no transaction.
    pub idle: u32,
    /// Idle in transaction, not aborted.
    pub idle_in_transaction: u32,
    /// Idle in an aborted transaction.
    pub aborted: u32,
    /// They wait for a heavyweight lock.
    pub waiting_for_lock: u32,
}

impl Counts {
    fn add(&mut self, session: &Session) {
        self.sessions += 1;
        match session.state {
            SessionState::Active => self.active += 1,
            SessionState::Idle => self.idle += 1,
            SessionState::IdleInTransaction => self.idle_in_transaction += 1,
            SessionState::IdleInTransactionAborted => self.aborted += 1,
            SessionState::Other => {}
        }
        self.waiting_for_lock += u32::from(session.waits_for_lock);
    }

    /// Idle in a transaction, aborted or not.
    pub fn idle_in_transaction_total(&self) -> u32 {
        self.idle_in_transaction + self.aborted
    }
}

/// Sessions in a transaction with one statement, but for its literals.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementGroup {
    /// The statement without literals and comments.
    pub statement: String,
    pub sessions: u32,
    /// Those of them that are idle in transaction.
    pub idle_in_transaction: u32,
    /// Age of the oldest transaction in seconds.
    pub oldest_s: f64,
    /// The application of the oldest.
    pub application_name: String,
}

/// Sessions of one application.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplicationGroup {
    /// Application name; may be empty.
    pub application_name: String,
    /// Its sessions by state.
    pub counts: Counts,
    /// Age of its oldest transaction in seconds; `None` without one.
    pub oldest_s: Option<f64>,
}

/// A session that blocks others and waits for none.
#[derive(Clone, Debug, PartialEq)]
pub struct RootSession {
    /// Its process; 0 is a prepared transaction.
    pub pid: i32,
    /// The session; `None` when it is none of this database's clients.
    pub session: Option<Session>,
    /// Waiters behind it, direct or not, nearest first.
    pub behind: Vec<Waiter>,
}

/// A session that waits behind a root.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiter {
    pub session: Session,
    /// Distance from the root: 1 waits for the root itself.
    pub depth: u32,
}

impl Arranged {
    /// Puts a poll in order.
    pub fn of(poll: SessionSnapshot) -> Self {
        let mut counts = Counts::default();
        poll.sessions.iter().for_each(|session| counts.add(session));
        let waits_untraced = |session: &&Session| session.waits_for_lock && session.blocked_by.is_empty();
        let untraced = u32::try_from(poll.sessions.iter().filter(waits_untraced).count()).unwrap_or(u32::MAX);
        let applications = by_application(&poll.sessions);
        let roots = roots(&poll.sessions);
        let mut transactions: Vec<Session> =
            poll.sessions.into_iter().filter(|session| session.transaction_s.is_some()).collect();
        transactions.sort_by(|a, b| age(b).total_cmp(&age(a)).then(a.pid.cmp(&b.pid)));
        let statements = by_statement(&transactions);
        Self { counts, transactions, statements, applications, roots, untraced }
    }

    /// The same as the monitor counts it.
    pub fn as_sample(&self, poll_ms: f64) -> ActivitySample {
        ActivitySample {
            sessions: self.counts.sessions,
            active: self.counts.active,
            idle: self.counts.idle,
            idle_in_transaction: self.counts.idle_in_transaction,
            idle_in_transaction_aborted: self.counts.aborted,
            waiting_for_lock: self.counts.waiting_for_lock,
            waiting_for_client: Some(self.waiting_for_client()),
            just_idle: None,
            oldest_transaction_s: self.oldest_s(),
            poll_ms,
        }
    }

    /// Active sessions whose statement waits for the client.
    fn waiting_for_client(&self) -> u32 {
        let waits = |session: &&Session| {
            session.state == SessionState::Active && session.wait.as_deref().is_some_and(|it| it.starts_with("Client:"))
        };
        u32::try_from(self.transactions.iter().filter(waits).count()).unwrap_or(u32::MAX)
    }

    /// Age of the oldest transaction in seconds; `None` without one.
    pub fn oldest_s(&self) -> Option<f64> {
        self.transactions.first().and_then(|session| session.transaction_s)
    }
}

fn age(session: &Session) -> f64 {
    session.transaction_s.unwrap_or(0.0)
}

/// `transactions` oldest first.
fn by_statement(transactions: &[Session]) -> Vec<StatementGroup> {
    let mut groups = BTreeMap::<String, StatementGroup>::new();
    for session in transactions {
        let statement = normalise(session.statement.as_deref().unwrap_or_default());
        let group = groups.entry(statement.clone()).or_insert_with(|| StatementGroup {
            statement,
            sessions: 0,
            idle_in_transaction: 0,
            oldest_s: age(session),
            application_name: session.application_name.clone(),
        });
        group.sessions += 1;
        group.idle_in_transaction += u32::from(session.state.is_idle_in_transaction());
    }
    let mut groups: Vec<StatementGroup> = groups.into_values().collect();
    groups.sort_by(|a, b| b.sessions.cmp(&a.sessions).then(b.oldest_s.total_cmp(&a.oldest_s)));
    groups.truncate(GROUPS);
    groups
}

fn by_application(sessions: &[Session]) -> Vec<ApplicationGroup> {
    let mut groups = BTreeMap::<&str, ApplicationGroup>::new();
    for session in sessions {
        let group = groups.entry(&session.application_name).or_insert_with(|| ApplicationGroup {
            application_name: session.application_name.clone(),
            counts: Counts::default(),
            oldest_s: None,
        });
        group.counts.add(session);
        group.oldest_s = [group.oldest_s, session.transaction_s].into_iter().flatten().reduce(f64::max);
    }
    let mut groups: Vec<ApplicationGroup> = groups.into_values().collect();
    let size = |it: &ApplicationGroup| (it.counts.idle_in_transaction_total(), it.counts.active, it.counts.sessions);
    groups.sort_by_key(|group| std::cmp::Reverse(size(group)));
    groups.truncate(GROUPS);
    groups
}

/// Sessions that are in the way of others and wait for nobody, with all that wait behind. A waiter is behind each root that
/// it depends on; a ring of waiters (a deadlock that the server has not resolved yet) has no root, so that its first
/// member stands for one.
fn roots(sessions: &[Session]) -> Vec<RootSession> {
    let by_pid: BTreeMap<i32, &Session> = sessions.iter().map(|session| (session.pid, session)).collect();
    let mut behind = BTreeMap::<i32, Vec<i32>>::new();
    for session in sessions {
        // A parallel query may name a blocker once for each worker.
        for blocker in session.blocked_by.iter().collect::<BTreeSet<_>>() {
            behind.entry(*blocker).or_default().push(session.pid);
        }
    }
    let waits = |pid: &i32| by_pid.get(pid).is_some_and(|session| !session.blocked_by.is_empty());
    let free = behind.keys().filter(|pid| !waits(pid)).copied();
    let mut roots: Vec<RootSession> = free.map(|pid| root(pid, &by_pid, &behind)).collect();
    let mut reached: BTreeSet<i32> =
        roots.iter().flat_map(|root| root.behind.iter().map(|waiter| waiter.session.pid)).collect();
    for pid in by_pid.keys().filter(|pid| waits(pid)) {
        if behind.contains_key(pid) && !reached.contains(pid) {
            let ring = root(*pid, &by_pid, &behind);
            reached.insert(*pid);
            reached.extend(ring.behind.iter().map(|waiter| waiter.session.pid));
            roots.push(ring);
        }
    }
    roots.sort_by_key(|root| std::cmp::Reverse(root.behind.len()));
    roots.truncate(GROUPS);
    roots
}

/// Walks from a root outwards, each session once, at its shortest distance.
fn root(pid: i32, by_pid: &BTreeMap<i32, &Session>, behind: &BTreeMap<i32, Vec<i32>>) -> RootSession {
    let mut seen = BTreeSet::from([pid]);
    let mut waiters = Vec::new();
    let mut ring = vec![pid];
    let mut depth = 0;
    while !ring.is_empty() {
        depth += 1;
        let mut next = Vec::new();
        for waiter in ring.iter().filter_map(|pid| behind.get(pid)).flatten() {
            if seen.insert(*waiter) {
                next.push(*waiter);
                waiters.extend(by_pid.get(waiter).map(|session| Waiter { session: (*session).clone(), depth }));
            }
        }
        ring = next;
    }
    RootSession { pid, session: by_pid.get(&pid).map(|session| (*session).clone()), behind: waiters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::simulated::session;
    use proptest::prelude::*;

    fn arranged(sessions: Vec<Session>) -> Arranged {
        Arranged::of(SessionSnapshot { sessions, took_ms: 1.0 })
    }

    fn waiting(pid: i32, blocked_by: &[i32]) -> Session {
        Session {
            waits_for_lock: true,
            blocked_by: blocked_by.to_vec(),
            ..session(pid, SessionState::Active, Some(1.0))
        }
    }

    fn tree(arranged: &Arranged) -> Vec<(i32, Vec<(i32, u32)>)> {
        let behind = |root: &RootSession| root.behind.iter().map(|it| (it.session.pid, it.depth)).collect();
        arranged.roots.iter().map(|root| (root.pid, behind(root))).collect()
    }

    #[test]
    fn everybody_behind_a_root_is_counted_once_at_the_shortest_distance() {
        let idle = session(1, SessionState::IdleInTransaction, Some(9.0));
        // 4 stands in a queue behind 2 and 3, as the server tells it, and waits for 1 all the same.
        let seen =
            arranged(vec![idle, waiting(2, &[1]), waiting(3, &[1, 2]), waiting(4, &[3, 2, 2]), waiting(5, &[77])]);
        assert_eq!(tree(&seen), [(1, vec![(2, 1), (3, 1), (4, 2)]), (77, vec![(5, 1)])]);
        assert_eq!(seen.roots[1].session, None, "77 is none of this database's clients");
        assert_eq!((seen.counts.waiting_for_lock, seen.untraced), (4, 0));
    }

    #[test]
    fn a_ring_is_shown_although_nobody_in_it_is_free() {
        let seen = arranged(vec![waiting(1, &[2]), waiting(2, &[1]), waiting(3, &[2])]);
        assert_eq!(tree(&seen), [(1, vec![(2, 1), (3, 2)])]);
    }

    #[test]
    fn statements_that_differ_in_literals_are_one_group() {
        let with = |pid, age, text: &str| Session {
            statement: Some(text.to_owned()),
            ..session(pid, SessionState::IdleInTransaction, Some(age))
        };
        let seen = arranged(vec![
            with(1, 3.0, "SELECT * FROM t WHERE id = 7"),
            with(2, 5.0, "SELECT *\n FROM t  WHERE id = 12345"),
            Session { state: SessionState::Active, ..with(3, 9.0, "UPDATE t SET x = 'y'") },
            session(4, SessionState::Idle, None),
        ]);
        let groups: Vec<_> =
            seen.statements.iter().map(|it| (it.statement.as_str(), it.sessions, it.idle_in_transaction)).collect();
        assert_eq!(groups, [("SELECT * FROM t WHERE id = ?", 2, 2), ("UPDATE t SET x = ?", 1, 0)]);
        assert_eq!(seen.oldest_s(), Some(9.0));
        assert_eq!(seen.transactions.iter().map(|it| it.pid).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!((seen.counts.sessions, seen.counts.idle), (4, 1));
    }

    proptest! {
        #[test]
        fn whatever_blocks_whatever_no_waiter_is_lost(
            edges in prop::collection::vec((1..30_i32, prop::collection::vec(0..35_i32, 0..6)), 0..30),
        ) {
            let sessions: BTreeMap<i32, Session> = edges.iter().map(|(pid, by)| (*pid, waiting(*pid, by))).collect();
            let waiters: BTreeSet<i32> =
                sessions.values().filter(|it| !it.blocked_by.is_empty()).map(|it| it.pid).collect();
            let seen = arranged(sessions.into_values().collect());
            let shown: BTreeSet<i32> = seen
                .roots
                .iter()
                .flat_map(|root| root.behind.iter().map(|it| it.session.pid).chain([root.pid]))
                .collect();
            prop_assert!(waiters.is_subset(&shown), "{waiters:?} {shown:?}");
        }
    }
}
