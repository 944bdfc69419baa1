//! Data for the script: numbers under names of ours. No text of a run is in it.

use super::ReportColumn;
use super::chart::Axis;
use super::overtime::{METRICS, axis, instants, largest};
use crate::stats::reduced::Point;

/// Time that a value which is sampled once a second stands for.
const HOLD_S: f64 = 1.5;

/// `{"from", "step", "span", "count", "series": {"0.idle": [[unit], values…]}}`, as JSON.
pub(super) fn json(columns: &[ReportColumn<'_>]) -> String {
    let Some(axis) = axis(columns) else { return "null".to_owned() };
    let (count, step_s) = instants(axis, columns);
    let mut series = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let Some(lane) = column.lane else { continue };
        for (metric, line) in METRICS.iter().flat_map(|metric| metric.lines().map(move |line| (metric, line))) {
            let points: Vec<Point> = (line.series)(lane).points().collect();
            let values = values(&points, axis, (count, step_s), if line.fast { step_s } else { HOLD_S.max(step_s) });
            series.push(format!(
                "\"{index}.{}\":{{\"unit\":\"{}\",\"values\":[{values}]}}",
                line.key,
                metric.unit_key()
            ));
        }
    }
    let (from, span) = (number(axis.from_s), number(axis.to_s - axis.from_s));
    let step = number(step_s);
    format!("{{\"from\":{from},\"span\":{span},\"step\":{step},\"count\":{count},\"series\":{{{}}}}}", series.join(","))
}

/// At each instant the largest value since the one before, or the last one that still holds.
fn values(points: &[Point], axis: Axis, (count, step_s): (usize, f64), hold_s: f64) -> String {
    let at = |instant: usize| {
        let to_s = axis.from_s + step_s * instant as f64;
        // Half a step on either side: a sample that comes a little late belongs to its own instant.
        largest(points, to_s - step_s / 2.0, to_s + step_s / 2.0).or_else(|| {
            let before = points[..points.partition_point(|point| point.0 <= to_s)].last()?;
            (to_s - before.0 <= hold_s).then_some(before.1)
        })
    };
    let texts: Vec<String> = (0..count).map(|instant| at(instant).map_or_else(|| "null".to_owned(), number)).collect();
    texts.join(",")
}

/// A number in JSON, at four digits: nobody reads more.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "null".to_owned(),
        size if size >= 1e15 => format!("{value:e}"),
        size if size >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{}", (value * 1e3).round() / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_holds_for_a_moment_and_then_is_unknown() {
        let axis = Axis { from_s: 0.0, to_s: 4.0 };
        assert_eq!(values(&[(1.0, 7.0)], axis, (9, 0.5), 1.5), "null,null,7,7,7,7,null,null,null");
    }

    #[test]
    fn between_two_instants_the_largest_is_read() {
        let axis = Axis { from_s: 0.0, to_s: 1.0 };
        assert_eq!(values(&[(0.9, 3.0), (1.0, 9.0), (1.1, 2.0)], axis, (2, 1.0), 1.0), "null,9");
    }

    proptest! {
        #[test]
        fn every_number_is_json(value in any::<f64>()) {
            let read: Result<Option<f64>, _> = serde_json::from_str(&number(value));
            prop_assert!(read.is_ok(), "{}", number(value));
        }
    }
}
