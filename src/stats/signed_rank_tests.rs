//! The signed-rank test against brute force, against scipy, and against its laws.

use proptest::prelude::*;

use super::*;

/// One-sided p-values ("greater") from scipy 1.17.1. Without ties and zeros:
/// `scipy.stats.wilcoxon(d, alternative="greater", method="exact")`; with them (the last eight), since that method
/// does not take them: `zero_method="pratt", method=scipy.stats.PermutationMethod(n_resamples=10**9)`, which counts
/// all sign patterns out. The differences were drawn at random and rounded.
#[expect(clippy::unreadable_literal, reason = "as scipy prints them")]
const SCIPY: &[(&[f64], f64)] = &[
    (&[2.38], 0.5),
    (&[1.87, 2.26], 0.25),
    (&[1.28, -0.29, -0.43], 0.625),
    (&[0.87, -2.04, 1.07, 1.47], 0.4375),
    (&[-0.37, -1.35, 1.21, 1.12, -0.01], 0.59375),
    (&[-0.47, 1.23, 1.21, 0.62, -0.24, -0.75], 0.28125),
    (&[0.66, 0.52, 1.0, 1.25, 0.65, 0.42, 0.76], 0.0078125),
    (&[-0.07, 1.02, 1.3, 0.23, 0.36, 1.23, 1.46, 0.35], 0.0078125),
    (&[0.5, -1.31, 0.85, 0.01, 1.59, 1.29, 0.91, 1.39, 2.28], 0.02734375),
    (&[-0.01, -2.07, -1.47, -0.24, 0.76, -0.53, 0.12, 1.07, -0.5, 1.58], 0.65234375),
    (&[1.65, -0.52, -0.77, 1.52, 0.11, -1.24, 1.61, 2.33, 0.42, -1.23, -0.9], 0.259765625),
    (&[0.95, 0.8, 0.09, -1.63, 0.14, -0.98, 0.75, -0.15, 0.45, 1.9, 0.16, -1.11], 0.338623046875),
    (&[-0.1, 0.93, 1.15, 0.6, -0.75, 1.65, -0.31, 0.05, -0.02, 0.53, -0.61, 1.14, 0.85], 0.0635986328125),
    (&[-0.39, -0.93, 0.97, -0.61, -0.11, 0.12, -0.71, 1.69, -2.5, -0.62, -1.36, 0.02, 0.05, -0.3], 0.9136962890625),
    (
        &[1.06, -0.11, 0.13, 0.01, 0.3, 0.12, -0.55, -0.71, 0.47, 2.09, 1.08, -0.05, 1.05, 0.97, -0.66],
        0.060272216796875,
    ),
    (
        &[-1.21, 0.19, -0.03, -1.35, -0.9, -0.09, -1.22, -0.1, 1.42, -1.65, 0.58, 0.37, 0.48, 1.48, -0.52, 1.13],
        0.6282196044921875,
    ),
    (
        &[-0.63, -1.49, -0.09, -0.55, 0.64, 1.54, 0.57, 1.73, 2.09, -0.07, 0.37, 2.0, 0.67, 0.92, -0.36, 1.22, 1.14],
        0.0152587890625,
    ),
    (
        &[
            0.88, -0.03, 0.18, -0.23, 0.8, 0.34, -1.36, 0.12, -0.62, 1.0, -1.68, 1.1, 0.45, 1.12, -1.22, 1.03, 0.08,
            1.95,
        ],
        0.16236495971679688,
    ),
    (
        &[
            1.06, 0.41, 0.89, -0.86, -0.16, -0.58, -0.79, -0.62, -0.56, -0.03, -2.92, 1.15, -1.3, 0.27, -0.42, 0.9,
            0.64, 0.29, 2.35,
        ],
        0.4608573913574219,
    ),
    (
        &[
            -0.83, 0.04, 0.38, 0.99, -0.53, -1.33, 0.22, 0.3, -0.68, 0.47, -0.46, -1.1, 0.4, 1.03, 2.45, 0.27, 2.39,
            0.61, 1.49, 2.88,
        ],
        0.10122489929199219,
    ),
    (&[3.0, -1.0, 0.0, 0.0], 0.5),
    (&[1.0, 3.0, 3.0, 3.0, 2.0, 3.0], 0.015625),
    (&[-2.0, 2.0, 1.0, -2.0, 1.0, 0.0, 1.0, 0.0], 0.359375),
    (&[3.0, -1.0, 3.0, 1.0, 3.0, 3.0, 0.0, 3.0, -1.0, 1.0], 0.021484375),
    (&[2.0, 1.0, -1.0, 2.0, 0.0, 3.0, 2.0, 3.0, 2.0, 1.0, 3.0, 3.0], 0.001953125),
    (&[1.0, -1.0, 0.0, -1.0, 2.0, -1.0, -2.0, -1.0, -1.0, 2.0, 0.0, -2.0, 3.0, 2.0, -1.0], 0.564208984375),
    (
        &[3.0, -1.0, 1.0, 1.0, 2.0, -1.0, 0.0, -2.0, 3.0, 1.0, -2.0, 3.0, 3.0, 3.0, 0.0, 3.0, -1.0, 0.0],
        0.037506103515625,
    ),
    (
        &[2.0, -1.0, -2.0, 1.0, 0.0, 3.0, 1.0, -1.0, -2.0, 1.0, 3.0, -1.0, 2.0, -1.0, 1.0, -2.0, 0.0, 3.0, 1.0, 1.0],
        0.14832687377929688,
    ),
];

