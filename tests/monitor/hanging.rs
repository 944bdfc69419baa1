//! A server that takes connections, and then says nothing more.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rbac_bench::monitor::SessionFilter;
use rbac_bench::monitor::sessions::{Looker, PollEvent};
use rbac_bench::record::{Event, Sample};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_postgres::Config;
use tokio_util::sync::CancellationToken;

use crate::watching::{HANG, Watching, server};

/// Stands before a server, and swallows everything once it hangs.
struct Between {
    folder: TempDir,
    hangs: Arc<AtomicBool>,
    /// Connections whose client has gone.
    left: Arc<AtomicUsize>,
}

impl Between {
    fn before(config: &Config, port: u16) -> Self {
        let tokio_postgres::config::Host::Unix(to) = &config.get_hosts()[0] else { panic!("a socket is asked for") };
        let to = to.join(format!(".s.PGSQL.{port}"));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let (hangs, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(serve(listener, to, Arc::clone(&hangs), Arc::clone(&left)));
        Self { folder, hangs, left }
    }

    fn config(&self, config: &Config) -> Config {
        let mut through = Config::new();
        through.host_path(self.folder.path()).port(5432).user(config.get_user().unwrap());
        through.dbname(config.get_dbname().unwrap());
        through
    }

    async fn wait_until_left(&self, wanted: usize) {
        let deadline = Instant::now() + HANG;
        while self.left.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "{} have left", self.left.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(listener: UnixListener, to: PathBuf, hangs: Arc<AtomicBool>, left: Arc<AtomicUsize>) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = UnixStream::connect(&to).await.unwrap().into_split();
        let (hanging, hangs, left) = (Arc::clone(&hangs), Arc::clone(&hangs), Arc::clone(&left));
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                if !hanging.load(Ordering::Relaxed) && to_client.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
            // What would tell the client that the server has gone is kept open.
            std::future::pending::<()>().await;
        });
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                if !hangs.load(Ordering::Relaxed) && to_server.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
            left.fetch_add(1, Ordering::Relaxed);
        });
    }
}

#[tokio::test]
async fn a_connection_to_a_server_that_hangs_is_not_kept() {
    let server = server().await;
    let between = Between::before(&server.config(), server.port());
    let watching = Watching::start(&between.config(&server.config())).await;
    watching.wait_for("a poll", |sample| matches!(sample, Sample::Activity(_)).then_some(())).await;
    between.hangs.store(true, Ordering::Relaxed);
    watching
        .wait_for("the loss", |sample| matches!(sample, Sample::Event(Event::ConnectionLost { .. })).then_some(()))
        .await;
    between.wait_until_left(1).await;
    watching.stop().await;
}

#[tokio::test]
async fn whoever_looks_at_a_server_that_hangs_can_stop_looking() {
    let server = server().await;
    let between = Between::before(&server.config(), server.port());
    let database = between.config(&server.config()).into();
    let looker = Looker::connect(&database, &SessionFilter::everybody()).await.unwrap();
    let (seen, mut looks) = tokio::sync::mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let take = move |_, what| {
        // Once nobody listens, nobody asks.
        let _gone = seen.send(matches!(what, PollEvent::Poll(_)));
    };
    let looking = tokio::spawn(looker.run(database, Duration::from_millis(50), take, stop.clone()));
    assert_eq!(looks.recv().await, Some(true));
    between.hangs.store(true, Ordering::Relaxed);
    stop.cancel();
    looking.await.unwrap();
    between.wait_until_left(1).await;
}
