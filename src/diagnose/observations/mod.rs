//! Everything that was seen of a case, put side by side once.

mod begun;
mod spanned;

use std::collections::BTreeMap;

use crate::diagnose::attribute::{Attribution, RouteHold, attribute};
use crate::diagnose::blocking::{WaitQueue, roots};
use crate::diagnose::interval::HoldInterval;
use crate::diagnose::regression::AttributionInput;
use crate::diagnose::spanning::BySpanning;
use crate::diagnose::statements::{StatementHold, breakdowns, by_statement, idle_s, named_route, normalise};
use crate::diagnose::timeline::{LoadTimeline, TimelineRow};
use crate::diagnose::{Case, MOSTLY};
use crate::record::{BreakdownSample, HoldGroup, PgBouncerPool, Sample, SeenBy};
use crate::texts::PatternCounts;
use crate::units::Span;
pub(in crate::diagnose) use begun::BegunHolds;
use begun::Which;

/// A transaction that is so many times older than the longest request, and a second more, belongs to none.
const OUTLIVES: f64 = 1.5;

/// No known pattern holds more than four sessions for a request. Where more go with it, they stay when it is done.
pub(in crate::diagnose) const STAY: f64 = 4.5;

/// Share of the polls below which something seen is an accident.
const LASTS: f64 = 0.2;

/// A service of whose time under load more than this passes without an answer stands still.
const STILL: f64 = 0.5;

/// From this share of named sessions on, the application's own word is taken instead of the regression.
const NAMED: f64 = 0.8;

pub(in crate::diagnose) struct Observations<'a> {
    pub(in crate::diagnose) case: Case<'a>,
    pub(in crate::diagnose) timeline: LoadTimeline,
    pub(in crate::diagnose) breakdowns: Vec<(f64, &'a BreakdownSample)>,
    pub(in crate::diagnose) statements: Vec<StatementHold>,
    /// Result of the regression.
    pub(in crate::diagnose) attribution: Option<Attribution>,
    /// Result of the beginnings; `None` of records without them.
    pub(in crate::diagnose) begun: Option<BegunHolds>,
    /// The same of the transactions that outlive every request.
    pub(in crate::diagnose) leaks_begun: Option<BegunHolds>,
    /// Hold time as the application states it; `None` when it states nothing.
    pub(in crate::diagnose) exact: Option<Vec<RouteHold>>,
    /// Transactions within requests; `None` of records without them, and where too few were seen to their end.
    pub(in crate::diagnose) spanned: Option<BySpanning>,
    /// The routes that hold: as the application states them, else by the beginnings, else by what lies within their requests, else
    /// by the regression where nothing refutes it.
    holders: Vec<RouteHold>,
    /// Error texts of the record and of the logs.
    pub(in crate::diagnose) texts: PatternCounts,
    /// Roots of lock queues, most waiting first.
    pub(in crate::diagnose) roots: Vec<WaitQueue>,
    /// Statements whose transactions outlive every request.
    pub(in crate::diagnose) leaks: Vec<usize>,
}

impl<'a> Observations<'a> {
    pub(in crate::diagnose) fn of(case: Case<'a>) -> Self {
        let phases = case.variant.phases;
        let samples: Vec<_> = case.samples.iter().filter(|stamped| stamped.variant == case.scope).collect();
        let of = if case.is_watched() { LoadTimeline::watched } else { LoadTimeline::of };
        let timeline = of(&samples, case.capacity(), phases.steady_to_s);
        let own = case.samples;
        let breakdowns: Vec<_> = breakdowns(own, 0.0, phases.steady_to_s, case.scope);
        let statements = by_statement(&breakdowns, &timeline.routes, |group| is_of_load(&case, group));
        let roots = roots(own, 0.0, phases.steady_to_s, case.scope);
        let mut texts = case.texts.clone();
        // The gateway, its clients, PgBouncer and the logs tell of the same errors.
        for seen_by in [SeenBy::Gateway, SeenBy::Client, SeenBy::PgBouncer] {
            let mut reported = PatternCounts::default();
            let theirs = case.variant.errors.iter().filter(|error| error.seen_by == seen_by);
            theirs.for_each(|error| reported.add(&error.text, error.count));
            texts.also_seen(reported);
        }
        let mut seen = Self {
            case,
            timeline,
            breakdowns,
            statements,
            attribution: None,
            begun: None,
            leaks_begun: None,
            exact: None,
            spanned: None,
            holders: Vec::new(),
            texts,
            roots,
            leaks: Vec::new(),
        };
        crate::diagnose::gauges::beside_polls(&seen.case, &samples, &mut seen.timeline.rows);
        seen.beside_polls(Self::earlier_at, |row| &mut row.earlier);
        seen.leaks = seen.leaks();
        seen.leaks_begun = seen.begun(Which::Leaked);
        let any_serves = seen.any_serves();
        // Where none outlives every request, there are too many of them for the requests in flight.
        let all = || seen.begun(Which::All).filter(|_| !seen.leaks.is_empty() && !seen.any_outlives());
        let of_others = |it: &BegunHolds| it.is_of_others(any_serves);
        if seen.leaks_begun.as_ref().map_or_else(|| all().as_ref().is_some_and(of_others), of_others) {
            // A job or a neighbour takes longer than any request: no request has left that behind.
            (seen.leaks, seen.leaks_begun) = (Vec::new(), None);
        }
        seen.beside_polls(Self::leaked_at, |row| &mut row.leaked);
        seen.attribution = seen.attribute(TimelineRow::held).map(|it| it.of_all(seen.idle_s()));
        seen.begun = seen.begun(Which::Held);
        seen.exact = seen.exact();
        seen.spanned = seen.spanned();
        seen.holders = seen.who_holds();
        seen
    }

