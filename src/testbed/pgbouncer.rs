//! `PgBouncer` in front of the private PostgreSQL: where its program lies, and what it is configured with.
//!
//! It is a second child of the [`supervisor`](super::supervisor), beside the server, and so ends with it. It listens on a socket
//! in the same folder as the server's, under another number, and trusts anyone who can enter that folder.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::binaries::SearchPlaces;
use super::names::{DATABASE, POOLER_PORT, PORT, SUPERUSER};
use crate::scenario::{PgBouncer, ServerResetQuery};

/// Folders below the root that hold it where `PATH` does not: packages put it where only root's `PATH` looks.
const USUAL_FOLDERS: [&str; 6] = [
    "usr/sbin",
    "usr/local/sbin",
    "usr/bin",
    "opt/homebrew/bin",
    "opt/homebrew/opt/pgbouncer/bin",
    "usr/local/opt/pgbouncer/bin",
];

/// An installed `PgBouncer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    /// The version as it prints it, such as `1.18.0`.
    pub version: String,
}

/// Reasons why there is no `PgBouncer` to start.
#[derive(Debug, thiserror::Error)]
pub enum PgBouncerError {
    #[error(
        "the scenario asks for PgBouncer, and there is none in `PATH` or in the usual folders: install it with `{}`",
        install_command()
    )]
    NotFound,
    #[error("the scenario asks for PgBouncer, which is put in front of a private PostgreSQL only")]
    OwnDatabase,
}

/// The command that installs it on a system of this kind.
#[must_use]
pub const fn install_command() -> &'static str {
    if cfg!(target_os = "macos") { "brew install pgbouncer" } else { "apt-get install pgbouncer" }
}

/// Finds it: in `PATH`, then in the usual folders.
///
/// # Errors
/// [`PgBouncerError::NotFound`]. One that does not tell its version is passed over with a warning.
pub fn find(places: &SearchPlaces) -> Result<Program, PgBouncerError> {
    let usual = USUAL_FOLDERS.iter().map(|folder| places.root.join(folder));
    let candidates = places.path.iter().cloned().chain(usual).map(|folder| folder.join("pgbouncer"));
    candidates.filter(|path| path.is_file()).find_map(described).ok_or(PgBouncerError::NotFound)
}

fn described(path: PathBuf) -> Option<Program> {
    let text_seen = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
    let text_seen = text_seen.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text_seen.as_deref().map(parse_version) {
        Ok(Some(version)) => Some(Program { path, version }),
        other => {
            tracing::warn!("passing over `{}`, which does not tell its version: {other:?}", path.display());
            None
        }
    }
}

/// The version in `PgBouncer 1.18.0`: the second word of the first line.
fn parse_version(text_seen: &str) -> Option<String> {
    let version = text_seen.strip_prefix("PgBouncer ")?.split_whitespace().next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

/// Order to the supervisor for the pooler beside the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgBouncerPlan {
    pub program: PathBuf,
    /// Its settings, by name.
    pub settings: BTreeMap<String, String>,
    /// The file it logs to; in the cluster's folder when there is no other.
    pub log: Option<PathBuf>,
}

