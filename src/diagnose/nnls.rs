//! Least squares with coefficients that may not be negative: nobody holds less than no session.
//!
//! Everything works on the normal equations, `AᵀA` and `Aᵀb`, so that a resample of blocks is a sum of their equations.

/// The normal equations of a regression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Normal {
    columns: usize,
    /// `AᵀA`, row by row.
    gram: Vec<f64>,
    /// `Aᵀb`.
    target: Vec<f64>,
    /// `bᵀb`.
    squares: f64,
}

/// Sweeps over all coefficients after which what has not settled is left as it is.
const SWEEPS: usize = 400;

/// A sweep that moves no coefficient by more than this has settled it.
const SETTLED: f64 = 1e-6;

/// Of the squared values of a column: less than this is left by rounding.
pub(super) const ROUNDING: f64 = 1e-9;

impl Normal {
    pub(super) fn new(columns: usize) -> Self {
        Self { columns, gram: vec![0.0; columns * columns], target: vec![0.0; columns], squares: 0.0 }
    }

    /// Adds one observation.
    pub(super) fn observe(&mut self, row: &[f64], value: f64) {
        for (i, left) in row.iter().enumerate() {
            for (j, right) in row.iter().enumerate() {
                self.gram[i * self.columns + j] += left * right;
            }
            self.target[i] += left * value;
        }
        self.squares += value * value;
    }

