//! Noise: differences between two runs of the same by chance, as far as one run of each can tell.
//!
//! This is no test: a test needs repeated, interleaved runs, which `gate --paired` makes. It only keeps a reader from
//! reading meaning into a difference that comes by itself.

use super::Side;
use super::figures::{FIGURES, FigureSeries, Scatter, SummaryFigure};
use crate::record::{Phases, Sample, Stamped};

/// Below this share of a figure no difference of two single runs is believed: the machine alone makes as much.
const FLOOR: f64 = 0.10;

/// High percentiles and largest values differ by so much between two runs of the same.
const EXTREME: f64 = 0.35;

/// Windows into which a steady phase is cut to see how much it scatters.
const WINDOWS: usize = 10;

/// Standard errors beyond which a difference of two means is believed.
const ERRORS: f64 = 3.0;

/// The largest |candidate − baseline| that counts as noise, of a figure of the summary.
pub(super) fn band(figure: &SummaryFigure, baseline: Side<'_>, candidate: Side<'_>) -> f64 {
    let value = |side: Side<'_>| (figure.value)(&side.measured.summary).unwrap_or(0.0);
    around(figure.scatter, baseline, candidate, [value(baseline), value(candidate)])
}

/// The largest |candidate − baseline| that counts as noise, of a figure that is, or is like, the one of the summary
/// called `key`; of an unknown one, as of a largest value.
pub fn chance(key: Option<&str>, baseline: Side<'_>, candidate: Side<'_>, figures: [f64; 2]) -> f64 {
    let known = key.and_then(|key| FIGURES.iter().find(|figure| figure.name == key));
    around(known.map_or(Scatter::Extreme, |figure| figure.scatter), baseline, candidate, figures)
}

fn around(scatter: Scatter, baseline: Side<'_>, candidate: Side<'_>, [before, after]: [f64; 2]) -> f64 {
    let larger = before.abs().max(after.abs());
    match scatter {
        Scatter::None => 0.0,
        Scatter::Extreme => EXTREME * larger,
        Scatter::Mean => 2.0 * FLOOR * larger,
        Scatter::Events => ERRORS * (before.abs() + after.abs()).sqrt(),
        Scatter::Windows(window) => {
            let errors = [(baseline, before), (candidate, after)]
                .map(|(side, value)| relative_error(window, side).map(|error| error * value));
            let [Some(one), Some(other)] = errors else { return 2.0 * FLOOR * larger };
            (FLOOR * larger).max(ERRORS * one.hypot(other))
        }
    }
}

/// Standard error of the mean of a series over the steady phase, by the method of batch means, as a share of the mean;
/// `None` without samples. Windows much longer than the series remembers are nearly independent.
fn relative_error(window: FigureSeries, side: Side<'_>) -> Option<f64> {
    let means = window_values(window, side)?;
    let count = means.len() as f64;
    let mean = means.iter().sum::<f64>() / count;
    if mean == 0.0 {
        return Some(0.0);
    }
    let variance = means.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Some((variance / count).sqrt() / mean)
}

/// The series in [`WINDOWS`] equal windows; `None` when one of them is empty.
fn window_values(window: FigureSeries, side: Side<'_>) -> Option<Vec<f64>> {
    let Phases { steady_from_s, steady_to_s, .. } = side.measured.phases;
    let width = (steady_to_s - steady_from_s) / WINDOWS as f64;
    let ours: Vec<&Stamped> = side.samples.iter().filter(|it| it.variant == side.variant).collect();
    let mut windows = Vec::with_capacity(WINDOWS);
    for index in 0..WINDOWS {
        let from = steady_from_s + width * index as f64;
        let inside: Vec<&Stamped> = ours.iter().copied().filter(|it| (from..from + width).contains(&it.at_s)).collect();
        windows.push(value(window, &inside)?);
    }
    Some(windows)
}

fn value(window: FigureSeries, samples: &[&Stamped]) -> Option<f64> {
    if window == FigureSeries::IdleInTransaction {
        let series: crate::stats::Series = samples
            .iter()
            .filter_map(|it| match &it.sample {
                Sample::Activity(activity) => Some((it.at_s, f64::from(activity.idle_in_transaction_total()))),
                _ => None,
            })
            .collect();
        return series.mean();
    }
    let load = |it: &&Stamped| match &it.sample {
        Sample::Load(load) => Some((it.at_s, load.finished as f64, load.failed as f64)),
        _ => None,
    };
    let (first, last) = (samples.iter().find_map(load)?, samples.iter().rev().find_map(load)?);
    let (seconds, finished, failed) = (last.0 - first.0, last.1 - first.1, last.2 - first.2);
    match window {
        FigureSeries::FailureRatio => (finished > 0.0).then(|| failed / finished),
        FigureSeries::Goodput => (seconds > 0.0).then(|| (finished - failed) / seconds),
        FigureSeries::Throughput | FigureSeries::IdleInTransaction => (seconds > 0.0).then(|| finished / seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ActivitySample, RunRecord};
    use crate::scenario::VariantName;

    fn record() -> RunRecord {
        serde_json::from_str(include_str!("../../fixtures/records/issue-2318.json")).unwrap()
    }

    /// A poll every 100 ms of the steady phase, 2 s to 36 s.
    fn polls(idle: impl Fn(f64) -> u32) -> Vec<Stamped> {
        let poll = |tick: u32| {
            let at_s = 2.0 + f64::from(tick) * 0.1;
            let activity = ActivitySample { idle_in_transaction: idle(at_s), ..ActivitySample::default() };
            Stamped { variant: VariantName::SCOPED, at_s, sample: Sample::Activity(activity) }
        };
        (0..340).map(poll).collect()
    }

    fn band_of(samples: &[Stamped]) -> f64 {
        let record = record();
        let side = Side::of(&record, VariantName::SCOPED, samples).unwrap();
        chance(Some("idle_in_transaction_mean"), side, side, [100.0, 100.0])
    }

    #[test]
    fn a_steady_series_has_the_floor_and_a_restless_one_more() {
        assert!((band_of(&polls(|_| 100)) - 10.0).abs() < 1e-9, "10 % of 100");
        // Windows of 3.4 s at 50 and 150 by turns: standard deviation 52.7, standard error 16.7, of a difference 23.6.
        let restless = polls(|at| if ((at - 2.0) / 3.4).floor() % 2.0 < 0.5 { 50 } else { 150 });
        let band = band_of(&restless);
        assert!((band - 3.0 * 23.57).abs() < 3.0, "{band}");
    }

    #[test]
    fn without_samples_a_mean_has_twice_the_floor() {
        assert!((band_of(&[]) - 20.0).abs() < 1e-9);
    }
}
