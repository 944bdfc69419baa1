//! A PostgreSQL that listens on TCP, and a `PgBouncer` before it: by their ports sessions are traced to processes.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, chown, geteuid};
use rbac_bench::testbed::binaries::{SearchPlaces, installed_server};
use rbac_bench::testbed::pgbouncer::find;
use tempfile::TempDir;

use crate::program::HANG;

/// Neither PostgreSQL nor `PgBouncer` runs as root.
const NOBODY: u32 = 65_534;

/// The role of everybody.
const USER: &str = "app";

pub(crate) struct TcpServer {
    pub(crate) port: u16,
    server: Child,
    folder: TempDir,
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        stop(&mut self.server, Signal::SIGQUIT);
    }
}

impl TcpServer {
    /// A server with the database `shop`.
    pub(crate) fn start() -> Self {
        let folder = folder();
        let binaries = installed_server(&SearchPlaces::from_env()).expect("PostgreSQL: `make deps` installs it").dir;
        let data = folder.path().join("data");
        let initdb = unprivileged(&binaries.join("initdb"), folder.path())
            .args(["-A", "trust", "--no-sync", "-U", USER, "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(initdb.is_ok_and(|it| it.success()), "initdb");
        let port = free_port();
        let mut command = unprivileged(&binaries.join("postgres"), folder.path());
        command.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-c", "fsync=off"]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]).stderr(Stdio::null());
        let server = Self { port, server: command.spawn().expect("the server"), folder };
        let created = || {
            let mut createdb = unprivileged(&binaries.join("createdb"), server.folder.path());
            createdb.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", USER, "shop"]);
            createdb.stderr(Stdio::null()).status().is_ok_and(|it| it.success())
        };
        wait_until("the server answers", created);
        server
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

pub(crate) struct Pooler {
    pub(crate) port: u16,
    process: Child,
    _folder: TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        stop(&mut self.process, Signal::SIGTERM);
    }
}

impl Pooler {
    /// In transaction mode.
    pub(crate) fn before(server: &TcpServer) -> Self {
        let folder = folder();
        let program = find(&SearchPlaces::from_env()).expect("PgBouncer: `make deps` installs it").path;
        let port = free_port();
        let ini = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\nignore_startup_parameters = extra_float_digits\n",
            server.port
        );
        std::fs::write(&ini, settings).expect("a temporary file");
        let mut command = unprivileged(&program, folder.path());
        let pooler = command.arg("-q").arg(&ini).stderr(Stdio::null()).spawn().expect("PgBouncer");
        let pooler = Self { port, process: pooler, _folder: folder };
        wait_until("PgBouncer listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        pooler
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

/// A folder of who runs the programs.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("our own folder");
    if geteuid().is_root() {
        chown(folder.path(), Some(Uid::from_raw(NOBODY)), None).expect("root may");
    }
    folder
}

fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + HANG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stop(child: &mut Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("it runs");
    drop(child.wait());
}
