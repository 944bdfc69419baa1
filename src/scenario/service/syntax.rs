//! Syntax of a path, a header's name and a variable's name, wherever a scenario has one.

use reqwest::header::HeaderName;

use super::secret::check_query;
use crate::scenario::check::Problems;

pub(super) fn check_path(key: &[&str], path: Option<&str>, found: &mut Problems) {
    check_query(key, path, found);
    if let Some(path) = path.filter(|path| !path.starts_with('/')) {
        found.error(key, format!("is {path:?}: expected a path that starts with `/`"));
    }
}

/// A value in place of a name is a secret at the wrong place: it is not repeated.
pub(super) fn check_variable(key: &[&str], name: Option<&str>, found: &mut Problems) {
    let is_name = |name: &str| {
        let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        letters && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())
    };
    if name.is_some_and(|name| !is_name(name)) {
        found.error(key, "is not the name of a variable: expected letters, digits and `_`; the value stays outside");
    }
}

pub(super) fn check_header(key: &[&str], name: Option<&str>, found: &mut Problems) {
    if let Some(name) = name.filter(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
        found.error(key, format!("is {name:?}, which is not the name of a header"));
    }
}
