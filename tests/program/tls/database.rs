//! PostgreSQL with `ssl = on`: each mode of libpq's means what it means to psql.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::unistd::{Uid, User};
use rbac_bench::database::{Database, reported};
use rbac_bench::testbed::binaries::{self, SearchPlaces};
use tempfile::TempDir;

use super::certificates::{Authority, Signed};
use crate::program::{HANG, Place, text};

/// Access rules of the server.
const HBA: &str = "\
local all all trust
hostssl all plain_only all reject
hostnossl all tls_only all reject
hostnossl all certified all reject
hostssl all certified all cert
host all all all trust
";

/// A server on a port of this machine. It ends with its standard input, and so with this process.
struct Server {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Server {
    async fn new() -> Self {
        let places = SearchPlaces { releases_url: None, ..SearchPlaces::from_env() };
        let bin = binaries::find(None, &places).await.expect("a server").dir;
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let server = Self { folder, bin, port, running: None };
        let made =
            server.command("initdb").args(["-N", "-A", "trust", "-U", "bench", "-D"]).arg(server.data()).output();
        assert!(made.expect("initdb runs").status.success());
        fs::write(server.data().join("pg_hba.conf"), HBA).expect("rules");
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of the server's, as somebody else than root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        self.unprivileged(&mut command);
        command
    }

