//! Observation: were the service's sessions among those that the monitor watched, and where else did sessions work?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RunRecord, VariantRecord};
use crate::scenario::Experiment;

/// Client sessions outside the monitor's filter that ran a query while the load ran, of one database, application and role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsElsewhere {
    /// The database that they are connected to.
    pub database: String,
    /// Their `application_name`; empty when they have none.
    pub application_name: String,
    /// Their role; empty when the server does not say.
    pub user: String,
    /// Number of them at the end of the load.
    pub sessions: u32,
    /// The process of the target that one of them belongs to; `None` when none does, or it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

impl RunRecord {
    /// Reason why nothing can be concluded from the sessions of a variant: none of the watched ones ran a query, although the
    /// scenario's routes need the database. `None` when some did, and when they were not counted.
    pub fn not_observed(&self, variant: &VariantRecord) -> Option<String> {
        let elsewhere = variant.unobserved()?;
        match &self.scenario {
            Experiment::Service(scenario) if !scenario.database.expect_sessions => None,
            Experiment::Service(_) | Experiment::Gateway(_) => Some(not_observed(&elsewhere)),
            // A transaction that somebody left open before is what a watch is for.
            Experiment::Watched(_) if variant.summary.idle_in_transaction_peak > Some(0) => None,
            Experiment::Watched(_) => {
                Some("no watched session ran a query: check `--database-url`, `--application` and `--user`".to_owned())
            }
        }
    }
}

impl VariantRecord {
    /// `None` when a session of the monitor's filter ran a query while the load ran, when they were not counted, or when no
    /// request was answered; otherwise where sessions worked meanwhile, in words.
    pub fn unobserved(&self) -> Option<String> {
        let silent = self.monitor.is_some_and(|monitor| monitor.sessions_with_activity == Some(0));
        let asked = self.summary.requests > 0 || self.routes.is_empty();
        (silent && asked).then(|| elsewhere_in_words(&self.sessions_elsewhere))
    }
}

/// Places that are written out.
const PLACES: usize = 5;

/// Places of the sessions, those of the target first; empty when there is none.
pub fn elsewhere_in_words(groups: &[SessionsElsewhere]) -> String {
    let place = |group: &SessionsElsewhere| {
        let name = match group.application_name.as_str() {
            "" => "no application name".to_owned(),
            name => format!("application `{name}`"),
        };
        let process = group.process.map_or_else(String::new, |pid| format!(", from process {pid}"));
        format!("{name}, database `{}`, role `{}`{process}", group.database, group.user)
    };
    let (own, others): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.process.is_some());
    let list = |groups: &[&SessionsElsewhere]| {
        let mut places: Vec<String> = groups.iter().take(PLACES).map(|it| place(it)).collect();
        if groups.len() > PLACES {
            places.push(format!("{} more", groups.len() - PLACES));
        }
        places.join("; ")
    };
    match (own.is_empty(), others.is_empty()) {
        (false, _) => format!("the target's sessions: {}", list(&own)),
        (true, false) => format!("other sessions: {}", list(&others)),
        (true, true) => String::new(),
    }
}

/// Reason why nothing can be concluded where no session was seen; `elsewhere` is what [`VariantRecord::unobserved`] gives.
pub fn not_observed(elsewhere: &str) -> String {
    let places = if elsewhere.is_empty() { String::new() } else { format!(" ({elsewhere})") };
    format!(
        "no session took part: none of the watched sessions ran a query while requests were answered{places}; if these \
         routes need no database, set `expect_sessions = false` under [database]"
    )
}

/// Use of this machine over the steady phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineLoad {
    /// Busy share of the cores that the program may use, 0–1, from `/proc/stat`.
    pub busy_ratio: f64,
    /// Share of the time in which some runnable task waited for a core, 0–1: `some` of `/proc/pressure/cpu`. `None` where
    /// the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled_ratio: Option<f64>,
    /// Mean wait of a thread of the load generator for a core before it ran, in milliseconds: from
    /// `/proc/self/task/*/schedstat`. `None` as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_queue_delay_ms: Option<f64>,
    /// Share of the time in which this program's control group was not allowed to run, 0–1: `throttled_usec` of its
    /// `cpu.stat`, over all its threads, so that it may exceed 1. `None` without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ratio: Option<f64>,
    /// Delay of the load generator's own samples: 99th percentile; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_lag_p99_ms: Option<f64>,
}

/// The processors are the limit where they are busy for this share of the time, and threads wait so long for one. Measured on
/// two cores of which 4000 users of `issue-2318` take 95–97 %: threads wait 0.9–1.0 ms, and half of the answers take less than
/// 20 ms. On one of the cores, or beside two programs that do nothing but compute, the cores are 100 % busy, threads wait 1.5–2.6
/// ms, and the same users make 1,200 to 2,000 requests a second in place of 2,600.
const BUSY: f64 = 0.985;
const DELAY_MS: f64 = 1.25;

/// A container whose quota of processor time is used up so often is the limit itself, however idle the cores are.
const THROTTLED: f64 = 0.05;

/// The same where the kernel does not count how long threads wait: some task does, for so much of the time.
const STALLED: f64 = 0.95;

impl MachineLoad {
    /// True if the processors of this machine were the limit.
    pub fn is_limit(self) -> bool {
        let waits = match (self.run_queue_delay_ms, self.stalled_ratio) {
            (Some(delay_ms), _) => delay_ms >= DELAY_MS,
            (None, Some(stalled)) => stalled >= STALLED,
            (None, None) => true,
        };
        self.busy_ratio >= BUSY && waits || self.throttled_ratio.is_some_and(|it| it >= THROTTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(application_name: &str, process: Option<u32>) -> SessionsElsewhere {
        SessionsElsewhere {
            database: "brew".to_owned(),
            application_name: application_name.to_owned(),
            user: "app".to_owned(),
            sessions: 3,
            process,
        }
    }

    #[test]
    fn the_sessions_of_the_target_are_named_before_others() {
        let both = elsewhere_in_words(&[group("psql", None), group("brew-api", Some(4711))]);
        assert_eq!(
            both,
            "the target's sessions: application `brew-api`, database `brew`, role `app`, from process 4711"
        );
        assert!(elsewhere_in_words(&[group("", None)]).starts_with("other sessions: no application name"));
        assert!(not_observed("").contains("answered; if these routes"));
    }
}
