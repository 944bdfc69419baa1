//! Everything that a scan found, as its record has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::THRESHOLDS;
use super::estimate::{OtherSessionRates, SessionRate, per_request};
use super::mix::mix;
use super::observation::{
    ConcurrentPhase, Failures, Recovery, ServiceBreak, SessionActivity, SessionObservation, SessionPoll, Turn,
};
use super::tally::{BatchTally, TurnTally, tally};
use super::traffic::{Traffic, reckon};
use super::verdict::{FAILED, RouteEvidence, RouteVerdict, judge};
use crate::diagnose::concurrent::MixHold;
use crate::diagnose::normalise;
use crate::record::scan::{Estimate, ScanPlan, ScanRecord, ScanRoute, ScanSampling, ScanTurn, ScanVerdict, TurnKind};

/// A route that holds only in the concurrent phase waits there: its answers take longer than alone by at least this share
/// of what it holds.
/// A route that is merely asked for while another one waits for it does not.
const LONGER_BY: f64 = 0.5;

/// Input of a report.
#[derive(Clone, Copy, Debug)]
pub struct ScanInput<'a> {
    pub plan: ScanPlan,
    /// The routes by number, and the share of the traffic of each.
    pub routes: &'a [(String, f64)],
    pub polls: &'a [SessionPoll],
    pub turns: &'a [Turn],
    pub breaks: &'a [ServiceBreak],
    pub failures: &'a Failures,
    /// The mix; `None` when there was none.
    pub concurrent: Option<&'a ConcurrentPhase>,
    /// The server's count from the first turn alone to the last.
    pub counted_s: Option<f64>,
    /// The traffic that harm is reckoned for.
    pub traffic: Option<Traffic>,
    pub pool_capacity: Option<u32>,
}

#[must_use]
pub fn record(scanned: &ScanInput<'_>) -> ScanRecord {
    let tallies = tally(scanned.polls, scanned.turns);
    let both = || scanned.turns.iter().zip(&tallies);
    let quiet: Vec<&BatchTally> = both()
        .filter(|(turn, tally)| turn.route.is_none() && !tally.has_gap)
        .flat_map(|(_, tally)| &tally.batches)
        .collect();
    let other_sessions = OtherSessionRates::of(&quiet);
    let session = sampling(scanned, other_sessions.as_ref());
    let names: Vec<String> = scanned.routes.iter().map(|(name, _)| name.clone()).collect();
    let rows = |sessions: fn(&SessionObservation, f64) -> bool| {
        let of = |it| mix(scanned.polls, &names, scanned.pool_capacity, it, sessions);
        scanned.concurrent.map(of).unwrap_or_default()
    };
    let others_left = both().any(|(turn, tally)| turn.route.is_none() && tally.left_behind.is_some_and(|it| it > 0));
    let concurrent = ConcurrentHolds { all: rows(|_, _| true), beyond: rows(is_beyond_pause) };
    let mut routes: Vec<ScanRoute> = scanned
        .routes
        .iter()
        .enumerate()
        .map(|(index, (name, share))| {
            let of_it: Vec<(&Turn, &TurnTally)> = both().filter(|(turn, _)| turn.route == Some(index)).collect();
            // What a client did not wait for is no figure of the route's.
            let (hung_up, own): (Vec<_>, Vec<_>) =
                of_it.into_iter().partition(|(turn, _)| turn.kind == TurnKind::HangUp);
            let concurrent = concurrent.of(index, scanned.concurrent);
            one(
                name,
                *share,
                &own,
                &hung_up,
                &Context { other_sessions, others_left, step_s: step_s(&session), concurrent, names: scanned.routes },
            )
        })
        .collect();
    with_failures(scanned.failures, &mut routes);
    with_breaks(scanned, &mut routes);
    let whole = reckon(&mut routes, scanned.traffic, scanned.pool_capacity);
    ScanRecord {
        plan: ScanPlan { concurrent_s: scanned.concurrent.map_or(0.0, |_| scanned.plan.concurrent_s), ..scanned.plan },
        thresholds: THRESHOLDS,
        sampling: session,
        traffic_rps: whole.rps,
        pool_full_at_rps: whole.pool_full_at_rps,
        routes,
        turns: both().map(|(turn, tally)| turn_record(scanned, turn, tally)).collect(),
    }
}

