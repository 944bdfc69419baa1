//! The decision: its cases, its borders, and that stopping early changes nothing.

use proptest::prelude::*;

use super::*;

const ALWAYS_UP: [f64; 7] = [0.61, 0.72, 0.66, 0.75, 0.69, 0.81, 0.58];

/// A metric with the usual margin of 10 %.
fn metric(differences: &[f64]) -> Worsening {
    Worsening { differences: differences.to_vec(), margin: 0.1_f64.ln_1p() }
}

fn metrics(differences: &[Vec<f64>]) -> Vec<Worsening> {
    differences.iter().map(|it| metric(it)).collect()
}

fn findings(differences: &[Vec<f64>], alpha: f64) -> Vec<PairedFinding> {
    judge(&metrics(differences), alpha).unwrap().iter().map(|it| it.finding).collect()
}

#[test]
fn a_doubling_in_seven_of_seven_pairs_is_worse() {
    let evidence = judge(&[metric(&ALWAYS_UP)], 0.01).unwrap()[0];
    assert_eq!(evidence.finding, PairedFinding::Worse);
    assert!((evidence.p_value - 1.0 / 128.0).abs() < 1e-12, "{evidence:?}");
    assert!((1.9..2.1).contains(&evidence.centre.exp()), "{evidence:?}");
    let interval = evidence.interval.unwrap();
    assert!(interval.low > 1.7_f64.ln() && interval.high < 2.3_f64.ln(), "{interval:?}");
}

#[test]
fn a_large_ratio_in_six_pairs_is_unclear_and_not_passed() {
    let evidence = judge(&[metric(&ALWAYS_UP[..6])], 0.01).unwrap()[0];
    assert_eq!((evidence.finding, evidence.interval), (PairedFinding::Unclear, None));
}

#[test]
fn a_significant_ratio_within_the_smallest_effect_is_no_worse() {
    let small: Vec<f64> = ALWAYS_UP.iter().map(|it| it / 10.0).collect();
    let evidence = judge(&[metric(&small)], 0.01).unwrap()[0];
    assert!(evidence.p_value <= 0.01 && evidence.centre < 1.1_f64.ln(), "{evidence:?}");
    assert_eq!(evidence.finding, PairedFinding::NoWorse);
}

#[test]
fn a_metric_among_three_needs_nine_pairs() {
    let three = |pairs: &[f64]| [pairs.to_vec(), pairs.to_vec(), vec![0.0; pairs.len()]];
    let expected = [PairedFinding::Unclear, PairedFinding::Unclear, PairedFinding::NoWorse];
    assert_eq!(findings(&three(&ALWAYS_UP), 0.01), expected);
    let nine = [&ALWAYS_UP[..], &[0.7, 0.8]].concat();
    let expected = [PairedFinding::Worse, PairedFinding::Worse, PairedFinding::NoWorse];
    assert_eq!(findings(&three(&nine), 0.01), expected);
}

#[test]
fn nothing_measured_is_no_judgement() {
    assert_eq!(judge(&[], 0.01), None);
    assert_eq!(judge(&[metric(&[])], 0.01), None);
    assert_eq!(judge(&[metric(&[0.1, f64::NAN])], 0.01), None);
    assert!(!is_settled(&[], 10, 0.01));
}

#[test]
fn too_small_an_alpha_has_no_fewest_pairs() {
    assert_eq!(fewest_pairs(1, 1e-30), None);
    assert_eq!(fewest_pairs(1, 0.5), Some(1));
}

#[test]
fn ten_planned_pairs_without_a_difference_are_settled_after_seven() {
    let settled = |pairs: usize| is_settled(&[metric(&vec![0.0; pairs])], 10, 0.01);
    assert_eq!((1..=10).find(|pairs| settled(*pairs)), Some(7));
}

#[test]
fn twenty_planned_pairs_that_all_point_up_are_settled_before_the_last() {
    let up: Vec<f64> = (1..=20).map(|it| 0.5 + f64::from(it) / 100.0).collect();
    let settled = |pairs: usize| is_settled(&[metric(&up[..pairs])], 20, 0.01);
    let first = (1..=20).find(|pairs| settled(*pairs)).unwrap();
    assert!((10..19).contains(&first), "{first}");
}

/// Differences of up to three metrics, without ties, and how many of them are known.
fn partly_known() -> impl Strategy<Value = (Vec<Vec<f64>>, usize)> {
    (4..=16_usize).prop_flat_map(move |pairs| {
        let metric = prop::collection::vec(-0.4..0.8_f64, pairs..=pairs);
        (prop::collection::vec(metric, 1..=3), 1..=pairs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_settled_early_is_found_in_the_end((differences, known) in partly_known(), alpha in 0.01..0.2_f64) {
        let planned = differences[0].len();
        let so_far: Vec<Vec<f64>> = differences.iter().map(|it| it[..known].to_vec()).collect();
        if is_settled(&metrics(&so_far), planned, alpha) {
            prop_assert_eq!(findings(&so_far, alpha), findings(&differences, alpha));
        }
    }

    #[test]
    fn a_difference_further_up_never_makes_a_finding_milder((differences, _) in partly_known(), up in 0.0..2.0_f64) {
        let mut higher = differences.clone();
        higher[0][0] += up;
        for (before, after) in findings(&differences, 0.05).iter().zip(findings(&higher, 0.05)) {
            prop_assert!(after >= *before, "{:?} became {:?}", before, after);
        }
    }
}
