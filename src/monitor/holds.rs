//! Idle-in-transaction time by last statement and application, added up from one breakdown to the next.

use std::collections::HashMap;
use std::sync::Arc;

use super::episodes::Tracker;
use crate::record::{BreakdownSample, HoldGroup};

/// Groups that are reported.
const GROUPS_MAX: usize = 50;

/// Between two polls that are further apart, nothing is known.
pub(super) const GAP_S: f64 = 1.0;

/// A transaction that was open so long before second 0, when the load began, is none of the load's: clocks are compared to a
/// few milliseconds.
const EARLIER_S: f64 = 0.1;

/// Last statement and application, and whether the transaction began before the load.
type HoldKey = (Option<Arc<str>>, Arc<str>, bool);

#[derive(Debug)]
struct OpenGroup {
    statement: Option<Arc<str>>,
    application_name: Arc<str>,
    earlier: bool,
    /// At the last poll, and at the one before.
    sessions: u32,
    sessions_before: u32,
    oldest_s: f64,
    idle_s: f64,
}

/// The groups since the last breakdown.
#[derive(Debug, Default)]
pub(super) struct Holds {
    numbers: HashMap<HoldKey, u32>,
    groups: HashMap<u32, OpenGroup>,
    next: u32,
    last_s: Option<f64>,
}

impl Holds {
    /// Takes the episodes that go on at `now_s`. Between two polls, the number of sessions is taken to change evenly.
    pub(super) fn poll(&mut self, now_s: f64, tracker: &mut Tracker, gap_s: f64) {
        for group in self.groups.values_mut() {
            (group.sessions_before, group.sessions, group.oldest_s) = (group.sessions, 0, 0.0);
        }
        for open in tracker.open() {
            // A statement that is reported late is another group from then on.
            let known = open.group.filter(|number| self.fits(*number, open.statement.as_ref()));
            let number = known.unwrap_or_else(|| {
                let earlier = open.transaction_began_s < -EARLIER_S;
                self.number((open.statement.clone(), Arc::clone(&open.application_name), earlier))
            });
            open.group = Some(number);
            let Some(group) = self.groups.get_mut(&number) else { continue };
            group.sessions += 1;
            group.oldest_s = group.oldest_s.max(now_s - open.transaction_began_s);
        }
        let elapsed_s = self.last_s.replace(now_s).map_or(0.0, |last| now_s - last);
        if (0.0..=gap_s).contains(&elapsed_s) {
            for group in self.groups.values_mut() {
                group.idle_s += elapsed_s * f64::from(group.sessions_before + group.sessions) / 2.0;
            }
        }
    }

    /// Nothing was seen for a while: the next poll continues nothing.
    pub(super) fn interrupted(&mut self) {
        self.last_s = None;
    }

    /// The breakdown since the last one.
    pub(super) fn take(&mut self) -> BreakdownSample {
        let used = self.groups.values().filter(|group| group.sessions > 0 || group.idle_s > 0.0);
        let mut groups: Vec<HoldGroup> = used.map(OpenGroup::sample).collect();
        let most = |group: &HoldGroup| group.idle_s.unwrap_or(0.0);
        groups.sort_by(|a, b| {
            let by_time = most(b).total_cmp(&most(a)).then(b.sessions.cmp(&a.sessions));
            by_time.then_with(|| (&a.statement, &a.application_name).cmp(&(&b.statement, &b.application_name)))
        });
        let left_out = groups.split_off(groups.len().min(GROUPS_MAX));
        self.groups.retain(|_, group| group.sessions > 0);
        self.groups.values_mut().for_each(|group| group.idle_s = 0.0);
        let groups_left = &self.groups;
        self.numbers.retain(|_, number| groups_left.contains_key(number));
        BreakdownSample { groups, left_out_s: (!left_out.is_empty()).then(|| left_out.iter().map(most).sum()) }
    }

    fn fits(&self, number: u32, statement: Option<&Arc<str>>) -> bool {
        self.groups.get(&number).is_some_and(|group| group.statement.is_some() == statement.is_some())
    }

    fn number(&mut self, key: HoldKey) -> u32 {
        let number = *self.numbers.entry(key.clone()).or_insert(self.next);
        let (statement, application_name, earlier) = key;
        self.groups.entry(number).or_insert(OpenGroup {
            statement,
            application_name,
            earlier,
            sessions: 0,
            sessions_before: 0,
            oldest_s: 0.0,
            idle_s: 0.0,
        });
        self.next = self.next.max(number.wrapping_add(1));
        number
    }
}