/// Says how the requests failed of which too many did.
fn with_failures(failures: &Failures, routes: &mut [ScanRoute]) {
    for (number, route) in routes.iter_mut().enumerate().filter(|(_, route)| route.failures > 0) {
        let most = failures.get(&number).and_then(|texts| texts.iter().max_by_key(|(_, count)| **count));
        if let (Some(reason), Some((text, _))) = (&mut route.reason, most)
            && reason.ends_with(FAILED)
        {
            *reason = format!("{reason}: {text}");
        }
    }
}

/// Names the routes after which the service answered nothing any more, and says so of those that were not measured for their sake.
fn with_breaks(scanned: &ScanInput<'_>, routes: &mut [ScanRoute]) {
    // What leaks in the hang-up phase leaks when everything else has been measured.
    let leaks = |it: &&ScanRoute| it.verdict == ScanVerdict::Leaks && it.left_behind.is_some_and(|left| left > 0);
    let leaking: Vec<String> = routes.iter().filter(leaks).map(|it| it.route.clone()).collect();
    if !leaking.is_empty() {
        let fails = |it: &&mut ScanRoute| it.verdict == ScanVerdict::Unknown && it.failures > 0;
        for other in routes.iter_mut().filter(fails) {
            let reason = other.reason.take().unwrap_or_default();
            other.reason = Some(format!("{reason}; {} may have left it no good connection", leaking.join(" and ")));
        }
    }
    for it in scanned.breaks {
        let ServiceBreak { route, answered, has_taken_the_pool, recovery } = *it;
        let of_pool = scanned
            .pool_capacity
            .map_or_else(String::new, |capacity| format!(" (its pool has {capacity} connections)"));
        let after = match recovery {
            Recovery::Restarted => "; the scan started it anew",
            Recovery::Waited => "; it answered again after a while",
            Recovery::None => "",
        };
        let Some(culprit) = routes.get_mut(route) else { continue };
        let name = culprit.route.clone();
        let no_more = format!("after {answered} of its requests the service stopped answering");
        match culprit.verdict {
            ScanVerdict::Leaks => {}
            // It holds, and so fills the pool.
            ScanVerdict::Holds => culprit.reason = Some(format!("{no_more}{after}")),
            _ if has_taken_the_pool => {
                culprit.verdict = ScanVerdict::Leaks;
                culprit.reason = Some(format!(
                    "{no_more}{of_pool}, with no session at work{after}. Give each connection back to the pool, in a `finally` \
                     or its like"
                ));
            }
            _ => {
                culprit.verdict = ScanVerdict::Unknown;
                culprit.reason = Some(format!("{no_more}{after}"));
            }
        }
        let others = routes.iter_mut().filter(|it| it.verdict == ScanVerdict::Unknown && it.route != name);
        for other in others.filter(|_| recovery == Recovery::None) {
            other.reason = Some(format!(
                "not measured, because after {answered} requests of {name} the service stopped answering"
            ));
        }
    }
}

/// Beside a route's own turns.
struct Context<'a> {
    /// `None` when nobody knows.
    other_sessions: Option<OtherSessionRates>,
    /// True if they left sessions in a transaction.
    others_left: bool,
    step_s: f64,
    concurrent: ConcurrentHold<'a>,
    names: &'a [(String, f64)],
}

/// Holders in the mix: by all idle time, and by what is beyond pauses.
struct ConcurrentHolds {
    all: Vec<MixHold>,
    beyond: Vec<MixHold>,
}

/// The same of one route.
struct ConcurrentHold<'a> {
    all: Option<&'a MixHold>,
    beyond: Option<&'a MixHold>,
    /// Mean response time; `None` without a request.
    response_s: Option<f64>,
    /// Wait for a core per request of any route; `None` when nobody knows.
    cpu_wait_s: Option<f64>,
}

