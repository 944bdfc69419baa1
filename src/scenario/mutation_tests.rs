//! The parser against files that nobody meant: it ends soon, does not panic, and points into the text.
//!
//! `fuzz/` has the same promise as a target for cargo-fuzz.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::builtin::BUILTINS;
use super::error::{ScenarioError, Site};
use super::overrides::Override;
use super::service::tests::SHOP;
use super::source::problems;
use super::{Experiment, check::ProblemSeverity};

/// One thing that happens to a text.
#[derive(Clone, Debug)]
enum Mutation {
    FlipBit {
        at: usize,
        bit: u8,
    },
    Remove {
        at: usize,
        length: usize,
    },
    Insert {
        at: usize,
        what: String,
    },
    SwapLines {
        one: usize,
        other: usize,
    },
    RepeatLine {
        line: usize,
        times: usize,
    },
    /// A value is replaced by another one.
    Value {
        line: usize,
        what: String,
    },
}

/// Odd inputs: numbers beyond all sizes, tables in tables, letters of every kind.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("99999999999999999999999999".to_owned()),
        Just("-9223372036854775808".to_owned()),
        Just("1e999".to_owned()),
        Just("nan".to_owned()),
        Just("1979-05-27T07:32:00Z".to_owned()),
        Just("\"9e9h\"".to_owned()),
        Just("\"TODO: x\"".to_owned()),
        Just("\"http://[::1\"".to_owned()),
        Just("\u{feff}\u{202e}é\u{0}".to_owned()),
        (1..300_usize).prop_map(|depth| "[".repeat(depth)),
        (1..100_usize).prop_map(|depth| format!("{}1{}", "{a=".repeat(depth), "}".repeat(depth))),
        (1..100_usize).prop_map(|depth| format!("[{}]", vec!["a"; depth].join("."))),
        Just("\n[[route]]\n".to_owned()),
        Just("\n[target]\nurl = 1\n".to_owned()),
        Just("\n[variants.\"\"]\n".to_owned()),
        "[a-z_.]{1,12} = [0-9\"'{}\\[\\]]{0,9}\n",
        "\\PC{0,20}",
    ]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Mutation::FlipBit { at, bit }),
        (any::<usize>(), 1..40_usize).prop_map(|(at, length)| Mutation::Remove { at, length }),
        (any::<usize>(), odd_text()).prop_map(|(at, what)| Mutation::Insert { at, what }),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Mutation::SwapLines { one, other }),
        (any::<usize>(), 1..50_usize).prop_map(|(line, times)| Mutation::RepeatLine { line, times }),
        (any::<usize>(), odd_text()).prop_map(|(line, what)| Mutation::Value { line, what }),
    ]
}

fn mutated(text: &str, mutation: &Mutation) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let count = lines.len();
    let mut bytes = text.as_bytes().to_vec();
    let length = bytes.len().max(1);
    let of_bytes = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match mutation {
        Mutation::FlipBit { at, bit } => {
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= 1 << bit;
            }
            of_bytes(bytes)
        }
        Mutation::Remove { at, length: gone } => {
            let from = (at % length).min(bytes.len());
            bytes.drain(from..(from + gone).min(bytes.len()));
            of_bytes(bytes)
        }
        Mutation::Insert { at, what } => {
            let at = (at % length).min(bytes.len());
            bytes.splice(at..at, what.bytes());
            of_bytes(bytes)
        }
        Mutation::SwapLines { one, other } => {
            lines.swap(one % count, other % count);
            lines.join("\n")
        }
        Mutation::RepeatLine { line, times } => {
            let again = vec![lines[line % count].clone(); *times];
            lines.splice(line % count..line % count, again);
            lines.join("\n")
        }
        Mutation::Value { line, what } => {
            let line = &mut lines[line % count];
            if let Some((key, _)) = line.split_once('=') {
                *line = format!("{key}= {what}");
            }
            lines.join("\n")
        }
    }
}

/// The place of a message lies in the text, or right behind it.
fn assert_in_bounds(site: &Site, text: &str) {
    let Site::Text { place, .. } = site else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&place.line), "{place:?} of {} lines", lines.len());
    let longest = lines[place.line - 1].chars().count() + 1;
    assert!((1..=longest).contains(&place.column), "{place:?}: {:?}", lines[place.line - 1]);
}

