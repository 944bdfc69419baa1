//! Each replica's pool gauges, once a second, from a port that no frozen event loop can silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::prometheus::{Metric, parse};
use super::{Sink, replica_number};
use crate::record::{PoolSample, Sample};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// A loop that has not taken its turn for this long stands still.
const STALLED_S: f64 = 1.0;

pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()
}

/// Reads the gauges at `url` until `stop`, and once more at the end.
pub(super) async fn run(
    index: usize,
    url: String,
    client: reqwest::Client,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let ended = stop.run_until_cancelled(ticks.tick()).await.is_none();
        let text = read(&client, &url).await;
        sink.take(Instant::now(), Sample::Pools(sample(replica_number(index), text.as_deref())));
        if ended {
            return;
        }
    }
}

async fn read(client: &reqwest::Client, url: &str) -> Option<String> {
    let answer = async { client.get(url).send().await?.error_for_status()?.text().await };
    answer.await.inspect_err(|error| tracing::debug!(%error, "pool gauges did not answer")).ok()
}

/// Sums a replica's gauges over its workers.
fn sample(replica: u32, text: Option<&str>) -> PoolSample {
    let metrics = text.map(parse);
    let sum = |name: &str, label: Option<(&str, &str)>| {
        let metrics = metrics.as_ref()?;
        let mut matching = metrics.iter().filter(|metric| metric.is(name, label)).peekable();
        matching.peek()?;
        Some(matching.map(|metric| metric.value).sum::<f64>())
    };
    let stalled = |metrics: &Vec<Metric>| {
        let beyond =
            |metric: &&Metric| metric.is("gateway_event_loop_stalled_seconds", None) && metric.value > STALLED_S;
        metrics.iter().filter(beyond).count() as f64
    };
    PoolSample {
        replica,
        checked_out: sum("db_client_connection_count", Some(("db_client_connection_state", "used"))).map(small),
        pending: sum("db_client_connection_pending_requests", None).map(small),
        timeouts: sum("db_client_connection_timeouts_total", None).map(|value| u64::from(small(value))),
        stalled_workers: metrics.as_ref().map(stalled).map(small),
        errors: metrics.as_ref().map(|metrics| errors(metrics)).unwrap_or_default(),
    }
}

fn errors(metrics: &[Metric]) -> BTreeMap<String, u64> {
    let raised = metrics.iter().filter(|metric| metric.is("gateway_errors_total", None));
    raised.filter_map(|metric| Some((metric.label("text")?.to_owned(), u64::from(small(metric.value))))).collect()
}

/// A gauge that counts things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn small(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_summed_over_the_workers_of_a_replica() {
        let text = "\
# TYPE db_client_connection_count gauge
db_client_connection_count{db_client_connection_pool_name=\"gw-1/worker-1\",db_client_connection_state=\"used\"} 30
db_client_connection_count{db_client_connection_pool_name=\"gw-1/worker-1\",db_client_connection_state=\"idle\"} 5
db_client_connection_count{db_client_connection_pool_name=\"gw-1/worker-2\",db_client_connection_state=\"used\"} 12
gateway_event_loop_stalled_seconds{worker=\"gw-1/worker-1\"} 5.5
gateway_event_loop_stalled_seconds{worker=\"gw-1/worker-2\"} 0.1
gateway_errors_total{text=\"QueuePool limit of size 20\"} 3
";
        let sample = sample(1, Some(text));
        assert_eq!((sample.checked_out, sample.stalled_workers, sample.pending), (Some(42), Some(1), None));
        assert_eq!(sample.errors, BTreeMap::from([("QueuePool limit of size 20".to_owned(), 3)]));
    }

    #[test]
    fn gauges_that_do_not_answer_are_unknown_and_not_zero() {
        let sample = sample(2, None);
        assert_eq!((sample.checked_out, sample.timeouts, sample.stalled_workers), (None, None, None));
    }
}
