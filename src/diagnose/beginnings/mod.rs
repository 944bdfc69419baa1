//! Attribution by beginnings: a request that holds a transaction was there when it began.
//!
//! At each beginning it is known which requests were in flight, by age, and which had just ended (`record::presence`); the same is
//! known of moments in between. A beginning is of a route with a probability that is proportional to `Σ λ × present` over the
//! route's classes, against a `λ₀` for what begins whatever is asked for: a job, a neighbour. The λ ≥ 0 are those that
//! make the beginnings the most likely among the moments around them (the conditional likelihood of a case-crossover
//! design: Maclure 1991; Langholz and Goldstein 1996), so that a rate that changes over minutes, as of a pool that fills up,
//! tells nothing and distorts nothing. The maximum is found by a minorize–maximize iteration, which never makes it worse.
//!
//! If a hold ends with its response, a request that was in flight at the beginning ends with the transaction: such requests are a column
//! of their own, compared with the same span of time shortly before. Its λ may be zero, as of a task that goes on.
//!
//! Routes are taken in one by one, as long as each makes the beginnings more likely than chance would. None of it needs a hold
//! to end with its response, a pool with room, or a loop that turns.

mod design;
mod marks;

use super::interval::HoldInterval;
use crate::record::{Presence, Spanning};
use design::{Column, Design, Fit, Group};
use marks::{Assignment, assigned};

/// Twice the log-likelihood that a group of columns has to add. With five λ ≥ 0 chance adds as much in 4 of a million cases: a mixture of
/// χ² with 0 to 5 degrees of freedom (Self and Liang 1987), so that of 50 routes and both roles one is named in vain in 2 300 runs.
pub(super) const NAMED_AT: f64 = 28.0;

/// The same from which on it is stated that some begin by themselves: the 0.999 quantile of χ² with one degree of freedom. It names
/// nobody, and two routes of the best have had their chance to explain them.
pub(super) const STATED_OF_NONE: f64 = 10.8;

/// So much of it the beginnings alone have to add. By chance a route adds less in 24 of 25 cases.
pub(super) const SPEAKS_FOR: f64 = 10.0;

/// As much less is as good as the best, for who might be meant instead.
pub(super) const AS_GOOD: f64 = 12.0;

/// Fewer beginnings than this name nobody.
const FEWEST: usize = 3;

/// A share of the idle time that requests begin, below which nobody is named.
const LEAST_SHARE: f64 = 0.05;

/// Beginnings that are weighed at most; of more, every so many.
const WEIGHED_MAX: usize = 1500;

/// A transaction's beginning.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Beginning {
    pub(super) at_s: f64,
    /// By the route's place.
    pub(super) present: Vec<Presence>,
    /// By the route's place; empty where its end tells nothing.
    pub(super) spanning: Vec<Spanning>,
    /// Place of its last statement among all.
    pub(super) statement: usize,
    /// Place of its process among all; `None` where that is not known.
    pub(super) process: Option<usize>,
    /// Session seconds that it was idle, of them older than a pause between two statements, and transactions that it stands for.
    pub(super) idle_s: f64,
    pub(super) aged_s: f64,
    pub(super) weight: f64,
}

/// Requests at a moment that was not chosen for a beginning.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moment {
    pub(super) at_s: f64,
    pub(super) present: Vec<Presence>,
}

/// Relation of beginnings to a route's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// They lie within its requests.
    During,
    /// They follow its responses: a task that it leaves behind.
    After,
}

/// Attribution of beginnings to one route.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Begun {
    pub(super) route: usize,
    pub(super) role: Role,
    /// Of all idle seconds, 0–1, with the error of the assignment.
    pub(super) share: HoldInterval,
    /// Transactions that it began.
    pub(super) transactions: f64,
    /// Twice the log-likelihood that it adds.
    pub(super) strength: f64,
    /// Of the transactions that it began, those at whose beginning it was in flight, and how many that would be by chance.
    pub(super) alibi: Alibi,
    /// Routes that might be meant as well, by their places.
    pub(super) or_else: Vec<usize>,
    /// Its idle seconds by last statement, most first.
    pub(super) statements: Vec<(usize, f64)>,
    /// Its idle seconds in transactions older than a pause between two statements.
    pub(super) aged_s: f64,
}

impl Begun {
    fn idle_s(&self) -> f64 {
        self.statements.iter().map(|(_, seconds)| seconds).sum()
    }

    /// Seconds that one of its transactions is idle, at the mean.
    pub(super) fn idle_each_s(&self) -> f64 {
        if self.transactions > 0.0 { self.idle_s() / self.transactions } else { 0.0 }
    }