impl ConcurrentHolds {
    fn of(&self, route: usize, concurrent: Option<&ConcurrentPhase>) -> ConcurrentHold<'_> {
        let find = |holds: &'_ [MixHold]| holds.iter().position(|hold| hold.route == route);
        ConcurrentHold {
            all: find(&self.all).and_then(|it| self.all.get(it)),
            beyond: find(&self.beyond).and_then(|it| self.beyond.get(it)),
            response_s: concurrent.and_then(|it| response_s(it, route)),
            cpu_wait_s: concurrent.and_then(|it| Some(it.cpu_wait_s? / it.requests.len().max(1) as f64)),
        }
    }
}

/// The mean response time of a route in the mix.
fn response_s(concurrent: &ConcurrentPhase, route: usize) -> Option<f64> {
    let own = || concurrent.requests.iter().filter(|request| request.0 == route);
    let count = own().count();
    (count > 0).then(|| own().map(|(_, from_s, to_s)| to_s - from_s).sum::<f64>() / count as f64)
}

/// True if a session is idle for longer than from one statement to the next.
fn is_beyond_pause(session: &SessionObservation, at_s: f64) -> bool {
    at_s - session.since_s > THRESHOLDS.pause_s
}

fn one(
    name: &str,
    share: f64,
    own: &[(&Turn, &TurnTally)],
    hung_up: &[(&Turn, &TurnTally)],
    context: &Context<'_>,
) -> ScanRoute {
    let seen = |(_, tally): &&(&Turn, &TurnTally)| !tally.has_gap;
    let is_warm = |(turn, _): &&(&Turn, &TurnTally)| turn.kind != TurnKind::Warmup;
    let mut turns: Vec<&(&Turn, &TurnTally)> = own.iter().filter(seen).filter(is_warm).collect();
    if turns.is_empty() {
        // A route that leaks is not asked for again: its first requests are all there are.
        turns = own.iter().filter(seen).collect();
    }
    let batches: Vec<&BatchTally> = turns.iter().flat_map(|(_, tally)| &tally.batches).collect();
    let cpu_wait_s = turns.iter().map(|(turn, _)| turn.cpu_wait_s).sum::<Option<f64>>();
    let sum = |value: fn(&BatchTally) -> f64| batches.iter().map(|it| value(it)).sum::<f64>();
    let count = |value: fn(&BatchTally) -> u32| batches.iter().map(|it| u64::from(value(it))).sum::<u64>();
    let requests = count(|it| it.batch.requests);
    let lasted_s = sum(|it| it.lasted_s);
    let each = |seconds: f64| (requests > 0).then(|| seconds / requests as f64);
    let without = |seconds: f64, rate: f64| each((seconds - rate * lasted_s).max(0.0));
    let other_sessions = context.other_sessions.unwrap_or_default();
    let estimate =
        |value: fn(&BatchTally) -> f64, rate: SessionRate| per_request(&batches, value, rate, context.step_s);
    let held = estimate(|it| it.idle_s, other_sessions.idle);
    let beyond_s = estimate(|it| it.beyond_s, other_sessions.beyond);
    let response_s = each(sum(|it| it.batch.response_s));
    let of = |turns: &[(&Turn, &TurnTally)]| turns.iter().filter_map(|it| it.1.left_behind).collect::<Vec<u64>>();
    let (left, left_by_clients) = (of(own), of(hung_up));
    let leaking = |left: &[u64]| left.iter().filter(|left| **left > 0).count() as u64;
    let concurrent_hold = |hold: Option<&MixHold>| {
        hold.and_then(|hold| hold.held_s).map(|it| Estimate { value: it.value, low: it.low, high: it.high })
    };
    let longer_s = context.concurrent.response_s.zip(response_s).map(|(company_s, alone_s)| company_s - alone_s);
    let beyond_concurrent =
        concurrent_hold(context.concurrent.beyond).filter(|held| is_plausible(held, beyond_s, longer_s));
    let known = RouteEvidence {
        requests,
        failures: count(|it| it.batch.failures),
        unanswered: count(|it| it.batch.unanswered),
        beyond_s,
        concurrent_s: beyond_concurrent,
        cpu_wait_s: cpu_wait_s.and_then(each),
        concurrent_cpu_wait_s: context.concurrent.cpu_wait_s,
        other_sessions_unseen: context.other_sessions.is_none(),
        other_sessions_leak: context.others_left,
        turns_with_leak: leaking(&left),
        turns_judged: left.len() as u64,
        turns_with_client_leak: leaking(&left_by_clients),
    };
    let RouteVerdict { verdict, only_concurrent, reason } = judge(&known, &THRESHOLDS);
    let leaks = verdict == ScanVerdict::Leaks;
    // Too few batches for an interval, but what was left behind was seen.
    let seen_s = each(sum(|it| it.idle_s)).filter(|_| leaks);
    let held = held.or(seen_s.map(|value| Estimate { value, low: value, high: value }));
    ScanRoute {
        requests,
        failures: known.failures,
        response_s,
        held_s_per_request: held,
        held_beyond_pauses_s: beyond_s,
        hold_ratio: held.zip(response_s).filter(|(_, response)| *response > 0.0).map(|(held, it)| held.value / it),
        active_s_per_request: without(sum(|it| it.active_s), other_sessions.active),
        lock_wait_s_per_request: without(sum(|it| it.lock_s), other_sessions.lock),
        client_wait_s_per_request: each(sum(|it| it.client_s)),
        cpu_wait_s_per_request: known.cpu_wait_s,
        longest_hold_s: batches.iter().map(|it| it.longest_s).reduce(f64::max).filter(|longest| *longest > 0.0),
        left_behind: (!left.is_empty()).then(|| left.iter().sum()),
        left_behind_by_clients: (!left_by_clients.is_empty()).then(|| left_by_clients.iter().sum()),
        statement: statement(&batches).filter(|_| verdict != ScanVerdict::Fine),
        // Who is named by what is beyond pauses is stated with all of it.
        held_concurrent_s_per_request: beyond_concurrent
            .and(concurrent_hold(context.concurrent.all).or(beyond_concurrent)),
        only_concurrent,
        verdict,
        reason: reason.map(|it| with_others(it, context)),
        ..unmeasured(name, share)
    }
}

