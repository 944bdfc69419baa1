//! Cost of monitoring, beside `pg_activity`: `benches/monitor-cost`.
//!
//! It prints and asserts nothing: absolute times belong here and not in tests.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rbac_bench::monitor::{HealthProbe, Monitor, SessionFilter, Sink, Watch};
use rbac_bench::record::{MonitorRecord, Sample};
use rbac_bench::scenario::{Health, MonitorConfig};
use rbac_bench::testbed::binaries::{SearchPlaces, find};
use rbac_bench::testbed::cluster::{ClusterHome, ClusterPlan, PgCluster};
use rbac_bench::testbed::limits::raise_descriptor_limit;
use tokio_postgres::{Config, NoTls};

const SESSIONS: [u32; 3] = [100, 300, 1000];

/// Of the sessions, so many are idle in transaction most of the time: a service that holds, and one that does not.
const HELD: [f64; 2] = [0.1, 0.9];

/// `pg_activity` has begun to show something by then.
const SETTLE: Duration = Duration::from_secs(3);

fn main() {
    let seconds = std::env::args().skip(1).find_map(|it| it.parse().ok()).unwrap_or(15);
    raise_descriptor_limit(2 * SESSIONS[2]).expect("room for the sessions");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("CPU in per cent of one core, client + server process, over {seconds} s each");
    println!(
        "sessions  held    monitor (client + server)   pulse / rows    pg_activity at 2 Hz (client + server)   share"
    );
    for sessions in SESSIONS {
        for held in HELD {
            runtime.block_on(compare(sessions, held, Duration::from_secs(seconds)));
        }
    }
}

async fn compare(sessions: u32, held: f64, span: Duration) {
    let binaries = find(None, &SearchPlaces::from_env()).await.expect("a PostgreSQL");
    let home = ClusterHome { supervisor: env!("CARGO_BIN_EXE_rbac-bench").into(), temp_dir: std::env::temp_dir() };
    let plan = ClusterPlan::for_connections(sessions + 20);
    let mut cluster = PgCluster::start(&binaries, &plan, &home).await.expect("a cluster");
    let mut load = tokio::task::JoinSet::new();
    for number in 0..sessions {
        let (client, connection) = cluster.config().connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let holds = f64::from(number) < held * f64::from(sessions);
        load.spawn(async move {
            loop {
                let statements = if holds { "BEGIN; SELECT 1" } else { "SELECT 1" };
                client.batch_execute(statements).await.expect("an answer");
                let millis = rand::rng().random_range(500..1500);
                tokio::time::sleep(Duration::from_millis(millis)).await;
                if holds {
                    client.batch_execute("COMMIT").await.expect("an answer");
                }
            }
        });
    }
    let other = std::env::var_os("PG_ACTIVITY").map(|program| PgActivity::start(Path::new(&program), &cluster));
    tokio::time::sleep(SETTLE).await;
    let other_before = match &other {
        Some(other) => Some(other.cpu_s(&cluster.config()).await),
        None => None,
    };
    let began = Instant::now();
    let own = watch(&cluster.config(), span).await;
    let other_s = match (&other, other_before) {
        (Some(other), Some(before)) => {
            let after = other.cpu_s(&cluster.config()).await;
            Some(
                before
                    .0
                    .zip(after.0)
                    .zip(before.1.zip(after.1))
                    .map(|(client, server)| (client.1 - client.0, server.1 - server.0)),
            )
        }
        _ => None,
    };
    print(sessions, held, &own, other_s.flatten(), began.elapsed().as_secs_f64());
    load.abort_all();
    drop(other);
    cluster.stop().await.expect("a clean stop");
}

struct Nowhere;

impl Sink for Nowhere {
    fn take(&self, _: Instant, _: Sample) {}
}

