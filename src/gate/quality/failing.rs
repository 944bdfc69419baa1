//! Requests that failed: they did not do the work that is measured, so that a good figure of them means nothing.

use super::QualityIssue;
use crate::compare::Side;
use crate::gate::measure::Window;
use crate::record::{LoadSample, Sample};

/// More of the requests than this share may not fail: of all, and of a route that a rule names.
const MOST_FAILED: f64 = 0.05;

/// A route of which more than this share failed was not measured: a rule over all routes lacks it.
const MOSTLY: f64 = 0.50;

/// The longest time without a success while requests fail: this share of the steady phase, and never less than a second.
const LONGEST_WITHOUT_SUCCESS: f64 = 0.05;
const SHORTEST_WITHOUT_SUCCESS_S: f64 = 1.0;

/// Fewer failures than this are no stretch.
const FEWEST_FAILURES: u64 = 3;

/// Whether a share of failures is too large for the figures of the other requests to stand for all.
pub(in crate::gate) fn is_failing(failed: u64, finished: u64) -> bool {
    failed as f64 > MOST_FAILED * finished as f64
}

/// Whether a route failed so often that it was not measured.
pub(super) fn is_mostly_failing(failed: u64, finished: u64) -> bool {
    failed as f64 > MOSTLY * finished as f64
}

/// All that is to be said of failures.
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

/// The longest stretch of the steady phase in which requests failed and none succeeded; `None` when it is short.
fn without_success(side: Side<'_>) -> Option<QualityIssue> {
    let Window { from_s, to_s } = Window::steady(side);
    let loads = side.samples.iter().filter(|it| it.variant == side.variant).filter_map(|it| match &it.sample {
        Sample::Load(LoadSample { finished, failed, .. }) => Some((it.at_s, *finished, *failed)),
        _ => None,
    });
    let mut longest_s = 0.0_f64;
    // Since when the count of successes has not grown, and the failures by then.
    let mut since: Option<(f64, u64, u64)> = None;
    for (at_s, finished, failed) in loads.filter(|(at_s, ..)| (from_s..=to_s).contains(at_s)) {
        let succeeded = finished.saturating_sub(failed);
        match since {
            Some((since_s, successes, failures)) if successes == succeeded => {
                if failed >= failures + FEWEST_FAILURES {
                    longest_s = longest_s.max(at_s - since_s);
                }
            }
            _ => since = Some((at_s, succeeded, failed)),
        }
    }
    let allowed_s = (LONGEST_WITHOUT_SUCCESS * (to_s - from_s)).max(SHORTEST_WITHOUT_SUCCESS_S);
    (longest_s > allowed_s).then_some(QualityIssue::NoSuccess { seconds: longest_s })
}
