//! Planted culprits among innocent routes: named first, with their pattern, and within the intervals.

use super::pattern::HoldPattern;
use super::simulated::{SCOPE, SimRoute, Simulated, route, simulate};
use super::{Case, Finding, Kind, diagnose};
use crate::record::{BlockingRoot, BlockingSample, ErrorRecord, HealthSample, HoldGroup, Sample, SeenBy, Stamped};
use crate::texts::Tally;

const SEEDS: u64 = 50;
const SECONDS: f64 = 30.0;
const USERS: u32 = 150;

const CHECK: &str = "SELECT roles.id FROM user_roles JOIN roles ON roles.id = user_roles.role_id WHERE user_email = $1";
const TOOL: &str = "SELECT id, name, url, auth_type, auth_value FROM tools WHERE original_name = $1";
const ORDER: &str = "SELECT id, total FROM orders WHERE id = $1";

/// Eight routes that hold nothing: quick ones, slow ones, one heavy in quick queries, one with a slow query.
fn innocent() -> Vec<SimRoute> {
    let quick = SimRoute { sessions: 0, ..route("GET /tools", 10.0, 0.003, 0.004) };
    let chatty = SimRoute { active: 0.5, ..route("GET /report", 3.0, 0.1, 0.1) };
    let slow_query = SimRoute { active: 0.95, ..route("GET /search", 2.0, 0.4, 0.3) };
    vec![
        quick,
        chatty,
        slow_query,
        route("GET /servers", 8.0, 0.004, 0.004),
        route("GET /health", 6.0, 0.001, 0.001),
        route("POST /upload", 2.0, 1.0, 1.0),
        route("GET /proxy", 3.0, 0.3, 0.5),
        route("GET /gateways", 5.0, 0.02, 0.02),
    ]
}

fn holder(name: &'static str, weight: f64, statement: &'static str) -> SimRoute {
    SimRoute { sessions: 1, held: (0.02, 0.98), statement, ..route(name, weight, 0.5, 0.8) }
}

fn with(culprits: &[SimRoute]) -> Vec<SimRoute> {
    innocent().into_iter().chain(culprits.iter().copied()).collect()
}

fn findings(simulated: &Simulated) -> Vec<Finding> {
    let tally = Tally::default();
    diagnose(Case::of(&simulated.record, SCOPE, &simulated.samples, &tally).expect("the variant was simulated"))
}

/// Checks that the culprits and nobody else are named, with their seconds; gives (intervals that cover, intervals).
fn check(culprits: &[SimRoute], patterns: &[Option<HoldPattern>], seeds: u64) -> (u32, u32) {
    let (mut covered, mut all) = (0, 0);
    for seed in 0..seeds {
        let simulated = simulate(&with(culprits), USERS, SECONDS, seed);
        let found = findings(&simulated);
        let held: Vec<&Finding> = found.iter().filter(|it| it.kind == Kind::HeldSession).collect();
        let names: Vec<_> = held.iter().filter_map(|it| it.route.as_deref()).collect();
        let mut expected: Vec<_> = culprits.iter().map(|it| it.name).collect();
        expected.sort_unstable();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "seed {seed}: {found:#?}");
        assert_eq!(found[0].kind, Kind::HeldSession, "seed {seed}: causes come first");
        for (culprit, pattern) in culprits.iter().zip(patterns) {
            let finding = held.iter().find(|it| it.route.as_deref() == Some(culprit.name)).expect("named above");
            assert_eq!(finding.pattern, *pattern, "seed {seed}: {finding:#?}");
            let truth = simulated.truth.iter().find(|(name, _)| *name == culprit.name).expect("it holds").1;
            let held = finding.held_s_per_request.expect("its requests finish");
            assert!((held.value / truth - 1.0).abs() < 0.15, "seed {seed}: {held:?} for {truth}");
            all += 1;
            covered += u32::from((held.low..=held.high).contains(&truth));
        }
    }
    (covered, all)
}

