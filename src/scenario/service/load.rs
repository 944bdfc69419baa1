//! Load of an external service over time.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::check::Problems;
use crate::scenario::{Balance, Pace, Stage, Workload};
use crate::units::{Count, Rate, Span};

/// A closed workload: users who wait for each answer, think, and ask again. With an `arrival_rate`, or stages of rates,
/// an open one: requests that begin on schedule, whatever became of those before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceLoad {
    /// Simulated users of a closed workload: 20 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Count>,
    /// Requests a second of an open workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_rate: Option<Rate>,
    /// Requests of an open workload that may be in flight at once; what would be one more is not started, and counted.
    pub max_in_flight: Count,
    /// The most requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Rate>,
    /// Time over which the load grows, evenly.
    pub ramp_up: Span,
    /// Time with all of it before the steady phase.
    pub settle: Span,
    /// Steady phase per variant: 30 s when neither it nor stages are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Changes of the load in the steady phase, in place of its level and duration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<LoadStage>,
    /// After this long a user gives the request up and counts it as failed.
    pub client_timeout: Span,
    /// Shortest and longest think time, uniform between.
    pub think_time: [Span; 2],
    /// Which replica a request goes to.
    pub balance: Balance,
    /// Seed of every random choice of the users.
    pub seed: u64,
    /// True if routes that change data are asked for, too.
    #[serde(alias = "change_data")]
    pub allow_data_changes: bool,
}

/// A part of the steady phase. The load goes evenly from the level of the stage before to its own; the first one begins
/// at its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadStage {
    /// Users, of a closed workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Requests a second, of an open one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Duration.
    #[serde(rename = "for")]
    pub lasting: Span,
}

impl Default for ServiceLoad {
    fn default() -> Self {
        Self {
            users: None,
            arrival_rate: None,
            max_in_flight: Count::of(4000),
            max_rate: None,
            ramp_up: Span::from_secs(5),
            settle: Span::ZERO,
            duration: None,
            stages: Vec::new(),
            client_timeout: Span::from_secs(30),
            think_time: [Span::from_millis(500), Span::from_millis(1500)],
            balance: Balance::default(),
            seed: 2318,
            allow_data_changes: false,
        }
    }
}

const USERS: Count = Count::of(20);
const DURATION: Span = Span::from_secs(30);

impl ServiceLoad {
    /// With what is left to be decided by what is reported.
    pub(super) fn completed(mut self) -> Self {
        if self.stages.is_empty() {
            self.duration.get_or_insert(DURATION);
            if self.arrival_rate.is_none() {
                self.users.get_or_insert(USERS);
            }
        }
        self
    }

    /// Load over time.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let stages: Vec<Stage> = self.stages.iter().map(LoadStage::stage).collect();
        let highest = stages.iter().map(|stage| stage.level).fold(0.0, f64::max);
        let lasting: Duration = stages.iter().map(|stage| stage.lasting.duration()).sum();
        let duration = if stages.is_empty() { self.duration.unwrap_or(DURATION) } else { lasting.into() };
        let users = self.stages.iter().filter_map(|stage| stage.users).max();
        let workload = if self.is_open() {
            let rate = self.arrival_rate.map_or(highest, Rate::get);
            Workload::Open { rate, max_in_flight: self.max_in_flight.get() }
        } else {
            Workload::Closed { users: users.unwrap_or(self.users.unwrap_or(USERS).get()) }
        };
        let Self { ramp_up, settle, max_rate, client_timeout, balance, seed, .. } = *self;
        Pace { workload, ramp_up, settle, duration, stages, max_rate, client_timeout, balance, seed }
    }

    /// True if requests begin on schedule, whatever became of those before.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.arrival_rate.is_some() || self.stages.iter().any(|stage| stage.rate.is_some())
    }
}

impl LoadStage {
    fn stage(&self) -> Stage {
        Stage { level: self.rate.or(self.users.map(f64::from)).unwrap_or(0.0), lasting: self.lasting }
    }
}

/// Checks the load.
pub(super) fn check_load(load: &ServiceLoad, found: &mut Problems) {
    if let Some(duration) = load.duration {
        found.refuse_zero(&["load", "duration"], duration);
    }
    found.refuse_zero(&["load", "client_timeout"], load.client_timeout);
    let [shortest, longest] = load.think_time;
    if longest < shortest {
        found.error(&["load", "think_time"], format!("is {shortest} to {longest}: the shorter one comes first"));
    }
    if longest.is_zero() && !load.is_open() {
        found.warning(&["load", "think_time"], "is 0s: users who never think ask as fast as they can");
    }
    if load.users.is_some() && load.arrival_rate.is_some() {
        let message =
            "is beside `arrival_rate`: users make a closed workload, a rate an open one; one of them is needed";
        found.error(&["load", "users"], message);
    }
    check_stages(load, found);
    check_ceiling(load, found);
}

fn check_stages(load: &ServiceLoad, found: &mut Problems) {
    if load.stages.is_empty() {
        return;
    }
    let beside = [
        ("users", load.users.is_some()),
        ("arrival_rate", load.arrival_rate.is_some()),
        ("duration", load.duration.is_some()),
    ];
    for (name, _) in beside.iter().filter(|(_, given)| *given) {
        found.error(&["load", name], "is beside `stages`, which say how much load there is, and how long");
    }
    for (index, stage) in load.stages.iter().enumerate() {
        let place = format!("[{}]", index + 1);
        let key = ["load", "stages", place.as_str()];
        match (stage.users, stage.rate) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => found.error(&key, "has not one of: `users`, for a closed workload; `rate`, for an open one"),
        }
        if stage.users.is_some_and(|users| users > Count::MAX) {
            found.error(&key, format!("has more than {} users", Count::MAX));
        }
        if stage.rate.is_some_and(|rate| !(0.0..=Rate::MAX).contains(&rate)) {
            found.error(&key, format!("has a rate that is not 0 to {} requests a second", Rate::MAX));
        }
    }
    let open = load.stages.iter().filter(|stage| stage.rate.is_some()).count();
    if open > 0 && open < load.stages.len() {
        found.error(&["load", "stages"], "have users here and rates there: a workload is closed or open");
    }
    if load.stages.iter().all(|stage| stage.users == Some(0) || stage.rate == Some(0.0)) {
        found.error(&["load", "stages"], "have no load: one of them needs more than 0");
    }
    if load.stages.iter().all(|stage| stage.lasting.is_zero()) {
        found.error(&["load", "stages"], "take no time: one of them needs more than 0s");
    }
}

fn check_ceiling(load: &ServiceLoad, found: &mut Problems) {
    let Workload::Open { rate, .. } = load.pace().workload else { return };
    if let Some(most) = load.max_rate.filter(|most| most.get() < rate) {
        let message = format!("is {} requests a second, and the open workload asks for {rate}", most.get());
        found.error(&["load", "max_rate"], message);
    }
}
