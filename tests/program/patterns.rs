//! Each hold pattern by itself, and pairs of them on different routes, among eight routes that hold nothing: the culprits
//! are named with their mistakes, and nobody else is.

use serde_json::Value;

use crate::program::{Place, json};

const MIX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/mix.toml");

const CALL: &str = "POST /rpc tools/call";
const PAGE: &str = "GET /admin/";
const STREAM: &str = "GET /servers/{id}/sse";

/// The findings on one variant of the mix.
fn findings(variant: &str, settings: &[&str]) -> Vec<Value> {
    measured(variant, settings).0
}

/// The findings on one variant of the mix, and the routes of its record.
fn measured(variant: &str, settings: &[&str]) -> (Vec<Value>, Vec<Value>) {
    let place = Place::new();
    let mut arguments = vec!["run", MIX, "--variant", variant, "--json"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    json(&place.output(&arguments));
    let folder = place.run_folder().display().to_string();
    let document = json(&place.output(&["diagnose", &folder, "--variant", variant, "--json"]));
    let record = std::fs::read(place.run_folder().join("record.json")).expect("a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    (list(&document["findings"]), list(&record["variants"][variant]["routes"]))
}

/// Asserts that this route alone holds, with this mistake, for as long as its slow work takes: not less, and not longer
/// than its requests, whatever else the machine has to do.
#[track_caller]
fn assert_held_for(variant: &str, settings: &[&str], (route, pattern): (&str, &str), work_s: f64) {
    let (findings, routes) = measured(variant, settings);
    assert_held(&findings, &[(route, pattern)]);
    let held = &findings[0]["held_s_per_request"];
    let [value, low, high] = ["value", "low", "high"].map(|key| held[key].as_f64().expect("seconds"));
    let of_it = routes.iter().find(|it| it["route"] == route).expect("it was asked for");
    let request_s = of_it["latency_p50_ms"].as_f64().expect("a median") / 1e3;
    assert!(value > 0.85 * work_s && value < 1.15 * request_s, "{held} for {work_s} s of {request_s} s");
    assert!(low < request_s && high > work_s, "{held} for {work_s} s of {request_s} s");
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
        assert_held(&findings(variant, &[]), &expected);
    }
}

#[test]
fn a_session_that_lives_as_long_as_the_request_is_held_by_every_slow_route() {
    assert_held(&findings("held", &[]), &[(CALL, "H1"), (PAGE, "H4"), (STREAM, "H5")]);
}

#[test]
fn a_plugin_a_page_and_a_stream_are_told_apart() {
    assert_held_for("across_hook", &["gateway.hook_delay=400ms"], (CALL, "H3"), 0.4);
    assert_held_for("across_render", &[], (PAGE, "H4"), 0.35);
    assert_held_for("until_sent", &[], (STREAM, "H5"), 1.0);
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
        assert_held(&findings(variant, &settings), &expected);
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
fn nobody_is_named_where_sessions_are_given_back() {
    for variant in ["scoped", "early_close", "endpoint_shared"] {
        let found = findings(variant, &[]);
        assert_held(&found, &[]);
        assert!(found.iter().all(|it| it["kind"] != "leaked_session"), "{variant}: {found:#?}");
    }
}
