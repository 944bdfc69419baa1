//! Who holds the sessions: requests in flight by route against sessions idle in transaction, without a word from the
//! application.
//!
//! At each poll, idle = Σ coefficient × in flight. A route's coefficient is the share of its time in flight in which a
//! request holds a session (above 1: more than one session); times the mean time in flight it is the held seconds per
//! request. The intervals are from a moving-block bootstrap, since what is in flight now is in flight at the next poll
//! too: blocks are longer than requests.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::nnls::Normal;
use super::timeline::{Row, Timeline};

/// Resamples. The standard deviation of 300 is known to 4 %.
const RESAMPLES: usize = 300;
const SEED: u64 = 2318;

/// A block is at least this long, and at most a fifth of what there is.
const SHORTEST_BLOCK_S: f64 = 1.0;
const FEWEST_BLOCKS: usize = 5;

/// No known way to hold takes more sessions than this for one request.
const MOST_SESSIONS: f64 = 8.0;

/// Fewer rows with idle sessions than this say nothing.
const FEWEST_ROWS: usize = 2;
/// From this many rows on, the spread within them is worth resampling.
const ENOUGH_ROWS: usize = 40;

/// Less than this is not called a hold: the time between the statements of a transaction is idle too.
const LEAST_HELD_S: f64 = 0.05;
const LEAST_RATIO: f64 = 0.05;
const LEAST_SHARE: f64 = 0.05;
/// Sessions; less idle than this at the mean is nobody's trouble.
const LEAST_IDLE: f64 = 0.2;

/// A route is named when its coefficient is so many standard errors above zero. Eight innocent routes in fifty runs are
/// four hundred chances to be wrong.
const NAMED_AT: f64 = 3.5;

/// Routes whose requests in flight correlate more than this cannot be told apart.
const COLLINEAR: f64 = 0.97;

/// A route that alone leaves at most so many times as much unexplained as the best one may be meant as well.
const AS_GOOD: f64 = 1.25;

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The best estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// The same in another unit.
    fn scaled(self, by: f64) -> Self {
        Self { value: self.value * by, low: self.low * by, high: self.high * by }
    }
}

/// One route and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RouteHold {
    pub(super) route: String,
    /// Sessions held per request in flight.
    pub(super) coefficient: Interval,
    /// Of all idle-in-transaction time, 0–1.
    pub(super) share: f64,
    /// `None` when not one of its requests finished.
    pub(super) held_s: Option<Interval>,
    /// Session seconds over the steady phase.
    pub(super) idle_s: f64,
}

/// What the regression is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// All polls under load.
    All,
    /// Polls before a pool was full, since a full pool hides who fills it.
    BeforeFull,
    /// A pool was full from the beginning.
    Full,
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribution {
    /// Routes that hold, most session seconds first.
    pub(super) holders: Vec<RouteHold>,
    /// Routes that cannot be told from a holder: (holder, other).
    pub(super) confused: Vec<(String, String)>,
    pub(super) basis: Basis,
    pub(super) rows: usize,
    /// Share of the spread of the idle sessions that the holders explain, 0–1.
    pub(super) explained: f64,
    /// Where no route could be named: those of which one or more must hold, the best first.
    pub(super) ambiguous: Vec<String>,
}

impl Attribution {
    /// The same with shares of `total_s` idle seconds, of which the attributed ones may be a part.
    pub(super) fn of_all(mut self, total_s: f64) -> Self {
        for hold in &mut self.holders {
            hold.share = if total_s > 0.0 { hold.idle_s / total_s } else { hold.share };
        }
        self.holders.retain(matters);
        self
    }
}

/// What is attributed.
pub(super) struct Question<'a> {
    pub(super) timeline: &'a Timeline,
    /// The phase whose time and requests are counted.
    pub(super) steady_s: (f64, f64),
    /// Requests of a route that finished in it.
    pub(super) finished: &'a dyn Fn(&str) -> u64,
    /// What is attributed of a row.
    pub(super) of: fn(&Row) -> f64,
}

/// Attributes; `None` when there is too little to attribute or to attribute from.
pub(super) fn attribute(question: &Question<'_>) -> Option<Attribution> {
    let timeline = question.timeline;
    if timeline.routes.is_empty() || timeline.mean(question.of)? < LEAST_IDLE {
        return None;
    }
    let (rows, basis) = basis(timeline, question.of);
    if rows.iter().filter(|row| (question.of)(row) > 0.0).count() < FEWEST_ROWS {
        return None;
    }
    let data = Data::new(question, &rows, basis);
    let (mut used, mut spread) = if rows.len() >= ENOUGH_ROWS { data.select() } else { data.select_few() };
    if !used[..timeline.routes.len()].contains(&true) && rows.len() >= ENOUGH_ROWS {
        (used, spread) = data.select_few();
    }
    Some(report(question, &data, &used, &spread, basis))
}

