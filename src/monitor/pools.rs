//! Each replica's pool gauges, once a second, from a port that no frozen event loop can silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::prometheus::{PrometheusMetric, parse};
use super::{HealthProbe, MonitorError, Sink, replica_number};
use crate::record::{PoolSample, Sample, WaitHistogram};
use crate::scenario::service::{GaugeName, Metrics};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// A loop that has not taken its turn for this long stands still.
const STALLED_S: f64 = 1.0;

/// Idle-in-transaction time as the reference gateway counts it itself.
const HELD: &str = "gateway_session_idle_in_transaction_seconds_total";

/// Redirects that are followed, within scheme, host and port: a mounted page often is at `/metrics/` only.
const REDIRECTS: usize = 3;

/// The longest page that is read.
const LONGEST_PAGE: usize = 1 << 20;

pub(super) fn client(probe: &HealthProbe) -> reqwest::Result<reqwest::Client> {
    let at_home = Policy::custom(|attempt| {
        let place = |url: &reqwest::Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
        let stays = attempt.previous().first().is_some_and(|from| place(from) == place(attempt.url()));
        if stays && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
    });
    probe.prepare(reqwest::Client::builder().timeout(TIMEOUT).redirect(at_home)).build()
}

/// Names of a pool's gauges: a metric's name, and the label by which its lines are chosen. `None` where there is
/// no such gauge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaugeNames {
    pub checked_out: Option<GaugeName>,
    pub pending: Option<GaugeName>,
    /// Checkouts that have given up.
    pub timeouts: Option<GaugeName>,
    /// Connections that the pool keeps.
    pub size: Option<GaugeName>,
    pub overflow: Option<GaugeName>,
    /// Histogram of the time that checkouts waited, in seconds.
    pub wait: Option<GaugeName>,
    /// Beginning of the counter of timeouts.
    pub counted: Counted,
}

/// From when on a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// From the replica's own start.
    SinceStart,
    /// From the first reading: it may have run for days.
    SinceFirstLook,
}

impl From<&Metrics> for GaugeNames {
    fn from(metrics: &Metrics) -> Self {
        Self {
            checked_out: metrics.checked_out.clone(),
            pending: metrics.pending.clone(),
            timeouts: metrics.timeouts.clone(),
            size: metrics.size.clone(),
            overflow: metrics.overflow.clone(),
            wait: metrics.wait.clone(),
            counted: Counted::SinceFirstLook,
        }
    }
}

impl GaugeNames {
    /// Every name of a gauge or a counter.
    fn all(&self) -> impl Iterator<Item = &GaugeName> {
        let Self { checked_out, pending, timeouts, size, overflow, wait: _, counted: _ } = self;
        [checked_out, pending, timeouts, size, overflow].into_iter().flatten()
    }
}

