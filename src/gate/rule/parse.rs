//! Reading a rule, left to right.

use std::str::FromStr;

use super::{Aggregate, Limit, Metric, Op, Rule, RuleError, RuleFault};
use crate::scenario::key::nearest;
use crate::units::{Span, Unit};

/// Longer ones first: `<=` begins as `<` does.
const OPERATORS: [Op; 6] = [Op::AtMost, Op::AtLeast, Op::Equal, Op::Unequal, Op::Less, Op::More];

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut cursor = RuleCursor { text: text.trim(), at: 0 };
        let (metric, aggregate) = metric_and_aggregate(&mut cursor)?;
        let before = route_before(&mut cursor);
        let op = operator(&mut cursor)?;
        cursor.skip_blanks();
        let value_at = cursor.at;
        let value = cursor.take_while(|c| !c.is_whitespace());
        let tail = tail(&mut cursor, metric, before)?;
        let limit = if tail.vs_baseline {
            relative(&cursor, value_at, value)?
        } else {
            absolute(&cursor, value_at, value, metric.unit())?
        };
        Ok(Self { text: cursor.text.to_owned(), metric, aggregate, op, limit, route: tail.route })
    }
}

/// A place in the rule.
struct RuleCursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> RuleCursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_blanks(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn error(&self, at: usize, fault: RuleFault, meant: Option<String>) -> RuleError {
        error(self.text, at, fault, meant)
    }
}

fn error(text: &str, at: usize, fault: RuleFault, meant: Option<String>) -> RuleError {
    RuleError { text: text.to_owned(), column: text[..at].chars().count() + 1, fault, meant }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

fn metric_and_aggregate(cursor: &mut RuleCursor<'_>) -> Result<(Metric, Option<Aggregate>), RuleError> {
    let seen = cursor.take_while(is_name);
    let Some(metric) = Metric::ALL.into_iter().find(|metric| metric.name() == seen) else {
        let allowed = Metric::ALL.map(Metric::name).to_vec();
        let meant = nearest(seen, allowed.iter().copied()).map(str::to_owned);
        return Err(cursor.error(0, RuleFault::UnknownMetric { seen: seen.to_owned(), allowed }, meant));
    };
    let dot_at = cursor.at;
    let allowed: Vec<&'static str> = metric.aggregates().iter().map(|it| it.name()).collect();
    let refuse = |seen: Option<&str>| {
        let meant = seen.and_then(|seen| nearest(seen, allowed.iter().copied())).map(str::to_owned);
        let fault =
            RuleFault::Aggregate { metric: metric.name(), seen: seen.map(str::to_owned), allowed: allowed.clone() };
        error(cursor.text, dot_at, fault, meant)
    };
    if !cursor.rest().starts_with('.') {
        let default = metric.default_aggregate();
        return if default.is_none() && !allowed.is_empty() { Err(refuse(None)) } else { Ok((metric, default)) };
    }
    let seen = cursor.rest()[1..].split(|c| !is_name(c)).next().unwrap_or_default();
    let aggregate =
        metric.aggregates().iter().copied().find(|it| it.name() == seen).ok_or_else(|| refuse(Some(seen)))?;
    cursor.at += 1 + seen.len();
    Ok((metric, Some(aggregate)))
}

/// `for ROUTE` may stand before the operator too: `hold.seconds for GET /reports/{id} < 50ms`.
fn route_before(cursor: &mut RuleCursor<'_>) -> Option<(usize, String)> {
    let at = cursor.at + cursor.rest().len() - cursor.rest().trim_start().len();
    let route = cursor.text[at..].strip_prefix("for ")?;
    let from = cursor.text.len() - route.len();
    // A path may have a `=` in it: the operator is the one behind a blank, else the last one that a number follows.
    let is_number = |rest: &str| rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let behind_blank = OPERATORS.iter().filter_map(|op| route.find(&format!(" {}", op.symbol()))).min();
    let before_number = || {
        let last = |op: &Op| route.rfind(op.symbol()).filter(|at| is_number(&route[at + op.symbol().len()..]));
        OPERATORS.iter().filter_map(last).max()
    };
    let end = behind_blank.or_else(before_number)?;
    cursor.at = from + end;
    Some((at, route[..end].trim().to_owned()))
}

fn operator(cursor: &mut RuleCursor<'_>) -> Result<Op, RuleError> {
    cursor.skip_blanks();
    let at = cursor.at;
    let found = OPERATORS.into_iter().find(|op| cursor.take(op.symbol()));
    found.ok_or_else(|| {
        let seen = cursor.take_while(|c| !c.is_whitespace() && !c.is_ascii_digit()).to_owned();
        let meant = (seen == "=").then(|| "==".to_owned());
        cursor.error(at, RuleFault::Operator { seen }, meant)
    })
}

/// Rest of a rule after the value.
struct RuleTail {
    route: Option<String>,
    vs_baseline: bool,
}

const VS_BASELINE: &str = "vs baseline";

fn tail(cursor: &mut RuleCursor<'_>, metric: Metric, before: Option<(usize, String)>) -> Result<RuleTail, RuleError> {
    cursor.skip_blanks();
    let from = cursor.at;
    let whole = cursor.rest();
    let (rest, vs_baseline) = match whole.strip_suffix(VS_BASELINE) {
        Some(before) if before.is_empty() || before.ends_with(char::is_whitespace) => (before.trim_end(), true),
        _ => (whole, false),
    };
    cursor.at = cursor.text.len();
    if let Some((at, route)) = before.filter(|_| rest.is_empty()) {
        return if metric.is_by_route() {
            Ok(RuleTail { route: Some(route), vs_baseline })
        } else {
            Err(cursor.error(at, RuleFault::NotByRoute { metric: metric.name() }, None))
        };
    }
    if rest.is_empty() && metric.needs_route() {
        return Err(cursor.error(from, RuleFault::NoRoute { metric: metric.name() }, None));
    }
    if rest.is_empty() {
        return Ok(RuleTail { route: None, vs_baseline });
    }
    let Some(route) = rest.strip_prefix("for").filter(|route| route.starts_with(char::is_whitespace)) else {
        let meant = nearest(rest, [VS_BASELINE]).map(str::to_owned);
        return Err(cursor.error(from, RuleFault::Rest { seen: rest.to_owned() }, meant));
    };
    if !metric.is_by_route() {
        return Err(cursor.error(from, RuleFault::NotByRoute { metric: metric.name() }, None));
    }
    Ok(RuleTail { route: Some(route.trim().to_owned()), vs_baseline })
}

const RELATIVE_FORM: &str = "a value against the baseline is a change in per cent, such as `+10%` or `-5%`";

fn relative(cursor: &RuleCursor<'_>, at: usize, value: &str) -> Result<Limit, RuleError> {
    let number = value.strip_suffix('%').filter(|_| value.starts_with(['+', '-']));
    let percent = number.and_then(|number| number.parse::<f64>().ok()).filter(|it| it.is_finite() && *it >= -100.0);
    let fault = RuleFault::Baseline { allowed: RELATIVE_FORM };
    percent.map(|percent| Limit::Relative { change: percent / 100.0 }).ok_or_else(|| cursor.error(at, fault, None))
}

fn absolute(cursor: &RuleCursor<'_>, at: usize, value: &str, unit: Unit) -> Result<Limit, RuleError> {
    if value.starts_with('+') {
        let allowed = "a change needs a baseline: write `vs baseline` after it";
        return Err(cursor.error(at, RuleFault::Baseline { allowed }, None));
    }
    let fault = || RuleFault::Value { seen: value.to_owned(), allowed: value_form(unit) };
    value_in(value, unit).map(Limit::Absolute).ok_or_else(|| cursor.error(at, fault(), None))
}

const fn value_form(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "a number, such as `60`,",
        Unit::Seconds | Unit::Milliseconds => "a duration with its unit, such as `800ms` or `5s`,",
        Unit::Ratio => "a share in per cent, such as `1%`, or below 1, such as `0.01`,",
        Unit::PerSecond => "a number of requests a second, such as `500` or `500rps`,",
        Unit::SessionSeconds => "a number of seconds",
    }
}