    pub(in crate::diagnose) fn attribute(&self, of: fn(&TimelineRow) -> f64) -> Option<Attribution> {
        attribute(&AttributionInput {
            timeline: &self.timeline,
            steady_s: self.steady_s(),
            finished: &|route| self.finished(route),
            of,
        })
    }

    pub(in crate::diagnose) fn steady_s(&self) -> (f64, f64) {
        (self.case.variant.phases.steady_from_s, self.case.variant.phases.steady_to_s)
    }

    /// Requests of a route that finished in the steady phase.
    pub(in crate::diagnose) fn finished(&self, route: &str) -> u64 {
        self.case.variant.routes.iter().find(|it| it.route == route).map_or(0, |it| it.requests)
    }

    /// Idle-in-transaction session seconds over the steady phase.
    pub(in crate::diagnose) fn idle_s(&self) -> f64 {
        let (from_s, to_s) = self.steady_s();
        self.timeline.integral(from_s, to_s, |row| row.idle() + row.waits_for_client())
    }

    /// Sessions that may be open; where nobody says, as many as were ever open.
    pub(in crate::diagnose) fn capacity(&self) -> f64 {
        let open = || self.timeline.rows.iter().map(|row| row.activity.sessions).max().unwrap_or(0);
        f64::from(self.case.capacity().unwrap_or_else(open))
    }

    /// Share of the steady phase that lies between polls that are no gap apart.
    pub(in crate::diagnose) fn share_watched(&self) -> f64 {
        let (from_s, to_s) = self.steady_s();
        let lasted_s = to_s - from_s;
        if lasted_s > 0.0 { self.timeline.integral(from_s, to_s, |_| 1.0) / lasted_s } else { 1.0 }
    }

    /// True if a pool was full at any time.
    pub(in crate::diagnose) fn saturated(&self) -> bool {
        self.timeline.rows.iter().any(|row| row.saturated)
    }

    /// Share of the idle sessions that were in an aborted transaction.
    pub(in crate::diagnose) fn aborted(&self) -> f64 {
        let sum = |value: fn(&TimelineRow) -> f64| self.timeline.rows.iter().map(value).sum::<f64>();
        let idle = sum(TimelineRow::idle);
        if idle > 0.0 { sum(|row| f64::from(row.activity.idle_in_transaction_aborted)) / idle } else { 0.0 }
    }

    /// Samples of the pools' gauges.
    pub(in crate::diagnose) fn pools(&self) -> impl Iterator<Item = &'a crate::record::PoolSample> + use<'a> {
        let (scope, until_s) = (self.case.scope, self.case.variant.phases.steady_to_s);
        let own = self.case.samples.iter().filter(move |it| it.variant == scope && (0.0..=until_s).contains(&it.at_s));
        own.filter_map(|stamped| match &stamped.sample {
            Sample::Pools(pools) => Some(pools),
            _ => None,
        })
    }

