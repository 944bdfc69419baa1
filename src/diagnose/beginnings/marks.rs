//! Assignment of each beginning to a source: by presence, idle time, last statement and process.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Beginning;
use super::design::{Design, Group};

/// Rounds of the assignment.
const ASSIGNED_IN: usize = 30;

/// Marks of a beginning: its statement, its class of idle time, its process.
const MARKS: usize = 3;

/// Rounds of the bootstrap.
const RESAMPLED: usize = 40;

const SEED: u64 = 2318;

/// Assignment of the beginnings to groups, and how sure it is.
pub(super) struct Assignment {
    /// By group and beginning: the probability that it is of the group.
    pub(super) parts: Vec<Vec<f64>>,
    /// By group: variance of the mean over beginnings weighed by their idle seconds, from what is not known of the sources; relative
    /// to all idle seconds.
    pub(super) variance: Vec<f64>,
}

/// Assigns the beginnings by λ and marks that are estimated from them, and again from samples of them, drawn with replacement (Efron
/// 1979): what changes in between is not known.
pub(super) fn assigned(design: &Design, beginnings: &[Beginning], groups: &[Group]) -> Assignment {
    let once = vec![1.0; beginnings.len()];
    let marks = Marks::of(beginnings);
    let lambda = design.fit(groups).lambda;
    let parts = assign(design, beginnings, &marks, groups, &lambda, &once);
    let shares_of = |parts: &[Vec<f64>]| -> Vec<f64> {
        let seconds: Vec<f64> = beginnings.iter().map(|it| it.weight * it.idle_s).collect();
        let all_s = seconds.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let of =
            |parts: &Vec<f64>| parts.iter().zip(&seconds).map(|(part, seconds)| part * seconds).sum::<f64>() / all_s;
        parts.iter().map(of).collect()
    };
    let shares = shares_of(&parts);
    let is_mixed = |share: &f64| (MIXED..=1.0 - MIXED).contains(share);
    if !shares.iter().any(is_mixed) {
        return Assignment { variance: vec![0.0; parts.len()], parts };
    }
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut variance = vec![0.0; parts.len()];
    for _ in 0..RESAMPLED {
        let mut times = vec![0.0; beginnings.len()];
        (0..beginnings.len()).for_each(|_| times[random.random_range(0..beginnings.len())] += 1.0);
        let lambda = design.lambda_of_counted(&times, groups, &lambda);
        let again = shares_of(&assign(design, beginnings, &marks, groups, &lambda, &times));
        for ((variance, again), share) in variance.iter_mut().zip(again).zip(&shares) {
            *variance += (again - share).powi(2) / RESAMPLED as f64;
        }
    }
    Assignment { parts, variance }
}

/// A source with less than this of the idle time, or all but this, is not mixed with others.
const MIXED: f64 = 0.01;

/// The probability that each beginning is of each group, the rest being nobody's. Who was there says most; how long a
/// transaction was idle, after which statement, and in which process, say more: each source has its own (a mixture whose marks are independent,
/// by expectation and maximization).
/// `times`: how often each is counted for what the sources are like.
fn assign(
    design: &Design,
    beginnings: &[Beginning],
    marks: &Marks,
    groups: &[Group],
    lambda: &[f64],
    times: &[f64],
) -> Vec<Vec<f64>> {
    let there: Vec<Vec<f64>> = (0..beginnings.len())
        .map(|case| {
            let of_groups: Vec<f64> = groups.iter().map(|group| design.share_of(case, *group, lambda)).collect();
            let nobody = (1.0 - of_groups.iter().sum::<f64>()).max(0.0);
            of_groups.into_iter().chain([nobody]).collect()
        })
        .collect();
    let weights: Vec<f64> = beginnings.iter().zip(times).map(|(it, times)| it.weight * times).collect();
    let mut parts = there.clone();
    for _ in 0..ASSIGNED_IN {
        let seen = MarkCounts::of(marks, &weights, &parts, groups.len() + 1);
        for (case, part) in parts.iter_mut().enumerate() {
            let likely = |source: usize| there[case][source] * seen.probability(source, &marks.of[case]);
            let all: f64 = (0..=groups.len()).map(likely).sum();
            part.iter_mut()
                .enumerate()
                .for_each(|(source, it)| *it = if all > 0.0 { likely(source) / all } else { 0.0 });
        }
    }
    (0..groups.len()).map(|group| parts.iter().map(|part| part[group]).collect()).collect()
}

/// Classes of idle time, a factor of two apart.
fn duration_class(idle_s: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 20")]
    let class = (idle_s.max(0.01) / 0.01).log2().clamp(0.0, 20.0) as usize;
    class
}

/// Marks of the beginnings.
struct Marks {
    /// By beginning and kind: the place of its mark among those of the kind.
    of: Vec<[usize; MARKS]>,
    /// Different marks of each kind.
    different: [usize; MARKS],
}

impl Marks {
    fn of(beginnings: &[Beginning]) -> Self {
        let mut places: [BTreeMap<usize, usize>; MARKS] = Default::default();
        let of = beginnings.iter().map(|it| {
            let marks = [it.statement, duration_class(it.idle_s), it.process.map_or(0, |place| place + 1)];
            std::array::from_fn(|kind| {
                let next = places[kind].len();
                *places[kind].entry(marks[kind]).or_insert(next)
            })
        });
        let of = of.collect();
        Self { of, different: places.map(|it| it.len()) }
    }
}

/// Counts of each source's marks.
struct MarkCounts<'a> {
    /// By kind: the different marks of the first source, then those of the next.
    counts: [Vec<f64>; MARKS],
    totals: Vec<f64>,
    different: &'a [usize; MARKS],
}

impl<'a> MarkCounts<'a> {
    fn of(marks: &'a Marks, weights: &[f64], parts: &[Vec<f64>], sources: usize) -> Self {
        let different = &marks.different;
        let mut counts = different.map(|different| vec![0.0; sources * different]);
        let mut totals = vec![0.0; sources];
        for ((weight, mark), part) in weights.iter().zip(&marks.of).zip(parts) {
            for (source, part) in part.iter().enumerate() {
                totals[source] += weight * part;
                for kind in 0..MARKS {
                    counts[kind][source * different[kind] + mark[kind]] += weight * part;
                }
            }
        }
        Self { counts, totals, different }
    }

    /// Half a count more for each mark: what a source has not shown yet is not impossible.
    fn probability(&self, source: usize, mark: &[usize; MARKS]) -> f64 {
        let of_kind = |kind: usize| {
            let different = self.different[kind];
            let count = self.counts[kind][source * different + mark[kind]];
            (count + 0.5) / (self.totals[source] + 0.5 * different as f64)
        };
        (0..MARKS).map(of_kind).product()
    }
}
