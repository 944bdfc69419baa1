//! Strip of events: the health of each replica, and marks.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::ReportColumn;
use super::chart::{Axis, SMALL, WIDE, clock, mark, phases, time_row};
use crate::record::timeline::{EventKind, Lane};
use crate::render::numbers::count;
use crate::stats::reduced::{Point, Reduced};

const ROW_PX: u32 = 18;

/// Marks in a row, at most: closer ones become one.
const MARKS_MAX: f64 = 100.0;

/// Rows of replicas that are drawn.
const REPLICAS_SHOWN: usize = 24;

/// Each kind of event: its row's short name, what one is, what several are, its mark.
const KINDS: [(EventKind, &str, [&str; 2], &str); 12] = [
    (EventKind::ReplicaDown, "went down", ["replica went down", "times a replica went down"], "M-5-4H5L0 5Z"),
    (EventKind::ReplicaUp, "came up", ["replica came up again", "times a replica came up again"], "M-5 4H5L0-5Z"),
    (EventKind::PoolTimeout, "pool", ["pool timeout", "pool timeouts"], "M-4-4L4 4M-4 4L4-4"),
    (EventKind::SessionTerminated, "killed", ["session terminated", "sessions terminated"], "M0-5L5 0L0 5L-5 0Z"),
    (EventKind::StatementCancelled, "cancelled", ["statement cancelled", "statements cancelled"], "M-4-4H4V4H-4Z"),
    (EventKind::PgBouncerError, "pooler", ["error of PgBouncer", "errors of PgBouncer"], "M0-5L5 5H-5Z"),
    (EventKind::PollFailed, "no poll", ["poll failed", "polls failed"], "M0-5V5M-5 0H5"),
    (
        EventKind::ConnectionLost,
        "blind",
        ["monitor's connection lost", "times the monitor's connection was lost"],
        "M-5 0H5",
    ),
    (EventKind::Reconnected, "sees", ["monitor connected again", "times the monitor connected again"], "M0-5V5"),
    (EventKind::ServerRestarted, "restart", ["server restarted", "server restarts"], "M-4-4H4V4H-4ZM-4 0H4"),
    (EventKind::ClockJumped, "clock", ["clock set", "times a clock was set"], "M-4-4H4L-4 4H4Z"),
    (EventKind::BackedOff, "rate", ["change of the monitor's rate", "changes of the monitor's rate"], "M-5-4L0 4L5-4"),
];