    /// Adds the observations of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.gram.iter_mut().zip(&other.gram).for_each(|(mine, more)| *mine += more);
        self.target.iter_mut().zip(&other.target).for_each(|(mine, more)| *mine += more);
        self.squares += other.squares;
    }

    /// Coefficients between 0 and `most` that minimise the squared residuals, of the columns in `used`; 0 for others.
    ///
    /// Coordinate descent: the problem is convex, each step is exact in its coordinate, and a bound is a clamp.
    pub(super) fn solve(&self, used: &[bool], most: f64) -> Vec<f64> {
        self.solve_from(vec![0.0; self.columns], used, most)
    }

    /// The same from a guess, which saves most of the steps when it is a good one. Columns that are not used must be 0.
    ///
    /// A last column that hardly varies, as a constant, goes with all others, and descent would creep along the valley
    /// between them: it is eliminated first. Where what is then left for it is out of its bounds, the minimum is at that
    /// bound, since the problem is convex.
    pub(super) fn solve_from(&self, mut solution: Vec<f64>, used: &[bool], most: f64) -> Vec<f64> {
        let last = self.columns - 1;
        let own = self.product(last, last);
        if !used[last] || own <= 0.0 {
            return self.descend(solution, used, most);
        }
        let mut others = used.to_vec();
        others[last] = false;
        solution[last] = 0.0;
        solution = self.without_last().descend(solution, &others, most);
        let wanted = -self.slope(&solution, last) / own;
        solution[last] = wanted.clamp(0.0, most);
        if (0.0..=most).contains(&wanted) { solution } else { self.descend(solution, &others, most) }
    }

    /// The equations of the other columns when the last one always takes what suits it best.
    fn without_last(&self) -> Self {
        let last = self.columns - 1;
        let own = self.product(last, last);
        let mut without = self.clone();
        for i in 0..last {
            let share = self.product(i, last) / own;
            for j in 0..last {
                without.gram[i * self.columns + j] -= share * self.product(last, j);
            }
            without.target[i] -= share * self.target[last];
            // Of a column that goes with the last one all the time, only rounding is left.
            if without.product(i, i) <= ROUNDING * self.product(i, i) {
                without.gram[i * self.columns + i] = 0.0;
            }
        }
        without
    }

    fn descend(&self, mut solution: Vec<f64>, used: &[bool], most: f64) -> Vec<f64> {
        for _ in 0..SWEEPS {
            let mut moved = 0.0_f64;
            for column in (0..self.columns).filter(|column| used[*column]) {
                let own = self.gram[column * self.columns + column];
                if own <= 0.0 {
                    continue;
                }
                let next = (solution[column] - self.slope(&solution, column) / own).clamp(0.0, most);
                moved = moved.max((next - solution[column]).abs());
                solution[column] = next;
            }
            if moved < SETTLED {
                break;
            }
        }
        solution
    }

    /// Half of the derivative of the squared residuals by one coefficient.
    fn slope(&self, solution: &[f64], column: usize) -> f64 {
        let row = &self.gram[column * self.columns..(column + 1) * self.columns];
        row.iter().zip(solution).map(|(gram, value)| gram * value).sum::<f64>() - self.target[column]
    }

    /// The squared residuals that a solution leaves.
    pub(super) fn residual(&self, solution: &[f64]) -> f64 {
        let slopes =
            (0..self.columns).map(|column| solution[column] * (self.slope(solution, column) - self.target[column]));
        (slopes.sum::<f64>() + self.squares).max(0.0)
    }

    /// Σ of the product of two columns over all observations.
    pub(super) fn product(&self, left: usize, right: usize) -> f64 {
        self.gram[left * self.columns + right]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(rows: &[Vec<f64>], values: &[f64]) -> Normal {
        let mut normal = Normal::new(rows[0].len());
        rows.iter().zip(values).for_each(|(row, value)| normal.observe(row, *value));
        normal
    }

    #[test]
    fn exact_data_give_the_exact_coefficients() {
        let rows = [[1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [2.0, 1.0, 0.0], [1.0, 1.0, 1.0]].map(|it| it.to_vec());
        let values: Vec<f64> = rows.iter().map(|row| 0.5 * row[0] + 2.0 * row[2]).collect();
        let normal = normal(&rows, &values);
        let solution = normal.solve(&[true; 3], f64::INFINITY);
        for (found, truth) in solution.iter().zip([0.5, 0.0, 2.0]) {
            assert!((found - truth).abs() < 1e-5, "{solution:?}");
        }
        assert!(normal.residual(&solution) < 1e-8);
    }

    /// A solution within the bounds that is a step away from this one, and better.
    fn improvement(normal: &Normal, solution: &[f64], most: f64) -> Option<Vec<f64>> {
        let best = normal.residual(solution);
        let steps = [-0.05, -0.001, 0.001, 0.05];
        let others = (0..solution.len()).flat_map(|column| steps.map(|step| (column, step)));
        let mut others = others.map(|(column, step)| {
            let mut other = solution.to_vec();
            other[column] = (other[column] + step).clamp(0.0, most);
            other
        });
        others.find(|other| normal.residual(other) < best - 1e-6 * best.max(1.0))
    }

    proptest! {
        #[test]
        fn no_step_within_the_bounds_makes_the_fit_better(
            rows in prop::collection::vec(prop::collection::vec(0.0..20.0_f64, 4), 8..30),
            noise in prop::collection::vec(-3.0..9.0_f64, 30),
        ) {
            let values: Vec<f64> = rows.iter().zip(&noise).map(|(row, noise)| row[0] + 0.3 * row[2] + noise).collect();
            let normal = normal(&rows, &values);
            let solution = normal.solve(&[true; 4], 5.0);
            prop_assert!(improvement(&normal, &solution, 5.0).is_none());
        }

        #[test]
        fn beside_a_constant_too_no_step_makes_the_fit_better(
            rows in prop::collection::vec(prop::collection::vec(0.0..20.0_f64, 3), 8..30),
            noise in prop::collection::vec(-20.0..20.0_f64, 30),
        ) {
            let rows: Vec<Vec<f64>> = rows.into_iter().map(|row| [row, vec![60.0]].concat()).collect();
            let values: Vec<f64> = rows.iter().zip(&noise).map(|(row, noise)| row[0] + noise).collect();
            let normal = normal(&rows, &values);
            let solution = normal.solve(&[true; 4], 5.0);
            prop_assert!(improvement(&normal, &solution, 5.0).is_none());
        }

        #[test]
        fn merged_equations_are_those_of_all_observations(values in prop::collection::vec((0.0..9.0_f64, 0.0..9.0_f64), 2..20)) {
            let rows: Vec<_> = values.iter().map(|(x, _)| vec![*x, 1.0]).collect();
            let targets: Vec<_> = values.iter().map(|(_, y)| *y).collect();
            let mut halves = normal(&rows[..1], &targets[..1]);
            halves.merge(&normal(&rows[1..], &targets[1..]));
            let (one, two) = (normal(&rows, &targets).solve(&[true; 2], 9.0), halves.solve(&[true; 2], 9.0));
            prop_assert!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
