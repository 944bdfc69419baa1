//! Routes after which the service answers nothing any more, as when each request of it loses a connection of the pool.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Halt, ScanScheduler, SchedulerState, Stopped};
use crate::scan::observation::{Batch, Recovery, ServiceBreak, Turn};
use crate::swarm::RequestStatus;

/// Routes that are asked once each to see whether the service still answers: one that needs no connection may.
const PROBES: usize = 4;

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
        let Some(suspect) = suspect(&state.done.turns) else { return Ok(()) };
        let failed = state.done.turns.last().and_then(|turn| turn.route);
        let probes: Vec<usize> =
            answered(&state.done.turns).filter(|route| Some(*route) != failed).take(PROBES).collect();
        let silent = self.unanswered(state, &probes).await?;
        if silent.is_empty() {
            return Ok(());
        }
        let at_s = state.done.turns.last().map_or(0.0, |turn| turn.to_s);
        let at_work = self.polls.latest_since(at_s, |poll| poll.sessions.len()).unwrap_or(0);
        let since = state.done.turns.iter().skip(state.since_start).filter(|turn| turn.route == Some(suspect));
        let of_it = since.flat_map(|turn| &turn.batches).map(|batch| batch.requests - batch.failures).sum();
        if failed != Some(suspect) {
            // Its requests failed because of another's.
            state.done.turns.pop();
        }
        state.leaking.insert(suspect);
        let recovery = self.recovered(state, &silent).await?;
        state.done.breaks.push(ServiceBreak {
            route: suspect,
            answered: of_it,
            outside_transactions: at_work == 0,
            recovery,
        });
        state.since_start = state.done.turns.len();
        if recovery == Recovery::None { Err(Halt::Broken) } else { Ok(()) }
    }

    /// Those of these routes that are not answered.
    async fn unanswered(&self, state: &mut SchedulerState, routes: &[usize]) -> Result<Vec<usize>, Stopped> {
        let Some(mut user) = state.users.pop() else { return Ok(Vec::new()) };
        let mut silent = Vec::new();
        for route in routes {
            let asked = user.ask(*route, self.arm.stop).await;
            if asked.is_none_or(|it| it.status != RequestStatus::Succeeded) {
                silent.push(*route);
            }
            if self.arm.stop.is_cancelled() {
                break;
            }
        }
        state.users.push(user);
        if self.arm.stop.is_cancelled() { Err(Stopped) } else { Ok(silent) }
    }

    async fn recovered(&self, state: &mut SchedulerState, silent: &[usize]) -> Result<Recovery, Stopped> {
        let restarted = self.arm.stop.run_until_cancelled(self.target.restarts.restart()).await.ok_or(Stopped)?;
        if restarted && self.unanswered(state, silent).await?.is_empty() {
            return Ok(Recovery::Restarted);
        }
        let deadline = self.now_s() + PATIENCE.as_secs_f64();
        while self.now_s() < deadline {
            self.pause(ASKED_AGAIN_AFTER).await?;
            if self.unanswered(state, silent).await?.is_empty() {
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
    let all_failed = |batch: &Batch| batch.requests > 0 && batch.failures == batch.requests;
    if !last.batches.last().is_some_and(all_failed) {
        return None;
    }
    if last.batches.iter().any(|batch| batch.failures < batch.requests) {
        return Some(route);
    }
    let before = turns.iter().rev().skip(1).find(|turn| turn.route.is_some_and(|before| before != route))?;
    before.route.filter(|_| before.batches.iter().any(|batch| batch.failures < batch.requests))
}

/// Routes that were answered, the latest first, each once.
fn answered(turns: &[Turn]) -> impl Iterator<Item = usize> {
    let mut known = BTreeSet::new();
    let good = |turn: &&Turn| turn.batches.iter().any(|batch| batch.failures < batch.requests);
    let latest: Vec<usize> = turns.iter().rev().filter(good).filter_map(|turn| turn.route).collect();
    latest.into_iter().filter(move |route| known.insert(*route))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scan::TurnKind;

    fn turn(route: usize, batches: &[(u32, u32)]) -> Turn {
        let batch =
            |(requests, failures): &(u32, u32)| Batch { requests: *requests, failures: *failures, ..Batch::default() };
        Turn {
            route: Some(route),
            round: 1,
            kind: TurnKind::Isolated,
            from_s: 0.0,
            to_s: 1.0,
            cooldown_end_s: 1.4,
            batches: batches.iter().map(batch).collect(),
            counted_s: None,
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
        assert_eq!(suspect(&[fails]), None, "nobody was asked before");
    }

    #[test]
    fn the_latest_answered_routes_come_first() {
        let turns = [turn(0, &[(3, 0)]), turn(1, &[(3, 3)]), turn(2, &[(3, 1)]), turn(0, &[(3, 0)])];
        assert_eq!(answered(&turns).collect::<Vec<_>>(), [0, 2]);
    }
}
