//! The run folder: writing it as the run goes, and reading it back.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{FORMAT_VERSION, Outcome, RunRecord, Sample, Stamped};
use crate::redact::{self, redact_document};

/// Name of the record in its folder.
pub const RECORD_FILE: &str = "record.json";
/// Name of the samples in the same folder.
pub const SAMPLES_FILE: &str = "samples.ndjson";

/// Space that is kept for the last writing of the record, so that a disk that the samples have filled has room for it.
const RESERVE_FILE: &str = "record.reserve";
const RESERVE: usize = 256 << 10;

/// Errors of writing and reading a run folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` is not a run folder: it has no `{RECORD_FILE}`; expected a folder that `rbac-bench run` has written", folder.display())]
    NoRecord { folder: PathBuf },
    #[error("`{}` is not a run record", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{}` has format version {found}, this program reads up to {FORMAT_VERSION}", path.display())]
    TooNew { path: PathBuf, found: u32 },
}

/// A run folder that is being written.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder `name` under `parent`, with a number behind it when that exists already.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn create(parent: &Path, name: &str) -> Result<Self, StoreError> {
        fs::create_dir_all(parent).map_err(|source| StoreError::Write { path: parent.to_owned(), source })?;
        for attempt in 1.. {
            let path = parent.join(if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") });
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(StoreError::Write { path, source }),
            }
        }
        unreachable!("there are more numbers than folders")
    }

    /// Keeps space for [`Self::write_last`], which gives it free.
    ///
    /// # Errors
    /// [`StoreError::Write`] when there is none.
    pub fn with_reserve(self) -> Result<Self, StoreError> {
        let path = self.path.join(RESERVE_FILE);
        // Not zeros, which some file systems do not store.
        fs::write(&path, vec![b'.'; RESERVE]).map_err(|source| StoreError::Write { path, source })?;
        Ok(self)
    }

    /// Writes the record for the last time, into the space that was kept for it. Where even that does not suffice, it is
    /// written without its variants, so that its outcome is there.
    ///
    /// # Errors
    /// [`StoreError::Write`] when the whole record could not be written.
    pub fn write_last(&self, record: &RunRecord) -> Result<(), StoreError> {
        let _never_there = fs::remove_file(self.path.join(RESERVE_FILE));
        let Err(error) = self.write_record(record) else { return Ok(()) };
        let outcome = match &record.outcome {
            Outcome::Failed { .. } => record.outcome.clone(),
            Outcome::Running | Outcome::Finished | Outcome::Interrupted => Outcome::Failed { error: error.to_string() },
        };
        let without = RunRecord { outcome, variants: std::collections::BTreeMap::new(), ..record.clone() };
        if let Err(error) = self.write_record(&without) {
            tracing::debug!(%error, "the record does not say how the run ended");
        }
        Err(error)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record so that a reader sees the old one or the new one, never half of one.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write_record(&self, record: &RunRecord) -> Result<(), StoreError> {
        self.write_document(RECORD_FILE, record)
    }

    /// Writes a JSON file of this name in the same way, without secrets.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write_document(&self, name: &str, document: &impl Serialize) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let partial = self.path.join(format!("{name}.partial"));
        let written = serde_json::to_value(document)
            .and_then(|document| serde_json::to_vec_pretty(&redact_document(&redact::of_process(), document)))
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&partial, bytes))
            .and_then(|()| fs::rename(&partial, &path));
        written.map_err(|source| {
            // Half a file would take the space that the next attempt needs.
            let _never_there = fs::remove_file(&partial);
            StoreError::Write { path, source }
        })
    }

    /// Opens the samples for appending.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn samples(&self) -> Result<SampleWriter, StoreError> {
        let path = self.path.join(SAMPLES_FILE);
        match File::options().create(true).append(true).open(&path) {
            Ok(file) => Ok(SampleWriter { file: BufWriter::with_capacity(1 << 16, file), path }),
            Err(source) => Err(StoreError::Write { path, source }),
        }
    }
}

/// Appends samples, a line each.
#[derive(Debug)]
pub struct SampleWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl SampleWriter {
    /// Appends one.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn append(&mut self, sample: &Stamped) -> Result<(), StoreError> {
        let written = if holds_texts(&sample.sample) {
            serde_json::to_value(sample)
                .and_then(|document| serde_json::to_vec(&redact_document(&redact::of_process(), document)))
        } else {
            serde_json::to_vec(sample)
        };
        let mut line = written.map_err(|error| self.failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| self.failed(error))
    }

    /// Hands everything to the system; due once a second, so that at most a second is lost with the process.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.file.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), source }
    }
}

