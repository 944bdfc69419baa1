//! The private PostgreSQL: it answers as planned, and nothing of it is left, however it ends.
//!
//! With a real server, found as the program finds it. Each test has a temporary folder of its own.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as loudly as the test itself")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rbac_bench::testbed::binaries::{self, SearchPlaces, ServerBinaries};
use rbac_bench::testbed::cluster::{ClusterError, ClusterHome, ClusterPlan, PgCluster, SupervisionError};
use rbac_bench::testbed::sweep::sweep_stale;
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// Deadline of a cluster's end, however it comes.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// The variable by which a test tells its helper process where to put the cluster.
const HELPER_TEMP_DIR: &str = "RBAC_BENCH_TEST_TEMP_DIR";

fn temp_dir() -> TempDir {
    // Passable, since started by root the server runs as another account.
    temp_dir_with_mode(0o711)
}

fn temp_dir_with_mode(mode: u32) -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempdir().unwrap()
}

fn home(temp: &Path) -> ClusterHome {
    ClusterHome { supervisor: PathBuf::from(env!("CARGO_BIN_EXE_rbac-bench")), temp_dir: temp.to_owned() }
}

async fn server() -> ServerBinaries {
    let places = SearchPlaces { releases_url: None, ..SearchPlaces::from_env() };
    binaries::find(None, &places).await.unwrap()
}

async fn start(temp: &Path, plan: &ClusterPlan) -> Result<PgCluster, ClusterError> {
    PgCluster::start(&server().await, plan, &home(temp)).await
}

async fn ask(config: &tokio_postgres::Config, query: &str) -> String {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let answer = async move {
        let row = client.query_one(query, &[]).await.unwrap();
        row.get::<_, String>(0)
    };
    tokio::join!(answer, connection).0
}

