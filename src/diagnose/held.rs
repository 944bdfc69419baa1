//! Findings about sessions that are held: by a route, by what it leaves behind, or by no request.

use super::advice;
use super::attribute::{Attribution, RouteHold};
use super::beginnings::{Alibi, Begun, NAMED_AT, Role, STATED_OF_NONE};
use super::findings::FEWEST_POLLS;
use super::observations::{Observations, STAY};
use super::pattern::{Fingerprint, LeakPrint, Match, of_holder, of_leak};
use super::regression::{Basis, MOST_SESSIONS};
use super::timeline::TimelineRow;
use super::titles::{listed, percent, seconds};
use super::{Finding, FindingKind, MOSTLY};
use crate::record::SessionProcess;
use crate::record::presence::{AGES_S, ENDED_S};

/// Each route that holds.
pub(super) fn held(seen: &Observations<'_>) -> Vec<Finding> {
    let holders = seen.holders();
    let one = |hold: &RouteHold| {
        if let Some(begun) = &hold.begun {
            // Of two that were there alike, neither is accused.
            begun.or_else.is_empty().then(|| by_beginnings(seen, hold, begun, holders))
        } else if hold.coefficient.value < STAY {
            Some(holder(seen, hold, holders))
        } else {
            let is_plausible = hold.coefficient.value < MOST_SESSIONS || outlives_requests(seen, &hold.route);
            is_plausible.then(|| left_behind(seen, hold))
        }
    };
    holders.iter().filter_map(one).collect()
}

/// A route that began its transactions, whenever they end.
fn by_beginnings(seen: &Observations<'_>, hold: &RouteHold, begun: &Begun, holders: &[RouteHold]) -> Finding {
    let finding = holder(seen, hold, holders);
    let Alibi { present, of, by_chance, classes } = begun.alibi;
    let there = match begun.role {
        Role::During => AGES_S.get(classes - 1).map_or_else(
            || "while a request of this route was in flight".to_owned(),
            |age_s| format!("less than {} after a request of this route began", seconds(*age_s)),
        ),
        Role::After => format!("less than {} after a request of this route ended", seconds(ENDED_S[classes - 1])),
    };
    let text = format!("of {of:.0} of its transactions began {there}; by chance {by_chance:.0} would");
    let finding = finding.with("samples.transaction", present.round(), text);
    let each = hold.held_s.map_or_else(String::new, |held| format!(", {} per request", seconds(held.value)));
    let (does, fix) = match begun.role {
        // What waits is the statement: the session is not idle.
        _ if waits_for_client(seen, hold) => ("holds its session until the service has read the last row", READ_FIRST),
        Role::After => ("leaves a task behind that holds a session", advice::END_FIRST),
        // More time than it is in flight: they end after its response.
        Role::During if outlives_response(seen, hold, begun) => {
            ("keeps its session after the response", advice::END_FIRST)
        }
        Role::During => return finding,
    };
    let title = format!("{} {does}{each}, {} of all idle-in-transaction time.", hold.route, percent(hold.share));
    let title = with_end(title, ended_by_server(seen, hold));
    // Requests in flight tell nothing of a hold that outlives its request.
    let evidence = finding.evidence.iter().filter(|it| !it.text.starts_with(PER_REQUEST_IN_FLIGHT)).cloned().collect();
    Finding { title, evidence, pattern: None, pattern_confidence: None, fix: fix.to_owned(), ..finding }
}

const PER_REQUEST_IN_FLIGHT: &str = "sessions that each of its requests in flight holds, on average";

/// Rows that are taken one by one hold the session for as long as the last one takes.
const READ_FIRST: &str = "Read all rows before the slow work, or in pages of a query each; a server-side cursor or a stream of rows \
                          holds its session until the last row is read.";

/// True if most of what this route holds are sessions whose statement waits for the client.
fn waits_for_client(seen: &Observations<'_>, hold: &RouteHold) -> bool {
    let (from_s, to_s) = seen.steady_s();
    let waits_s = seen.timeline.integral(from_s, to_s, TimelineRow::waits_for_client);
    let attributed = seen.attribute(TimelineRow::waits_for_client);
    let mine = attributed.and_then(|it| it.holders.into_iter().find(|other| other.route == hold.route));
    // Where all of it is its own there is nothing to attribute.
    let mine_s = mine.map_or(if seen.holders().len() == 1 { waits_s } else { 0.0 }, |it| it.idle_s);
    mine_s > MOSTLY * hold.idle_s
}

