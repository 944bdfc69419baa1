//! Reasons to doubt the instrument itself, which make a verdict inconclusive.

mod failing;
mod find;
mod gaps;

use std::fmt;

use super::rule::{Metric, Rule};
pub(super) use failing::is_failing;
pub use find::quality_issues;

/// Reasons not to trust a measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum QualityIssue {
    /// The variant was cut short.
    CutShort,
    /// The load generator, or the monitor beside it, did not get the time that it needed.
    GeneratorLags {
        /// Polls that began late.
        late: u64,
        polls: u64,
    },
    /// Requests of an open workload did not begin, because the most were in flight.
    NotStarted {
        not_started: u64,
        /// Of so many that were due.
        due: u64,
    },
    /// Requests of an open workload began later than planned, for want of time on this machine.
    StartedLate {
        /// 99th percentile.
        lag_p99_ms: f64,
    },
    /// Requests were still unanswered at the end, after longer than any that was answered explains.
    CutOff {
        /// So many were cut off.
        requests: u64,
        /// Age of the oldest.
        oldest_s: f64,
    },
    /// The load generator did not even look at its own figures for a long time.
    GeneratorStalled {
        /// Duration in the steady phase.
        seconds: f64,
    },
    /// There is not a single sample of the variant: a summary alone cannot be checked against anything.
    NoSamples,
    /// Lines of the samples could not be read.
    UnreadableSamples(u64),
    /// The disk was too slow for the samples.
    SamplesDropped(u64),
    /// Polls gave no sample.
    PollsMissed {
        missed: u64,
        /// Of so many that were due.
        due: u64,
    },
    /// A long time without a sample in the steady phase.
    Gap { seconds: f64 },
    /// A gauge of the pools was not read too often.
    GaugesSilent { metric: Metric, silent: usize, asked: usize },
    /// A long time in the steady phase without a reading of a gauge of the pools, or without a health probe.
    GaugeGap { metric: Metric, seconds: f64 },
    /// Samples and the server's own counter disagree, and nothing explains it.
    Disagreement {
        /// From the samples, in session seconds.
        sampled_s: f64,
        counted_s: f64,
    },
    /// Nothing loaded the gateway, or nothing came back.
    NoRequests,
    /// Too many requests failed: a request that failed did not do the work that is measured.
    Failing {
        /// Failed requests of the steady phase.
        failed: u64,
        /// Finished requests of the steady phase.
        finished: u64,
    },
    /// Too many requests of one route failed.
    RouteFailing { route: String, failed: u64, finished: u64 },
    /// A long time in the steady phase in which requests failed and none succeeded.
    NoSuccess { seconds: f64 },
    /// Requests were answered and no session of the filter ran a query: the sessions of the service are elsewhere. In words.
    NotObserved(String),
    /// The processors of this machine were the limit, not the service.
    CpuLimited {
        /// Busy share of the cores over the steady phase, 0–1.
        busy_ratio: f64,
        /// Mean wait of a thread of the load generator for a core; `None` where the kernel does not count it.
        run_queue_delay_ms: Option<f64>,
    },
}

impl QualityIssue {
    /// True if it concerns the figure that `rule` judges.
    pub fn concerns(&self, rule: &Rule) -> bool {
        let metric = rule.metric;
        match self {
            // A scan polls by itself, and reports its own gaps.
            Self::GeneratorLags { .. } => metric != Metric::Hold,
            Self::CutShort
            | Self::GeneratorStalled { .. }
            | Self::NotStarted { .. }
            | Self::StartedLate { .. }
            | Self::NoSamples
            | Self::NotObserved(_)
            | Self::NoRequests => true,
            Self::SamplesDropped(_) | Self::UnreadableSamples(_) => {
                metric.is_polled() || is_pool(metric) || metric == Metric::ReplicasHealthy
            }
            Self::PollsMissed { .. } | Self::Gap { .. } | Self::Disagreement { .. } => metric.is_polled(),
            Self::GaugesSilent { metric: gauge, .. } | Self::GaugeGap { metric: gauge, .. } => metric == *gauge,
            Self::CutOff { .. } => is_of_requests(metric) || needs_success(metric),
            Self::Failing { .. } | Self::NoSuccess { .. } => rule.route.is_none() && needs_success(metric),
            Self::RouteFailing { route, failed, finished } => {
                let concerned = if let Some(named) = &rule.route {
                    named == route
                } else {
                    *failed >= failing::FEWEST_FAILURES && failing::is_mostly_failing(*failed, *finished)
                };
                concerned && needs_success(metric)
            }
            Self::CpuLimited { .. } => is_of_requests(metric) || metric == Metric::ReplicasHealthy,
        }
    }

    /// True if it makes a baseline useless for `rule`. One in which most requests did their work is a baseline, however bad:
    /// that is what a fix is compared with.
    pub fn voids_baseline(&self, rule: &Rule) -> bool {
        let tolerated = match self {
            Self::Failing { failed, finished } | Self::RouteFailing { failed, finished, .. } => {
                !failing::is_mostly_failing(*failed, *finished)
            }
            Self::NoSuccess { .. } => true,
            _ => false,
        };
        self.concerns(rule) && !tolerated
    }

