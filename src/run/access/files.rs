//! Variables and files that a scenario names.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::error::{AccessError, LONGEST_FILE};

pub(in crate::run) fn variable(name: &str, key: &'static str) -> Result<String, AccessError> {
    let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    value.ok_or_else(|| AccessError::NoVariable { name: name.to_owned(), key })
}

pub(in crate::run) fn read(path: &Path) -> Result<String, AccessError> {
    check_length(path)?;
    fs::read_to_string(path).map_err(|source| AccessError::File { path: path.to_owned(), source })
}

pub(in crate::run) fn check_length(path: &Path) -> Result<(), AccessError> {
    let metadata = fs::metadata(path).map_err(|source| AccessError::File { path: path.to_owned(), source })?;
    // A device has no length, and no end.
    if metadata.len() > LONGEST_FILE || !metadata.is_file() {
        return Err(AccessError::Values { path: path.to_owned() });
    }
    Ok(())
}

/// A file with secrets, which not everybody may read; of the name `-`, standard input, once.
pub(in crate::run) fn read_secret(path: &Path) -> Result<String, AccessError> {
    if path.file_name() == Some(OsStr::new("-")) {
        return from_stdin(path);
    }
    let failed = |source| AccessError::File { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(AccessError::OpenFile { path: path.to_owned() });
    }
    read(path)
}

/// Text of standard input: it is gone once it is read, and a paired gate asks for it at each of its runs.
static STDIN: Mutex<Option<String>> = Mutex::new(None);

fn from_stdin(path: &Path) -> Result<String, AccessError> {
    let mut known = STDIN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = &*known {
        return Ok(text.clone());
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST_FILE + 1).read_to_string(&mut text);
    let read = read.map_err(|source| AccessError::File { path: path.to_owned(), source })?;
    if read == 0 || read as u64 > LONGEST_FILE {
        return Err(AccessError::Values { path: path.to_owned() });
    }
    Ok(known.insert(text).clone())
}
