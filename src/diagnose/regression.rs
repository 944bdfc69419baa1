//! The arithmetic of an attribution: equations of blocks of polls, resampled.
//!
//! Requests in flight now are in flight at the next poll too, so that single polls are no independent observations: the
//! standard errors are from a moving-block bootstrap, whose blocks are longer than requests.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::nnls::{Normal, ROUNDING};
use super::timeline::{LoadTimeline, TimelineRow};

/// No known way to hold takes more sessions than this for one request.
pub(super) const MOST_SESSIONS: f64 = 8.0;

/// A smaller share of what is idle is no weight: the time between the statements of a transaction is idle too.
pub(super) const LEAST_SHARE: f64 = 0.05;

/// Resamples. The standard deviation of 300 is known to 4 %.
const RESAMPLES: usize = 300;
const SEED: u64 = 2318;

/// A block is at least this long, and at most a fifth of what there is.
const SHORTEST_BLOCK_S: f64 = 1.0;
const FEWEST_BLOCKS: usize = 5;

/// A route is named when its coefficient is so many standard errors above zero. Eight innocent routes in fifty runs are
/// four hundred chances to be wrong.
const NAMED_AT: f64 = 3.5;

/// The constant is believed from so many standard errors above zero on: it names nobody.
const CONSTANT_AT: f64 = 2.0;

/// A route whose requests in flight vary around their mean by less than this share of it (squared) is as constant.
const STILL: f64 = 1e-6;

/// Factor by which the constant may exceed what was idle in the quietest second, by chance.
const SLACK: f64 = 1.25;

/// Rows that the regression is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// All polls under load.
    All,
    /// Polls before a pool was full, since a full pool hides who fills it.
    BeforeFull,
    /// A pool was full from the beginning.
    Full,
}

/// Input of an attribution.
pub(super) struct AttributionInput<'a> {
    pub(super) timeline: &'a LoadTimeline,
    /// The phase whose time and requests are counted.
    pub(super) steady_s: (f64, f64),
    /// Requests of a route that finished in it.
    pub(super) finished: &'a dyn Fn(&str) -> u64,
    /// Attributed quantity of a row.
    pub(super) of: fn(&TimelineRow) -> f64,
}

/// Rows in blocks, and the equations of each block.
///
/// The columns are the routes, and a last one that is the same in every row: sessions that are idle whatever is asked
/// for, a worker's or a neighbour's, which would otherwise be laid to the route that varies least. It is used where the
/// data ask for it, see [`Regression::select`].
pub(super) struct Regression {
    columns: usize,
    pub(super) all: Normal,
    resamples: Vec<Normal>,
    /// Blocks that make up one resample.
    per_resample: usize,
    pub(super) rows: usize,
    /// Σ of what is attributed, and of its square, over the rows.
    total: f64,
    pub(super) squares: f64,
    pub(super) most: f64,
    /// Σ of each column.
    pub(super) sums: Vec<f64>,
}

impl Regression {
    pub(super) fn new(question: &AttributionInput<'_>, rows: &[&TimelineRow], basis: Basis) -> Self {
        let routes = question.timeline.routes.len();
        let longest_s = (0..routes).map(|route| time_in_flight(question, route)).fold(0.0, f64::max);
        let length = block_length(rows, longest_s);
        let targets = || rows.iter().map(|row| (question.of)(row));
        // In a full pool the sizes say nothing any more, and one session for each request is the plain case.
        let most = if basis == Basis::Full { 1.0 } else { MOST_SESSIONS };
        // Nor is a pool that was always full a constant. Scaled so that it needs no factor above `most`.
        let constant = if basis == Basis::Full { 0.0 } else { SLACK * quietest(rows, question.of) / most };
        let columns = routes + 1;
        let regressors = |row: &TimelineRow| [row.in_flight.as_slice(), &[constant]].concat();
        let equations = |rows: &[&TimelineRow]| {
            let mut normal = Normal::new(columns);
            for row in rows {
                normal.observe(&regressors(row), (question.of)(row));
            }
            normal
        };
        let mut sums = vec![0.0; columns];
        for row in rows {
            sums.iter_mut().zip(regressors(row)).for_each(|(sum, value)| *sum += value);
        }
        let blocks: Vec<Normal> = rows.windows(length).map(equations).collect();
        let per_resample = rows.len().div_ceil(length);
        Self {
            columns,
            all: equations(rows),
            resamples: resample(&blocks, per_resample),
            per_resample,
            rows: rows.len(),
            total: targets().sum(),
            squares: targets().map(|it| it * it).sum(),
            most,
            sums,
        }
    }

    /// The columns that stand out of the noise, and the standard error of each.
    ///
    /// First without the constant, then beside it where it stands out beside those: who holds must not be lost to it only
    /// because their requests in flight vary little.
    pub(super) fn select(&self) -> (Vec<bool>, Vec<f64>) {
        let mut routes = vec![true; self.columns];
        routes[self.constant()] = false;
        let alone = self.eliminate(routes.clone());
        let named = if alone.0.contains(&true) { &alone.0 } else { &routes };
        if self.stands_constant_beside(named) { self.eliminate(vec![true; self.columns]) } else { alone }
    }

