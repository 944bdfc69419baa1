//! The gate on real parts: what CI reads is the exit code.

mod junit;
mod live;
mod recorded;
mod refused;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{SMALL, text};

/// The verdict that `--json` prints.
fn verdict(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn new_folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

fn read_bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
}

/// The list under `key`.
fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no list `{key}` in {value}"))
}

/// The small scenario up to its rules.
fn small_without_rules() -> String {
    let small = read(Path::new(SMALL));
    let (scenario, _) =
        small.split_once("# What CI asks of it").expect("a line before the rules of the small scenario");
    scenario.to_owned()
}
