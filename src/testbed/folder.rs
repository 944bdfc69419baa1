//! The temporary folder of a supervisor: who owns it, and how it goes away with what a killed supervisor has left running.
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
//! from a later one with the same number. A folder whose owner is gone is removed by [`sweep_stale`], after the
//! server that may still run in it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{Pid, geteuid};

use super::account::ServerAccount;
use super::names::PORT;
use super::process::{FOLDER_PREFIX, FolderOwner, OWNER_FILE, command_line, parse_pid, stop};
use super::{command, pgbouncer};

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

/// Makes a folder that this process owns, which no other user can enter: once the process is gone, [`sweep_stale`] removes the folder.
pub(super) fn owned_folder(temp_dir: &Path) -> io::Result<PathBuf> {
    let parent = place_for_folders(temp_dir)?;
    let path = parent.join(format!("{FOLDER_PREFIX}{}-{:08x}", process::id(), rand::random::<u32>()));
    DirBuilder::new().mode(0o700).create(&path)?;
    fs::write(path.join(OWNER_FILE), FolderOwner::of_this_process().to_line())?;
    Ok(path)
}

/// `temp_dir`, or `/tmp` when the path of a socket in it would be too long.
fn place_for_folders(temp_dir: &Path) -> io::Result<PathBuf> {
    let place = temp_dir.canonicalize()?;
    let socket = format!("/{FOLDER_PREFIX}{}-{:08x}/s/.s.PGSQL.{PORT}", i32::MAX, u32::MAX);
    if place.as_os_str().len() + socket.len() <= LONGEST_SOCKET_PATH {
        return Ok(place);
    }
    Path::new(SHORT_TEMP_DIR).canonicalize()
}

/// Removes the folders in `temp_dir` whose supervisor is gone, and stops what it has left running.
///
/// Only folders of this user with a name that a supervisor gave are looked at; one with a living supervisor is left alone.
/// Returns how many were removed. To be called before a run; it takes up to fifteen seconds per folder.
pub fn sweep_stale(temp_dir: &Path) -> usize {
    let Ok(place) = place_for_folders(temp_dir) else { return 0 };
    let Ok(entries) = fs::read_dir(place) else { return 0 };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    folders.filter(|folder| is_stale(folder)).filter(|folder| sweep(folder)).count()
}

fn is_stale(folder: &Path) -> bool {
    // The folder itself, not what a link by that name points to.
    let ours = fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
    ours && FolderOwner::of(folder).is_some_and(|owner| !owner.is_alive())
}

/// Stops the server that a vanished supervisor left in `folder`, and removes the folder; false when it is still there.
pub(super) fn sweep(folder: &Path) -> bool {
    if let Some(pooler) = leftover_pooler(folder) {
        stop(pooler, Signal::SIGTERM);
    }
    if !command::leftover::stop(folder) {
        // The next start tries again.
        return false;
    }
    if let Some(postmaster) = leftover_postmaster(&folder.join("data")) {
        // With it the server takes its sessions along.
        stop(postmaster, Signal::SIGQUIT);
    }
    match remove(folder) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("removing the stale folder `{}`: {error}", folder.display());
            false
        }
    }
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

/// The process named in `postmaster.pid`, if it is a PostgreSQL server on this very folder.
///
/// The number alone proves nothing: the process may be gone and its number given to another.
fn leftover_postmaster(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
    is_program_on(&command_line(pid)?, "postgres", data).then(|| Pid::from_raw(pid))
}

/// The same for the `PgBouncer` in front of it: by the file that its supervisor wrote, and among all processes where the
/// supervisor was killed before it could write.
fn leftover_pooler(folder: &Path) -> Option<Pid> {
    let ini = pgbouncer::ini_in(folder);
    let is_it = |pid: &Pid| command_line(pid.as_raw()).is_some_and(|line| is_program_on(&line, "pgbouncer", &ini));
    let written = fs::read_to_string(pgbouncer::pid_in(folder)).ok().and_then(|text| parse_pid(text.trim()));
    if let Some(pid) = written.filter(is_it) {
        return Some(pid);
    }
    if !ini.exists() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?;
    processes.filter_map(|it| parse_pid(it.ok()?.file_name().to_str()?)).find(is_it)
}