fn assert_covers((covered, all): (u32, u32)) {
    assert!(f64::from(covered) >= 0.9 * f64::from(all), "{covered} of {all} intervals cover the truth");
}

#[test]
fn a_route_that_holds_across_its_call_is_named_with_its_seconds() {
    assert_covers(check(&[holder("POST /rpc tools/call", 4.0, TOOL)], &[Some(HoldPattern::H2)], SEEDS));
}

#[test]
fn a_route_that_holds_from_its_permission_check_on_is_named() {
    assert_covers(check(&[holder("POST /rpc tools/call", 4.0, CHECK)], &[Some(HoldPattern::H1)], 15));
}

#[test]
fn two_sessions_for_each_request_are_two() {
    let twice = SimRoute { sessions: 2, ..holder("POST /rpc tools/call", 3.0, CHECK) };
    assert_covers(check(&[twice], &[Some(HoldPattern::H10)], 10));
}

#[test]
fn more_sessions_than_any_request_holds_are_left_behind() {
    let leaky = SimRoute { sessions: 6, ..holder("POST /orders", 3.0, ORDER) };
    for seed in 0..3 {
        let found = findings(&simulate(&with(&[leaky]), USERS, SECONDS, seed));
        assert_eq!((found[0].kind, found[0].pattern), (Kind::LeakedSession, Some(HoldPattern::H11)), "{found:#?}");
        assert!(found.iter().all(|it| it.kind != Kind::HeldSession), "{found:#?}");
    }
}

#[test]
fn sessions_in_a_failed_transaction_are_told() {
    let failed = SimRoute { aborted: true, ..holder("POST /orders", 4.0, ORDER) };
    assert_covers(check(&[failed], &[Some(HoldPattern::H21)], 10));
}

#[test]
fn two_routes_with_different_patterns_are_both_named() {
    let call = holder("POST /rpc tools/call", 5.0, CHECK);
    let page = SimRoute { ..holder("GET /admin/", 4.0, ORDER) };
    assert_covers(check(&[call, page], &[Some(HoldPattern::H1), Some(HoldPattern::H4)], 25));
}

#[test]
fn a_stream_and_a_route_of_no_known_pattern_are_both_named() {
    let stream =
        SimRoute { fixed_s: 1.5, ..holder("GET /servers/{id}/sse", 3.0, "SELECT id FROM servers WHERE id = $1") };
    let order = holder("POST /orders", 4.0, ORDER);
    assert_covers(check(&[stream, order], &[Some(HoldPattern::H5), None], 10));
}

#[test]
fn where_nobody_holds_nobody_is_named() {
    for seed in 0..SEEDS {
        let found = findings(&simulate(&innocent(), USERS, SECONDS, seed));
        assert!(
            found.iter().all(|it| it.kind != Kind::HeldSession && it.kind != Kind::LeakedSession),
            "seed {seed}: {found:#?}"
        );
        assert_eq!(found[0].kind, Kind::Healthy, "seed {seed}: {found:#?}");
    }
}

#[test]
fn short_sessions_around_each_check_name_nobody() {
    // What `scoped` looks like: every request has a session for two milliseconds.
    let scoped: Vec<SimRoute> = innocent()
        .into_iter()
        .map(|it| SimRoute {
            sessions: 1,
            held: (0.0, (0.002 / (it.fixed_s + it.random_s)).min(1.0)),
            statement: CHECK,
            ..it
        })
        .collect();
    for seed in 0..SEEDS {
        let found = findings(&simulate(&scoped, USERS, SECONDS, seed));
        assert!(found.iter().all(|it| !it.is_trouble()), "seed {seed}: {found:#?}");
    }
}