/// The share of all sign patterns whose rank sum reaches the one seen, by trying each of them.
fn brute_force(differences: &[f64]) -> f64 {
    let ranks = doubled_ranks(differences);
    let ranks: Vec<usize> =
        ranks.iter().zip(differences).map(|(rank, it)| if *it == 0.0 { 0 } else { *rank }).collect();
    let sum = |positive: &dyn Fn(usize) -> bool| -> usize {
        ranks.iter().enumerate().filter(|(index, _)| positive(*index)).map(|(_, rank)| rank).sum()
    };
    let seen = sum(&|index| differences[index] > 0.0);
    let patterns = 1_u32 << ranks.len();
    let reaching = (0..patterns).filter(|pattern| sum(&|index| pattern >> index & 1 == 1) >= seen).count();
    reaching as f64 / f64::from(patterns)
}

/// Differences with many ties and zeros.
fn tied(pairs: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-4..=4_i32).prop_map(|it| f64::from(it) / 4.0), pairs)
}

/// Differences without either, almost surely.
fn untied(pairs: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1.0..1.0_f64, pairs)
}

#[test]
fn p_values_are_scipys_up_to_twenty_pairs() {
    let mut pairs: Vec<usize> = SCIPY.iter().map(|(differences, _)| differences.len()).collect();
    pairs.dedup();
    assert!((1..=20).all(|count| pairs.contains(&count)));
    for (differences, theirs) in SCIPY {
        let mine = p_greater(differences).unwrap();
        assert!((mine - theirs).abs() < 1e-12, "{mine} beside {theirs} for {differences:?}");
    }
}

#[test]
fn mid_ranks_are_shared_and_zeros_take_a_rank() {
    assert_eq!(doubled_ranks(&[-1.0, 1.0, 2.0]), [3, 3, 6]);
    assert_eq!(doubled_ranks(&[0.0, 0.0, -0.5, 2.0]), [3, 3, 6, 8]);
}

#[test]
fn zeros_alone_and_too_few_or_many_differences_are_no_test() {
    assert_eq!(p_greater(&[0.0; 7]), Some(1.0));
    assert_eq!((p_greater(&[]), estimate(&[]), interval(&[], 0.1)), (None, None, None));
    assert_eq!(p_greater(&[1.0; MOST_PAIRS + 1]), None);
    assert_eq!(p_greater(&[1.0, f64::NAN]), None);
    assert_eq!(p_greater(&[1.0, f64::INFINITY]), None);
}

