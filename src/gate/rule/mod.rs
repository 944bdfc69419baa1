//! A rule: `metric[.aggregate] op value [for ROUTE] [vs baseline]`; `for ROUTE` may also stand before the operator.
//!
//! ```
//! use rbac_bench::gate::Rule;
//! let rule: Rule = "latency.p95 < 800ms for tools/call".parse().unwrap();
//! assert_eq!(rule.route.as_deref(), Some("tools/call"));
//! assert!("latency.p95<800".parse::<Rule>().is_err(), "a duration without unit");
//! ```

mod error;
mod metric;
mod parse;

use std::fmt;

use crate::units::Unit;

pub use error::{RuleError, RuleFault};
pub use metric::{Aggregate, Metric, MetricKind};

/// One rule, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// As it was written, blanks at both ends left out.
    pub text: String,
    pub metric: Metric,
    /// Which figure of it; `None` for a metric that is one figure.
    pub aggregate: Option<Aggregate>,
    pub op: Op,
    pub limit: Limit,
    /// Of which route alone: as it was written until [`Rule::with_routes`] puts its full name; `None` for all.
    pub route: Option<String>,
}

/// Comparison of a figure with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Op {
    /// True if `measured op limit` holds.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "a count that is a whole number is compared with a whole number")]
    pub fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Less => measured < limit,
            Self::AtMost => measured <= limit,
            Self::More => measured > limit,
            Self::AtLeast => measured >= limit,
            Self::Equal => measured == limit,
            Self::Unequal => measured != limit,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }

    /// True if it keeps a figure from growing.
    #[must_use]
    pub const fn is_upper_bound(self) -> bool {
        matches!(self, Self::Less | Self::AtMost)
    }
}

/// Limit of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A value, in the metric's unit.
    Absolute(f64),
    /// `+10% vs baseline`: the baseline's figure, times 1 + `change`.
    Relative {
        /// 0.10 for `+10%`.
        change: f64,
    },
}

impl Rule {
    /// True if a scan measures it, and no load.
    #[must_use]
    pub const fn needs_scan(&self) -> bool {
        matches!(self.metric, Metric::Hold)
    }

    /// True if it needs a baseline.
    #[must_use]
    pub const fn is_relative(&self) -> bool {
        matches!(self.limit, Limit::Relative { .. })
    }

    /// Name of the figure: `latency.p95 for POST /rpc tools/call`.
    #[must_use]
    pub fn name(&self) -> String {
        let aggregate = self.aggregate.map(|it| format!(".{it}")).unwrap_or_default();
        let route = self.route.as_ref().map(|route| format!(" for {route}")).unwrap_or_default();
        format!("{}{aggregate}{route}", self.metric)
    }

    /// The rule as a text, with another absolute limit: in the metric's unit, written so that it reads back as a value not
    /// below `limit`.
    #[must_use]
    pub fn text_with_limit(&self, limit: f64) -> String {
        let aggregate = self.aggregate.map(|it| format!(".{it}")).unwrap_or_default();
        let value = match self.metric.unit() {
            Unit::Seconds => format!("{}ms", (limit * 1e3).ceil()),
            Unit::Milliseconds => format!("{}ms", limit.ceil()),
            Unit::Ratio => format!("{}%", (limit * 1e4).ceil() / 1e2),
            Unit::Count | Unit::PerSecond | Unit::SessionSeconds => format!("{}", (limit * 1e2).ceil() / 1e2),
        };
        let route = self.route.as_ref().map(|route| format!(" for {route}")).unwrap_or_default();
        format!("{}{aggregate}{}{value}{route}", self.metric, self.op.symbol())
    }

    /// The rule with its route's full name, as the record spells it. A route may be written short, by the end of its
    /// name: `tools/call` for `POST /rpc tools/call`.
    ///
    /// # Errors
    /// When no route, or more than one, has that name.
    pub fn with_routes(mut self, routes: &[String]) -> Result<Self, RuleError> {
        if let Some(written) = self.route.take() {
            self.route = Some(parse::route(&self.text, &written, routes)?);
        }
        Ok(self)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
