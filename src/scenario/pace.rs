//! Load over time, of the users of any service.

use std::fmt;

use super::Balance;
use crate::units::{Rate, Span};

/// Load over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Kind of load, and the most of it.
    pub workload: Workload,
    /// Time over which it grows from nothing, evenly.
    pub ramp_up: Span,
    /// Time at its first level before the steady phase.
    pub settle: Span,
    /// The steady phase: that of all stages where there are some.
    pub duration: Span,
    /// Changes of the load within the steady phase; empty when there are none.
    pub stages: Vec<Stage>,
    /// The most requests a second, where there is such a ceiling.
    pub max_rate: Option<Rate>,
    /// After this long a user gives a request up.
    pub client_timeout: Span,
    /// Which replica a request goes to.
    pub balance: Balance,
    /// Seed of every random choice.
    pub seed: u64,
}

/// Rule by which requests begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Workload {
    /// The answer before: users wait for it, think, and ask again.
    Closed {
        /// The most users at once.
        users: u32,
    },
    Open {
        /// The most requests a second.
        rate: f64,
        /// Requests in flight at once; what would be one more is not started, and counted.
        max_in_flight: u32,
    },
}

/// A part of the steady phase: the load goes evenly from the level before to its own. The first one begins at its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Users, or requests a second.
    pub level: f64,
    /// Duration.
    pub lasting: Span,
}

impl Pace {
    /// The most requests a second that its scenario allows: an open workload is its own ceiling.
    #[must_use]
    pub fn ceiling(&self) -> Option<Rate> {
        let scheduled = match self.workload {
            Workload::Open { rate, .. } => Rate::new(rate),
            Workload::Closed { .. } => None,
        };
        self.max_rate.or(scheduled)
    }
}

impl fmt::Display for Pace {
    /// `8 users`, `up to 50 requests a second`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let varies = self.stages.iter().any(|stage| stage.level.total_cmp(&self.stages[0].level).is_ne());
        f.write_str(if varies { "up to " } else { "" })?;
        match self.workload {
            Workload::Closed { users } => write!(f, "{users} users"),
            Workload::Open { rate, .. } => write!(f, "{rate} requests a second"),
        }
    }
}
