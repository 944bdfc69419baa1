//! Verdicts of a gate on the runs.

use maud::{Markup, html};

use super::ReportedRun;
use super::chart::figure;
use super::text::{ERROR_MAX, NAME_MAX, plain};
use crate::gate::{GateReport, RuleOutcome, Verdict};
use crate::render::numbers::percent;
use crate::units::Unit;

const RULES_SHOWN: usize = 200;

/// The verdicts of each run that has a gate; nothing when none has.
pub(super) fn section(runs: &[ReportedRun<'_>]) -> Markup {
    let gated: Vec<(&ReportedRun<'_>, &GateReport)> = runs.iter().filter_map(|run| Some((run, run.gate?))).collect();
    if gated.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="h-gate" {
            h2 id="h-gate" { "The gate" }
            @for (run, gate) in gated {
                p { strong class=(gate.verdict.name()) { (sign(gate.verdict)) " " (gate.verdict.name()) } @if runs.len() > 1 { " · " (plain(run.name, NAME_MAX)) } }
                div.scroll {
                    table.figures {
                        thead { tr {
                            th scope="col" { "rule" }
                            th.text scope="col" { "variant" }
                            th.text scope="col" { "verdict" }
                            th scope="col" { "measured" }
                            th scope="col" { "limit" }
                        } }
                        tbody { @for rule in gate.rules.iter().take(RULES_SHOWN) { (row(rule)) } }
                    }
                }
            }
        }
    }
}

fn row(rule: &RuleOutcome) -> Markup {
    html! {
        tr {
            th scope="row" {
                code { (plain(&rule.rule, NAME_MAX)) }
                @if let Some(because) = &rule.because { small { (plain(because, ERROR_MAX)) } }
                @if let Some(reason) = &rule.reason { small { (plain(reason, ERROR_MAX)) } }
                @if let Some(paired) = &rule.paired {
                    small {
                        (paired.pairs) " pairs"
                        @if let Some(p) = paired.p_value { ", p = " (format!("{p:.4}")) }
                        @if let Some(ratio) = paired.ratio { ", × " (super::super::gate::ratio(ratio)) }
                    }
                }
            }
            td.text { (rule.variant.as_ref().map_or("both", |it| it.name())) }
            td.text { strong class=(rule.verdict.name()) { (sign(rule.verdict)) " " (rule.verdict.name()) } " (" (rule.severity.name()) ")" }
            td { (value(rule.unit, rule.measured)) }
            td { (value(rule.unit, rule.limit)) }
        }
    }
}

fn value(unit: Unit, value: Option<f64>) -> String {
    match unit {
        Unit::Ratio => percent(value),
        _ => figure(unit, value),
    }
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✔",
        Verdict::Failed => "✘",
        Verdict::Inconclusive => "?",
    }
}
