//! Sessions that are idle in a transaction and held by no request: left behind, older than the load, or somebody else's.

use std::collections::BTreeMap;

use super::pattern::HoldPattern;
use super::simulated::{SCOPE, SimRoute, Simulated, route, simulate};
use super::simulated_tests::{ORDER, QUICK, SECONDS, SEEDS, USERS, findings, holder, innocent, with};
use super::{Finding, FindingKind};
use crate::record::{HoldGroup, Sample, Stamped, TransactionSample};

/// Four more sessions idle in transaction all the time, since `since_s`.
fn stay(simulated: &mut Simulated, statement: &str, since_s: f64) {
    for stamped in &mut simulated.samples {
        match &mut stamped.sample {
            Sample::Activity(activity) => activity.idle_in_transaction += 4,
            Sample::Breakdown(breakdown) => breakdown.groups.push(HoldGroup {
                statement: statement.to_owned(),
                application_name: "app".to_owned(),
                sessions: 4,
                oldest_s: stamped.at_s - since_s,
                idle_s: None,
                earlier: since_s < 0.0,
            }),
            _ => {}
        }
    }
}

/// Sessions that others keep idle for moments at a time, all the while, with the application's name.
fn churn(simulated: &mut Simulated, statement: &str) {
    stay(simulated, statement, 0.0);
    for stamped in &mut simulated.samples {
        if let Sample::Breakdown(breakdown) = &mut stamped.sample {
            breakdown.groups.iter_mut().for_each(|group| group.oldest_s = group.oldest_s.min(0.5));
        }
    }
}

#[test]
fn sessions_that_are_idle_whatever_is_asked_for_are_laid_to_no_route() {
    for seed in 0..SEEDS {
        let mut simulated = simulate(&innocent(), USERS, SECONDS, seed);
        churn(&mut simulated, "SELECT 1");
        let found = findings(&simulated);
        assert!(found.iter().all(|it| it.kind != FindingKind::HeldSession), "seed {seed}: {found:#?}");
    }
    // Nor do they add to the seconds of a route that holds.
    for seed in 0..QUICK {
        let holder = holder("POST /orders", 4.0, ORDER);
        let mut simulated = simulate(&with(&[holder]), USERS, SECONDS, seed);
        churn(&mut simulated, "SELECT 1");
        let found = findings(&simulated);
        let held: Vec<&Finding> = found.iter().filter(|it| it.kind == FindingKind::HeldSession).collect();
        assert_eq!(held.iter().map(|it| it.route.as_deref()).collect::<Vec<_>>(), [Some("POST /orders")], "{found:#?}");
        let value = held[0].held_s_per_request.expect("its requests finish").value;
        let off = value / simulated.truth[0].1 - 1.0;
        assert!(off.abs() < 0.15, "seed {seed}: {value} s for {} s", simulated.truth[0].1);
    }
}

/// Nothing of the ramp is left: from the first poll on, all is as it stays.
fn without_ramp(simulated: &mut Simulated) {
    simulated.samples.retain(|it| it.at_s > 4.0);
}

#[test]
fn who_holds_is_not_lost_to_what_may_be_idle_whatever_is_asked_for() {
    // Always as many streams, each with its session.
    let stream = SimRoute { fixed_s: 3.0, ..holder("GET /stream", 400.0, ORDER) };
    let mut simulated = simulate(&[stream, route("GET /tools", 10.0, 0.003, 0.004)], USERS, SECONDS, 1);
    without_ramp(&mut simulated);
    for stamped in &mut simulated.samples {
        match &mut stamped.sample {
            Sample::Load(load) => _ = load.in_flight.insert("GET /stream".to_owned(), 120),
            Sample::Activity(activity) => activity.idle_in_transaction = 120,
            _ => {}
        }
    }
    let found = findings(&simulated);
    let held: Vec<&Finding> = found.iter().filter(|it| it.kind == FindingKind::HeldSession).collect();
    assert_eq!(held.iter().map(|it| it.route.as_deref()).collect::<Vec<_>>(), [Some("GET /stream")], "{found:#?}");
    assert!(held[0].confidence < 0.7, "nobody can be as sure of it as of one that varies: {found:#?}");
    // Where it varies, and be it by chance alone, it is distinguished from an intercept.
    for seed in 0..SEEDS {
        let mut simulated = simulate(&with(&[holder("POST /orders", 4.0, ORDER)]), USERS, SECONDS, seed);
        without_ramp(&mut simulated);
        let found = findings(&simulated);
        assert_eq!(found[0].route.as_deref(), Some("POST /orders"), "seed {seed}: {found:#?}");
    }
}

