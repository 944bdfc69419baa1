//! Changes from one run, or variant, to another.
//!
//! Pure: two records in, a [`Comparison`] out. Nothing is formatted here. Whether a difference means something is stated
//! by its [`Mark`]: runs that differ in more than what is compared are not comparable, and a difference that two runs
//! of one program show just as well is noise.

mod comparable;
mod figures;
mod noise;

use serde::Serialize;

use crate::record::{RunRecord, Stamped, VariantRecord};
use crate::scenario::VariantName;
use crate::units::Unit;

pub use comparable::{Difference, differences};
pub use figures::{FIGURES, SummaryFigure};
pub use noise::chance;

/// One variant of one run, with its samples where there are some.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub record: &'a RunRecord,
    pub variant: VariantName,
    pub measured: &'a VariantRecord,
    /// The samples of the run, ascending in time; those of other variants are passed over.
    pub samples: &'a [Stamped],
    /// Lines of the run's samples that could not be read, the last one aside: it may be cut off.
    pub unreadable: u64,
}

impl<'a> Side<'a> {
    /// The variant of a run; `None` when the record has it not.
    pub fn of(record: &'a RunRecord, variant: VariantName, samples: &'a [Stamped]) -> Option<Self> {
        record.variants.get(&variant).map(|measured| Self { record, variant, measured, samples, unreadable: 0 })
    }
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Lower,
    Higher,
    Neither,
}

/// Meaning of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The candidate is better.
    Better,
    /// The candidate is worse.
    Worse,
    /// As different as two runs of the same may be.
    WithinNoise,
    /// It differs, and there is no better or worse.
    Different,
    /// The runs differ in more than what is compared.
    Incomparable,
    /// One of the two figures could not be had.
    Unknown,
}

/// One figure on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FigureRow {
    /// Its name in the summary: `latency_p95_ms`.
    pub metric: &'static str,
    /// In what it is counted.
    pub unit: Unit,
    pub baseline: Option<f64>,
    pub candidate: Option<f64>,
    pub delta: Option<f64>,
    /// candidate ÷ baseline; `None` when the baseline is zero.
    pub ratio: Option<f64>,
    /// Which way is good.
    pub direction: Direction,
    /// The largest |delta| that counts as noise; `None` when a figure is missing.
    pub noise: Option<f64>,
    pub mark: Mark,
}

/// Two variants, side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The variant of the baseline.
    pub baseline: VariantName,
    /// The variant of the candidate.
    pub candidate: VariantName,
    /// Reasons why the two are not comparable; empty when they are.
    pub differences: Vec<Difference>,
    /// Every figure of the summary, in its order.
    pub rows: Vec<FigureRow>,
}

/// Compares two variants.
pub fn compare(baseline: Side<'_>, candidate: Side<'_>) -> Comparison {
    let differences = differences(baseline, candidate);
    let rows = FIGURES.iter().map(|figure| row(figure, baseline, candidate, differences.is_empty())).collect();
    Comparison { baseline: baseline.variant, candidate: candidate.variant, differences, rows }
}

fn row(figure: &SummaryFigure, baseline: Side<'_>, candidate: Side<'_>, comparable: bool) -> FigureRow {
    let (before, after) = ((figure.value)(&baseline.measured.summary), (figure.value)(&candidate.measured.summary));
    let delta = before.zip(after).map(|(before, after)| after - before);
    let ratio = before.zip(after).filter(|(before, _)| *before != 0.0).map(|(before, after)| after / before);
    let noise = before.zip(after).map(|_| noise::band(figure, baseline, candidate));
    let mark = mark(delta, noise, figure.direction, comparable);
    let SummaryFigure { name: metric, unit, direction, .. } = *figure;
    FigureRow { metric, unit, baseline: before, candidate: after, delta, ratio, direction, noise, mark }
}

fn mark(delta: Option<f64>, noise: Option<f64>, direction: Direction, comparable: bool) -> Mark {
    let Some((delta, noise)) = delta.zip(noise) else { return Mark::Unknown };
    if !comparable {
        return Mark::Incomparable;
    }
    if delta.abs() <= noise {
        return Mark::WithinNoise;
    }
    match direction {
        Direction::Neither => Mark::Different,
        Direction::Lower if delta < 0.0 => Mark::Better,
        Direction::Higher if delta > 0.0 => Mark::Better,
        Direction::Lower | Direction::Higher => Mark::Worse,
    }
}