/// True if transactions are idle for clearly longer than the slowest request took.
fn outlives_response(seen: &Observations<'_>, hold: &RouteHold, begun: &Begun) -> bool {
    let slowest_ms = seen.case.variant.routes.iter().find(|it| it.route == hold.route).and_then(|it| it.latency_max_ms);
    slowest_ms.is_some_and(|slowest_ms| begun.idle_each_s() > 1.2 * slowest_ms / 1e3)
}

/// Sessions in transactions that no request begins.
pub(super) fn held_by_none(seen: &Observations<'_>) -> Option<Finding> {
    let begun = seen.begun.as_ref().filter(|_| seen.exact.is_none())?;
    let found = &begun.found;
    let (from_s, to_s) = seen.steady_s();
    let idle_s = found.begun_by_none * seen.timeline.integral(from_s, to_s, TimelineRow::held);
    let share = idle_s / seen.idle_s().max(f64::MIN_POSITIVE);
    let mean = idle_s / (to_s - from_s).max(f64::MIN_POSITIVE);
    if found.none_strength < STATED_OF_NONE || share < LEAST_SHARE_OF_NONE || mean < LEAST_OF_NONE {
        return None;
    }
    let sure = if found.none_strength < NAMED_AT { 0.75 } else { 0.9 };
    let statement = found.none_statements.first().map(|(place, _)| begun.statements[*place].clone());
    let process = found.none_processes.first().map(|(place, seconds)| (&begun.processes[*place], *seconds));
    let none_s: f64 = found.none_statements.iter().map(|(_, seconds)| seconds).sum();
    // Most of them are sessions of one process.
    let process = process.filter(|(_, seconds)| *seconds >= MOSTLY * none_s).map(|(process, _)| process);
    let whose = match process {
        Some(SessionProcess { pid, name, serves_target: false }) if seen.any_serves() => {
            format!("Their process is {pid} (`{name}`), which does not serve the target.")
        }
        Some(SessionProcess { pid, name, .. }) if !seen.any_serves() => {
            format!(
                "Their process is {pid} (`{name}`): likely a job, another application, or a task that a response leaves behind."
            )
        }
        Some(SessionProcess { pid, name, .. }) => {
            format!(
                "Their process is {pid} (`{name}`), which serves the target: likely a job in it, or a task that a response leaves behind."
            )
        }
        None => "Likely a job, another application, or a task that a response leaves behind.".to_owned(),
    };
    let title = format!(
        "No request causes this: {} of all idle-in-transaction time is in transactions that begin no matter which \
         requests are sent. {whose}",
        percent(share)
    );
    let finding = Finding {
        share: Some(share.min(1.0)),
        statement,
        harm_s: idle_s,
        ..Finding::new(FindingKind::HeldOutsideRequests, None, sure, title)
    };
    Some(
        finding
            .with("samples.transaction", found.beginnings as f64, "beginnings of transactions, and who was there")
            .with("samples.activity", mean, "sessions of them idle in transaction, at the mean"),
    )
}

/// Less of the idle time, or less at the mean in sessions, is nobody's trouble.
const LEAST_SHARE_OF_NONE: f64 = 0.1;
const LEAST_OF_NONE: f64 = 0.3;

/// True if a transaction was clearly older than the slowest request of this route. Where none was, none is known to have
/// outlived its request: that as many sessions as are thinkable go with a fast route is chance then, as when the machine
/// stood still.
fn outlives_requests(seen: &Observations<'_>, route: &str) -> bool {
    let slowest_ms = seen.case.variant.routes.iter().find(|it| it.route == route).and_then(|it| it.latency_max_ms);
    let oldest_s = seen.case.variant.summary.transaction_age_max_s;
    oldest_s.zip(slowest_ms).is_some_and(|(oldest_s, slowest_ms)| oldest_s >= 2.0 * slowest_ms / 1e3)
}

