//! Errors of a database URL.

use crate::tls::TlsFileError;

/// Errors of a database URL. Nothing of it is repeated but names: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("{0}")]
    Unreadable(String),
    #[error("its `{option}` is none of {allowed}")]
    Value { option: &'static str, allowed: &'static str },
    #[error("its `sslmode` asks for a check of the server's certificate: `sslrootcert` names the file to check it by")]
    NoRoot,
    #[error("it has one of `sslcert` and `sslkey`: both are needed")]
    HalfIdentity,
    #[error(
        "its scheme is `{0}`: expected `postgresql://` or `postgres://`, also with a driver (`postgresql+asyncpg://`) or behind `jdbc:`"
    )]
    Scheme(String),
    #[error("its option `{option}` is not supported: {instead}")]
    Option { option: &'static str, instead: &'static str },
    #[error(transparent)]
    File(#[from] TlsFileError),
}

impl UrlError {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        Self::Unreadable(std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string))
    }
}