    fn unprivileged(&self, command: &mut Command) {
        command.current_dir(self.folder.path());
        if let Some(user) = account() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Starts it anew, with this certificate; without one it speaks no TLS.
    async fn up(&mut self, signed: Option<&Signed>, clients: &Authority) {
        self.down();
        let own = |path: &Path| {
            let owner = account().map(|user| (user.uid.as_raw(), user.gid.as_raw()));
            owner.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group))).expect("we are root");
        };
        let clients_file = self.folder.path().join("clients.crt");
        fs::write(&clients_file, clients.pem()).expect("a file");
        let mut command = Command::new("sh");
        self.unprivileged(&mut command);
        command.args(["-c", r#""$0" "$@" & read -r _; kill -INT $!; wait $!"#]);
        command.arg(self.bin.join("postgres")).arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=localhost", "-c", "fsync=off", "-p"]).arg(self.port.to_string());
        if let Some(signed) = signed {
            let (certificate, key) = signed.write(self.folder.path(), "server");
            own(&key);
            for (name, path) in
                [("ssl_cert_file", &certificate), ("ssl_key_file", &key), ("ssl_ca_file", &clients_file)]
            {
                command.arg("-c").arg(format!("{name}={}", path.display()));
            }
            command.args(["-c", "ssl=on"]);
        }
        self.running = Some(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh runs"));
        let local = format!("host={} port={} user=bench dbname=postgres", self.folder.path().display(), self.port);
        let local: Database = local.parse().unwrap_or_else(|error| panic!("{error}"));
        let deadline = Instant::now() + HANG;
        let (client, _ending) = loop {
            match local.connect().await {
                Ok(connected) => break connected,
                Err(error) => assert!(Instant::now() < deadline, "the server does not answer: {error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        for role in ["plain_only", "tls_only", "certified"] {
            let make =
                format!("DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
            client.batch_execute(&make).await.expect("a role");
        }
    }

    fn down(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.stdin.take());
            running.wait().expect("our child");
        }
    }

    /// Connects as a user by a host's name, with these options: whether in TLS, or why not.
    async fn tls(&self, user: &str, host: &str, options: &str) -> Result<bool, String> {
        let url = format!("postgresql://{user}@{host}:{}/postgres?{options}", self.port);
        let database: Database = url.parse().map_err(|error: rbac_bench::database::UrlError| error.to_string())?;
        let (client, _ending) = database.connect().await.map_err(|error| reported(&error))?;
        let row = client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await;
        Ok(row.expect("it answers").get(0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

fn account() -> Option<User> {
    let user = |name| User::from_name(name).expect("the accounts can be read");
    Uid::effective().is_root().then(|| user("postgres").or_else(|| user("nobody")).expect("an account"))
}

/// An authority's file, for `sslrootcert`.
fn root_file(server: &Server, authority: &Authority, name: &str) -> String {
    let path = server.folder.path().join(name);
    fs::write(&path, authority.pem()).expect("a file");
    format!("sslrootcert={}", path.display())
}

#[tokio::test]
async fn each_mode_means_what_psql_means_by_it() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let mut server = Server::new().await;
    let (root, other_root) = (root_file(&server, &ours, "ours.crt"), root_file(&server, &theirs, "theirs.crt"));
    server.up(Some(&ours.sign("localhost")), &ours).await;
    for (options, encrypted) in [
        ("sslmode=disable".to_owned(), false),
        ("sslmode=allow".to_owned(), false),
        (String::new(), true),
        ("sslmode=prefer".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=require&{root}"), true),
        (format!("sslmode=verify-ca&{root}"), true),
        (format!("sslmode=verify-full&{root}"), true),
    ] {
        assert_eq!(server.tls("bench", "localhost", &options).await, Ok(encrypted), "{options}");
    }
    // What the server wants decides where the client does not mind.
    assert_eq!(server.tls("tls_only", "localhost", "sslmode=allow").await, Ok(true));
    assert_eq!(server.tls("plain_only", "localhost", "sslmode=prefer").await, Ok(false));
    assert!(server.tls("tls_only", "localhost", "sslmode=disable").await.is_err());
    assert!(server.tls("plain_only", "localhost", "sslmode=require").await.is_err());

    let refused = async |host: &str, options: &str| server.tls("bench", host, options).await.unwrap_err();
    let unknown = "its certificate is of an authority that is not trusted";
    assert!(refused("localhost", &format!("sslmode=verify-ca&{other_root}")).await.ends_with(unknown));
    // A root that is given is used, as by psql.
    assert!(refused("localhost", &format!("sslmode=require&{other_root}")).await.ends_with(unknown));
    assert!(refused("localhost", "sslmode=require&sslrootcert=system").await.contains("`verify-full`"));
    let by_address = format!("sslmode=verify-full&{root}");
    assert!(refused("127.0.0.1", &by_address).await.ends_with("its certificate is for another name"));
    assert!(refused("localhost", "sslmode=verify-full").await.contains("`sslrootcert` names the file"));
}

#[tokio::test]
async fn another_name_an_old_certificate_and_no_tls_are_reported_by_name() {
    let ours = Authority::new("ours");
    let mut server = Server::new().await;
    let root = root_file(&server, &ours, "ours.crt");
    let (ca, full) = (format!("sslmode=verify-ca&{root}"), format!("sslmode=verify-full&{root}"));

    server.up(Some(&ours.sign("db.example.com")), &ours).await;
    assert_eq!(server.tls("bench", "localhost", &ca).await, Ok(true));
    let name = server.tls("bench", "localhost", &full).await.unwrap_err();
    assert!(name.ends_with("its certificate is for another name"), "{name}");

    server.up(Some(&ours.sign_expired("localhost")), &ours).await;
    assert_eq!(server.tls("bench", "localhost", "sslmode=require").await, Ok(true));
    for options in [&ca, &full] {
        let old = server.tls("bench", "localhost", options).await.unwrap_err();
        assert!(old.ends_with("its certificate has expired"), "{old}");
    }

    // A server's own certificate, which is an authority's as well, stands for itself and for nobody else.
    let itself = Authority::new("localhost");
    let (own, other) =
        (root_file(&server, &itself, "itself.crt"), root_file(&server, &Authority::new("localhost"), "x.crt"));
    server.up(Some(&itself.own()), &ours).await;
    assert_eq!(server.tls("bench", "localhost", &format!("sslmode=verify-full&{own}")).await, Ok(true));
    let name = server.tls("bench", "127.0.0.1", &format!("sslmode=verify-full&{own}")).await.unwrap_err();
    assert!(name.ends_with("its certificate is for another name"), "{name}");
    assert!(server.tls("bench", "localhost", &format!("sslmode=verify-ca&{other}")).await.is_err());

    server.up(None, &ours).await;
    assert_eq!(server.tls("bench", "localhost", "sslmode=prefer").await, Ok(false));
    for options in ["sslmode=require", &ca, &full] {
        let none = server.tls("bench", "localhost", options).await.unwrap_err();
        assert!(none.contains("server does not support TLS"), "{none}");
    }
    // The program says the same, and not the password.
    let place = Place::new();
    let url = format!("postgresql://bench:s3cret@localhost:{}/postgres?sslmode=require", server.port);
    let watch = place.program().args(["watch", "--once", "--database-url", &url]).output().expect("it starts");
    let printed = text(&watch.stderr);
    assert!(!watch.status.success() && printed.contains("server does not support TLS"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn a_client_shows_its_certificate_and_its_key_stays_its_own() {
    let ours = Authority::new("ours");
    let mut server = Server::new().await;
    server.up(Some(&ours.sign("localhost")), &ours).await;
    let root = root_file(&server, &ours, "ours.crt");
    let (certificate, key) = ours.sign("certified").write(server.folder.path(), "client");
    let shown = format!("sslmode=verify-full&{root}&sslcert={}&sslkey={}", certificate.display(), key.display());
    assert_eq!(server.tls("certified", "localhost", &shown).await, Ok(true));
    let unknown = server.tls("certified", "localhost", &format!("sslmode=verify-full&{root}")).await.unwrap_err();
    assert!(unknown.contains("certificate"), "{unknown}");

    // The program watches by it, too.
    let url = format!("postgresql://certified@localhost:{}/postgres?{shown}", server.port);
    let place = Place::new();
    let watch =
        place.program().args(["watch", "--once", "--json", "--database-url", &url]).output().expect("it starts");
    let printed = text(&watch.stderr);
    assert!(printed.contains("role `certified` cannot see other sessions"), "{printed}");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("ours");
    let open = server.tls("certified", "localhost", &shown).await.unwrap_err();
    assert!(open.contains("is world-readable"), "{open}");
}