/// True if a route may hold so much in the mix: it holds alone too, or is answered later than alone.
fn is_plausible(held: &Estimate, alone: Option<Estimate>, longer_s: Option<f64>) -> bool {
    alone.is_some_and(|it| it.low >= THRESHOLDS.held_s) || longer_s.is_none_or(|it| it >= LONGER_BY * held.value)
}

/// Adds other routes that the mix may mean.
fn with_others(reason: String, context: &Context<'_>) -> String {
    let others = context.concurrent.beyond.map_or(&[][..], |hold| &hold.or_else);
    let names: Vec<&str> = others.iter().filter_map(|it| context.names.get(*it)).map(|it| it.0.as_str()).collect();
    if names.is_empty() { reason } else { format!("{reason}; or it is {}", names.join(" or ")) }
}

/// A route of which nothing is known.
#[must_use]
pub fn unmeasured(name: &str, share: f64) -> ScanRoute {
    ScanRoute {
        route: name.to_owned(),
        traffic_share: share,
        requests: 0,
        failures: 0,
        response_s: None,
        held_s_per_request: None,
        held_beyond_pauses_s: None,
        hold_ratio: None,
        active_s_per_request: None,
        lock_wait_s_per_request: None,
        client_wait_s_per_request: None,
        cpu_wait_s_per_request: None,
        longest_hold_s: None,
        left_behind: None,
        left_behind_by_clients: None,
        statement: None,
        held_concurrent_s_per_request: None,
        only_concurrent: false,
        verdict: ScanVerdict::Unknown,
        reason: None,
        sessions_held: None,
        pool_full_at_rps: None,
    }
}

/// The statement after which most of the time was idle.
fn statement(batches: &[&BatchTally]) -> Option<String> {
    let mut all = BTreeMap::<String, f64>::new();
    for (statement, idle_s) in batches.iter().flat_map(|batch| &batch.statements) {
        *all.entry(normalise(statement)).or_default() += idle_s;
    }
    all.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(statement, _)| statement)
}

