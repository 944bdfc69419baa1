//! The page on which a service publishes its pool's gauges, and what they are called there.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Deserialize as Derived, Serialize, Serializer};

use super::BaseUrl;
use super::syntax::check_path;
use crate::scenario::check::Problems;

/// A page in Prometheus' or OpenMetrics' text format. A gauge that is on it several times is summed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Derived, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Its path, behind the base URL of each replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The one page of all replicas, in place of `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<BaseUrl>,
    /// Connections that are out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_out: Option<GaugeName>,
    /// Connections that the pool keeps, or may keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<GaugeName>,
    /// Connections beyond those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<GaugeName>,
    /// Checkouts that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(alias = "waiting")]
    pub pending: Option<GaugeName>,
    /// The counter of checkouts that have given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<GaugeName>,
    /// The histogram of the time that checkouts waited, in seconds: its name without `_bucket`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<GaugeName>,
}

impl Metrics {
    /// The addresses of the pages of a variant with these base URLs.
    #[must_use]
    pub fn pages(&self, urls: &[BaseUrl]) -> Vec<String> {
        match (&self.url, &self.path) {
            (Some(url), _) => vec![url.to_string()],
            (None, Some(path)) => urls.iter().map(|url| url.with_path(path)).collect(),
            (None, None) => Vec::new(),
        }
    }
}

/// Checks a page of gauges.
pub(super) fn check(metrics: &Metrics, found: &mut Problems) {
    let key = ["target", "metrics"];
    if metrics.path.is_some() == metrics.url.is_some() {
        found.error(&key, "needs one of `path`, behind the target's URL, and `url`");
    }
    check_path(&["target", "metrics", "path"], metrics.path.as_deref(), found);
    let Metrics { checked_out, size, overflow, pending, timeouts, wait, path: _, url: _ } = metrics;
    if [checked_out, size, overflow, pending, timeouts, wait].iter().all(|name| name.is_none()) {
        found.error(&key, "names no gauge: such as checked_out = \"db_pool_checked_out\"");
    }
}

/// A metric: its name and, where not all of its lines are meant, a label. Written `name` or `name{label="value"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaugeName {
    /// `hikaricp_connections_active`.
    pub name: String,
    /// Name and value of a label.
    pub label: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid metric {0:?}: expected one such as \"pool_used\" or \"pool_connections{{state=\\\"used\\\"}}\"")]
pub struct GaugeNameError(String);

impl FromStr for GaugeName {
    type Err = GaugeNameError;

    /// Reads `name` or `name{label="value"}`; the quotes may be left out.
    fn from_str(text: &str) -> Result<Self, GaugeNameError> {
        let refused = || GaugeNameError(text.to_owned());
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.'))
        };
        let (name, label) = match text.trim().split_once('{') {
            None => (text.trim(), None),
            Some((name, rest)) => {
                let inside = rest.strip_suffix('}').ok_or_else(refused)?;
                let (label, value) = inside.split_once('=').ok_or_else(refused)?;
                let value = value.trim().trim_matches('"');
                (name.trim(), Some((label.trim().to_owned(), value.to_owned())))
            }
        };
        let labelled = label.as_ref().is_none_or(|(label, _)| is_name(label));
        if is_name(name) && labelled { Ok(Self { name: name.to_owned(), label }) } else { Err(refused()) }
    }
}

impl fmt::Display for GaugeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some((label, value)) => write!(f, "{}{{{label}=\"{value}\"}}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Serialize for GaugeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GaugeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_named_with_or_without_a_label_and_nonsense_is_refused() {
        for text in ["hikaricp_connections_active", "a:b{pool=\"b\"}"] {
            assert_eq!(text.parse::<GaugeName>().unwrap().to_string(), text);
        }
        assert_eq!("x{a=b}".parse::<GaugeName>(), "x{a=\"b\"}".parse());
        for nonsense in ["", "a b", "x{", "x{y}", "{a=b}", "x{a=\"b\""] {
            assert!(nonsense.parse::<GaugeName>().is_err(), "{nonsense}");
        }
    }
}
