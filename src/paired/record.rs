//! `paired.json`: which windows were measured, and what they came to.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Arrangement;
use crate::gate::paired::{Arm, Pair, PairPlan, PairsEnd, Trial};
use crate::record::Format;
use crate::scenario::{Experiment, VariantName};
use crate::units::Span;

/// Name of the record in the folder of all windows.
pub const PAIRED_FILE: &str = "paired.json";

/// Version of its format.
const PAIRED_VERSION: u32 = 1;

/// A paired gate, or one trial of a calibration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairedRecord {
    /// `rbac-bench/paired`.
    pub format: Format,
    /// Version of the program that wrote it.
    pub tool_version: String,
    /// The scenario's name; as a whole it is in each window's record.
    pub scenario: String,
    /// The variant that was held against.
    pub baseline: VariantName,
    /// The variant that was judged.
    pub candidate: VariantName,
    pub plan: PairPlan,
    /// `drawn`: a coin chose which arm comes first; in records of earlier programs also `abba`. The order itself is that
    /// of `windows`.
    pub order: String,
    /// Discarded part of a window, after the ramp.
    pub settle: Span,
    /// Measured part of a window.
    pub measured: Span,
    /// The rules, as they were written; the order of all figures.
    pub rules: Vec<String>,
    /// Every window, in the order of time.
    pub windows: Vec<WindowRecord>,
    /// The pairs that were judged, in the order of time.
    pub pairs: Vec<Pair>,
    /// Reasons why pairs were measured again, in the order of time.
    pub discarded: Vec<String>,
    /// Reason why there are no more pairs; `None` while it goes on, or when it could not go on.
    pub ended: Option<PairsEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// Its pair, counted from 1.
    pub pair: usize,
    pub arm: Arm,
    pub variant: VariantName,
    /// Its folder, beside this file: a run like any other.
    pub folder: String,
}

impl WindowRecord {
    pub(super) fn new(pair: usize, arm: Arm, variant: VariantName, folder: &Path) -> Self {
        let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { pair, arm, variant, folder }
    }
}

impl PairedRecord {
    pub(super) fn new(scenario: &Experiment, trial: &Trial, arrangement: &Arrangement) -> Self {
        Self {
            format: Format { name: "rbac-bench/paired".to_owned(), version: PAIRED_VERSION },
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.name().to_owned(),
            baseline: arrangement.baseline,
            candidate: arrangement.candidate,
            plan: trial.plan(),
            order: "drawn".to_owned(),
            settle: arrangement.settle,
            measured: arrangement.measured,
            rules: trial.rules().iter().map(|rule| rule.rule().text.clone()).collect(),
            windows: Vec::new(),
            pairs: Vec::new(),
            discarded: Vec::new(),
            ended: None,
        }
    }
}
