//! Findings of a scan: its own verdicts and figures, in the form of all others.

use super::advice;
use super::observations::Observations;
use super::pattern::{Fingerprint, HoldPattern, Match, of_holder};
use super::titles::{listed, seconds};
use super::{Finding, FindingKind, HoldInterval};
use crate::record::scan::{Estimate, ScanRecord, ScanRoute, ScanVerdict};

/// Its verdicts are by 95 % intervals.
const SURE: f64 = 0.95;

/// A route that may as well be another one.
const SURE_AMONG_OTHERS: f64 = 0.5;

/// From this share of its response on, what a route holds is more than one session over its response.
const OUTLIVES: f64 = 1.2;

/// More routes of one reason than this are counted, not listed.
const LISTED: usize = 8;

/// The findings of a scan; none where all routes are fine.
pub(super) fn findings(seen: &Observations<'_>, scan: &ScanRecord) -> Vec<Finding> {
    if let Some(finding) = super::findings::not_observed(seen) {
        return vec![finding];
    }
    let mut findings: Vec<Finding> = scan.routes.iter().filter_map(of_route).collect();
    for finding in &mut findings {
        let same = seen.statements.iter().find(|it| Some(&it.statement) == finding.statement.as_ref());
        finding.application_name = same.and_then(|it| it.application_name.clone());
    }
    // The record has the most harmful first.
    let count = findings.len();
    for (place, finding) in findings.iter_mut().enumerate() {
        finding.harm_s = (count - place) as f64;
    }
    findings.extend(unknown(scan));
    if findings.is_empty() {
        findings.extend(unfinished(seen, scan));
    }
    findings
}

/// A scan that ended before its end has shown of no route that it is fine.
fn unfinished(seen: &Observations<'_>, scan: &ScanRecord) -> Option<Finding> {
    let requests: u64 = scan.routes.iter().map(|route| route.requests).sum();
    let title = if requests == 0 {
        "Cannot tell: no route was asked."
    } else if !seen.case.variant.complete {
        "Cannot tell: the scan was interrupted, and no route was found to hold a session by then."
    } else {
        return None;
    };
    Some(Finding::new(FindingKind::CannotTell, None, 1.0, title.to_owned()).with(
        "scan.routes.requests",
        requests as f64,
        "requests of all routes, each route alone",
    ))
}

/// A quick scan sees plain cases alone: that it found none is worth so much.
const SURE_IF_QUICK: f64 = 0.6;

/// Nothing is wrong with any route.
pub(super) fn healthy(scan: &ScanRecord) -> Finding {
    let (title, sure) = if scan.plan.is_quick() {
        ("A quick scan, which finds plain cases only, found no route that holds a session.", SURE_IF_QUICK)
    } else {
        ("No route holds a session across slow work, and none leaves one behind.", SURE)
    };
    let requests: u64 = scan.routes.iter().map(|route| route.requests).sum();
    Finding::new(FindingKind::Healthy, None, sure, title.to_owned()).with(
        "scan.routes.requests",
        requests as f64,
        "requests of all routes, each route alone, its first ones left out",
    )
}

fn of_route(route: &ScanRoute) -> Option<Finding> {
    let finding = match route.verdict {
        ScanVerdict::Leaks => leaks(route),
        ScanVerdict::Holds => holds(route),
        ScanVerdict::Fine | ScanVerdict::Unknown => return None,
    };
    let finding = Finding { route: Some(route.route.clone()), statement: route.statement.clone(), ..finding };
    // The advice says it again.
    let is_said = finding.pattern == Some(HoldPattern::H8);
    let reason = route.reason.as_ref().filter(|_| !is_said);
    let text = reason.map_or_else(
        || "requests of this route alone, its first ones left out".to_owned(),
        |it| format!("requests alone; {it}"),
    );
    Some(finding.with("scan.routes.requests", route.requests as f64, text))
}

fn leaks(route: &ScanRoute) -> Finding {
    let name = &route.route;
    let (answered, unanswered) = (route.left_behind.unwrap_or(0), route.left_behind_by_clients.unwrap_or(0));
    let (title, left) = match (answered, unanswered) {
        (0, 0) => {
            let because = route.reason.as_ref().map_or_else(String::new, |it| format!(": {it}"));
            (format!("{name} leaks connections, outside a transaction{because}."), None)
        }
        (0, left) => (
            format!(
                "{name} leaks sessions when the client leaves before the answer: {left} were still in a transaction 5 s later."
            ),
            Some(("scan.routes.left_behind_by_clients", left)),
        ),
        (left, _) => (
            format!("{name} leaks sessions: {left} were still in a transaction after the last answer."),
            Some(("scan.routes.left_behind", left)),
        ),
    };
    let by_clients = answered == 0 && unanswered > 0;
    let pattern = by_clients.then_some(HoldPattern::H8);
    let finding = Finding {
        pattern_confidence: pattern.map(|_| SURE),
        ..Finding::new(FindingKind::LeakedSession, pattern, SURE, title)
    };
    match left {
        Some((figure, left)) => finding.with(figure, left as f64, "sessions left in a transaction"),
        None => finding,
    }
}

