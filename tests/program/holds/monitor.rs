//! The monitor against the specimen's own truth.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rbac_bench::monitor::{Monitor, SessionFilter, Sink, Watch};
use rbac_bench::record::{Sample, Stamped};
use rbac_bench::scenario::{Health, SessionScope};

use super::specimen::Specimen;

/// Adds up what the monitor's samples say, as a run does.
#[derive(Default)]
struct Samples(Mutex<Vec<Stamped>>);

impl Sink for Samples {
    fn take(&self, at: Instant, sample: Sample) {
        let variant = SessionScope::AcrossBackend.into();
        let at_s = at.saturating_duration_since(*EPOCH).as_secs_f64();
        self.0.lock().expect("nobody panics").push(Stamped { variant, at_s, sample });
    }
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

#[tokio::test]
async fn the_monitor_agrees_with_what_the_specimen_says_it_held_to_one_per_cent() {
    let settings =
        ["backend.delays.slow-search.min=300ms", "backend.delays.slow-search.max=300ms", "gateway.pool.size=60"];
    let specimen = Specimen::start("across_backend", &settings).await;
    let watch = Watch {
        database: specimen.database_url.parse().expect("a connection string"),
        interval: Duration::from_millis(100),
        pulse: Duration::from_millis(50),
        whose: SessionFilter::everybody(),
        epoch: *EPOCH,
        replicas: Vec::new(),
        gauge_names: rbac_bench::monitor::GaugeNames::default(),
        gauges: Vec::new(),
        health: Health::default(),
        probe: rbac_bench::monitor::HealthProbe::default(),
        pgbouncer: None,
    };
    let samples = Arc::new(Samples::default());
    let monitor = Monitor::start(watch, Arc::clone(&samples) as Arc<dyn Sink>).await.expect("a monitor");
    let counted_s = specimen.counted_s().await;
    let before_s = specimen.said_idle_s().await;
    // 1500 holds of six looks each: by chance the sum is off by 0.2 %, of the 1 % that is allowed.
    let until = Instant::now() + Duration::from_secs(12);
    // Callers in step with each other, or with the looks, would be seen all or none.
    let calls = (0..50).map(async |_| {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs_f64(0.2 * rand::random::<f64>())).await;
            specimen.call().await;
        }
    });
    futures_util::future::join_all(calls).await;
    specimen.wait_until_nothing_is_held().await;
    let said_s = specimen.said_idle_s().await - before_s;
    monitor.stop().await.expect("a clean stop");
    let samples = samples.0.lock().expect("nobody panics").clone();
    let series = rbac_bench::record::summary::idle_in_transaction(&samples, |_| true);
    let (sampled_s, error_s) = (series.integral_seen().expect("samples"), series.integral_error().expect("samples"));
    // A pooled session may report seconds after it went idle: the count rises to the whole, or never.
    let deadline = Instant::now() + crate::program::HANG;
    let before_s = counted_s;
    let mut counted_s = specimen.counted_s().await - before_s;
    while (sampled_s / counted_s - 1.0).abs() >= 0.01 && Instant::now() < deadline {
        counted_s = specimen.counted_s().await - before_s;
    }
    println!("printed {said_s} s, sampled {sampled_s} ± {error_s} s, counted {counted_s} s");
    assert!((sampled_s / counted_s - 1.0).abs() < 0.01, "sampled {sampled_s} ± {error_s} s, counted {counted_s} s");
    assert!((sampled_s / said_s - 1.0).abs() < 0.01, "printed {said_s} s, sampled {sampled_s} ± {error_s} s");
    specimen.stop();
}