impl Default for GaugeNames {
    /// Those of the reference gateway, which are OpenTelemetry's.
    fn default() -> Self {
        let plain = |name: &str| GaugeName { name: name.to_owned(), label: None };
        let used = Some(("db_client_connection_state".to_owned(), "used".to_owned()));
        Self {
            checked_out: Some(GaugeName { label: used, ..plain("db_client_connection_count") }),
            pending: Some(plain("db_client_connection_pending_requests")),
            timeouts: Some(plain("db_client_connection_timeouts_total")),
            size: None,
            overflow: None,
            wait: Some(plain("db_client_connection_wait_time_seconds")),
            counted: Counted::SinceStart,
        }
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
    let (mut names_seen, mut timeouts) = (false, Growth::default());
    loop {
        let ended = stop.run_until_cancelled(ticks.tick()).await.is_none();
        let text = read(&gauges.client, &gauges.url).await;
        if let Some(text) = text.as_deref().filter(|_| gauges.names.counted == Counted::SinceFirstLook && !names_seen) {
            warn_of_missing(text, &gauges);
            names_seen = true;
        }
        let mut sample = sample(replica_number(index), text.as_deref(), &gauges.names);
        if gauges.names.counted == Counted::SinceFirstLook {
            sample.timeouts = sample.timeouts.map(|now| timeouts.up_to(now));
        }
        sink.take(Instant::now(), Sample::Pools(sample));
        if ended {
            return;
        }
    }
}

/// Growth of a counter since its first value. One that has begun anew is of a service that did: what was counted
/// before is kept.
#[derive(Default)]
struct Growth {
    before: Option<u64>,
    counted: u64,
}

impl Growth {
    fn up_to(&mut self, now: u64) -> u64 {
        let before = self.before.replace(now).unwrap_or(now);
        self.counted += now.checked_sub(before).unwrap_or(now);
        self.counted
    }
}

/// Says once which gauges are not on a page that answers: their figures are unknown.
fn warn_of_missing(text: &str, gauges: &Gauges) {
    let metrics = parse(text);
    for name in gauges.names.all().filter(|name| !metrics.iter().any(|metric| is(metric, name))) {
        let url = gauges.url.split(['?', '#']).next().unwrap_or_default();
        tracing::warn!("there is no gauge `{name}` at `{url}`: its figures are not known");
    }
    if let Some(name) = gauges.names.wait.as_ref().filter(|name| waits(&metrics, name).is_none()) {
        let url = gauges.url.split(['?', '#']).next().unwrap_or_default();
        tracing::warn!("there is no histogram `{name}` (`{}_bucket`) at `{url}`: waits are not known", name.name);
    }
}

fn is(metric: &PrometheusMetric, name: &GaugeName) -> bool {
    let label = name.label.as_ref().map(|(label, value)| (label.as_str(), value.as_str()));
    metric.is(&name.name, label)
}

/// Reads each page once, in order.
///
/// # Errors
/// [`MonitorError::Http`] when no client can be made; a page that does not answer gives a sample without figures.
pub async fn read_once(urls: &[String], names: &GaugeNames) -> Result<Vec<PoolSample>, MonitorError> {
    let client = client(&HealthProbe::default()).map_err(MonitorError::Http)?;
    let texts = futures_util::future::join_all(urls.iter().map(|url| read(&client, url))).await;
    let samples = texts.iter().enumerate();
    Ok(samples.map(|(index, text)| sample(replica_number(index), text.as_deref(), names)).collect())
}

async fn read(client: &reqwest::Client, url: &str) -> Option<String> {
    let answer = async { whole(client.get(url).send().await?.error_for_status()?).await };
    // An address may hold a token.
    let page = answer
        .await
        .map_err(reqwest::Error::without_url)
        .inspect_err(|error| tracing::debug!(%error, "pool gauges did not answer"))
        .ok()?;
    if page.is_none() {
        tracing::debug!("the page of pool gauges is longer than {LONGEST_PAGE} bytes");
    }
    page
}

/// The text of a page; `None` of one that is too long.
async fn whole(mut answer: reqwest::Response) -> reqwest::Result<Option<String>> {
    let mut page = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if page.len() + chunk.len() > LONGEST_PAGE {
            return Ok(None);
        }
        page.extend_from_slice(&chunk);
    }
    Ok(Some(String::from_utf8_lossy(&page).into_owned()))
}

/// Sums a replica's gauges over its workers. A line that is no number (NaN, as some write for a pool that is not there
/// yet) says nothing. A gauge of which a line is below zero is wrong, and not known; but for SQLAlchemy's overflow, which
/// counts from minus its pool's size.
fn sample(replica: u32, text: Option<&str>, names: &GaugeNames) -> PoolSample {
    let metrics = text.map(parse).unwrap_or_default();
    let values = |wanted: Option<&GaugeName>| {
        let wanted = wanted?;
        let matching = metrics.iter().filter(|metric| is(metric, wanted));
        let values: Vec<f64> = matching.map(|metric| metric.value).filter(|value| value.is_finite()).collect();
        (!values.is_empty()).then_some(values)
    };
    let known = |wanted: Option<&GaugeName>| {
        let values = values(wanted)?;
        values.iter().all(|value| *value >= 0.0).then(|| values.iter().sum::<f64>())
    };
    let mut stalled = metrics
        .iter()
        .filter(|metric| metric.is("gateway_event_loop_stalled_seconds", None) && metric.value.is_finite())
        .peekable();
    let stalled_workers =
        stalled.peek().is_some().then(|| small(stalled.filter(|metric| metric.value > STALLED_S).count() as f64));
    PoolSample {
        replica,
        checked_out: known(names.checked_out.as_ref()).map(small),
        pending: known(names.pending.as_ref()).map(small),
        timeouts: known(names.timeouts.as_ref()).map(|value| u64::from(small(value))),
        stalled_workers,
        errors: errors(&metrics),
        held_s: known(Some(&GaugeName { name: HELD.to_owned(), label: None })),
        size: known(names.size.as_ref()).map(small),
        overflow: values(names.overflow.as_ref()).map(|it| small(it.iter().map(|value| value.max(0.0)).sum())),
        wait: names.wait.as_ref().and_then(|name| waits(&metrics, name)),
    }
}

