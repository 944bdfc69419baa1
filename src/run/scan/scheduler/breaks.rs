//! Routes after which the service answers nothing any more, as when each request of it loses a connection of the pool.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Halt, ScanScheduler, SchedulerState, Stopped};
use crate::scan::observation::{Batch, Recovery, ServiceBreak, SessionPoll, Turn};
use crate::swarm::{FinishedRequest, RequestStatus};

/// Routes that are asked once each to see whether the service still answers: one that needs no connection may.
const PROBES: usize = 4;

/// A request that fails after so long has waited for something: a pool gives up after a second or more.
const WAITS: Duration = Duration::from_secs(1);

/// A service that was not started here has so long to answer again.
const PATIENCE: Duration = Duration::from_secs(20);
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(2);

impl ScanScheduler<'_> {
    /// Looks whether the service still answers, where the last turn's requests failed at its end. If it does not, the route to blame is
    /// asked for no more, and the scan goes on as soon as there are answers.
    pub(super) async fn look_for_break(&self, state: &mut SchedulerState) -> Result<(), Halt> {
        // What another route has left behind may be in the way: then nobody else is to blame.
        if state.is_disturbed {
            return Ok(());
        }
        let turns = &state.done.turns[state.since_start.min(state.done.turns.len())..];
        let Some(suspect) = suspect(turns) else { return Ok(()) };
        let failed = turns.last().and_then(|turn| turn.route);
        let may_be_asked =
            |route: &usize| Some(*route) != failed && *route != suspect && !state.leaking.contains(route);
        let probes: Vec<usize> = reliable(turns).filter(may_be_asked).take(PROBES).collect();
        let silent = self.silent(state, &probes).await?;
        if silent.is_empty() {
            return Ok(());
        }
        let turns = &state.done.turns[state.since_start.min(state.done.turns.len())..];
        let of_it = turns.iter().filter(|turn| turn.route == Some(suspect)).flat_map(|turn| &turn.batches);
        let answered: u32 = of_it.map(|batch| batch.requests - batch.failures).sum();
        let to_s = turns.last().map_or(0.0, |turn| turn.to_s);
        let capacity = self.target.pool_capacity.unwrap_or(0);
        let is_taken = |poll: &SessionPoll| poll.sessions.is_empty() && poll.open >= answered.max(capacity);
        let has_taken_the_pool = answered > 0 && self.polls.latest_since(to_s, is_taken).unwrap_or(false);
        if failed != Some(suspect) {
            // Its requests failed because of another's.
            state.done.turns.pop();
        }
        state.leaking.insert(suspect);
        let recovery = self.recovered(state, &silent).await?;
        state.done.breaks.push(ServiceBreak { route: suspect, answered, has_taken_the_pool, recovery });
        state.since_start = state.done.turns.len();
        if recovery == Recovery::None { Err(Halt::Broken) } else { Ok(()) }
    }

    /// Those of these routes whose requests wait in vain: an answer that refuses comes at once.
    async fn silent(&self, state: &mut SchedulerState, routes: &[usize]) -> Result<Vec<usize>, Stopped> {
        let Some(mut user) = state.users.pop() else { return Ok(Vec::new()) };
        let mut silent = Vec::new();
        for route in routes {
            let asked = user.ask(*route, self.arm.stop).await;
            let waits = |it: &FinishedRequest| it.status != RequestStatus::Succeeded && it.done - it.sent >= WAITS;
            silent.extend(asked.filter(waits).map(|_| *route));
            if self.arm.stop.is_cancelled() {
                break;
            }
        }
        state.users.push(user);
        if self.arm.stop.is_cancelled() { Err(Stopped) } else { Ok(silent) }
    }

    async fn recovered(&self, state: &mut SchedulerState, silent: &[usize]) -> Result<Recovery, Stopped> {
        // Not cut off in its middle: it looks by itself whether it shall stop.
        if self.restarted(state).await && self.silent(state, silent).await?.is_empty() {
            return Ok(Recovery::Restarted);
        }
        let deadline = self.now_s() + PATIENCE.as_secs_f64();
        while self.now_s() < deadline {
            self.pause(ASKED_AGAIN_AFTER).await?;
            if self.silent(state, silent).await?.is_empty() {
                return Ok(Recovery::Waited);
            }
        }
        Ok(Recovery::None)
    }
}

