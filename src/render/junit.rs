//! A verdict as JUnit XML, which GitHub's, GitLab's and Jenkins' test reports read: one case for each rule.
//!
//! A broken rule is a failure, one that could not be judged an error (it is no pass), and a broken rule of severity
//! `warn` a pass that says so in its output.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::gate::{GateView, sentence, word};
use super::numbers::quantity;
use super::text::plain;
use crate::gate::{RuleOutcome, Severity, Verdict};
use crate::scenario::VariantName;

/// The document.
///
/// # Errors
/// When it cannot be written, which would be a mistake of ours.
pub fn document(view: GateView<'_>) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(plain(view.scenario));
    suite.add_test_cases(view.report.rules.iter().map(|rule| case(rule, view)));
    serialized(suite)
}

/// The document of a gate that came to no verdict: one case, which is an error.
///
/// # Errors
/// As [`document`].
pub fn without_verdict(scenario: &str, reason: &str) -> Result<String, quick_junit::SerializeError> {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("no verdict").set_message(plain(reason));
    let mut case = TestCase::new("the gate comes to a verdict", status);
    case.set_classname(plain(scenario));
    let mut suite = TestSuite::new(plain(scenario));
    suite.add_test_case(case);
    serialized(suite)
}

fn serialized(suite: TestSuite) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("rbac-bench gate");
    report.add_test_suite(suite);
    // Jenkins' schema knows no number of skipped tests of the whole; none ever is.
    Ok(report.to_string()?.replacen(" skipped=\"0\"", "", 1))
}

fn case(rule: &RuleOutcome, view: GateView<'_>) -> TestCase {
    let variant = rule.variant.as_ref().map_or("paired", VariantName::name);
    let mut case = TestCase::new(plain(&rule.rule), status(rule, view));
    case.set_classname(format!("{}.{variant}", plain(view.scenario)));
    if rule.verdict == Verdict::Failed && rule.severity == Severity::Warn {
        case.set_system_out(format!("warning: {}", description(rule, view)));
    }
    case
}

fn status(rule: &RuleOutcome, view: GateView<'_>) -> TestCaseStatus {
    let kind = match (rule.verdict, rule.severity) {
        (Verdict::Passed, _) | (Verdict::Failed, Severity::Warn) => return TestCaseStatus::success(),
        (Verdict::Failed, Severity::Error) => NonSuccessKind::Failure,
        (Verdict::Inconclusive, _) => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word(rule)).set_message(message(rule)).set_description(description(rule, view));
    status
}

/// Measurement in a clause.
pub(super) fn message(rule: &RuleOutcome) -> String {
    let measured =
        format!("measured {}, limit {}", quantity(rule.measured, rule.unit), quantity(rule.limit, rule.unit));
    rule.reason.as_ref().map_or_else(|| measured.clone(), |reason| format!("{measured}: {}", plain(reason)))
}

fn description(rule: &RuleOutcome, view: GateView<'_>) -> String {
    let mut lines = vec![message(rule)];
    lines.extend(rule.because.iter().map(|because| format!("because {}", plain(because))));
    lines.push(format!("reproduce: {}", plain(&view.command_for(rule.variant))));
    lines.push(sentence(view.report));
    lines.join("\n")
}