/// A histogram, summed over its lines by their bound; `None` where there is none, or it is wrong.
fn waits(metrics: &[PrometheusMetric], name: &GaugeName) -> Option<WaitHistogram> {
    let bucket = GaugeName { name: format!("{}_bucket", name.name), label: name.label.clone() };
    let mut buckets: Vec<(Option<f64>, u64)> = Vec::new();
    for metric in metrics.iter().filter(|metric| is(metric, &bucket)) {
        let bound: f64 = metric.label("le")?.parse().ok()?;
        let bound = bound.is_finite().then_some(bound);
        let count = Some(metric.value).filter(|value| value.is_finite() && *value >= 0.0).map(counter)?;
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((bound, count)),
        }
    }
    WaitHistogram::new(buckets)
}

fn errors(metrics: &[PrometheusMetric]) -> BTreeMap<String, u64> {
    let raised = metrics.iter().filter(|metric| metric.is("gateway_errors_total", None));
    raised.filter_map(|metric| Some((metric.label("text")?.to_owned(), u64::from(small(metric.value))))).collect()
}

/// A counter of things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn counter(value: f64) -> u64 {
    value as u64
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
            checked_out: "hikaricp_connections_active".parse().ok(),
            pending: "hikaricp_connections_pending{pool=\"b\"}".parse().ok(),
            timeouts: "no_such".parse().ok(),
            ..GaugeNames::default()
        };
        let text = "hikaricp_connections_active{pool=\"a\"} 3\nhikaricp_connections_active{pool=\"b\"} 4\n\
                    hikaricp_connections_pending{pool=\"a\"} 5\nhikaricp_connections_pending{pool=\"b\"} 6\n";
        let sample = sample(1, Some(text), &names);
        assert_eq!((sample.checked_out, sample.pending, sample.timeouts), (Some(7), Some(6), None));
    }

    #[test]
    fn a_histogram_is_summed_over_its_pools_and_a_summary_is_none() {
        let names = GaugeNames { wait: "wait_seconds{app=\"a\"}".parse().ok(), ..GaugeNames::default() };
        let lines = |pool: &str, app: &str, counts: [u64; 3]| {
            let line =
                |(le, count)| format!("wait_seconds_bucket{{pool=\"{pool}\",app=\"{app}\",le=\"{le}\"}} {count}\n");
            ["0.01", "1", "+Inf"].into_iter().zip(counts).map(line).collect::<String>()
        };
        let text = lines("x", "a", [3, 4, 5]) + &lines("y", "a", [1, 1, 1]) + &lines("x", "b", [9, 9, 9]);
        let wait = sample(1, Some(&text), &names).wait;
        assert_eq!(wait, WaitHistogram::new(vec![(Some(0.01), 4), (Some(1.0), 5), (None, 6)]));
        let summary = "wait_seconds{app=\"a\",quantile=\"0.5\"} 0.001\nwait_seconds_count{app=\"a\"} 7\n";
        assert_eq!(sample(1, Some(summary), &names).wait, None);
    }

    #[test]
    fn what_is_no_number_is_no_figure() {
        let text = "db_client_connection_pending_requests NaN\n\
                    db_client_connection_timeouts_total{pool=\"a\"} NaN\n\
                    db_client_connection_timeouts_total{pool=\"b\"} 3\n\
                    db_client_connection_count{db_client_connection_state=\"used\"} +Inf\n";
        let sample = sample(1, Some(text), &GaugeNames::default());
        assert_eq!((sample.checked_out, sample.pending, sample.timeouts), (None, None, Some(3)));
        // Event loops were not reported.
        assert_eq!(sample.stalled_workers, None);
    }

    #[test]
    fn a_negative_gauge_is_not_known_and_no_zero() {
        let names = GaugeNames { overflow: "overflow".parse().ok(), ..GaugeNames::default() };
        let text = "db_client_connection_pending_requests{pool=\"a\"} -1\n\
                    db_client_connection_pending_requests{pool=\"b\"} 5\n\
                    overflow{pool=\"a\"} -5\noverflow{pool=\"b\"} 2\n";
        let sample = sample(1, Some(text), &names);
        assert_eq!((sample.pending, sample.overflow), (None, Some(2)));
    }

    #[tokio::test]
    async fn a_page_without_end_has_no_figures() {
        for (length, read) in [(LONGEST_PAGE, true), (LONGEST_PAGE + 1, false)] {
            let answer = axum::http::Response::new(vec![b'x'; length]);
            let page = whole(answer.into()).await.unwrap();
            assert_eq!(page.map(|page| page.len()), read.then_some(length));
        }
    }

    #[test]
    fn a_counter_that_has_run_for_days_counts_from_the_first_look() {
        let mut growth = Growth::default();
        let seen = [700, 700, 712, 3, 5, 2].map(|now| growth.up_to(now));
        assert_eq!(seen, [0, 0, 12, 15, 17, 19]);
    }
}
