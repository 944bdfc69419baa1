//! Attribution by what lies within a request: where a hold ends with its response, a request of the route was in flight from before
//! the transaction began, and its answer came as the transaction ended.
//!
//! In a full pool the beginnings tell nothing: a transaction begins when another one ends, no matter who asks. There this names
//! the route, and wherever it is known it refutes: who holds nothing has no request that goes with the transactions.

use super::beginnings::{AS_GOOD, NAMED_AT};
use crate::record::Spanning;

/// Share of the idle time that lies within requests of one route, from which on it is named.
const NAMED_FROM: f64 = 0.9;

/// The same of a route that might be meant instead.
const INSTEAD_FROM: f64 = 0.75;

/// Transactions that end no further apart than this are one observation.
const TOGETHER_S: f64 = 0.05;

/// Fewer transactions than this, by weight as many of equal ones, tell nothing.
const FEWEST: f64 = 4.0;

/// A transaction, and the requests around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WholeTransaction {
    /// By the route's place.
    pub(super) spanning: Vec<Spanning>,
    /// False of one that goes on.
    pub(super) has_ended: bool,
    pub(super) ended_s: f64,
    /// Session seconds that it was idle, of all that it stands for.
    pub(super) idle_s: f64,
}

/// One route's requests against the transactions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spanned {
    pub(super) route: usize,
    /// Share of the idle time in transactions within a request of it that ended with them, 0–1: of those that have ended.
    pub(super) share: f64,
    /// Share in transactions within a request of it, whenever that ended, 0–1: of all.
    pub(super) throughout: f64,
    /// `share` by chance.
    pub(super) by_chance: f64,
    /// Twice the log-likelihood that it is more than chance.
    pub(super) strength: f64,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BySpanning {
    /// All routes, in their order.
    pub(super) routes: Vec<Spanned>,
    /// The one whose requests go with nearly all idle time, where no other's might as well.
    pub(super) named: Option<Spanned>,
    /// Routes of which one might be meant, where none can be named.
    pub(super) ambiguous: Vec<usize>,
}

/// Compares the transactions with the requests of each route; `None` where there are too few.
pub(super) fn compare(transactions: &[WholeTransaction], routes: usize) -> Option<BySpanning> {
    let ended = || transactions.iter().filter(|it| it.has_ended);
    let (idle_s, count) = weight(ended().collect());
    let (all_s, all) = weight(transactions.iter().collect());
    if all < FEWEST {
        return None;
    }
    let spanned = |route: usize| {
        let (mut there_s, mut chance_s, mut known_s) = (0.0, 0.0, 0.0);
        for it in ended() {
            let spanning = it.spanning[route];
            there_s += if spanning.ended_with_it > 0 { it.idle_s } else { 0.0 };
            if let Some(expected) = spanning.expected {
                // At least one of so many, as they come.
                chance_s += (1.0 - (-expected).exp()) * it.idle_s;
                known_s += it.idle_s;
            }
        }
        let throughout_s: f64 =
            transactions.iter().filter(|it| it.spanning[route].throughout > 0).map(|it| it.idle_s).sum();
        let share = if count >= FEWEST { there_s / idle_s } else { 0.0 };
        // Without any load before, nobody knows what chance would do.
        let by_chance = if known_s > 0.0 { chance_s / known_s } else { 1.0 };
        Spanned {
            route,
            share,
            throughout: throughout_s / all_s,
            by_chance,
            strength: strength(count, share, by_chance),
        }
    };
    let routes: Vec<Spanned> = (0..routes).map(spanned).collect();
    let best = routes.iter().copied().max_by(|a, b| a.strength.total_cmp(&b.strength))?;
    let instead = |it: &&Spanned| it.share >= INSTEAD_FROM && it.strength >= best.strength - AS_GOOD;
    let likely: Vec<usize> = routes.iter().filter(instead).map(|it| it.route).collect();
    let is_named = best.strength >= NAMED_AT && best.share >= NAMED_FROM && likely.len() == 1;
    Some(BySpanning {
        named: is_named.then_some(best),
        ambiguous: if is_named || likely.len() < 2 { Vec::new() } else { likely },
        routes,
    })
}

