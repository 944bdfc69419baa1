//! Contents of the files that a scenario names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;

/// Contents of the files that a scenario names, each by its path as the scenario has it.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub lines: BTreeMap<PathBuf, Vec<String>>,
    pub bodies: BTreeMap<PathBuf, Bytes>,
    /// The names of the columns that identities have.
    pub columns: BTreeSet<String>,
}
