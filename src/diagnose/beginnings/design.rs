//! Beginnings and the moments around them as columns, and the most likely λ.

use std::collections::BTreeMap;

use super::{Beginning, Moment, Role};
use crate::record::Presence;
use crate::record::presence::{CLASSES, IN_FLIGHT};

/// Moments on both sides of a beginning that it is compared with, in seconds.
const AROUND_S: f64 = 8.0;

/// Iterations of a fit, and the gain below which it has ended.
const ITERATIONS: usize = 200;
const GAIN: f64 = 1e-4;

/// The constant's λ beside the largest one.
const LEAST_CONSTANT: f64 = 1e-6;

/// A λ from which an iteration starts, beside the largest one.
const LEAST_START: f64 = 1e-3;

/// Beginnings that are no further apart are one observation.
const TOGETHER_S: f64 = 0.01;

/// Share of the beginnings that may seem to be nobody's where they are of requests: clocks are compared with an error.
const BY_ITSELF: f64 = 0.02;

/// Other times, shortly before, that a transaction is compared with as to which requests ended with it.
const OTHER_TIMES: f64 = 12.0;

/// Columns of a route: requests that ended with the transaction, then the classes of [`Presence`].
const OF_ROUTE: usize = 1 + CLASSES;

/// One class of one route, or the constant.
pub(super) type Column = usize;

/// Values that are not zero, by column.
pub(super) type Columns = Vec<(Column, f64)>;

/// Beginnings and the moments around them, as columns.
pub(super) struct Design {
    cases: Vec<Case>,
    pub(super) routes: usize,
}

/// One beginning.
struct Case {
    /// Its columns that are not zero.
    own: Columns,
    /// The same of the mean of the moments around it.
    around: Columns,
    /// Of the likelihood: what stands for many is one observation all the same.
    weight: f64,
}

impl Case {
    /// The same with these columns only, and with this weight.
    fn of(&self, used: &[bool], weight: f64) -> Self {
        let kept = |columns: &Columns| columns.iter().copied().filter(|(it, _)| used[*it]).collect();
        Self { own: kept(&self.own), around: kept(&self.around), weight }
    }
}

impl Design {
    /// To decide who begins transactions: what begins together is one observation.
    pub(super) fn new(beginnings: &[Beginning], moments: &[Moment], routes: usize) -> Self {
        Self::weighed(beginnings, &together(beginnings), moments, routes)
    }

    /// To share transactions out among those who begin them: each counts, and a request that begins four has four.
    pub(super) fn of_each(beginnings: &[Beginning], moments: &[Moment], routes: usize) -> Self {
        Self::weighed(beginnings, &vec![1.0; beginnings.len()], moments, routes)
    }

    fn weighed(beginnings: &[Beginning], together: &[f64], moments: &[Moment], routes: usize) -> Self {
        let mut sums = Window::new(moments, routes);
        // Weights that add up to as many as there are effectively (Kish 1965).
        let (all, squares) =
            beginnings.iter().fold((0.0, 0.0), |(all, squares), it| (all + it.weight, squares + it.weight * it.weight));
        let scale = if squares > 0.0 { all / squares } else { 1.0 };
        let cases = beginnings.iter().zip(together).map(|(it, together)| {
            let mut own = columns(&it.present);
            let mut around = sums.mean_around(it.at_s, &own);
            for (route, spanning) in it.spanning.iter().enumerate() {
                let Some(expected) = spanning.expected else { continue };
                let ended = f64::from(spanning.ended_with_it);
                own.extend((ended > 0.0).then_some((route * OF_ROUTE, ended)));
                // Its own is among those that it is compared with.
                let mean = (OTHER_TIMES * expected + ended) / (OTHER_TIMES + 1.0);
                around.extend((mean > 0.0).then_some((route * OF_ROUTE, mean)));
            }
            Case { own, around, weight: scale * it.weight / together }
        });
        Self { cases: cases.collect(), routes }
    }

    fn constant(&self) -> Column {
        self.routes * OF_ROUTE
    }

    /// A beginning's columns, and the mean around it.
    pub(super) fn case(&self, case: usize) -> (&Columns, &Columns) {
        (&self.cases[case].own, &self.cases[case].around)
    }

