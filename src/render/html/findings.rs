//! What is wrong: the headline of the report, and each finding with its evidence.

use maud::{Markup, html};

use super::ReportedRun;
use super::text::{ERROR_MAX, NAME_MAX, plain};
use crate::diagnose::{Evidence, Finding, FindingKind};
use crate::render::diagnosis::{Diagnosed, likelihood};
use crate::render::numbers::percent;

/// The page of the hold patterns.
const PATTERNS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/HOLD-PATTERNS.md");

/// The page that says what a confidence rests on.
const CONFIDENCE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/DIAGNOSIS.md");

const FINDINGS_SHOWN: usize = 50;

/// The culprit of a run in a sentence, and its statement; `None` where nothing was diagnosed.
pub(super) fn headline(run: &ReportedRun<'_>) -> Option<String> {
    let first = |it: &'_ Diagnosed| it.findings.first().cloned().map(|finding| (it.variant, finding));
    let firsts: Vec<_> = run.diagnosed.iter().filter_map(first).collect();
    let worst = firsts.iter().find(|(_, it)| it.is_trouble());
    let (variant, finding) =
        worst.or_else(|| firsts.iter().find(|(_, it)| it.kind == FindingKind::CannotTell)).or(firsts.first())?;
    let title = plain(finding.title.trim_end_matches('.'), ERROR_MAX);
    let others = run.diagnosed.iter().filter(|it| it.variant == *variant).flat_map(|it| it.findings.iter().skip(1));
    let others: Vec<String> =
        others.filter(|it| holds(finding) && holds(it)).filter_map(|it| it.route.clone()).collect();
    let also = match others.as_slice() {
        [] => String::new(),
        [only] => format!("; so does {}", plain(only, NAME_MAX)),
        _ => format!("; so do {} other routes", others.len()),
    };
    let title = title + &also;
    Some(if firsts.len() > 1 && finding.kind != FindingKind::Healthy {
        format!("{}: {title}", variant.name())
    } else {
        title
    })
}

/// The findings of each variant; nothing where nothing was diagnosed.
pub(super) fn section(runs: &[ReportedRun<'_>]) -> Markup {
    if runs.iter().all(|run| run.diagnosed.is_empty()) {
        return html! {};
    }
    html! {
        section aria-labelledby="h-findings" {
            @let is_trouble = runs.iter().flat_map(|run| run.diagnosed).flat_map(|it| &it.findings).any(Finding::is_trouble);
            h2 id="h-findings" { @if is_trouble { "What is wrong" } @else { "What was found" } }
            @if runs.iter().flat_map(|run| run.diagnosed).flat_map(|it| &it.findings).any(holds) {
                p.note {
                    "A request holds its session while its database connection is in a transaction and runs no statement: nobody \
                     else can use the connection, and a pool is empty as soon as as many requests do so at once. What is slow meanwhile \
                     (another service, a computation) does not need the database."
                }
            }
            @for run in runs {
                @for diagnosed in run.diagnosed {
                    @if runs.len() > 1 || run.diagnosed.len() > 1 { h3 { (variant(runs, run, diagnosed)) } }
                    @let causes = diagnosed.findings.iter().filter(|it| it.effect_of.is_none());
                    @for finding in causes.take(FINDINGS_SHOWN) { (card(finding, &diagnosed.findings)) }
                }
            }
        }
    }
}

fn holds(finding: &Finding) -> bool {
    matches!(finding.kind, FindingKind::HeldSession | FindingKind::LeakedSession)
}

fn variant(runs: &[ReportedRun<'_>], run: &ReportedRun<'_>, diagnosed: &Diagnosed) -> String {
    if runs.len() == 1 {
        return diagnosed.variant.name().to_owned();
    }
    format!("{} · {}", plain(run.name, NAME_MAX), diagnosed.variant.name())
}

fn card(finding: &Finding, all: &[Finding]) -> Markup {
    let effects = all.iter().filter(|it| it.effect_of.as_ref().is_some_and(|cause| cause.is(finding)));
    let pattern = finding.pattern.zip(finding.pattern_confidence);
    html! {
        article.finding {
            p.what { strong { (plain(&finding.title, ERROR_MAX)) } }
            dl {
                @if let Some(held) = finding.held_s_per_request {
                    dt { "held per request" }
                    dd { (format!("{:.3} s", held.value)) " (95 %: " (format!("{:.3}–{:.3} s", held.low, held.high)) ")" }
                }
                @if let Some(statement) = &finding.statement { dt { "last statement" } dd { code { (plain(statement, ERROR_MAX)) } } }
                @if finding.is_trouble() {
                    dt { "what to do" }
                    dd {
                        (finding.fix)
                        @if let Some((stack, fix)) = finding.stack.zip(finding.fix_in_code()) { br; (stack) ": " (in_code(fix)) }
                    }
                }
                @for effect in effects { dt { "effect" } dd { (plain(&effect.title, ERROR_MAX)) } }
                @if let Some((id, sure)) = pattern {
                    @let id = format!("{id:?}");
                    dt { "pattern" }
                    dd { (likelihood(sure)) " " a href={ (PATTERNS) "#" (id.to_lowercase()) } { (id) } }
                }
                dt { a href=(CONFIDENCE) { "confidence" } }
                dd { (percent(Some(finding.confidence))) }
            }
            @if !finding.evidence.is_empty() {
                details {
                    summary { "evidence" }
                    table.figures {
                        tbody { @for it in &finding.evidence { (evidence(it)) } }
                    }
                }
            }
        }
    }
}

fn evidence(it: &Evidence) -> Markup {
    html! {
        tr {
            th scope="row" { (plain(&it.text, ERROR_MAX)) small { code { (plain(&it.figure, NAME_MAX)) } } }
            td { (crate::render::diagnosis::figure(it.value)) }
        }
    }
}

/// What stands between backticks is code.
fn in_code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