fn is_program_on(command_line: &[String], name: &str, path: &Path) -> bool {
    let program = command_line.first().and_then(|program| Path::new(program).file_name());
    program == Some(OsStr::new(name)) && command_line.iter().any(|argument| Path::new(argument) == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process number that no process has: the largest that Linux gives is 4 194 304.
    const NOBODY: i32 = i32::MAX - 7;

    fn folder_of(temp_dir: &Path, pid: i32) -> PathBuf {
        let folder = temp_dir.join(format!("{FOLDER_PREFIX}{pid}-0123abcd"));
        fs::create_dir_all(folder.join("data")).unwrap();
        folder
    }

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
    fn a_folder_is_stale_once_its_owner_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder_of(temp.path(), NOBODY);
        assert_eq!(sweep_stale(temp.path()), 1);
        assert!(!folder.exists());
    }

    #[test]
    fn a_process_with_the_number_of_the_owner_is_not_the_owner() {
        let temp = tempfile::tempdir().unwrap();
        let me = FolderOwner::of_this_process();
        let folder = folder_of(temp.path(), me.pid.as_raw());
        assert_eq!(sweep_stale(temp.path()), 0, "without a start time the number decides");
        let Some(started) = me.started else { return };
        let earlier = FolderOwner { started: Some(started - 1), ..me };
        fs::write(folder.join(OWNER_FILE), earlier.to_line()).unwrap();
        assert_eq!(sweep_stale(temp.path()), 1);
    }

    #[test]
    fn what_no_supervisor_made_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["rbac-bench-notes", "rbac-bench-1-draft", "rbac-bench--1-0123abcd", "other-2147483640-0123abcd"] {
            fs::create_dir(temp.path().join(name)).unwrap();
        }
        let target = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(target.path(), temp.path().join(format!("{FOLDER_PREFIX}{NOBODY}-0123abcd")))
            .unwrap();
        assert_eq!(sweep_stale(temp.path()), 0);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_process_that_is_no_server_on_the_folder_is_not_stopped() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder_of(temp.path(), NOBODY);
        let mut bystander = process::Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(folder.join("data/postmaster.pid"), format!("{}\n", bystander.id())).unwrap();
        fs::write(pgbouncer::pid_in(&folder), bystander.id().to_string()).unwrap();
        assert_eq!(sweep_stale(temp.path()), 1);
        assert!(bystander.try_wait().unwrap().is_none(), "the bystander was killed");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pooler_is_stopped_if_its_supervisor_died_before_noting_it() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder_of(temp.path(), NOBODY);
        let ini = pgbouncer::ini_in(&folder);
        fs::write(&ini, "").unwrap();
        // A shell under the name of the program, which waits for a line that never comes.
        let program = temp.path().join("pgbouncer");
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let mut pooler = process::Command::new(&program);
        let mut pooler = pooler.args(["-c", "read line"]).arg(&ini).stdin(process::Stdio::piped()).spawn().unwrap();
        // The system lets go of anyone who spawns a little before the new program has its command line.
        let pid = i32::try_from(pooler.id()).unwrap();
        while command_line(pid).unwrap().len() < 2 {
            thread::sleep(POLL);
        }
        assert_eq!(sweep_stale(temp.path()), 1);
        let ended = pooler.try_wait().unwrap().expect("it has ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(Signal::SIGTERM as i32));
    }

    #[test]
    fn a_folder_too_deep_for_a_socket_moves_to_the_short_one() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("d".repeat(90));
        fs::create_dir(&deep).unwrap();
        assert_eq!(place_for_folders(&deep).unwrap(), Path::new(SHORT_TEMP_DIR).canonicalize().unwrap());
    }
}
