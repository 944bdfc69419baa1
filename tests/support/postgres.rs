//! One private PostgreSQL for all tests of a process, and a look at it from outside.
//!
//! Nobody stops it: its supervisor does when this process ends, and removes its folder.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway_under_test::settings::{DatabaseHost, DatabaseSettings};
use rbac_bench::testbed::binaries::{self, SearchPlaces};
use rbac_bench::testbed::cluster::{ClusterHome, ClusterPlan, DATABASE, PgCluster};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls, Row};

/// Longest time for a condition to come about.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

static CLUSTER: OnceCell<PgCluster> = OnceCell::const_new();

/// The server of this process, started by its first user. It logs every statement with its `application_name`.
pub(crate) async fn cluster() -> &'static PgCluster {
    CLUSTER.get_or_init(start).await
}

async fn start() -> PgCluster {
    let mut plan = ClusterPlan::for_connections(100);
    for (name, value) in [("log_statement", "all"), ("log_line_prefix", "%a|")] {
        plan.settings.insert(name.to_owned(), value.to_owned());
    }
    start_cluster(&plan).await
}

/// Another server, of the caller's own.
pub(crate) async fn start_cluster(plan: &ClusterPlan) -> PgCluster {
    let places = SearchPlaces { releases_url: None, ..SearchPlaces::from_env() };
    let server = binaries::find(None, &places).await.unwrap();
    let supervisor = PathBuf::from(env!("CARGO_BIN_EXE_rbac-bench"));
    PgCluster::start(&server, plan, &ClusterHome { supervisor, temp_dir: std::env::temp_dir() }).await.unwrap()
}

/// The server as a gateway is informed of it, without any timeout.
pub(crate) async fn database_settings() -> DatabaseSettings {
    let cluster = cluster().await;
    DatabaseSettings {
        host: DatabaseHost::Socket(cluster.socket_dir().to_owned()),
        port: cluster.port(),
        user: cluster.config().get_user().unwrap().to_owned(),
        password: None,
        dbname: DATABASE.to_owned(),
        route: gateway_under_test::settings::DatabaseRoute::Direct,
        statement_timeout: Duration::ZERO,
        idle_in_transaction_session_timeout: Duration::ZERO,
    }
}

/// The statements that the server has got from `application`, in order, as its log tells.
pub(crate) async fn statements_of(application: &str) -> Vec<String> {
    let log = std::fs::read_to_string(cluster().await.log_path()).unwrap();
    let prefix = format!("{application}|LOG:  ");
    let entries = log.lines().filter_map(|line| line.strip_prefix(&prefix));
    // `statement: COMMIT`, or `execute s0: SELECT 1`.
    entries.filter_map(|entry| Some(entry.split_once(": ")?.1.to_owned())).collect()
}

/// A session as `pg_stat_activity` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `pid`.
    pub(crate) pid: i32,
    /// `state`.
    pub(crate) state: String,
    /// `query`.
    pub(crate) query: String,
}

/// Somebody who watches the server on a connection of their own.
pub(crate) struct Observer(Client);

impl Observer {
    pub(crate) async fn connect() -> Self {
        let (client, connection) = cluster().await.config().connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    /// The sessions of `application`, oldest first.
    pub(crate) async fn sessions(&self, application: &str) -> Vec<Seen> {
        let query = "SELECT pid, state, query FROM pg_stat_activity WHERE application_name = $1 ORDER BY backend_start";
        let rows = self.0.query(query, &[&application]).await.unwrap();
        rows.iter().map(seen).collect()
    }

    pub(crate) async fn pids(&self, application: &str) -> Vec<i32> {
        self.sessions(application).await.into_iter().map(|seen| seen.pid).collect()
    }

    /// Waits until the sessions of `application` are as `wanted`, and gives them.
    pub(crate) async fn wait_for(&self, application: &str, what: &str, wanted: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let sessions = self.sessions(application).await;
            if wanted(&sessions) {
                return sessions;
            }
            assert!(Instant::now() < deadline, "{what} expected, seen {sessions:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the one session of `application` is in `state`.
    pub(crate) async fn wait_for_state(&self, application: &str, state: &str) {
        self.wait_for(application, state, |sessions| sessions.len() == 1 && sessions[0].state == state).await;
    }

    pub(crate) async fn wait_for_count(&self, application: &str, count: usize) -> Vec<Seen> {
        self.wait_for(application, &format!("{count} sessions"), |sessions| sessions.len() == count).await
    }

    /// Ends the session `pid` of `application` and waits until it is gone.
    pub(crate) async fn terminate(&self, application: &str, pid: i32) {
        let row = self.0.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        assert!(row.get::<_, bool>(0), "no session {pid}");
        self.wait_for_end(application, pid).await;
    }

    pub(crate) async fn wait_for_end(&self, application: &str, pid: i32) {
        let gone = |sessions: &[Seen]| sessions.iter().all(|seen| seen.pid != pid);
        self.wait_for(application, &format!("the end of {pid}"), gone).await;
    }
}

fn seen(row: &Row) -> Seen {
    let text = |column| row.get::<_, Option<String>>(column).unwrap_or_default();
    Seen { pid: row.get("pid"), state: text("state"), query: text("query") }
}
