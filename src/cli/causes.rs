//! A red gate says why: each broken rule of a run gets the culprit that `diagnose` names in its variant.

use super::diagnose;
use crate::diagnose::{Finding, FindingKind};
use crate::gate::{GateReport, Verdict};
use crate::record::{RunRecord, Stamped};
use crate::render::diagnosis::Diagnosed;
use crate::texts::PatternCounts;

/// The report with causes; without a broken rule it is as it was.
pub(super) fn explained(report: GateReport, record: &RunRecord, samples: &[Stamped]) -> GateReport {
    if report.rules.iter().all(|rule| rule.verdict != Verdict::Failed) {
        return report;
    }
    with_culprits(report, &diagnose::all(record, samples, &PatternCounts::default(), None, None))
}

/// The same with the causes that are known.
pub(super) fn with_culprits(mut report: GateReport, diagnosed: &[Diagnosed]) -> GateReport {
    for rule in report.rules.iter_mut().filter(|rule| rule.verdict == Verdict::Failed) {
        let of_variant = diagnosed.iter().find(|it| Some(it.variant) == rule.variant);
        let of_rule = |finding: &&Finding| is_cause(finding) && concerns(finding, &rule.rule);
        let Some(culprit) = of_variant.and_then(|it| it.findings.iter().find(of_rule)) else { continue };
        let title = culprit.title.trim_end_matches('.');
        rule.reason = Some(match rule.reason.take() {
            Some(reason) => format!("{reason}; {title}"),
            None => title.to_owned(),
        });
    }
    report
}

/// True if the finding may explain what this rule limits: of one route only what is wrong with that route.
fn concerns(finding: &Finding, rule: &str) -> bool {
    let Some((_, rest)) = rule.split_once(" for ") else { return true };
    let named = rest.split(['<', '>', '=', '!']).next().unwrap_or_default().trim();
    finding.route.as_ref().is_some_and(|route| route.ends_with(named))
}

/// True if it names something that is wrong, and is nobody else's effect.
fn is_cause(finding: &Finding) -> bool {
    !matches!(finding.kind, FindingKind::Healthy | FindingKind::CannotTell) && finding.effect_of.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rules::{plain_rule, read_rules};
    use crate::cli::subject;
    use crate::gate::judge;

    #[test]
    fn a_broken_rule_has_the_culprit_of_its_variant_and_of_its_route() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/records/small");
        let run = subject::read(folder.into()).unwrap_or_else(|error| panic!("{error}"));
        let variants = run.record.scenario.variant_names();
        let reasons = |rule: &str| -> Vec<Option<String>> {
            let asked = read_rules(&[plain_rule(rule)], &run.record.scenario).unwrap_or_else(|error| panic!("{error}"));
            let report = judge(&asked, run.as_read(), &variants, None);
            explained(report, &run.record, &run.samples).rules.into_iter().map(|it| it.reason).collect()
        };
        let of_all = reasons("idle_in_transaction.max<1");
        let culprit = "POST /rpc tools/call holds its session";
        assert!(of_all[0].as_ref().is_some_and(|it| it.starts_with(culprit)), "{of_all:?}");
        let passed = reasons("idle_in_transaction.max<10000");
        assert!(passed.iter().flatten().all(|it| !it.contains(culprit)), "{passed:?}");
        let diagnosed = diagnose::all(&run.record, &run.samples, &PatternCounts::default(), None, None);
        let finding = &diagnosed[0].findings[0];
        for (rule, explains) in [
            ("hold.seconds for POST /rpc tools/call < 50ms", true),
            ("hold.seconds for tools/call<50ms", true),
            ("hold.seconds for GET /tools<50ms", false),
        ] {
            assert_eq!(concerns(finding, rule), explains, "{rule}");
        }
    }
}
