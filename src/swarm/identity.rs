//! Identities of users.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::redact::SHORTEST_SECRET;

/// A user's credentials: headers, marked as sensitive so that no log shows them; and what is known of the user.
#[derive(Clone, Debug)]
pub struct Identity {
    headers: Arc<[(HeaderName, HeaderValue)]>,
    columns: Arc<BTreeMap<String, String>>,
}

impl Identity {
    /// Somebody who is known by these headers; by none: nobody.
    pub fn of(headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let sensitive = headers.into_iter().map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        });
        Self { headers: sensitive.collect(), columns: Arc::default() }
    }

    /// Somebody who is known by the `Authorization` header.
    pub fn authorized(value: HeaderValue) -> Self {
        Self::of([(AUTHORIZATION, value)])
    }

    /// The same, with these columns.
    #[must_use]
    pub fn with_columns(mut self, columns: BTreeMap<String, String>) -> Self {
        self.columns = columns.into();
        self
    }

    /// Known values of the user by these names.
    pub(super) fn known(&self, names: &[String]) -> Vec<Option<Arc<str>>> {
        names.iter().map(|name| self.columns.get(name).map(|value| value.as_str().into())).collect()
    }

    /// Secrets by which others could pose as them: the values, without the scheme before them, and without the names in them.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        let secrets = values.flat_map(secrets_in).filter(|secret| secret.len() >= SHORTEST_SECRET);
        secrets.map(str::to_owned).collect()
    }

    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers.iter() {
            headers.insert(name, value.clone());
        }
    }
}

/// The parts of a header's value that are secret: of `Token token="abc"` the text `abc`, of cookies each one's value.
fn secrets_in(value: &str) -> impl Iterator<Item = &str> {
    let mut parts: Vec<&str> = value.split([' ', ';', ',']).filter(|part| !part.is_empty()).collect();
    let begins_with_scheme = parts.len() > 1 && !parts[0].contains('=');
    if begins_with_scheme {
        parts.remove(0);
    }
    parts.into_iter().flat_map(|part| {
        // What base64 is filled up with separates nothing.
        let named = part.split_once('=').map(|(_name, value)| value.trim_matches('"'));
        [Some(part), named.filter(|value| !value.trim_matches('=').is_empty())].into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_a_header_are_reported_from_its_scheme_and_its_names() {
        let secrets = |value: &'static str| Identity::of([(AUTHORIZATION, HeaderValue::from_static(value))]).secrets();
        assert_eq!(secrets("Bearer abcdef"), ["abcdef"]);
        assert_eq!(secrets("abcdef"), ["abcdef"]);
        assert_eq!(secrets("Basic dXNlcjpwYXNz=="), ["dXNlcjpwYXNz=="]);
        assert_eq!(secrets("Token token=\"abcdef\""), ["token=\"abcdef\"", "abcdef"]);
        assert_eq!(secrets("session=abcdef; csrf=ghijk"), ["session=abcdef", "abcdef", "csrf=ghijk", "ghijk"]);
        assert_eq!(secrets("abc"), Vec::<String>::new());
    }
}
