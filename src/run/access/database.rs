//! The database of a service and the console of its `PgBouncer`: their URLs read, their hosts admitted and pinned.

use std::net::SocketAddr;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::super::remote_guard::{GuardError, RemoteGuard};
use super::error::AccessError;
use super::files::{read_secret, variable};
use super::{DATABASE_URL, DatabaseUrl};
use crate::database::{Database, UrlError};
use crate::monitor::Console;
use crate::scenario::ServiceScenario;

/// The database's configuration, every host of it admitted.
pub(super) async fn of_service(
    scenario: &ServiceScenario,
    given: Option<&DatabaseUrl>,
    guard: &mut RemoteGuard,
) -> Result<Database, AccessError> {
    let access = &scenario.database;
    let (url, from) = if let Some(given) = given {
        (given.url.clone(), format!("`{}`", given.from))
    } else if let Some(url) = &access.url {
        (url.clone(), "`database.url`".to_owned())
    } else if let Some(file) = &access.url_file {
        (read_secret(&scenario.folder.join(file))?, format!("`{}`", file.display()))
    } else {
        let name = access.url_env.as_deref().unwrap_or(DATABASE_URL);
        (variable(name, "database.url_env")?, format!("the variable `{name}`"))
    };
    let mut database = parsed(&url).map_err(|source| AccessError::DatabaseUrl { from, source })?;
    admit(database.config_mut(), guard).await?;
    Ok(database)
}

/// The console of the `PgBouncer` that was given, or else of the one that the scenario names; its host is admitted.
pub(super) async fn console(
    scenario: &ServiceScenario,
    given: Option<&Console>,
    guard: &mut RemoteGuard,
) -> Result<Option<Console>, AccessError> {
    let mut console: Console = match (given, &scenario.pgbouncer) {
        (Some(given), _) => given.clone(),
        (None, Some(access)) => variable(&access.url_env, "pgbouncer.url_env")?.trim().parse()?,
        (None, None) => return Ok(None),
    };
    admit(console.database_mut().config_mut(), guard).await?;
    Ok(Some(console))
}

/// Asks the guard about every host of a database, and pins them to the addresses that they have.
pub(super) async fn admit(config: &mut Config, guard: &mut RemoteGuard) -> Result<(), GuardError> {
    let ports = config.get_ports().to_vec();
    let mut admitted = Vec::new();
    for (index, host) in config.get_hosts().to_vec().iter().enumerate() {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        if let Host::Tcp(name) = host {
            admitted.push((name.clone(), guard.admit(name, port).await?));
        }
    }
    for address in config.get_hostaddrs() {
        guard.admit(&address.to_string(), 0).await?;
    }
    let all_by_name = admitted.len() == config.get_hosts().len();
    if all_by_name && config.get_hostaddrs().is_empty() {
        pin(config, &admitted);
    }
    Ok(())
}

/// Gives each host its first address, and adds the host again, for TLS by its name, with each further one: a server need
/// not listen on all of them.
fn pin(config: &mut Config, admitted: &[(String, Vec<SocketAddr>)]) {
    for address in admitted.iter().filter_map(|(_, addresses)| addresses.first()) {
        config.hostaddr(address.ip());
    }
    // A single port is everybody's.
    let a_port_each = config.get_ports().len() > 1;
    for (name, address) in admitted.iter().flat_map(|(name, them)| them.iter().skip(1).map(move |it| (name, it))) {
        config.host(name.clone()).hostaddr(address.ip());
        if a_port_each {
            config.port(address.port());
        }
    }
}

/// A database by its URL, which has to say where it is.
fn parsed(url: &str) -> Result<Database, UrlError> {
    let database = Database::from_url(url)?;
    let refused = |reason: &str| Err(UrlError::Unreadable(reason.to_owned()));
    if database.config().get_hosts().is_empty() {
        return refused("it names no host");
    }
    if !database.config().get_hostaddrs().is_empty() {
        return refused("it has a `hostaddr`, which is for `host` to say");
    }
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_urls_of_every_kind_are_read_and_nothing_of_them_is_reported() {
        for url in [
            "postgresql://a:b@127.0.0.1/d",
            "postgres://localhost",
            "postgresql+asyncpg://a:b@[::1]:5433/d",
            "host=/tmp",
        ] {
            assert!(parsed(url).is_ok(), "{url}: {:?}", parsed(url));
        }
        for url in [
            "",
            "s3cret",
            "postgresql://a:s3cret@h:port/d",
            "postgresql://a:s3cret@h/d?sslmode=sure",
            "postgresql://a:s3cret@h/d?sslmode=verify-full&sslrootcert=/no/such/file",
            "hostaddr=10.0.0.1 password=s3cret",
        ] {
            let reason = parsed(url).expect_err(url).to_string();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }

    #[tokio::test]
    async fn a_database_is_tried_at_each_address_of_its_host() {
        for (url, ports) in [
            ("postgresql://app@a.localhost:7/shop", &[7][..]),
            ("postgresql://app@a.localhost:7,b.localhost:8/shop", &[7, 8, 7, 8]),
        ] {
            let mut database = parsed(url).unwrap();
            let shown = database.masked_url();
            admit(database.config_mut(), &mut RemoteGuard::allowing(&[])).await.unwrap();
            let config = database.config();
            let (count, addresses) = (config.get_hosts().len(), config.get_hostaddrs());
            assert_eq!((addresses.len(), count % 2), (count, 0));
            assert!(addresses[..count / 2].iter().all(std::net::IpAddr::is_ipv4), "{addresses:?}");
            assert!(addresses[count / 2..].iter().all(std::net::IpAddr::is_ipv6), "{addresses:?}");
            assert_eq!(config.get_hosts()[..count / 2], config.get_hosts()[count / 2..]);
            assert_eq!((config.get_ports(), database.masked_url()), (ports, shown));
        }
    }
}
