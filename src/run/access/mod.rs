//! Access to an external service and its database: URLs, secrets and files that its scenario names.
//!
//! All of it is looked at before anything is written or sent. No secret leaves: none is in an error.

mod database;
pub(super) mod error;
pub(super) mod files;

use std::fs;
use std::path::PathBuf;

pub use error::AccessError;
use files::{check_length, read};

use super::RunOptions;
use super::identities::{Everybody, credentials};
use super::remote_guard::{RemoteGuard, is_loopback};
use super::secrets::Secrets;
use crate::database::Database;
use crate::monitor::Console;
use crate::redact;
use crate::scenario::service::{TlsFiles, Values};
use crate::scenario::{Pace, ServiceScenario};
use crate::swarm::{Files, LoginCredentials};
use crate::tls::{ClientTls, TlsFileError};
use crate::units::Rate;

/// The variable of the database's URL when the scenario does not say.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";

/// The URL of a database that was given beside the scenario: by a flag or a variable.
#[derive(Clone)]
pub struct DatabaseUrl {
    url: String,
    from: &'static str,
}

impl DatabaseUrl {
    /// A URL, and who reported it.
    pub fn new(url: &str, from: &'static str) -> Self {
        Self { url: url.to_owned(), from }
    }

    /// The URL, with its password.
    pub fn text(&self) -> &str {
        &self.url
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a URL from {}", self.from)
    }
}

/// All that is needed to load a service and to watch its database.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) guard: RemoteGuard,
    pub(super) database: Database,
    /// The console of the `PgBouncer` that is watched: the one that was given, or else the scenario's.
    pub(super) pgbouncer: Option<Console>,
    pub(super) credentials: Vec<LoginCredentials>,
    pub(super) files: Files,
    pub(super) secrets: Secrets,
    /// True if a URL of the service leads to another machine.
    is_elsewhere: bool,
}

impl Access {
    /// Reads what the scenario names, and asks the guard about every host.
    pub(super) async fn open(scenario: &ServiceScenario, options: &RunOptions) -> Result<Self, AccessError> {
        let mut guard = RemoteGuard::allowing(&options.allow_remote);
        let mut is_elsewhere = false;
        for url in scenario.variant_names().into_iter().flat_map(|variant| scenario.urls(variant)) {
            let addresses = guard.admit(url.host(), url.port()).await?;
            if !addresses.iter().all(|it| is_loopback(it.ip())) {
                is_elsewhere = true;
                if scenario.pace().ceiling().is_none() {
                    return Err(AccessError::NoCeiling { host: url.host().to_owned() });
                }
            }
        }
        if let Some(url) = scenario.target.metrics.as_ref().and_then(|metrics| metrics.url.as_ref()) {
            guard.admit(url.host(), url.port()).await?;
        }
        if let Some(files) = &scenario.target.tls {
            guard.trust(client_tls(scenario, files)?);
        }
        let database = database::of_service(scenario, options.database_url.as_ref(), &mut guard).await?;
        let pgbouncer = database::console(scenario, options.pgbouncer.as_ref(), &mut guard).await?;
        let Everybody { credentials, columns, secrets } = credentials(scenario)?;
        let files = Files { columns, ..files(scenario)? };
        let secrets = Secrets::of(scenario, database.config(), secrets);
        redact::learn(secrets.known());
        Ok(Self { guard, database, pgbouncer, credentials, files, secrets, is_elsewhere })
    }

    /// The most requests a second of whatever is not scheduled, as logins and scans: on another machine an open workload's
    /// rate is a promise to its owner, on this one only `max_rate` is.
    pub(super) fn ceiling(&self, pace: &Pace) -> Option<Rate> {
        if self.is_elsewhere { pace.ceiling() } else { pace.max_rate }
    }
}

/// A console that was given beside a scenario of the reference gateway, its host admitted.
pub(super) async fn admitted(console: &Console, allowed: &[String]) -> Result<Console, AccessError> {
    let mut console = console.clone();
    database::admit(console.database_mut().config_mut(), &mut RemoteGuard::allowing(allowed)).await?;
    Ok(console)
}

/// Refuses hosts of a database that may not be contacted, for a gateway that is served alone.
///
/// # Errors
/// [`AccessError::Guard`].
pub async fn check_host(database: &Database, allowed: &[String]) -> Result<(), AccessError> {
    let mut database = database.clone();
    Ok(database::admit(database.config_mut(), &mut RemoteGuard::allowing(allowed)).await?)
}

fn client_tls(scenario: &ServiceScenario, files: &TlsFiles) -> Result<ClientTls, TlsFileError> {
    let path = |file: &Option<PathBuf>| file.as_ref().map(|file| scenario.folder.join(file));
    let (certificate, key) = (path(&files.client_cert_file), path(&files.client_key_file));
    ClientTls::read(path(&files.ca_file).as_deref(), certificate.as_deref().zip(key.as_deref()))
}

