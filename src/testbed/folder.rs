//! The temporary folder of a supervisor, and its owner.
//!
//! ```text
//! rbac-bench-<pid of the supervisor>-<random>/
//!   owner.pid      the supervisor's pid and start time
//!   data/          the cluster
//!   s/             the socket
//!   postgres.log   what initdb and postgres say
//!   pgbouncer.*    configuration, users, process and (unless it has another place) log of a PgBouncer
//!   service.json   of the supervisor of a service instead of all these: how its processes are found
//! ```
//!
//! A folder has an owner from the instant it exists, since its name says which; `owner.pid` then tells that process
//! from a later one with the same number. A folder whose owner is gone is removed by [`super::sweep`], after the
//! server that may still run in it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::account::ServerAccount;
use super::names::PORT;
use super::process::{FOLDER_PREFIX, FolderOwner, OWNER_FILE};

/// The longest path of a Unix socket: `sun_path` less its final zero.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };
/// Folder for sockets when the usual place is too deep for one.
const SHORT_TEMP_DIR: &str = "/tmp";
/// Time for the processes of a server to let go of the folder.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// The folder of one cluster. Removed when dropped.
#[derive(Debug)]
pub(super) struct ClusterFolder {
    path: PathBuf,
}

impl ClusterFolder {
    /// Makes the folder and those in it, the latter owned by `account`.
    ///
    /// Only root and the account can enter: anyone who reaches the socket is superuser of the cluster.
    pub(super) fn create(temp_dir: &Path, account: Option<ServerAccount>) -> io::Result<Self> {
        let folder = Self { path: owned_folder(temp_dir)? };
        for part in [folder.data(), folder.socket_dir()] {
            DirBuilder::new().mode(0o700).create(&part)?;
            if let Some(account) = account {
                chown(&part, Some(account.uid()), Some(account.gid()))?;
            }
        }
        if account.is_some() {
            fs::set_permissions(&folder.path, Permissions::from_mode(0o711))?;
        }
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster's data.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The folder of the socket.
    pub(super) fn socket_dir(&self) -> PathBuf {
        self.path.join("s")
    }

    /// Log of the server.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }
}

impl Drop for ClusterFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!("removing `{}`: {error}", self.path.display());
        }
    }
}

/// Makes a folder that this process owns, which no other user can enter: once the process is gone, [`super::sweep`] removes the folder.
pub(super) fn owned_folder(temp_dir: &Path) -> io::Result<PathBuf> {
    let parent = place_for_folders(temp_dir)?;
    let path = parent.join(format!("{FOLDER_PREFIX}{}-{:08x}", process::id(), rand::random::<u32>()));
    DirBuilder::new().mode(0o700).create(&path)?;
    fs::write(path.join(OWNER_FILE), FolderOwner::of_this_process().to_line())?;
    Ok(path)
}

/// `temp_dir`, or `/tmp` when the path of a socket in it would be too long.
pub(super) fn place_for_folders(temp_dir: &Path) -> io::Result<PathBuf> {
    let place = temp_dir.canonicalize()?;
    let socket = format!("/{FOLDER_PREFIX}{}-{:08x}/s/.s.PGSQL.{PORT}", i32::MAX, u32::MAX);
    if place.as_os_str().len() + socket.len() <= LONGEST_SOCKET_PATH {
        return Ok(place);
    }
    Path::new(SHORT_TEMP_DIR).canonicalize()
}

/// Removes `folder`, for a while in vain: processes of a killed server may still write to it.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(()),
            Err(_) if Instant::now() < deadline => thread::sleep(POLL),
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::sweep::sweep_stale;

    #[test]
    fn a_folder_goes_with_its_value_and_names_its_owner_meanwhile() {
        let temp = tempfile::tempdir().unwrap();
        let folder = ClusterFolder::create(temp.path(), None).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(FolderOwner::of(&path), Some(FolderOwner::of_this_process()));
        assert_eq!(sweep_stale(temp.path()), 0, "its owner is alive");
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_too_deep_for_a_socket_moves_to_the_short_one() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("d".repeat(90));
        fs::create_dir(&deep).unwrap();
        assert_eq!(place_for_folders(&deep).unwrap(), Path::new(SHORT_TEMP_DIR).canonicalize().unwrap());
    }
}