#[test]
fn routes_that_are_always_in_flight_together_are_not_told_apart() {
    let simulated = simulate(&with(&[holder("POST /a", 4.0, ORDER)]), USERS, SECONDS, 1);
    let mut samples = simulated.samples;
    for stamped in &mut samples {
        if let Sample::Load(load) = &mut stamped.sample
            && let Some(count) = load.in_flight.get("POST /a").copied()
        {
            load.in_flight.insert("POST /b".to_owned(), count);
        }
    }
    let found = findings(&Simulated { samples, ..simulated });
    let both = found.iter().any(|it| {
        it.evidence.iter().any(|it| it.text.contains("POST /a") || it.text.contains("POST /b"))
            || (it.title.contains("POST /a") && it.title.contains("POST /b"))
    });
    assert!(both && found[0].confidence < 0.9, "{found:#?}");
}

#[test]
fn a_route_that_the_application_names_in_a_comment_is_taken_from_there() {
    let culprit = holder("POST /orders", 4.0, "/*route='%2Forders'*/ SELECT id FROM orders WHERE id = $1");
    let simulated = simulate(&with(&[culprit]), USERS, SECONDS, 3);
    let found = findings(&simulated);
    assert_eq!(found[0].route.as_deref(), Some("POST /orders"), "{found:#?}");
    assert!(found[0].confidence > 0.95 && found[0].share == Some(1.0), "{found:#?}");
    assert!(found[0].evidence.iter().any(|it| it.text.ends_with("it agrees")), "{found:#?}");
}

#[test]
fn ten_polls_are_too_few() {
    let mut simulated = simulate(&with(&[holder("POST /a", 4.0, ORDER)]), USERS, SECONDS, 1);
    simulated.samples.retain(|it| it.at_s < 0.5);
    assert_eq!(findings(&simulated).last().map(|it| it.kind), Some(Kind::CannotTell));
}

#[test]
fn a_session_as_old_as_the_run_is_a_leak() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    for stamped in &mut simulated.samples {
        match &mut stamped.sample {
            Sample::Activity(activity) => activity.idle_in_transaction += 4,
            Sample::Breakdown(breakdown) => breakdown.groups.push(HoldGroup {
                statement: "SELECT 1".to_owned(),
                application_name: "app".to_owned(),
                sessions: 4,
                oldest_s: stamped.at_s,
                idle_s: None,
            }),
            _ => {}
        }
    }
    let found = findings(&simulated);
    assert_eq!((found[0].kind, found[0].pattern), (Kind::LeakedSession, Some(HoldPattern::H7)), "{found:#?}");
    assert!(found.iter().all(|it| it.kind != Kind::HeldSession), "{found:#?}");
}

/// From `from_s` on nothing moves: requests stay in flight, and sessions idle, until the clients give up after 30 s.
fn stop(simulated: &mut Simulated, from_s: f64) {
    let (mut load, mut activity, mut groups) = (None, None, Vec::new());
    for stamped in &mut simulated.samples {
        let moves = stamped.at_s < from_s;
        match &mut stamped.sample {
            Sample::Load(it) if moves => load = Some(it.clone()),
            Sample::Load(it) => it.clone_from(load.as_ref().expect("there was load before")),
            Sample::Activity(it) if moves => activity = Some(it.clone()),
            Sample::Activity(it) => it.clone_from(activity.as_ref().expect("there were polls before")),
            Sample::Breakdown(it) if moves => groups.clone_from(&it.groups),
            Sample::Breakdown(it) => {
                let older = |group: &HoldGroup| HoldGroup { oldest_s: stamped.at_s - from_s, ..group.clone() };
                it.groups = groups.iter().map(older).collect();
            }
            _ => {}
        }
    }
    let variant = simulated.record.variants.get_mut(&SCOPE).expect("the variant was simulated");
    let text = "no answer within 30s (client timeout)".to_owned();
    variant.errors.push(ErrorRecord { seen_by: SeenBy::Client, text, count: 60 });
    variant.routes.iter_mut().for_each(|route| route.latency_max_ms = Some(30_000.0));
}

