//! Certificates of your own: those that clients trust, and those that they show.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::check::Problems;

/// Files in PEM format, relative to the scenario's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificates of the only authorities that are trusted, in place of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The certificate that the clients show, and those between it and its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_file: Option<PathBuf>,
    /// Its private key, for nobody else to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<PathBuf>,
}

/// The console of a `PgBouncer` on the way to the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgBouncerAccess {
    /// The environment variable that holds its URL.
    pub url_env: String,
}

/// Checks the files of a target.
pub(super) fn check(files: &TlsFiles, found: &mut Problems) {
    if files.client_cert_file.is_some() != files.client_key_file.is_some() {
        found.error(&["target", "tls"], "has one of `client_cert_file` and `client_key_file`: both are needed");
    }
}