    /// Share of its idle time in transactions older than a pause between two statements, 0–1.
    pub(super) fn share_aged(&self) -> f64 {
        let idle_s = self.idle_s();
        if idle_s > 0.0 { (self.aged_s / idle_s).min(1.0) } else { 1.0 }
    }
}

/// There at so many beginnings of so many; by chance it would be so many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Alibi {
    /// Classes of requests that are counted, from the youngest on.
    pub(super) classes: usize,
    pub(super) present: f64,
    pub(super) of: f64,
    pub(super) by_chance: f64,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ByBeginnings {
    /// Routes that begin transactions, most idle seconds first.
    pub(super) routes: Vec<Begun>,
    /// Share of the idle seconds in transactions that no request begins, 0–1.
    pub(super) begun_by_none: f64,
    /// Twice the log-likelihood that is lost where every beginning must be of a request in flight.
    pub(super) none_strength: f64,
    /// The last statements of those, most idle seconds first.
    pub(super) none_statements: Vec<(usize, f64)>,
    /// Their processes, where they are known, in the same way.
    pub(super) none_processes: Vec<(usize, f64)>,
    /// Twice the log-likelihood that each route adds, named or not, by its place.
    pub(super) evidence: Vec<f64>,
    /// Beginnings that were weighed.
    pub(super) beginnings: usize,
    /// Routes of which one or more must begin them, where none can be named.
    pub(super) ambiguous: Vec<usize>,
}

/// Attributes the beginnings of transactions; `None` where there are too few of them, or no moments to compare with.
pub(super) fn attribute(beginnings: &[Beginning], moments: &[Moment], routes: usize) -> Option<ByBeginnings> {
    if beginnings.len() < FEWEST || moments.is_empty() || routes == 0 {
        return None;
    }
    let thinned = thinned(beginnings);
    let design = Design::new(&thinned, moments, routes);
    let selected = with_alibi(select(&design), &thinned, moments, routes);
    let groups: Vec<Group> = selected.iter().map(|(group, _)| *group).collect();
    let fit = design.fit(&groups);
    let each = Design::of_each(&thinned, moments, routes);
    let Assignment { parts, variance } = assigned(&each, &thinned, &groups);
    let total_s: f64 = thinned.iter().map(|it| it.weight * it.idle_s).sum();
    let begun: Vec<Begun> = selected
        .iter()
        .zip(parts.iter().zip(variance))
        .map(|((group, strength), (parts, variance))| Begun {
            route: group.0,
            role: group.1,
            share: share(&thinned, parts, total_s, variance),
            transactions: thinned.iter().zip(parts).map(|(it, part)| it.weight * part).sum(),
            strength: *strength,
            alibi: alibi(&design, &thinned, *group, parts),
            or_else: or_else(&design, &groups, *group, &fit),
            statements: by_place(&thinned, |it| Some(it.statement), |case| parts[case]),
            aged_s: thinned.iter().zip(parts).map(|(it, part)| part * it.weight * it.aged_s).sum(),
        })
        .collect();
    let mut begun = by_route(begun);
    let of_requests: f64 = begun.iter().map(|it| it.share.value).sum();
    begun.retain(|it| it.share.value >= LEAST_SHARE * of_requests);
    begun.sort_by(|a, b| b.share.value.total_cmp(&a.share.value));
    let ambiguous = if begun.is_empty() { ambiguous(&design) } else { Vec::new() };
    let of_nobody = |case: usize| 1.0 - parts.iter().map(|parts| parts[case]).sum::<f64>();
    let nobodys_s: f64 = thinned.iter().enumerate().map(|(case, it)| of_nobody(case) * it.weight * it.idle_s).sum();
    Some(ByBeginnings {
        begun_by_none: if total_s > 0.0 { nobodys_s / total_s } else { 0.0 },
        none_strength: none_strength(&design, &groups, fit.likelihood),
        none_statements: by_place(&thinned, |it| Some(it.statement), of_nobody),
        none_processes: by_place(&thinned, |it| it.process, of_nobody),
        evidence: evidence(&design, &selected, fit.likelihood),
        routes: begun,
        beginnings: beginnings.len(),
        ambiguous,
    })
}

/// Gain of each route beside those that are selected.
fn evidence(design: &Design, selected: &[(Group, f64)], likelihood: f64) -> Vec<f64> {
    let groups: Vec<Group> = selected.iter().map(|(group, _)| *group).collect();
    let of = |route| {
        let own = selected.iter().filter(|((it, _), _)| *it == route).map(|(_, strength)| *strength);
        let added = || {
            let with = [groups.as_slice(), &[(route, Role::During)]].concat();
            2.0 * (design.fit(&with).likelihood - likelihood)
        };
        own.reduce(f64::max).unwrap_or_else(added)
    };
    (0..design.routes).map(of).collect()
}

