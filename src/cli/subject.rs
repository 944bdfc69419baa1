//! Subject of a command: a run that has been recorded, or a scenario to run.

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::gate::ReadBack;
use crate::record::store::{RECORD_FILE, SAMPLES_FILE, for_each_sample, read_record};
use crate::record::{RunRecord, Stamped};
use crate::render::text::plain;

/// A run that was read back.
pub(super) struct Recorded {
    pub(super) folder: PathBuf,
    pub(super) record: RunRecord,
    /// Its samples, ascending in time; none when the folder has no file of them.
    pub(super) samples: Vec<Stamped>,
    /// Lines of them that could not be read.
    unreadable: u64,
}

impl Recorded {
    pub(super) fn as_read(&self) -> ReadBack<'_> {
        ReadBack { record: &self.record, samples: &self.samples, unreadable: self.unreadable }
    }
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
    let mut unreadable = 0;
    if folder.join(SAMPLES_FILE).exists() {
        unreadable = for_each_sample(&folder, |sample| samples.push(sample)).map_err(CliError::Record)?.unreadable;
        if unreadable > 0 {
            tracing::warn!("lines of the {SAMPLES_FILE} of `{}` that could not be read: {unreadable}", shown(&folder));
        }
        // Lines are in the order in which the threads handed them in.
        samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    } else {
        tracing::warn!("`{}` has no {SAMPLES_FILE}: only figures of the summary are known", shown(&folder));
    }
    Ok(Recorded { folder, record, samples, unreadable })
}

fn shown(folder: &Path) -> String {
    plain(&folder.display().to_string())
}
