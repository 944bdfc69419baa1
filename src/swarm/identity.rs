//! Who a user is.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// Anything shorter is no secret, and would mask half a sentence.
const SHORTEST_SECRET: usize = 4;

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

    /// The same, of whom this is known.
    #[must_use]
    pub fn with_columns(mut self, columns: BTreeMap<String, String>) -> Self {
        self.columns = columns.into();
        self
    }

    /// What is known of the user by these names.
    pub(super) fn known(&self, names: &[String]) -> Vec<Option<Arc<str>>> {
        names.iter().map(|name| self.columns.get(name).map(|value| value.as_str().into())).collect()
    }

    /// What would let others be them: the values, without the scheme before them.
    pub(super) fn secrets(&self) -> Vec<String> {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        let secret = values.map(|value| value.rsplit(' ').next().unwrap_or(value).to_owned());
        secret.filter(|secret| secret.len() >= SHORTEST_SECRET).collect()
    }

    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers.iter() {
            headers.insert(name, value.clone());
        }
    }
}
