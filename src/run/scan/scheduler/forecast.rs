//! Time that a scan will still take, by what its turns have taken so far.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{COOLDOWN, QUIET, SHORTEST_SPAN_S};
use crate::record::scan::{ScanPlan, ScanRoute, ScanVerdict, TurnKind};
use crate::scan::design;
use crate::scan::observation::{Batch, Turn};
use crate::scan::verdict::{FEWEST_FOR_FINE, is_settled};

/// What is done after the last request: the server's counters are waited for, and read.
const END_S: f64 = 2.5;

/// The first guess of a batch, before any was answered.
const BATCH_S: f64 = 0.5;

/// What is known of a scan that goes on.
pub(super) struct Forecast<'a> {
    pub(super) plan: &'a ScanPlan,
    pub(super) turns: &'a [Turn],
    /// The routes as far as they are judged, by their number.
    pub(super) routes: &'a [ScanRoute],
    /// Routes that are asked no more.
    pub(super) leaking: &'a BTreeSet<usize>,
    /// Routes that are asked alone no more.
    pub(super) settled: &'a BTreeSet<usize>,
}

impl Forecast<'_> {
    /// Seconds until the end.
    pub(super) fn left_s(&self) -> f64 {
        let asked: Vec<usize> = (0..self.routes.len()).filter(|it| !self.leaking.contains(it)).collect();
        let alone = asked.iter().filter(|it| !self.settled.contains(it));
        let alone_s: f64 = alone.map(|route| self.alone_s(*route)).sum();
        let quiet = self.turns.iter().filter(|turn| turn.kind == TurnKind::Quiet).count();
        let quiet_s = (self.rounds() + 1).saturating_sub(quiet) as f64 * (QUIET + COOLDOWN).as_secs_f64();
        alone_s + quiet_s + self.concurrent_s(asked.len()) + self.hang_up_s(&asked) + END_S
    }

    fn rounds(&self) -> usize {
        self.plan.rounds as usize
    }

    /// All turns of a route that are still to come.
    fn alone_s(&self, route: usize) -> f64 {
        let done = |kind| self.turns.iter().filter(|it| it.route == Some(route) && it.kind == kind).count();
        let is_warm = done(TurnKind::Warmup) > 0;
        let (batch_s, rest_s) = (self.batch_s(route), COOLDOWN.as_secs_f64());
        let turn_s = (f64::from(batches(self.plan)) * batch_s).min(self.plan.seconds + batch_s) + rest_s;
        let first_s = if is_warm { 0.0 } else { batch_s + rest_s };
        first_s + self.rounds_of(route).saturating_sub(done(TurnKind::Isolated)) as f64 * turn_s
    }

    /// Rounds after which a route will be settled, most likely.
    fn rounds_of(&self, route: usize) -> usize {
        let Some(judged) = self.routes.get(route) else { return self.rounds() };
        let done = self.turns.iter().filter(|it| it.route == Some(route) && it.kind == TurnKind::Isolated).count();
        let likely = match judged.verdict {
            // What fails is never settled.
            _ if judged.failures > 0 => self.rounds(),
            ScanVerdict::Holds => 1,
            ScanVerdict::Fine | ScanVerdict::Unknown | ScanVerdict::Leaks => {
                let requests = u64::from(batches(self.plan) * self.plan.users);
                usize::try_from(FEWEST_FOR_FINE.div_ceil(requests.max(1))).unwrap_or(usize::MAX)
            }
        };
        // It was not, in as many rounds: then it takes one more.
        likely.max(done + usize::from(!is_settled(judged, self.plan.rounds))).min(self.rounds())
    }

    /// Mean duration of a batch: of the route, else of all.
    fn batch_s(&self, route: usize) -> f64 {
        let mean = |batches: &mut dyn Iterator<Item = &Batch>| {
            let (count, seconds) = batches.fold((0, 0.0), |(count, sum), it| (count + 1, sum + it.to_s - it.from_s));
            (count > 0).then(|| seconds / f64::from(count))
        };
        let asked = || self.turns.iter().filter(|it| it.route.is_some() && it.kind != TurnKind::HangUp);
        // The first batch waits for connections that are made.
        let later = asked().filter(|it| it.route == Some(route) && it.kind == TurnKind::Isolated);
        let own = asked().filter(|it| it.route == Some(route));
        mean(&mut later.flat_map(|it| &it.batches))
            .or_else(|| mean(&mut own.flat_map(|it| &it.batches)))
            .or_else(|| mean(&mut asked().flat_map(|it| &it.batches)))
            .unwrap_or(BATCH_S)
    }

    fn concurrent_s(&self, asked: usize) -> f64 {
        let is_over = self.turns.iter().any(|turn| turn.kind == TurnKind::HangUp);
        if self.plan.concurrent_s <= 0.0 || asked < 2 || is_over {
            return 0.0;
        }
        span(self.plan, spans(asked, self.plan.seed)).as_secs_f64() * spans(asked, self.plan.seed) as f64
            + COOLDOWN.as_secs_f64()
    }

    fn hang_up_s(&self, asked: &[usize]) -> f64 {
        if !self.plan.hang_up {
            return 0.0;
        }
        let is_done =
            |route: &usize| self.turns.iter().any(|it| it.kind == TurnKind::HangUp && it.route == Some(*route));
        // Clients leave after 0.3 and 0.7 of the response time, and the rest lasts until the work of the last one is over.
        asked
            .iter()
            .filter(|route| !is_done(route))
            .map(|route| 1.3 * self.batch_s(*route) + COOLDOWN.as_secs_f64())
            .sum()
    }
}

