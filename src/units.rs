//! Notation of quantities.
//!
//! The smallest module: durations as people write them (`"6s"`, `"250ms"`, `"5m"`), shares between 0 and 1,
//! and counts that may not be zero. Everything a scenario file holds is parsed into one of these, so that a bad
//! value is refused where it stands in the file, with what is allowed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A span of time, written as a number and a unit: `"250ms"`, `"6s"`, `"1.5s"`, `"5m"`, `"1h"`, `"0s"`.
///
/// ```
/// use rbac_bench::units::Span;
/// let span: Span = "1.5s".parse().unwrap();
/// assert_eq!(span.duration().as_millis(), 1500);
/// assert_eq!(span.to_string(), "1.5s");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The same span as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The same span in seconds.
    #[must_use]
    pub fn secs(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// True if the span is empty, which several settings read as "off".
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid duration `{0}`: expected a number with ms, s, m or h, such as `250ms`")]
pub struct SpanError(String);

/// The longest span that is accepted: a day. Longer ones are typing errors, and would overflow timers.
const LONGEST_SECS: f64 = 86_400.0;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || SpanError(text.to_owned());
        let trimmed = text.trim();
        let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refuse)?;
        let (number, unit) = trimmed.split_at(unit_at);
        let seconds_per_unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(refuse()),
        };
        let number: f64 = number.trim().parse().ok().ok_or_else(refuse)?;
        let secs = number * seconds_per_unit;
        if !(0.0..=LONGEST_SECS).contains(&secs) {
            return Err(refuse());
        }
        // Rounded to a microsecond, so that 0.1 s is 100 ms and prints as such.
        Ok(Self(Duration::from_secs_f64((secs * 1e6).round() / 1e6)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        if self.0.is_zero() {
            f.write_str("0s")
        } else if secs < 1.0 {
            write!(f, "{}ms", self.0.as_secs_f64() * 1e3)
        } else if secs >= 120.0 && (secs / 60.0).fract() == 0.0 {
            write!(f, "{}m", secs / 60.0)
        } else {
            write!(f, "{secs}s")
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, such as \"250ms\", \"6s\" or \"5m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(SpanVisitor)
    }
}

/// A part of a whole, 0 to 1 inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Share(f64);

impl Share {
    /// The share as a number from 0 to 1, or `None` when `value` lies outside.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// The number, 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| de::Error::custom(format_args!("{value} is not a share: expected 0 to 1")))
    }
}

/// A number of things of which there must be at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Count(u32);

impl Count {
    /// The most of anything that a scenario may ask for.
    pub const MAX: u32 = 1_000_000;

    /// `value` as a count.
    ///
    /// # Panics
    /// When `value` is 0; meant for constants.
    #[must_use]
    pub const fn of(value: u32) -> Self {
        assert!(value > 0, "a count is at least 1");
        Self(value)
    }

    /// The number, at least 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as an index-sized integer.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        u32::try_from(value).ok().filter(|count| (1..=Self::MAX).contains(count)).map(Self).ok_or_else(|| {
            let expected = format!("at least 1, at most {}", Self::MAX);
            de::Error::invalid_value(de::Unexpected::Signed(value), &expected.as_str())
        })
    }
}

/// Events per second; above zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Rate(f64);

impl Rate {
    /// The highest that a scenario may ask for.
    pub const MAX: f64 = 1e6;

    /// The rate, or `None` when `value` is not above zero, or too high.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (value > 0.0 && value <= Self::MAX).then_some(Self(value))
    }

    /// The number, a second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        let expected = format!("above 0, at most {}", Self::MAX);
        let refused = || de::Error::invalid_value(de::Unexpected::Float(value), &expected.as_str());
        Self::new(value).ok_or_else(refused)
    }
}

/// In what a figure of a summary, a comparison or a gate is counted. JSON writes the symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Things: sessions, requests, replicas.
    #[serde(rename = "")]
    Count,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
    /// A part of a whole, 0–1, which people read in per cent.
    #[serde(rename = "ratio")]
    Ratio,
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "session s")]
    SessionSeconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, millis) in
            [("250ms", 250), ("6s", 6000), ("1.5s", 1500), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(text.parse::<Span>().map(|s| s.duration().as_millis()), Ok(millis), "{text}");
        }
    }

    #[test]
    fn a_span_without_unit_or_sense_is_refused_with_what_is_allowed() {
        for text in ["6", "six seconds", "", "-1s", "6 fortnights", "1e9h", "NaNs"] {
            let error = text.parse::<Span>().expect_err(text).to_string();
            assert!(error.contains("250ms"), "{text}: {error}");
        }
    }

    #[test]
    fn writing_and_reading_a_span_is_the_identity() {
        for millis in [0, 1, 100, 999, 1000, 1500, 6000, 27_000, 119_999, 120_000, 300_000] {
            let span = Span::from_millis(millis);
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    }

    #[test]
    fn a_share_lies_between_0_and_1() {
        assert!(Share::new(1.01).is_none() && Share::new(-0.01).is_none() && Share::new(f64::NAN).is_none());
        assert_eq!(Share::new(0.06).map(Share::get), Some(0.06));
    }
}
