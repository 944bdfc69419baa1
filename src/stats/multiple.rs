//! Several tests at once: Holm's step-down correction.

/// The p-values adjusted after Holm (1979), in the order given: those at most α may be called significant together,
/// with at most a chance of α that any one of them is by mistake, however they depend on each other.
///
/// ```
/// use rbac_bench::stats::multiple::holm;
/// assert_eq!(holm(&[0.01, 0.04]), [0.02, 0.04]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (step, index) in order.iter().enumerate() {
        let hypotheses_left = (p_values.len() - step) as f64;
        largest = largest.max((hypotheses_left * p_values[*index]).min(1.0));
        adjusted[*index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holm_agrees_with_a_worked_example() {
        // R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm").
        let adjusted = holm(&[0.01, 0.02, 0.03, 0.04, 0.05]);
        for (mine, theirs) in adjusted.iter().zip([0.05, 0.08, 0.09, 0.09, 0.09]) {
            assert!((mine - theirs).abs() < 1e-12, "{adjusted:?}");
        }
    }

    #[test]
    fn a_single_test_needs_no_correction_and_none_gives_none() {
        assert_eq!(holm(&[0.03]), [0.03]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn adjusted_values_are_between_the_p_value_and_bonferronis(p in prop::collection::vec(0.0..=1.0f64, 1..8)) {
            let count = p.len() as f64;
            for (adjusted, raw) in holm(&p).iter().zip(&p) {
                prop_assert!(*adjusted >= *raw, "{} for {}", adjusted, raw);
            }
            // The smallest gets Bonferroni's correction, and so no other gets less.
            let smallest = p.iter().copied().fold(1.0, f64::min);
            for adjusted in holm(&p) {
                prop_assert!(adjusted >= (count * smallest).min(1.0) - 1e-12);
            }
        }

        #[test]
        fn the_order_of_the_tests_does_not_matter(p in prop::collection::vec(0.0..=1.0f64, 1..8)) {
            let mut backwards = p.clone();
            backwards.reverse();
            let mut adjusted = holm(&backwards);
            adjusted.reverse();
            prop_assert_eq!(adjusted, holm(&p));
        }
    }
}
