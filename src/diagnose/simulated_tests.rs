//! Planted culprits among innocent routes: named first, with their pattern, and within the intervals.

use super::pattern::HoldPattern;
use super::simulated::{SCOPE, SimRoute, Simulated, route, simulate};
use super::what_if::{WhatIf, what_if};
use super::{Case, Finding, FindingKind, diagnose};
use crate::record::{
    BlockingRoot, BlockingSample, CountersSample, ErrorRecord, HealthSample, HoldGroup, OtherSessions, PgBouncerPool,
    PgBouncerSample, Sample, SeenBy, Stamped,
};
use crate::scenario::PgBouncer;
use crate::texts::PatternCounts;
use crate::units::Count;

pub(super) const SEEDS: u64 = 50;

/// Runs of each planted pattern in every test run.
pub(super) const QUICK: u64 = 4;
pub(super) const SECONDS: f64 = 30.0;
pub(super) const USERS: u32 = 150;

const CHECK: &str = "SELECT roles.id FROM user_roles JOIN roles ON roles.id = user_roles.role_id WHERE user_email = $1";
const TOOL: &str = "SELECT id, name, url, auth_type, auth_value FROM tools WHERE original_name = $1";
pub(super) const ORDER: &str = "SELECT id, total FROM orders WHERE id = $1";

/// Eight routes that hold nothing: quick ones, slow ones, one heavy in quick queries, one with a slow query.
pub(super) fn innocent() -> Vec<SimRoute> {
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

pub(super) fn holder(name: &'static str, weight: f64, statement: &'static str) -> SimRoute {
    SimRoute { sessions: 1, held: (0.02, 0.98), statement, ..route(name, weight, 0.5, 0.8) }
}

pub(super) fn with(culprits: &[SimRoute]) -> Vec<SimRoute> {
    innocent().into_iter().chain(culprits.iter().copied()).collect()
}

pub(super) fn findings(simulated: &Simulated) -> Vec<Finding> {
    let tally = PatternCounts::default();
    diagnose(Case::of(&simulated.record, SCOPE, &simulated.samples, &tally).expect("the variant was simulated"))
}

/// Planted routes, each with the pattern that is to be reported.
type Planted = Vec<(SimRoute, Option<HoldPattern>)>;

fn planted(name: &str) -> Planted {
    const CALL: &str = "POST /rpc tools/call";
    const PLUGIN: &str = "SELECT id, name, annotations, headers FROM tools WHERE original_name = $1";
    const LAZY: &str = "SELECT id, name FROM gateways WHERE id = (SELECT gateway_id FROM tools WHERE id = $1)";
    const LAYERS: &str =
        "SELECT id FROM user_roles | SELECT id FROM tools | SELECT id FROM teams | SELECT id FROM traces";
    const SERVER: &str = "SELECT id FROM servers WHERE id = $1";
    let one = |route: SimRoute, pattern: HoldPattern| vec![(route, Some(pattern))];
    let call = |statement| holder(CALL, 4.0, statement);
    let several = |sessions, statement| SimRoute { sessions, ..holder(CALL, 3.0, statement) };
    let page = holder("GET /admin/", 4.0, ORDER);
    let stream = SimRoute { fixed_s: 1.5, ..holder("GET /servers/{id}/sse", 3.0, SERVER) };
    match name {
        "H1" => one(call(CHECK), HoldPattern::H1),
        "H2" => one(call(TOOL), HoldPattern::H2),
        "H3" => one(call(PLUGIN), HoldPattern::H3),
        "H4" => one(page, HoldPattern::H4),
        "H5" => one(stream, HoldPattern::H5),
        "H6" => one(call(LAZY), HoldPattern::H6),
        "H10" => one(several(2, CHECK), HoldPattern::H10),
        "H12" => one(several(4, LAYERS), HoldPattern::H12),
        "H21" => one(SimRoute { aborted: true, ..holder("POST /orders", 4.0, ORDER) }, HoldPattern::H21),
        "H1 and H4" => vec![(holder(CALL, 5.0, CHECK), Some(HoldPattern::H1)), (page, Some(HoldPattern::H4))],
        "H5 and none" => vec![(stream, Some(HoldPattern::H5)), (holder("POST /orders", 4.0, ORDER), None)],
        other => panic!("nothing is planted as {other}"),
    }
}

const PLANTED: [&str; 11] = ["H1", "H2", "H3", "H4", "H5", "H6", "H10", "H12", "H21", "H1 and H4", "H5 and none"];

/// Reported seconds of one planted route.
struct ReportedSeconds {
    covered: bool,
    off: f64,
}

/// Checks that the culprits and nobody else are named, with their patterns and within 15 % of their seconds.
fn check(planted: &Planted, seed: u64) -> Vec<ReportedSeconds> {
    let culprits: Vec<SimRoute> = planted.iter().map(|(route, _)| *route).collect();
    let simulated = simulate(&with(&culprits), USERS, SECONDS, seed);
    let found = findings(&simulated);
    let held: Vec<&Finding> = found.iter().filter(|it| it.kind == FindingKind::HeldSession).collect();
    let mut names: Vec<_> = held.iter().filter_map(|it| it.route.as_deref()).collect();
    let mut expected: Vec<_> = culprits.iter().map(|it| it.name).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected, "seed {seed}: {found:#?}");
    assert_eq!(found[0].kind, FindingKind::HeldSession, "seed {seed}: causes come first");
    let reported = |(culprit, pattern): &(SimRoute, Option<HoldPattern>)| {
        let finding = held.iter().find(|it| it.route.as_deref() == Some(culprit.name)).expect("named above");
        assert_eq!(finding.pattern, *pattern, "seed {seed}: {finding:#?}");
        let truth = simulated.truth.iter().find(|(name, _)| *name == culprit.name).expect("it holds").1;
        let held = finding.held_s_per_request.expect("its requests finish");
        let off = held.value / truth - 1.0;
        assert!(off.abs() < 0.15, "seed {seed}: {held:?} for {truth}");
        ReportedSeconds { covered: (held.low..=held.high).contains(&truth), off }
    };
    planted.iter().map(reported).collect()
}

