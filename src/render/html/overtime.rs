//! One axis of time for everything: each metric's variants above each other, at one scale.

use maud::{Markup, html};

use super::ReportColumn;
use super::chart::{Axis, ChartLine, Panel, SMALL, Scale, WIDE, clock, figure, mark, time_row};
use super::strip;
use crate::record::timeline::Lane;
use crate::stats::reduced::{Point, Reduced};
use crate::units::Unit;

/// Rows of a table behind a chart.
const TABLE_ROWS: usize = 24;

/// Longest gap between samples of once a second before they count as missing.
const GAP_OF_SECONDS_S: f64 = 3.0;

/// Instants that can be pointed at, at most.
const INSTANTS_MAX: f64 = 600.0;

/// The shortest step between two of them.
const STEP_MIN_S: f64 = 0.1;

/// Chart of one metric.
pub(super) struct ChartMetric {
    title: &'static str,
    about: &'static str,
    unit: Unit,
    log: bool,
    limit: LimitLine,
    lines: &'static [MetricLine],
}

/// Limit of a metric.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LimitLine {
    None,
    Pools,
    /// The server connections that `PgBouncer` may open. Drawn only where there is one.
    PgBouncer,
}

impl LimitLine {
    fn of(self, column: &ReportColumn<'_>) -> Option<f64> {
        let scenario = &column.run.record.scenario;
        match self {
            Self::None => None,
            Self::Pools => scenario.pool_capacity().map(f64::from),
            Self::PgBouncer => {
                let asked = scenario.gateway().and_then(|gateway| gateway.pgbouncer.as_ref());
                asked.map(|it| f64::from(it.server_connections()))
            }
        }
    }
}

pub(super) struct MetricLine {
    /// The series' key in the data of the script.
    pub(super) key: &'static str,
    name: &'static str,
    pub(super) series: fn(&Lane) -> &Reduced,
    /// Sampled at the monitor's rate, not once a second.
    pub(super) fast: bool,
}

impl ChartMetric {
    pub(super) fn lines(&self) -> impl Iterator<Item = &'static MetricLine> + use<> {
        self.lines.iter()
    }

    /// True if some run has it: otherwise the chart is left out.
    fn is_drawn(&self, columns: &[ReportColumn<'_>]) -> bool {
        let has = |lane: &Lane| self.lines.iter().any(|line| !(line.series)(lane).is_empty());
        self.limit != LimitLine::PgBouncer || columns.iter().filter_map(|column| column.lane).any(has)
    }

    /// Name of the unit for the script.
    pub(super) fn unit_key(&self) -> &'static str {
        match self.unit {
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::PerSecond => "/s",
            _ => "",
        }
    }
}

/// All metrics, from the symptom to the users.
pub(super) const METRICS: [ChartMetric; 6] = [
    ChartMetric {
        title: "Sessions idle in transaction",
        about: "what PostgreSQL sees, beside what the pools have given out and may give out",
        unit: Unit::Count,
        log: false,
        limit: LimitLine::Pools,
        lines: &[
            MetricLine { key: "idle", name: "idle in transaction", series: |it| &it.idle_in_transaction, fast: true },
            MetricLine { key: "out", name: "out of the pools", series: |it| &it.pool_checked_out, fast: false },
        ],
    },
    ChartMetric {
        title: "Oldest transaction",
        about: "age of the oldest open transaction at each poll",
        unit: Unit::Seconds,
        log: false,
        limit: LimitLine::None,
        lines: &[MetricLine { key: "age", name: "age", series: |it| &it.oldest_transaction_s, fast: true }],
    },
    ChartMetric {
        title: "Requests a second",
        about: "finished, and failed of those, over each second",
        unit: Unit::PerSecond,
        log: false,
        limit: LimitLine::None,
        lines: &[
            MetricLine { key: "rps", name: "finished", series: |it| &it.throughput_rps, fast: false },
            MetricLine { key: "failed", name: "failed", series: |it| &it.failures_rps, fast: false },
        ],
    },
    ChartMetric {
        title: "Latency",
        about: "of the requests that finished within each second; a logarithmic scale, a gap where none finished",
        unit: Unit::Milliseconds,
        log: true,
        limit: LimitLine::None,
        lines: &[
            MetricLine { key: "p50", name: "p50", series: |it| &it.latency_p50_ms, fast: false },
            MetricLine { key: "p95", name: "p95", series: |it| &it.latency_p95_ms, fast: false },
            MetricLine { key: "p99", name: "p99", series: |it| &it.latency_p99_ms, fast: false },
        ],
    },
    ChartMetric {
        title: "Waiting for a pool",
        about: "checkouts that wait, in all pools; a gap where a replica did not answer",
        unit: Unit::Count,
        log: false,
        limit: LimitLine::None,
        lines: &[MetricLine { key: "pending", name: "waiting", series: |it| &it.pool_pending, fast: false }],
    },
    ChartMetric {
        title: "PgBouncer",
        about: "its server connections, lent and free, beside how many it may open, and its clients that wait for one",
        unit: Unit::Count,
        log: false,
        limit: LimitLine::PgBouncer,
        lines: &[
            MetricLine { key: "lent", name: "lent", series: |it| &it.pgbouncer_active, fast: false },
            MetricLine { key: "free", name: "free", series: |it| &it.pgbouncer_idle, fast: false },
            MetricLine { key: "queued", name: "waiting", series: |it| &it.pgbouncer_waiting, fast: false },
        ],
    },
];