/// The route that may have stopped the service: the last turn's own, where some of its requests were answered before; else that of the
/// turn before it, if it was answered. `None` where the last requests were answered, or the route never was.
fn suspect(turns: &[Turn]) -> Option<usize> {
    let last = turns.last()?;
    let route = last.route?;
    let waits_in_vain = |batch: &Batch| {
        let waited_s = batch.response_s / f64::from(batch.requests.max(1));
        batch.requests > 0 && batch.failures == batch.requests && waited_s >= WAITS.as_secs_f64()
    };
    if !last.batches.last().is_some_and(waits_in_vain) {
        return None;
    }
    if last.batches.iter().any(|batch| batch.failures < batch.requests) {
        return Some(route);
    }
    let before = turns.iter().rev().skip(1).find(|turn| turn.route.is_some_and(|before| before != route))?;
    before.route.filter(|_| before.batches.iter().any(|batch| batch.failures < batch.requests))
}

/// Routes of which every request was answered, the latest first, each once.
fn reliable(turns: &[Turn]) -> impl Iterator<Item = usize> {
    let mut known = BTreeSet::new();
    let fails = |turn: &&Turn| turn.batches.iter().any(|batch| batch.failures > 0);
    let failing: BTreeSet<Option<usize>> = turns.iter().filter(fails).map(|turn| turn.route).collect();
    let good = |turn: &&Turn| !failing.contains(&turn.route);
    let latest: Vec<usize> = turns.iter().rev().filter(good).filter_map(|turn| turn.route).collect();
    latest.into_iter().filter(move |route| known.insert(*route))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scan::TurnKind;

    fn turn(route: usize, batches: &[(u32, u32)]) -> Turn {
        let batch = |(requests, failures): &(u32, u32)| Batch {
            requests: *requests,
            failures: *failures,
            response_s: 3.0 * f64::from(*failures),
            ..Batch::default()
        };
        Turn {
            route: Some(route),
            round: 1,
            kind: TurnKind::Isolated,
            from_s: 0.0,
            to_s: 1.0,
            cooldown_end_s: 1.4,
            batches: batches.iter().map(batch).collect(),
            counted_s: None,
            cpu_wait_s: None,
        }
    }

    #[test]
    fn who_was_answered_and_then_is_not_is_suspected_else_who_was_asked_before() {
        let (fine, fails) = (turn(0, &[(3, 0), (3, 0)]), turn(1, &[(3, 3)]));
        assert_eq!(suspect(std::slice::from_ref(&fine)), None);
        assert_eq!(suspect(&[fine.clone(), turn(1, &[(3, 0), (3, 3)])]), Some(1));
        assert_eq!(suspect(&[fine.clone(), turn(1, &[(3, 1), (3, 2)])]), None, "some are answered");
        assert_eq!(suspect(&[turn(2, &[(3, 0)]), fine, fails.clone()]), Some(0));
        assert_eq!(suspect(&[turn(2, &[(3, 0)]), turn(3, &[(3, 3)]), fails.clone()]), None, "they fail alike");
        assert_eq!(suspect(std::slice::from_ref(&fails)), None, "nobody was asked before");
        let mut refused = fails;
        refused.batches[0].response_s = 0.01;
        assert_eq!(suspect(&[turn(0, &[(3, 0)]), refused]), None, "who is refused at once waits for nothing");
    }

    #[test]
    fn the_latest_routes_that_always_answer_come_first() {
        let turns = [turn(3, &[(3, 0)]), turn(0, &[(3, 0)]), turn(1, &[(3, 3)]), turn(2, &[(3, 1)])];
        assert_eq!(reliable(&turns).collect::<Vec<_>>(), [0, 3]);
    }
}
