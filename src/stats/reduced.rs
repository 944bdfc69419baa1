//! A long series in little memory, without losing its peaks: what a chart is drawn from.

use std::collections::BTreeMap;

/// Intervals of time that are kept apart: about as many as a chart has pixels to draw them with.
const INTERVALS_MAX: usize = 512;

/// The first width of an interval in seconds: shorter than the time between any two samples of one kind.
const FIRST_WIDTH_S: f64 = 1.0 / 64.0;

/// A value and when it was seen, in seconds.
pub type Point = (f64, f64);

/// A series reduced as it comes: of each interval of time its first, last, smallest and largest value, with their
/// times. That is what a line chart needs to look as if every value had been drawn (M4: Jugel, Jerzak, Hackenbroich,
/// Markl, "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).
///
/// Length of the series need not be known: when the intervals become too many, each two become one.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduced {
    width_s: f64,
    intervals: BTreeMap<i64, ReducedInterval>,
}

impl Default for Reduced {
    fn default() -> Self {
        Self { width_s: FIRST_WIDTH_S, intervals: BTreeMap::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct ReducedInterval {
    first: Point,
    last: Point,
    min: Point,
    max: Point,
    sum: f64,
}

impl ReducedInterval {
    fn of(point: Point) -> Self {
        Self { first: point, last: point, min: point, max: point, sum: point.1 }
    }

    fn add(&mut self, other: &Self) {
        if other.first.0 < self.first.0 {
            self.first = other.first;
        }
        if other.last.0 >= self.last.0 {
            self.last = other.last;
        }
        if other.min.1 < self.min.1 {
            self.min = other.min;
        }
        if other.max.1 > self.max.1 {
            self.max = other.max;
        }
        self.sum += other.sum;
    }

    fn points(&self) -> Vec<Point> {
        let mut points = vec![self.first, self.min, self.max, self.last];
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup();
        points
    }
}

impl Reduced {
    /// Adds a value; values may come in any order.
    pub fn push(&mut self, at_s: f64, value: f64) {
        let interval = ReducedInterval::of((at_s, value));
        add(&mut self.intervals, index(at_s, self.width_s), &interval);
        while self.intervals.len() > INTERVALS_MAX {
            self.width_s *= 2.0;
            for (index, interval) in std::mem::take(&mut self.intervals) {
                add(&mut self.intervals, index.div_euclid(2), &interval);
            }
        }
    }

    /// True if nothing was added.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Length of an interval, in seconds.
    pub fn width_s(&self) -> f64 {
        self.width_s
    }

    /// Points to draw, in order of time.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.intervals.values().flat_map(ReducedInterval::points)
    }

    /// The largest value and when it was seen, the first of several; `None` without any.
    pub fn max(&self) -> Option<Point> {
        self.intervals.values().map(|interval| interval.max).reduce(|a, b| if b.1 > a.1 { b } else { a })
    }

    /// The smallest value above zero, for a logarithmic scale; `None` without any.
    pub fn min_above_zero(&self) -> Option<f64> {
        self.points().map(|point| point.1).filter(|value| *value > 0.0).min_by(f64::total_cmp)
    }

    /// Each interval's first time and the sum of its values, for what is counted.
    pub fn sums(&self) -> impl Iterator<Item = Point> + '_ {
        self.intervals.values().map(|interval| (interval.first.0, interval.sum))
    }
}

fn add(intervals: &mut BTreeMap<i64, ReducedInterval>, index: i64, interval: &ReducedInterval) {
    intervals.entry(index).and_modify(|known| known.add(interval)).or_insert(*interval);
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, and so all of time has an interval")]
fn index(at_s: f64, width_s: f64) -> i64 {
    (at_s / width_s).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reduced(points: &[Point]) -> Reduced {
        let mut reduced = Reduced::default();
        for (at_s, value) in points {
            reduced.push(*at_s, *value);
        }
        reduced
    }

    #[test]
    fn nothing_added_has_no_peak() {
        assert_eq!(reduced(&[]).max(), None);
        assert_eq!(reduced(&[]).min_above_zero(), None);
    }

    #[test]
    fn a_short_series_is_kept_as_it_is() {
        let points: Vec<Point> = (0..360).map(|tick| (f64::from(tick) / 10.0, f64::from(tick % 7))).collect();
        assert_eq!(reduced(&points).points().collect::<Vec<_>>(), points);
    }

    #[test]
    fn times_at_the_ends_of_what_a_number_can_say_are_kept_too() {
        let wild = [(-1e300, 1.0), (0.0, 2.0), (1e300, 3.0), (f64::MAX, 4.0)];
        let mut all = reduced(&wild);
        (0..5000).for_each(|tick| all.push(f64::from(tick) * 1e296, 0.5));
        assert_eq!(all.max(), Some((f64::MAX, 4.0)));
    }

    proptest! {
        #[test]
        fn no_peak_and_no_low_is_ever_lost(points in prop::collection::vec((-10.0..1e5f64, -1e6..1e6f64), 1..3000)) {
            let kept: Vec<Point> = reduced(&points).points().collect();
            let extremes = |of: &[Point]| {
                let values = || of.iter().map(|point| point.1);
                (values().min_by(f64::total_cmp), values().max_by(f64::total_cmp))
            };
            prop_assert_eq!(extremes(&kept), extremes(&points));
            prop_assert!(kept.iter().all(|point| points.contains(point)), "nothing is made up");
            prop_assert!(kept.len() <= 4 * INTERVALS_MAX);
            prop_assert!(kept.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order of time");
        }

        #[test]
        fn what_is_counted_stays_counted(points in prop::collection::vec((0.0..1e5f64, 0u32..100), 1..3000)) {
            let points: Vec<Point> = points.into_iter().map(|(at_s, count)| (at_s, f64::from(count))).collect();
            let counted: f64 = reduced(&points).sums().map(|point| point.1).sum();
            prop_assert!((counted - points.iter().map(|point| point.1).sum::<f64>()).abs() < 1e-6);
        }
    }
}