/// Batches of a route in one round of this plan.
pub(super) fn batches(plan: &ScanPlan) -> u32 {
    plan.requests.div_ceil(plan.rounds.max(1)).div_ceil(plan.users.max(1)).max(1)
}

fn spans(routes: usize, seed: u64) -> usize {
    design::mix(routes, seed).first().map_or(0, Vec::len)
}

/// Length of one of so many spans of the mix.
pub(super) fn span(plan: &ScanPlan, spans: usize) -> Duration {
    Duration::from_secs_f64((plan.concurrent_s / spans.max(1) as f64).max(SHORTEST_SPAN_S))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scan::Estimate;
    use crate::run::ScanSettings;
    use crate::scan::report::unmeasured;

    fn turn(route: Option<usize>, round: u32, kind: TurnKind, batches: u32) -> Turn {
        let batch = |number: u32| Batch {
            from_s: f64::from(number),
            to_s: f64::from(number) + 0.3,
            requests: 3,
            ..Batch::default()
        };
        Turn {
            route,
            round,
            kind,
            from_s: 0.0,
            to_s: 0.0,
            cooldown_end_s: 0.0,
            batches: (0..batches).map(batch).collect(),
            counted_s: None,
            cpu_wait_s: None,
        }
    }

    #[test]
    fn a_route_that_holds_takes_one_round_and_one_that_is_fine_as_many_as_it_needs() {
        let plan = ScanPlan { concurrent_s: 0.0, hang_up: false, ..ScanSettings::default().plan };
        let held = Estimate { value: 0.3, low: 0.299, high: 0.301 };
        let holds =
            ScanRoute { verdict: ScanVerdict::Holds, held_beyond_pauses_s: Some(held), ..unmeasured("GET /a", 1.0) };
        let routes = [holds, unmeasured("GET /b", 1.0)];
        let none = BTreeSet::new();
        let left_s = |turns: &[Turn]| {
            Forecast { plan: &plan, turns, routes: &routes, leaking: &none, settled: &none }.left_s() - END_S
        };
        let warm = [turn(Some(0), 0, TurnKind::Warmup, 1), turn(Some(1), 0, TurnKind::Warmup, 1)];
        // Seven batches of 0.3 s and a rest in each turn; a quiet turn in each of four rounds.
        let (turn_s, quiet_s) = (7.0 * 0.3 + 0.4, 4.0 * 1.9);
        assert!((left_s(&warm) - (3.0 * turn_s + quiet_s)).abs() < 1e-9, "{}", left_s(&warm));
        let later =
            [&warm[..], &[turn(Some(0), 1, TurnKind::Isolated, 7), turn(Some(1), 1, TurnKind::Isolated, 7)]].concat();
        assert!((left_s(&later) - (turn_s + quiet_s)).abs() < 1e-9, "{}", left_s(&later));
    }
}