#[test]
fn the_most_pairs_fit_the_counters() {
    let p = p_greater(&[1.0; MOST_PAIRS]).unwrap();
    assert!((p * 2_f64.powi(60) - 1.0).abs() < 1e-9, "{p}");
}

#[test]
fn the_interval_of_seven_is_all_their_walsh_averages_at_one_per_cent() {
    let differences = [0.3, 0.1, 0.5, 0.9, 0.2, 0.4, 0.7];
    let interval = interval(&differences, 0.01).unwrap();
    assert_eq!((interval.low, interval.high), (0.1, 0.9));
    assert!((interval.confidence - (1.0 - 2.0 / 128.0)).abs() < 1e-12);
    assert_eq!(super::interval(&differences[..6], 0.01), None, "six cannot leave out 1 %: 2⁻⁶ is 1.6 %");
}

#[test]
fn the_estimate_is_the_median_of_the_walsh_averages() {
    // Walsh averages of 1, 2, 6: 1, 1.5, 2, 3.5, 4, 6.
    assert_eq!(walsh_averages(&[6.0, 1.0, 2.0]), [1.0, 1.5, 2.0, 3.5, 4.0, 6.0]);
    assert_eq!(estimate(&[6.0, 1.0, 2.0]), Some(2.75));
}

proptest! {
    #[test]
    fn p_equals_brute_force_for_up_to_ten_pairs_with_ties_and_zeros(differences in tied(1..=10)) {
        prop_assert!((p_greater(&differences).unwrap() - brute_force(&differences)).abs() < 1e-12);
    }

    #[test]
    fn p_equals_brute_force_for_up_to_ten_pairs_without(differences in untied(1..=10)) {
        prop_assert!((p_greater(&differences).unwrap() - brute_force(&differences)).abs() < 1e-12);
    }

    #[test]
    fn turning_all_signs_turns_the_question(differences in tied(1..=14)) {
        let turned: Vec<f64> = differences.iter().map(|it| -it).collect();
        let both = p_greater(&differences).unwrap() + p_greater(&turned).unwrap();
        // The pattern that was seen is counted in both.
        prop_assert!(both >= 1.0 - 1e-12, "{}", both);
        prop_assert_eq!(estimate(&turned), estimate(&differences).map(|it| -it));
    }

    #[test]
    fn the_order_of_the_pairs_does_not_matter(differences in tied(1..=14), by in 0_usize..14) {
        let mut turned = differences.clone();
        turned.rotate_left(by % differences.len());
        prop_assert_eq!(p_greater(&turned), p_greater(&differences));
        prop_assert_eq!(estimate(&turned), estimate(&differences));
        prop_assert_eq!(interval(&turned, 0.05), interval(&differences, 0.05));
    }

    #[test]
    fn stretching_changes_the_ranks_as_little_as_p(differences in tied(1..=14)) {
        let stretched: Vec<f64> = differences.iter().map(|it| it * 8.0).collect();
        prop_assert_eq!(p_greater(&stretched), p_greater(&differences));
    }

    #[test]
    fn moving_all_pairs_up_never_raises_p(differences in untied(1..=14), by in 0.0..1.0_f64) {
        let higher: Vec<f64> = differences.iter().map(|it| it + by).collect();
        prop_assert!(p_greater(&higher).unwrap() <= p_greater(&differences).unwrap() + 1e-12);
    }

    #[test]
    fn the_lower_end_is_where_the_test_begins_to_reject(differences in untied(7..=14)) {
        let low = interval(&differences, 0.01).unwrap().low;
        let p_beyond = |centre: f64| {
            let shifted: Vec<f64> = differences.iter().map(|it| it - centre).collect();
            p_greater(&shifted).unwrap()
        };
        prop_assert!(p_beyond(low - 1e-6) <= 0.01, "{} just below {}", p_beyond(low - 1e-6), low);
        prop_assert!(p_beyond(low + 1e-6) > 0.01, "{} just above {}", p_beyond(low + 1e-6), low);
    }
}