    /// Share of the time under load in which requests were in flight, and not one finished within a second.
    pub(in crate::diagnose) fn share_standing_still(&self) -> f64 {
        let (scope, until_s) = (self.case.scope, self.case.variant.phases.steady_to_s);
        let own = self.case.samples.iter().filter(|it| it.variant == scope && (0.0..=until_s).contains(&it.at_s));
        let loads = own.filter_map(|stamped| match &stamped.sample {
            Sample::Load(load) => Some((stamped.at_s, load)),
            _ => None,
        });
        let (mut all_s, mut still_s) = (0.0, 0.0);
        let mut since: Option<(f64, u64)> = None;
        let mut last_s = None;
        for (at_s, load) in loads {
            all_s += last_s.map_or(0.0, |last_s: f64| at_s - last_s);
            last_s = Some(at_s);
            let moved = since.is_none_or(|(_, finished)| finished != load.finished) || load.in_flight.is_empty();
            match since {
                Some((since_s, _)) if moved && at_s - since_s >= 1.0 => still_s += at_s - since_s,
                _ => {}
            }
            if moved {
                since = Some((at_s, load.finished));
            }
        }
        if let Some(((since_s, _), last_s)) = since.zip(last_s).filter(|((since_s, _), last_s)| last_s - since_s >= 1.0)
        {
            still_s += last_s - since_s;
        }
        if all_s > 0.0 { still_s / all_s } else { 0.0 }
    }

    /// Share of the health probes under load that failed; `None` where nobody probes.
    pub(in crate::diagnose) fn share_of_failed_probes(&self) -> Option<f64> {
        let (scope, until_s) = (self.case.scope, self.case.variant.phases.steady_to_s);
        let own = self.case.samples.iter().filter(|it| it.variant == scope && (0.0..=until_s).contains(&it.at_s));
        let probes: Vec<bool> = own
            .filter_map(|stamped| match &stamped.sample {
                Sample::Health(probe) => Some(probe.error.is_some()),
                _ => None,
            })
            .collect();
        let failed = probes.iter().filter(|failed| **failed).count();
        (!probes.is_empty()).then(|| failed as f64 / probes.len() as f64)
    }

    /// The pools of `PgBouncer`, at each look that it answered.
    pub(in crate::diagnose) fn pgbouncer_pools(&self) -> impl Iterator<Item = &'a [PgBouncerPool]> + use<'a> {
        let scope = self.case.scope;
        let own = self.case.samples.iter().filter(move |it| it.variant == scope);
        own.filter_map(|stamped| match &stamped.sample {
            Sample::PgBouncer(pgbouncer) => pgbouncer.pools.as_deref(),
            _ => None,
        })
    }

    /// Statements whose transactions are older than any request was. In a full pool requests get old without finishing;
    /// there only the clients' timeout bounds their age. In a service that stands still not even that: it goes on with
    /// what its clients gave up, once it goes on.
    fn leaks(&self) -> Vec<usize> {
        let outlives_s = self.outlives_s();
        let old = |hold: &StatementHold| {
            outlives_s.is_some_and(|longest_s| hold.oldest_s > longest_s && self.stays(&hold.statement, longest_s))
        };
        let outlive: Vec<usize> = (0..self.statements.len()).filter(|index| old(&self.statements[*index])).collect();
        if outlive.is_empty() && self.outnumbered() {
            let mostly = |index: &usize| self.statements[*index].share >= MOSTLY;
            return (0..self.statements.len()).filter(mostly).collect();
        }
        outlive
    }

    /// True if a transaction of this statement was still open at the end of the load, older than that, or most of its idle time is in
    /// transactions that old. A few that are somewhat older and end are held: in a pool of many, until the next one takes the connection.
    fn stays(&self, statement: &str, longest_s: f64) -> bool {
        let (_, load_ended_s) = self.steady_s();
        let (mut idle_s, mut outliving_s) = (0.0, 0.0);
        for it in self.transactions(Which::All).filter(|it| normalise(&it.statement) == statement) {
            if it.ended_s >= load_ended_s && load_ended_s - it.began_s > longest_s {
                return true;
            }
            idle_s += it.weight * it.idle_s;
            outliving_s += if it.ended_s - it.began_s > longest_s { it.weight * it.idle_s } else { 0.0 };
        }
        // Records without transactions tell of the oldest alone.
        outliving_s >= MOSTLY * idle_s
    }

    /// True if most of the transactions that outlive every request ended during the load, and not by a limit of the server's.
    pub(in crate::diagnose) fn leaks_end(&self) -> bool {
        let (_, load_ended_s) = self.steady_s();
        let (mut all, mut ended) = (0.0, 0.0);
        for it in self.transactions(Which::Leaked) {
            all += it.weight;
            ended += if it.ended_s < load_ended_s { it.weight } else { 0.0 };
        }
        let by_server = self.case.variant.sessions_lost.as_ref().map_or(0.0, |it| it.fatal as f64);
        all > 0.0 && ended - by_server >= MOSTLY * all
    }