impl PgBouncerPlan {
    /// Plan for a scenario.
    #[must_use]
    pub fn of(scenario: &PgBouncer, program: &Program, log: Option<PathBuf>) -> Self {
        let always = u8::from(scenario.server_reset_query == ServerResetQuery::Always);
        let settings = [
            ("pool_mode", "transaction".to_owned()),
            ("default_pool_size", scenario.default_pool_size.get().to_string()),
            ("reserve_pool_size", scenario.reserve_pool_size.to_string()),
            ("reserve_pool_timeout", scenario.reserve_pool_timeout.secs().to_string()),
            ("max_db_connections", scenario.max_db_connections.to_string()),
            ("max_client_conn", scenario.max_client_conn.get().to_string()),
            ("idle_transaction_timeout", scenario.idle_transaction_timeout.secs().to_string()),
            ("query_wait_timeout", scenario.query_wait_timeout.secs().to_string()),
            ("server_reset_query_always", always.to_string()),
            // All workers connect at once, and a frozen machine accepts late.
            ("listen_backlog", "4096".to_owned()),
            // Thousands of lines that say nothing; errors are logged all the same.
            ("log_connections", "0".to_owned()),
            ("log_disconnections", "0".to_owned()),
            ("log_stats", "0".to_owned()),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { program: program.path.clone(), settings, log }
    }

    /// Its log, in a cluster's folder unless it was given another place.
    pub(super) fn log_in(&self, folder: &Path) -> PathBuf {
        self.log.clone().unwrap_or_else(|| folder.join("pgbouncer.log"))
    }

    /// Writes its files into a cluster's folder; gives its configuration, the only argument that it takes.
    pub(super) fn write_files(&self, folder: &Path, socket_dir: &Path) -> io::Result<PathBuf> {
        let users = folder.join("pgbouncer.users");
        let ini = ini_in(folder);
        let text = self.ini(socket_dir, &users);
        for (path, text) in [(&users, format!("\"{SUPERUSER}\" \"\"\n")), (&ini, text)] {
            fs::write(path, text)?;
            // The account that it runs as must read them, and there is nothing in them that is not in the folder's name.
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(ini)
    }

    fn ini(&self, socket_dir: &Path, users: &Path) -> String {
        let socket_dir = socket_dir.display().to_string();
        let host = socket_dir.replace('\'', "''");
        let mut text =
            format!("[databases]\n{DATABASE} = host='{host}' port={PORT} dbname={DATABASE}\n\n[pgbouncer]\n");
        // Writing to a `String` cannot fail.
        for (name, value) in &self.settings {
            let _ = writeln!(text, "{name} = {value}");
        }
        // Last, so that no setting opens a port or moves the socket.
        let _ = write!(
            text,
            "listen_addr =\nlisten_port = {POOLER_PORT}\nunix_socket_dir = {socket_dir}\nunix_socket_mode = 0700\n\
             auth_type = trust\nauth_file = {}\nadmin_users = {SUPERUSER}\n",
            users.display()
        );
        text
    }
}

/// Ends all its connections to the database.
pub(super) async fn close_servers(console: &tokio_postgres::Config) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = console.connect(tokio_postgres::NoTls).await?;
    // The connection ends when its client is dropped, so both are done when the command is.
    let kill = async move { client.batch_execute(&format!("KILL {DATABASE}")).await };
    tokio::join!(kill, connection).0
}

/// Path of its configuration in a cluster's folder.
pub(super) fn ini_in(folder: &Path) -> PathBuf {
    folder.join("pgbouncer.ini")
}

/// Path at which the supervisor writes down its process, in a cluster's folder.
pub(super) fn pid_in(folder: &Path) -> PathBuf {
    folder.join("pgbouncer.pid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    fn places(root: &Path, path: &[&Path]) -> SearchPlaces {
        let path = path.iter().map(|folder| (*folder).to_owned()).collect();
        SearchPlaces { path, root: root.to_owned(), prefix: None, cache: None, releases_url: None }
    }

    fn pretend(folder: &Path, says: &str) {
        fs::create_dir_all(folder).unwrap();
        let program = folder.join("pgbouncer");
        fs::write(&program, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn it_is_found_in_path_first_and_then_where_packages_put_it() {
        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("named");
        let nowhere = find(&places(root.path(), &[&named])).unwrap_err().to_string();
        assert!(nowhere.contains(install_command()), "{nowhere}");
        pretend(&root.path().join("usr/sbin"), "PgBouncer 1.18.0");
        assert_eq!(find(&places(root.path(), &[&named])).unwrap().version, "1.18.0");
        pretend(&named, "PgBouncer 1.24.1");
        assert_eq!(find(&places(root.path(), &[&named])).unwrap().version, "1.24.1");
        pretend(&named, "something else");
        assert_eq!(find(&places(root.path(), &[&named])).unwrap().version, "1.18.0", "what is none is passed over");
    }

    #[test]
    fn no_setting_opens_a_port_or_lets_others_in() {
        let program = Program { path: "/usr/sbin/pgbouncer".into(), version: "1.18.0".to_owned() };
        let mut plan = PgBouncerPlan::of(&PgBouncer::default(), &program, None);
        plan.settings.insert("listen_addr".to_owned(), "*".to_owned());
        let ini = plan.ini(Path::new("/tmp/o'b/s"), Path::new("/tmp/users"));
        let last = |name: &str| ini.lines().rev().find_map(|line| line.strip_prefix(&format!("{name} ="))).unwrap();
        assert_eq!(last("listen_addr"), "");
        assert_eq!(last("unix_socket_mode"), " 0700");
        assert!(ini.contains("host='/tmp/o''b/s' port=5432"), "{ini}");
    }

    #[test]
    fn durations_are_reported_in_seconds() {
        let program = Program { path: "pgbouncer".into(), version: "1.18.0".to_owned() };
        let asked = PgBouncer { reserve_pool_timeout: Span::from_millis(200), ..PgBouncer::default() };
        let plan = PgBouncerPlan::of(&asked, &program, None);
        assert_eq!(plan.settings["reserve_pool_timeout"], "0.2");
        assert_eq!(plan.settings["query_wait_timeout"], "120");
        assert_eq!(plan.settings["idle_transaction_timeout"], "0");
    }
}
