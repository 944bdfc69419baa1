//! Metrics of rules.

use std::fmt;

use crate::compare::Direction;
use crate::units::Unit;

/// A metric, by the name that a rule gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Sessions idle in transaction, aborted ones included.
    IdleInTransaction,
    /// Age of the oldest transaction.
    TransactionAge,
    /// All sessions of the database under test.
    Sessions,
    /// Sessions that wait for a heavyweight lock.
    WaitingForLock,
    /// Connections out of all pools.
    PoolCheckedOut,
    /// Checkouts that wait for a pool.
    PoolPending,
    /// Replicas that the health probe calls up.
    ReplicasHealthy,
    /// Latency of finished requests.
    Latency,
    /// Time that checkouts waited for the pool.
    PoolWait,
    FailureRate,
    /// Requests finished a second.
    Throughput,
    /// Successful requests a second.
    Goodput,
    Requests,
    /// Checkouts that gave up, over the whole load.
    PoolTimeouts,
    /// Time that a request of a route holds a session idle in transaction, by a scan.
    Hold,
}

/// Of what kind a metric is, which decides on its aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value at each instant, over the steady phase.
    Gauge,
    /// A value for each of many events, of which percentiles are asked.
    Distribution,
    Figure,
}

/// Which figure of a gauge or a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregate {
    Max,
    Min,
    /// The mean, weighted by time.
    Mean,
    P50,
    /// The 95th percentile; of a gauge, weighted by time.
    P95,
    /// The 99th percentile.
    P99,
    /// The last value of the steady phase.
    Last,
    /// Session seconds per request.
    Seconds,
}

impl Metric {
    pub const ALL: [Self; 15] = [
        Self::IdleInTransaction,
        Self::TransactionAge,
        Self::Sessions,
        Self::WaitingForLock,
        Self::PoolCheckedOut,
        Self::PoolPending,
        Self::PoolTimeouts,
        Self::PoolWait,
        Self::ReplicasHealthy,
        Self::Latency,
        Self::FailureRate,
        Self::Throughput,
        Self::Goodput,
        Self::Requests,
        Self::Hold,
    ];

