//! One HTML file that explains runs to an engineer who was not there.
//!
//! Pure: records and reduced samples in, the file as one text out. The file fetches nothing and says so itself: its
//! Content-Security-Policy allows the one script and the one style that are in it, by their hashes, and nothing else.
//! Charts are SVG that stands without the script; the script reads values at an instant and sorts tables.
//!
//! Whatever a run has recorded may be hostile: `text` bounds it and makes control characters visible, maud escapes
//! it, and none of it reaches the script.

mod chart;
mod data;
mod distribution;
mod evidence;
mod figures;
mod findings;
mod overtime;
mod scan;
mod story;
mod strip;
mod text;
mod verdicts;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::gate::GateReport;
use crate::record::store::SamplesRead;
use crate::record::timeline::{Lane, Timeline};
use crate::record::{RunRecord, VariantRecord};
use crate::render::diagnosis::Diagnosed;
use crate::scenario::VariantName;
use text::{NAME_MAX, plain};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// More runs than this are a trend: a row each, and small charts.
const SIDE_BY_SIDE: usize = 2;

#[derive(Clone, Copy, Debug)]
pub struct ReportedRun<'a> {
    /// Name: its folder.
    pub name: &'a str,
    pub record: &'a RunRecord,
    pub timeline: &'a Timeline,
    /// Counts from reading the samples; `None` when there is no file of samples.
    pub samples: Option<SamplesRead>,
    /// Findings of its variants; empty where nobody asked for any.
    pub diagnosed: &'a [Diagnosed],
    /// Verdict of a gate, when one was asked.
    pub gate: Option<&'a GateReport>,
}

/// One variant of one run: a column of tables, a lane of charts.
struct ReportColumn<'a> {
    run: &'a ReportedRun<'a>,
    /// `held`; with the run's number before it when there are several.
    label: String,
    /// Which colour and mark it has, from 0; the same variant has the same in every run.
    hue: usize,
    /// Its results; `None` when the run ended before the variant did.
    variant: Option<&'a VariantRecord>,
    /// Its lane; `None` without samples.
    lane: Option<&'a Lane>,
}

/// The file.
pub fn page(runs: &[ReportedRun<'_>]) -> String {
    let columns = columns(runs);
    let title = match runs {
        [run] => plain(run.record.scenario.title(), NAME_MAX),
        _ => format!("{} runs", runs.len()),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) " · rbac-bench" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body(runs, &columns, &title)) }
                script type="application/json" id="data" { (PreEscaped(data::json(&columns))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn body(runs: &[ReportedRun<'_>], columns: &[ReportColumn<'_>], title: &str) -> Markup {
    html! {
        (story::head(runs, title))
        (findings::section(runs))
        @if runs.len() > SIDE_BY_SIDE {
            (figures::trend(columns))
        } @else if !runs.iter().all(|run| story::is_scan(run.record)) {
            (figures::side_by_side(runs, columns))
        }
        (verdicts::section(runs))
        (scan::section(columns))
        (overtime::section(columns, runs.len() > SIDE_BY_SIDE))
        (distribution::section(columns))
        (evidence::routes(columns))
        (evidence::errors(columns))
        (evidence::doubts(runs, columns))
        (evidence::scenarios(runs))
        footer {
            p { "Written by rbac-bench " (env!("CARGO_PKG_VERSION")) " from the run record alone. Nothing in this file is fetched from anywhere." }
        }
    }
}

/// The columns of all runs, each run's variants in the scenario's order.
fn columns<'a>(runs: &'a [ReportedRun<'a>]) -> Vec<ReportColumn<'a>> {
    let mut hues: Vec<VariantName> = Vec::new();
    let mut columns = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let mut names = run.record.all_names();
        let sampled: Vec<_> = run.timeline.lanes.keys().filter(|name| !names.contains(name)).copied().collect();
        names.extend(sampled);
        names.retain(|name| run.record.variants.contains_key(name) || run.timeline.lanes.contains_key(name));
        for scope in names {
            let hue = hues.iter().position(|known| *known == scope).unwrap_or_else(|| {
                hues.push(scope);
                hues.len() - 1
            });
            let label = match runs.len() {
                1 => scope.name().to_owned(),
                _ => format!("{} {}", index + 1, scope.name()),
            };
            let variant = run.record.variants.get(&scope);
            columns.push(ReportColumn { run, label, hue, variant, lane: run.timeline.lanes.get(&scope) });
        }
    }
    columns
}

/// Only what is in the file may run or style it.
fn policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source_hash(SCRIPT),
        source_hash(STYLE)
    )
}

fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests;
