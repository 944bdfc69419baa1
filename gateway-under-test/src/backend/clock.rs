//! The time tools: now, and the same instant elsewhere.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

#[derive(Debug, thiserror::Error)]
pub(super) enum ClockError {
    #[error("unknown time zone `{name}`")]
    UnknownZone { name: String, source: jiff::Error },
    #[error("`{time}` is no time, expected ISO 8601 such as `2026-01-22T09:30:00`")]
    Unreadable { time: String, source: jiff::Error },
    #[error("`{time}` does not exist in the calendar of `{zone}`")]
    OutOfRange { time: String, zone: String, source: jiff::Error },
}

/// The time now in a zone of the IANA database.
pub(super) fn now(zone: &str) -> Result<String, ClockError> {
    Ok(iso_8601(&Timestamp::now().to_zoned_datetime(zone_named(zone)?)))
}

/// A time in one zone as the clocks of another show it. A time that carries its own offset needs no source.
pub(super) fn convert(time: &str, source_zone: &str, target_zone: &str) -> Result<String, ClockError> {
    let target = zone_named(target_zone)?;
    let instant = match time.parse::<Timestamp>() {
        Ok(instant) => instant.to_zoned_datetime(target),
        Err(_without_offset) => local(time, source_zone)?.with_time_zone(target),
    };
    Ok(iso_8601(&instant))
}

fn local(time: &str, zone: &str) -> Result<ZonedDateTime, ClockError> {
    let unreadable = |source| ClockError::Unreadable { time: time.into(), source };
    let out_of_range = |source| ClockError::OutOfRange { time: time.into(), zone: zone.into(), source };
    let local: DateTime = time.parse().map_err(unreadable)?;
    local.to_zoned_datetime(zone_named(zone)?).map_err(out_of_range)
}

fn zone_named(name: &str) -> Result<TimeZone, ClockError> {
    TimeZone::get(name).map_err(|source| ClockError::UnknownZone { name: name.into(), source })
}

fn iso_8601(time: &ZonedDateTime) -> String {
    time.strftime("%FT%T%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_converts_between_zones() {
        for (time, source, target, expected) in [
            ("2026-01-22T09:30:00", "UTC", "Asia/Kolkata", "2026-01-22T15:00:00+05:30"),
            ("2026-07-22T09:30:00", "Europe/Dublin", "UTC", "2026-07-22T08:30:00+00:00"),
            ("2026-01-22T09:30:00Z", "America/New_York", "UTC", "2026-01-22T09:30:00+00:00"),
        ] {
            assert_eq!(convert(time, source, target).unwrap(), expected);
        }
    }

    #[test]
    fn what_cannot_be_determined_is_stated_plainly() {
        assert_eq!(now("Atlantis").unwrap_err().to_string(), "unknown time zone `Atlantis`");
        let unreadable = convert("noon", "UTC", "UTC").unwrap_err();
        assert_eq!(unreadable.to_string(), "`noon` is no time, expected ISO 8601 such as `2026-01-22T09:30:00`");
    }

    #[test]
    fn now_is_in_utc_unless_said_otherwise() {
        assert!(now("UTC").unwrap().ends_with("+00:00"));
    }
}
