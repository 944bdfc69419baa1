//! Errors of a rule's text, with their place in it.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule `{text}`, character {column}: {fault}")]
pub struct RuleError {
    /// The rule as it was written.
    pub text: String,
    /// The character at fault, from 1; one past the end where something is missing.
    pub column: usize,
    pub fault: RuleFault,
    pub meant: Option<String>,
}

impl RuleError {
    /// One line that helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.meant.as_ref().map(|meant| format!("did you mean `{meant}`?"))
    }
}

/// Faults of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFault {
    /// There is no such metric.
    UnknownMetric { seen: String, allowed: Vec<&'static str> },
    /// The metric has no such aggregate, or needs one.
    Aggregate {
        metric: &'static str,
        /// The written text; `None` for nothing.
        seen: Option<String>,
        /// Allowed aggregates; empty when the metric is one figure.
        allowed: Vec<&'static str>,
    },
    /// No comparison where one belongs.
    Operator { seen: String },
    /// No value of the metric's unit where one belongs.
    Value { seen: String, allowed: &'static str },
    /// The value is relative and the rule names no baseline, or the other way round.
    Baseline {
        /// Advice.
        allowed: &'static str,
    },
    /// The metric is not measured by route.
    NotByRoute { metric: &'static str },
    /// The metric is measured of one route at a time.
    NoRoute { metric: &'static str },
    /// No route, or more than one, has that name.
    Route {
        seen: String,
        allowed: Vec<String>,
        /// True if more than one of them is meant.
        ambiguous: bool,
    },
    /// The windows beside the rule cannot judge it.
    Windows {
        /// Advice.
        allowed: &'static str,
    },
    /// Something follows that belongs to no rule.
    Rest { seen: String },
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMetric { seen, allowed } if seen.is_empty() => {
                write!(f, "missing metric: expected one of {}", quoted(allowed))
            }
            Self::UnknownMetric { seen, allowed } => {
                write!(f, "unknown metric `{seen}`: expected one of {}", quoted(allowed))
            }
            Self::Aggregate { metric, seen: Some(seen), allowed } if allowed.is_empty() => {
                write!(f, "`{metric}` is one figure and has no `.{seen}`")
            }
            Self::Aggregate { metric, seen: Some(seen), allowed } => {
                write!(f, "`{metric}` has no `.{seen}`: expected one of {}", quoted(allowed))
            }
            Self::Aggregate { metric, seen: None, allowed } => {
                write!(f, "`{metric}` needs one of {} after a dot", quoted(allowed))
            }
            Self::Operator { seen } => {
                write!(f, "{}: expected <, <=, >, >=, == or !=", missing_or_invalid("comparison", seen))
            }
            Self::Value { seen, allowed } => write!(f, "{}: expected {allowed}", missing_or_invalid("value", seen)),
            Self::Baseline { allowed } | Self::Windows { allowed } => f.write_str(allowed),
            Self::NotByRoute { metric } => write!(f, "`{metric}` is not measured by route"),
            Self::NoRoute { metric } => {
                write!(f, "`{metric}` is measured of one route: write `for ROUTE` after the value")
            }
            Self::Route { seen, allowed, ambiguous: false } => {
                write!(f, "unknown route `{seen}`: expected one of {}", quoted(allowed))
            }
            Self::Route { seen, allowed, ambiguous: true } => {
                write!(f, "`{seen}` may be any of {}", quoted(allowed))
            }
            Self::Rest { seen } => {
                write!(f, "`{seen}` after the value: expected one of `for ROUTE` and `vs baseline`")
            }
        }
    }
}

fn missing_or_invalid(what: &str, seen: &str) -> String {
    if seen.is_empty() { format!("missing {what}") } else { format!("invalid {what} `{seen}`") }
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}
