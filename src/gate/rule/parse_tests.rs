use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> RuleError {
    text.parse::<Rule>().expect_err(text)
}

#[test]
fn the_rules_of_the_manual_are_read() {
    use Aggregate::{Max, Mean, P95, P99};
    let cases = [
        ("idle_in_transaction.max<60", Metric::IdleInTransaction, Some(Max), Op::Less, 60.0),
        ("transaction_age.max<5s", Metric::TransactionAge, Some(Max), Op::Less, 5.0),
        ("pool_timeouts==0", Metric::PoolTimeouts, None, Op::Equal, 0.0),
        ("pool_wait.p99<50ms", Metric::PoolWait, Some(P99), Op::Less, 50.0),
        ("failure_rate<=1%", Metric::FailureRate, None, Op::AtMost, 0.01),
        ("failure_rate <= 0.01", Metric::FailureRate, None, Op::AtMost, 0.01),
        ("latency.p95<800ms for tools/call", Metric::Latency, Some(P95), Op::Less, 800.0),
        (" throughput >= 500rps ", Metric::Throughput, None, Op::AtLeast, 500.0),
        ("idle_in_transaction.mean<1.5", Metric::IdleInTransaction, Some(Mean), Op::Less, 1.5),
        ("transaction_age<500ms", Metric::TransactionAge, Some(Max), Op::Less, 0.5),
        ("hold.seconds < 50ms for GET /a", Metric::Hold, Some(Aggregate::Seconds), Op::Less, 0.05),
        ("hold.seconds for GET /a<50ms", Metric::Hold, Some(Aggregate::Seconds), Op::Less, 0.05),
        ("hold.seconds for GET /a?b=<c><=1s", Metric::Hold, Some(Aggregate::Seconds), Op::AtMost, 1.0),
        ("hold.seconds for GET /a?b=<c> <= 1s", Metric::Hold, Some(Aggregate::Seconds), Op::AtMost, 1.0),
        ("replicas_healthy>=3", Metric::ReplicasHealthy, Some(Aggregate::Min), Op::AtLeast, 3.0),
    ];
    for (text, metric, aggregate, op, limit) in cases {
        let rule = rule(text);
        assert_eq!((rule.metric, rule.aggregate, rule.op), (metric, aggregate, op), "{text}");
        assert_eq!(rule.limit, Limit::Absolute(limit), "{text}");
    }
    assert_eq!(rule("hold.seconds for GET /a?b=<c> <= 1s").route.as_deref(), Some("GET /a?b=<c>"));
    let relative = rule("idle_in_transaction.mean<=+10% vs baseline");
    assert_eq!(relative.limit, Limit::Relative { change: 0.10 });
    let both = rule("latency.p95 <= +20% for POST /rpc tools/call vs baseline");
    assert_eq!((both.route.as_deref(), both.is_relative()), (Some("POST /rpc tools/call"), true));
}

#[test]
fn what_is_wrong_is_reported_with_its_place_and_what_is_allowed() {
    let cases = [
        ("idle_in_transactoin.max<60", 1, "unknown metric", Some("idle_in_transaction")),
        ("", 1, "missing metric", None),
        ("idle_in_transaction.maxx<60", 20, "has no `.maxx`: expected one of `max`, `mean`", Some("max")),
        ("idle_in_transaction.<60", 20, "has no `.`", None),
        ("latency<60ms", 8, "needs one of `p50`, `p95`, `p99`, `max`", None),
        ("pool_timeouts.max<1", 14, "is one figure", None),
        ("pool_timeouts=0", 14, "invalid comparison `=`", Some("==")),
        ("pool_timeouts", 14, "missing comparison", None),
        ("latency.p95<800", 13, "invalid value `800`: expected a duration with its unit", None),
        ("failure_rate<1", 14, "in per cent", None),
        ("failure_rate<101%", 14, "in per cent", None),
        ("pool_timeouts==-1", 16, "invalid value `-1`: expected a number", None),
        ("pool_timeouts==NaN", 16, "invalid value `NaN`: expected a number", None),
        ("pool_timeouts==", 16, "missing value: expected a number", None),
        ("pool_timeouts==0 for tools/call", 18, "is not measured by route", None),
        ("pool_timeouts for tools/call == 0", 15, "is not measured by route", None),
        ("hold.seconds<50ms", 18, "is measured of one route", None),
        ("hold<50ms for GET /a", 5, "needs one of `seconds`", None),
        ("latency.p95<1s on tools/call", 16, "`on tools/call` after the value", None),
        ("latency.p95<+10%", 13, "needs a baseline", None),
        ("latency.p95<10% vs baseline", 13, "a change in per cent", None),
        ("latency.p95<+1s vs baseline", 13, "a change in per cent", None),
        ("latency.p95<+10% vs basline", 18, "after the value", Some("vs baseline")),
    ];
    for (text, column, text_seen, meant) in cases {
        let error = refused(text);
        assert!(error.to_string().contains(text_seen), "{text}: {error}");
        assert_eq!((error.column, error.meant.as_deref()), (column, meant), "{error}");
    }
}

fn routes() -> Vec<String> {
    ["GET /tools", "POST /rpc tools/call", "POST /rpc tools/list", "GET /tools/call"].map(str::to_owned).to_vec()
}

#[test]
fn a_route_is_named_whole_or_by_its_end() {
    let resolved = |text: &str| rule(text).with_routes(&routes()).map(|rule| rule.route);
    assert_eq!(resolved("latency.p95<1s for tools/list"), Ok(Some("POST /rpc tools/list".to_owned())));
    assert_eq!(resolved("latency.p95<1s for GET /tools"), Ok(Some("GET /tools".to_owned())));
    assert_eq!(resolved("latency.p95<1s"), Ok(None));
    let error = resolved("latency.p95<1s for tools/cal").unwrap_err();
    assert_eq!((error.column, error.meant.as_deref()), (20, Some("tools/call")), "{error}");
    assert!(error.to_string().contains("unknown route"), "{error}");
    assert!(resolved("latency.p95<1s for ools").is_err(), "an end begins with a word");
    assert!("latency.p95<1s for ".parse::<Rule>().is_err());
}

#[test]
fn a_short_name_of_two_routes_is_refused_with_both() {
    let routes = ["GET /a x", "POST /b x"].map(str::to_owned);
    let error = rule("latency.p95<1s for x").with_routes(&routes).unwrap_err().to_string();
    assert!(error.contains("may be any of `GET /a x`, `POST /b x`"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_a_fault_lies_in_the_text(text in "\\PC{0,40}") {
        if let Err(error) = text.parse::<Rule>() {
            prop_assert!(error.column <= text.trim().chars().count() + 1);
        }
    }

    #[test]
    fn near_rules_never_panic(text in "(latency|failure_rate|idle_in_transaction)[.a-z0-9]{0,5}[<>=!]{0,2}[+\\-0-9.%msé]{0,6}( for [a-zé/ ]{0,6})?( vs baseline)?") {
        if let Ok(rule) = text.parse::<Rule>() {
            let text = rule.text.clone();
            prop_assert_eq!(text.parse::<Rule>(), Ok(rule));
        }
    }
}