#[test]
fn a_session_as_old_as_the_run_is_a_leak() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    stay(&mut simulated, "SELECT 1", 0.0);
    let found = findings(&simulated);
    assert_eq!((found[0].kind, found[0].pattern), (FindingKind::LeakedSession, Some(HoldPattern::H7)), "{found:#?}");
    assert!(found.iter().all(|it| it.kind != FindingKind::HeldSession), "{found:#?}");
}

/// A transaction from `began_s` to `ended_s`, idle all the while.
fn transaction(statement: &str, began_s: f64, ended_s: f64) -> Stamped {
    let sample = Sample::Transaction(TransactionSample {
        pid: 1,
        began_s,
        error_s: 0.001,
        ended_s,
        idle_s: ended_s - began_s,
        aged_s: Some(ended_s - began_s),
        weight: 1.0,
        statement: statement.to_owned(),
        application_name: "app".to_owned(),
        aborted: false,
        still_open: false,
        present: BTreeMap::new(),
        spanning: None,
        process: None,
    });
    Stamped { variant: SCOPE, at_s: ended_s, sample }
}

#[test]
fn a_transaction_that_ends_somewhat_later_than_any_request_is_no_leak_and_one_that_stays_is() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    churn(&mut simulated, "SELECT town");
    let variant = &simulated.record.variants[&SCOPE];
    let slowest_ms = variant.routes.iter().filter_map(|it| it.latency_max_ms).fold(0.0, f64::max);
    let outlives_s = 1.5 * slowest_ms / 1e3 + 1.0;
    // One of many connections was given back with its transaction open, and for once nobody took it for a while.
    for stamped in &mut simulated.samples {
        if let Sample::Breakdown(breakdown) = &mut stamped.sample {
            let late = breakdown.groups.iter_mut().filter(|group| group.statement == "SELECT town");
            late.for_each(|group| group.oldest_s = outlives_s + 0.1);
        }
    }
    let short = |at: u32| transaction("SELECT town", f64::from(at) / 4.0, f64::from(at) / 4.0 + 0.5);
    simulated.samples.extend((4..100).map(short));
    simulated.samples.push(transaction("SELECT town", 3.0, 3.1 + outlives_s));
    let leaked = |simulated: &Simulated| findings(simulated).iter().any(|it| it.kind == FindingKind::LeakedSession);
    assert!(!leaked(&simulated), "it has ended");
    simulated.samples.push(transaction("SELECT town", SECONDS - outlives_s - 0.1, SECONDS));
    assert!(leaked(&simulated), "it has not");
}

#[test]
fn sessions_from_before_the_load_are_blamed_on_nobody() {
    for seed in 0..SEEDS {
        let mut simulated = simulate(&innocent(), USERS, SECONDS, seed);
        stay(&mut simulated, "SELECT 1", -3600.0);
        let found = findings(&simulated);
        assert_eq!(found[0].kind, FindingKind::Healthy, "seed {seed}: {found:#?}");
        let reported = found[0].evidence.iter().any(|it| it.text.contains("since before the load") && it.value > 3.9);
        assert!(reported, "{found:#?}");
        // Nor do they hide anyone who holds with the same statement.
        let mut simulated = simulate(&with(&[holder("POST /orders", 4.0, ORDER)]), USERS, SECONDS, seed);
        stay(&mut simulated, ORDER, -3600.0);
        let found = findings(&simulated);
        assert_eq!(found[0].route.as_deref(), Some("POST /orders"), "seed {seed}: {found:#?}");
        assert!(found.iter().all(|it| it.kind != FindingKind::LeakedSession), "seed {seed}: {found:#?}");
    }
}

#[test]
fn sessions_from_before_the_load_that_have_ended_excuse_no_others() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    churn(&mut simulated, "SELECT 2");
    stay(&mut simulated, "SELECT 1", -3600.0);
    for stamped in simulated.samples.iter_mut().filter(|it| it.at_s > 10.0) {
        match &mut stamped.sample {
            Sample::Activity(activity) => activity.idle_in_transaction -= 4,
            Sample::Breakdown(breakdown) => breakdown.groups.retain(|group| !group.earlier),
            _ => {}
        }
    }
    // Small enough a pool that four sessions of it want an explanation.
    let variant = simulated.record.variants.get_mut(&SCOPE).expect("the variant was simulated");
    variant.summary.pool_capacity = Some(20);
    let found = findings(&simulated);
    let unsure = found.iter().any(|it| it.kind == FindingKind::CannotTell);
    assert!(unsure, "four sessions are idle that nobody explains: {found:#?}");
}
