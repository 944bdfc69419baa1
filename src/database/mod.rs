//! Connections to a PostgreSQL: a URL as libpq reads it, with its TLS.
//!
//! `tokio-postgres` knows three of libpq's six TLS modes, and no files. What a URL says of TLS is taken out of it here
//! (`url`), and done here (`tls`): so each connection of the program means by `sslmode` what psql means.

mod error;
mod spelling;
mod tls;
mod url;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::config::{Host, SslMode as DriverMode};
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_util::task::AbortOnDropHandle;

use tls::Tls;

pub use error::UrlError;
pub use tls::TlsMode;

/// End of a connection, with its error, if it has one. The connection ends when this is dropped, at the latest: one to
/// a server that hangs would stay for ever.
pub type Ending = AbortOnDropHandle<Result<(), Error>>;

/// A PostgreSQL, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Database {
    config: Config,
    tls: Tls,
}

impl From<Config> for Database {
    /// Without TLS.
    fn from(config: Config) -> Self {
        Self { config, tls: Tls::none() }
    }
}

impl std::str::FromStr for Database {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::from_url(text)
    }
}

impl From<&Config> for Database {
    fn from(config: &Config) -> Self {
        config.clone().into()
    }
}

impl From<&Self> for Database {
    fn from(database: &Self) -> Self {
        database.clone()
    }
}

impl Database {
    /// The ports at which it is reached.
    pub fn ports(&self) -> Vec<u16> {
        match self.config.get_ports() {
            [] => vec![5432],
            ports => ports.to_vec(),
        }
    }

    /// Reads a URL, or libpq's `key=value` form; also SQLAlchemy's, which names a driver (`postgresql+asyncpg://`). The
    /// files that it names are read, too.
    ///
    /// # Errors
    /// [`UrlError`], which repeats nothing of the URL but names of options and files.
    pub fn from_url(text: &str) -> Result<Self, UrlError> {
        let (rest, options) = url::split(text)?;
        let mut config: Config = rest.parse().map_err(|error| UrlError::of(&error))?;
        let only_sockets =
            !config.get_hosts().is_empty() && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        // As libpq does: there is no TLS over a socket of this machine.
        let tls = if only_sockets { Tls::none() } else { Tls::of(&options)? };
        config.ssl_mode(tls.first_attempt());
        Ok(Self { config, tls })
    }

    /// Connection settings apart from TLS.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same, to be changed.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Address without the password and everything else that is nobody's business.
    pub fn masked_url(&self) -> String {
        let config = &self.config;
        let ports = config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(index)),
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(folder) => format!("{}:{}", encoded(&folder.display().to_string()), port(index)),
        });
        // One that is tried at several addresses is there several times.
        let mut shown: Vec<String> = Vec::new();
        for host in hosts {
            if !shown.contains(&host) {
                shown.push(host);
            }
        }
        let user = config.get_user().map(|user| format!("{}@", encoded(user))).unwrap_or_default();
        let name = config.get_dbname().map(|name| format!("/{}", encoded(name))).unwrap_or_default();
        format!("postgresql://{user}{}{name}", shown.join(","))
    }

    pub fn tls_mode(&self) -> TlsMode {
        self.tls.mode()
    }

    /// Connects; the connection is a task, which runs until its client or its [`Ending`] is dropped.
    ///
    /// # Errors
    /// Message of the driver or the server. Where two ways were tried, as `prefer` and `allow` ask, that of the first.
    pub async fn connect(&self) -> Result<(Client, Ending), Error> {
        let first = self.attempt(self.tls.first_attempt()).await;
        match (first, self.tls.second_attempt()) {
            // Nobody is there, in whichever way one speaks.
            (Err(error), Some(_)) if is_unreachable(&error) => Err(error),
            (Err(error), Some(mode)) => self.attempt(mode).await.map_err(|_second| error),
            (first, _) => first,
        }
    }

    async fn attempt(&self, mode: DriverMode) -> Result<(Client, Ending), Error> {
        let mut config = self.config.clone();
        config.ssl_mode(mode);
        if let Some(tls) = self.tls.connector().filter(|_| mode != DriverMode::Disable) {
            let (client, connection) = config.connect(tls).await?;
            return Ok((client, AbortOnDropHandle::new(tokio::spawn(connection))));
        }
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, AbortOnDropHandle::new(tokio::spawn(connection))))
    }
}

/// True if no server was reached at all.
fn is_unreachable(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|it| it.downcast_ref::<std::io::Error>());
    source.is_some_and(|it| {
        matches!(it.kind(), std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound)
            || matches!(it.kind(), std::io::ErrorKind::TimedOut)
    })
}

/// An error of the driver with what is behind it, in one line; what is wrong with a certificate has its own name.
pub fn reported(error: &Error) -> String {
    if let Some(fault) = crate::tls::certificate_fault(error) {
        return format!("{error}: {fault}");
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text_seen = inner.to_string();
        if !text.ends_with(&text_seen) {
            text = format!("{text}: {text_seen}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password_and_can_be_read_again() {
        for (url, shown) in [
            ("postgresql://a:s3cret@h:1,i/d?sslmode=disable", "postgresql://a@h:1,i:5432/d"),
            ("postgres://a%20b:s3cret@[::1]/d", "postgresql://a%20b@[::1]:5432/d"),
            ("host=/tmp/x user=me password=s3cret dbname=d-e", "postgresql://me@%2Ftmp%2Fx:5432/d%2De"),
        ] {
            let database = Database::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(database.masked_url(), shown);
            let again = Database::from_url(shown).unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(again.config().get_hosts(), database.config().get_hosts());
            assert_eq!(again.masked_url(), shown);
        }
    }

    #[test]
    fn a_socket_of_this_machine_has_no_tls() {
        let mode = |url: &str| Database::from_url(url).map_or(TlsMode::Allow, |it| it.tls_mode());
        assert_eq!(mode("host=/tmp user=me sslmode=require"), TlsMode::Disable);
        assert_eq!(mode("postgresql://h/d?sslmode=disable"), TlsMode::Disable);
        assert!(matches!(
            Database::from_url("postgresql://h/d?sslmode=verify-full&sslrootcert=system&sslcert=/c"),
            Err(UrlError::HalfIdentity | UrlError::File(_))
        ));
        assert!(matches!(Database::from_url("postgresql://h/d?sslmode=sure"), Err(UrlError::Value { .. })));
    }
}
