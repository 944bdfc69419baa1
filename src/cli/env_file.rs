//! The database of an `.env` file: what the service itself reads, where somebody asks for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reasons why the file gives nothing. No line of it is repeated: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnvFileError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` has a line that is not `NAME=VALUE`", path.display())]
    Line { path: PathBuf },
    #[error("`{}` has neither DATABASE_URL nor PGHOST, PGDATABASE or PGUSER", path.display())]
    Nothing { path: PathBuf },
}

/// Its variables.
pub(super) fn variables(path: &Path) -> Result<BTreeMap<String, String>, EnvFileError> {
    let failed = |error: dotenvy::Error| match error {
        dotenvy::Error::Io(source) => EnvFileError::Read { path: path.to_owned(), source },
        _ => EnvFileError::Line { path: path.to_owned() },
    };
    dotenvy::from_path_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_services_read_it_and_no_line_of_it_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let text = "# ours\nexport PGUSER=app\nDATABASE_URL=\"postgresql://app:p#w@127.0.0.1/shop\"\nEMPTY=\n";
        std::fs::write(&path, text).unwrap();
        let read = variables(&path).unwrap();
        assert_eq!(read["DATABASE_URL"], "postgresql://app:p#w@127.0.0.1/shop");
        assert_eq!(read["PGUSER"], "app");
        std::fs::write(&path, "DATABASE_URL postgresql://app:secret@127.0.0.1/shop\n").unwrap();
        let error = variables(&path).unwrap_err();
        let all = format!("{error} {error:?}");
        assert!(all.contains("not `NAME=VALUE`") && !all.contains("secret"), "{all}");
        assert!(matches!(variables(&folder.path().join("none")), Err(EnvFileError::Read { .. })));
    }
}
