//! Requests that failed: they did not do the work that is measured, so that a good figure of them means nothing.

use super::QualityIssue;
use crate::compare::Side;
use crate::gate::time_slice::TimeSlice;
use crate::record::Sample;

/// More of the requests than this share may not fail: of all, and of a route that a rule names.
const MOST_FAILED: f64 = 0.05;

/// A route of which more than this share failed was not measured: a rule over all routes lacks it.
const MOSTLY: f64 = 0.50;

/// The longest time without a success while requests fail: this share of the steady phase, and never less than a second.
const LONGEST_WITHOUT_SUCCESS: f64 = 0.05;
const SHORTEST_WITHOUT_SUCCESS_S: f64 = 1.0;

/// No request is called hanging before it has been in flight for so long, in seconds.
const SHORTEST_STALL_S: f64 = 1.0;

/// Fewer failures than this are no stretch, and make a route no reason to doubt rules over all of them.
pub(super) const FEWEST_FAILURES: u64 = 3;

/// True if a share of failures is too large for the figures of the other requests to stand for all.
pub(in crate::gate) fn is_failing(failed: u64, finished: u64) -> bool {
    failed as f64 > MOST_FAILED * finished as f64
}

/// True if a route failed so often that it was not measured.
pub(super) fn is_mostly_failing(failed: u64, finished: u64) -> bool {
    failed as f64 > MOSTLY * finished as f64
}

/// Every quality issue that failed requests raise.
pub(super) fn issues(side: Side<'_>) -> Vec<QualityIssue> {
    let routes = &side.measured.routes;
    let finished = side.measured.summary.requests;
    let ratio = side.measured.summary.failure_ratio.unwrap_or(0.0);
    let in_all = (ratio > MOST_FAILED).then(|| QualityIssue::Failing { failed: failed_of(ratio, finished), finished });
    let by_route = routes
        .iter()
        .filter(|it| is_failing(it.failures, it.requests))
        .map(|it| QualityIssue::RouteFailing { route: it.route.clone(), failed: it.failures, finished: it.requests });
    in_all.into_iter().chain(without_success(side)).chain(by_route).collect()
}

/// The summary has the share, of whole requests.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count is a count")]
fn failed_of(ratio: f64, finished: u64) -> u64 {
    (ratio * finished as f64).round() as u64
}

/// The longest stretch of the steady phase in which requests failed, or were in flight all the time, and none succeeded;
/// `None` when it is short. Requests may be in flight for as long as those that were answered explain.
fn without_success(side: Side<'_>) -> Option<QualityIssue> {
    let TimeSlice { from_s, to_s } = TimeSlice::steady(side);
    let loads = side.samples.iter().filter(|it| it.variant == side.variant).filter_map(|it| match &it.sample {
        Sample::Load(load) => Some((it.at_s, load)),
        _ => None,
    });
    let (mut failing_s, mut hanging_s) = (0.0_f64, 0.0_f64);
    let mut since: Option<Stretch> = None;
    for (at_s, load) in loads.filter(|(at_s, _)| (from_s..=to_s).contains(at_s)) {
        let succeeded = load.finished.saturating_sub(load.failed);
        let in_flight = load.in_flight.values().any(|count| *count > 0);
        match &mut since {
            Some(stretch) if stretch.succeeded == succeeded => {
                stretch.in_flight &= in_flight;
                let lasted_s = at_s - stretch.since_s;
                if load.failed >= stretch.failed + FEWEST_FAILURES {
                    failing_s = failing_s.max(lasted_s);
                } else if stretch.in_flight {
                    hanging_s = hanging_s.max(lasted_s);
                }
            }
            _ => since = Some(Stretch { since_s: at_s, succeeded, failed: load.failed, in_flight }),
        }
    }
    let allowed_s = (LONGEST_WITHOUT_SUCCESS * (to_s - from_s)).max(SHORTEST_WITHOUT_SUCCESS_S);
    let hangs = hanging_s > allowed_s.max(explained_s(side));
    let longest_s = if hangs { hanging_s.max(failing_s) } else { failing_s };
    (longest_s > allowed_s).then_some(QualityIssue::NoSuccess { seconds: longest_s })
}

/// So long a request may have been in flight at a healthy end: twice as long as any took that was answered, but no longer
/// than that one, or a third of the steady phase.
pub(super) fn explained_s(side: Side<'_>) -> f64 {
    let longest_s = side.measured.summary.latency_max_ms.map_or(0.0, |ms| ms / 1000.0);
    let TimeSlice { from_s, to_s } = TimeSlice::steady(side);
    (2.0 * longest_s).min((to_s - from_s) / 3.0).max(longest_s).max(SHORTEST_STALL_S)
}

/// Since when the count of successes has not grown.
struct Stretch {
    since_s: f64,
    succeeded: u64,
    failed: u64,
    /// True if requests were in flight at every sample of it.
    in_flight: bool,
}