async fn watch(database: &Config, span: Duration) -> MonitorRecord {
    let usual = MonitorConfig::default();
    let watch = Watch {
        database: database.clone().into(),
        interval: usual.interval.duration(),
        pulse: usual.pulse.duration(),
        whose: SessionFilter::everybody(),
        epoch: Instant::now(),
        replicas: Vec::new(),
        gauges: Vec::new(),
        gauge_names: rbac_bench::monitor::GaugeNames::default(),
        health: Health::default(),
        probe: HealthProbe::default(),
        pgbouncer: None,
    };
    let monitor = Monitor::start(watch, Arc::new(Nowhere)).await.expect("a monitor");
    tokio::time::sleep(span).await;
    monitor.stop().await.expect("a clean stop").record
}

fn print(sessions: u32, held: f64, own: &MonitorRecord, other: Option<(f64, f64)>, elapsed_s: f64) {
    let percent = |cpu_s: Option<f64>, of_s: f64| cpu_s.map(|it| it / of_s * 100.0);
    let sum = |client: Option<f64>, server: Option<f64>| client.zip(server).map(|(client, server)| client + server);
    let printed = |client: Option<f64>, server: Option<f64>| match (sum(client, server), client, server) {
        (Some(sum), Some(client), Some(server)) => format!("{sum:5.2} ({client:5.2} + {server:5.2})"),
        _ => "–".to_owned(),
    };
    let (client, server) = (percent(own.client_cpu_s, own.watched_s), percent(own.backend_cpu_s, own.watched_s));
    let (their_client, their_server) =
        (percent(other.map(|it| it.0), elapsed_s), percent(other.map(|it| it.1), elapsed_s));
    let share = sum(client, server).zip(sum(their_client, their_server)).map(|(own, other)| own / other);
    println!(
        "{sessions:8}  {held:.0$}     {1}        {2:4.1} / {3:4.1} Hz   {4}          {5}",
        1,
        printed(client, server),
        own.pulse_rate_hz.unwrap_or(f64::NAN),
        own.rows_rate_hz.unwrap_or(f64::NAN),
        printed(their_client, their_server),
        share.map_or_else(|| "–".to_owned(), |share| format!("1 / {:.1}", 1.0 / share)),
    );
}

/// `pg_activity` in a terminal that nobody sees: `tmux`, since it waits for a terminal's answers before it begins.
struct PgActivity {
    terminal: String,
    pid: i32,
}

impl PgActivity {
    fn start(program: &Path, cluster: &PgCluster) -> Self {
        let user = cluster.config().get_user().expect("a user").to_owned();
        let command = format!(
            "exec {} --refresh 0.5 -h {} -p {} -U {user} -d rbac",
            program.display(),
            cluster.socket_dir().display(),
            cluster.port(),
        );
        let terminal = format!("rbac-bench-{}", std::process::id());
        let tmux = |arguments: &[&str]| {
            let output = Command::new("tmux").args(["-L", &terminal]).args(arguments).output().expect("`tmux`");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        tmux(&["new-session", "-d", "-x", "200", "-y", "50", &command]);
        let pid = tmux(&["list-panes", "-F", "#{pane_pid}"]).parse().expect("a pid");
        Self { terminal, pid }
    }

    /// CPU seconds of itself and of its server process.
    async fn cpu_s(&self, database: &Config) -> (Option<f64>, Option<f64>) {
        let (observer, connection) = database.connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_activity'";
        let rows = observer.query(query, &[]).await.expect("rows");
        (cpu_s(self.pid), rows.first().and_then(|row| cpu_s(row.get(0))))
    }
}

impl Drop for PgActivity {
    fn drop(&mut self) {
        // It ends with its terminal, which is ours alone.
        let _gone = Command::new("tmux").args(["-L", &self.terminal, "kill-server"]).output();
    }
}

fn cpu_s(pid: i32) -> Option<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .map(|times| times.split_whitespace().next()?.parse::<u64>().ok().map(|nanos| nanos as f64 / 1e9))
        .sum()
}