fn reported(name: &str, seeds: u64) -> Vec<ReportedSeconds> {
    let planted = planted(name);
    (0..seeds).flat_map(|seed| check(&planted, seed)).collect()
}

/// Checks that in nine of ten runs or more the intervals cover the truth.
fn assert_cover(name: &str, reported: &[ReportedSeconds]) {
    let covered = reported.iter().filter(|it| it.covered).count();
    let worst = reported.iter().map(|it| it.off.abs()).fold(0.0, f64::max);
    let all = reported.len();
    println!("{name}: {covered} of {all} intervals cover the truth; at worst {:.1} % off", worst * 100.0);
    assert!(covered as f64 >= 0.9 * all as f64, "{name}: {covered} of {all} intervals cover the truth");
}

#[test]
fn a_route_that_holds_across_its_call_is_named_with_its_seconds() {
    assert_cover("H2", &reported("H2", SEEDS));
}

#[test]
fn every_planted_pattern_is_named_with_its_seconds() {
    let reported: Vec<ReportedSeconds> = PLANTED.iter().flat_map(|name| reported(name, QUICK)).collect();
    assert_cover("all patterns", &reported);
}

/// The whole of it: `make bench`.
#[test]
#[ignore = "550 runs take minutes"]
fn intervals_of_every_pattern_cover_the_truth_in_45_of_fifty_runs() {
    std::thread::scope(|scope| {
        for name in PLANTED {
            scope.spawn(move || assert_cover(name, &reported(name, SEEDS)));
        }
    });
}

#[test]
fn more_sessions_than_any_request_holds_are_left_behind() {
    let leaky = SimRoute { sessions: 6, ..holder("POST /orders", 3.0, ORDER) };
    for seed in 0..3 {
        let found = findings(&simulate(&with(&[leaky]), USERS, SECONDS, seed));
        assert_eq!(
            (found[0].kind, found[0].pattern),
            (FindingKind::LeakedSession, Some(HoldPattern::H11)),
            "{found:#?}"
        );
        assert!(found.iter().all(|it| it.kind != FindingKind::HeldSession), "{found:#?}");
    }
}

#[test]
fn too_many_sessions_are_a_leak_only_if_one_outlived_its_request() {
    let burst = SimRoute { sessions: 30, ..holder("GET /ready", 0.05, ORDER) };
    for seed in 0..3 {
        let mut simulated = simulate(&with(&[burst]), USERS, SECONDS, seed);
        let mut leaks = |oldest_s: f64| {
            let variant = simulated.record.variants.get_mut(&SCOPE).expect("it was simulated");
            variant.summary.transaction_age_max_s = Some(oldest_s);
            findings(&simulated).iter().any(|it| it.kind == FindingKind::LeakedSession)
        };
        assert!(!leaks(0.1), "seed {seed}: every transaction was as short as a request");
        assert!(leaks(60.0), "seed {seed}: one was not");
    }
}