#[test]
fn sessions_that_a_service_keeps_while_it_stands_still_are_no_leak() {
    let mut simulated = simulate(&with(&[holder("POST /rpc tools/call", 4.0, TOOL)]), USERS, 70.0, 1);
    stop(&mut simulated, 12.0);
    let found = findings(&simulated);
    assert_eq!(found[0].route.as_deref(), Some("POST /rpc tools/call"), "{found:#?}");
    assert!(found.iter().all(|it| it.kind != Kind::LeakedSession), "{found:#?}");
}

#[test]
fn a_queue_for_a_lock_is_the_fault_of_the_idle_session_at_its_root() {
    const UPDATE: &str = "UPDATE counters SET n = n + 1 WHERE id = 7";
    let mut simulated = simulate(&with(&[holder("POST /orders", 4.0, UPDATE)]), USERS, SECONDS, 1);
    let mut blocking = Vec::new();
    for stamped in &mut simulated.samples {
        if let Sample::Activity(activity) = &mut stamped.sample {
            activity.active += 6;
            activity.waiting_for_lock = 6;
            let root = |state: &str, statement: &str, blocked| BlockingRoot {
                pid: 1,
                state: Some(state.to_owned()),
                statement: Some(statement.to_owned()),
                application_name: Some("app".to_owned()),
                age_s: Some(0.9),
                blocked,
            };
            let roots = vec![root("idle in transaction", UPDATE, 5), root("active", "VACUUM orders", 1)];
            let sample = Sample::Blocking(BlockingSample { roots, waiting: 6 });
            blocking.push(Stamped { sample, ..*stamped });
        }
    }
    simulated.samples.extend(blocking);
    simulated.samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let found = findings(&simulated);
    let convoy = found.iter().find(|it| it.kind == Kind::LockConvoy).expect("sessions wait");
    assert_eq!(convoy.pattern, Some(HoldPattern::H14), "{convoy:#?}");
    assert_eq!(convoy.route.as_deref(), Some("POST /orders"), "{convoy:#?}");
    assert_eq!(convoy.statement.as_deref(), Some("UPDATE counters SET n = n + ? WHERE id = ?"), "{convoy:#?}");
    let share = convoy.evidence.iter().find(|it| it.text.starts_with("share of all waiting")).expect("the share");
    assert!((share.value - 5.0 / 6.0).abs() < 0.01, "{convoy:#?}");
}

#[test]
fn a_service_of_which_no_gauge_tells_stands_still_when_nothing_finishes() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    let quiet: Vec<_> = innocent().into_iter().filter(|it| it.active < 0.1).collect();
    assert!(findings(&simulate(&quiet, USERS, SECONDS, 1)).iter().all(|it| it.kind != Kind::EventLoopBlocked));
    let mut probes = Vec::new();
    for stamped in &mut simulated.samples {
        match &mut stamped.sample {
            // Of each ten seconds it stands still in the first six.
            Sample::Load(load) if stamped.at_s % 10.0 < 6.0 => load.finished = 0,
            Sample::Load(load) => {
                let error = (load.finished % 2 == 0).then(|| "no answer within 2s".to_owned());
                let sample = Sample::Health(HealthSample { replica: 1, up: true, error });
                probes.push(Stamped { sample, ..*stamped });
            }
            Sample::Activity(activity) => activity.active = 0,
            _ => {}
        }
    }
    simulated.samples.extend(probes);
    simulated.samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let found = findings(&simulated);
    let blocked = found.iter().find(|it| it.kind == Kind::EventLoopBlocked).unwrap_or_else(|| panic!("{found:#?}"));
    let still = blocked.evidence[0].value;
    assert!((still - 0.6).abs() < 0.1, "{blocked:#?}");
}

#[test]
fn of_a_database_that_was_lost_early_nothing_is_said() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    simulated.samples.retain(|it| it.at_s < 8.0 || matches!(it.sample, Sample::Load(_)));
    let found = findings(&simulated);
    assert!(found.iter().any(|it| it.kind == Kind::CannotTell), "{found:#?}");
    assert!(found.iter().all(|it| it.kind != Kind::Healthy), "{found:#?}");
}
