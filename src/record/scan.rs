//! Result of a scan: every route alone, and all in the concurrent phase, in a mix designed to tell them apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A scan of one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanRecord {
    pub plan: ScanPlan,
    pub thresholds: ScanThresholds,
    #[serde(alias = "sight")]
    pub sampling: ScanSampling,
    /// Requests a second of the whole traffic that harm is reckoned for; `None` when it is not known.
    pub traffic_rps: Option<f64>,
    /// Requests a second of this mix of routes at which the pools are full, at most; `None` when the pools' capacity is
    /// not known, no route keeps a session, or one leaks, which fills them at any rate.
    pub pool_full_at_rps: Option<f64>,
    /// The routes, most harmful first.
    pub routes: Vec<ScanRoute>,
    /// Turns in order of time.
    #[serde(alias = "windows")]
    pub turns: Vec<ScanTurn>,
}

impl ScanRecord {
    /// True if of no route anything is known.
    pub fn is_inconclusive(&self) -> bool {
        self.routes.iter().all(|route| route.verdict == ScanVerdict::Unknown)
    }

    /// The same with no verdict on any route, for this reason: the figures are of other sessions than the routes'.
    #[must_use]
    pub fn of_unknown(self, reason: &str) -> Self {
        let unknown = |route: ScanRoute| ScanRoute {
            verdict: ScanVerdict::Unknown,
            reason: Some(reason.to_owned()),
            only_concurrent: false,
            held_s_per_request: None,
            held_beyond_pauses_s: None,
            held_concurrent_s_per_request: None,
            ..route
        };
        Self { routes: self.routes.into_iter().map(unknown).collect(), pool_full_at_rps: None, ..self }
    }
}

/// Plan of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanPlan {
    /// Users that ask for a route at the same time.
    pub users: u32,
    /// Turns in each of which every route is asked for alone, in random order.
    pub rounds: u32,
    /// Requests of a route alone, over all rounds; fewer where they take too long.
    pub requests: u32,
    /// The longest that a route is asked for alone in one round, in seconds.
    pub seconds: f64,
    /// Duration of the concurrent phase, in seconds; 0 when there was none: one route has no concurrent phase, and a scan
    /// may end before.
    #[serde(alias = "company_s")]
    pub concurrent_s: f64,
    /// Seed of all random choices.
    pub seed: u64,
    /// True if clients also left before the answer; false in records of earlier programs.
    #[serde(default)]
    pub hang_up: bool,
}

impl ScanPlan {
    /// True if each route was asked in one round alone, and nothing else was done: that finds plain cases only.
    pub fn is_quick(&self) -> bool {
        self.rounds == 1 && self.concurrent_s <= 0.0 && !self.hang_up
    }
}

/// Thresholds of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanThresholds {
    /// A session that is idle in transaction for no longer than this at a time waits between two statements.
    pub pause_s: f64,
    /// A route holds when its sessions are idle for longer than such pauses, for this long in all, per request.
    pub held_s: f64,
    /// A session that is still idle in transaction so long after the last answer was left behind.
    pub left_behind_after_s: f64,
}

/// Quality of the observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanSampling {
    /// Polls of the sessions.
    #[serde(alias = "looks")]
    pub polls: u64,
    /// Their rate; `None` without any.
    #[serde(alias = "look_rate_hz")]
    pub poll_rate_hz: Option<f64>,
    /// The longest time between two polls, in seconds; `None` with fewer than two.
    pub longest_gap_s: Option<f64>,
    /// Sessions that were idle in transaction before the first request: of others, and not counted.
    #[serde(alias = "strangers_before")]
    pub other_sessions_before: u32,
    /// Session seconds a second idle in transaction while nothing was asked for, in transactions that began then: of
    /// others, and subtracted; `None` when there was no such time, or a gap in what was seen of it.
    #[serde(alias = "strangers_idle")]
    pub other_sessions_idle_mean: Option<f64>,
    /// Session seconds idle in transaction from the first request alone to the last, other sessions included, by the polls.
    pub sampled_s: f64,
    /// The same by the server's own counter, which lacks transactions that are open, and hears of others late; `None` when
    /// it does not count.
    pub counted_s: Option<f64>,
}

/// Verdict on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScanVerdict {
    /// It holds a session in a transaction across slow work.
    Holds,
    /// It leaves sessions in a transaction behind.
    Leaks,
    /// Neither.
    Fine,
    /// It cannot be determined.
    Unknown,
}

