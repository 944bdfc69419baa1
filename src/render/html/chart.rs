//! The parts of a chart: scales, ticks, lines, and the frame around them.
//!
//! Everything is placed by attributes, since the policy of the file forbids styles in elements. What stretches with
//! the width (lines) is in an inner drawing of 1000 × 100; what must not (text, marks) is placed in per cent.

use maud::{Markup, html};

use crate::record::Phases;
use crate::render::numbers;
use crate::stats::reduced::{Point, Reduced};
use crate::units::Unit;

/// Space above the largest value, so that its mark is not cut.
const HEADROOM_PX: f64 = 14.0;

/// Steps of time in a chart as wide as the page, and in a small one.
pub(super) const WIDE: f64 = 8.0;
pub(super) const SMALL: f64 = 4.0;

/// The axis of time that all charts share, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) from_s: f64,
    pub(super) to_s: f64,
}

impl Axis {
    /// 0–1; times outside are at its ends.
    fn share(self, at_s: f64) -> f64 {
        let share = (at_s - self.from_s) / (self.to_s - self.from_s);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Position as an attribute.
    pub(super) fn percent(self, at_s: f64) -> String {
        format!("{:.2}%", self.share(at_s) * 100.0)
    }

    /// Width as an attribute.
    pub(super) fn width(self, from_s: f64, to_s: f64) -> String {
        format!("{:.2}%", (self.share(to_s) - self.share(from_s)).max(0.0) * 100.0)
    }

    /// Whole steps of time, at most so many, from the first one in it.
    pub(super) fn ticks(self, most: f64) -> Vec<f64> {
        let span = self.to_s - self.from_s;
        let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];
        let step = steps.into_iter().find(|step| span / step <= most).unwrap_or_else(|| nice_step(span, most));
        multiples(step, self.from_s, self.to_s)
    }
}

/// Label of a tick: `10 s`, and `2:30` where it takes minutes.
pub(super) fn clock(at_s: f64, axis: Axis) -> String {
    let within = at_s.abs() < 1e9;
    if within && axis.to_s - axis.from_s >= 180.0 {
        let sign = if at_s < 0.0 { "−" } else { "" };
        let whole = at_s.abs().round();
        format!("{sign}{:.0}:{:02.0}", (whole / 60.0).floor(), whole % 60.0)
    } else if within && (at_s - at_s.round()).abs() < 1e-9 {
        format!("{at_s:.0} s")
    } else {
        numbers::seconds(Some(at_s))
    }
}

/// The axis of values: where a value lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From zero to the top.
    Linear { top: f64 },
    /// Powers of ten, from one to another.
    Log { low: f64, high: f64 },
}

impl Scale {
    /// From zero to a little more than the largest value.
    pub(super) fn linear(largest: f64) -> Self {
        Self::Linear { top: if largest.is_finite() && largest > 0.0 { largest } else { 1.0 } }
    }

    /// Whole decades around the values.
    pub(super) fn log(smallest: f64, largest: f64) -> Self {
        let low = smallest.max(1e-3).log10().floor();
        Self::Log { low, high: largest.max(1e-3).log10().ceil().max(low + 1.0) }
    }

    /// From 0 (top) to 100 (bottom).
    pub(super) fn y(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { top } => value / top,
            Self::Log { low, high } => (value.max(1e-300).log10() - low) / (high - low),
        };
        if share.is_finite() { 100.0 - share.clamp(0.0, 1.0) * 100.0 } else { 100.0 }
    }

    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { top } => multiples(nice_step(top, 4.0), 0.0, top),
            Self::Log { low, high } => {
                let step = ((high - low) / 4.0).ceil();
                multiples(step, low, high).into_iter().map(|exponent| 10f64.powf(exponent)).collect()
            }
        }
    }
}

