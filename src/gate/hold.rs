//! What a scan says of a route, against a limit: its interval decides, not its middle.

use super::Verdict;
use super::measure::Missing;
use super::rule::Rule;
use crate::compare::Side;
use crate::record::scan::{Estimate, ScanRoute, ScanVerdict};

/// The seconds that a request of the rule's route holds a session, in company where it does only there.
///
/// # Errors
/// [`Missing`] when no scan was made, or it cannot tell.
pub(super) fn measure(rule: &Rule, side: Side<'_>) -> Result<Estimate, Missing> {
    let route = scanned(rule, side)?;
    let doubtful = 2 * route.failures > route.requests || route.left_behind != Some(0);
    if route.verdict == ScanVerdict::Unknown && doubtful {
        return Err(Missing::NotTold(route.because.clone().unwrap_or_default()));
    }
    let in_company = route.held_in_company_s_per_request.filter(|_| route.only_in_company);
    let held = in_company.or(route.held_s_per_request);
    held.ok_or_else(|| Missing::NotTold(route.because.clone().unwrap_or_default()))
}

fn scanned<'a>(rule: &Rule, side: Side<'a>) -> Result<&'a ScanRoute, Missing> {
    let scan = side.measured.scan.as_ref().ok_or(Missing::NotScanned)?;
    let named = scan.routes.iter().find(|route| rule.route.as_ref() == Some(&route.route));
    named.ok_or_else(|| Missing::NoRequests(rule.route.clone()))
}

/// The verdict on an interval, and a word on it where it needs one.
pub(super) fn judge(rule: &Rule, side: Side<'_>, held: Estimate, limit: f64) -> (Verdict, Option<String>) {
    let holds = |value: f64| rule.op.holds(value, limit);
    if scanned(rule, side).is_ok_and(|route| route.verdict == ScanVerdict::Leaks) {
        let reason = "it leaves sessions in a transaction: it holds them for longer than was seen".to_owned();
        let broken = rule.op.is_upper_bound() && !holds(held.value);
        return (if broken { Verdict::Failed } else { Verdict::Inconclusive }, Some(reason));
    }
    match (holds(held.low), holds(held.high)) {
        (true, true) => (Verdict::Passed, None),
        (false, false) => (Verdict::Failed, None),
        _ => {
            let reason = format!("the interval of the scan, {:.3} to {:.3} s, holds the limit", held.low, held.high);
            (Verdict::Inconclusive, Some(reason))
        }
    }
}
