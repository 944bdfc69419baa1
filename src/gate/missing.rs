//! Reasons why a rule has no figure.

use std::fmt;

use super::rule::Metric;

/// Reasons why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The record does not hold the metric.
    NotRecorded(Metric),
    /// There are no samples of it in the window.
    NoSamples(Metric),
    /// No request finished, or none of the route.
    NoRequests(Option<String>),
    /// It is longer than every bound of its histogram.
    NoBound(Metric),
    /// It is known for the steady phase only, not for a window of it.
    NotByWindow(Metric),
    /// No scan was made.
    NotScanned,
    /// The scan cannot tell of the route, and why.
    NotTold(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRecorded(metric) => write!(f, "the record does not hold `{metric}`"),
            Self::NoSamples(metric) => write!(f, "there is no sample of `{metric}` in the steady phase"),
            Self::NoRequests(None) => f.write_str("no request finished in the steady phase"),
            Self::NoRequests(Some(route)) => write!(f, "no request of `{route}` finished in the steady phase"),
            Self::NoBound(metric) => write!(f, "`{metric}` exceeds every bound of its histogram"),
            Self::NotByWindow(metric) => write!(f, "`{metric}` is not recorded by window"),
            Self::NotScanned => f.write_str("there is no scan in the record: `rbac-bench scan` makes one"),
            Self::NotTold(reason) => write!(f, "the scan cannot tell: {reason}"),
        }
    }
}
