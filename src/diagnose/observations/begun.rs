//! The beginnings of a case's transactions, and the routes that begin them.

use super::Observations;
use crate::diagnose::MOSTLY;
use crate::diagnose::attribute::{RouteHold, matters, matters_beside_others};
use crate::diagnose::beginnings::{Beginning, Begun, ByBeginnings, Moment, STATED_OF_NONE, attribute};
use crate::diagnose::interval::HoldInterval;
use crate::diagnose::statements::normalise;
use crate::diagnose::timeline::TimelineRow;
use crate::record::{Presence, Sample, SessionProcess, TransactionSample};

/// Attribution of a case by beginnings.
pub(in crate::diagnose) struct BegunHolds {
    /// Routes that begin transactions that are held, most session seconds first.
    pub(in crate::diagnose) holders: Vec<RouteHold>,
    pub(in crate::diagnose) found: ByBeginnings,
    /// Last statements, by their places in `found`.
    pub(in crate::diagnose) statements: Vec<String>,
    /// Processes, in the same way.
    pub(in crate::diagnose) processes: Vec<SessionProcess>,
}

impl BegunHolds {
    /// True if most of it is begun by no request, clearly, or belongs to a process that does not serve the target, where `any_serves`.
    pub(super) fn is_of_others(&self, any_serves: bool) -> bool {
        let found = &self.found;
        let all_s: f64 =
            found.none_statements.iter().chain(found.routes.iter().flat_map(|it| &it.statements)).map(|it| it.1).sum();
        let elsewhere = |(place, _): &&(usize, f64)| !self.processes[*place].serves_target;
        let elsewhere_s: f64 = found.none_processes.iter().filter(elsewhere).map(|it| it.1).sum();
        (any_serves && elsewhere_s > MOSTLY * all_s)
            || (found.none_strength >= STATED_OF_NONE && found.begun_by_none > MOSTLY)
    }
}

/// A transaction that is idle for so long is no pause between two statements.
const LONG_IDLE_S: f64 = 0.25;

/// The transactions of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that a request or a task holds.
    Held,
    /// Those that outlive every request.
    Leaked,
    /// Both.
    All,
}