/// The value in `unit`; `None` when it is none.
fn value_in(value: &str, unit: Unit) -> Option<f64> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|it| it.is_finite() && *it >= 0.0);
    match unit {
        Unit::Count | Unit::SessionSeconds => number(value),
        Unit::PerSecond => number(value.strip_suffix("rps").or_else(|| value.strip_suffix("/s")).unwrap_or(value)),
        Unit::Seconds => value.parse::<Span>().ok().map(Span::secs),
        Unit::Milliseconds => value.parse::<Span>().ok().map(|span| span.secs() * 1e3),
        Unit::Ratio => match value.strip_suffix('%') {
            Some(percent) => number(percent).filter(|it| *it <= 100.0).map(|it| it / 100.0),
            // `1` may be meant as one per cent or as all: it has to be stated.
            None => number(value).filter(|it| *it < 1.0),
        },
    }
}

/// The full name of the route that is `written` in a rule, whole or by its end.
pub(super) fn route(text: &str, written: &str, routes: &[String]) -> Result<String, RuleError> {
    let at = text.rfind(written).unwrap_or(0);
    if let Some(whole) = routes.iter().find(|route| *route == written) {
        return Ok(whole.clone());
    }
    let ending: Vec<&String> =
        routes.iter().filter(|route| route.strip_suffix(written).is_some_and(|it| it.ends_with(' '))).collect();
    let refuse = |allowed: Vec<String>, ambiguous| {
        let meant = nearest_route(written, routes);
        error(text, at, RuleFault::Route { seen: written.to_owned(), allowed, ambiguous }, meant)
    };
    match ending.as_slice() {
        [one] if !written.is_empty() => Ok((*one).clone()),
        [] | [_] => Err(refuse(routes.to_vec(), false)),
        several => Err(refuse(several.iter().map(|route| (*route).clone()).collect(), true)),
    }
}

/// A route is close by its whole name or by the end of it.
fn nearest_route(written: &str, routes: &[String]) -> Option<String> {
    let ends: Vec<&str> =
        routes.iter().flat_map(|route| [route.as_str(), route.rsplit(' ').next().unwrap_or_default()]).collect();
    nearest(written, ends).map(str::to_owned)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
