//! The same load with another pool or other users: how many sessions it needs, and from how many users on a pool is full.
//!
//! Little's law: sessions needed = Σ rate × hold. The rates of a closed workload grow with its users as long as nobody
//! waits, so what one user needs is read from the polls at which no pool was full.

use serde::Serialize;

use super::timeline::{Row, Timeline};
use super::{Case, Finding, Kind};

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// Connections that a pool keeps; `None`: as in the run. What it opens beyond them stays.
    pub pool: Option<u32>,
    /// Users; `None`: as in the run.
    pub users: Option<u32>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Users asked about.
    pub users: u32,
    /// Sessions that all pools together may open.
    pub capacity: u32,
    /// With the holds as they are.
    pub before: Need,
    /// Without the idle time of the routes that were found to hold.
    pub after: Need,
    /// Polls that it is learned from.
    pub polls: usize,
}

/// What a load needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Need {
    /// Sessions out at the mean.
    pub sessions: f64,
    /// Users with whom the pools are full at the mean; `None` when no session is ever needed.
    pub full_at_users: Option<f64>,
    /// Users with whom a worker's pool is full in one moment of a thousand: three standard deviations of a Poisson count.
    pub first_full_at_users: Option<f64>,
}

/// Answers; `None` when a pool was full from the beginning, or nothing was seen.
pub fn what_if(case: &Case<'_>, findings: &[Finding], asked: WhatIf) -> Option<Forecast> {
    let scenario = case.record.scenario.gateway()?;
    let gateway = &scenario.gateway;
    let size = asked.pool.unwrap_or(gateway.pool.size.get());
    let pools = gateway.replicas.get().saturating_mul(gateway.workers.get());
    let capacity = pools.saturating_mul(size.saturating_add(gateway.pool.max_overflow));
    let users = asked.users.unwrap_or(scenario.load.users.get());
    let own: Vec<_> = case.samples.iter().filter(|it| it.variant == case.scope).cloned().collect();
    let phases = case.variant.phases;
    let timeline = Timeline::of(&own, case.variant.summary.pool_capacity, phases.steady_to_s);
    let free = |row: &&Row| !row.saturated && row.users > 0.0;
    let steady: Vec<&Row> = timeline.rows.iter().filter(free).filter(|row| row.at_s >= phases.steady_from_s).collect();
    let rows = if steady.is_empty() { timeline.rows.iter().filter(free).collect() } else { steady };
    let started: f64 = rows.iter().map(|row| row.users).sum();
    if started <= 0.0 {
        return None;
    }
    let held = rows.iter().map(|row| row.idle() + f64::from(row.activity.active)).sum::<f64>() / started;
    let idle = rows.iter().map(|row| row.idle()).sum::<f64>() / started;
    let cured: f64 = findings
        .iter()
        .filter(|it| matches!(it.kind, Kind::HeldSession | Kind::LeakedSession))
        .filter_map(|it| it.share)
        .sum::<f64>()
        .min(1.0);
    let need = |per_user: f64| need(per_user, users, capacity, pools);
    Some(Forecast {
        users,
        capacity,
        before: need(held),
        after: need((held - cured * idle).max(0.0)),
        polls: rows.len(),
    })
}

fn need(per_user: f64, users: u32, capacity: u32, pools: u32) -> Need {
    let at = |sessions: f64| (per_user > 0.0).then(|| sessions / per_user);
    let each = f64::from(capacity) / f64::from(pools.max(1));
    // The mean m of a pool at which m + 3 √m reaches its size.
    let root = f64::midpoint(-3.0, (9.0 + 4.0 * each).sqrt());
    Need {
        sessions: per_user * f64::from(users),
        full_at_users: at(f64::from(capacity)),
        first_full_at_users: at(root * root * f64::from(pools)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_full_in_some_moment_long_before_it_is_full_at_the_mean() {
        let need = need(0.36, 4000, 1440, 48);
        assert!((need.sessions - 1440.0).abs() < 1e-9);
        assert_eq!(need.full_at_users.map(f64::round), Some(4000.0));
        let first = need.first_full_at_users.unwrap() * 0.36 / 48.0;
        assert!((first + 3.0 * first.sqrt() - 30.0).abs() < 1e-9, "{first}");
    }

    #[test]
    fn who_needs_no_session_fills_no_pool() {
        assert_eq!(need(0.0, 10, 10, 1).full_at_users, None);
    }
}
