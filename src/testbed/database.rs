//! The PostgreSQL of an experiment: a private cluster, or a database of the user's own.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use gateway_under_test::settings::{DatabaseHost, DatabaseRoute, DatabaseSettings};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::cluster::{self, ClusterError, PgCluster};
use super::names;
use crate::database::TlsMode;
use crate::scenario::Scenario;

/// Reasons why a database of the user's own cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnDatabaseError {
    #[error("invalid database URL: {reason}; expected the form `postgresql://user:password@host:5432/database`")]
    Url { reason: String },
    #[error("cannot connect to `{url}`")]
    Connect {
        /// The URL, without the password.
        url: String,
        /// Message of the driver or the server.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl OwnDatabaseError {
    /// True if the request itself is invalid.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Url { .. })
    }
}

/// A database of the user's own, by its URL.
#[derive(Clone, Debug)]
pub struct OwnDatabase {
    database: crate::database::Database,
    host: DatabaseHost,
    port: u16,
    user: String,
    dbname: String,
}

impl FromStr for OwnDatabase {
    type Err = OwnDatabaseError;

    /// Reads a libpq URL, or its `key=value` form. One host, in plain text: the gateway speaks no TLS.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let database = Self::to_watch(url)?;
        if matches!(database.database.tls_mode(), TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull) {
            let reason = "it asks for TLS, which the gateway's sessions do not speak".to_owned();
            return Err(OwnDatabaseError::Url { reason });
        }
        if database.config().get_options().is_some() {
            let reason = "its `options` would not reach the gateway's sessions".to_owned();
            return Err(OwnDatabaseError::Url { reason });
        }
        Ok(database)
    }
}

impl OwnDatabase {
    /// Reads the URL of a database that is only watched: its `options` concern nobody but us.
    ///
    /// # Errors
    /// [`OwnDatabaseError::Url`].
    pub fn to_watch(url: &str) -> Result<Self, OwnDatabaseError> {
        let refused = |reason: &str| OwnDatabaseError::Url { reason: reason.to_owned() };
        let database = crate::database::Database::from_url(url)
            .map_err(|error| OwnDatabaseError::Url { reason: error.to_string() })?;
        let config = database.config();
        let [host] = config.get_hosts() else { return Err(refused("it must name one host")) };
        let host = match host {
            Host::Unix(folder) => DatabaseHost::Socket(folder.clone()),
            Host::Tcp(name) => DatabaseHost::Tcp(name.clone()),
        };
        let user = config.get_user().ok_or_else(|| refused("no user name"))?.to_owned();
        let dbname = config.get_dbname().unwrap_or(&user).to_owned();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        Ok(Self { database, host, port, user, dbname })
    }

    pub fn config(&self) -> &Config {
        self.database.config()
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.dbname
    }

    /// The same, with its TLS.
    pub fn database(&self) -> &crate::database::Database {
        &self.database
    }

    /// The URL without the password.
    pub fn masked_url(&self) -> String {
        let Self { host, port, user, dbname, .. } = self;
        match host {
            DatabaseHost::Tcp(host) => format!("postgresql://{user}@{host}:{port}/{dbname}"),
            DatabaseHost::Socket(folder) => {
                format!("postgresql://{user}@/{dbname}?host={}&port={port}", folder.display())
            }
        }
    }

    fn password(&self) -> Option<String> {
        self.config().get_password().map(|password| String::from_utf8_lossy(password).into_owned())
    }

    async fn version(&self) -> Result<String, tokio_postgres::Error> {
        let (client, _ending) = self.database.connect().await?;
        let row = client.query_one("SHOW server_version", &[]).await;
        row.map(|row| row.get::<_, String>(0).split(' ').next().unwrap_or_default().to_owned())
    }
}

/// Database of an experiment.
#[derive(Debug)]
pub(super) enum Database {
    /// A throw-away cluster.
    Private(Box<PgCluster>),
    /// The user's own, which stays.
    Own {
        database: Box<OwnDatabase>,
        /// The server's version, as it says it.
        version: String,
    },
}