/// Reads a text in every way, and holds the parser to its promises.
fn assert_read_well(text: &str, overrides: &[Override]) {
    let read = Experiment::from_text("x.toml", text, overrides);
    if let Err(error) = &read {
        assert!(!error.to_string().is_empty());
        let _hint = error.hint();
        match error {
            ScenarioError::Syntax { site, .. } => assert_in_bounds(site, text),
            ScenarioError::Key(fault) => assert_in_bounds(&fault.site, text),
            ScenarioError::Refused { problems } => problems.iter().for_each(|it| assert_in_bounds(&it.site, text)),
            other => panic!("{other}: nothing was asked of the disk"),
        }
    }
    match problems("x.toml", text, overrides) {
        Ok(found) => {
            for located in &found {
                assert_in_bounds(&located.site, text);
            }
            let refused = found.iter().any(|it| it.problem.severity == ProblemSeverity::Error);
            assert_eq!(refused, read.is_err(), "{found:?}");
        }
        Err(_) => assert!(read.is_err()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_a_scenario_is_read_or_refused_at_a_place(
        seed in 0..=BUILTINS.len(),
        mutations in prop::collection::vec(mutation(), 1..6),
        set in prop::option::of(("[a-z.\"\\[\\]]{1,20}", odd_text())),
    ) {
        let text = BUILTINS.get(seed).map_or(SHOP, |builtin| builtin.text).to_owned();
        let text = mutations.iter().fold(text, |text, mutation| mutated(&text, mutation));
        let overrides: Vec<Override> =
            set.into_iter().filter_map(|(key, value)| Override::from_set(&format!("{key}={value}")).ok()).collect();
        assert_read_well(&text, &[]);
        assert_read_well(&text, &overrides);
    }
}

/// Duration of the fastest of a few readings.
fn fastest(text: &str) -> Duration {
    let once = |_| {
        let began = Instant::now();
        assert_read_well(text, &[]);
        began.elapsed()
    };
    (0..3).map(once).min().unwrap_or_default()
}

/// A text of so many parts.
type Shape<'a> = Box<dyn Fn(usize) -> String + 'a>;

#[test]
fn a_text_eight_times_as_long_does_not_take_sixty_four_times_as_long() {
    let head = "name = \"x\"\n[target]\nurl = \"http://localhost:1\"\n";
    let routes = |n: usize, route: &str| format!("{head}{}", route.repeat(n));
    let joined = |n: usize, item: fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>();
    let shapes: [(&str, Shape<'_>); 8] = [
        ("wrong routes", Box::new(move |n| routes(n, "[[route]]\nroute = \"POST /a\"\n"))),
        ("right routes", Box::new(move |n| routes(n, "[[route]]\nroute = \"GET /a\"\n"))),
        ("routes in a line", Box::new(move |n| format!("route = [{}]\n{head}", "{ route = \"POST /a\" },".repeat(n)))),
        (
            "parameters",
            Box::new(move |n| {
                let params = joined(n, |i| format!("p{i} = [1]")).join("\n");
                format!("{head}[[route]]\nroute = \"GET /a\"\n[route.params]\n{params}\n")
            }),
        ),
        (
            "variants",
            Box::new(move |n| {
                let variants = joined(n, |i| format!("[variants.v{i}]\n")).concat();
                let run = joined(n, |i| format!("\"v{i}\"")).join(",");
                format!("run = [{run}]\n{head}[[route]]\nroute = \"GET /\"\n{variants}")
            }),
        ),
        ("a path of holes", Box::new(move |n| format!("{head}[[route]]\nroute = \"GET /{}\"\n", "{a}/".repeat(n)))),
        ("a long line", Box::new(move |n| format!("{head}[[route]]\nroute = \"GET /{}\"\n", "é".repeat(8 * n)))),
        ("open brackets", Box::new(move |n| format!("{head}a = {}", "[".repeat(8 * n)))),
    ];
    for (name, shape) in shapes {
        let (short, long) = (fastest(&shape(500)), fastest(&shape(4000)));
        // What is quadratic takes 64 times as long, what is linear 8 times; the rest is the machine's mood.
        assert!(long < short.max(Duration::from_millis(1)) * 32, "{name}: {short:?}, then {long:?}");
    }
}