/// Both roles of a route as one: a task begins while its response is on its way, too.
fn by_route(mut begun: Vec<Begun>) -> Vec<Begun> {
    begun.sort_by(|a, b| b.share.value.total_cmp(&a.share.value));
    let mut routes: Vec<Begun> = Vec::new();
    for it in begun {
        let Some(main) = routes.iter_mut().find(|main| main.route == it.route) else {
            routes.push(it);
            continue;
        };
        let add = |a: f64, b: f64| (a + b).min(1.0);
        main.share = HoldInterval {
            value: add(main.share.value, it.share.value),
            low: add(main.share.low, it.share.low),
            high: add(main.share.high, it.share.high),
        };
        main.transactions += it.transactions;
        main.statements.extend(it.statements);
        main.or_else.extend(it.or_else);
        main.aged_s += it.aged_s;
    }
    routes
}

/// Every so many of too many, each for all of them.
fn thinned(beginnings: &[Beginning]) -> Vec<Beginning> {
    let every = beginnings.len().div_ceil(WEIGHED_MAX).max(1);
    let scale = every as f64;
    beginnings.iter().step_by(every).map(|it| Beginning { weight: it.weight * scale, ..it.clone() }).collect()
}

/// Takes in the group that makes the beginnings most likely, as long as one does by more than chance; then leaves out what no
/// longer does beside the others. Gives each with what it adds.
fn select(design: &Design) -> Vec<(Group, f64)> {
    let all: Vec<Group> = (0..design.routes).flat_map(|route| [(route, Role::During), (route, Role::After)]).collect();
    let mut groups: Vec<Group> = Vec::new();
    let mut now = design.fit(&groups).likelihood;
    while groups.len() < all.len() {
        let with = |group: &Group| design.fit(&[groups.as_slice(), &[*group]].concat()).likelihood;
        let left = all.iter().filter(|group| !groups.contains(group));
        let Some((group, likelihood)) = left.map(|it| (*it, with(it))).max_by(|a, b| a.1.total_cmp(&b.1)) else {
            break;
        };
        if 2.0 * (likelihood - now) < NAMED_AT {
            break;
        }
        groups.push(group);
        now = likelihood;
    }
    loop {
        let added = |group: &Group| {
            let others: Vec<Group> = groups.iter().copied().filter(|it| it != group).collect();
            2.0 * (now - design.fit(&others).likelihood)
        };
        let strengths: Vec<(Group, f64)> = groups.iter().map(|group| (*group, added(group))).collect();
        let Some((weakest, _)) =
            strengths.iter().min_by(|a, b| a.1.total_cmp(&b.1)).copied().filter(|(_, strength)| *strength < NAMED_AT)
        else {
            return strengths;
        };
        groups.retain(|group| *group != weakest);
        now = design.fit(&groups).likelihood;
    }
}

/// Without groups for which nothing but the ends of the transactions speaks: answers come together as a loop that stood still goes on,
/// and a transaction of somebody else may end with them.
fn with_alibi(
    selected: Vec<(Group, f64)>,
    beginnings: &[Beginning],
    moments: &[Moment],
    routes: usize,
) -> Vec<(Group, f64)> {
    let plain = |it: &Beginning| Beginning { spanning: Vec::new(), ..it.clone() };
    let beginnings: Vec<Beginning> = beginnings.iter().map(plain).collect();
    let design = Design::new(&beginnings, moments, routes);
    let all: Vec<Group> = selected.iter().map(|(group, _)| *group).collect();
    let likelihood = design.fit(&all).likelihood;
    let speaks_for = |group: Group| {
        let others: Vec<Group> = all.iter().copied().filter(|it| *it != group).collect();
        2.0 * (likelihood - design.fit(&others).likelihood) >= SPEAKS_FOR
    };
    selected.into_iter().filter(|(group, _)| speaks_for(*group)).collect()
}

/// The group's share of the idle seconds. Its interval is that of the assignment: each beginning is one route's, and only the
/// probability of it is known; `of_sources` is the variance of what is estimated of the sources.
fn share(beginnings: &[Beginning], parts: &[f64], total_s: f64, of_sources: f64) -> HoldInterval {
    let (mut sum, mut variance) = (0.0, of_sources * total_s * total_s);
    for (it, part) in beginnings.iter().zip(parts) {
        let seconds = it.weight * it.idle_s;
        sum += part * seconds;
        variance += part * (1.0 - part) * seconds * seconds;
    }
    let total_s = total_s.max(f64::MIN_POSITIVE);
    let (value, half) = (sum / total_s, 1.96 * variance.sqrt() / total_s);
    HoldInterval { value, low: (value - half).max(0.0), high: (value + half).min(1.0) }
}