/// The smallest of 1, 2, 5 × 10^k of which at most `most` fit into `span`.
fn nice_step(span: f64, most: f64) -> f64 {
    let rough = span / most;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// At most a dozen multiples of a step.
fn multiples(step: f64, from: f64, to: f64) -> Vec<f64> {
    let first = (from / step).ceil();
    let all = (0..12).map(|count| (first + f64::from(count)) * step);
    all.take_while(|value| *value <= to * (1.0 + 1e-9) && value.is_finite()).collect()
}

/// A round value at a tick.
pub(super) fn tick_name(unit: Unit, tick: f64) -> String {
    match unit {
        _ if tick == 0.0 => "0".to_owned(),
        Unit::Milliseconds if tick >= 1000.0 => tick_name(Unit::Seconds, tick / 1e3),
        Unit::Milliseconds => format!("{} ms", round(tick)),
        Unit::Seconds => format!("{} s", round(tick)),
        _ => round(tick),
    }
}

fn round(tick: f64) -> String {
    if tick.abs() >= 1.0 { numbers::whole(Some(tick)) } else { format!("{}", (tick * 1e4).round() / 1e4) }
}

/// A figure with its unit.
pub(super) fn figure(unit: Unit, value: Option<f64>) -> String {
    match (unit, value) {
        (Unit::Seconds, _) => numbers::seconds(value),
        (Unit::Milliseconds, Some(ms)) if ms < 1000.0 => format!("{} ms", significant(ms)),
        (Unit::Milliseconds, _) => numbers::seconds(value.map(|ms| ms / 1e3)),
        (Unit::PerSecond, Some(_)) => format!("{} /s", numbers::whole(value)),
        _ => numbers::whole(value),
    }
}

fn significant(value: f64) -> String {
    match value {
        small if small < 10.0 => format!("{value:.2}"),
        small if small < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A line of a panel.
pub(super) struct ChartLine<'a> {
    pub(super) series: &'a Reduced,
    /// Which of the panel's lines: solid, dashed, dotted.
    pub(super) stroke: usize,
    /// The longest time between two values that are joined.
    pub(super) gap_s: f64,
}

/// One chart of one variant.
pub(super) struct Panel<'a> {
    pub(super) axis: Axis,
    pub(super) scale: Scale,
    pub(super) unit: Unit,
    pub(super) hue: usize,
    pub(super) height_px: u32,
    /// Steps of time, at most.
    pub(super) ticks: f64,
    pub(super) lines: Vec<ChartLine<'a>>,
    pub(super) limit: Option<f64>,
    pub(super) phases: Option<Phases>,
    /// Text for screen readers.
    pub(super) label: String,
}

impl Panel<'_> {
    fn y_px(&self, value: f64) -> f64 {
        HEADROOM_PX + self.scale.y(value) / 100.0 * self.inner_px()
    }

    fn inner_px(&self) -> f64 {
        f64::from(self.height_px) - HEADROOM_PX
    }

    pub(super) fn draw(&self) -> Markup {
        let (inner_px, bottom_px) = (self.inner_px(), f64::from(self.height_px));
        html! {
            svg class={ "plot hue" (self.hue % 6) } height=(self.height_px) role="img" aria-label=(self.label) {
                (phases(self.axis, self.phases, self.height_px))
                @for tick in self.scale.ticks() {
                    @let y = format!("{:.1}", self.y_px(tick));
                    line class="grid" x1="0" x2="100%" y1=(y) y2=(y) {}
                    text class="tick value" x="-8" y=(y) dy="0.32em" { (tick_name(self.unit, tick)) }
                }
                @for tick in self.axis.ticks(self.ticks) {
                    @let x = self.axis.percent(tick);
                    line class="grid" x1=(x) x2=(x) y1=(HEADROOM_PX) y2=(bottom_px) {}
                }
                svg class="lines" y=(HEADROOM_PX) width="100%" height=(inner_px) viewBox="0 0 1000 100" preserveAspectRatio="none" {
                    @for line in self.lines.iter().rev() {
                        @let segments = self.segments(line);
                        @if line.stroke == 0 && matches!(self.scale, Scale::Linear { .. }) { path class="area" d=(area(&segments)) {} }
                        path class={ "line stroke" (line.stroke) } d=(path(&segments)) {}
                    }
                }
                @if let Some(limit) = self.limit { (self.limit_line(limit)) }
                @if let Some(peak) = self.highest() { (self.peak(peak)) }
                line class="cursor" x1="0" x2="0" y1="0" y2="100%" {}
            }
        }
    }

    /// The largest value of the line that is marked: of percentiles the last, otherwise the first.
    fn highest(&self) -> Option<Point> {
        let line = if matches!(self.scale, Scale::Log { .. }) { self.lines.last() } else { self.lines.first() };
        line?.series.max().filter(|point| point.1 > 0.0)
    }

    fn limit_line(&self, limit: f64) -> Markup {
        let y = self.y_px(limit);
        html! {
            line class="limit" x1="0" x2="100%" y1=(format!("{y:.1}")) y2=(format!("{y:.1}")) {}
            text class="limit" x="100%" y=(format!("{:.1}", y - 4.0)) { "capacity of the pools " (figure(self.unit, Some(limit))) }
        }
    }

    /// A mark at the largest value, with the value beside it.
    fn peak(&self, (at_s, value): Point) -> Markup {
        let (x, y) = (self.axis.percent(at_s), self.y_px(value));
        let (anchor, dx) = if self.axis.share(at_s) > 0.8 { ("end", "-8") } else { ("start", "8") };
        html! {
            circle class="peak" cx=(x) cy=(format!("{y:.1}")) r="3.5" {}
            text class="peak" x=(x) y=(format!("{:.1}", y.max(10.0))) dx=(dx) dy="-0.15em" text-anchor=(anchor) {
                (figure(self.unit, Some(value)))
            }
        }
    }

    /// The points of the inner drawing, parted where nothing was seen for too long.
    fn segments(&self, line: &ChartLine<'_>) -> Vec<Vec<Point>> {
        let gap_s = line.gap_s.max(line.series.width_s() * 2.0);
        let mut segments: Vec<Vec<Point>> = Vec::new();
        let mut before_s = f64::NEG_INFINITY;
        for (at_s, value) in line.series.points() {
            let point = (self.axis.share(at_s) * 1000.0, self.scale.y(value));
            match segments.last_mut() {
                Some(segment) if at_s - before_s <= gap_s => segment.push(point),
                _ => segments.push(vec![point]),
            }
            before_s = at_s;
        }
        segments
    }
}

