//! Numbers as narrow columns need them. A figure that could not be had is a dash, never a zero.

/// Seconds in at most eight characters: `0.31 s`, `24.3 s`, `4m 03s`, `3h 20m`, `12d 4h`.
pub(super) fn age(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|it| it.is_finite()) else { return "–".to_owned() };
    let seconds = seconds.max(0.0);
    let whole = whole(seconds);
    if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else if whole < 3_600 {
        format!("{}m {:02}s", whole / 60, whole % 60)
    } else if whole < 86_400 {
        format!("{}h {:02}m", whole / 3_600, whole / 60 % 60)
    } else {
        format!("{}d {}h", (whole / 86_400).min(9_999), whole / 3_600 % 24)
    }
}

pub(super) fn count(count: Option<u32>) -> String {
    count.map_or_else(|| "–".to_owned(), |count| count.to_string())
}

/// `12:34:56`, in UTC.
pub(super) fn clock(unix_s: f64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(whole(unix_s)).unwrap_or(i64::MAX));
    time.map_or_else(|_| "–".to_owned(), |time| time.strftime("%H:%M:%S").to_string())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_age_is_short_and_says_its_units() {
        let cases = [
            (0.0, "0.00 s"),
            (0.314, "0.31 s"),
            (9.996, "10.0 s"),
            (24.26, "24.3 s"),
            (99.96, "1m 39s"),
            (243.0, "4m 03s"),
            (12_000.0, "3h 20m"),
            (1_051_200.0, "12d 4h"),
        ];
        for (seconds, text_seen) in cases {
            assert_eq!(age(Some(seconds)), text_seen);
        }
        assert_eq!((age(None).as_str(), age(Some(f64::NAN)).as_str(), count(None).as_str()), ("–", "–", "–"));
        assert_eq!(clock(1_795_000_000.0), "11:06:40");
    }

    proptest! {
        #[test]
        fn an_age_fits_its_column(seconds in any::<f64>()) {
            prop_assert!(age(Some(seconds)).chars().count() <= 9, "{}", age(Some(seconds)));
            prop_assert!(!clock(seconds).is_empty());
        }
    }
}
