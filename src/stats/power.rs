//! Power of a number of pairs, and the number that would be needed.
//!
//! The test makes no assumption about the noise, but a plan has to: here the pairs' differences scatter normally, as
//! widely as those that were measured. The smallest effect is found from the test itself: for drawn noise it is the
//! shift from which on the decision of [`super::paired`] is *worse*; the effect that four draws of five need is the
//! answer. The draws have a fixed seed, so that the same windows always give the same sentence.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::signed_rank::{MOST_PAIRS, left_out, walsh_averages};

/// The smallest effect is the one that is seen at least this often.
pub const POWER: f64 = 0.8;

/// Enough that the answer is good to about 3 %.
const DRAWS: usize = 400;

const SEED: u64 = 2318;

/// The standard deviation of the differences; `None` with fewer than two.
pub fn scatter(differences: &[f64]) -> Option<f64> {
    if differences.len() < 2 {
        return None;
    }
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|it| (it - mean).powi(2)).sum();
    Some((squares / (count - 1.0)).sqrt())
}

/// The smallest ratio that `pairs` pairs find *worse* four times of five, when their log ratios have this standard
/// deviation, and one must pass `margin` (logarithmic) to count; `None` when they are too few to find anything.
pub fn smallest_ratio(pairs: usize, scatter: f64, margin: f64, alpha: f64) -> Option<f64> {
    if pairs > MOST_PAIRS {
        return None;
    }
    let (left_out, _) = left_out(pairs, alpha)?;
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut shifts: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let noise: Vec<f64> = (0..pairs).map(|_| scatter * normal(&mut random)).collect();
            let averages = walsh_averages(&noise);
            let estimate = f64::midpoint(averages[(averages.len() - 1) / 2], averages[averages.len() / 2]);
            // Significant when the interval's lower end passes 0; large enough when the estimate passes 1 + δ.
            (-averages[left_out]).max(margin - estimate)
        })
        .collect();
    shifts.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few hundred")]
    let needed = (POWER * DRAWS as f64).ceil() as usize - 1;
    Some(shifts[needed].exp())
}

/// The fewest pairs that would find an effect of `ratio` four times of five, under the same conditions; `None` when not even [`MOST_PAIRS`] would.
pub fn pairs_needed(ratio: f64, scatter: f64, margin: f64, alpha: f64) -> Option<usize> {
    let enough = |pairs: usize| smallest_ratio(pairs, scatter, margin, alpha).is_some_and(|it| it <= ratio);
    if !enough(MOST_PAIRS) {
        return None;
    }
    // More pairs see more: halve the range.
    let (mut too_few, mut sufficient) = (0, MOST_PAIRS);
    while sufficient - too_few > 1 {
        let middle = usize::midpoint(too_few, sufficient);
        if enough(middle) {
            sufficient = middle;
        } else {
            too_few = middle;
        }
    }
    Some(sufficient)
}

/// A standard normal number, after Box and Muller.
fn normal(random: &mut SmallRng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::paired::{PairedFinding, Worsening, judge};

    const ALPHA: f64 = 0.01;
    /// ln 1.1
    const MARGIN: f64 = 0.095_310_179_804_324_87;

    #[test]
    fn the_smallest_ratio_is_found_about_four_times_of_five() {
        let ratio = smallest_ratio(10, 0.4, MARGIN, ALPHA).unwrap();
        // Other noise than the draws' own.
        let mut random = SmallRng::seed_from_u64(1);
        let found = |_: &u32| {
            let differences = (0..10).map(|_| ratio.ln() + 0.4 * normal(&mut random)).collect();
            judge(&[Worsening { differences, margin: MARGIN }], ALPHA).unwrap()[0].finding == PairedFinding::Worse
        };
        let found = (0..1000).filter(found).count();
        assert!((760..=840).contains(&found), "{found} of 1000");
    }

    #[test]
    fn more_pairs_see_less_and_more_noise_sees_more() {
        let seen = |pairs, noise| smallest_ratio(pairs, noise, MARGIN, ALPHA).unwrap();
        assert!(seen(7, 0.3) > seen(10, 0.3) && seen(10, 0.3) > seen(20, 0.3));
        assert!(seen(10, 0.1) < seen(10, 0.2));
        assert_eq!(smallest_ratio(6, 0.1, MARGIN, ALPHA), None, "six pairs see nothing at 1 %");
    }

    #[test]
    fn without_noise_the_smallest_effect_is_the_one_that_was_set() {
        assert!((smallest_ratio(10, 0.0, MARGIN, ALPHA).unwrap() - 1.1).abs() < 1e-9);
    }

    #[test]
    fn the_pairs_needed_are_enough_and_one_less_is_not() {
        let pairs = pairs_needed(1.5, 0.4, MARGIN, ALPHA).unwrap();
        assert!((8..25).contains(&pairs), "{pairs}");
        assert!(smallest_ratio(pairs, 0.4, MARGIN, ALPHA).unwrap() <= 1.5);
        assert!(smallest_ratio(pairs - 1, 0.4, MARGIN, ALPHA).is_none_or(|it| it > 1.5));
        assert_eq!(pairs_needed(1.05, 0.4, MARGIN, ALPHA), None, "below the smallest effect no number is enough");
    }

    #[test]
    fn one_difference_has_no_scatter() {
        assert_eq!(scatter(&[1.0]), None);
        assert!((scatter(&[1.0, 3.0]).unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
    }
}