fn holder(seen: &Observations<'_>, hold: &RouteHold, holders: &[RouteHold]) -> Finding {
    let parts = seen.statements_of(&hold.route, holders);
    let statements: Vec<(String, f64)> = parts.iter().map(|(it, part)| (it.statement.clone(), *part)).collect();
    let aborted = if holders.len() == 1 { seen.aborted() } else { aborted_of(seen, hold) };
    let (coefficient, active) = (hold.coefficient.value, active_beside(seen, hold));
    let print = Fingerprint { route: &hold.route, coefficient, active, statements: &statements, aborted };
    let Match { pattern, sure, why } = of_holder(&print);
    let does = pattern.map_or("holds its session across slow work", |it| it.does());
    let id = pattern.map_or_else(String::new, |it| format!(" ({it:?})"));
    // Seconds that may as well be half are no figure for a title; they are in the finding with their interval.
    let known = hold.held_s.filter(|held| held.low > held.value / 2.0);
    let each = known.map_or_else(String::new, |held| format!(", {} per request", seconds(held.value)));
    let title = format!("{} {does}{id}{each}, {} of all idle-in-transaction time.", hold.route, percent(hold.share));
    let ended = ended_by_server(seen, hold);
    let title = with_end(title, ended);
    let sure_of_route = confidence(seen, hold);
    let (idle_s, finished) = (hold.idle_s, seen.finished(&hold.route) as f64);
    let mut finding = Finding {
        route: Some(hold.route.clone()),
        pattern_confidence: pattern.map(|_| sure),
        held_s_per_request: hold.held_s,
        share: Some(hold.share.min(1.0)),
        statement: parts.first().map(|(it, _)| it.statement.clone()),
        application_name: parts.first().and_then(|(it, _)| it.application_name.clone()),
        harm_s: idle_s,
        ..Finding::new(FindingKind::HeldSession, pattern, sure_of_route, title)
    };
    finding = finding
        .with("samples.activity", seen.idle_s(), "session seconds idle in transaction in the steady phase")
        .with("samples.load", idle_s, "of them with this route")
        .with("samples.load", hold.coefficient.value, PER_REQUEST_IN_FLIGHT)
        .with("routes.requests", finished, "finished requests of this route")
        .with("samples.breakdown", aborted, format!("share of this time in aborted transactions; {why}"));
    if let Some(sessions) = ended {
        finding =
            finding.with("sessions_lost.fatal", sessions, "sessions that the server ended meanwhile, by its own count");
    }
    cross_checked(seen, hold, with_basis(seen, hold, finding))
}

/// Sessions that run a statement for each of the route's requests in flight; `None` where that is not known, or zero.
fn active_beside(seen: &Observations<'_>, hold: &RouteHold) -> Option<f64> {
    let working = seen.attribute(TimelineRow::working)?;
    working.holders.iter().find(|it| it.route == hold.route).map(|it| it.coefficient.value)
}

/// A limit cuts the hold off.
const ENDED_BY_SERVER: &str =
    "PostgreSQL ends these sessions by a timeout (25P03 or 25P04): without it, the hold would be longer.";

/// The title of a finding on sessions of which the server has ended so many.
fn with_end(title: String, ended: Option<f64>) -> String {
    if ended.is_some() { format!("{title} {ENDED_BY_SERVER}") } else { title }
}

/// Sessions that the server ended, where that is the end of most of what the route holds.
fn ended_by_server(seen: &Observations<'_>, hold: &RouteHold) -> Option<f64> {
    let ended = seen.case.variant.sessions_lost.as_ref()?.fatal as f64;
    let transactions = hold.begun.as_ref()?.transactions;
    (hold.share >= MOSTLY && ended >= FEWEST_ENDED && ended >= MOSTLY * transactions).then_some(ended)
}

/// Fewer sessions that the server ended are an accident.
const FEWEST_ENDED: f64 = 3.0;

/// More sessions than a request can hold go with a route: they outlive it.
fn left_behind(seen: &Observations<'_>, hold: &RouteHold) -> Finding {
    let first = seen.statements.first();
    let statement = first.map(|it| it.statement.clone());
    let print = LeakPrint {
        statement: statement.as_deref().unwrap_or_default(),
        grows: true,
        ends: false,
        given_up: seen.given_up(),
    };
    let Match { pattern, sure, why } = of_leak(&print);
    let title = format!(
        "More sessions than requests go with {}{}, {:.1} for each in flight: they stay in a transaction after it.",
        hold.route,
        pattern.map_or_else(String::new, |it| format!(" ({it:?})")),
        hold.coefficient.value,
    );
    let finding = Finding {
        route: Some(hold.route.clone()),
        pattern_confidence: pattern.map(|_| sure * 0.8),
        share: Some(hold.share.min(1.0)),
        statement,
        application_name: first.and_then(|it| it.application_name.clone()),
        harm_s: hold.idle_s,
        ..Finding::new(FindingKind::LeakedSession, pattern, 0.6, title)
    };
    finding.with("samples.load", hold.coefficient.value, format!("sessions for each request in flight; {why}"))
}

/// True if nothing but the regression names the route.
fn is_by_load(seen: &Observations<'_>, hold: &RouteHold) -> bool {
    seen.exact.is_none() && hold.begun.is_none() && hold.spanned.is_none()
}

