//! Faults while the monitor watches.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use rbac_bench::record::{EpisodeEnd, Event, Sample};
use rbac_bench::testbed::binaries::{self, SearchPlaces};
use tempfile::TempDir;
use tokio_postgres::Config;

use crate::watching::{HANG, Watching, server, session};

/// A server that can be stopped and started. It ends with its standard input, and so with this process.
struct Restartable {
    folder: TempDir,
    bin: PathBuf,
    running: Option<Child>,
}

impl Restartable {
    async fn start() -> Self {
        let places = SearchPlaces { releases_url: None, ..SearchPlaces::from_env() };
        let bin = binaries::find(None, &places).await.unwrap().dir;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut server = Self { folder, bin, running: None };
        let data = server.folder.path().join("data");
        let made = server.command("initdb").args(["-A", "trust", "-U", "bench", "-D"]).arg(data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.up().await;
        server
    }

    /// A program of the server's, as somebody else than root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        self.unprivileged(&mut command);
        command
    }

    fn unprivileged(&self, command: &mut Command) {
        command.current_dir(self.folder.path());
        if Uid::effective().is_root() {
            let user = User::from_name("postgres").unwrap().or(User::from_name("nobody").unwrap()).unwrap();
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    async fn up(&mut self) {
        let script = r#""$0" "$@" & read -r _; kill -INT $!; wait $!"#;
        let mut command = Command::new("sh");
        self.unprivileged(&mut command);
        let folder = self.folder.path();
        command.args(["-c", script]).arg(self.bin.join("postgres")).arg("-D").arg(folder.join("data"));
        command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(folder);
        self.running = Some(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + HANG;
        while let Err(error) = self.config().connect(tokio_postgres::NoTls).await {
            assert!(Instant::now() < deadline, "the server does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn down(&mut self) {
        let mut running = self.running.take().unwrap();
        drop(running.stdin.take());
        running.wait().unwrap();
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(self.folder.path()).user("bench").dbname("postgres");
        config
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.down();
        }
    }
}

#[tokio::test]
async fn a_restart_of_the_server_is_a_gap_and_its_counters_are_no_continuation() {
    let mut server = Restartable::start().await;
    let watching = Watching::start(&server.config()).await;
    let client = session(&server.config(), "app").await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    watching
        .wait_for("an old transaction", |sample| match sample {
            Sample::Activity(it) => it.oldest_transaction_s.filter(|age| *age > 0.5),
            _ => None,
        })
        .await;
    server.down();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.up().await;
    watching
        .wait_for("the restart", |sample| matches!(sample, Sample::Event(Event::ServerRestarted)).then_some(()))
        .await;
    let from_s = watching.now_s();
    let client = session(&server.config(), "app").await;
    client.batch_execute("BEGIN; SELECT 2").await.unwrap();
    watching
        .wait_for_after("a transaction of the new server", from_s, |sample| match sample {
            Sample::Pulse(it) if it.idle_in_transaction == 1 => Some(()),
            _ => None,
        })
        .await;
    let counted = watching
        .wait_for_after("counters of the new server", from_s, |sample| match sample {
            Sample::Counters(it) => Some((it.idle_in_transaction_counted_s, it.sessions_lost)),
            _ => None,
        })
        .await;
    assert_eq!(counted, (None, None), "nobody knows what was added");
    let seen = watching.stop().await;

    let events = seen.events();
    let lost = events.iter().position(|event| matches!(event, Event::ConnectionLost { .. }));
    let back = events.iter().position(|event| matches!(event, Event::Reconnected { after_ms } if *after_ms > 1_000));
    assert!(lost.is_some() && lost < back, "{events:?}");
    let time_of = |wanted: fn(&Event) -> bool| {
        let event = |sample: &Sample| matches!(sample, Sample::Event(event) if wanted(event));
        seen.samples.iter().find(|it| event(&it.sample)).unwrap().at_s
    };
    let gap =
        time_of(|it| matches!(it, Event::ConnectionLost { .. }))..time_of(|it| matches!(it, Event::Reconnected { .. }));
    let polled = |sample: &Sample| matches!(sample, Sample::Activity(_) | Sample::Pulse(_) | Sample::Counters(_));
    let inside = seen.samples.iter().filter(|it| gap.contains(&it.at_s) && polled(&it.sample)).count();
    assert_eq!(inside, 0, "a gap is a gap");
    let summary = seen.summary();
    let length_s = seen.samples.last().unwrap().at_s;
    assert!(summary.idle_in_transaction_sampled_s.unwrap() < length_s - (gap.end - gap.start) + 0.1, "{summary:?}");
    assert!(seen.watched.record.unwatched_s > 1.0 && seen.watched.record.server_restarts == 1);
    let ends = seen.of(|sample| match sample {
        Sample::Episode(episode) => Some(episode.end),
        _ => None,
    });
    assert!(ends.contains(&EpisodeEnd::SessionGone), "{ends:?}");
}

#[tokio::test]
async fn a_monitor_whose_session_is_killed_comes_back_and_goes_on() {
    let mut server = server().await;
    let client = session(&server.config(), "app").await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let watching = Watching::start(&server.config()).await;
    let open = |sample: &Sample| match sample {
        Sample::Activity(it) => (it.idle_in_transaction == 1).then_some(()),
        _ => None,
    };
    watching.wait_for("the open transaction", open).await;
    let killer = session(&server.config(), "operator").await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rbac-bench'";
    assert_eq!(killer.query(kill, &[]).await.unwrap().len(), 1, "one connection is all that it has");
    watching
        .wait_for("the monitor again", |sample| match sample {
            Sample::Event(Event::Reconnected { .. }) => Some(()),
            _ => None,
        })
        .await;
    watching.wait_for_after("the open transaction", watching.now_s(), open).await;
    let seen = watching.stop().await;
    let printed = seen
        .events()
        .iter()
        .any(|event| matches!(event, Event::ConnectionLost { error } if error.contains("administrator command")));
    assert!(printed, "{:?}", seen.events());
    assert!(!seen.events().contains(&&Event::ServerRestarted));
    let ends = seen.of(|sample| match sample {
        Sample::Episode(episode) => Some(episode.end),
        _ => None,
    });
    assert_eq!(ends, [EpisodeEnd::StillOpen], "it is the same transaction before and after");
    server.stop().await.unwrap();
}