    /// The λ of the groups and the constant that make the beginnings the most likely, and the log-likelihood.
    pub(super) fn fit(&self, groups: &[Group]) -> Fit {
        let used = self.used_beside_constant(groups);
        let cases: Vec<Case> = self.cases.iter().map(|case| case.of(&used, case.weight)).collect();
        self.maximized(&cases, &used, None)
    }

    /// The same λ, with each beginning counted so many times; `near` are those with each counted once.
    pub(super) fn lambda_of_counted(&self, times: &[f64], groups: &[Group], near: &[f64]) -> Vec<f64> {
        let used = self.used_beside_constant(groups);
        let counted = self.cases.iter().zip(times).filter(|(_, times)| **times > 0.0);
        let cases: Vec<Case> = counted.map(|(case, times)| case.of(&used, case.weight * times)).collect();
        self.maximized(&cases, &used, Some(near)).lambda
    }

    /// Log-likelihood without the constant: instead, each beginning gets [`BY_ITSELF`] of the mean intensity around it.
    pub(super) fn likelihood_without_constant(&self, groups: &[Group]) -> f64 {
        let used = self.used(groups);
        let mut impossible = 0.0;
        let mut cases = Vec::new();
        for case in &self.cases {
            let around: Columns = case.around.iter().copied().filter(|(it, _)| used[*it]).collect();
            if around.is_empty() {
                impossible += case.weight;
                continue;
            }
            let mut own: BTreeMap<Column, f64> = case.own.iter().copied().filter(|(it, _)| used[*it]).collect();
            for (column, value) in &around {
                *own.entry(*column).or_default() += BY_ITSELF * value;
            }
            let around = around.into_iter().map(|(column, value)| (column, (1.0 + BY_ITSELF) * value)).collect();
            cases.push(Case { own: own.into_iter().collect(), around, weight: case.weight });
        }
        self.maximized(&cases, &used, None).likelihood + impossible * (BY_ITSELF / (1.0 + BY_ITSELF)).ln()
    }

    /// Columns of the groups.
    fn used(&self, groups: &[Group]) -> Vec<bool> {
        let mut used = vec![false; self.constant() + 1];
        for group in groups {
            used[columns_of(*group)].fill(true);
        }
        used
    }

    fn used_beside_constant(&self, groups: &[Group]) -> Vec<bool> {
        let mut used = self.used(groups);
        used[self.constant()] = true;
        used
    }

    fn maximized(&self, cases: &[Case], used: &[bool], near: Option<&[f64]>) -> Fit {
        if cases.is_empty() {
            return Fit { lambda: vec![0.0; used.len()], likelihood: 0.0 };
        }
        // What is zero would stay zero.
        let start = |column: usize| near.map_or(1.0, |near| near[column].max(LEAST_START));
        let mut lambda: Vec<f64> =
            used.iter().enumerate().map(|(column, used)| if *used { start(column) } else { 0.0 }).collect();
        let mut best = f64::NEG_INFINITY;
        let (mut up, mut down) = (vec![0.0; lambda.len()], vec![0.0; lambda.len()]);
        for _ in 0..ITERATIONS {
            up.fill(0.0);
            down.fill(0.0);
            let mut likelihood = 0.0;
            // None of them is without a column: the constant is in every one.
            for Case { own, around, weight } in cases {
                let (rate, mean) = (intensity(own, &lambda), intensity(around, &lambda));
                likelihood += weight * (rate / mean).ln();
                for (column, value) in own {
                    up[*column] += weight * value / rate;
                }
                for (column, value) in around {
                    down[*column] += weight * value / mean;
                }
            }
            let gained = likelihood - best;
            best = best.max(likelihood);
            if gained < GAIN {
                break;
            }
            for (column, value) in lambda.iter_mut().enumerate() {
                *value *= if down[column] > 0.0 { up[column] / down[column] } else { 0.0 };
            }
            // Only their ratios are known; the constant never vanishes, so that no beginning is impossible.
            let largest = lambda.iter().copied().fold(0.0, f64::max);
            for value in &mut lambda {
                *value /= largest;
            }
            if used[self.constant()] {
                lambda[self.constant()] = lambda[self.constant()].clamp(LEAST_CONSTANT, 1.0);
            }
        }
        Fit { lambda, likelihood: best }
    }