    /// True if the service hardly did any work, which no other conditions excuse.
    pub fn is_no_work(&self) -> bool {
        match self {
            Self::NoRequests | Self::NotObserved(_) => true,
            Self::Failing { failed, finished } => failing::is_mostly_failing(*failed, *finished),
            _ => false,
        }
    }

    /// True if it makes a broken rule inconclusive, too. Requests that fail, or do not come back at all or in time, are no
    /// reason to forgive a limit that is exceeded.
    pub fn spares_failures(&self) -> bool {
        !matches!(
            self,
            Self::NoRequests
                | Self::NotObserved(_)
                | Self::CutOff { .. }
                | Self::Failing { .. }
                | Self::RouteFailing { .. }
                | Self::NoSuccess { .. }
        )
    }
}

const fn is_pool(metric: Metric) -> bool {
    matches!(metric, Metric::PoolCheckedOut | Metric::PoolPending | Metric::PoolTimeouts)
}

const fn is_of_requests(metric: Metric) -> bool {
    matches!(metric, Metric::Latency | Metric::FailureRate | Metric::Throughput | Metric::Goodput | Metric::Requests)
}

/// True if a figure says something only of requests that succeeded. Failures, successes and health probes are counted
/// whatever comes of the requests.
const fn needs_success(metric: Metric) -> bool {
    !matches!(metric, Metric::FailureRate | Metric::Goodput | Metric::ReplicasHealthy)
}

impl fmt::Display for QualityIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort => f.write_str("the variant was cut short"),
            Self::GeneratorLags { late, polls } => {
                write!(f, "the load generator lagged: {late} of {polls} polls began late; the machine was too busy")
            }
            Self::GeneratorStalled { seconds } => {
                write!(f, "the load generator stood still for {seconds:.1} s of the steady phase")
            }
            Self::NotStarted { not_started, due } => write!(
                f,
                "{not_started} of {due} requests that were due did not begin, because `max_in_flight` were in flight"
            ),
            Self::StartedLate { lag_p99_ms } => write!(
                f,
                "the load generator fell behind its schedule: 1 % of the requests began {lag_p99_ms:.0} ms late or later"
            ),
            Self::CutOff { requests, oldest_s } => write!(
                f,
                "requests were still unanswered at the end ({requests}), the oldest for {oldest_s:.1} s: a stall that \
                 the figures lack"
            ),
            Self::NoSamples => f.write_str("there are no samples of the variant"),
            Self::UnreadableSamples(1) => f.write_str("a line of the samples could not be read"),
            Self::UnreadableSamples(lines) => write!(f, "{lines} lines of the samples could not be read"),
            Self::SamplesDropped(dropped) => write!(f, "{dropped} samples were dropped, because the disk was too slow"),
            Self::PollsMissed { missed, due } => {
                write!(f, "the samples have gaps: {missed} of {due} polls of the database gave none")
            }
            Self::Gap { seconds } => {
                write!(f, "the samples have a gap: {seconds:.1} s of the steady phase without a poll of the database")
            }
            Self::GaugesSilent { metric, silent, asked } => {
                write!(f, "the gauge of `{metric}` could not be read {silent} of {asked} times")
            }
            Self::GaugeGap { metric, seconds } => {
                write!(f, "the samples of `{metric}` have a gap: {seconds:.1} s of the steady phase")
            }
            Self::Disagreement { sampled_s, counted_s } => write!(
                f,
                "the samples make {sampled_s:.1} session seconds idle in transaction, the server counts \
                 {counted_s:.1}, and no lost session explains it"
            ),
            Self::NoRequests => f.write_str("no request finished in the steady phase"),
            Self::Failing { failed, finished } => {
                write!(f, "{} of the requests failed ({failed} of {finished}): {UNMEASURED}", share(*failed, *finished))
            }
            Self::RouteFailing { route, failed, finished } => {
                let share = share(*failed, *finished);
                write!(f, "{share} of the requests to `{route}` failed ({failed} of {finished}): {UNMEASURED}")
            }
            Self::NoSuccess { seconds } => {
                write!(f, "no request succeeded for {seconds:.1} s of the steady phase: {UNMEASURED}")
            }
            Self::NotObserved(because) => f.write_str(because),
            Self::CpuLimited { busy_ratio, run_queue_delay_ms } => {
                write!(f, "this machine was the limit: its cores were {:.0} % busy", busy_ratio * 100.0)?;
                run_queue_delay_ms.map_or(Ok(()), |delay| write!(f, ", and threads waited {delay:.1} ms for one"))
            }
        }
    }
}

const UNMEASURED: &str = "a request that fails does not do the work that is measured";

/// In per cent; never 100 % for less than all.
fn share(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    if part == whole { "100 %".to_owned() } else { format!("{:.1} %", percent.min(99.9)) }
}
