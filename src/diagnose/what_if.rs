//! The same load with another pool or other users: how many sessions it needs, and from how many users on a pool is full.
//!
//! Little's law: sessions needed = Σ rate × hold. The rates of a closed workload grow with its users as long as nobody
//! waits, so what one user needs is read from the polls at which no pool was full.

use serde::Serialize;

use super::timeline::{LoadTimeline, TimelineRow};
use super::{Case, Finding, FindingKind};
use crate::scenario::{Experiment, PgBouncer, Workload};
use crate::units::Count;

/// Assumption of a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// Connections that a pool keeps; `None`: as in the run. What it opens beyond them stays. Of an external service it
    /// is what all its pools open together.
    pub pool: Option<u32>,
    /// Users; `None`: as in the run.
    pub users: Option<u32>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    pub users: u32,
    /// Sessions that all pools together may open, or `PgBouncer` behind them, whichever is less.
    pub capacity: u32,
    /// With the holds as they are.
    pub before: Need,
    /// Without the idle time of the routes that were found to hold.
    pub after: Need,
    /// Polls that it is learned from.
    pub polls: usize,
}

/// Sessions that a load needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Need {
    /// Sessions out at the mean.
    pub sessions: f64,
    /// Number of users at which the pools are full at the mean; `None` when no session is ever needed.
    pub full_at_users: Option<f64>,
    /// Number of users at which a worker's pool, or that of `PgBouncer`, is full in one moment of a thousand: three standard
    /// deviations of a Poisson count.
    pub first_full_at_users: Option<f64>,
}

/// Reasons why there is no forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// The load is not ours.
    NoLoad,
    /// An open workload: how many there are at once is what comes of it.
    NoUsers,
    /// Nobody says what pools there are.
    NoPools,
    /// No poll found a user at work.
    NotSeen,
    /// A pool was full from the beginning.
    AlwaysFull,
}

impl Unknown {
    /// In words, to be put behind `unknown, since`.
    pub fn why(self) -> &'static str {
        match self {
            Self::NoLoad => "the load is not known: a database was watched",
            Self::NoUsers => "the load was open: it has a rate, and no users who could be more or fewer",
            Self::NoPools => {
                "nobody says how large the pools are: `pool_capacity` in the scenario does, or `pool=N` here"
            }
            Self::NotSeen => "no poll of the database found a user at work",
            Self::AlwaysFull => "a pool was full from the beginning",
        }
    }
}

/// The pools that are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pools {
    count: u32,
    sessions: u32,
    /// Server connections of `PgBouncer` behind them, where there is one.
    pooler: Option<u32>,
}

impl Pools {
    fn of(experiment: &Experiment, asked: Option<u32>) -> Result<Self, Unknown> {
        match experiment {
            Experiment::Gateway(scenario) => {
                let gateway = &scenario.gateway;
                let size = asked.unwrap_or(gateway.pool.size.get());
                let count = gateway.replicas.get().saturating_mul(gateway.workers.get());
                let sessions = count.saturating_mul(size.saturating_add(gateway.pool.max_overflow));
                Ok(Self { count, sessions, pooler: scenario.pgbouncer.as_ref().map(PgBouncer::server_connections) })
            }
            Experiment::Service(scenario) => {
                let sessions = asked.or(scenario.pool_capacity.map(Count::get)).ok_or(Unknown::NoPools)?;
                Ok(Self { count: 1, sessions, pooler: None })
            }
            Experiment::Watched(_) => Err(Unknown::NoLoad),
        }
    }

    fn capacity(self) -> u32 {
        self.pooler.map_or(self.sessions, |pooler| pooler.min(self.sessions))
    }
}

/// Answers.
///
/// # Errors
/// [`Unknown`] where nobody can know.
pub fn what_if(case: &Case<'_>, findings: &[Finding], asked: WhatIf) -> Result<Forecast, Unknown> {
    if case.record.scenario.pace().is_some_and(|pace| matches!(pace.workload, Workload::Open { .. })) {
        return Err(Unknown::NoUsers);
    }
    let pools = Pools::of(&case.record.scenario, asked.pool)?;
    let users = asked.users.or(case.record.scenario.users()).ok_or(Unknown::NoLoad)?;
    let own: Vec<_> = case.samples.iter().filter(|it| it.variant == case.scope).collect();
    let phases = case.variant.phases;
    let timeline = LoadTimeline::of(&own, case.capacity(), phases.steady_to_s);
    if !timeline.rows.iter().any(|row| row.users > 0.0) {
        return Err(Unknown::NotSeen);
    }
    let free = |row: &&TimelineRow| !row.saturated && row.users > 0.0;
    let steady: Vec<&TimelineRow> =
        timeline.rows.iter().filter(free).filter(|row| row.at_s >= phases.steady_from_s).collect();
    let rows = if steady.is_empty() { timeline.rows.iter().filter(free).collect() } else { steady };
    let started: f64 = rows.iter().map(|row| row.users).sum();
    if started <= 0.0 {
        return Err(Unknown::AlwaysFull);
    }
    let held = rows.iter().map(|row| row.idle() + f64::from(row.activity.active)).sum::<f64>() / started;
    let idle = rows.iter().map(|row| row.idle()).sum::<f64>() / started;
    let cured: f64 = findings
        .iter()
        .filter(|it| matches!(it.kind, FindingKind::HeldSession | FindingKind::LeakedSession))
        .filter_map(|it| it.share)
        .sum::<f64>()
        .min(1.0);
    let need = |per_user: f64| need(per_user, users, pools);
    Ok(Forecast {
        users,
        capacity: pools.capacity(),
        before: need(held),
        after: need((held - cured * idle).max(0.0)),
        polls: rows.len(),
    })
}

fn need(per_user: f64, users: u32, pools: Pools) -> Need {
    let at = |sessions: f64| (per_user > 0.0).then(|| sessions / per_user);
    // The mean m of `count` pools together at which m + 3 √m of one reaches its size.
    let first_full = |sessions: u32, count: u32| {
        let count = f64::from(count.max(1));
        let root = f64::midpoint(-3.0, (9.0 + 4.0 * f64::from(sessions) / count).sqrt());
        root * root * count
    };
    let of_pooler = pools.pooler.map_or(f64::INFINITY, |pooler| first_full(pooler, 1));
    Need {
        sessions: per_user * f64::from(users),
        full_at_users: at(f64::from(pools.capacity())),
        first_full_at_users: at(first_full(pools.sessions, pools.count).min(of_pooler)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_full_in_some_moment_long_before_it_is_full_at_the_mean() {
        let need = need(0.36, 4000, Pools { count: 48, sessions: 1440, pooler: None });
        assert!((need.sessions - 1440.0).abs() < 1e-9);
        assert_eq!(need.full_at_users.map(f64::round), Some(4000.0));
        let first = need.first_full_at_users.unwrap() * 0.36 / 48.0;
        assert!((first + 3.0 * first.sqrt() - 30.0).abs() < 1e-9, "{first}");
    }

    #[test]
    fn who_needs_no_session_fills_no_pool() {
        assert_eq!(need(0.0, 10, Pools { count: 1, sessions: 10, pooler: None }).full_at_users, None);
    }

    #[test]
    fn pgbouncer_is_full_before_pools_that_are_larger_together() {
        let need = need(0.36, 4000, Pools { count: 48, sessions: 1440, pooler: Some(72) });
        assert_eq!(need.full_at_users.map(f64::round), Some(200.0));
        let first = need.first_full_at_users.unwrap() * 0.36;
        assert!((first + 3.0 * first.sqrt() - 72.0).abs() < 1e-9, "{first}");
    }
}
