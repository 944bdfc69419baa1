//! The base URL of a service.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// Address of a service: scheme, host, port, and a path before those of its routes.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// Errors of a [`BaseUrl`]. A password is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    #[error("invalid URL {0:?}: expected one such as \"http://127.0.0.1:8000\"")]
    Unreadable(String),
    #[error("invalid URL: expected one without name and password, which belong to an [[identity]]")]
    Credentials,
    #[error("invalid URL {0:?}: expected one without `?` and `#`, which belong to a [[route]]")]
    MoreThanBase(String),
}

impl BaseUrl {
    /// The URL, for a client.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Its host, as it is written: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host)
    }

    /// Its port, the scheme's when none is written.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(80)
    }

    /// The base with `path` behind it, as text.
    pub fn with_path(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        // Something that cannot be read may still hold a password.
        let shown = || if text.contains('@') { "…@…".to_owned() } else { text.to_owned() };
        let url = Url::parse(text).map_err(|_unparsable| BaseUrlError::Unreadable(shown()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Credentials);
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(BaseUrlError::Unreadable(shown()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::MoreThanBase(shown()));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// True if a database URL, in either of libpq's forms, holds a password.
#[must_use]
pub fn holds_password(url: &str) -> bool {
    let in_authority = url.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        // A password may hold any character: what stands before the last `@` is name and password.
        rest.rsplit_once('@').map_or(authority, |(before, _)| before).contains(':') && rest.contains('@')
    });
    in_authority || url.to_ascii_lowercase().replace(' ', "").contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_read_and_shown_and_never_with_a_password() {
        let url: BaseUrl = "http://127.0.0.1:8000/".parse().unwrap();
        assert_eq!((url.to_string().as_str(), url.host(), url.port()), ("http://127.0.0.1:8000", "127.0.0.1", 8000));
        assert_eq!(url.with_path("/health"), "http://127.0.0.1:8000/health");
        let url: BaseUrl = "https://[::1]/api".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.with_path("/x").as_str()), ("::1", 443, "https://[::1]/api/x"));
        for text in ["http://me:s3cret@localhost", "me:s3cret@localhost", "http://a:s3cret@", "ftp://a:s3cret@b"] {
            let error = text.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_found_in_either_form() {
        for url in
            ["postgresql://a:b@h/d", "postgres://a:p@ss/w@h/d", "host=h password = x", "postgresql://h/d?password=x"]
        {
            assert!(holds_password(url), "{url}");
        }
        for url in ["postgresql://a@h:5432/d", "postgresql://h:5432/d", "host=h user=a", "postgresql:///d?host=/tmp"] {
            assert!(!holds_password(url), "{url}");
        }
    }
}