impl Observations<'_> {
    /// Attribution by beginnings; `None` of records that do not have them, and where there are too few.
    pub(super) fn begun(&self, which: Which) -> Option<BegunHolds> {
        let moments = self.moments();
        let (mut statements, mut processes) = (Vec::new(), Vec::new());
        let beginnings: Vec<Beginning> = self
            .transactions(which)
            .filter(|it| self.has_room(it.began_s))
            .map(|it| self.beginning(it, &mut statements, &mut processes))
            .collect();
        let found = attribute(&beginnings, &moments, self.timeline.routes.len())?;
        let idle_s = match which {
            Which::Held => self.held_s(),
            Which::Leaked | Which::All => beginnings.iter().map(|it| it.weight * it.idle_s).sum(),
        };
        let mut holders: Vec<RouteHold> = found.routes.iter().map(|begun| self.hold(begun, idle_s)).collect();
        if which == Which::Held {
            let (from_s, to_s) = self.steady_s();
            holders.retain(|hold| matters(hold) || matters_beside_others(hold, to_s - from_s));
        }
        Some(BegunHolds { holders, found, statements, processes })
    }

    /// Routes of which one or more may begin the transactions, where nobody can tell which.
    pub(in crate::diagnose) fn could_be(&self, begun: &BegunHolds) -> Vec<String> {
        let told_apart = begun.found.routes.iter().filter(|it| !it.or_else.is_empty());
        let mut places: Vec<usize> = told_apart
            .flat_map(|it| it.or_else.iter().copied().chain([it.route]))
            .chain(begun.found.ambiguous.clone())
            .collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| self.timeline.routes[place].clone()).collect()
    }

    /// Transactions that began while there was load.
    pub(super) fn transactions(&self, which: Which) -> impl Iterator<Item = &TransactionSample> {
        let outlives_s = self.outlives_s().filter(|_| !self.leaks.is_empty());
        let is_leaked = move |it: &TransactionSample| {
            outlives_s.is_some_and(|longest_s| it.ended_s - it.began_s > longest_s)
                && self.leaks.iter().any(|leak| self.statements[*leak].statement == normalise(&it.statement))
        };
        let (scope, until_s) = (self.case.scope(), self.case.variant.phases.steady_to_s);
        let own = self.case.samples.iter().filter(move |it| it.variant == scope);
        let taken = own.filter_map(|stamped| match &stamped.sample {
            Sample::Transaction(transaction) => Some(transaction),
            _ => None,
        });
        taken.filter(move |it| {
            (0.0..until_s).contains(&it.began_s) && (which == Which::All || is_leaked(it) == (which == Which::Leaked))
        })
    }

    /// True if a session is of a process that serves the target: behind a proxy or a pooler none is.
    pub(in crate::diagnose) fn any_serves(&self) -> bool {
        self.transactions(Which::All).any(|it| it.process.as_ref().is_some_and(|process| process.serves_target))
    }

    /// True if a transaction outlived every request.
    pub(super) fn any_outlives(&self) -> bool {
        self.transactions(Which::Leaked).next().is_some()
    }

    /// Sessions at the mean that are idle in transactions which are idle for long; `None` of records without transactions.
    pub(in crate::diagnose) fn long_idle(&self) -> Option<f64> {
        let lasted_s = self.case.variant.phases.steady_to_s;
        let (mut any, mut idle_s) = (false, 0.0);
        for it in self.transactions(Which::All) {
            any = true;
            idle_s += if it.idle_s >= LONG_IDLE_S { it.weight * it.idle_s } else { 0.0 };
        }
        (any && lasted_s > 0.0).then(|| idle_s / lasted_s)
    }

    /// Requests at each sample of the load.
    fn moments(&self) -> Vec<Moment> {
        let (scope, until_s) = (self.case.scope(), self.case.variant.phases.steady_to_s);
        let own = self.case.samples.iter().filter(|it| it.variant == scope && (0.0..until_s).contains(&it.at_s));
        let taken = own.filter_map(|stamped| match &stamped.sample {
            // Where nobody is there nothing is recorded; a record of an earlier program has nothing at all.
            Sample::Load(load)
                if (!load.present.is_empty() || load.in_flight.is_empty()) && self.has_room(stamped.at_s) =>
            {
                Some(Moment { at_s: stamped.at_s, present: self.by_place(&load.present) })
            }
            _ => None,
        });
        taken.collect()
    }

    fn beginning(
        &self,
        it: &TransactionSample,
        statements: &mut Vec<String>,
        processes: &mut Vec<SessionProcess>,
    ) -> Beginning {
        let statement = place_of(normalise(&it.statement), statements);
        let process = it.process.clone().map(|process| place_of(process, processes));
        let present = self.by_place(&it.present);
        let spanning = if it.still_open { Vec::new() } else { self.spanning(it).unwrap_or_default() };
        Beginning {
            at_s: it.began_s,
            present,
            spanning,
            statement,
            process,
            idle_s: it.idle_s,
            aged_s: it.aged_s.unwrap_or(it.idle_s),
            weight: it.weight,
        }
    }

    fn by_place(&self, present: &std::collections::BTreeMap<String, Presence>) -> Vec<Presence> {
        self.timeline.routes.iter().map(|route| present.get(route).copied().unwrap_or_default()).collect()
    }

    /// True if no pool was full at that time: in a full one a transaction begins when another ends, no matter who asks.
    pub(super) fn has_room(&self, at_s: f64) -> bool {
        self.timeline.nearest(at_s).is_none_or(|row| !row.saturated)
    }

    /// Session seconds in the steady phase that are neither leaked nor older than the load.
    pub(super) fn held_s(&self) -> f64 {
        let (from_s, to_s) = self.steady_s();
        self.timeline.integral(from_s, to_s, TimelineRow::held)
    }

    fn hold(&self, begun: &Begun, held_s: f64) -> RouteHold {
        let (from_s, to_s) = self.steady_s();
        let route = &self.timeline.routes[begun.route];
        let all_s = self.idle_s();
        let idle_s = begun.share.value * held_s;
        let in_flight_s = self.timeline.integral(from_s, to_s, |row| row.in_flight[begun.route]);
        let finished = self.finished(route) as f64;
        let relative = self.sampling_error(begun, idle_s, finished);
        let around = |value: f64| {
            let assignment = (begun.share.high - begun.share.low) / 2.0 / begun.share.value.max(f64::MIN_POSITIVE);
            let half = value * (assignment * assignment + relative * relative).sqrt();
            HoldInterval { value, low: (value - half).max(0.0), high: value + half }
        };
        RouteHold {
            route: route.clone(),
            coefficient: around(if in_flight_s > 0.0 { idle_s / in_flight_s } else { 1.0 }),
            share: if all_s > 0.0 { idle_s / all_s } else { begun.share.value },
            held_s: (finished > 0.0).then(|| around(idle_s / finished)),
            idle_s,
            like_constant: false,
            begun: Some(begun.clone()),
            spanned: None,
        }
    }

    /// Half of the 95 % interval of the seconds, relative to them: from the samples' own error, and from the transactions that
    /// an end of the window cuts.
    fn sampling_error(&self, begun: &Begun, idle_s: f64, finished: f64) -> f64 {
        let summary = &self.case.variant.summary;
        let sampled = summary.idle_in_transaction_sampled_error_s.zip(summary.idle_in_transaction_sampled_s);
        let sampled = sampled.filter(|(_, all_s)| *all_s > 0.0).map_or(0.02, |(error_s, all_s)| 1.96 * error_s / all_s);
        let (from_s, to_s) = self.steady_s();
        let edges = [self.timeline.nearest(from_s), self.timeline.nearest(to_s)];
        let cut: f64 = edges.iter().flatten().map(|row| begun.share.value * row.held()).sum();
        let each_s = if finished > 0.0 { idle_s / finished } else { 0.0 };
        let cut = if idle_s > 0.0 { 1.96 * cut.sqrt() * each_s / idle_s } else { 0.0 };
        (sampled * sampled + cut * cut).sqrt()
    }
}

/// Its place among those that are known, of which it is one then.
fn place_of<T: PartialEq>(it: T, known: &mut Vec<T>) -> usize {
    known.iter().position(|known| *known == it).unwrap_or_else(|| {
        known.push(it);
        known.len() - 1
    })
}