fn path(segments: &[Vec<Point>]) -> String {
    segments.iter().map(|segment| joined(segment)).collect()
}

fn area(segments: &[Vec<Point>]) -> String {
    let closed = |segment: &Vec<Point>| {
        let (first, last) = (segment.first()?, segment.last()?);
        Some(format!("{}V100H{:.1}", joined(segment), first.0)).filter(|_| last.0 > first.0)
    };
    segments.iter().filter_map(closed).collect()
}

/// `M x y L x y …`; a point alone is drawn as a short line, so that it is seen.
fn joined(segment: &[Point]) -> String {
    let verb = |index| if index == 0 { "M" } else { "L" };
    let steps = segment.iter().enumerate().map(|(index, (x, y))| format!("{}{x:.1} {y:.1}", verb(index)));
    let alone = (segment.len() == 1).then(|| "h1".to_owned());
    steps.chain(alone).collect()
}

/// Shades everything but the steady phase.
pub(super) fn phases(axis: Axis, phases: Option<Phases>, height_px: u32) -> Markup {
    let shaded = phases.map(|it| [(axis.from_s, it.steady_from_s), (it.steady_to_s, axis.to_s)]);
    html! {
        @for (from_s, to_s) in shaded.into_iter().flatten() {
            rect class="unsteady" x=(axis.percent(from_s)) width=(axis.width(from_s, to_s)) height=(height_px) {}
        }
    }
}

/// The row of times under charts.
pub(super) fn time_row(axis: Axis, most: f64) -> Markup {
    html! {
        svg class="plot times" height="18" aria-hidden="true" {
            @for tick in axis.ticks(most) {
                @let share = axis.share(tick);
                @let anchor = if share > 0.97 { "end" } else { "middle" };
                text class="tick" x=(axis.percent(tick)) y="13" text-anchor=(anchor) { (clock(tick, axis)) }
            }
        }
    }
}

/// A mark for each hue, so that no colour is needed to tell them apart.
pub(super) fn mark(hue: usize) -> &'static str {
    ["●", "■", "▲", "◆", "✚", "✖"][hue % 6]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Axis { from_s: 0.0, to_s: 36.0 }.ticks(WIDE), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0]);
        assert_eq!(Scale::linear(1440.0).ticks(), [0.0, 500.0, 1000.0]);
        assert_eq!(Scale::log(3.0, 27_000.0).ticks(), [1.0, 100.0, 10_000.0]);
    }

    #[test]
    fn times_are_said_in_minutes_when_it_takes_minutes() {
        let (short, long) = (Axis { from_s: 0.0, to_s: 36.0 }, Axis { from_s: 0.0, to_s: 720.0 });
        assert_eq!([clock(10.0, short), clock(150.0, long), clock(0.0, long)], ["10 s", "2:30", "0:00"]);
    }

    #[test]
    fn a_gap_in_the_samples_is_a_gap_in_the_line() {
        let mut series = Reduced::default();
        for at_s in [0.0, 0.1, 0.2, 5.0, 5.1] {
            series.push(at_s, 1.0);
        }
        let line = ChartLine { series: &series, stroke: 0, gap_s: 0.5 };
        let panel = Panel {
            axis: Axis { from_s: 0.0, to_s: 10.0 },
            scale: Scale::linear(1.0),
            unit: Unit::Count,
            hue: 0,
            height_px: 100,
            ticks: WIDE,
            lines: Vec::new(),
            limit: None,
            phases: None,
            label: String::new(),
        };
        assert_eq!(panel.segments(&line).iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    }

    proptest! {
        #[test]
        fn whatever_the_values_a_chart_is_drawn_with_numbers(points in prop::collection::vec((any::<f64>(), any::<f64>()), 1..40),
                                                             log in any::<bool>()) {
            let mut series = Reduced::default();
            points.iter().filter(|it| it.0.is_finite() && it.1.is_finite()).for_each(|it| series.push(it.0, it.1));
            let largest = series.max().map_or(0.0, |point| point.1);
            let span = || points.iter().map(|it| it.0).filter(|it| it.is_finite());
            let panel = Panel {
                axis: Axis { from_s: span().fold(0.0, f64::min), to_s: span().fold(1.0, f64::max) },
                scale: if log { Scale::log(series.min_above_zero().unwrap_or(1.0), largest) } else { Scale::linear(largest) },
                unit: Unit::Milliseconds,
                hue: 0,
                height_px: 100,
            ticks: WIDE,
                lines: vec![ChartLine { series: &series, stroke: 0, gap_s: 0.5 }],
                limit: None,
                phases: None,
                label: String::new(),
            };
            let drawn = panel.draw().into_string();
            prop_assert!(!drawn.contains("NaN") && !drawn.contains("inf%") && !drawn.contains("\"inf"), "{}", drawn);
            prop_assert!(drawn.len() < 200_000);
        }
    }
}
