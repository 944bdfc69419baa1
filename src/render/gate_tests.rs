use proptest::prelude::*;

use super::*;
use crate::gate::Paired;
use crate::render::{github, junit};
use crate::units::Unit;

/// An outcome whose every text is `hostile`.
pub(in crate::render) fn outcome(verdict: Verdict, severity: Severity, hostile: &str) -> RuleOutcome {
    RuleOutcome {
        rule: format!("latency.p95<1s for {hostile}"),
        variant: Some(VariantName::HELD),
        verdict,
        severity,
        measured: (verdict != Verdict::Inconclusive).then_some(1200.0),
        limit: Some(1000.0),
        unit: Unit::Milliseconds,
        reason: (verdict == Verdict::Inconclusive).then(|| format!("no request of `{hostile}`")),
        because: Some(format!("users wait {hostile}")),
        paired: None,
    }
}

const EVERY: [(Verdict, Severity); 5] = [
    (Verdict::Passed, Severity::Error),
    (Verdict::Failed, Severity::Error),
    (Verdict::Failed, Severity::Warn),
    (Verdict::Inconclusive, Severity::Error),
    (Verdict::Inconclusive, Severity::Warn),
];

fn report(text: &str) -> GateReport {
    GateReport::of(EVERY.iter().map(|(verdict, severity)| outcome(*verdict, *severity, text)).collect())
}

fn view<'a>(report: &'a GateReport, scenario: &'a str) -> GateView<'a> {
    GateView { report, scenario, folder: Some(Path::new("reports/x")), command: "rbac-bench gate small.toml" }
}

#[test]
fn a_gate_is_a_table_with_its_reasons_and_the_command_that_reproduces_it() {
    insta::assert_snapshot!(table(view(&report("GET /tools"), "small"), None));
}

#[test]
fn a_gate_is_markdown() {
    insta::assert_snapshot!(markdown(view(&report("GET /tools"), "small")));
}

#[test]
fn a_gate_is_junit() {
    let xml = junit::document(view(&report("GET /tools"), "small")).unwrap();
    insta::assert_snapshot!(xml);
}

#[test]
fn a_gate_is_annotations() {
    insta::assert_snapshot!(github::annotations(view(&report("GET /tools: 100 %, and more"), "small")));
}

#[test]
fn a_paired_rule_shows_its_statistics() {
    let mut report = report("x");
    report.rules.truncate(1);
    let ratio = Some(crate::gate::RatioEstimate { value: 9.61, low: Some(8.0), high: Some(11.2) });
    report.rules[0].paired =
        Some(Paired { p_value: Some(0.001), ratio, pairs: 10, smallest_effect: Some(1.4), would_settle: None });
    let text = table(view(&report, "small"), None);
    assert!(text.contains("p 0.0010, ratio 9.61 (8.00 to 11.20), 10 pairs, could have seen × 1.40"), "{text}");
    let json = serde_json::to_value(super::json(view(&report, "small"))).unwrap();
    assert_eq!(json["rules"][0]["p_value"], 0.001);
    assert_eq!(json["rules"][0]["ratio"]["value"], 9.61);
}

#[test]
fn the_json_has_what_a_script_reads() {
    let report = report("x");
    let json = serde_json::to_value(super::json(view(&report, "small"))).unwrap();
    assert_eq!((&json["format"]["name"], &json["verdict"]), (&"rbac-bench/gate".into(), &"failed".into()));
    let inconclusive = &json["rules"][3];
    assert!(inconclusive["measured"].is_null() && inconclusive["reason"].is_string(), "{json}");
    assert_eq!((&inconclusive["severity"], &inconclusive["unit"]), (&"error".into(), &"ms".into()));
}

#[test]
fn annotations_beyond_what_is_shown_are_counted_in_the_last_one() {
    let rules: Vec<RuleOutcome> = (0..14).map(|_| outcome(Verdict::Failed, Severity::Error, "x")).collect();
    let report = GateReport::of(rules);
    let text = github::annotations(view(&report, "small"));
    assert_eq!(text.lines().count(), github::MOST_ANNOTATIONS);
    assert!(text.ends_with("::error title=gate::and 5 more rules, in the job summary\n"), "{text}");
}