    /// The probability that a beginning is of a group.
    pub(super) fn share_of(&self, case: usize, group: Group, lambda: &[f64]) -> f64 {
        let own = &self.cases[case].own;
        let (all, range) = (intensity(own, lambda), columns_of(group));
        let mine: f64 = own.iter().filter(|(column, _)| range.contains(column)).map(|(c, v)| lambda[*c] * v).sum();
        if all > 0.0 { mine / all } else { 0.0 }
    }
}

/// Beginnings at about the time of each, itself among them. What begins together is one observation: sessions of one request, or jobs
/// that march in step. `beginnings` in any order.
fn together(beginnings: &[Beginning]) -> Vec<f64> {
    let mut times: Vec<f64> = beginnings.iter().map(|it| it.at_s).collect();
    times.sort_by(f64::total_cmp);
    let within = |at_s: f64| {
        let from = times.partition_point(|it| *it < at_s - TOGETHER_S);
        let to = times.partition_point(|it| *it <= at_s + TOGETHER_S);
        (to - from).max(1) as f64
    };
    beginnings.iter().map(|it| within(it.at_s)).collect()
}

/// A role of a route.
pub(super) type Group = (usize, Role);

/// The most likely λ.
pub(super) struct Fit {
    /// By column, relative to the largest one.
    pub(super) lambda: Vec<f64>,
    pub(super) likelihood: f64,
}

/// The columns of a route's role.
pub(super) fn columns_of((route, role): Group) -> std::ops::Range<Column> {
    let first = route * OF_ROUTE;
    match role {
        Role::During => first..first + 1 + IN_FLIGHT,
        Role::After => first + 1 + IN_FLIGHT..first + OF_ROUTE,
    }
}

/// The same without the one that depends on the transaction's end.
pub(super) fn classes_of(group: Group) -> std::ops::Range<Column> {
    let columns = columns_of(group);
    match group.1 {
        Role::During => columns.start + 1..columns.end,
        Role::After => columns,
    }
}

fn intensity(columns: &[(Column, f64)], lambda: &[f64]) -> f64 {
    columns.iter().map(|(column, value)| lambda[*column] * value).sum()
}

/// Columns that are not zero, and the constant.
fn columns(present: &[Presence]) -> Vec<(Column, f64)> {
    let of = present.iter().enumerate().flat_map(|(route, presence)| {
        presence.0.into_iter().enumerate().map(move |(class, count)| (route * OF_ROUTE + 1 + class, count))
    });
    of.filter(|(_, count)| *count > 0.0).chain([(present.len() * OF_ROUTE, 1.0)]).collect()
}

/// Running sums over moments, to have their mean around any time.
struct Window<'a> {
    moments: &'a [Moment],
    /// Of the first so many moments, each column's sum.
    sums: Vec<Vec<f64>>,
    columns: usize,
}

impl<'a> Window<'a> {
    fn new(moments: &'a [Moment], routes: usize) -> Self {
        let columns_count = routes * OF_ROUTE + 1;
        let mut sums = vec![vec![0.0; columns_count]];
        for moment in moments {
            let mut next = sums[sums.len() - 1].clone();
            for (column, value) in columns(&moment.present) {
                next[column] += value;
            }
            sums.push(next);
        }
        Self { moments, sums, columns: columns_count }
    }

    /// The mean of the moments around a time, its own among them.
    fn mean_around(&mut self, at_s: f64, own: &[(Column, f64)]) -> Vec<(Column, f64)> {
        let from = self.moments.partition_point(|it| it.at_s < at_s - AROUND_S);
        let to = self.moments.partition_point(|it| it.at_s <= at_s + AROUND_S);
        let mut mean: Vec<f64> =
            (0..self.columns).map(|column| self.sums[to][column] - self.sums[from][column]).collect();
        for (column, value) in own {
            mean[*column] += value;
        }
        let count = (to - from + 1) as f64;
        mean.into_iter().enumerate().map(|(column, sum)| (column, sum / count)).filter(|(_, it)| *it > 0.0).collect()
    }
}
