//! Identities of a service's users.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::route::{RouteName, holes};
use super::syntax::{check_header, check_variable};
use crate::scenario::check::Problems;

/// An identity: a bearer token, a name and a password, any header, or a login whose answer holds a token. Each secret is
/// named by the environment variable, or the column of a file, that holds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySource {
    /// The variable with a token, for `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_env: Option<String>,
    /// The column with such a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_column: Option<String>,
    /// A name, for `Authorization: Basic …`, or for `{user}` in a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The variable with its password, which is `{password}` in a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The column with such a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_column: Option<String>,
    /// The name of a header, such as `X-Api-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The variable with the header's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_env: Option<String>,
    /// A request, sent once before the load, whose answer holds a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// A table, CSV with a head or NDJSON, beside the scenario's file: an identity for each row. Its columns fill `{name}` in
    /// `user`, in the login and in the routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// A request whose answer holds a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Method and path.
    pub route: RouteName,
    /// The body as a value, sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// The body as a form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, String>,
    /// The JSON pointer at which the answer has the token.
    pub token: String,
    /// The header that takes it.
    #[serde(default = "authorization")]
    pub header: String,
    /// Prefix of the token there.
    #[serde(default = "bearer")]
    pub prefix: String,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

impl Login {
    /// The names in braces, in path and body.
    #[must_use]
    pub fn holes(&self) -> Vec<String> {
        let json = self.json.as_ref().map(ToString::to_string);
        let texts = self.form.values().map(String::as_str).chain(json.as_deref()).chain([self.route.path()]);
        texts.flat_map(holes).collect()
    }
}

const FORMS: &str = "is not one of: `bearer_env`; `user` and `password_env`; `header` and `value_env`; `login`; `file` alone \
                     (`bearer_column` and `password_column` may stand for the variables)";

/// Checks the identity of this place.
pub(super) fn check_identity(place: &str, identity: &IdentitySource, found: &mut Problems) {
    let IdentitySource { bearer_env, bearer_column, password_env, password_column, value_env, .. } = identity;
    let several = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some();
    if !has_one_form(identity) || several(bearer_env, bearer_column) || several(password_env, password_column) {
        found.error(&["identity", place], FORMS);
    }
    for (name, value) in [("bearer_env", bearer_env), ("password_env", password_env), ("value_env", value_env)] {
        check_variable(&["identity", place, name], value.as_deref(), found);
    }
    for (name, column) in [("bearer_column", bearer_column), ("password_column", password_column)] {
        if column.is_some() && identity.file.is_none() {
            found.error(&["identity", place, name], "is a column of no `file`");
        }
    }
    check_header(&["identity", place, "header"], identity.header.as_deref(), found);
    if let Some(login) = &identity.login {
        check_login(place, login, identity, found);
    }
}

fn has_one_form(identity: &IdentitySource) -> bool {
    let bearer = identity.bearer_env.is_some() || identity.bearer_column.is_some();
    let password = identity.password_env.is_some() || identity.password_column.is_some();
    let (user, header) = (identity.user.is_some(), identity.header.is_some());
    match (&identity.login, bearer, user || password, header || identity.value_env.is_some()) {
        (Some(_), false, _, false) | (None, true, false, false) => true,
        (None, false, true, false) => user && password,
        (None, false, false, true) => header && identity.value_env.is_some(),
        (None, false, false, false) => identity.file.is_some(),
        _ => false,
    }
}

fn check_login(place: &str, login: &Login, identity: &IdentitySource, found: &mut Problems) {
    let key = |name: &'static str| ["identity", place, "login", name];
    if login.json.is_some() && !login.form.is_empty() {
        found.error(&key("json"), "is beside `form`: a request has one body");
    }
    if !login.token.starts_with('/') {
        let message = format!("is {:?}: expected a JSON pointer, such as \"/access_token\"", login.token);
        found.error(&key("token"), message);
    }
    check_header(&key("header"), Some(&login.header), found);
    let filled = |name: &str| match name {
        "user" if identity.user.is_some() => true,
        "password" => identity.password_env.is_some() || identity.password_column.is_some(),
        _ => identity.file.is_some(),
    };
    for name in login.holes().iter().filter(|name| !filled(name)) {
        let message = match name.as_str() {
            "user" => "needs `{user}`: `user` in the identity, or a column of its `file`, gives it".to_owned(),
            "password" => {
                "needs `{password}`: `password_env` in the identity, or `password_column`, gives it".to_owned()
            }
            other => format!("needs `{{{other}}}`, which is a column of no `file`"),
        };
        found.error(&["identity", place, "login"], message);
    }
}
