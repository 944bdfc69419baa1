//! Each hold pattern by itself, and pairs of them on different routes, among eight routes that hold nothing: the culprits
//! are named with their mistakes, and nobody else is.

use serde_json::Value;

use crate::truth::Diagnosed;

const MIX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/mix.toml");

const CALL: &str = "POST /rpc tools/call";
const PAGE: &str = "GET /admin/";
const STREAM: &str = "GET /servers/{id}/sse";

/// The findings on one variant of the mix.
fn findings(variant: &str, settings: &[&str]) -> Vec<Value> {
    measured(variant, settings).findings
}

/// One variant of the mix, measured; and longer where nobody is named, since it cannot tell: it advises that itself.
fn measured(variant: &str, settings: &[&str]) -> Diagnosed {
    let run = Diagnosed::of(MIX, variant, settings);
    let has = |kind: &str| run.findings.iter().any(|it| it["kind"] == kind);
    if has("held_session") || has("leaked_session") || !has("cannot_tell") {
        return run;
    }
    Diagnosed::of(MIX, variant, &[settings, &["load.duration=25s"]].concat())
}

/// Asserts that these routes hold, with these mistakes, and no other, and for as long as the gateway itself says.
#[track_caller]
fn assert_held_as_true(variant: &str, settings: &[&str], expected: &[(&str, &str)]) {
    let run = measured(variant, settings);
    assert_held(&run.findings, expected);
    run.assert_holds_the_truth();
}

/// Asserts that these routes hold, with these mistakes, and no other.
#[track_caller]
fn assert_held(findings: &[Value], expected: &[(&str, &str)]) {
    let mut held: Vec<(&str, &str)> = findings
        .iter()
        .filter(|it| it["kind"] == "held_session")
        .map(|it| (it["route"].as_str().expect("a route"), it["pattern"].as_str().unwrap_or("none")))
        .collect();
    held.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(held, expected, "{findings:#?}");
    let first = findings.first().expect("there is always a finding");
    assert!(expected.is_empty() || first["kind"] == "held_session", "causes come first: {findings:#?}");
}

#[test]
fn a_slow_call_that_holds_is_named_with_its_mistake() {
    for (variant, pattern) in [
        ("across_backend", "H2"),
        ("begin_again", "H6"),
        ("double_checkout", "H10"),
        ("session_per_layer", "H12"),
        ("failed_kept", "H21"),
    ] {
        let mut expected = vec![(CALL, pattern)];
        if ["double_checkout", "session_per_layer"].contains(&variant) {
            // The check's session is the request's: every slow route holds it, a page with the read of its own last.
            expected.extend([(PAGE, "H4"), (STREAM, "H5")]);
        }
        assert_held_as_true(variant, &[], &expected);
    }
}

#[test]
fn a_request_long_session_is_held_by_every_slow_route() {
    assert_held_as_true("held", &[], &[(CALL, "H1"), (PAGE, "H4"), (STREAM, "H5")]);
}

#[test]
fn a_plugin_a_page_and_a_stream_are_distinguished() {
    assert_held_as_true("across_hook", &["gateway.hook_delay=400ms"], &[(CALL, "H3")]);
    assert_held_as_true("across_render", &[], &[(PAGE, "H4")]);
    assert_held_as_true("until_sent", &[], &[(STREAM, "H5")]);
}

#[test]
fn two_mistakes_on_two_routes_are_both_named() {
    for (variant, also, settings, expected) in [
        ("across_backend", "across_render", &[][..], [(CALL, "H2"), (PAGE, "H4")]),
        ("across_hook", "until_sent", &["gateway.hook_delay=400ms"][..], [(CALL, "H3"), (STREAM, "H5")]),
        ("failed_kept", "across_render", &[], [(CALL, "H21"), (PAGE, "H4")]),
    ] {
        let also = format!("gateway.also=[\"{also}\"]");
        let settings: Vec<&str> = settings.iter().copied().chain([also.as_str()]).collect();
        assert_held_as_true(variant, &settings, &expected);
    }
}

