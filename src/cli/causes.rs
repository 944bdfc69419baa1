//! A red gate says why: each broken rule of a run gets the culprit that `diagnose` names in its variant.

use super::diagnose;
use crate::diagnose::{Finding, FindingKind};
use crate::gate::{GateReport, Verdict};
use crate::record::{RunRecord, Stamped};
use crate::texts::PatternCounts;

/// The report with causes; without a broken rule it is as it was.
pub(super) fn with_causes(mut report: GateReport, record: &RunRecord, samples: &[Stamped]) -> GateReport {
    if report.rules.iter().all(|rule| rule.verdict != Verdict::Failed) {
        return report;
    }
    let diagnosed = diagnose::all(record, samples, &PatternCounts::default(), None, None);
    for rule in report.rules.iter_mut().filter(|rule| rule.verdict == Verdict::Failed) {
        let of_variant = diagnosed.iter().find(|it| Some(it.variant) == rule.variant);
        let Some(culprit) = of_variant.and_then(|it| it.findings.iter().find(|finding| is_cause(finding))) else {
            continue;
        };
        let title = culprit.title.trim_end_matches('.');
        rule.reason = Some(match rule.reason.take() {
            Some(reason) => format!("{reason}; {title}"),
            None => title.to_owned(),
        });
    }
    report
}

/// True if it names something that is wrong, and is nobody else's effect.
fn is_cause(finding: &Finding) -> bool {
    !matches!(finding.kind, FindingKind::Healthy | FindingKind::CannotTell) && finding.effect_of.is_none()
}