    /// The age from which on a transaction outlives every request; `None` where none bounds it.
    pub(in crate::diagnose) fn outlives_s(&self) -> Option<f64> {
        let finished_ms = self.case.variant.routes.iter().filter_map(|it| it.latency_max_ms).fold(0.0, f64::max);
        // What the end of the load has cut off may have been the slowest.
        let slowest_s = self.case.variant.generator.cut_off_oldest_s.unwrap_or(0.0).max(finished_ms / 1e3);
        let timeout_s = self.case.record.scenario.client_timeout().map_or(0.0, Span::secs);
        let longest_s = if self.saturated() { timeout_s.max(slowest_s) } else { slowest_s };
        let bounded = longest_s > 0.0 && !(self.given_up() && self.share_standing_still() >= STILL);
        bounded.then_some(OUTLIVES * longest_s + 1.0)
    }

    pub(in crate::diagnose) fn holders(&self) -> &[RouteHold] {
        &self.holders
    }

    /// True if clients gave requests up.
    pub(in crate::diagnose) fn given_up(&self) -> bool {
        // Records without the figure have the client's text for it.
        let by_text = || self.case.variant.errors.iter().any(|error| error.text.starts_with("no answer within"));
        self.case.variant.generator.given_up.map_or_else(by_text, |requests| requests > 0)
    }

    /// True if so many sessions are idle in transaction that the requests in flight cannot be holding them.
    fn outnumbered(&self) -> bool {
        let more = |row: &&TimelineRow| row.idle_under_load() > STAY * row.in_flight.iter().sum::<f64>() + 2.0;
        let rows = self.timeline.rows.iter().filter(more).count();
        rows > 0 && rows as f64 >= LASTS * self.timeline.rows.len() as f64
    }

    /// Puts beside each poll how many sessions there were of a kind in the last breakdown before it.
    fn beside_polls(&mut self, sessions: fn(&Self, usize) -> f64, place: fn(&mut TimelineRow) -> &mut f64) {
        let series: Vec<(f64, f64)> =
            (0..self.breakdowns.len()).map(|at| (self.breakdowns[at].0, sessions(self, at))).collect();
        let mut next = 0;
        for row in &mut self.timeline.rows {
            while next < series.len() && series[next].0 <= row.at_s {
                next += 1;
            }
            *place(row) = next.checked_sub(1).map_or(0.0, |last| series[last].1);
        }
    }

    /// Sessions of leaks.
    fn leaked_at(&self, breakdown: usize) -> f64 {
        self.leaks.iter().map(|leak| self.statements[*leak].series[breakdown].1).sum()
    }

    /// Sessions whose transactions began before the load did.
    fn earlier_at(&self, breakdown: usize) -> f64 {
        let groups = self.breakdowns[breakdown].1.groups.iter().filter(|group| !is_of_load(&self.case, group));
        groups.map(|group| f64::from(group.sessions)).sum()
    }

    /// The most of them at one time.
    pub(in crate::diagnose) fn earlier(&self) -> f64 {
        (0..self.breakdowns.len()).map(|at| self.earlier_at(at)).fold(0.0, f64::max)
    }

    /// The routes that the application names itself, when it names nearly all.
    fn exact(&self) -> Option<Vec<RouteHold>> {
        let mut series = BTreeMap::<String, Vec<f64>>::new();
        let (mut named, mut all) = (0.0, 0.0);
        for (index, (_, breakdown)) in self.breakdowns.iter().enumerate() {
            for group in breakdown.groups.iter().filter(|group| is_of_load(&self.case, group)) {
                let idle_s = idle_s(group);
                all += idle_s;
                let Some(route) = named_route(group, &self.timeline.routes) else { continue };
                named += idle_s;
                series.entry(route).or_insert_with(|| vec![0.0; self.breakdowns.len()])[index] += idle_s;
            }
        }
        if all == 0.0 || named < NAMED * all {
            return None;
        }
        let idle_s = self.idle_s();
        let mut holds: Vec<RouteHold> =
            series.into_iter().map(|(route, counts)| self.named_hold(route, &counts, all, idle_s)).collect();
        holds.retain(crate::diagnose::attribute::matters);
        holds.sort_by(|a, b| b.idle_s.total_cmp(&a.idle_s));
        Some(holds)
    }

