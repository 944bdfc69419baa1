//! Latency by percentile, to p99.99 and the longest.

use maud::{Markup, html};

use super::ReportColumn;
use super::chart::{Scale, figure, mark, tick_name};
use crate::record::LatencyPoint;
use crate::render::numbers::count;
use crate::units::Unit;

const HEIGHT_PX: f64 = 240.0;

/// Percentiles that are named.
const NAMED: [f64; 6] = [50.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// Position of the longest: beyond the last percentile.
const LONGEST: f64 = 4.35;

/// Chart and table; nothing when no record has a distribution.
pub(super) fn section(columns: &[ReportColumn<'_>]) -> Markup {
    let with: Vec<(&ReportColumn<'_>, &[LatencyPoint])> = columns
        .iter()
        .filter_map(|column| Some((column, column.variant?.latency_distribution.as_slice())))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    if with.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="h-latency" {
            h2 id="h-latency" { "Latency" }
            figure.chart {
                figcaption {
                    p {
                        "The latency that a share of the requests did not exceed, steady phase, failed requests included; from before sending to the last byte. "
                        "One HDR histogram of 3 digits. A percentile that fewer than one request would exceed is left out."
                    }
                    p.key { @for (column, _) in &with {
                        span class={ "item hue" (column.hue % 6) } {
                            svg.swatch width="26" height="8" aria-hidden="true" {
                                line class={ "line stroke" (column.hue % 3) } x1="1" x2="25" y1="4" y2="4" {}
                            }
                            " " b { (mark(column.hue)) " " (column.label) }
                        }
                    } }
                }
                (chart(&with))
                (table(&with))
            }
        }
    }
}

/// A percentile's place: the number of nines. The longest is last.
fn place(percentile: f64) -> f64 {
    if percentile >= 100.0 { LONGEST } else { -(1.0 - percentile / 100.0).max(1e-9).log10() }
}

fn percent(place: f64) -> String {
    format!("{:.2}%", (place / LONGEST).clamp(0.0, 1.0) * 100.0)
}

fn chart(with: &[(&ReportColumn<'_>, &[LatencyPoint])]) -> Markup {
    let all = || with.iter().flat_map(|(_, points)| points.iter().map(|point| point.ms));
    let scale =
        Scale::log(all().filter(|ms| *ms > 0.0).fold(f64::INFINITY, f64::min).min(1e9), all().fold(0.0, f64::max));
    let y_px = |ms: f64| format!("{:.1}", scale.y(ms) / 100.0 * HEIGHT_PX);
    html! {
        svg class="plot" height=(HEIGHT_PX) role="img" aria-label="Latency by percentile; the table below has the values" {
            @for tick in scale.ticks() {
                line class="grid" x1="0" x2="100%" y1=(y_px(tick)) y2=(y_px(tick)) {}
                text class="tick value" x="-8" y=(y_px(tick)) dy="0.32em" { (tick_name(Unit::Milliseconds, tick)) }
            }
            @for named in NAMED { line class="grid" x1=(percent(place(named))) x2=(percent(place(named))) y1="0" y2=(HEIGHT_PX) {} }
            svg class="lines" width="100%" height=(HEIGHT_PX) viewBox="0 0 1000 100" preserveAspectRatio="none" {
                @for (column, points) in with {
                    g class={ "hue" (column.hue % 6) } { path class={ "line stroke" (column.hue % 3) } d=(path(points, scale)) {} }
                }
            }
            @for (column, points) in with {
                @for point in points.iter().filter(|point| is_marked(point.percentile)) {
                    text class={ "mark hue" (column.hue % 6) } x=(percent(place(point.percentile))) y=(y_px(point.ms)) dy="0.32em" text-anchor="middle" {
                        (mark(column.hue))
                        title { (column.label) ", " (name(point.percentile)) ": " (figure(Unit::Milliseconds, Some(point.ms))) }
                    }
                }
            }
        }
        svg class="plot times" height="18" aria-hidden="true" {
            @for named in [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0] {
                text class="tick" x=(percent(place(named))) y="13" text-anchor=(if named >= 100.0 { "end" } else { "middle" }) { (name(named)) }
            }
        }
    }
}

/// Whole numbers of nines, and the longest.
fn is_marked(percentile: f64) -> bool {
    let place = place(percentile);
    percentile >= 100.0 || (place - place.round()).abs() < 1e-6
}

fn name(percentile: f64) -> String {
    if percentile >= 100.0 { "longest".to_owned() } else { format!("p{percentile}") }
}

fn path(points: &[LatencyPoint], scale: Scale) -> String {
    let step = |(index, point): (usize, &LatencyPoint)| {
        let x = (place(point.percentile) / LONGEST * 1000.0).clamp(0.0, 1000.0);
        format!("{}{x:.1} {:.1}", if index == 0 { "M" } else { "L" }, scale.y(point.ms))
    };
    points.iter().take(200).enumerate().map(step).collect()
}

fn table(with: &[(&ReportColumn<'_>, &[LatencyPoint])]) -> Markup {
    html! {
        div.scroll {
            table.figures {
                thead { tr {
                    th scope="col" { "" }
                    @for named in NAMED { th scope="col" { (name(named)) } }
                    th scope="col" { "longest" }
                    th scope="col" { "requests" }
                } }
                tbody { @for (column, points) in with { tr class={ "hue" (column.hue % 6) } {
                    th scope="row" { (mark(column.hue)) " " (column.label) }
                    @for named in NAMED { td { (figure(Unit::Milliseconds, at(points, named))) } }
                    td { (figure(Unit::Milliseconds, at(points, 100.0))) }
                    td { (count(column.variant.map(|variant| variant.summary.requests))) }
                } } }
            }
        }
    }
}

/// The latency of a percentile that the record has.
fn at(points: &[LatencyPoint], percentile: f64) -> Option<f64> {
    points.iter().find(|point| (point.percentile - percentile).abs() < 1e-6).map(|point| point.ms)
}
