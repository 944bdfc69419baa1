//! The folder of a server's programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder behind `dir` that holds both programs: `dir/postgres` may be a link into another one.
pub(super) fn server_folder(dir: &Path) -> Option<PathBuf> {
    let postgres = dir.join("postgres").canonicalize().ok()?;
    let folder = postgres.parent()?;
    let complete = is_executable(&folder.join("postgres")) && is_executable(&folder.join("initdb"));
    complete.then(|| folder.to_owned())
}

pub(super) fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