#[test]
fn a_session_that_outlives_its_request_is_left_behind() {
    let abandoned = findings("leaked_on_cancel", &["load.client_timeout=400ms"]);
    let leak = abandoned.iter().find(|it| it["kind"] == "leaked_session");
    assert_eq!(leak.map(|it| it["pattern"].as_str()), Some(Some("H8")), "{abandoned:#?}");
    let lost = findings("never_closed", &["gateway.pool.size=200", "gateway.pool.max_overflow=0", "load.duration=12s"]);
    let leak = lost.iter().find(|it| it["kind"] == "leaked_session");
    assert_eq!(leak.map(|it| it["pattern"].as_str()), Some(Some("H11")), "{lost:#?}");
}

#[test]
fn a_probe_that_never_commits_is_left_behind_and_named_by_its_statement() {
    let found = findings("never_committed", &[]);
    assert_held(&found, &[]);
    let leak = found.iter().find(|it| it["kind"] == "leaked_session").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((leak["pattern"].as_str(), leak["statement"].as_str()), (Some("H7"), Some("SELECT ?")), "{leak:#}");
}

#[test]
fn pool_waits_that_stop_event_loops_are_reported_with_their_cause() {
    // The pool fills while the users arrive: only before it is full do the routes in flight tell who takes its sessions.
    let settings = [
        "gateway.checkout=blocking",
        "gateway.pool.size=2",
        "gateway.pool.max_overflow=1",
        "gateway.pool.timeout=3s",
        "load.ramp_up=6s",
    ];
    let found = findings("across_backend", &settings);
    let of = |kind: &str| found.iter().find(|it| it["kind"] == kind);
    assert_eq!(of("event_loop_blocked").map(|it| &it["pattern"]), Some(&"H13".into()), "{found:#?}");
    assert!(of("pool_exhausted").is_some(), "{found:#?}");
    let held = of("held_session").unwrap_or_else(|| panic!("nobody is named: {found:#?}"));
    assert_eq!((held["route"].as_str(), held["pattern"].as_str()), (Some(CALL), Some("H2")), "{found:#?}");
    assert_eq!(found[0]["kind"], "held_session", "causes come first: {found:#?}");
}

#[test]
fn a_row_locked_by_an_idle_holder_has_its_queue_and_root_named() {
    // Each call updates the one row in the transaction that it holds.
    let found = findings("held", &["gateway.usage_counter.share=1", "gateway.usage_counter.rows=1"]);
    let convoy = found.iter().find(|it| it["kind"] == "lock_convoy").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(convoy["pattern"], "H14", "{convoy:#}");
    assert!(convoy["statement"].as_str().is_some_and(|it| it.starts_with("UPDATE")), "{convoy:#}");
    // The page and the stream hold sessions too, as all of this variant.
    let mut held = found.iter().filter(|it| it["kind"] == "held_session");
    assert!(held.all(|it| [CALL, PAGE, STREAM].iter().any(|route| it["route"] == *route)), "{found:#?}");
}

#[test]
fn nobody_is_named_where_sessions_are_given_back() {
    for variant in ["scoped", "early_close", "endpoint_shared"] {
        let found = Diagnosed::of(MIX, variant, &[]).findings;
        assert_held(&found, &[]);
        assert!(found.iter().all(|it| it["kind"] != "leaked_session"), "{variant}: {found:#?}");
    }
}

#[test]
#[ignore = "50 runs take a quarter of an hour"]
fn nobody_is_named_in_any_of_fifty_runs_that_give_sessions_back() {
    for run in 1..=50 {
        let found = Diagnosed::of(MIX, "scoped", &[]).findings;
        assert_held(&found, &[]);
        assert!(found.iter().all(|it| it["kind"] != "leaked_session"), "run {run}: {found:#?}");
        println!("run {run}: {}", found[0]["title"].as_str().expect("a title"));
    }
}