impl ScanVerdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Leaks => "leaks",
            Self::Fine => "fine",
            Self::Unknown => "unknown",
        }
    }
}

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The best estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanRoute {
    /// Method, path template, JSON-RPC method.
    pub route: String,
    /// Its share of the traffic, 0–1.
    pub traffic_share: f64,
    /// Requests alone, the first ones that warm the service up left out.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Mean response time alone, in seconds; `None` without a request, and so for what follows.
    pub response_s: Option<f64>,
    /// Session seconds per request, alone, idle in transaction or in a statement that waits for the client. Of a route that leaks: what
    /// was seen until the scan went on, which is less than there was.
    pub held_s_per_request: Option<Estimate>,
    /// Of it, what was idle for longer than a pause between two statements: what the verdict is by.
    pub held_beyond_pauses_s: Option<Estimate>,
    /// Idle seconds ÷ response time.
    pub hold_ratio: Option<f64>,
    /// Session seconds in which a statement ran, per request.
    pub active_s_per_request: Option<f64>,
    /// Session seconds waiting for a lock, per request.
    pub lock_wait_s_per_request: Option<f64>,
    /// Of the held seconds, those in which a statement waits for the client to read or to send; left out in records of earlier
    /// programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_wait_s_per_request: Option<f64>,
    /// Seconds in which threads of the service and of its sessions' backends waited for a core, per request, all together: as much of
    /// what is held may be that wait. `None` where the service runs on another machine, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_wait_s_per_request: Option<f64>,
    /// The longest that a session was idle in transaction at a time, in seconds; `None` when none was seen.
    pub longest_hold_s: Option<f64>,
    /// Sessions left in a transaction after the requests had ended; `None` when that could not be determined.
    pub left_behind: Option<u64>,
    /// Of requests whose clients left before the answer had come: sessions that were still in a transaction long after; `None` when
    /// that could not be determined, and in records of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind_by_clients: Option<u64>,
    /// The last statement of most of the idle time, values as `?`.
    pub statement: Option<String>,
    /// The same per request in the concurrent phase; `None` when it was not asked for in the concurrent phase, or nobody can tell.
    #[serde(alias = "held_in_company_s_per_request")]
    pub held_concurrent_s_per_request: Option<Estimate>,
    /// True if it holds in the concurrent phase and not alone.
    #[serde(alias = "only_in_company")]
    pub only_concurrent: bool,
    /// The verdict.
    pub verdict: ScanVerdict,
    /// Reason for the verdict, where that needs a word.
    #[serde(alias = "because")]
    pub reason: Option<String>,
    /// Sessions that it keeps idle in transaction at the mean under the traffic: held seconds × rate. `None` when one of
    /// the two is not known, or it leaks.
    pub sessions_held: Option<f64>,
    /// Requests a second of this route alone at which the pools are full, at most; `None` as for the whole mix.
    pub pool_full_at_rps: Option<f64>,
}

/// Kinds of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnKind {
    /// The first requests of a route: they warm the service up, and show whether it leaves sessions behind.
    #[serde(alias = "first")]
    Warmup,
    /// A route alone.
    #[serde(alias = "alone")]
    Isolated,
    /// The same again, since sessions were left behind.
    #[serde(alias = "again")]
    Recheck,
    /// Nothing is asked for: what is seen is others'.
    Quiet,
    /// A route alone, whose clients leave before the answer has come.
    HangUp,
}

/// A time in which one route alone was asked for, and the rest after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanTurn {
    /// The route; `None` when nothing is asked for.
    pub route: Option<String>,
    /// From 0, the first requests.
    pub round: u32,
    pub kind: TurnKind,
    /// The first request, in seconds since the load began.
    pub from_s: f64,
    /// The last answer.
    pub to_s: f64,
    /// The end of the rest.
    #[serde(alias = "rested_s")]
    pub cooldown_end_s: f64,
    /// Requests that were sent.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those of them that had no answer in time.
    pub unanswered: u64,
    /// Session seconds idle in transaction, in transactions that began in it.
    pub held_s: f64,
    /// Increase of the server's counter from its beginning to its end, the turn before it included as far as that
    /// was reported late; `None` when it does not count.
    pub counted_s: Option<f64>,
    /// Sessions left in a transaction; `None` when a request was not answered in time, or the cool-down after a hang-up was too short to know.
    pub left_behind: Option<u64>,
}
