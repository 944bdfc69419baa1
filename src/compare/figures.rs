//! The figures of a summary, in its order, each with its unit, its direction of good and how noisy it is.

use super::Direction::{self, Higher, Lower, Neither};
use crate::record::Summary;
use crate::units::Unit::{self, Count, Milliseconds, PerSecond, Ratio, Seconds, SessionSeconds};

/// One figure of a [`Summary`].
#[derive(Debug)]
pub struct SummaryFigure {
    pub name: &'static str,
    /// In what it is counted.
    pub unit: Unit,
    /// Which way is good.
    pub direction: Direction,
    /// Scatter of it between two runs of the same.
    pub scatter: Scatter,
    pub value: fn(&Summary) -> Option<f64>,
}

/// Scatter of a figure between two runs of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scatter {
    /// Not at all: it is a setting.
    None,
    /// As the time series behind it scatters from window to window, when there are samples.
    Windows(FigureSeries),
    /// As a largest value or a high percentile does: much.
    Extreme,
    /// As a count of rare events does: by its square root.
    Events,
    /// As a mean over thousands of requests does, whose scatter the record does not hold.
    Mean,
}

/// A time series of which a figure is the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureSeries {
    /// Sessions idle in transaction.
    IdleInTransaction,
    /// Requests finished a second.
    Throughput,
    /// Successful requests a second.
    Goodput,
    FailureRatio,
}

macro_rules! figure {
    ($name:literal, $unit:ident, $direction:ident, $scatter:expr, $value:expr) => {
        SummaryFigure { name: $name, unit: $unit, direction: $direction, scatter: $scatter, value: $value }
    };
}

/// Every figure, in the order of the summary.
pub const FIGURES: [SummaryFigure; 26] = [
    figure!("requests", Count, Neither, Scatter::Windows(FigureSeries::Throughput), |it| Some(it.requests as f64)),
    figure!("throughput_rps", PerSecond, Higher, Scatter::Windows(FigureSeries::Throughput), |it| it.throughput_rps),
    figure!("goodput_rps", PerSecond, Higher, Scatter::Windows(FigureSeries::Goodput), |it| it.goodput_rps),
    figure!("failure_ratio", Ratio, Lower, Scatter::Windows(FigureSeries::FailureRatio), |it| it.failure_ratio),
    figure!("failure_ratio_since_start", Ratio, Lower, Scatter::Windows(FigureSeries::FailureRatio), |it| it
        .failure_ratio_since_start),
    figure!("latency_p50_ms", Milliseconds, Lower, Scatter::Mean, |it| it.latency_p50_ms),
    figure!("latency_p95_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.latency_p95_ms),
    figure!("latency_p99_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.latency_p99_ms),
    figure!("latency_max_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.latency_max_ms),
    figure!("requests_cut_off", Count, Neither, Scatter::Events, |it| Some(it.requests_cut_off as f64)),
    figure!("replicas", Count, Neither, Scatter::None, |it| it.replicas.map(f64::from)),
    figure!("replicas_healthy_min", Count, Higher, Scatter::None, |it| it.replicas_healthy_min.map(f64::from)),
    figure!("idle_in_transaction_peak", Count, Lower, Scatter::Extreme, |it| it
        .idle_in_transaction_peak
        .map(f64::from)),
    figure!("idle_in_transaction_mean", Count, Lower, Scatter::Windows(FigureSeries::IdleInTransaction), |it| it
        .idle_in_transaction_mean),
    figure!("transaction_age_max_s", Seconds, Lower, Scatter::Extreme, |it| it.transaction_age_max_s),
    figure!("pool_capacity", Count, Neither, Scatter::None, |it| it.pool_capacity.map(f64::from)),
    figure!("pool_checked_out_peak", Count, Lower, Scatter::Extreme, |it| it.pool_checked_out_peak.map(f64::from)),
    figure!("pool_timeouts", Count, Lower, Scatter::Events, |it| it.pool_timeouts.map(|count| count as f64)),
    figure!("pool_wait_p50_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.pool_wait_p50_ms),
    figure!("pool_wait_p95_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.pool_wait_p95_ms),
    figure!("pool_wait_p99_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.pool_wait_p99_ms),
    figure!("pool_wait_max_ms", Milliseconds, Lower, Scatter::Extreme, |it| it.pool_wait_max_ms),
    figure!(
        "idle_in_transaction_sampled_s",
        SessionSeconds,
        Lower,
        Scatter::Windows(FigureSeries::IdleInTransaction),
        |it| { it.idle_in_transaction_sampled_s }
    ),
    figure!(
        "idle_in_transaction_counted_s",
        SessionSeconds,
        Lower,
        Scatter::Windows(FigureSeries::IdleInTransaction),
        |it| { it.idle_in_transaction_counted_s }
    ),
    figure!("polls", Count, Neither, Scatter::Events, |it| Some(it.polls as f64)),
    figure!("polls_missed", Count, Lower, Scatter::Events, |it| Some(it.polls_missed as f64)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_summary_is_a_figure_in_its_order() {
        let summary = serde_json::to_string(&Summary::default()).unwrap();
        let place = |name: &str| summary.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {summary}"));
        let places: Vec<usize> = FIGURES.iter().map(|figure| place(figure.name)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(summary.matches(':').count(), FIGURES.len(), "{summary}");
    }
}
