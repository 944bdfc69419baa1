//! A server, sessions on it, and a monitor whose samples are kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rbac_bench::monitor::{GaugeNames, HealthProbe, Monitor, MonitorResult, SessionFilter, Sink, Watch};
use rbac_bench::record::summary::{Measured, RequestTotals};
use rbac_bench::record::{ActivitySample, Event, Phases, Sample, Stamped, Summary};
use rbac_bench::scenario::{Health, SessionScope};
use rbac_bench::testbed::binaries::{self, SearchPlaces};
use rbac_bench::testbed::cluster::{ClusterHome, ClusterPlan, PgCluster};
use tokio_postgres::{Client, Config, NoTls};

/// Only a hang takes this long.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// A private server; it ends with the test.
pub(crate) async fn server() -> PgCluster {
    server_of(None).await
}

/// One whose binaries are in this folder.
pub(crate) async fn server_of(folder: Option<&Path>) -> PgCluster {
    let places = SearchPlaces { releases_url: None, ..SearchPlaces::from_env() };
    let server = binaries::find(folder, &places).await.unwrap();
    let mut plan = ClusterPlan::for_connections(250);
    plan.settings.insert("max_prepared_transactions".to_owned(), "10".to_owned());
    let supervisor = PathBuf::from(env!("CARGO_BIN_EXE_rbac-bench"));
    PgCluster::start(&server, &plan, &ClusterHome { supervisor, temp_dir: std::env::temp_dir() }).await.unwrap()
}

/// A session of `application`.
pub(crate) async fn session(config: &Config, application: &str) -> Client {
    let mut config = config.clone();
    config.application_name(application);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Keeps every sample with its time on the record's clock.
struct Keep {
    epoch: Instant,
    samples: Mutex<Vec<Stamped>>,
}

impl Sink for Keep {
    fn take(&self, at: Instant, sample: Sample) {
        let at_s = at.saturating_duration_since(self.epoch).as_secs_f64();
        self.samples.lock().unwrap().push(Stamped { variant: SessionScope::Held.into(), at_s, sample });
    }
}

/// A monitor at work.
pub(crate) struct Watching {
    monitor: Monitor,
    kept: Arc<Keep>,
}

/// Samples of the monitor.
pub(crate) struct Seen {
    pub(crate) samples: Vec<Stamped>,
    pub(crate) watched: MonitorResult,
}

impl Seen {
    /// Share of the sessions seen idle in transaction that had been so for no longer than the poll took, 0–1.
    pub(crate) fn share_just_idle(&self) -> f64 {
        let polls = self.samples.iter().filter_map(|stamped| match &stamped.sample {
            Sample::Activity(activity) => Some(activity),
            _ => None,
        });
        let of = |poll: &ActivitySample| {
            (f64::from(poll.just_idle.unwrap_or(0)), f64::from(poll.idle_in_transaction_total()))
        };
        let (just_idle, all) = polls.map(of).fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if all > 0.0 { just_idle / all } else { 0.0 }
    }
}

impl Watching {
    /// At the default rates.
    pub(crate) async fn start(database: &Config) -> Self {
        Self::start_for(database, SessionFilter::everybody()).await
    }

    pub(crate) async fn start_for(database: &Config, whose: SessionFilter) -> Self {
        let epoch = Instant::now();
        let watch = Watch {
            database: database.into(),
            interval: Duration::from_millis(100),
            pulse: Duration::from_millis(50),
            whose,
            epoch,
            replicas: Vec::new(),
            gauges: Vec::new(),
            gauge_names: GaugeNames::default(),
            health: Health::default(),
            probe: HealthProbe::default(),
            pgbouncer: None,
        };
        let kept = Arc::new(Keep { epoch, samples: Mutex::new(Vec::new()) });
        let monitor = Monitor::start(watch, Arc::clone(&kept) as Arc<dyn Sink>).await.unwrap();
        Self { monitor, kept }
    }

    /// Waits until a sample is as `wanted`, and gives what it says.
    pub(crate) async fn wait_for<T>(&self, what: &str, wanted: impl Fn(&Sample) -> Option<T>) -> T {
        self.wait_for_after(what, 0.0, wanted).await
    }

    /// Waits until a sample that was taken after `from_s` is as `wanted`.
    pub(crate) async fn wait_for_after<T>(&self, what: &str, from_s: f64, wanted: impl Fn(&Sample) -> Option<T>) -> T {
        let deadline = Instant::now() + HANG;
        loop {
            let found = {
                let samples = self.kept.samples.lock().unwrap();
                samples.iter().filter(|it| it.at_s > from_s).find_map(|it| wanted(&it.sample))
            };
            if let Some(found) = found {
                return found;
            }
            let last = || self.kept.samples.lock().unwrap().iter().rev().take(10).cloned().collect::<Vec<_>>();
            assert!(Instant::now() < deadline, "{what} was never seen, but {:#?}", last());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Seconds of the record's clock.
    pub(crate) fn now_s(&self) -> f64 {
        self.kept.epoch.elapsed().as_secs_f64()
    }

    pub(crate) async fn stop(self) -> Seen {
        let watched = self.monitor.stop().await.unwrap();
        let mut samples = std::mem::take(&mut *self.kept.samples.lock().unwrap());
        samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Seen { samples, watched }
    }
}

impl Seen {
    /// The figures, as a run computes them, over all of the time.
    pub(crate) fn summary(&self) -> Summary {
        let totals = RequestTotals::default();
        Summary::of(&Measured {
            phases: Phases { steady_from_s: 0.0, steady_to_s: f64::INFINITY, ended_s: f64::INFINITY },
            steady: &totals,
            since_start: &totals,
            cut_off: 0,
            samples: &self.samples,
            replicas: 0,
            pages: 0,
            pool_capacity: None,
            counted_s: None,
            counted_is_lower_bound: None,
            polls_missed: self.watched.polls.missed,
        })
    }

    pub(crate) fn of<'a, T: 'a>(&'a self, kind: impl Fn(&'a Sample) -> Option<T>) -> Vec<T> {
        self.samples.iter().filter_map(|it| kind(&it.sample)).collect()
    }

    pub(crate) fn events(&self) -> Vec<&Event> {
        self.of(|sample| match sample {
            Sample::Event(event) => Some(event),
            _ => None,
        })
    }
}