impl OpenGroup {
    fn sample(&self) -> HoldGroup {
        HoldGroup {
            statement: self.statement.as_deref().unwrap_or_default().to_owned(),
            application_name: self.application_name.to_string(),
            sessions: self.sessions,
            oldest_s: self.oldest_s,
            idle_s: Some(self.idle_s),
            earlier: self.earlier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::activity::{SessionRow, SessionState};
    use crate::monitor::clock::ServerTime;

    /// Polls ten times a second; `held` says of each statement how many sessions are idle in transaction after it.
    fn watched(ticks: u32, held: impl Fn(u32) -> Vec<(&'static str, i32)>) -> BreakdownSample {
        let (mut tracker, mut holds) = (Tracker::default(), Holds::default());
        for tick in 0..ticks {
            let now_s = f64::from(tick) / 10.0;
            let sessions = held(tick).into_iter().enumerate().flat_map(|(group, (statement, count))| {
                let first = 1000 * i32::try_from(group).expect("few");
                (first..first + count).map(move |pid| (pid, statement))
            });
            let rows: Vec<SessionRow> = sessions
                .map(|(pid, statement)| SessionRow {
                    pid,
                    application_name: "GET /tools".to_owned(),
                    state: SessionState::IdleInTransaction,
                    state_change: Some(ServerTime(0)),
                    xact_start: Some(ServerTime(0)),
                    statement: Some(statement.to_owned()),
                    ..SessionRow::default()
                })
                .collect();
            tracker.poll(now_s, &rows, |time| time.0 as f64 / 1e6);
            holds.poll(now_s, &mut tracker, GAP_S);
        }
        holds.take()
    }

    #[test]
    fn idle_time_is_added_up_by_statement_and_application() {
        let breakdown = watched(11, |tick| vec![("SELECT 1", 3), ("SELECT 2", i32::from(tick >= 5))]);
        let [first, second] = &breakdown.groups[..] else { panic!("{breakdown:?}") };
        assert_eq!((first.statement.as_str(), first.application_name.as_str()), ("SELECT 1", "GET /tools"));
        assert!((first.idle_s.unwrap() - 3.0).abs() < 1e-9, "{first:?}");
        assert!((second.idle_s.unwrap() - 0.55).abs() < 1e-9, "from between two polls on: {second:?}");
        assert_eq!((first.sessions, second.sessions, breakdown.left_out_s), (3, 1, None));
        assert!((first.oldest_s - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_open_before_the_load_is_a_group_of_its_own() {
        let (mut tracker, mut holds) = (Tracker::default(), Holds::default());
        let session = |pid, began_s: i64| SessionRow {
            pid,
            state: SessionState::IdleInTransaction,
            state_change: Some(ServerTime(began_s * 1_000_000)),
            xact_start: Some(ServerTime(began_s * 1_000_000)),
            statement: Some("SELECT 1".to_owned()),
            ..SessionRow::default()
        };
        tracker.poll(2.0, &[session(1, -60), session(2, 1)], |time| time.0 as f64 / 1e6);
        holds.poll(2.0, &mut tracker, GAP_S);
        let ages: Vec<(bool, f64)> = holds.take().groups.iter().map(|group| (group.earlier, group.oldest_s)).collect();
        assert_eq!(ages.len(), 2);
        assert!(ages.contains(&(true, 62.0)) && ages.contains(&(false, 1.0)), "{ages:?}");
    }

    #[test]
    fn groups_are_bounded_and_what_is_left_out_is_reported() {
        let statements: Vec<&'static str> = (0..80).map(|number| &*format!("SELECT {number}").leak()).collect();
        let breakdown = watched(11, |_| statements.iter().map(|statement| (*statement, 1)).collect());
        assert_eq!(breakdown.groups.len(), GROUPS_MAX);
        assert!((breakdown.left_out_s.unwrap() - 30.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_watched_is_not_added_up_and_what_is_over_is_forgotten() {
        let (mut tracker, mut holds) = (Tracker::default(), Holds::default());
        let row = SessionRow {
            state: SessionState::IdleInTransaction,
            state_change: Some(ServerTime(0)),
            statement: Some("SELECT 1".to_owned()),
            ..SessionRow::default()
        };
        for now_s in [0.0, 0.1, 5.0, 5.1] {
            tracker.poll(now_s, std::slice::from_ref(&row), |_| 0.0);
            holds.poll(now_s, &mut tracker, GAP_S);
        }
        assert!((holds.take().groups[0].idle_s.unwrap() - 0.2).abs() < 1e-9);
        tracker.poll(5.2, &[], |_| 0.0);
        holds.poll(5.2, &mut tracker, GAP_S);
        assert!((holds.take().groups[0].idle_s.unwrap() - 0.05).abs() < 1e-9);
        holds.poll(5.3, &mut tracker, GAP_S);
        assert_eq!(holds.take().groups, []);
        assert!(holds.groups.is_empty() && holds.numbers.is_empty());
    }
}