    /// Leaves out the route that stands out of the noise least, until all that are left do.
    ///
    /// One at a time: of two routes that go up and down together both look doubtful, until one of them is gone.
    fn eliminate(&self, mut used: Vec<bool>) -> (Vec<bool>, Vec<f64>) {
        loop {
            let solution = self.all.solve(&used, self.most);
            let spread = self.spread(&used);
            let routes = (0..self.constant()).filter(|column| used[*column]);
            let weakest = routes.map(|column| (self.strength(&solution, &spread, column), column));
            match weakest.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((strength, column)) if strength < NAMED_AT => used[column] = false,
                _ => return (used, spread),
            }
        }
    }

    /// Standard errors above zero; 0 for what is of no weight.
    fn strength(&self, solution: &[f64], spread: &[f64], column: usize) -> f64 {
        let share = solution[column] * self.sums[column] / self.total;
        if share >= LEAST_SHARE { solution[column] / spread[column].max(f64::MIN_POSITIVE) } else { 0.0 }
    }

    /// The constant's column.
    fn constant(&self) -> usize {
        self.columns - 1
    }

    /// Standard errors that each column is above zero when the constant is used beside these; `None` without one.
    fn strengths_beside_constant(&self, used: &[bool]) -> Option<Vec<f64>> {
        if self.sums[self.constant()] <= 0.0 {
            return None;
        }
        let mut used = used.to_vec();
        used[self.constant()] = true;
        let (solution, spread) = (self.all.solve(&used, self.most), self.spread(&used));
        Some((0..self.columns).map(|column| self.strength(&solution, &spread, column)).collect())
    }

    /// True if some of it is idle whatever is asked for, beside these routes. Beside one that is as constant, nobody can
    /// tell.
    fn stands_constant_beside(&self, routes: &[bool]) -> bool {
        let is_told = (0..self.constant()).all(|column| !routes[column] || !self.is_still(column));
        is_told && self.strengths_beside_constant(routes).is_some_and(|it| it[self.constant()] >= CONSTANT_AT)
    }

    fn is_still(&self, column: usize) -> bool {
        let squares = self.all.product(column, column);
        squares > 0.0 && 1.0 - self.sums[column] * self.sums[column] / (self.rows as f64 * squares) < STILL
    }

    /// Of the routes that are used, those that would not stand out beside a constant: it may be meant as well.
    pub(super) fn like_constant(&self, used: &[bool]) -> Vec<bool> {
        let Some(strengths) = self.strengths_beside_constant(used) else { return vec![false; self.columns] };
        let like = |column: usize| self.is_still(column) || strengths[column] < NAMED_AT;
        (0..self.columns).map(|column| column != self.constant() && used[column] && like(column)).collect()
    }

    /// Sessions that a solution lays to the constant.
    pub(super) fn laid_to_constant(&self, solution: &[f64]) -> f64 {
        solution[self.constant()] * self.sums[self.constant()] / self.rows as f64
    }

    /// With few rows: the one column that alone leaves much less unexplained than any other.
    pub(super) fn select_few(&self) -> (Vec<bool>, Vec<f64>) {
        let left = self.alone();
        // Where everything is flat, what is left is rounding, and nobody is clear.
        let floor = ROUNDING * self.squares;
        let clear = left.get(1).is_none_or(|second| left[0].0 + floor <= 0.5 * (second.0 + floor));
        let explains = left[0].0 < 0.5 * self.squares;
        let used: Vec<bool> = (0..self.columns).map(|it| clear && explains && it == left[0].1).collect();
        let spread = self.spread(&used);
        (used, spread)
    }

    /// Residual of each route alone, least first.
    pub(super) fn alone(&self) -> Vec<(f64, usize)> {
        let residual = |column: usize| {
            let only: Vec<bool> = (0..self.columns).map(|it| it == column).collect();
            self.all.residual(&self.all.solve(&only, self.most))
        };
        let mut left: Vec<(f64, usize)> = (0..self.constant()).map(|column| (residual(column), column)).collect();
        left.sort_by(|a, b| a.0.total_cmp(&b.0));
        left
    }

    /// Correlation of two columns, −1 to 1; 1 where neither moves, and 0 where only one does.
    pub(super) fn correlation(&self, left: usize, right: usize) -> f64 {
        let count = self.rows as f64;
        let moment =
            |i: usize, j: usize| self.all.product(i, j) / count - self.sums[i] * self.sums[j] / (count * count);
        let moves = |i: usize| moment(i, i) > ROUNDING * self.all.product(i, i) / count;
        match (moves(left), moves(right)) {
            (true, true) => moment(left, right) / (moment(left, left) * moment(right, right)).sqrt(),
            (false, false) => 1.0,
            _ => 0.0,
        }
    }

    /// The standard error of each coefficient.
    fn spread(&self, used: &[bool]) -> Vec<f64> {
        let start = self.all.solve(used, self.most);
        let mut sums = vec![(0.0, 0.0); self.columns];
        for resample in &self.resamples {
            for (sum, value) in sums.iter_mut().zip(resample.solve_from(start.clone(), used, self.most)) {
                *sum = (sum.0 + value, sum.1 + value * value);
            }
        }
        let count = RESAMPLES as f64;
        sums.iter().map(|(sum, squares)| ((squares - sum * sum / count) / (count - 1.0)).max(0.0).sqrt()).collect()
    }

    /// The width of a 95 % interval in standard errors: Student's quantile with one degree less than there are blocks.
    pub(super) fn student(&self) -> f64 {
        let rows_of_a_block = (self.rows as f64 / self.per_resample as f64).max(1.0);
        student(self.rows as f64 / rows_of_a_block - 1.0)
    }

    /// Share of the spread around the mean that a solution explains.
    pub(super) fn explained(&self, solution: &[f64]) -> f64 {
        let around_mean = self.squares - self.total * self.total / self.rows as f64;
        if around_mean > 0.0 { (1.0 - self.all.residual(solution) / around_mean).max(0.0) } else { 0.0 }
    }
}