fn holds(route: &ScanRoute) -> Finding {
    let name = &route.route;
    let held = held_s(route);
    let each = held.map_or_else(String::new, |held| format!(", {} per request", seconds(held.value)));
    let waits_s = route.client_wait_s_per_request.filter(|_| !route.only_concurrent && waits_for_client(route));
    // Held for longer than the answer takes: after it, or in two sessions. How many there were at once is not in the record.
    let outlives = !route.only_concurrent && route.hold_ratio.is_some_and(|ratio| ratio >= OUTLIVES);
    let after = outlives && route.longest_hold_s.zip(route.response_s).is_some_and(|(held_s, it)| held_s > it);
    let Match { pattern, sure, why } = of_holder(&Fingerprint {
        route: name,
        coefficient: 1.0,
        active: None,
        statements: &route.statement.iter().map(|it| (it.clone(), 1.0)).collect::<Vec<_>>(),
        aborted: 0.0,
    });
    let pattern = pattern.filter(|_| waits_s.is_none() && !route.only_concurrent && !outlives);
    let or_else = route.reason.as_ref().filter(|_| route.only_concurrent).and_then(|it| Some(it.split_once("; ")?.1));
    let or_else = or_else.map_or_else(String::new, |it| format!("; {it}"));
    let title = match (waits_s, route.only_concurrent, pattern) {
        (Some(waits_s), _, _) => format!(
            "{name} holds its session until the service has read the last row: {} per request in a statement that waits for \
             it (ClientWrite).",
            seconds(waits_s)
        ),
        (None, true, _) => format!("{name} holds its session only while other routes are asked, too{each}{or_else}."),
        (None, false, _) if after => format!("{name} keeps its session after the response{each}."),
        (None, false, Some(pattern)) => format!("{name} {} ({pattern:?}){each}.", pattern.does()),
        (None, false, None) => format!("{name} holds its session across slow work{each}."),
    };
    let sure_of_route = if or_else.is_empty() { SURE } else { SURE_AMONG_OTHERS };
    let mut finding = Finding::new(FindingKind::HeldSession, pattern, sure_of_route, title);
    finding.pattern_confidence = pattern.map(|_| sure);
    finding.held_s_per_request = held.map(|it| HoldInterval { value: it.value, low: it.low, high: it.high });
    if waits_s.is_some() {
        advice::READ_ALL_ROWS.clone_into(&mut finding.fix);
    } else if after {
        advice::END_FIRST.clone_into(&mut finding.fix);
    }
    if let Some(longest_s) = route.longest_hold_s.filter(|_| !route.only_concurrent) {
        finding =
            finding.with("scan.routes.longest_hold_s", longest_s, "seconds that a session was idle at a time, at most");
    }
    if let Some(ratio) = route.hold_ratio.filter(|_| !route.only_concurrent) {
        finding = finding.with("scan.routes.hold_ratio", ratio, format!("held seconds ÷ response time; {why}"));
    }
    match route.sessions_held {
        Some(sessions) => {
            finding.with("scan.routes.sessions_held", sessions, "sessions idle in transaction at the scenario's load")
        }
        None => finding,
    }
}

/// The seconds of a route that holds: in the concurrent phase, where it holds only there.
fn held_s(route: &ScanRoute) -> Option<Estimate> {
    route.held_concurrent_s_per_request.filter(|_| route.only_concurrent).or(route.held_s_per_request)
}

/// True if most of what it holds is in statements that wait for the client.
fn waits_for_client(route: &ScanRoute) -> bool {
    let held_s = route.held_s_per_request.map(|held| held.value);
    route.client_wait_s_per_request.zip(held_s).is_some_and(|(waits_s, held_s)| waits_s > 0.5 * held_s)
}

/// A finding for each reason for which routes could not be judged.
fn unknown(scan: &ScanRecord) -> Vec<Finding> {
    let of_verdict = || scan.routes.iter().filter(|it| it.verdict == ScanVerdict::Unknown);
    let mut reasons: Vec<&Option<String>> = Vec::new();
    for route in of_verdict() {
        if !reasons.contains(&&route.reason) {
            reasons.push(&route.reason);
        }
    }
    let finding = |reason: &Option<String>| {
        let alike: Vec<&ScanRoute> = of_verdict().filter(|it| it.reason == *reason).collect();
        let mut names: Vec<String> = alike.iter().map(|it| it.route.clone()).collect();
        if names.len() > LISTED {
            let more = names.len() - LISTED + 1;
            names.truncate(LISTED - 1);
            names.push(format!("{more} more"));
        }
        let because = reason.as_ref().map_or_else(String::new, |it| format!(": {it}"));
        let title = format!("Cannot tell whether {} holds a session{because}.", listed(&names));
        let statement = alike.first().filter(|_| alike.len() == 1).and_then(|it| it.statement.clone());
        Finding { statement, ..Finding::new(FindingKind::CannotTell, None, SURE, title) }.with(
            "scan.routes.requests",
            alike.iter().map(|it| it.requests).sum::<u64>() as f64,
            "requests, each route alone",
        )
    };
    reasons.into_iter().map(finding).collect()
}