/// Idle seconds, and as many independent transactions of equal weight as would tell as much (Kish 1965). Those that end together are one:
/// in a full pool whose holds last equally long, sessions march in step.
fn weight(mut transactions: Vec<&WholeTransaction>) -> (f64, f64) {
    transactions.sort_by(|a, b| a.ended_s.total_cmp(&b.ended_s));
    let together = transactions.chunk_by(|a, b| b.ended_s - a.ended_s <= TOGETHER_S);
    let seconds = together.map(|chunk| chunk.iter().map(|it| it.idle_s).sum::<f64>());
    let (sum, squares) = seconds.fold((0.0, 0.0), |(sum, squares), it| (sum + it, squares + it * it));
    (sum, if squares > 0.0 { sum * sum / squares } else { 0.0 })
}

/// Twice the log-likelihood ratio of so many of `count` against chance: zero where it is no more than chance.
fn strength(count: f64, share: f64, by_chance: f64) -> f64 {
    if share <= by_chance {
        return 0.0;
    }
    // What was seen nowhere by chance may be seen once in as many.
    let by_chance = by_chance.max(1.0 / (count + 1.0)).min(share);
    let part = |seen: f64, expected: f64| if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    2.0 * count * (part(share, by_chance) + part(1.0 - share, 1.0 - by_chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(spanning: &[(u32, f64)], idle_s: f64) -> WholeTransaction {
        let of = |(requests, expected): &(u32, f64)| Spanning {
            ended_with_it: *requests,
            throughout: *requests,
            expected: Some(*expected),
        };
        WholeTransaction { spanning: spanning.iter().map(of).collect(), has_ended: true, ended_s: 0.0, idle_s }
    }

    /// The same, one after the other.
    fn in_turn(transactions: impl IntoIterator<Item = WholeTransaction>) -> Vec<WholeTransaction> {
        let at = |(index, it): (usize, WholeTransaction)| WholeTransaction { ended_s: index as f64, ..it };
        transactions.into_iter().enumerate().map(at).collect()
    }

    #[test]
    fn the_route_whose_requests_go_with_all_transactions_is_named_and_one_that_waits_is_not() {
        let of = |index: u32| transaction(&[(1, 0.3), (u32::from(index.is_multiple_of(2)), 0.4), (0, 0.1)], 0.8);
        let all = in_turn((0..30).map(of));
        let found = compare(&all, 3).expect("enough");
        assert_eq!(found.named.map(|it| it.route), Some(0), "{found:?}");
        assert!((found.routes[1].share - 0.5).abs() < 0.01 && found.routes[2].share < 0.01, "{found:?}");
    }

    #[test]
    fn nobody_is_named_by_requests_that_are_always_there_or_by_two_that_go_together() {
        let always = in_turn((0..40).map(|_| transaction(&[(3, 9.0), (0, 0.0)], 0.8)));
        assert_eq!(compare(&always, 2).expect("enough").named, None);
        let together = in_turn((0..40).map(|_| transaction(&[(1, 0.2), (1, 0.2)], 0.8)));
        let found = compare(&together, 2).expect("enough");
        assert_eq!((found.named, found.ambiguous), (None, vec![0, 1]));
        assert_eq!(compare(&together[..3], 2), None, "too few");
        let one_and_many = in_turn((0..40).map(|index| transaction(&[(1, 0.2)], if index == 0 { 90.0 } else { 0.01 })));
        assert_eq!(compare(&one_and_many, 1), None, "one of them is nearly all");
    }

    #[test]
    fn what_goes_on_names_nobody_and_refutes_who_was_not_there_throughout() {
        let goes_on = WholeTransaction { has_ended: false, ..transaction(&[(1, 0.1), (0, 0.1)], 5.0) };
        let found = compare(&in_turn(vec![goes_on; 8]), 2).expect("enough");
        assert_eq!((found.named, found.routes.iter().map(|it| it.throughout).collect()), (None, vec![1.0, 0.0]));
    }

    #[test]
    fn transactions_that_end_together_are_one_observation() {
        let step = |index: u32| WholeTransaction { ended_s: f64::from(index / 10), ..transaction(&[(1, 0.2)], 0.8) };
        assert_eq!(compare(&(0..30).map(step).collect::<Vec<_>>(), 1), None, "three steps are too few");
    }

    #[test]
    fn two_holders_of_a_full_pool_are_not_told_from_who_waits_behind_them() {
        let of = |index: u32| {
            transaction(&[(u32::from(index.is_multiple_of(2)), 0.3), (u32::from(!index.is_multiple_of(2)), 0.3)], 0.8)
        };
        let found = compare(&in_turn((0..40).map(of)), 2).expect("enough");
        assert_eq!((found.named, found.ambiguous), (None, Vec::new()));
    }
}
