//! Design of a scan: orders by chance, so that no drift lands on one route, and a mix in which no two routes go
//! together.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Fewer spans of time tell two routes of a mix apart by luck alone.
const FEWEST_SPANS: usize = 16;

/// The routes of one round by number, and one turn (`None`) in which nothing is asked for, in random order.
#[must_use]
pub fn order(routes: &[usize], seed: u64, round: u32) -> Vec<Option<usize>> {
    let mut order: Vec<Option<usize>> = routes.iter().copied().map(Some).chain([None]).collect();
    order.shuffle(&mut SmallRng::seed_from_u64(seed ^ (u64::from(round) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    order
}

/// For each of `routes` routes, in which spans of a mix it is asked for: in half of them, and any two routes together in
/// a quarter, exactly, so that they do not correlate (rows of a Hadamard matrix). The order of the spans is random.
#[must_use]
pub fn mix(routes: usize, seed: u64) -> Vec<Vec<bool>> {
    let spans = (routes + 1).next_power_of_two().max(FEWEST_SPANS);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..spans).collect();
    order.shuffle(&mut random);
    let mut rows: Vec<usize> = (1..spans).collect();
    rows.shuffle(&mut random);
    // Which half of the spans a route has, is chance too.
    let one = |row: usize| {
        let flipped = random.random::<bool>();
        order.iter().map(|span| ((row & span).count_ones() % 2 == 1) != flipped).collect()
    };
    rows.into_iter().take(routes).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_shuffles_every_route_and_a_quiet_turn() {
        let orders: Vec<_> = (0..20).map(|round| order(&[0, 2, 3, 5, 7], 1, round)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [None, Some(0), Some(2), Some(3), Some(5), Some(7)]);
        }
        assert!(orders.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(orders[3], order(&[0, 2, 3, 5, 7], 1, 3), "the seed says which");
    }

    #[test]
    fn in_a_mix_no_two_routes_go_together() {
        for routes in [1, 2, 5, 15, 16, 40] {
            let mix = mix(routes, 7);
            let spans = mix[0].len();
            assert_eq!(mix.len(), routes);
            for (index, row) in mix.iter().enumerate() {
                assert_eq!(row.iter().filter(|on| **on).count(), spans / 2);
                for other in &mix[..index] {
                    let both = row.iter().zip(other).filter(|(a, b)| **a && **b).count();
                    assert_eq!(both, spans / 4, "{routes} routes");
                }
            }
        }
    }
}
