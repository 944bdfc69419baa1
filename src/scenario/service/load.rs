//! How a service of one's own is loaded: how much, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Balance;
use crate::scenario::check::Problems;
use crate::units::{Count, Span};

/// A closed workload: users who wait for each answer, think, and ask again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceLoad {
    /// Simulated users.
    pub users: Count,
    /// Time over which the users start, evenly.
    pub ramp_up: Span,
    /// Time with all users before the steady phase.
    pub settle: Span,
    /// Steady phase per variant.
    pub duration: Span,
    /// After this long a user gives the request up and counts it as failed.
    pub client_timeout: Span,
    /// Shortest and longest think time, uniform between.
    pub think_time: [Span; 2],
    /// Which replica a request goes to.
    pub balance: Balance,
    /// Seed of every random choice of the users.
    pub seed: u64,
    /// Whether routes that change data are asked for, too.
    pub change_data: bool,
}

impl Default for ServiceLoad {
    fn default() -> Self {
        Self {
            users: Count::of(20),
            ramp_up: Span::from_secs(5),
            settle: Span::ZERO,
            duration: Span::from_secs(30),
            client_timeout: Span::from_secs(30),
            think_time: [Span::from_millis(500), Span::from_millis(1500)],
            balance: Balance::default(),
            seed: 2318,
            change_data: false,
        }
    }
}

/// What is wrong with the load.
pub(super) fn check_load(load: &ServiceLoad, found: &mut Problems) {
    found.refuse_zero(&["load", "duration"], load.duration);
    found.refuse_zero(&["load", "client_timeout"], load.client_timeout);
    let [shortest, longest] = load.think_time;
    if longest < shortest {
        found.error(&["load", "think_time"], format!("is {shortest} to {longest}: the shorter one comes first"));
    }
    if longest.is_zero() {
        found.warning(&["load", "think_time"], "is 0s: users who never think ask as fast as they can");
    }
}