    /// As a rule names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdleInTransaction => "idle_in_transaction",
            Self::TransactionAge => "transaction_age",
            Self::Sessions => "sessions",
            Self::WaitingForLock => "waiting_for_lock",
            Self::PoolCheckedOut => "pool_checked_out",
            Self::PoolPending => "pool_pending",
            Self::PoolTimeouts => "pool_timeouts",
            Self::PoolWait => "pool_wait",
            Self::ReplicasHealthy => "replicas_healthy",
            Self::Latency => "latency",
            Self::FailureRate => "failure_rate",
            Self::Throughput => "throughput",
            Self::Goodput => "goodput",
            Self::Requests => "requests",
            Self::Hold => "hold",
        }
    }

    #[must_use]
    pub const fn kind(self) -> MetricKind {
        match self {
            Self::IdleInTransaction
            | Self::TransactionAge
            | Self::Sessions
            | Self::WaitingForLock
            | Self::PoolCheckedOut
            | Self::PoolPending
            | Self::ReplicasHealthy => MetricKind::Gauge,
            Self::Latency | Self::PoolWait => MetricKind::Distribution,
            Self::FailureRate | Self::Throughput | Self::Goodput | Self::Requests | Self::PoolTimeouts | Self::Hold => {
                MetricKind::Figure
            }
        }
    }

    /// In what it is counted: the unit in which a rule's limit is kept.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::TransactionAge | Self::Hold => Unit::Seconds,
            Self::Latency | Self::PoolWait => Unit::Milliseconds,
            Self::FailureRate => Unit::Ratio,
            Self::Throughput | Self::Goodput => Unit::PerSecond,
            Self::IdleInTransaction
            | Self::Sessions
            | Self::WaitingForLock
            | Self::PoolCheckedOut
            | Self::PoolPending
            | Self::PoolTimeouts
            | Self::ReplicasHealthy
            | Self::Requests => Unit::Count,
        }
    }

    /// Which way is good, for anyone who asks that nothing gets worse.
    #[must_use]
    pub const fn good(self) -> Direction {
        match self {
            Self::Throughput | Self::Goodput | Self::Requests | Self::ReplicasHealthy => Direction::Higher,
            Self::IdleInTransaction
            | Self::Sessions
            | Self::WaitingForLock
            | Self::TransactionAge
            | Self::PoolCheckedOut
            | Self::PoolPending
            | Self::PoolTimeouts
            | Self::PoolWait
            | Self::Latency
            | Self::FailureRate
            | Self::Hold => Direction::Lower,
        }
    }

    /// True if there is a figure of it for each route.
    #[must_use]
    pub const fn is_by_route(self) -> bool {
        matches!(
            self,
            Self::Latency | Self::FailureRate | Self::Throughput | Self::Goodput | Self::Requests | Self::Hold
        )
    }

    /// True if there is a figure of it for one route at a time only.
    #[must_use]
    pub const fn needs_route(self) -> bool {
        matches!(self, Self::Hold)
    }

    /// True if it comes from the polls of the database.
    #[must_use]
    pub const fn is_polled(self) -> bool {
        matches!(self, Self::IdleInTransaction | Self::TransactionAge | Self::Sessions | Self::WaitingForLock)
    }

    /// Aggregates that may follow the dot.
    #[must_use]
    pub const fn aggregates(self) -> &'static [Aggregate] {
        match self.kind() {
            MetricKind::Gauge => {
                &[Aggregate::Max, Aggregate::Mean, Aggregate::P50, Aggregate::P95, Aggregate::Last, Aggregate::Min]
            }
            MetricKind::Distribution => &[Aggregate::P50, Aggregate::P95, Aggregate::P99, Aggregate::Max],
            MetricKind::Figure if matches!(self, Self::Hold) => &[Aggregate::Seconds],
            MetricKind::Figure => &[],
        }
    }

    /// The key of the summary that holds the figure over the whole steady phase; `None` when none does.
    #[must_use]
    pub const fn summary_key(self, aggregate: Option<Aggregate>) -> Option<&'static str> {
        match (self, aggregate) {
            (Self::IdleInTransaction, Some(Aggregate::Max)) => Some("idle_in_transaction_peak"),
            (Self::IdleInTransaction, Some(Aggregate::Mean)) => Some("idle_in_transaction_mean"),
            (Self::TransactionAge, Some(Aggregate::Max)) => Some("transaction_age_max_s"),
            (Self::PoolCheckedOut, Some(Aggregate::Max)) => Some("pool_checked_out_peak"),
            (Self::ReplicasHealthy, Some(Aggregate::Min)) => Some("replicas_healthy_min"),
            (Self::Latency, Some(Aggregate::P50)) => Some("latency_p50_ms"),
            (Self::Latency, Some(Aggregate::P95)) => Some("latency_p95_ms"),
            (Self::Latency, Some(Aggregate::P99)) => Some("latency_p99_ms"),
            (Self::Latency, Some(Aggregate::Max)) => Some("latency_max_ms"),
            (Self::FailureRate, _) => Some("failure_ratio"),
            (Self::Throughput, _) => Some("throughput_rps"),
            (Self::Goodput, _) => Some("goodput_rps"),
            (Self::Requests, _) => Some("requests"),
            (Self::PoolTimeouts, _) => Some("pool_timeouts"),
            (Self::PoolWait, Some(Aggregate::P50)) => Some("pool_wait_p50_ms"),
            (Self::PoolWait, Some(Aggregate::P95)) => Some("pool_wait_p95_ms"),
            (Self::PoolWait, Some(Aggregate::P99)) => Some("pool_wait_p99_ms"),
            (Self::PoolWait, Some(Aggregate::Max)) => Some("pool_wait_max_ms"),
            _ => None,
        }
    }

    /// Aggregate without a dot: of a gauge its worst value, never its last one. `None` where it has to be stated.
    #[must_use]
    pub const fn default_aggregate(self) -> Option<Aggregate> {
        match self.kind() {
            MetricKind::Gauge if matches!(self, Self::ReplicasHealthy) => Some(Aggregate::Min),
            MetricKind::Gauge => Some(Aggregate::Max),
            MetricKind::Distribution | MetricKind::Figure => None,
        }
    }
}

impl Aggregate {
    /// As a rule names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Min => "min",
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Last => "last",
            Self::Seconds => "seconds",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