/// Loss of likelihood when every beginning must be of the named groups, or of requests in flight of two more routes. More routes than
/// that, of which none stands out, are no explanation.
fn none_strength(design: &Design, named: &[Group], likelihood: f64) -> f64 {
    let mut groups: Vec<Group> = named.to_vec();
    let of_named = || design.likelihood_without_constant(named);
    let mut best = if named.is_empty() { f64::NEG_INFINITY } else { of_named() };
    for _ in 0..2 {
        let left = (0..design.routes).map(|route| (route, Role::During)).filter(|group| !groups.contains(group));
        let with = |group| (group, design.likelihood_without_constant(&[groups.as_slice(), &[group]].concat()));
        let Some((group, found)) = left.map(with).max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        groups.push(group);
        best = best.max(found);
    }
    2.0 * (likelihood - best)
}

/// Idle seconds by statement or process, of that part of each beginning.
fn by_place(
    beginnings: &[Beginning],
    place: impl Fn(&Beginning) -> Option<usize>,
    part: impl Fn(usize) -> f64,
) -> Vec<(usize, f64)> {
    let mut seconds = std::collections::BTreeMap::<usize, f64>::new();
    for (case, it) in beginnings.iter().enumerate() {
        if let Some(place) = place(it) {
            *seconds.entry(place).or_default() += part(case) * it.weight * it.idle_s;
        }
    }
    let mut seconds: Vec<(usize, f64)> = seconds.into_iter().filter(|(_, it)| *it > 0.0).collect();
    seconds.sort_by(|a, b| b.1.total_cmp(&a.1));
    seconds
}

/// Of the beginnings that are a group's, at how many its route was there, and at how many it would be by chance: of requests
/// up to the age that tells most.
fn alibi(design: &Design, beginnings: &[Beginning], group: Group, parts: &[f64]) -> Alibi {
    let range = design::classes_of(group);
    let up_to = |last: Column| {
        let mut alibi = Alibi { classes: last + 1 - range.start, ..Alibi::default() };
        for (case, it) in beginnings.iter().enumerate() {
            let (own, around) = design.case(case);
            let count = |columns: &[(Column, f64)]| -> f64 {
                let those = columns.iter().filter(|(column, _)| (range.start..=last).contains(column));
                those.map(|(_, value)| value).sum()
            };
            let part = it.weight * parts[case];
            alibi.of += part;
            // At an edge it may have been there.
            alibi.present += if count(own) > 0.0 { part } else { 0.0 };
            // At least one of so many, as they come.
            alibi.by_chance += part * (1.0 - (-count(around)).exp());
        }
        alibi
    };
    let all = up_to(range.end - 1);
    let telling = range.clone().map(up_to).filter(|it| it.present >= 0.9 * all.present);
    telling.min_by(|a, b| a.by_chance.total_cmp(&b.by_chance)).unwrap_or(all)
}

/// Routes that, in place of this one, make the beginnings about as likely.
fn or_else(design: &Design, groups: &[Group], group: Group, fit: &Fit) -> Vec<usize> {
    let others: Vec<Group> = groups.iter().copied().filter(|it| *it != group).collect();
    let as_good = |route: &usize| {
        [Role::During, Role::After].into_iter().any(|role| {
            let instead = (*route, role);
            let is_other = *route != group.0 && groups.iter().all(|(named, _)| named != route);
            is_other && {
                let likelihood = design.fit(&[others.as_slice(), &[instead]].concat()).likelihood;
                2.0 * (fit.likelihood - likelihood) < AS_GOOD
            }
        })
    };
    (0..design.routes).filter(as_good).collect()
}

/// Routes that each alone explain about as much as the best, where none is enough to be named but all together are.
fn ambiguous(design: &Design) -> Vec<usize> {
    let all: Vec<Group> = (0..design.routes).map(|route| (route, Role::During)).collect();
    let nobody = design.fit(&[]).likelihood;
    if 2.0 * (design.fit(&all).likelihood - nobody) < NAMED_AT {
        return Vec::new();
    }
    let alone: Vec<f64> = all.iter().map(|group| design.fit(&[*group]).likelihood).collect();
    let best = alone.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (0..design.routes).filter(|route| 2.0 * (best - alone[*route]) < AS_GOOD).collect()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
