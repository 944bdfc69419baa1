//! `run --json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::gate::GateReport;
use crate::record::{Format, Outcome, RunRecord, Summary};
use crate::scenario::SessionScope;

/// What `run --json` writes.
#[derive(Debug, Serialize)]
pub struct RunSummary<'a> {
    format: Format,
    scenario: &'a str,
    outcome: &'a Outcome,
    folder: &'a Path,
    variants: BTreeMap<SessionScope, &'a Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<&'a GateReport>,
}

/// The summary of a run, and its verdict when it was judged.
pub fn run_summary<'a>(record: &'a RunRecord, folder: &'a Path, gate: Option<&'a GateReport>) -> RunSummary<'a> {
    RunSummary {
        format: Format { name: "rbac-bench/run-summary".to_owned(), version: 1 },
        scenario: &record.scenario.name,
        outcome: &record.outcome,
        folder,
        variants: record.variants.iter().map(|(scope, variant)| (*scope, &variant.summary)).collect(),
        gate,
    }
}