    fn named_hold(&self, route: String, counts: &[f64], all: f64, idle_s: f64) -> RouteHold {
        let (from_s, to_s) = self.steady_s();
        let share = counts.iter().sum::<f64>() / all;
        let error = crate::diagnose::regression::relative_error(counts);
        let around =
            |value: f64| HoldInterval { value, low: (value * (1.0 - error)).max(0.0), high: value * (1.0 + error) };
        let index = self.timeline.routes.iter().position(|it| *it == route);
        let in_flight_s = index.map_or(0.0, |index| self.timeline.integral(from_s, to_s, |row| row.in_flight[index]));
        let ratio = if in_flight_s > 0.0 { share * idle_s / in_flight_s } else { 1.0 };
        let finished = self.finished(&route);
        RouteHold {
            coefficient: around(ratio),
            share,
            held_s: (finished > 0).then(|| around(share * idle_s / finished as f64)),
            idle_s: share * idle_s,
            route,
            like_constant: false,
            begun: None,
            spanned: None,
        }
    }

    /// Which statements a holder's sessions ended with: of each statement, the part that goes with this route among
    /// `holders`; most first.
    pub(in crate::diagnose) fn statements_of(&self, route: &str, holders: &[RouteHold]) -> Vec<(&StatementHold, f64)> {
        let begun = self.begun.as_ref().filter(|_| self.exact.is_none());
        let by_beginnings = |hold: &StatementHold| {
            let (begun, holder) = begun.zip(holders.iter().find(|it| it.route == route))?;
            let statements = &holder.begun.as_ref()?.statements;
            let mine = statements.iter().filter(|(place, _)| begun.statements[*place] == hold.statement);
            Some(mine.map(|(_, seconds)| seconds).sum::<f64>())
        };
        let by_load = |hold: &StatementHold| self.part(hold, route, holders) * hold.idle_s;
        let weight = |hold: &StatementHold| by_beginnings(hold).unwrap_or_else(|| by_load(hold));
        let candidates = self.statements.iter().enumerate().filter(|(index, _)| !self.leaks.contains(index));
        let mut parts: Vec<(&StatementHold, f64)> =
            candidates.map(|(_, hold)| (hold, weight(hold))).filter(|(_, weight)| *weight > 0.0).collect();
        let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in &mut parts {
            *weight /= total;
        }
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        parts
    }

    /// The route whose requests leave nearly all idle sessions with this last statement.
    pub(in crate::diagnose) fn route_of(&self, statement: &str) -> Option<String> {
        let hold = self.statements.iter().find(|it| it.statement == statement)?;
        if let Some((route, _)) = hold.routes.iter().find(|(_, idle_s)| **idle_s >= NAMED * hold.idle_s) {
            return Some(route.clone());
        }
        let holders = self.holders();
        let mut of_it = holders.iter().filter(|holder| self.part(hold, &holder.route, holders) >= NAMED);
        of_it.next().map(|holder| holder.route.clone())
    }

    /// Which part of a statement's idle sessions goes with a route's requests in flight.
    fn part(&self, hold: &StatementHold, route: &str, holders: &[RouteHold]) -> f64 {
        if self.exact.is_some() {
            let named: f64 = hold.routes.values().sum();
            return if named > 0.0 { hold.routes.get(route).copied().unwrap_or(0.0) / named } else { 0.0 };
        }
        if holders.len() <= 1 {
            return 1.0;
        }
        let columns: Vec<usize> = holders
            .iter()
            .filter_map(|holder| self.timeline.routes.iter().position(|it| *it == holder.route))
            .collect();
        let Some(mine) = columns.iter().position(|column| self.timeline.routes[*column] == route) else { return 0.0 };
        let mut normal = crate::diagnose::nnls::Normal::new(columns.len());
        let mut sums = vec![0.0; columns.len()];
        for (at_s, sessions) in &hold.series {
            let Some(row) = self.timeline.nearest(*at_s) else { continue };
            let values: Vec<f64> = columns.iter().map(|column| row.in_flight[*column]).collect();
            values.iter().zip(&mut sums).for_each(|(value, sum)| *sum += value);
            normal.observe(&values, *sessions);
        }
        let solution = normal.solve(&vec![true; columns.len()], f64::INFINITY);
        let parts: Vec<f64> = solution.iter().zip(&sums).map(|(value, sum)| value * sum).collect();
        let all: f64 = parts.iter().sum();
        if all > 0.0 { parts[mine] / all } else { 0.0 }
    }
}

/// True if a request of the load may hold these sessions; where nobody knows the load, as in a database that was watched,
/// any that are there.
fn is_of_load(case: &Case<'_>, group: &HoldGroup) -> bool {
    case.is_watched() || !group.earlier
}