/// Waits until `look` finds nothing, and fails with what it saw last.
fn wait_until_nothing<T: std::fmt::Debug>(what: &str, look: impl Fn() -> Vec<T>) {
    let deadline = Instant::now() + END_DEADLINE;
    loop {
        let seen = look();
        if seen.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{what} left after {END_DEADLINE:?}: {seen:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} after 30 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The living processes that work in `folder` or name it on their command line, other than this one and its helpers.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes.filter_map(|process| describe_if_in(&process, folder)).collect()
}

fn describe_if_in(process: &Path, folder: &str) -> Option<String> {
    process.file_name()?.to_str()?.parse::<u32>().ok()?;
    let line = String::from_utf8_lossy(&fs::read(process.join("cmdline")).ok()?).replace('\0', " ");
    let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
    let found = line.contains(folder) || cwd.starts_with(folder);
    // A dead process whose parent has not waited yet has no command line.
    (found && !line.is_empty()).then(|| format!("{}: {line}", process.display()))
}

fn assert_nothing_left(temp: &TempDir) {
    wait_until_nothing("folders", || entries(temp.path()));
    wait_until_nothing("processes", || processes_in(temp.path()));
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// A process that starts a cluster and never stops it: this test program, running one of its ignored tests.
struct Helper(Child);

impl Helper {
    fn start(temp: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "helper_that_starts_a_cluster_and_waits", "--ignored", "--nocapture"]);
        command.env(HELPER_TEMP_DIR, temp).stdin(Stdio::null()).stdout(Stdio::null());
        // What a developer may have set for a server of their own.
        command.env("PGDATA", "/nowhere").env("PGHOST", "nowhere").env("PGPORT", "1").env("PGOPTIONS", "-c nonsense=1");
        Self(command.spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
#[ignore = "the helper process of other tests"]
async fn helper_that_starts_a_cluster_and_waits() {
    let temp = PathBuf::from(std::env::var_os(HELPER_TEMP_DIR).unwrap());
    let cluster = start(&temp, &ClusterPlan::for_connections(20)).await.unwrap();
    fs::write(temp.join("ready"), cluster.folder().to_str().unwrap()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_cluster_answers_as_planned_and_stop_leaves_nothing() {
    let temp = temp_dir();
    let mut plan = ClusterPlan::for_connections(1443);
    plan.settings.insert("work_mem".to_owned(), "5MB".to_owned());
    let began = Instant::now();
    let mut cluster = start(temp.path(), &plan).await.unwrap();
    let started = began.elapsed();

    let config = cluster.config();
    assert_eq!(ask(&config, "SELECT 1::text").await, "1");
    let settings = [
        ("max_connections", "1443"),
        ("work_mem", "5MB"),
        ("listen_addresses", ""),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("track_activity_query_size", "4kB"),
        ("server_encoding", "UTF8"),
        ("server_version", cluster.version()),
    ];
    for (name, value) in settings {
        let seen = ask(&config, &format!("SELECT current_setting('{name}')")).await;
        // Packagers append their own to the version.
        assert_eq!(seen.split(' ').next(), Some(value), "{name}");
    }
    assert_eq!(ask(&cluster.url().parse().unwrap(), "SELECT current_database()::text").await, "rbac");
    let log = fs::read_to_string(cluster.log_path()).unwrap();
    assert!(log.contains("ready to accept connections"), "{log}");

    let began = Instant::now();
    cluster.stop().await.unwrap();
    println!("started within {started:?}, stopped within {:?}", began.elapsed());
    assert_eq!(entries(temp.path()), Vec::<PathBuf>::new());
    assert_eq!(processes_in(temp.path()), Vec::<String>::new());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn stop_does_not_wait_for_sessions_that_are_in_a_transaction() {
    let temp = temp_dir();
    let mut cluster = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    let (client, connection) = cluster.config().connect(NoTls).await.unwrap();
    let session = async move {
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        cluster.stop().await.unwrap();
        drop(client);
    };
    let (ended, ()) = tokio::join!(connection, session);
    assert!(ended.is_err(), "the server ended the session");
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn only_the_owner_can_reach_the_socket() {
    let temp = temp_dir();
    let mut cluster = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    let socket = cluster.socket_dir().join(format!(".s.PGSQL.{}", cluster.port()));
    for path in [cluster.socket_dir(), &socket] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_dropped_goes_too() {
    let temp = temp_dir();
    drop(start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap());
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    let temp = temp_dir();
    let plan = ClusterPlan::for_connections(20);
    let binaries = server().await;
    let home = home(temp.path());
    let appeared = async {
        while entries(temp.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = PgCluster::start(&binaries, &plan, &home) => panic!("it started before its folder was seen"),
        () = appeared => {}
    }
    assert_nothing_left(&temp);
}

#[test]
fn sigkill_of_the_parent_leaves_nothing() {
    let temp = temp_dir();
    let helper = Helper::start(temp.path());
    let ready = temp.path().join("ready");
    let folder = wait_for("cluster", || fs::read_to_string(&ready).ok().filter(|folder| !folder.is_empty()));
    assert!(Path::new(&folder).join("data/postmaster.pid").exists());
    helper.kill();
    fs::remove_file(ready).unwrap();
    assert_nothing_left(&temp);
}

#[test]
fn sigkill_of_the_parent_during_initdb_leaves_nothing() {
    let temp = temp_dir();
    let helper = Helper::start(temp.path());
    wait_for("process of initdb", || processes_in(temp.path()).into_iter().find(|line| line.contains("initdb")));
    helper.kill();
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn sigkill_of_the_supervisor_is_swept_up_by_the_next_run() {
    let temp = temp_dir();
    let cluster = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    let mut alive = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    let postmaster = cluster.postmaster_pid();
    signal(cluster.supervisor_pid().unwrap(), Signal::SIGKILL);
    // Leaked, so that nothing but the sweeping can be what cleans up.
    let folder = cluster.folder().to_owned();
    std::mem::forget(cluster);
    assert!(folder.exists() && Path::new(&format!("/proc/{postmaster}")).exists());

    wait_for("stale folder to sweep", || (sweep_stale(temp.path()) == 1).then_some(()));
    assert!(!folder.exists());
    wait_until_nothing("processes", || processes_in(&folder));
    assert_eq!(ask(&alive.config(), "SELECT 1::text").await, "1", "the one with a living supervisor serves on");
    alive.stop().await.unwrap();
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn stop_cleans_up_when_the_supervisor_was_killed() {
    let temp = temp_dir();
    let mut cluster = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    signal(cluster.supervisor_pid().unwrap(), Signal::SIGKILL);
    let error = cluster.stop().await.unwrap_err().to_string();
    assert_eq!(error, "PostgreSQL supervisor exited without a report (signal: 9 (SIGKILL))");
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn sigterm_to_the_supervisor_stops_the_server() {
    let temp = temp_dir();
    let mut cluster = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    signal(cluster.supervisor_pid().unwrap(), Signal::SIGTERM);
    let error = cluster.gone().await;
    assert!(
        matches!(&error, ClusterError::Supervision(SupervisionError::Gone { status }) if status.success()),
        "{error}"
    );
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn a_server_that_dies_is_reported_with_its_log() {
    let temp = temp_dir();
    let mut cluster = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap();
    signal(cluster.postmaster_pid(), Signal::SIGKILL);
    let ClusterError::Supervision(SupervisionError::Failed { reason, log }) = cluster.gone().await else {
        panic!("no report")
    };
    assert!(reason.contains("postgres` ended by itself (signal: 9 (SIGKILL))"), "{reason}");
    assert!(!log.is_empty());
    assert!(cluster.stop().await.is_err());
    assert_nothing_left(&temp);
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let temp = temp_dir();
    let mut plan = ClusterPlan::for_connections(20);
    plan.settings.insert("nonsense".to_owned(), "1".to_owned());
    let error = start(temp.path(), &plan).await.unwrap_err().to_string();
    assert!(
        error.starts_with("no private PostgreSQL: `")
            && error.ends_with("its log says `FATAL:  unrecognized configuration parameter \"nonsense\"`"),
        "{error}"
    );
    assert_eq!(entries(temp.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_supervisor_that_is_none_is_one_clear_error() {
    let temp = temp_dir();
    let plan = ClusterPlan::for_connections(20);
    let binaries = server().await;
    let mut home = home(temp.path());
    home.supervisor = PathBuf::from("/nowhere/rbac-bench");
    let error = PgCluster::start(&binaries, &plan, &home).await.unwrap_err().to_string();
    assert_eq!(error, "starting the supervisor of PostgreSQL, `/nowhere/rbac-bench`");
}

#[tokio::test]
async fn a_folder_that_the_servers_account_cannot_enter_is_named() {
    if !geteuid().is_root() {
        return;
    }
    let temp = temp_dir_with_mode(0o700);
    let error = start(temp.path(), &ClusterPlan::for_connections(20)).await.unwrap_err().to_string();
    let path = temp.path().display();
    assert!(error.contains(&format!("which cannot enter `{path}` on the way to `{path}/rbac-bench-")), "{error}");
    assert_eq!(entries(temp.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_wrong_pg_bin_is_an_error_that_names_the_folder() {
    let temp = temp_dir();
    let error = binaries::find(Some(temp.path()), &SearchPlaces::from_env()).await.unwrap_err().to_string();
    assert_eq!(error, format!("`--pg-bin {}` holds no executable `postgres` and `initdb`", temp.path().display()));
}
