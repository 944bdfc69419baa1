//! How an external service and its database are reached: URLs, secrets and files that its scenario names.
//!
//! All of it is looked at before anything is written or sent. No secret leaves: none is in an error.

mod database;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::RunOptions;
use super::identities::{Everybody, credentials};
use super::remote_guard::{GuardError, RemoteGuard, is_loopback};
use super::secrets::Secrets;
use crate::database::{Database, UrlError};
use crate::monitor::{Console, ConsoleUrlError};
use crate::redact;
use crate::scenario::service::{TlsFiles, Values};
use crate::scenario::{Pace, ServiceScenario};
use crate::swarm::{Files, LoginCredentials};
use crate::tls::{ClientTls, TlsFileError};
use crate::units::Rate;

/// The variable of the database's URL when the scenario does not say.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";

/// The longest file of values.
const LONGEST_FILE: u64 = 64 << 20;

/// Why a service or its database cannot be reached as its scenario says.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("`{host}` is not this machine: a load on it needs a ceiling, such as `max_rate = 20` under [load]")]
    NoCeiling { host: String },
    #[error("the files under `target.tls` cannot be used")]
    Tls(#[from] TlsFileError),
    #[error(transparent)]
    PgBouncerUrl(#[from] ConsoleUrlError),
    #[error("the variable `{name}` is not set: `{key}` needs it")]
    NoVariable { name: String, key: &'static str },
    #[error("the value of {from} cannot stand in a header")]
    Unsendable {
        /// Where it comes from.
        from: String,
    },
    #[error("`{}` cannot be used: {reason}", path.display())]
    Table {
        path: PathBuf,
        /// What is wrong with it, without its values.
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
        /// Where it comes from.
        from: String,
        #[source]
        source: UrlError,
    },
}

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

/// Whether the hosts of a database may be spoken to, for a gateway that is served alone.
///
/// # Errors
/// [`AccessError::Guard`].
pub async fn check_host(database: &Database, allowed: &[String]) -> Result<(), AccessError> {
    let mut database = database.clone();
    Ok(database::admit(database.config_mut(), &mut RemoteGuard::allowing(allowed)).await?)
}

pub(super) fn variable(name: &str, key: &'static str) -> Result<String, AccessError> {
    let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    value.ok_or_else(|| AccessError::NoVariable { name: name.to_owned(), key })
}

pub(super) fn read(path: &Path) -> Result<String, AccessError> {
    check_length(path)?;
    fs::read_to_string(path).map_err(|source| AccessError::File { path: path.to_owned(), source })
}

fn check_length(path: &Path) -> Result<(), AccessError> {
    let metadata = fs::metadata(path).map_err(|source| AccessError::File { path: path.to_owned(), source })?;
    // A device has no length, and no end.
    if metadata.len() > LONGEST_FILE || !metadata.is_file() {
        return Err(AccessError::Values { path: path.to_owned() });
    }
    Ok(())
}

fn client_tls(scenario: &ServiceScenario, files: &TlsFiles) -> Result<ClientTls, TlsFileError> {
    let path = |file: &Option<PathBuf>| file.as_ref().map(|file| scenario.folder.join(file));
    let (certificate, key) = (path(&files.client_cert_file), path(&files.client_key_file));
    ClientTls::read(path(&files.ca_file).as_deref(), certificate.as_deref().zip(key.as_deref()))
}

/// A file with secrets, which not everybody may read; of the name `-`, standard input, once.
pub(super) fn read_secret(path: &Path) -> Result<String, AccessError> {
    if path.file_name() == Some(OsStr::new("-")) {
        return from_stdin(path);
    }
    let failed = |source| AccessError::File { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(AccessError::OpenFile { path: path.to_owned() });
    }
    read(path)
}

/// What stands there is gone once it is read, and a paired gate asks for it at each of its runs.
static STDIN: Mutex<Option<String>> = Mutex::new(None);

fn from_stdin(path: &Path) -> Result<String, AccessError> {
    let mut known = STDIN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = &*known {
        return Ok(text.clone());
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST_FILE + 1).read_to_string(&mut text);
    let read = read.map_err(|source| AccessError::File { path: path.to_owned(), source })?;
    if read == 0 || read as u64 > LONGEST_FILE {
        return Err(AccessError::Values { path: path.to_owned() });
    }
    Ok(known.insert(text).clone())
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
        assert!(refused(remote).await.starts_with("`10.0.0.1` is not this machine"));
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
        assert!(error.starts_with("`10.0.0.1` is not this machine"), "{error}");
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
            "`10.0.0.1` is not this machine: a load on it needs a ceiling, such as `max_rate = 20` under [load]"
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
