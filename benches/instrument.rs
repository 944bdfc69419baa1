//! Cost of the instrument itself: `cargo bench --bench instrument`.
//!
//! - CPU per request of the swarm beside a bare reqwest loop with the same users, think times and requests, and memory
//!   per user of both; each in a process of its own, taking turns (A B B A A B B A), so that a noisy neighbour hits both.
//! - CPU of the monitor at 10 Hz over 450 sessions idle in transaction: its own process and its backend together.
//!
//! It prints and asserts nothing: absolute times belong here and not in tests.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rbac_bench::monitor::{GaugeNames, HealthProbe, Monitor, Sink, Watch};
use rbac_bench::record::Sample;
use rbac_bench::scenario::{Health, Scenario};
use rbac_bench::swarm::fleet::Fleet;
use rbac_bench::swarm::{Clock, Identity, LoadPlan, Swarm};
use rbac_bench::testbed::binaries::{SearchPlaces, find};
use rbac_bench::testbed::cluster::{ClusterHome, ClusterPlan, PgCluster};
use rbac_bench::testbed::limits::raise_descriptor_limit;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: u32 = 4000;
const STEADY: Duration = Duration::from_secs(10);
const RAMP: Duration = Duration::from_secs(2);
/// Left out at either end of the steady phase.
const SETTLE: Duration = Duration::from_secs(1);
/// Measured part of each benchmark.
const MEASURED: Duration = Duration::from_secs(8);
/// Uniform from 0: 2000 requests a second with 4000 users.
const LONGEST_THINK: Duration = Duration::from_secs(4);
const SESSIONS: u32 = 450;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#;

/// Cost that one process measured of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Cost {
    requests: u64,
    cpu_s: f64,
    kb_per_user: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match (argument(1), argument(2)) {
        (Some("serve"), _) => runtime().block_on(serve()),
        (Some("swarm"), Some(url)) => say(&runtime().block_on(swarm(url))),
        (Some("bare"), Some(url)) => say(&runtime().block_on(bare(url))),
        (Some("monitor"), Some(config)) => runtime().block_on(monitor_cost(config)),
        _ => {
            compare_load();
            runtime().block_on(watch_sessions());
        }
    }
}

fn say(cost: &Cost) {
    println!("{}", serde_json::to_string(cost).expect("plain numbers"));
}

fn child(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child")
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    line
}

/// Takes turns, swarm bare bare swarm, twice over, and compares neighbours: the median of four ratios.
fn compare_load() {
    raise_descriptor_limit(USERS).expect("enough file descriptors");
    let mut server = child(&["serve"]);
    let url = first_line(&mut server).trim().to_owned();
    let mut ratios = Vec::new();
    for order in [["swarm", "bare"], ["bare", "swarm"], ["swarm", "bare"], ["bare", "swarm"]] {
        let costs = order.map(|kind| (kind, measure_child(kind, &url)));
        let of = |wanted: &str| costs.iter().find(|(kind, _)| *kind == wanted).map(|(_, cost)| micros(cost));
        ratios.extend(of("swarm").zip(of("bare")).map(|(swarm, bare)| swarm / bare));
    }
    server.kill().expect("our own child");
    server.wait().expect("our own child");
    ratios.sort_by(f64::total_cmp);
    let median = f64::midpoint(ratios[1], ratios[2]);
    println!("CPU per request, swarm ÷ bare reqwest loop: median {median:.2} of {ratios:.2?} (aim: ≤ 1.2)");
}

fn measure_child(kind: &str, url: &str) -> Cost {
    let mut process = child(&[kind, url]);
    let cost: Cost = serde_json::from_str(&first_line(&mut process)).expect("a cost");
    process.wait().expect("our own child");
    println!(
        "{kind:<6} {:>7} requests  {:>6.1} µs CPU each  {:>5.1} KB a user",
        cost.requests,
        micros(&cost),
        cost.kb_per_user
    );
    cost
}

