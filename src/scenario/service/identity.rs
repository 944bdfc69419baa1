//! Who the users of a service are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{check_header, check_variable};
use crate::scenario::check::Problems;

/// Who a user is: a bearer token, a name and a password, or any header. Each secret is named by the environment variable
/// that holds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySource {
    /// The variable with a token, for `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_env: Option<String>,
    /// A name, for `Authorization: Basic …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The variable with its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The name of a header, such as `X-Api-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The variable with the header's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_env: Option<String>,
}

/// What is wrong with the identity of this place.
pub(super) fn check_identity(place: &str, identity: &IdentitySource, found: &mut Problems) {
    let IdentitySource { bearer_env, user, password_env, header, value_env } = identity;
    let forms =
        [bearer_env.is_some(), user.is_some() || password_env.is_some(), header.is_some() || value_env.is_some()];
    let halves = user.is_some() != password_env.is_some() || header.is_some() != value_env.is_some();
    if forms.iter().filter(|said| **said).count() != 1 || halves {
        let message = "is not one of: `bearer_env`; `user` and `password_env`; `header` and `value_env`";
        found.error(&["identity", place], message);
    }
    for (name, value) in [("bearer_env", bearer_env), ("password_env", password_env), ("value_env", value_env)] {
        check_variable(&["identity", place, name], value.as_deref(), found);
    }
    check_header(&["identity", place, "header"], header.as_deref(), found);
}