/// True if a sample holds texts of others; the rest are numbers, and names of the scenario's own.
fn holds_texts(sample: &Sample) -> bool {
    match sample {
        Sample::Activity(_) | Sample::Pulse(_) | Sample::Counters(_) | Sample::Load(_) => false,
        Sample::Breakdown(_)
        | Sample::Episode(_)
        | Sample::Transaction(_)
        | Sample::Blocking(_)
        | Sample::Pools(_)
        | Sample::Health(_)
        | Sample::PgBouncer(_)
        | Sample::Event(_) => true,
    }
}

/// Reads the record of a run folder.
///
/// # Errors
/// [`StoreError`] when there is none, or none that this program can read.
pub fn read_record(folder: &Path) -> Result<RunRecord, StoreError> {
    let path = folder.join(RECORD_FILE);
    let bytes = fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreError::NoRecord { folder: folder.to_owned() },
        _ => StoreError::Read { path: path.clone(), source },
    })?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Parse { path: path.clone(), source })?;
    // The version first: a later format may not even parse as this one.
    let version = value.pointer("/format/version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    match u32::try_from(version) {
        Ok(found) if found > FORMAT_VERSION => Err(StoreError::TooNew { path, found }),
        _ => serde_json::from_value(value).map_err(|source| StoreError::Parse { path, source }),
    }
}

/// Counts from reading the samples of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SamplesRead {
    /// Samples that were read.
    pub samples: u64,
    /// Lines that are no sample, the last one aside.
    pub unreadable: u64,
    /// True if the last line ends in the middle: the process was killed while it wrote.
    pub cut_off: bool,
}

/// A line longer than this is no sample: nothing that is written comes near it.
const LINE_MAX: u64 = 64 << 20;

/// Reads the samples of a run folder one after the other, whatever state the file is in: lines that cannot be read are
/// counted, and bytes that are no UTF-8 are replaced. Memory for one line is all that it takes.
///
/// # Errors
/// [`StoreError::Read`] when there is no such file, or reading it fails.
pub fn for_each_sample(folder: &Path, mut take: impl FnMut(Stamped)) -> Result<SamplesRead, StoreError> {
    let path = folder.join(SAMPLES_FILE);
    let read_failed = |source| StoreError::Read { path: path.clone(), source };
    let mut reader = BufReader::with_capacity(1 << 16, File::open(&path).map_err(read_failed)?);
    let mut read = SamplesRead::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = Read::take(&mut reader, LINE_MAX).read_until(b'\n', &mut line).map_err(read_failed)?;
        if length == 0 {
            return Ok(read);
        }
        let ended = line.ends_with(b"\n");
        let at_end = !ended && (length as u64) < LINE_MAX;
        match parse_line(&line).filter(|_| ended || at_end) {
            Some(sample) => {
                read.samples += 1;
                take(sample);
            }
            None if at_end => read.cut_off = true,
            None => {
                read.unreadable += 1;
                if !ended {
                    reader.skip_until(b'\n').map_err(read_failed)?;
                }
            }
        }
    }
}

fn parse_line(line: &[u8]) -> Option<Stamped> {
    match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str(text).ok(),
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(line)).ok(),
    }
}

/// Reads the samples of a run folder. A last line that was cut off by the end of the process is left out.
///
/// # Errors
/// [`StoreError`] when a line that is not the last cannot be read.
pub fn read_samples(folder: &Path) -> Result<Vec<Stamped>, StoreError> {
    let path = folder.join(SAMPLES_FILE);
    let read_failed = |source| StoreError::Read { path: path.clone(), source };
    let mut lines = BufReader::new(File::open(&path).map_err(read_failed)?).lines().peekable();
    let mut samples = Vec::new();
    while let Some(line) = lines.next() {
        match serde_json::from_str(&line.map_err(read_failed)?) {
            Ok(sample) => samples.push(sample),
            Err(_) if lines.peek().is_none() => {}
            Err(source) => return Err(StoreError::Parse { path, source }),
        }
    }
    Ok(samples)
}