#[test]
fn a_summary_that_does_not_fit_is_cut_at_a_line_and_says_so() {
    let long = "| row |\n".repeat(200_000);
    let cut = github::fitting(&long, 1000);
    assert!(cut.len() <= github::LONGEST_SUMMARY - 1000 && cut.len() > github::LONGEST_SUMMARY - 1200, "{}", cut.len());
    assert!(cut.ends_with("|\n\nThe rest does not fit into a job summary.\n"));
    assert_eq!(github::fitting("short\n", 0), "short\n");
    assert_eq!(github::fitting("short\n", github::LONGEST_SUMMARY), "");
}

/// Reads XML to its end, strictly; gives the text of all attributes and nodes.
fn read_xml(xml: &str) -> Vec<(String, String)> {
    let report = quick_junit::Report::deserialize_from_str(xml).unwrap();
    let cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
    cases.map(|case| (case.name.as_str().to_owned(), format!("{:?}", case.status))).collect()
}

/// Texts as attackers and accidents write them.
pub(in crate::render) fn nasty() -> impl Strategy<Value = String> {
    let seeds = prop::sample::select(vec![
        "<script>alert(1)</script>",
        "\u{1b}[2J\u{1b}]0;x\u{7}",
        "\n::error::owned",
        "\r\n##[error]owned",
        "%0A::stop-commands::x",
        "]]>",
        "\"' onload=x",
        "| a | b |\n",
        "[x](javascript:alert(1))",
        "\u{202e}\u{0}\u{9b}31m",
        "@everyone #1 &lt; &#60;",
    ]);
    (any::<String>(), seeds, any::<String>()).prop_map(|(before, seed, after)| format!("{before}{seed}{after}"))
}

proptest! {
    #[test]
    fn a_terminal_gets_lines_and_nothing_that_it_obeys(hostile in nasty()) {
        let report = report(&hostile);
        let text = table(view(&report, &hostile), None);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
        prop_assert!(text.lines().all(|line| !line.trim_start().starts_with("::") && !line.contains("##[")), "{}", text);
    }

    #[test]
    fn markdown_gets_cells_and_no_markup(hostile in nasty()) {
        let report = report(&hostile);
        let text = markdown(view(&report, &hostile));
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        prop_assert_eq!(rows.len(), 2 + EVERY.len());
        prop_assert!(rows.iter().all(|row| row.matches('|').count() == 7), "{}", text);
        let tags = text.replace("<br>", "").replace("<code>", "").replace("</code>", "");
        prop_assert!(!tags.contains(['<', '>', '`', '[', '@']), "{}", text);
    }

    #[test]
    fn junit_is_read_back_with_a_case_for_each_rule(hostile in nasty()) {
        let report = report(&hostile);
        let xml = junit::document(view(&report, &hostile)).unwrap();
        prop_assert!(!xml.contains("<script"), "{}", xml);
        let cases = read_xml(&xml);
        prop_assert_eq!(cases.len(), EVERY.len());
        let view: Vec<bool> = cases.iter().map(|(_, status)| status.contains("NonSuccess")).collect();
        prop_assert_eq!(view, vec![false, true, false, true, true]);
    }

    #[test]
    fn no_annotation_is_another_command(hostile in nasty()) {
        let report = report(&hostile);
        let text = github::annotations(view(&report, &hostile));
        prop_assert_eq!(text.lines().count(), 4);
        for line in text.lines() {
            let rest = line.strip_prefix("::error title=").or_else(|| line.strip_prefix("::warning title="));
            let (title, _) = rest.and_then(|rest| rest.split_once("::")).expect("a title and a message");
            prop_assert!(!title.contains(',') && !title.contains(':'), "{}", line);
            prop_assert!(!line.contains("##["), "{}", line);
        }
    }
}