/// Adds the basis of the figures, and routes that may be meant instead.
fn with_basis(seen: &Observations<'_>, hold: &RouteHold, finding: Finding) -> Finding {
    if let Some(spanned) = hold.spanned {
        let text = format!(
            "share of the idle time in transactions that lie within a request of it: one was in flight from before they began, and \
             was answered as they ended; by chance it would be {}",
            percent(spanned.by_chance)
        );
        return finding.with("samples.transaction", spanned.share, text);
    }
    let Some(attribution) = seen.attribution.as_ref().filter(|_| is_by_load(seen, hold)) else { return finding };
    let basis = match attribution.basis {
        Basis::All => "polls that the estimate is based on",
        Basis::BeforeFull => {
            "polls that the estimate is based on, before a pool was full: in a full pool every route holds alike"
        }
        Basis::Full => {
            "polls that the estimate is based on; a pool was full in all of them, so that the seconds are rough"
        }
    };
    let mut finding = finding.with("samples.activity", attribution.rows as f64, basis);
    let others: Vec<String> = others(attribution, finding.route.as_deref());
    if !others.is_empty() {
        let text = format!(
            "routes that are in flight whenever it is, and may hold as well: {}; ask for them at another rate, or alone",
            listed(&others)
        );
        finding = finding.with("samples.load", others.len() as f64, text);
    }
    if attribution.constant >= 0.5 {
        let text = "sessions idle in transaction whatever is asked for, at the mean: no request here holds them";
        finding = finding.with("samples.activity", attribution.constant, text);
    }
    if hold.like_constant {
        let text = "it is in flight all the time, about as often: sessions that are idle whatever is asked for would look \
                    the same; ask for it at another rate, or alone";
        finding = finding.with("samples.load", hold.coefficient.value, text);
    }
    finding
}

fn others(attribution: &Attribution, route: Option<&str>) -> Vec<String> {
    let pairs = attribution.confused.iter().filter(|(holder, _)| Some(holder.as_str()) == route);
    pairs.map(|(_, other)| other.clone()).collect()
}

/// Says whether what the application calls itself agrees with what the load says.
fn cross_checked(seen: &Observations<'_>, hold: &RouteHold, finding: Finding) -> Finding {
    let Some(by_load) = seen.attribution.as_ref().filter(|_| !is_by_load(seen, hold)) else { return finding };
    match by_load.holders.iter().find(|it| it.route == hold.route) {
        Some(same) => finding.with("samples.load", same.share, "share of the idle time by the load alone: it agrees"),
        None if seen.exact.is_none() => finding.with("samples.load", 0.0, REGRESSION_DISAGREES),
        None => finding.with(
            "samples.load",
            0.0,
            "the load alone does not name this route; the application's own word is taken",
        ),
    }
}

/// The regression should name the route as well if the hold ends with its response.
const REGRESSION_DISAGREES: &str = "the regression of idle sessions on requests in flight does not name this route: its \
                                    transactions begin with it, and do not end with it, or too few were seen";

fn confidence(seen: &Observations<'_>, hold: &RouteHold) -> f64 {
    if seen.exact.is_some() {
        return 0.98;
    }
    if hold.spanned.is_some() {
        let agrees = seen.attribution.as_ref().is_some_and(|it| it.holders.iter().any(|it| it.route == hold.route));
        return if agrees { 0.85 } else { 0.75 };
    }
    if hold.begun.is_some() {
        let by_load = seen.attribution.as_ref().map_or(&[][..], |it| &it.holders);
        return match by_load.iter().any(|it| it.route == hold.route) {
            true => 0.97,
            false if by_load.is_empty() => 0.9,
            false => 0.8,
        };
    }
    let Some(attribution) = &seen.attribution else { return 0.3 };
    let basis = match attribution.basis {
        Basis::All => 0.95,
        Basis::BeforeFull => 0.85,
        Basis::Full => 0.6,
    };
    let few = if attribution.rows < 2 * FEWEST_POLLS { 0.9 } else { 1.0 };
    let told_apart = if others(attribution, Some(&hold.route)).is_empty() && !hold.like_constant { 1.0 } else { 0.6 };
    basis * few * told_apart
}

/// Share of a route's idle sessions in an aborted transaction, where more than one route holds.
fn aborted_of(seen: &Observations<'_>, hold: &RouteHold) -> f64 {
    let Some(index) = seen.timeline.routes.iter().position(|it| *it == hold.route) else { return 0.0 };
    let failed = seen.attribute(|row| f64::from(row.activity.idle_in_transaction_aborted));
    let route = &seen.timeline.routes[index];
    let mine = failed.and_then(|it| it.holders.into_iter().find(|other| other.route == *route));
    mine.map_or(0.0, |it| (it.idle_s / hold.idle_s).min(1.0))
}
