//! Judgement of a scanned route against a limit: its interval decides, not its middle.

use super::Verdict;
use super::missing::Missing;
use super::quality::is_failing;
use super::rule::Rule;
use crate::compare::Side;
use crate::record::scan::{Estimate, ScanRoute, ScanVerdict};

/// The seconds that a request of the rule's route holds a session, in the concurrent phase where it does only there.
///
/// # Errors
/// [`Missing`] when no scan was made, or it cannot tell.
pub(super) fn measure(rule: &Rule, side: Side<'_>) -> Result<Estimate, Missing> {
    let route = scanned(rule, side)?;
    // Nothing of others was subtracted.
    let others_unseen =
        side.measured.scan.as_ref().is_some_and(|scan| scan.sampling.other_sessions_idle_mean.is_none());
    let doubtful = others_unseen || 2 * route.failures > route.requests || route.left_behind != Some(0);
    if route.verdict == ScanVerdict::Unknown && doubtful {
        return Err(Missing::NotTold(route.reason.clone().unwrap_or_default()));
    }
    let concurrent = route.held_concurrent_s_per_request.filter(|_| route.only_concurrent);
    let held = concurrent.or(route.held_s_per_request);
    held.ok_or_else(|| Missing::NotTold(route.reason.clone().unwrap_or_default()))
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
    let failing = scanned(rule, side).ok().filter(|it| is_failing(it.failures, it.requests));
    match (holds(held.low), holds(held.high)) {
        (true, true) => match failing {
            Some(ScanRoute { failures, requests, .. }) => {
                let reason = format!(
                    "{failures} of {requests} requests failed: a request that fails does not do the work that is measured"
                );
                (Verdict::Inconclusive, Some(reason))
            }
            None => (Verdict::Passed, None),
        },
        (false, false) => (Verdict::Failed, None),
        _ => {
            let reason = format!("the interval of the scan, {:.3} to {:.3} s, holds the limit", held.low, held.high);
            (Verdict::Inconclusive, Some(reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunRecord;
    use crate::record::scan::{ScanPlan, ScanRecord, ScanSampling};
    use crate::scan::THRESHOLDS;
    use crate::scan::report::unmeasured;
    use crate::scenario::VariantName;

    fn scanned(route: ScanRoute) -> RunRecord {
        let text = include_str!("../../fixtures/records/issue-2318.json");
        let mut record: RunRecord = serde_json::from_str(text).expect("the fixture is a record of this version");
        let plan =
            ScanPlan { users: 3, rounds: 3, requests: 60, seconds: 8.0, concurrent_s: 0.0, seed: 1, hang_up: false };
        let scan = ScanRecord {
            plan,
            thresholds: THRESHOLDS,
            sampling: ScanSampling { other_sessions_idle_mean: Some(0.0), ..ScanSampling::default() },
            traffic_rps: None,
            pool_full_at_rps: None,
            routes: vec![route],
            turns: Vec::new(),
        };
        record.variants.get_mut(&VariantName::HELD).expect("the fixture has it").scan = Some(scan);
        record
    }

    fn route(verdict: ScanVerdict, low: f64, high: f64) -> ScanRoute {
        let held = Estimate { value: f64::midpoint(low, high), low, high };
        let known = ScanRoute { requests: 60, left_behind: Some(0), ..unmeasured("GET /a", 1.0) };
        ScanRoute { verdict, held_s_per_request: Some(held), ..known }
    }

    /// The verdict on `hold.seconds < 50ms`; `None` when there is no figure.
    fn judged(route: ScanRoute) -> Option<Verdict> {
        let rule: Rule = "hold.seconds < 50ms for GET /a".parse().expect("a rule");
        let record = scanned(route);
        let side = Side::of(&record, VariantName::HELD, &[]).expect("the fixture has it");
        let held = measure(&rule, side).ok()?;
        Some(judge(&rule, side, held, 0.05).0)
    }

    #[test]
    fn a_limit_is_judged_by_the_whole_interval() {
        use ScanVerdict::{Fine, Holds, Leaks, Unknown};
        assert_eq!(judged(route(Fine, 0.0, 0.01)), Some(Verdict::Passed));
        assert_eq!(judged(route(Holds, 0.14, 0.16)), Some(Verdict::Failed));
        assert_eq!(judged(route(Holds, 0.04, 0.06)), Some(Verdict::Inconclusive));
        assert_eq!(judged(route(Leaks, 0.2, 0.2)), Some(Verdict::Failed), "what was seen is too much already");
        assert_eq!(judged(route(Leaks, 0.01, 0.01)), Some(Verdict::Inconclusive), "more was not seen");
        assert_eq!(judged(route(Unknown, 0.01, 0.03)), Some(Verdict::Passed), "unknown for another limit");
    }

    #[test]
    fn a_route_of_which_nothing_can_be_told_passes_nothing() {
        let unknown = route(ScanVerdict::Unknown, 0.0, 0.001);
        assert_eq!(judged(ScanRoute { failures: 50, ..unknown.clone() }), None);
        assert_eq!(judged(ScanRoute { left_behind: Some(1), ..unknown.clone() }), None);
        assert_eq!(judged(ScanRoute { held_s_per_request: None, ..unknown }), None);
        assert_eq!(judged(unmeasured("GET /b", 1.0)), None, "another route");
        let mut record = scanned(route(ScanVerdict::Unknown, 0.14, 0.16));
        let variant = record.variants.get_mut(&VariantName::HELD).expect("the fixture has it");
        variant.scan.as_mut().expect("it was scanned").sampling.other_sessions_idle_mean = None;
        let rule: Rule = "hold.seconds < 50ms for GET /a".parse().expect("a rule");
        let side = Side::of(&record, VariantName::HELD, &[]).expect("the fixture has it");
        assert!(measure(&rule, side).is_err(), "it may be others who hold");
        let concurrent = Estimate { value: 0.2, low: 0.1, high: 0.3 };
        let only_there = ScanRoute {
            only_concurrent: true,
            held_concurrent_s_per_request: Some(concurrent),
            ..route(ScanVerdict::Holds, 0.0, 0.001)
        };
        assert_eq!(judged(only_there), Some(Verdict::Failed));
    }
}
