//! The load generator: a closed workload of users, each with an identity, on goose; or an open one, on schedule.
//!
//! ```text
//! profile         how much load there is to be at each moment
//! engine (goose)  starts users, runs them, stops them; or
//! open            begins requests when they are due
//!    └ user       one turn: think, pick a task, send, judge the answer
//!        ├ plan       what there is to do, prepared once (by gateway or service)
//!        ├ fleet      which replica takes it, how much is in flight
//!        ├ judge      what an answer means
//!        └ recorder   what came of it: latency histograms, error texts
//! ```
//!
//! goose runs the users and nothing else: it prints nothing, listens nowhere, takes no signals, and its rounded
//! metrics are off. Each user's think time is slept here, so that the end of the load interrupts it.

mod ceiling;
mod engine;
mod files;
pub mod fleet;
mod gateway;
mod identity;
mod judge;
mod login;
mod mcp;
mod open;
mod outcome;
mod plan;
mod profile;
pub mod recorder;
mod request_log;
mod scan_user;
mod schedule;
mod service;
pub mod sketch;
mod template;
mod user;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::record::ScheduleRecord;
use crate::redact::{self, Redactor};
use crate::scenario::{Pace, Workload};
use ceiling::Ceiling;
pub use files::Files;
use fleet::Fleet;
pub use identity::Identity;
pub use login::{LoginCredentials, LoginRequest, log_in};
pub use outcome::{FinishedRequest, RequestOutcome, RequestStatus};
pub use plan::LoadPlan;
use profile::Profile;
use recorder::Recorder;
pub use scan_user::ScanUser;
use schedule::Schedule;

#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    #[error("cannot prepare the requests")]
    Prepare(#[source] reqwest::Error),
    #[error("`{url}` is not a URL")]
    Url { url: String },
    #[error("`{name}` is not the name of a header")]
    Header { name: String },
    #[error("the login of {who} by `{route}` failed: {reason}")]
    Login { who: String, route: String, reason: String },
    #[error("cannot start the thread that keeps the schedule of an open workload")]
    Schedule(#[source] std::io::Error),
    #[error("the thread that keeps the schedule has crashed")]
    ScheduleCrashed,
    #[error("goose could not run the load")]
    Goose(#[source] Box<goose::GooseError>),
}

/// When the phases of a load begin: fixed before the first user starts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The first user starts.
    pub started: Instant,
    /// All users run, and have settled: the figures begin.
    pub steady_from: Instant,
    pub steady_to: Instant,
}

impl Clock {
    /// A load that starts now.
    pub fn starting_now(pace: &Pace) -> Self {
        let started = Instant::now();
        let steady_from = started + pace.ramp_up.duration() + pace.settle.duration();
        Self { started, steady_from, steady_to: steady_from + pace.duration.duration() }
    }

    /// The phase of an instant.
    pub fn phase(&self, at: Instant) -> Phase {
        if at < self.steady_from {
            Phase::RampUp
        } else if at < self.steady_to {
            Phase::Steady
        } else {
            Phase::RampDown
        }
    }

    /// Time since the load began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A part of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Users are still starting, or settling.
    RampUp,
    /// All users run: the figures come from here.
    Steady,
    /// The users have been asked to stop.
    RampDown,
}

/// A load that is ready to run.
pub struct Swarm {
    shared: Arc<user::Shared>,
    weights: Vec<plan::ClassWeight>,
    workload: Workload,
}

impl Swarm {
    /// Prepares everything that does not change from request to request.
    ///
    /// # Errors
    /// [`SwarmError`] when a replica's address is no URL.
    pub fn new(pace: &Pace, plan: LoadPlan, identities: Vec<Identity>, fleet: Arc<Fleet>) -> Result<Self, SwarmError> {
        Self::through(reqwest::Client::builder(), pace, plan, identities, fleet)
    }

    /// The same, with a client that has manners of its own, for a service that is not ours: what it repeats of the
    /// identities' secrets, and of the others that are known, is redacted.
    ///
    /// # Errors
    /// As [`Swarm::new`].
    pub fn among_other_sessions(
        client: reqwest::ClientBuilder,
        pace: &Pace,
        plan: LoadPlan,
        identities: Vec<Identity>,
        fleet: Arc<Fleet>,
        known: &[String],
    ) -> Result<Self, SwarmError> {
        let mut secrets: Vec<String> = identities.iter().flat_map(Identity::secrets).collect();
        secrets.extend_from_slice(known);
        redact::learn(&secrets);
        let secrets = Redactor::of(&secrets);
        let mut swarm = Self::through(client, pace, plan, identities, fleet)?;
        if let Some(shared) = Arc::get_mut(&mut swarm.shared) {
            shared.secrets = secrets;
        }
        Ok(swarm)
    }

    fn through(
        client: reqwest::ClientBuilder,
        pace: &Pace,
        plan: LoadPlan,
        identities: Vec<Identity>,
        fleet: Arc<Fleet>,
    ) -> Result<Self, SwarmError> {
        let client = client
            .timeout(pace.client_timeout.duration())
            .pool_max_idle_per_host(usize::MAX)
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(SwarmError::Prepare)?;
        let shared = user::Shared {
            client,
            client_timeout: pace.client_timeout,
            classes: plan.classes,
            identities,
            recorder: Recorder::new(plan.labels),
            fleet,
            profile: Profile::of(pace),
            schedule: Schedule::default(),
            ceiling: pace.max_rate.map(|rate| Ceiling::of(rate.get())),
            seed: pace.seed,
            balance: pace.balance,
            assigned: AtomicU32::new(0),
            active: AtomicU32::new(0),
            known: plan.known,
            secrets: Redactor::default(),
        };
        Ok(Self { shared: Arc::new(shared), weights: plan.weights, workload: pace.workload })
    }

    /// Counts of the swarm, readable while it runs.
    pub fn view(&self) -> SwarmView {
        SwarmView { shared: Arc::clone(&self.shared), workload: self.workload }
    }

    /// Runs all users until the steady phase ends or `stop` is cancelled, and returns when the last has stopped.
    ///
    /// # Errors
    /// [`SwarmError::Goose`], [`SwarmError::Schedule`].
    pub async fn run(self, clock: Clock, stop: CancellationToken) -> Result<(), SwarmError> {
        match self.workload {
            Workload::Closed { users } => engine::run(&self.shared, users, &self.weights, clock, stop).await,
            Workload::Open { max_in_flight, .. } => open::run(&self.shared, max_in_flight, clock, stop).await,
        }
    }
}

/// The swarm's counters, for anyone who samples them.
#[derive(Clone)]
pub struct SwarmView {
    shared: Arc<user::Shared>,
    workload: Workload,
}

impl SwarmView {
    /// Users that have started and do not rest; of an open workload, where each request is somebody else's, those with a
    /// request in flight.
    pub fn users(&self) -> u32 {
        self.shared.active.load(Ordering::Relaxed)
    }

    /// Results of the requests so far.
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Requests in flight by replica.
    pub fn fleet(&self) -> &Fleet {
        &self.shared.fleet
    }

    /// Schedule of an open workload; `None` where there is none.
    pub fn schedule(&self) -> Option<ScheduleRecord> {
        matches!(self.workload, Workload::Open { .. }).then(|| self.shared.schedule.record())
    }
}