/// Sessions idle in the quietest second: hardly more can have been idle all the time.
fn quietest(rows: &[&TimelineRow], of: fn(&TimelineRow) -> f64) -> f64 {
    let length = block_length(rows, 0.0);
    let mean = |rows: &[&TimelineRow]| rows.iter().map(|row| of(row)).sum::<f64>() / rows.len() as f64;
    rows.windows(length).map(mean).reduce(f64::min).unwrap_or(0.0)
}

/// Draws blocks with replacement, as many as make up the whole.
fn resample(blocks: &[Normal], per_resample: usize) -> Vec<Normal> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut draw = |first: &Normal| {
        let mut drawn = first.clone();
        (1..per_resample).for_each(|_| drawn.merge(&blocks[random.random_range(0..blocks.len())]));
        drawn
    };
    let mut starts = SmallRng::seed_from_u64(SEED + 1);
    (0..RESAMPLES).map(|_| draw(&blocks[starts.random_range(0..blocks.len())])).collect()
}

/// Rows of a block: twice the time that a request of the slowest route takes, within bounds.
fn block_length(rows: &[&TimelineRow], longest_s: f64) -> usize {
    let span = rows.last().zip(rows.first()).map_or(0.0, |(last, first)| last.at_s - first.at_s);
    let per_second = if span > 0.0 { rows.len() as f64 / span } else { 10.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let wanted = ((2.0 * longest_s).max(SHORTEST_BLOCK_S) * per_second).round() as usize;
    wanted.clamp(1, (rows.len() / FEWEST_BLOCKS).max(1))
}

/// Mean time that a request of a route is in flight, by Little's law; 0 when none finished.
fn time_in_flight(question: &AttributionInput<'_>, route: usize) -> f64 {
    let (from_s, to_s) = question.steady_s;
    let finished = (question.finished)(&question.timeline.routes[route]);
    if finished == 0 {
        return 0.0;
    }
    question.timeline.integral(from_s, to_s, |row| row.in_flight[route]) / finished as f64
}

/// Half of the 95 % interval of the mean of autocorrelated counts, relative to it, from the means of their fifths.
pub(super) fn relative_error(counts: &[f64]) -> f64 {
    let length = (counts.len() / FEWEST_BLOCKS).max(1);
    let means: Vec<f64> = counts.chunks(length).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect();
    let count = means.len() as f64;
    let mean = means.iter().sum::<f64>() / count;
    if mean <= 0.0 || means.len() < 2 {
        return 1.0;
    }
    let variance = means.iter().map(|it| (it - mean) * (it - mean)).sum::<f64>() / (count - 1.0);
    student(count - 1.0) * (variance / count).sqrt() / mean
}

/// The 97.5 % quantile of Student's t with `freedom` degrees (Abramowitz and Stegun 26.7.5, within 1 % from 3 on).
fn student(freedom: f64) -> f64 {
    const Z: f64 = 1.959_964;
    let n = freedom.max(3.0);
    let (z3, z5) = (Z.powi(3), Z.powi(5));
    Z + (z3 + Z) / (4.0 * n)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * n * n)
        + (3.0 * Z.powi(7) + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * n * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_quantiles_are_those_of_the_tables() {
        for (freedom, quantile) in [(4.0, 2.776), (10.0, 2.228), (30.0, 2.042), (1e9, 1.960)] {
            assert!((student(freedom) / quantile - 1.0).abs() < 0.01, "{freedom}: {}", student(freedom));
        }
    }
}
