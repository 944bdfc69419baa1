//! Removes what killed supervisors have left: processes and folders.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, geteuid};

use super::folder::{place_for_folders, remove};
use super::process::{FolderOwner, command_line, parse_pid, stop};
use super::{command, pgbouncer};

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
    use std::path::PathBuf;
    use std::time::Duration;
    use std::{process, thread};

    use super::*;
    use crate::testbed::process::{FOLDER_PREFIX, OWNER_FILE};

    const POLL: Duration = Duration::from_millis(10);

    /// A process number that no process has: the largest that Linux gives is 4 194 304.
    const NOBODY: i32 = i32::MAX - 7;

    fn folder_of(temp_dir: &Path, pid: i32) -> PathBuf {
        let folder = temp_dir.join(format!("{FOLDER_PREFIX}{pid}-0123abcd"));
        fs::create_dir_all(folder.join("data")).unwrap();
        folder
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
}
