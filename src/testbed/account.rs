//! The account that a private PostgreSQL server runs as.
//!
//! PostgreSQL refuses to run as root. Started as root, the testbed gives the server and its folders to an
//! unprivileged account; started as anybody else, to nobody but that user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, geteuid};

/// The accounts that root hands the server to, the preferred one first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Reasons why there is no account to run the server.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("looking up the account `{name}`")]
    LookUp {
        name: &'static str,
        #[source]
        source: nix::Error,
    },
    #[error("PostgreSQL refuses to run as root, and there is neither an account `postgres` nor `nobody`")]
    NoAccount,
    #[error(
        "started as root, PostgreSQL runs as `{account}`, which cannot enter `{}` on the way to `{}`",
        .closed.display(),
        .path.display()
    )]
    Unreachable {
        account: &'static str,
        /// The folder that is closed to it.
        closed: PathBuf,
        /// The folder that cannot be entered.
        path: PathBuf,
    },
}

/// An unprivileged account, used when this process is root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerAccount {
    name: &'static str,
    uid: Uid,
    gid: Gid,
}

impl ServerAccount {
    /// The account to change to; `None` when this process is not root's and the server runs as the same user.
    pub(super) fn choose() -> Result<Option<Self>, AccountError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        for name in UNPRIVILEGED {
            let user = User::from_name(name).map_err(|source| AccountError::LookUp { name, source })?;
            if let Some(user) = user {
                return Ok(Some(Self { name, uid: user.uid, gid: user.gid }));
            }
        }
        Err(AccountError::NoAccount)
    }

    /// The number of the account.
    pub(super) fn uid(self) -> u32 {
        self.uid.as_raw()
    }

    /// The number of its group.
    pub(super) fn gid(self) -> u32 {
        self.gid.as_raw()
    }

    /// Checks that the account can enter `path` and each folder above it.
    ///
    /// Otherwise the first that is heard of it is "permission denied" from a program that seems to be in order.
    pub(super) fn can_enter(self, path: &Path) -> Result<(), AccountError> {
        match path.ancestors().find(|folder| self.is_shut_out_of(folder)) {
            None => Ok(()),
            Some(closed) => {
                Err(AccountError::Unreachable { account: self.name, closed: closed.to_owned(), path: path.to_owned() })
            }
        }
    }

    fn is_shut_out_of(self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|folder| {
            let bit = match (folder.uid() == self.uid(), folder.gid() == self.gid()) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            folder.mode() & bit == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set_mode(folder: &Path, mode: u32) {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let stranger = ServerAccount { name: "nobody", uid: Uid::from_raw(65_500), gid: Gid::from_raw(65_500) };
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        set_mode(home.path(), 0o700);
        let error = stranger.can_enter(&bin).unwrap_err().to_string();
        assert!(error.contains("`nobody`") && error.contains(&format!("`{}` on the way", home.path().display())));
        set_mode(home.path(), 0o711);
        assert!(stranger.can_enter(&bin).is_ok());
    }
}