#[test]
fn where_nobody_holds_nobody_is_named() {
    for seed in 0..SEEDS {
        let found = findings(&simulate(&innocent(), USERS, SECONDS, seed));
        assert!(
            found.iter().all(|it| it.kind != FindingKind::HeldSession && it.kind != FindingKind::LeakedSession),
            "seed {seed}: {found:#?}"
        );
        assert_eq!(found[0].kind, FindingKind::Healthy, "seed {seed}: {found:#?}");
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
fn routes_that_are_always_in_flight_together_are_not_distinguished() {
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
    assert_eq!(findings(&simulated).last().map(|it| it.kind), Some(FindingKind::CannotTell));
}

/// From `from_s` on nothing moves: requests stay in flight, and sessions idle, until the clients give up after 30 s.
fn stop(simulated: &mut Simulated, from_s: f64) {
    let (mut load, mut activity, mut groups) = (None, None, Vec::new());
    for stamped in &mut simulated.samples {
        let moves = stamped.at_s < from_s;
        match &mut stamped.sample {
            Sample::Load(it) if moves => load = Some(it.clone()),
            Sample::Load(it) => it.clone_from(load.as_ref().expect("there was load before")),
            Sample::Activity(it) if moves => activity = Some(*it),
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
    assert!(found.iter().all(|it| it.kind != FindingKind::LeakedSession), "{found:#?}");
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
    let convoy = found.iter().find(|it| it.kind == FindingKind::LockConvoy).expect("sessions wait");
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
    assert!(findings(&simulate(&quiet, USERS, SECONDS, 1)).iter().all(|it| it.kind != FindingKind::EventLoopBlocked));
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
    let blocked =
        found.iter().find(|it| it.kind == FindingKind::EventLoopBlocked).unwrap_or_else(|| panic!("{found:#?}"));
    let still = blocked.evidence[0].value;
    assert!((still - 0.6).abs() < 0.1, "{blocked:#?}");
}

#[test]
fn a_prepared_transaction_that_nobody_ended_is_named_with_its_age() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    let counters = |at_s: f64| CountersSample {
        prepared_transactions: Some(2),
        prepared_oldest_s: Some(at_s + 3.0),
        ..CountersSample::default()
    };
    let of = |second: u32| Stamped {
        variant: SCOPE,
        at_s: second.into(),
        sample: Sample::Counters(counters(second.into())),
    };
    // A transaction between the two phases of its commit is no trouble.
    simulated.samples.extend((0..6).map(of));
    assert_eq!(findings(&simulated)[0].kind, FindingKind::Healthy);
    simulated.samples.extend((6..30).map(of));
    let found = findings(&simulated);
    assert_eq!(found[0].kind, FindingKind::PreparedTransaction, "{found:#?}");
    assert!(found[0].title.contains("up to 32.0 s old"), "{found:#?}");
}

#[test]
fn what_other_sessions_hold_is_reported_and_blamed_on_nobody() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    let others = OtherSessions { same_database: 5, idle_in_transaction: 4, ..OtherSessions::default() };
    let sample = Sample::Counters(CountersSample { others, ..CountersSample::default() });
    simulated.samples.push(Stamped { variant: SCOPE, at_s: SECONDS, sample });
    let found = findings(&simulated);
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::Healthy), "{found:#?}");
    assert!(found[0].evidence.iter().any(|it| it.figure.contains("others") && it.value >= 4.0), "{found:#?}");
}

#[test]
fn waiting_pgbouncer_clients_show_that_its_pool_is_full() {
    let mut simulated = simulate(&with(&[holder("POST /rpc tools/call", 4.0, TOOL)]), USERS, SECONDS, 1);
    let gateway = simulated.record.scenario.gateway_mut().expect("the fixture is of the gateway");
    gateway.pgbouncer = Some(PgBouncer { default_pool_size: Count::of(40), ..PgBouncer::default() });
    for second in 20..30 {
        let pool = PgBouncerPool { cl_waiting: Some(7), ..PgBouncerPool::default() };
        let sample = Sample::PgBouncer(PgBouncerSample { pools: Some(vec![pool]), ..PgBouncerSample::default() });
        simulated.samples.push(Stamped { variant: SCOPE, at_s: second.into(), sample });
    }
    simulated.samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let tally = PatternCounts::default();
    let case = Case::of(&simulated.record, SCOPE, &simulated.samples, &tally).expect("the variant was simulated");
    let found = diagnose(case);
    let held = found.iter().find(|it| it.kind == FindingKind::HeldSession).expect("it holds");
    let basis = held.evidence.iter().find(|it| it.text.contains("before a pool was full"));
    assert!(basis.is_some_and(|it| it.value < 210.0), "{held:#?}");
    let forecast = what_if(&case, &found, WhatIf::default()).expect("there were polls before it was full");
    assert_eq!(forecast.capacity, 40);
}

#[test]
fn of_a_database_that_was_lost_early_nothing_is_stated() {
    let mut simulated = simulate(&innocent(), USERS, SECONDS, 1);
    simulated.samples.retain(|it| it.at_s < 8.0 || matches!(it.sample, Sample::Load(_)));
    let found = findings(&simulated);
    assert!(found.iter().any(|it| it.kind == FindingKind::CannotTell), "{found:#?}");
    assert!(found.iter().all(|it| it.kind != FindingKind::Healthy), "{found:#?}");
}
