//! What a command is about: a run that has been recorded, or a scenario to run.

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::record::store::{RECORD_FILE, SAMPLES_FILE, read_record, read_samples};
use crate::record::{RunRecord, Stamped};

/// A run that was read back.
pub(super) struct Recorded {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its record.
    pub(super) record: RunRecord,
    /// Its samples, ascending in time; none when the folder has no file of them.
    pub(super) samples: Vec<Stamped>,
}

/// The folder of the run that `name` means: the folder itself, or the record in it; `None` when it is neither.
pub(super) fn run_folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    if path.is_file() && path.file_name().is_some_and(|file| file == RECORD_FILE) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        return Some(parent.unwrap_or(Path::new(".")).to_owned());
    }
    path.is_dir().then(|| path.to_owned())
}

/// Reads a run that somebody named.
pub(super) fn recorded(name: &str) -> Result<Recorded, CliError> {
    read(run_folder(name).unwrap_or_else(|| PathBuf::from(name)))
}

/// Reads the run in a folder.
pub(super) fn read(folder: PathBuf) -> Result<Recorded, CliError> {
    let record = read_record(&folder).map_err(CliError::Record)?;
    let mut samples = Vec::new();
    if folder.join(SAMPLES_FILE).exists() {
        samples = read_samples(&folder).map_err(CliError::Record)?;
        // Lines are in the order in which the threads handed them in.
        samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    } else {
        tracing::warn!("`{}` has no {SAMPLES_FILE}: only figures of the summary are known", folder.display());
    }
    Ok(Recorded { folder, record, samples })
}
