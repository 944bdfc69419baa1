//! The `[[gate]]` tables of a scenario: what is asked of a run. The rule is kept as it is written; the module `gate`
//! reads it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::VariantName;
use crate::units::{Count, Span};

/// One `[[gate]]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRule {
    /// `metric[.aggregate] op value [for ROUTE] [vs baseline]`, such as `idle_in_transaction.max<60`.
    pub rule: String,
    /// Effect of a broken rule.
    #[serde(default)]
    pub severity: Severity,
    /// Reason for the rule; printed when it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The variants that are held to it; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantName>,
    /// Windows of a learned limit; `None` for one value over the whole steady phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
}

/// A limit that was learned from healthy windows is judged over windows of the same length: broken when at least
/// [`Windows::NEEDED`] of `judged` exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Length of a window.
    pub length: Span,
    /// Healthy windows that the limit was learned from (n).
    pub learned: Count,
    /// Windows of a new run that are judged (m), from the start of its steady phase.
    pub judged: Count,
}

impl Windows {
    /// So many windows must exceed a learned limit.
    pub const NEEDED: u32 = 2;

    /// Share of healthy runs that break one learned rule: m(m−1) / ((n+m)(n+m−1)), whatever the distribution, as long as
    /// windows are exchangeable. The two largest of n+m windows are then equally likely to be any two of them, and the
    /// rule is broken when both are new.
    #[must_use]
    pub fn false_alarm_rate(self) -> f64 {
        let (n, m) = (f64::from(self.learned.get()), f64::from(self.judged.get()));
        m * (m - 1.0) / ((n + m) * (n + m - 1.0))
    }
}

/// Effect of a broken rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is reported, and the gate passes.
    Warn,
    /// The gate fails.
    #[default]
    Error,
}

impl Severity {
    /// `warn`, `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_false_alarm_rate_is_that_of_the_published_design() {
        let rate = |n, m| {
            Windows { length: Span::from_secs(5), learned: Count::of(n), judged: Count::of(m) }.false_alarm_rate()
        };
        assert!((rate(30, 3) - 0.005_68).abs() < 1e-4, "{}", rate(30, 3));
        assert!((rate(20, 3) - 0.011_86).abs() < 1e-4, "{}", rate(20, 3));
        assert!(rate(20, 1).abs() < 1e-12, "one window cannot exceed twice");
    }
}