/// The rows to learn from. A full pool cuts off what is idle, so rows before it was full are worth more.
fn basis(timeline: &Timeline, of: fn(&Row) -> f64) -> (Vec<&Row>, Basis) {
    let free: Vec<&Row> = timeline.rows.iter().filter(|row| !row.saturated).collect();
    let telling = free.iter().filter(|row| of(row) > 0.0).count();
    if free.len() == timeline.rows.len() {
        (free, Basis::All)
    } else if telling >= FEWEST_ROWS {
        (free, Basis::BeforeFull)
    } else {
        (timeline.rows.iter().collect(), Basis::Full)
    }
}

/// Rows in blocks, and the equations of each block.
struct Data {
    columns: usize,
    all: Normal,
    resamples: Vec<Normal>,
    /// Blocks that make up one resample.
    per_resample: usize,
    rows: usize,
    /// Σ of what is attributed, and of its square, over the rows.
    total: f64,
    squares: f64,
    most: f64,
    /// Σ of each column.
    sums: Vec<f64>,
}

impl Data {
    fn new(question: &Question<'_>, rows: &[&Row], basis: Basis) -> Self {
        let columns = question.timeline.routes.len();
        let longest_s = (0..columns).map(|route| time_in_flight(question, route)).fold(0.0, f64::max);
        let length = block_length(rows, longest_s);
        let equations = |rows: &[&Row]| {
            let mut normal = Normal::new(columns);
            for row in rows {
                normal.observe(&row.in_flight, (question.of)(row));
            }
            normal
        };
        let sums = (0..columns).map(|column| rows.iter().map(|row| row.in_flight[column]).sum()).collect();
        let blocks: Vec<Normal> = rows.windows(length).map(equations).collect();
        let per_resample = rows.len().div_ceil(length);
        let targets = || rows.iter().map(|row| (question.of)(row));
        Self {
            columns,
            all: equations(rows),
            resamples: resample(&blocks, per_resample),
            per_resample,
            rows: rows.len(),
            total: targets().sum(),
            squares: targets().map(|it| it * it).sum(),
            // In a full pool the sizes say nothing any more, and one session for each request is the plain case.
            most: if basis == Basis::Full { 1.0 } else { MOST_SESSIONS },
            sums,
        }
    }

