//! The transactions of a case that lie within requests, and the routes that hold.

use super::{Observations, Which};
use crate::diagnose::MOSTLY;
use crate::diagnose::attribute::{RouteHold, matters};
use crate::diagnose::interval::HoldInterval;
use crate::diagnose::spanning::{BySpanning, Spanned, WholeTransaction, compare};
use crate::record::{Spanning, TransactionSample};

/// A holder of the regression of whose idle time less than this part lies within its requests is refuted.
const REFUTED_BELOW: f64 = 0.7;

impl Observations<'_> {
    pub(super) fn spanned(&self) -> Option<BySpanning> {
        // When the load ends, requests are cut off, and what they hold goes on.
        let until_s = self.case.variant.phases.steady_to_s;
        let held = self.transactions(Which::Held).filter(|it| it.ended_s <= until_s);
        let whole: Vec<WholeTransaction> = held.filter_map(|it| self.whole(it)).collect();
        compare(&whole, self.timeline.routes.len())
    }

    fn whole(&self, it: &TransactionSample) -> Option<WholeTransaction> {
        Some(WholeTransaction {
            spanning: self.spanning(it)?,
            has_ended: !it.still_open,
            ended_s: it.ended_s,
            idle_s: it.weight * it.idle_s,
        })
    }

    /// Requests around a transaction, by the route's place; `None` of records without them.
    pub(super) fn spanning(&self, it: &TransactionSample) -> Option<Vec<Spanning>> {
        let spanning = it.spanning.as_ref()?;
        let by_place = self.timeline.routes.iter().map(|route| spanning.get(route).copied().unwrap_or_default());
        Some(by_place.collect())
    }

    pub(super) fn who_holds(&self) -> Vec<RouteHold> {
        if let Some(exact) = &self.exact {
            return exact.clone();
        }
        let by_load = || self.attribution.as_ref().map_or(&[][..], |it| &it.holders);
        let begun = self.begun.as_ref().filter(|it| !it.holders.is_empty() || !self.mostly_full());
        match begun {
            Some(begun) => begun.holders.clone(),
            None => match self.spanned.as_ref().and_then(|it| it.named) {
                Some(named) => self.spanned_hold(named).into_iter().collect(),
                None => by_load().iter().filter(|it| !self.is_refuted(it)).cloned().collect(),
            },
        }
    }

    /// True if most of what is held began in a full pool.
    pub(in crate::diagnose) fn mostly_full(&self) -> bool {
        let (mut full_s, mut all_s) = (0.0, 0.0);
        for it in self.transactions(Which::Held) {
            let idle_s = it.weight * it.idle_s;
            all_s += idle_s;
            full_s += if self.has_room(it.began_s) { 0.0 } else { idle_s };
        }
        full_s > MOSTLY * all_s
    }

    /// True if requests of a route that the regression names were not there throughout the transactions. When they end tells nothing here:
    /// a service that stands still answers late.
    fn is_refuted(&self, hold: &RouteHold) -> bool {
        let Some(spanned) = &self.spanned else { return false };
        let of_it = spanned.routes.iter().find(|it| self.timeline.routes[it.route] == hold.route);
        of_it.is_some_and(|it| it.throughout < REFUTED_BELOW * hold.share.min(1.0))
    }

    /// All that is held, as one route's; `None` where it is too little to matter.
    fn spanned_hold(&self, named: Spanned) -> Option<RouteHold> {
        let (from_s, to_s) = self.steady_s();
        let route = &self.timeline.routes[named.route];
        let (held_s, all_s) = (self.held_s(), self.idle_s());
        let idle_s = named.share * held_s;
        let in_flight_s = self.timeline.integral(from_s, to_s, |row| row.in_flight[named.route]);
        let finished = self.finished(route) as f64;
        // What lies within no request of it may be its own as well: one that was cut off, or was answered late.
        let around = |value: f64| HoldInterval { value, low: named.share * value, high: value / named.share };
        let edges = [self.timeline.nearest(from_s), self.timeline.nearest(to_s)];
        let cut: f64 = edges.iter().flatten().map(|row| row.held()).sum();
        let relative = 1.96 * cut.sqrt() / finished.max(1.0);
        let wider = |it: HoldInterval| HoldInterval {
            low: (it.low * (1.0 - relative)).max(0.0),
            high: it.high * (1.0 + relative),
            ..it
        };
        let hold = RouteHold {
            route: route.clone(),
            coefficient: around(if in_flight_s > 0.0 { idle_s / in_flight_s } else { 1.0 }),
            share: if all_s > 0.0 { idle_s / all_s } else { named.share },
            held_s: (finished > 0.0).then(|| wider(around(idle_s / finished))),
            idle_s,
            like_constant: false,
            begun: None,
            spanned: Some(named),
        };
        matters(&hold).then_some(hold)
    }
}