impl Database {
    /// Finds out whether the user's own database answers.
    pub(super) async fn own(database: &OwnDatabase) -> Result<Self, OwnDatabaseError> {
        let unreachable = |source| OwnDatabaseError::Connect { url: database.masked_url(), source };
        let version = database.version().await.map_err(unreachable)?;
        Ok(Self::Own { database: Box::new(database.clone()), version })
    }

    pub(super) fn config(&self) -> Config {
        match self {
            Self::Private(cluster) => cluster.config(),
            Self::Own { database, .. } => database.config().clone(),
        }
    }

    pub(super) fn masked_url(&self) -> String {
        match self {
            Self::Private(cluster) => cluster.url(),
            Self::Own { database, .. } => database.masked_url(),
        }
    }

    pub(super) fn version(&self) -> &str {
        match self {
            Self::Private(cluster) => cluster.version(),
            Self::Own { version, .. } => version,
        }
    }

    /// The console of the `PgBouncer` in front of a private one, and its log.
    pub(super) fn pgbouncer(&self) -> Option<(Config, PathBuf)> {
        match self {
            Self::Private(cluster) => cluster.pgbouncer().map(|(console, log)| (console, log.to_owned())),
            Self::Own { .. } => None,
        }
    }

    /// A folder for logs that nobody asked for.
    pub(super) fn log_folder(&self) -> &Path {
        match self {
            Self::Private(cluster) => cluster.folder(),
            Self::Own { .. } => Path::new("."),
        }
    }

    /// The server as a gateway is informed of it.
    pub(super) fn settings(&self, scenario: &Scenario) -> DatabaseSettings {
        let limits = &scenario.database;
        let (host, port, user, password, dbname) = match self {
            Self::Private(cluster) => {
                let host = DatabaseHost::Socket(cluster.socket_dir().to_owned());
                (host, cluster.gateway_port(), names::SUPERUSER.to_owned(), None, cluster::DATABASE.to_owned())
            }
            Self::Own { database, .. } => {
                let OwnDatabase { host, port, user, dbname, .. } = database.as_ref();
                (host.clone(), *port, user.clone(), database.password(), dbname.clone())
            }
        };
        DatabaseSettings {
            host,
            port,
            user,
            password,
            dbname,
            route: if self.pgbouncer().is_some() { DatabaseRoute::TransactionPooler } else { DatabaseRoute::Direct },
            statement_timeout: limits.statement_timeout.duration(),
            idle_in_transaction_session_timeout: limits.idle_in_transaction_session_timeout.duration(),
        }
    }

    /// Waits until a private server is gone, and tells why; whether the user's own goes, the gateway will say.
    pub(super) async fn gone(&mut self) -> ClusterError {
        match self {
            Self::Private(cluster) => cluster.gone().await,
            Self::Own { .. } => std::future::pending().await,
        }
    }

    /// Ends a private server, and leaves the user's own.
    pub(super) async fn stop(self) -> Result<(), ClusterError> {
        match self {
            Self::Private(mut cluster) => cluster.stop().await,
            Self::Own { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_its_password() {
        for (url, shown) in [
            ("postgresql://me:secret@localhost:5433/mine", "postgresql://me@localhost:5433/mine"),
            ("postgres://me:secret@db.example", "postgresql://me@db.example:5432/me"),
            (
                "host=/run/postgresql user=me password=secret dbname=mine",
                "postgresql://me@/mine?host=/run/postgresql&port=5432",
            ),
        ] {
            let database: OwnDatabase = url.parse().unwrap();
            assert_eq!(database.masked_url(), shown);
            assert_eq!(database.password().as_deref(), Some("secret"));
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_repeating_the_password() {
        for (url, reason) in [
            ("postgresql://me:secret@a,b/mine", "one host"),
            ("postgresql://localhost/mine", "no user"),
            ("postgresql://me:secret@localhost/mine?sslmode=require", "TLS"),
            ("postgresql://me:secret@localhost/mine?sslmode=surely", "sslmode"),
            ("postgresql://me:secret@localhost:port/mine", "port"),
            ("postgresql://me:secret@localhost/mine?options=-csearch_path%3Dapp", "options"),
            ("mysql://me:secret@localhost/mine", "invalid database URL"),
        ] {
            let error = url.parse::<OwnDatabase>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
