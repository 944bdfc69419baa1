//! Each replica's pool gauges, once a second, from a port that no frozen event loop can silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::prometheus::{Metric, parse};
use super::{MonitorError, Sink, replica_number};
use crate::record::{PoolSample, Sample};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// A loop that has not taken its turn for this long stands still.
const STALLED_S: f64 = 1.0;

/// Idle-in-transaction time as the reference gateway counts it itself.
const HELD: &str = "gateway_session_idle_in_transaction_seconds_total";

pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()
}

/// What a pool's gauges are called: a metric's name, and the label by which its lines are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaugeNames {
    /// Connections out.
    pub checked_out: GaugeName,
    /// Checkouts that wait.
    pub pending: GaugeName,
    /// Checkouts that have given up.
    pub timeouts: GaugeName,
}

impl Default for GaugeNames {
    /// Those of the reference gateway, which are OpenTelemetry's.
    fn default() -> Self {
        let plain = |name: &str| GaugeName { name: name.to_owned(), label: None };
        let used = Some(("db_client_connection_state".to_owned(), "used".to_owned()));
        Self {
            checked_out: GaugeName { label: used, ..plain("db_client_connection_count") },
            pending: plain("db_client_connection_pending_requests"),
            timeouts: plain("db_client_connection_timeouts_total"),
        }
    }
}

/// A metric: its name and, where not all of its lines are meant, a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaugeName {
    /// `hikaricp_connections_active`.
    pub name: String,
    /// Name and value of a label.
    pub label: Option<(String, String)>,
}

impl std::str::FromStr for GaugeName {
    type Err = String;

    /// Reads `name` or `name{label="value"}`; the quotes may be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no metric: it reads `name` or `name{{label=\"value\"}}`");
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.'))
        };
        let (name, label) = match text.trim().split_once('{') {
            None => (text.trim(), None),
            Some((name, rest)) => {
                let inside = rest.strip_suffix('}').ok_or_else(refused)?;
                let (label, value) = inside.split_once('=').ok_or_else(refused)?;
                let value = value.trim().trim_matches('"');
                (name.trim(), Some((label.trim().to_owned(), value.to_owned())))
            }
        };
        let labelled = label.as_ref().is_none_or(|(label, _)| is_name(label));
        if is_name(name) && labelled { Ok(Self { name: name.to_owned(), label }) } else { Err(refused()) }
    }
}

/// One page of gauges.
pub(super) struct Gauges {
    pub(super) url: String,
    pub(super) names: GaugeNames,
    pub(super) client: reqwest::Client,
}

/// Reads the gauges until `stop`, and once more at the end.
pub(super) async fn run(index: usize, gauges: Gauges, sink: Arc<dyn Sink>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let ended = stop.run_until_cancelled(ticks.tick()).await.is_none();
        let text = read(&gauges.client, &gauges.url).await;
        let sample = sample(replica_number(index), text.as_deref(), &gauges.names);
        sink.take(Instant::now(), Sample::Pools(sample));
        if ended {
            return;
        }
    }
}

/// Reads each page once, in order.
///
/// # Errors
/// [`MonitorError::Http`] when no client can be made; a page that does not answer gives a sample without figures.
pub async fn read_once(urls: &[String], names: &GaugeNames) -> Result<Vec<PoolSample>, MonitorError> {
    let client = client().map_err(MonitorError::Http)?;
    let texts = futures_util::future::join_all(urls.iter().map(|url| read(&client, url))).await;
    let samples = texts.iter().enumerate();
    Ok(samples.map(|(index, text)| sample(replica_number(index), text.as_deref(), names)).collect())
}

async fn read(client: &reqwest::Client, url: &str) -> Option<String> {
    let answer = async { client.get(url).send().await?.error_for_status()?.text().await };
    // An address may hold a token.
    answer
        .await
        .map_err(reqwest::Error::without_url)
        .inspect_err(|error| tracing::debug!(%error, "pool gauges did not answer"))
        .ok()
}

/// Sums a replica's gauges over its workers.
fn sample(replica: u32, text: Option<&str>, names: &GaugeNames) -> PoolSample {
    let metrics = text.map(parse);
    let sum = |wanted: &GaugeName| {
        let metrics = metrics.as_ref()?;
        let label = wanted.label.as_ref().map(|(label, value)| (label.as_str(), value.as_str()));
        let mut matching = metrics.iter().filter(|metric| metric.is(&wanted.name, label)).peekable();
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
        checked_out: sum(&names.checked_out).map(small),
        pending: sum(&names.pending).map(small),
        timeouts: sum(&names.timeouts).map(|value| u64::from(small(value))),
        stalled_workers: metrics.as_ref().map(stalled).map(small),
        errors: metrics.as_ref().map(|metrics| errors(metrics)).unwrap_or_default(),
        held_s: sum(&GaugeName { name: HELD.to_owned(), label: None }),
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
        let sample = sample(1, Some(text), &GaugeNames::default());
        assert_eq!((sample.checked_out, sample.stalled_workers, sample.pending), (Some(42), Some(1), None));
        assert_eq!(sample.errors, BTreeMap::from([("QueuePool limit of size 20".to_owned(), 3)]));
    }

    #[test]
    fn gauges_that_do_not_answer_are_unknown_and_not_zero() {
        let sample = sample(2, None, &GaugeNames::default());
        assert_eq!((sample.checked_out, sample.timeouts, sample.stalled_workers), (None, None, None));
    }

    #[test]
    fn gauges_may_have_other_names() {
        let names = GaugeNames {
            checked_out: "hikaricp_connections_active".parse().unwrap(),
            pending: "hikaricp_connections_pending{pool=\"b\"}".parse().unwrap(),
            timeouts: "no_such".parse().unwrap(),
        };
        let text = "hikaricp_connections_active{pool=\"a\"} 3\nhikaricp_connections_active{pool=\"b\"} 4\n\
                    hikaricp_connections_pending{pool=\"a\"} 5\nhikaricp_connections_pending{pool=\"b\"} 6\n";
        let sample = sample(1, Some(text), &names);
        assert_eq!((sample.checked_out, sample.pending, sample.timeouts), (Some(7), Some(6), None));
        for nonsense in ["", "a b", "x{", "x{y}", "{a=b}", "x{a=\"b\""] {
            assert!(nonsense.parse::<GaugeName>().is_err(), "{nonsense}");
        }
    }
}