/// Strips and marks of all columns.
pub(super) fn figure_of(axis: Axis, columns: &[ReportColumn<'_>], small: bool) -> Markup {
    html! {
        figure.chart {
            figcaption {
                h3 { "Replicas and events" }
                p { "A thin bar: the health probe calls the replica up; a thick one: down." }
            }
            div.panels {
                @for column in columns {
                    div.panel {
                        p class={ "key hue" (column.hue % 6) } { b { (mark(column.hue)) " " (column.label) } " " (described(column.lane)) }
                        @match column.lane {
                            Some(lane) => (strip(axis, column, lane)),
                            None => { p.nothing { "This run's samples do not have it." } }
                        }
                        @if small { (time_row(axis, SMALL)) }
                    }
                }
            }
            @if !small { (time_row(axis, WIDE)) }
            (table(axis, columns))
        }
    }
}

/// Counts of events, in words.
fn described(lane: Option<&Lane>) -> String {
    let Some(lane) = lane else { return String::new() };
    let counts = KINDS.iter().filter_map(|(kind, _, words, _)| {
        let total = total(lane.events.get(kind)?);
        Some(format!("{} {}", count(Some(total)), words[usize::from(total != 1)]))
    });
    let all: Vec<String> = counts.collect();
    if all.is_empty() { "no event".to_owned() } else { all.join(" · ") }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, and a cast of a float saturates")]
fn total(events: &Reduced) -> u64 {
    events.sums().map(|event| event.1).sum::<f64>() as u64
}

fn strip(axis: Axis, column: &ReportColumn<'_>, lane: &Lane) -> Markup {
    let replicas: Vec<_> = lane.replica_up.iter().take(REPLICAS_SHOWN).collect();
    let events: Vec<_> = KINDS.iter().filter_map(|kind| Some((kind, lane.events.get(&kind.0)?))).collect();
    let rows = u32::try_from(replicas.len() + events.len()).unwrap_or(u32::MAX).max(1);
    let label = format!("{}: {}", column.label, described(Some(lane)));
    let middle = |row: usize| row as f64 * f64::from(ROW_PX) + f64::from(ROW_PX) / 2.0;
    html! {
        svg class={ "plot strip hue" (column.hue % 6) } height=(rows * ROW_PX) role="img" aria-label=(label) {
            (phases(axis, column.variant.map(|variant| variant.phases), rows * ROW_PX))
            @for (row, (replica, states)) in replicas.iter().enumerate() {
                text class="tick value" x="-8" y=(middle(row)) dy="0.32em" { "gw-" (replica) }
                @for (from_s, to_s, up) in spans(states, axis.to_s) {
                    @let (class, height) = if up { ("up", 3.0) } else { ("down", 14.0) };
                    rect class=(class) x=(axis.percent(from_s)) width=(axis.width(from_s, to_s)) y=(middle(row) - height / 2.0) height=(height) {
                        title { @if up { "up" } @else { "down" } " from " (clock(from_s, axis)) " to " (clock(to_s, axis)) }
                    }
                }
            }
            @for (row, ((_, name, words, shape), happened)) in events.iter().enumerate() {
                @let y = middle(replicas.len() + row);
                text class="tick value" x="-8" y=(y) dy="0.32em" { (name) }
                @for (at_s, total) in marks(happened, axis) {
                    svg class="event" x=(axis.percent(at_s)) y=(y) width="1" height="1" {
                        path d=(shape) { title { (total) " " (words[usize::from(total > 1.0)]) " at " (clock(at_s, axis)) } }
                    }
                }
            }
            line class="cursor" x1="0" x2="0" y1="0" y2="100%" {}
        }
    }
}

/// Times of one state: from, to, whether up. The last one lasts to the end.
fn spans(states: &Reduced, end_s: f64) -> Vec<(f64, f64, bool)> {
    let mut spans: Vec<(f64, f64, bool)> = Vec::new();
    for (at_s, up) in states.points() {
        let up = up > 0.5;
        match spans.last_mut() {
            Some(last) if last.2 == up => last.1 = at_s,
            Some(last) => {
                last.1 = at_s;
                spans.push((at_s, at_s, up));
            }
            None => spans.push((at_s, at_s, up)),
        }
    }
    if let Some(last) = spans.last_mut() {
        last.1 = end_s;
    }
    spans
}

/// Events that are too close to be distinguished become one, at the first one's time.
fn marks(happened: &Reduced, axis: Axis) -> Vec<Point> {
    let width_s = (axis.to_s - axis.from_s) / MARKS_MAX;
    let mut marks: BTreeMap<i64, Point> = BTreeMap::new();
    for (at_s, count) in happened.sums() {
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
        let cell = ((at_s - axis.from_s) / width_s).floor() as i64;
        marks.entry(cell).and_modify(|mark| mark.1 += count).or_insert((at_s, count));
    }
    marks.into_values().collect()
}

fn table(axis: Axis, columns: &[ReportColumn<'_>]) -> Markup {
    html! {
        details {
            summary { "The events as a table" }
            div.scroll {
                table {
                    caption { "Times at which a replica was down, and other events, by variant" }
                    thead { tr { th scope="col" { "variant" } th.text scope="col" { "what" } th.text scope="col" { "when" } } }
                    tbody { @for column in columns { @if let Some(lane) = column.lane {
                        @for (replica, states) in lane.replica_up.iter().take(REPLICAS_SHOWN) {
                            @for (from_s, to_s, _) in spans(states, axis.to_s).into_iter().filter(|span| !span.2).take(50) {
                                tr {
                                    th scope="row" { (column.label) }
                                    td.text { "gw-" (replica) " down" }
                                    td.text { (clock(from_s, axis)) " – " (clock(to_s, axis)) }
                                }
                            }
                        }
                        @for (kind, _, words, _) in KINDS.iter().skip(2) { @if let Some(happened) = lane.events.get(kind) {
                            @for (at_s, total) in marks(happened, axis) {
                                tr {
                                    th scope="row" { (column.label) }
                                    td.text { (total) " " (words[usize::from(total > 1.0)]) }
                                    td.text { (clock(at_s, axis)) }
                                }
                            }
                        } }
                    } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[Point]) -> Reduced {
        let mut series = Reduced::default();
        for (at_s, value) in points {
            series.push(*at_s, *value);
        }
        series
    }

    #[test]
    fn a_state_lasts_until_the_probe_that_says_otherwise() {
        let states = series(&[(0.0, 1.0), (1.0, 1.0), (2.0, 0.0), (3.0, 0.0), (4.0, 1.0)]);
        assert_eq!(spans(&states, 9.0), [(0.0, 2.0, true), (2.0, 4.0, false), (4.0, 9.0, true)]);
        assert_eq!(spans(&series(&[]), 9.0), []);
    }

    #[test]
    fn marks_that_are_too_close_become_one_and_none_is_lost() {
        let happened = series(&[(1.0, 2.0), (1.1, 3.0), (50.0, 1.0)]);
        assert_eq!(marks(&happened, Axis { from_s: 0.0, to_s: 100.0 }), [(1.0, 5.0), (50.0, 1.0)]);
    }
}