fn turn_record(scanned: &ScanInput<'_>, turn: &Turn, tally: &TurnTally) -> ScanTurn {
    let count = |value: fn(&BatchTally) -> u32| tally.batches.iter().map(|it| u64::from(value(it))).sum();
    ScanTurn {
        route: turn.route.and_then(|route| scanned.routes.get(route)).map(|(name, _)| name.clone()),
        round: turn.round,
        kind: turn.kind,
        from_s: turn.from_s,
        to_s: turn.to_s,
        cooldown_end_s: turn.cooldown_end_s,
        requests: count(|it| it.batch.requests),
        failures: count(|it| it.batch.failures),
        unanswered: count(|it| it.batch.unanswered),
        held_s: tally.idle_s(),
        counted_s: turn.counted_s,
        left_behind: tally.left_behind,
    }
}

fn step_s(session: &ScanSampling) -> f64 {
    session.poll_rate_hz.filter(|rate| *rate > 0.0).map_or(0.0, f64::recip)
}

fn sampling(scanned: &ScanInput<'_>, other_sessions: Option<&OtherSessionRates>) -> ScanSampling {
    let polls = scanned.polls;
    let from_s = scanned.turns.first().map_or(0.0, |it| it.from_s);
    // The server's count is of the turns in which clients wait.
    let waiting = |it: &&Turn| it.kind != TurnKind::HangUp;
    let to_s = scanned.turns.iter().rev().find(waiting).map_or(0.0, |it| it.cooldown_end_s);
    let lasted_s = polls.first().zip(polls.last()).map(|(first, last)| last.at_s - first.at_s);
    let idle = |poll: &SessionPoll| poll.sessions.iter().filter(|it| it.activity == SessionActivity::Idle).count();
    let before = polls.iter().take_while(|poll| poll.at_s < from_s).last().map_or(0, idle);
    let inside: Vec<&SessionPoll> = polls.iter().filter(|poll| (from_s..=to_s).contains(&poll.at_s)).collect();
    let area = |pair: &[&SessionPoll]| {
        (pair[1].at_s - pair[0].at_s) * f64::midpoint(idle(pair[0]) as f64, idle(pair[1]) as f64)
    };
    ScanSampling {
        polls: polls.len() as u64,
        poll_rate_hz: lasted_s.filter(|it| *it > 0.0).map(|it| (polls.len() as f64 - 1.0) / it),
        longest_gap_s: polls.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).reduce(f64::max),
        other_sessions_before: u32::try_from(before).unwrap_or(u32::MAX),
        other_sessions_idle_mean: other_sessions.map(|it| it.idle.value),
        sampled_s: inside.windows(2).map(area).sum(),
        counted_s: scanned.counted_s,
    }
}

/// Statements are stated again at each poll: each is kept once.
#[derive(Debug, Default)]
pub struct StatementTexts(BTreeSet<Arc<str>>);

impl StatementTexts {
    /// The one copy of a statement.
    pub fn once(&mut self, statement: &str) -> Arc<str> {
        if let Some(known) = self.0.get(statement) {
            return Arc::clone(known);
        }
        let known: Arc<str> = statement.into();
        self.0.insert(Arc::clone(&known));
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_whose_requests_failed_says_how_most_of_them_did() {
        let unknown = |reason: &str| ScanRoute {
            failures: 12,
            reason: Some(reason.to_owned()),
            ..unmeasured("GET /orders", 1.0)
        };
        let texts = [("401: Token has expired", 11), ("no answer within 10 s", 1)];
        let texts = texts.map(|(text, count)| (text.to_owned(), count));
        let failures = Failures::from([(0, BTreeMap::from(texts))]);
        let mut routes = [unknown("12 of 12 requests failed"), unknown("12 of 12 requests failed")];
        with_failures(&failures, &mut routes);
        let reasons = routes.map(|it| it.reason.unwrap_or_default());
        assert_eq!(reasons, ["12 of 12 requests failed: 401: Token has expired", "12 of 12 requests failed"]);
    }
}
