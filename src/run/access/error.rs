//! Errors of reaching a service or its database.

use std::path::PathBuf;

use crate::database::UrlError;
use crate::monitor::ConsoleUrlError;
use crate::run::remote_guard::GuardError;
use crate::tls::TlsFileError;

/// The longest file of values.
pub(in crate::run) const LONGEST_FILE: u64 = 64 << 20;

/// Errors of reaching a service or its database as the scenario says.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("`{host}` is another machine: a load on it needs a ceiling, such as `max_rate = 20` under [load]")]
    NoCeiling { host: String },
    #[error("the files under `target.tls` cannot be used")]
    Tls(#[from] TlsFileError),
    #[error(transparent)]
    PgBouncerUrl(#[from] ConsoleUrlError),
    #[error("the variable `{name}` is not set: `{key}` needs it")]
    NoVariable { name: String, key: &'static str },
    #[error("the value of {from} cannot stand in a header")]
    Unsendable {
        /// Source of the value.
        from: String,
    },
    #[error("`{}` cannot be used: {reason}", path.display())]
    Table {
        path: PathBuf,
        /// Fault of the file, without its values.
        reason: String,
    },
    #[error("{who} has no `{name}`, which {needed_by} needs: its columns are {there}")]
    NoColumn {
        who: String,
        name: String,
        needed_by: String,
        /// The columns that are there.
        there: String,
    },
    #[error("cannot read `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("secrets file `{}` is world-readable: expected `chmod 600`", path.display())]
    OpenFile { path: PathBuf },
    #[error("`{}` has no value, or is longer than {} MB: a value a line is needed", path.display(), LONGEST_FILE >> 20)]
    Values { path: PathBuf },
    #[error("invalid database URL from {from}: expected the form `postgresql://user:password@host:5432/database`")]
    DatabaseUrl {
        /// Source of the URL.
        from: String,
        #[source]
        source: UrlError,
    },
}