/// The lines of every file of values, and the bodies.
pub(super) fn files(scenario: &ServiceScenario) -> Result<Files, AccessError> {
    let mut files = Files::default();
    for values in scenario.routes().flat_map(|route| route.params.values()) {
        if let Values::File { file } = values
            && !files.lines.contains_key(file)
        {
            let path = scenario.folder.join(file);
            let text = read(&path)?;
            let values: Vec<String> =
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
            if values.is_empty() {
                return Err(AccessError::Values { path });
            }
            files.lines.insert(file.clone(), values);
        }
    }
    for file in scenario.routes().filter_map(|route| route.body_file.as_ref()) {
        let path = scenario.folder.join(file);
        check_length(&path)?;
        let body = fs::read(&path).map_err(|source| AccessError::File { path, source })?;
        files.bodies.insert(file.clone(), body.into());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scenario(database: &str, rest: &str) -> ServiceScenario {
        let text = format!(
            "name = \"x\"\n[target]\nurl = \"http://127.0.0.1:1\"\n[database]\n{database}\n[[route]]\nroute = \"GET /\"\n{rest}"
        );
        ServiceScenario::from_text("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn refused(scenario: ServiceScenario) -> String {
        Access::open(&scenario, &RunOptions::default()).await.expect_err("refused").to_string()
    }

    #[tokio::test]
    async fn what_is_not_there_is_named_and_the_database_is_guarded_too() {
        let remote = scenario("url = \"postgresql://app@10.0.0.1/shop\"", "");
        assert!(refused(remote).await.starts_with("`10.0.0.1` is another machine"));
        let unset = scenario("url_env = \"RBAC_BENCH_SURELY_UNSET\"", "");
        assert_eq!(
            refused(unset).await,
            "the variable `RBAC_BENCH_SURELY_UNSET` is not set: `database.url_env` needs it"
        );
        let token = scenario(
            "url = \"postgresql://app@127.0.0.1/shop\"",
            "[[identity]]\nbearer_env = \"RBAC_BENCH_SURELY_UNSET\"\n",
        );
        assert!(refused(token).await.contains("`identity.bearer_env` needs it"));
    }

    #[tokio::test]
    async fn a_pgbouncer_that_was_given_is_guarded_too() {
        let scenario = scenario("url = \"postgresql://app@127.0.0.1/shop\"", "");
        let given = |url: &str| RunOptions { pgbouncer: Some(url.parse().unwrap()), ..RunOptions::default() };
        let remote = given("postgresql://me@10.0.0.1:6432/pgbouncer");
        let error = Access::open(&scenario, &remote).await.expect_err("not this machine").to_string();
        assert!(error.starts_with("`10.0.0.1` is another machine"), "{error}");
        let access = Access::open(&scenario, &given("postgresql://me@127.0.0.1:6432/pgbouncer")).await.unwrap();
        assert!(access.pgbouncer.is_some());
    }

    const HERE: &str = "name = \"x\"\n[target]\nurl = \"http://127.0.0.1\"\n[database]\nurl = \"postgresql://app@127.0.0.1/shop\"\n\
                        [load]\narrival_rate = 20\n[[route]]\nroute = \"GET /\"\n";

    #[tokio::test]
    async fn load_on_another_machine_needs_a_ceiling() {
        let remote = |load: &str| {
            let text = format!(
                "name = \"x\"\n[target]\nurl = \"http://10.0.0.1\"\n[database]\nurl = \"postgresql://app@127.0.0.1/shop\"\n\
                 [load]\n{load}\n[[route]]\nroute = \"GET /\"\n"
            );
            ServiceScenario::from_text("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"))
        };
        let allowed = RunOptions { allow_remote: vec!["10.0.0.1".to_owned()], ..RunOptions::default() };
        let error = Access::open(&remote("users = 2"), &allowed).await.expect_err("no ceiling");
        assert_eq!(
            error.to_string(),
            "`10.0.0.1` is another machine: a load on it needs a ceiling, such as `max_rate = 20` under [load]"
        );
        let ceilings = ["max_rate = 20", "arrival_rate = 20", "stages = [{ rate = 20, for = \"1s\" }]"];
        for load in ceilings {
            let scenario = remote(load);
            let access = Access::open(&scenario, &allowed).await.unwrap_or_else(|error| panic!("{load}: {error}"));
            // It is also that of a scan, and of logins, which no schedule paces.
            let ceiling = access.ceiling(&scenario.pace());
            assert_eq!(ceiling.map(Rate::get), Some(20.0), "{load}");
        }
        let here = ServiceScenario::from_text("x.toml", HERE, &[]).unwrap_or_else(|error| panic!("{error}"));
        let access = Access::open(&here, &RunOptions::default()).await.unwrap();
        assert!(access.ceiling(&here.pace()).is_none());
    }

    #[tokio::test]
    async fn a_url_in_a_file_is_read_unless_everybody_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        fs::write(&path, "postgresql://app:s3cret@127.0.0.1/shop\n").unwrap();
        let scenario = ServiceScenario { folder: folder.path().to_owned(), ..scenario("url_file = \"url\"", "") };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Access::open(&scenario, &RunOptions::default()).await, Err(AccessError::OpenFile { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let access = Access::open(&scenario, &RunOptions::default()).await.unwrap();
        assert_eq!(access.database.config().get_password(), Some("s3cret".as_bytes()));
        assert!(!format!("{access:?}").contains("s3cret"), "{access:?}");
    }
}