/// All charts; nothing without samples. Small ones when there are many runs.
pub(super) fn section(columns: &[ReportColumn<'_>], small: bool) -> Markup {
    let Some(axis) = axis(columns) else { return html! {} };
    html! {
        section.overtime.small[small] id="overtime" aria-labelledby="h-overtime" {
            h2 id="h-overtime" { "Over time" }
            p {
                "One axis of time for all charts, in seconds since each variant's load began; variants above each other at the same scale. "
                "Shaded: ramp-up and what came after the load, which the figures above leave out. ○ marks the largest value."
            }
            (instant(axis, columns))
            @for metric in METRICS.iter().filter(|metric| metric.is_drawn(columns)) {
                (figure_of(metric, axis, columns, small))
            }
            (strip::figure_of(axis, columns, small))
        }
    }
}

/// From zero, or the first sample before it, to the last sample of any.
pub(super) fn axis(columns: &[ReportColumn<'_>]) -> Option<Axis> {
    let spans = || columns.iter().filter_map(|column| column.lane?.span_s);
    let to_s = spans().map(|span| span.1).reduce(f64::max)?;
    let from_s = spans().map(|span| span.0).fold(0.0, f64::min);
    Some(Axis { from_s, to_s: if to_s > from_s { to_s } else { from_s + 1.0 } })
}

/// Number of instants, and the step between them in seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most INSTANTS_MAX, and not negative")]
pub(super) fn instants(axis: Axis, columns: &[ReportColumn<'_>]) -> (usize, f64) {
    let interval = columns.iter().map(|it| it.run.record.scenario.interval().secs()).fold(f64::INFINITY, f64::min);
    let span_s = axis.to_s - axis.from_s;
    let step_s = interval.max(STEP_MIN_S).max(span_s / INSTANTS_MAX);
    if step_s.is_finite() && step_s > 0.0 { ((span_s / step_s).ceil() as usize + 1, step_s) } else { (1, 1.0) }
}

/// Values at one instant, read by pointer or keyboard. The script shows it.
fn instant(axis: Axis, columns: &[ReportColumn<'_>]) -> Markup {
    let count = instants(axis, columns).0;
    html! {
        div.instant {
            label for="instant" { "Values at" }
            input id="instant" type="range" min="0" max=(count.saturating_sub(1)) step="1" value="0";
            output id="at" for="instant" { (clock(axis.from_s, axis)) }
            span.hint { "point at a chart, or use the arrow keys" }
        }
    }
}

fn figure_of(metric: &ChartMetric, axis: Axis, columns: &[ReportColumn<'_>], small: bool) -> Markup {
    let limit = columns.iter().filter_map(|column| metric.limit.of(column)).reduce(f64::max);
    let scale = scale(metric, columns, limit);
    html! {
        figure.chart {
            figcaption { h3 { (metric.title) } p { (metric.about) } }
            div.panels {
                @for (index, column) in columns.iter().enumerate() {
                    div.panel {
                        (key(metric, index, column))
                        @match column.lane.filter(|lane| metric.lines.iter().any(|line| !(line.series)(lane).is_empty())) {
                            Some(lane) => { (panel(metric, axis, scale, column, lane, small).draw()) }
                            None => { p.nothing { "This run's samples do not have it." } }
                        }
                        @if small { (time_row(axis, SMALL)) }
                    }
                }
            }
            @if !small { (time_row(axis, WIDE)) }
            (table(metric, axis, columns))
        }
    }
}

fn scale(metric: &ChartMetric, columns: &[ReportColumn<'_>], limit: Option<f64>) -> Scale {
    let all =
        || columns.iter().filter_map(|it| it.lane).flat_map(|lane| metric.lines.iter().map(|it| (it.series)(lane)));
    let largest = all().filter_map(Reduced::max).map(|peak| peak.1).fold(0.0, f64::max);
    if metric.log {
        let smallest = all().filter_map(Reduced::min_above_zero).fold(f64::INFINITY, f64::min);
        Scale::log(if smallest.is_finite() { smallest } else { 1.0 }, largest)
    } else {
        Scale::linear(limit.map_or(largest, |limit| limit.max(largest)))
    }
}

fn panel<'a>(
    metric: &'a ChartMetric,
    axis: Axis,
    scale: Scale,
    column: &ReportColumn<'_>,
    lane: &'a Lane,
    small: bool,
) -> Panel<'a> {
    let monitor_s = column.run.record.scenario.interval().secs();
    let lines = metric.lines.iter().enumerate().map(|(stroke, line)| ChartLine {
        series: (line.series)(lane),
        stroke,
        gap_s: if line.fast { (monitor_s * 5.0).max(0.5) } else { GAP_OF_SECONDS_S },
    });
    let peaks = metric.lines.iter().map(|line| format!("{} {}", line.name, peak(metric.unit, (line.series)(lane))));
    Panel {
        axis,
        scale,
        unit: metric.unit,
        hue: column.hue,
        height_px: if small { 84 } else { 124 },
        ticks: if small { SMALL } else { WIDE },
        lines: lines.collect(),
        limit: metric.limit.of(column),
        phases: column.variant.map(|variant| variant.phases),
        label: format!("{}, {}: {}", metric.title, column.label, peaks.collect::<Vec<_>>().join(", ")),
    }
}

/// Which variant, and which line is which; the script writes the values of an instant over the peaks.
fn key(metric: &ChartMetric, index: usize, column: &ReportColumn<'_>) -> Markup {
    html! {
        p class={ "key hue" (column.hue % 6) } {
            b { (mark(column.hue)) " " (column.label) }
            @if let Some(lane) = column.lane {
                @for (stroke, line) in metric.lines.iter().enumerate() {
                    span.item {
                        svg.swatch width="26" height="8" aria-hidden="true" {
                            line class={ "line stroke" (stroke) } x1="1" x2="25" y1="4" y2="4" {}
                        }
                        " " (line.name) " "
                        output data-series={ (index) "." (line.key) } { (peak(metric.unit, (line.series)(lane))) }
                    }
                }
            }
        }
    }
}

fn peak(unit: Unit, series: &Reduced) -> String {
    match series.max() {
        Some((_, value)) => format!("peak {}", figure(unit, Some(value))),
        None => "–".to_owned(),
    }
}

/// The values behind a chart, for those who do not see it.
fn table(metric: &ChartMetric, axis: Axis, columns: &[ReportColumn<'_>]) -> Markup {
    let width_s = (axis.to_s - axis.from_s) / TABLE_ROWS as f64;
    let lines = || {
        columns
            .iter()
            .filter_map(|it| it.lane.map(|lane| (it, lane)))
            .flat_map(|it| metric.lines.iter().map(move |line| (it, line)))
    };
    let series: Vec<Vec<Point>> = lines().map(|((_, lane), line)| (line.series)(lane).points().collect()).collect();
    html! {
        details {
            summary { "The values as a table" }
            div.scroll {
                table {
                    caption { (metric.title) ": the largest value within each " (figure(Unit::Seconds, Some(width_s))) }
                    thead { tr {
                        th scope="col" { "from" }
                        @for ((column, _), line) in lines() { th scope="col" { (column.label) ", " (line.name) } }
                    } }
                    tbody { @for row in 0..TABLE_ROWS {
                        @let from_s = axis.from_s + width_s * row as f64;
                        tr {
                            th scope="row" { (clock((from_s * 10.0).round() / 10.0, axis)) }
                            @for points in &series { td { (figure(metric.unit, largest(points, from_s, from_s + width_s))) } }
                        }
                    } }
                }
            }
        }
    }
}

/// The largest value from one time on and before another, or at it; `None` without any.
pub(super) fn largest(points: &[Point], from_s: f64, to_s: f64) -> Option<f64> {
    let first = points.partition_point(|point| point.0 < from_s);
    points[first..].iter().take_while(|point| point.0 <= to_s).map(|point| point.1).max_by(f64::total_cmp)
}
