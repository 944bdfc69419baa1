//! Holders in the mix: by the sessions that go with requests in flight, and by the requests that were there when their transactions began.

use std::sync::Arc;

use super::observation::{ConcurrentPhase, SessionObservation, SessionPoll};
use super::tally::GAP_S;
use crate::diagnose::concurrent::{MixHold, MixMoment, MixRow, MixTransaction, confirmed, in_mix};
use crate::record::Presence;

/// Rows of the mix are as far apart as this.
const ROW_S: f64 = 0.05;

/// The polls' clocks are compared to about this.
const CLOCK_ERROR_S: f64 = 0.001;

/// Holders in the mix, by those idle sessions that count. Sessions that were in a transaction before it do not.
pub(super) fn mix(
    polls: &[SessionPoll],
    names: &[String],
    capacity: Option<u32>,
    concurrent: &ConcurrentPhase,
    counts: fn(&SessionObservation, f64) -> bool,
) -> Vec<MixHold> {
    let mut finished = vec![0; names.len()];
    for (route, ..) in &concurrent.requests {
        finished[*route] += 1;
    }
    let polls = || polls.iter().filter(|poll| (concurrent.from_s..=concurrent.to_s).contains(&poll.at_s));
    let mut rows: Vec<MixRow> = Vec::new();
    let mut moments = Vec::new();
    for poll in polls() {
        if rows.last().is_some_and(|last| poll.at_s - last.at_s < ROW_S) {
            continue;
        }
        let present = present_at(concurrent, names.len(), poll.at_s, 0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let in_flight = present.iter().map(|it| it.in_flight() as u32).collect();
        let idle = u32::try_from(own(poll, concurrent, counts).count()).unwrap_or(u32::MAX);
        rows.push(MixRow { at_s: poll.at_s, in_flight, idle });
        if capacity.is_none_or(|capacity| idle < capacity) {
            moments.push(MixMoment { at_s: poll.at_s, present });
        }
    }
    let holds = in_mix(&rows, names, &finished, capacity);
    let full = |at_s: f64| {
        let row = rows.iter().rev().find(|row| row.at_s <= at_s).or(rows.first());
        row.zip(capacity).is_some_and(|(row, capacity)| row.idle >= capacity)
    };
    let all = transactions(&polls().collect::<Vec<_>>(), concurrent, counts, names.len());
    // In a full pool a transaction begins when another ends, no matter which request asks for it.
    let (in_full, transactions): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| full(it.at_s));
    let lasted_s = polls().next_back().zip(polls().next()).map_or(0.0, |(last, first)| last.at_s - first.at_s);
    let step_s = lasted_s / polls().count().max(1) as f64;
    confirmed(holds, &transactions, &in_full, &moments, &finished, step_s)
}

/// The sessions of the mix that count.
fn own<'a>(
    poll: &'a SessionPoll,
    concurrent: &'a ConcurrentPhase,
    counts: fn(&SessionObservation, f64) -> bool,
) -> impl Iterator<Item = &'a SessionObservation> {
    let idle = poll.sessions.iter().filter(|it| it.activity.holds());
    idle.filter(move |it| it.began_s >= concurrent.from_s && counts(it, poll.at_s))
}

/// Requests around a time.
fn present_at(concurrent: &ConcurrentPhase, routes: usize, at_s: f64, error_s: f64) -> Vec<Presence> {
    let mut present = vec![Presence::default(); routes];
    for (route, from_s, to_s) in &concurrent.requests {
        // Those that ended more than a second before are forgotten.
        if *from_s <= at_s + error_s && at_s - error_s <= to_s + 1.0 {
            present[*route].add(*from_s, *to_s, at_s, error_s);
        }
    }
    present
}

/// The transactions whose idle time counts, each with its last statement and what is idle in it.
fn transactions(
    polls: &[&SessionPoll],
    concurrent: &ConcurrentPhase,
    counts: fn(&SessionObservation, f64) -> bool,
    routes: usize,
) -> Vec<MixTransaction> {
    let mut statements: Vec<Option<Arc<str>>> = Vec::new();
    let mut latest = std::collections::BTreeMap::<i32, (i64, usize)>::new();
    let mut found: Vec<MixTransaction> = Vec::new();
    for (before, poll) in polls.iter().zip(polls.iter().skip(1)) {
        for session in own(poll, concurrent, counts) {
            let known = latest.get(&session.pid).filter(|(transaction, _)| *transaction == session.transaction);
            let statement = statements.iter().position(|it| *it == session.statement).unwrap_or_else(|| {
                statements.push(session.statement.clone());
                statements.len() - 1
            });
            let new = || {
                let present = present_at(concurrent, routes, session.began_s, CLOCK_ERROR_S);
                found.push(MixTransaction { at_s: session.began_s, present, statement, idle_s: 0.0 });
                found.len() - 1
            };
            let place = known.map_or_else(new, |(_, place)| *place);
            latest.insert(session.pid, (session.transaction, place));
            found[place].statement = statement;
            // Between polls further apart nothing is known.
            let step_s = poll.at_s - before.at_s;
            found[place].idle_s += if step_s <= GAP_S { step_s } else { 0.0 };
        }
    }
    found.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::observation::SessionActivity;

    #[test]
    fn a_connection_that_is_used_again_at_once_begins_another_transaction() {
        // 0: a short transaction from 1.000 to 1.008, on whose connection 1 holds one from 1.009 on.
        let concurrent = ConcurrentPhase {
            to_s: 2.0,
            requests: vec![(0, 0.999, 1.0085), (1, 1.002, 1.2)],
            ..ConcurrentPhase::default()
        };
        let poll = |at_s: f64, (began_s, statement): (f64, &str)| SessionPoll {
            at_s,
            open: 1,
            sessions: vec![SessionObservation {
                pid: 7,
                transaction: began_s.to_bits().cast_signed(),
                began_s,
                since_s: began_s,
                activity: SessionActivity::Idle,
                statement: Some(statement.into()),
            }],
        };
        let of = |at_s: f64| {
            poll(
                at_s,
                if at_s < 1.009 { (1.0, "SELECT 0") } else { (1.009, if at_s < 1.02 { "BEGIN" } else { "SELECT 1" }) },
            )
        };
        let polls: Vec<SessionPoll> = [0.995, 1.005, 1.015, 1.025, 1.035].map(of).to_vec();
        let found = transactions(&polls.iter().collect::<Vec<_>>(), &concurrent, |_, _| true, 2);
        let seconds: Vec<f64> = found.iter().map(|it| (it.idle_s * 1e3).round()).collect();
        assert_eq!(seconds, [10.0, 30.0], "in milliseconds: {found:?}");
        let there: Vec<f64> = found.iter().map(|it| it.present[1].in_flight()).collect();
        assert_eq!(there, [0.0, 1.0], "{found:?}");
        assert_eq!(
            (found[0].statement, found[1].statement),
            (0, 2),
            "its last statement is the one that it is idle after"
        );
    }
}
