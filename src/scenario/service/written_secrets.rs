//! Secrets that stand in a scenario, of which every copy would hold them.

use std::collections::BTreeMap;

use super::identity::IdentitySource;
use super::request::ServiceRoute;
use super::route::Values;
use super::secret::{collect, holds_secret, is_token, refuse};
use super::todo::MARK;
use crate::scenario::check::Problems;
use crate::scenario::key::KeyPath;

const OF_LOGIN: &str = "write {password}, and name a variable with `password_env` or a column with `password_column`";

/// Names every value of an identity's login that is a secret by its key, and has no hole for it.
pub(super) fn check_identity(place: &str, identity: &IdentitySource, found: &mut Problems) {
    let Some(login) = &identity.login else { return };
    let key = KeyPath::of(["identity", place, "login"]);
    if let Some(json) = &login.json {
        collect(&key.child("json"), json, false, &|_| OF_LOGIN.to_owned(), found);
    }
    check_form(&key.child("form"), &login.form, found);
}

fn check_form(key: &KeyPath, form: &BTreeMap<String, String>, found: &mut Problems) {
    for (name, _) in form.iter().filter(|(name, value)| holds_secret(name, value)) {
        refuse(&key.child(name), OF_LOGIN, found);
    }
}

/// Names every value of a route that is a secret by its name or by its form, and is written out.
pub(super) fn check_route(place: &str, route: &ServiceRoute, found: &mut Problems) {
    let key = KeyPath::of(["route", place]);
    let cure = |name: &str| {
        let hole: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!(
            "write {{{hole}}}, and give it by `params.{hole} = {{ file = \"…\" }}`, or by a column of the `file` of an \
             [[identity]]"
        )
    };
    for (part, values) in [("query", &route.query), ("form", &route.form)] {
        for (name, _) in values.iter().filter(|(name, value)| holds_secret(name, value)) {
            refuse(&key.child(part).child(name), &cure(name), found);
        }
    }
    for (name, values) in &route.params {
        let Values::List(list) = values else { continue };
        if list.iter().any(|value| holds_secret(name, &value.to_string())) {
            refuse(&key.child("params").child(name), &cure(name), found);
        }
    }
    if let Some(json) = &route.json {
        collect(&key.child("json"), json, false, &cure, found);
    }
    if let Some(mcp) = &route.mcp {
        let arguments = serde_json::Value::Object(mcp.arguments.clone());
        collect(&key.child("mcp").child("arguments"), &arguments, false, &cure, found);
    }
    let has_pair = |text: &str| {
        let pairs = text.split(['&', '\n']).filter_map(|pair| pair.split_once('='));
        pairs.into_iter().any(|(name, value)| holds_secret(name.trim(), value.trim()))
    };
    let has_token = |text: &str| text.split(|c: char| !is_of_token(c)).any(is_token);
    let is_sent = |text: &&str| !text.trim_start().starts_with(MARK);
    if route.text.as_deref().filter(is_sent).is_some_and(|text| has_token(text) || has_pair(text)) {
        refuse(&key.child("text"), "put the body into a file and name it with `body_file`", found);
    }
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '.')
}