fn micros(cost: &Cost) -> f64 {
    cost.cpu_s / cost.requests as f64 * 1e6
}

/// Answers everything with an empty object, until its standard input closes.
async fn serve() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(|| async { ([(CONTENT_TYPE, "application/json")], "{}") });
    axum::serve(listener, router).await.expect("serving");
}

/// CPU of this process over the steady part of `load`, when all users run, and its memory at the most. What it costs
/// to start 4000 users is not a cost per request.
async fn measured(load: impl Future<Output = ()>, finished: impl Fn() -> u64) -> Cost {
    let kb_before = resident_kb("VmRSS:");
    let steady = async {
        tokio::time::sleep(RAMP + SETTLE).await;
        let (cpu, requests) = (cpu_seconds(), finished());
        tokio::time::sleep(MEASURED).await;
        (cpu_seconds() - cpu, finished() - requests)
    };
    let ((), (cpu_s, requests)) = tokio::join!(load, steady);
    Cost { requests, cpu_s, kb_per_user: (resident_kb("VmHWM:") - kb_before) / f64::from(USERS) }
}

fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("our own usage");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

fn resident_kb(which: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("our own status");
    let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("a line");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

async fn swarm(url: &str) -> Cost {
    let set = format!(
        "name = 'cost'\ntitle = 'cost'\n[load]\nusers = {USERS}\nramp_up = '{}s'\nduration = '{}s'\nclient_timeout = '10s'\n\
         [load.classes.all]\nweight = 1\nthink_time = ['0s', '{}s']\ntasks = {{ 'GET /tools' = 1, 'POST /rpc ping' = 1 }}\n\
         [gateway]\nreplicas = 1\nworkers = 1\npool = {{ size = 1, max_overflow = 0, timeout = '1s' }}",
        RAMP.as_secs(),
        STEADY.as_secs(),
        LONGEST_THINK.as_secs()
    );
    let load = Scenario::from_text("cost", &set, &[]).expect("a scenario").load;
    let identity = Identity::authorized(HeaderValue::from_static("Bearer none"));
    let (pace, plan) = (load.pace(), LoadPlan::of_gateway(&load));
    let fleet = Arc::new(Fleet::new(&[url.to_owned()], plan.labels()).expect("a URL"));
    let swarm = Swarm::new(&pace, plan, vec![identity; USERS as usize], fleet).expect("a swarm");
    let view = swarm.view();
    let running = swarm.run(Clock::starting_now(&pace), CancellationToken::new());
    let cost = measured(async { running.await.expect("a load") }, || view.recorder().counts().0).await;
    assert_eq!(view.recorder().counts().1, 0, "the server answers everything");
    cost
}

/// The same users without goose, without histograms: what reqwest itself costs.
async fn bare(url: &str) -> Cost {
    let client = reqwest::Client::builder().pool_max_idle_per_host(usize::MAX).no_proxy().build().expect("a client");
    let (tools, rpc) = (format!("{url}/tools").parse().expect("a URL"), format!("{url}/rpc").parse().expect("a URL"));
    let finished = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + RAMP + STEADY;
    let users: Vec<_> = (0..USERS)
        .map(|user| {
            let (client, tools, rpc, finished) =
                (client.clone(), reqwest::Url::clone(&tools), reqwest::Url::clone(&rpc), Arc::clone(&finished));
            let load = async move {
                let mut random = SmallRng::seed_from_u64(u64::from(user));
                tokio::time::sleep(RAMP.mul_f64(f64::from(user) / f64::from(USERS))).await;
                loop {
                    tokio::time::sleep(random.random_range(Duration::ZERO..=LONGEST_THINK)).await;
                    let mut request = if random.random::<bool>() {
                        reqwest::Request::new(reqwest::Method::GET, tools.clone())
                    } else {
                        let mut request = reqwest::Request::new(reqwest::Method::POST, rpc.clone());
                        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                        *request.body_mut() = Some(PING.into());
                        request
                    };
                    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer none"));
                    client.execute(request).await.expect("an answer").bytes().await.expect("a body");
                    finished.fetch_add(1, Ordering::Relaxed);
                }
            };
            tokio::spawn(tokio::time::timeout_at(end.into(), load))
        })
        .collect();
    let ended = async {
        for user in users {
            // Every user ends by the timeout.
            assert!(user.await.expect("a user").is_err());
        }
    };
    measured(ended, || finished.load(Ordering::Relaxed)).await
}

/// Holds sessions open and lets a child watch them.
async fn watch_sessions() {
    let binaries = find(None, &SearchPlaces::from_env()).await.expect("a PostgreSQL");
    let home = ClusterHome { supervisor: env!("CARGO_BIN_EXE_rbac-bench").into(), temp_dir: std::env::temp_dir() };
    let mut cluster =
        PgCluster::start(&binaries, &ClusterPlan::for_connections(SESSIONS + 20), &home).await.expect("a cluster");
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let (client, connection) = cluster.config().connect(tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client.batch_execute("BEGIN; SELECT 1").await.expect("a transaction");
        clients.push(client);
    }
    let config = format!("host={} port={} user=postgres dbname=rbac", cluster.socket_dir().display(), cluster.port());
    let output = tokio::task::spawn_blocking(move || {
        let mut process = child(&["monitor", &config]);
        let line = first_line(&mut process);
        process.wait().expect("our own child");
        line
    });
    println!("{}", output.await.expect("a line").trim());
    drop(clients);
    cluster.stop().await.expect("a clean stop");
}

struct Count(AtomicU64);

impl Sink for Count {
    fn take(&self, _: Instant, sample: Sample) {
        if let Sample::Activity(activity) = sample {
            assert_eq!(activity.idle_in_transaction, SESSIONS);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// CPU of this process and of its backend while it watches.
async fn monitor_cost(config: &str) {
    let database: tokio_postgres::Config = config.parse().expect("a connection string");
    let watch = Watch {
        pulse: Duration::from_millis(50),
        whose: rbac_bench::monitor::SessionFilter::everybody(),
        epoch: Instant::now(),
        database: database.clone().into(),
        interval: Duration::from_millis(100),
        replicas: Vec::new(),
        gauges: Vec::new(),
        gauge_names: GaugeNames::default(),
        health: Health::default(),
        probe: HealthProbe::default(),
        pgbouncer: None,
    };
    let polls = Arc::new(Count(AtomicU64::new(0)));
    let monitor = Monitor::start(watch, Arc::clone(&polls) as Arc<dyn Sink>).await.expect("a monitor");
    let backend = backend_pid(&database).await;
    let (started, cpu, backend_cpu) = (Instant::now(), cpu_seconds(), backend_seconds(backend));
    tokio::time::sleep(STEADY).await;
    let span = started.elapsed().as_secs_f64();
    let own = (cpu_seconds() - cpu) / span * 100.0;
    let server = (backend_seconds(backend) - backend_cpu) / span * 100.0;
    monitor.stop().await.expect("a clean stop");
    println!(
        "monitor at 10 Hz over {SESSIONS} sessions: {:.2} % of one core (client {own:.2} %, backend {server:.2} %; aim: ≤ 2 %), {} polls",
        own + server,
        polls.0.load(Ordering::Relaxed)
    );
}

async fn backend_pid(database: &tokio_postgres::Config) -> i32 {
    let (client, connection) = database.connect(tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let row = client.query_one("SELECT pid FROM pg_stat_activity WHERE application_name = 'rbac-bench'", &[]).await;
    row.expect("the monitor's session").get(0)
}

fn backend_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running backend");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("a number") + fields[12].parse::<f64>().expect("a number");
    ticks / nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().map_or(100.0, |it| it as f64)
}
