//! Secrets that stand in a scenario, of which every copy would hold them.

use std::collections::BTreeMap;

use super::identity::Login;
use super::route::holes;
use super::todo::MARK;
use crate::scenario::check::Problems;
use crate::scenario::key::KeyPath;

/// What is called by one of these words holds a secret.
const SECRET_WORDS: [&str; 6] = ["SECRET", "TOKEN", "PASSW", "APIKEY", "API_KEY", "CREDENTIAL"];

/// Whether something of this name, a variable, a key or a header, holds a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let plain = name.to_ascii_uppercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| plain.contains(word))
}

/// Whether this is a secret by its name, and written out.
pub(super) fn holds_secret(name: &str, value: &str) -> bool {
    is_secret_name(name) && is_literal(value)
}

/// A text that is sent as it stands; what is still to be said is not sent.
fn is_literal(text: &str) -> bool {
    !text.is_empty() && holes(text).next().is_none() && !text.trim_start().starts_with(MARK)
}

/// Names every value of a login that is a secret by its key, and has no hole for it.
pub(super) fn check_login(place: &str, login: &Login, found: &mut Problems) {
    let key = KeyPath::of(["identity", place, "login"]);
    if let Some(json) = &login.json {
        collect(&key.child("json"), json, false, found);
    }
    check_form(&key.child("form"), &login.form, found);
}

fn check_form(key: &KeyPath, form: &BTreeMap<String, String>, found: &mut Problems) {
    for (name, _) in form.iter().filter(|(name, value)| holds_secret(name, value)) {
        refuse(&key.child(name), found);
    }
}

/// `secret`: whether a key on the way here says so.
fn collect(key: &KeyPath, value: &serde_json::Value, secret: bool, found: &mut Problems) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, it)| collect(&key.child(name), it, secret || is_secret_name(name), found));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, it)| collect(&key.item(index), it, secret, found));
        }
        Value::String(text) if secret && is_literal(text) => refuse(key, found),
        Value::Number(_) if secret => refuse(key, found),
        _ => {}
    }
}

/// The value is not repeated.
fn refuse(key: &KeyPath, found: &mut Problems) {
    let names: Vec<&str> = key.names().iter().map(String::as_str).collect();
    found.error(
        &names,
        "holds a secret, which would be in every copy of the scenario: write {password}, and name a variable with `password_env` or a column with `password_column`",
    );
}