    /// Leaves out the column that stands out of the noise least, until all that are left do.
    ///
    /// One at a time: of two routes that go up and down together both look doubtful, until one of them is gone.
    fn select(&self) -> (Vec<bool>, Vec<f64>) {
        let mut used = vec![true; self.columns];
        loop {
            let solution = self.all.solve(&used, self.most);
            let spread = self.spread(&used);
            let stands = |column: usize| {
                let share = solution[column] * self.sums[column] / self.total;
                if share >= LEAST_SHARE { solution[column] / spread[column].max(f64::MIN_POSITIVE) } else { 0.0 }
            };
            let weakest = (0..self.columns).filter(|column| used[*column]).map(|column| (stands(column), column));
            match weakest.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((strength, column)) if strength < NAMED_AT => used[column] = false,
                _ => return (used, spread),
            }
        }
    }

    /// With few rows: the one column that alone leaves much less unexplained than any other.
    fn select_few(&self) -> (Vec<bool>, Vec<f64>) {
        let left = self.alone();
        let clear = left.get(1).is_none_or(|second| left[0].0 <= 0.5 * second.0);
        let explains = left[0].0 < 0.5 * self.squares;
        let used: Vec<bool> = (0..self.columns).map(|it| clear && explains && it == left[0].1).collect();
        let spread = self.spread(&used);
        (used, spread)
    }

    /// What each column alone leaves unexplained, least first.
    fn alone(&self) -> Vec<(f64, usize)> {
        let residual = |column: usize| {
            let only: Vec<bool> = (0..self.columns).map(|it| it == column).collect();
            self.all.residual(&self.all.solve(&only, self.most))
        };
        let mut left: Vec<(f64, usize)> = (0..self.columns).map(|column| (residual(column), column)).collect();
        left.sort_by(|a, b| a.0.total_cmp(&b.0));
        left
    }

    /// How two columns go up and down together, −1 to 1; 1 where neither moves.
    fn correlation(&self, left: usize, right: usize) -> f64 {
        let count = self.rows as f64;
        let moment =
            |i: usize, j: usize| self.all.product(i, j) / count - self.sums[i] * self.sums[j] / (count * count);
        let norm = (moment(left, left) * moment(right, right)).max(0.0).sqrt();
        if norm > 1e-9 { moment(left, right) / norm } else { 1.0 }
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

    fn explained(&self, solution: &[f64]) -> f64 {
        let around_mean = self.squares - self.total * self.total / self.rows as f64;
        if around_mean > 0.0 { (1.0 - self.all.residual(solution) / around_mean).max(0.0) } else { 0.0 }
    }
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
fn block_length(rows: &[&Row], longest_s: f64) -> usize {
    let span = rows.last().zip(rows.first()).map_or(0.0, |(last, first)| last.at_s - first.at_s);
    let per_second = if span > 0.0 { rows.len() as f64 / span } else { 10.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let wanted = ((2.0 * longest_s).max(SHORTEST_BLOCK_S) * per_second).round() as usize;
    wanted.clamp(1, (rows.len() / FEWEST_BLOCKS).max(1))
}

/// Mean time that a request of a route is in flight, by Little's law; 0 when none finished.
fn time_in_flight(question: &Question<'_>, route: usize) -> f64 {
    let (from_s, to_s) = question.steady_s;
    let finished = (question.finished)(&question.timeline.routes[route]);
    if finished == 0 {
        return 0.0;
    }
    question.timeline.integral(from_s, to_s, |row| row.in_flight[route]) / finished as f64
}

fn report(question: &Question<'_>, data: &Data, used: &[bool], spread: &[f64], basis: Basis) -> Attribution {
    let timeline = question.timeline;
    let (from_s, to_s) = question.steady_s;
    let solution = data.all.solve(used, data.most);
    let width = student(data.rows as f64 / block_rows(data) - 1.0);
    let of = question.of;
    let total_s = timeline.integral(from_s, to_s, of);
    let in_flight_s: Vec<f64> =
        (0..timeline.routes.len()).map(|route| timeline.integral(from_s, to_s, |row| row.in_flight[route])).collect();
    // A full pool holds what it has, not what the requests would have held as before it was full.
    let wanted_s: f64 = in_flight_s.iter().zip(&solution).map(|(seconds, value)| seconds * value).sum();
    let granted = if wanted_s > total_s { total_s / wanted_s } else { 1.0 };
    let mut holders = Vec::new();
    for (index, route) in timeline.routes.iter().enumerate().filter(|(index, _)| used[*index]) {
        let value = solution[index];
        let coefficient =
            Interval { value, low: (value - width * spread[index]).max(0.0), high: value + width * spread[index] };
        let idle_s = value * in_flight_s[index] * granted;
        let finished = (question.finished)(route);
        // Requests that were in flight at an end of the window are half inside: their number is random, and so are
        // their ages (Little's law holds exactly only in the long run).
        let edges = [timeline.nearest(from_s), timeline.nearest(to_s)];
        let cut: f64 = edges.iter().flatten().map(|row| row.in_flight[index]).sum();
        let edge = value * cut.sqrt() / (finished as f64).max(1.0);
        let half = width * (spread[index] * spread[index] + edge * edge).sqrt();
        let each = Interval { value, low: (value - half).max(0.0), high: value + half };
        let held_s = (finished > 0).then(|| each.scaled(granted * in_flight_s[index] / finished as f64));
        let share = if total_s > 0.0 { idle_s / total_s } else { 1.0 };
        holders.push(RouteHold { route: route.clone(), coefficient, share, held_s, idle_s });
    }
    holders.retain(matters);
    holders.sort_by(|a, b| b.idle_s.total_cmp(&a.idle_s));
    Attribution {
        confused: confused(timeline, data, &holders),
        basis,
        rows: data.rows,
        explained: data.explained(&solution),
        ambiguous: if holders.is_empty() { ambiguous(timeline, data) } else { Vec::new() },
        holders,
    }
}

pub(super) fn matters(hold: &RouteHold) -> bool {
    hold.coefficient.value >= LEAST_RATIO
        && hold.share >= LEAST_SHARE
        && hold.held_s.is_none_or(|held| held.value >= LEAST_HELD_S)
}

fn block_rows(data: &Data) -> f64 {
    (data.rows as f64 / data.per_resample as f64).max(1.0)
}

/// Routes that go up and down with a holder, so that either may be the one that holds.
fn confused(timeline: &Timeline, data: &Data, holders: &[RouteHold]) -> Vec<(String, String)> {
    let index = |route: &str| timeline.routes.iter().position(|it| it == route);
    let mut pairs = Vec::new();
    for holder in holders {
        let Some(mine) = index(&holder.route) else { continue };
        for (other, route) in timeline.routes.iter().enumerate() {
            // A route that is too seldom in flight to hold so much cannot be meant.
            let enough = data.sums[other] * MOST_SESSIONS >= data.sums[mine] * holder.coefficient.value;
            let named = holders.iter().any(|it| it.route == *route);
            if !named && enough && data.correlation(mine, other) >= COLLINEAR {
                pairs.push((holder.route.clone(), route.clone()));
            }
        }
    }
    pairs
}

/// The routes of which one or more must hold, where none stands out: those that explain about as much as the best.
fn ambiguous(timeline: &Timeline, data: &Data) -> Vec<String> {
    let left = data.alone();
    let Some((best, _)) = left.first().copied().filter(|(best, _)| *best < 0.5 * data.squares) else {
        return Vec::new();
    };
    let near = left.iter().filter(|(residual, _)| *residual <= AS_GOOD * best);
    near.filter_map(|(_, column)| timeline.routes.get(*column).cloned()).collect()
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
