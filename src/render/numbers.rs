//! Numbers as people read them. A figure that could not be had is a dash, never a zero.

use crate::units::Unit;

/// Placeholder of a missing figure.
const NONE: &str = "–";

/// Seconds with three significant digits or so: `0.03 s`, `1.21 s`, `24.3 s`.
pub(super) fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{} s", significant(value)))
}

/// A number of seconds without its unit, from milliseconds.
pub(super) fn seconds_of_ms(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| significant(value / 1e3))
}

/// A count, digits in groups of three.
pub(super) fn count(value: Option<u64>) -> String {
    value.map_or_else(|| NONE.to_owned(), grouped)
}

/// A number rounded to a whole one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
pub(super) fn whole(value: Option<f64>) -> String {
    count(value.map(|value| value.round() as u64))
}

/// A share 0–1 in per cent: `11.3 %`, `0.02 %`.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(
        || NONE.to_owned(),
        |value| {
            let percent = value * 100.0;
            if percent == 0.0 { "0 %".to_owned() } else { format!("{} %", significant(percent)) }
        },
    )
}

/// A figure with its unit: `31`, `24.3 s`, `135 ms`, `11.3 %`, `2 177 /s`.
pub(super) fn quantity(value: Option<f64>, unit: Unit) -> String {
    let Some(value) = value else { return NONE.to_owned() };
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    let text_seen = match unit {
        Unit::Seconds | Unit::SessionSeconds => seconds(Some(size)),
        Unit::Milliseconds if size >= 1e4 => seconds(Some(size / 1e3)),
        Unit::Milliseconds => format!("{} ms", number(size)),
        Unit::Ratio => percent(Some(size)),
        Unit::PerSecond => format!("{} /s", number(size)),
        Unit::Count => number(size),
    };
    format!("{sign}{text_seen}")
}

/// A whole number as it is, another with three significant digits or so.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 100.0 { whole(Some(value)) } else { significant(value) }
}

/// By how much `to` differs from `from`: `× 7.5`, `÷ 12`; empty where a ratio says nothing.
pub(super) fn change(from: Option<f64>, to: Option<f64>) -> String {
    let (Some(from), Some(to)) = (from, to) else { return String::new() };
    if from <= 0.0 || to <= 0.0 {
        return String::new();
    }
    let (sign, ratio) = if to >= from { ("×", to / from) } else { ("÷", from / to) };
    format!("{sign} {}", if ratio >= 10.0 { format!("{ratio:.0}") } else { format!("{ratio:.1}") })
}

fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => whole(Some(value)),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(count(Some(1_204)), "1 204");
        assert_eq!(count(Some(12_903_000)), "12 903 000");
        assert_eq!(count(Some(7)), "7");
        assert_eq!(seconds(Some(24.26)), "24.3 s");
        assert_eq!(seconds(Some(12_411.4)), "12 411 s");
        assert_eq!(percent(Some(0.1071)), "10.7 %");
        assert_eq!(percent(Some(0.0)), "0 %");
        assert_eq!(change(Some(280.0), Some(2100.0)), "× 7.5");
        assert_eq!(change(Some(433.0), Some(36.0)), "÷ 12");
    }

    #[test]
    fn a_figure_is_written_with_its_unit() {
        let cases = [
            (31.0, Unit::Count, "31"),
            (9.8009, Unit::Count, "9.80"),
            (24.26, Unit::Seconds, "24.3 s"),
            (135.551, Unit::Milliseconds, "136 ms"),
            (27_017.2, Unit::Milliseconds, "27.0 s"),
            (0.01, Unit::Ratio, "1.00 %"),
            (2177.3, Unit::PerSecond, "2 177 /s"),
            (-12.0, Unit::Count, "−12"),
        ];
        for (value, unit, text_seen) in cases {
            assert_eq!(quantity(Some(value), unit), text_seen);
        }
        assert_eq!(quantity(None, Unit::Seconds), "–");
    }

    #[test]
    fn a_missing_figure_is_a_dash_and_never_a_zero() {
        assert_eq!([count(None), seconds(None), percent(None), whole(None)], ["–"; 4]);
        assert_eq!(change(None, Some(1.0)), "");
        assert_eq!(change(Some(0.0), Some(1.0)), "");
    }
}
