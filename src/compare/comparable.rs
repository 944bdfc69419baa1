//! Differences that make two variants incomparable.

use serde::Serialize;

use super::Side;
use crate::record::{Machine, RunRecord};
use crate::scenario::Experiment;

/// One thing that differs between two runs, and must not, for their figures to be comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: LoadSubject,
    /// The key of the scenario that differs: `load.users`; `None` for the others.
    pub key: Option<String>,
    pub baseline: String,
    pub candidate: String,
}

/// Subject of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadSubject {
    /// A setting of the scenario, other than what names and describes it, its variants and its gate.
    Scenario,
    /// System, architecture, cores, processor or the machine itself.
    Machine,
    Postgresql,
    /// This program's version: it may measure otherwise.
    ToolVersion,
    /// One of the two was cut short.
    Complete,
    /// In one of the two no session took part.
    Observed,
}

impl LoadSubject {
    /// True if it is a condition of the measurement, and not a result of it.
    #[must_use]
    pub const fn is_condition(self) -> bool {
        !matches!(self, Self::Complete | Self::Observed)
    }

    /// As a sentence names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scenario => "scenario",
            Self::Machine => "machine",
            Self::Postgresql => "PostgreSQL version",
            Self::ToolVersion => "tool version",
            Self::Complete => "completeness",
            Self::Observed => "set of observed sessions",
        }
    }
}

/// Everything that makes the two incomparable; empty when nothing does.
pub fn differences(baseline: Side<'_>, candidate: Side<'_>) -> Vec<Difference> {
    let mut found = scenario(&baseline.record.scenario, &candidate.record.scenario);
    let complete = |it: Side<'_>| if it.measured.complete { "ran to its end" } else { "was cut short" }.to_owned();
    let observed = |it: Side<'_>| {
        let unseen = it.record.not_observed(it.measured).is_some();
        if unseen { "no session took part" } else { "sessions took part" }.to_owned()
    };
    found.extend(machines(baseline.record, candidate.record));
    let pairs = [
        (
            LoadSubject::Postgresql,
            baseline.measured.postgres_version.clone(),
            candidate.measured.postgres_version.clone(),
        ),
        (LoadSubject::ToolVersion, baseline.record.tool_version.clone(), candidate.record.tool_version.clone()),
        (LoadSubject::Complete, complete(baseline), complete(candidate)),
        (LoadSubject::Observed, observed(baseline), observed(candidate)),
    ];
    let differing = pairs.into_iter().filter(|(_, before, after)| before != after);
    found.extend(differing.map(|(what, baseline, candidate)| Difference { what, key: None, baseline, candidate }));
    found
}

/// Machines of which one is not known are not the same, unless the run is.
fn machines(baseline: &RunRecord, candidate: &RunRecord) -> Option<Difference> {
    let (before, after) = (&baseline.machine, &candidate.machine);
    let one_run = baseline.started_unix_s.to_bits() == candidate.started_unix_s.to_bits();
    let same = before == after && (one_run || before.id.is_some());
    (!same).then(|| Difference {
        what: LoadSubject::Machine,
        key: None,
        baseline: machine(before),
        candidate: machine(after),
    })
}

fn machine(machine: &Machine) -> String {
    let cores = machine.cores.map_or_else(|| "an unknown number of".to_owned(), |cores| cores.to_string());
    let cpu = machine.cpu.as_ref().map_or_else(String::new, |cpu| format!(", {cpu}"));
    let id = machine.id.as_ref().map_or_else(|| "which one is not known".to_owned(), |id| format!("id {id}"));
    format!("{} {}, {cores} cores{cpu}, {id}", machine.os, machine.arch)
}

/// Keys that say what a scenario is called and asks for, not what is run.
const NAMES_AND_QUESTIONS: [&str; 6] = ["name", "title", "notes", "reference", "variants", "gate"];

fn scenario(baseline: &Experiment, candidate: &Experiment) -> Vec<Difference> {
    let (before, after) = (leaves(baseline), leaves(candidate));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |of: &std::collections::BTreeMap<String, String>, key: &String| {
        of.get(key).cloned().unwrap_or_else(|| "not set".to_owned())
    };
    keys.into_iter()
        .map(|key| (key, value(&before, key), value(&after, key)))
        .filter(|(_, before, after)| before != after)
        .map(|(key, baseline, candidate)| Difference {
            what: LoadSubject::Scenario,
            key: Some(key.clone()),
            baseline,
            candidate,
        })
        .collect()
}

/// Every setting, as text, by its key.
fn leaves(scenario: &Experiment) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    // A scenario that cannot be written as JSON does not exist; its settings would all be missing on both sides.
    let value = serde_json::to_value(scenario).unwrap_or_default();
    let settings = value.as_object().into_iter().flatten();
    for (name, value) in settings.filter(|(name, _)| !NAMES_AND_QUESTIONS.contains(&name.as_str())) {
        collect(name.clone(), value, &mut found);
    }
    found
}

fn collect(key: String, value: &serde_json::Value, found: &mut std::collections::BTreeMap<String, String>) {
    match value.as_object() {
        Some(table) => table.iter().for_each(|(name, inner)| collect(format!("{key}.{name}"), inner, found)),
        None => drop(found.insert(key, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_machines_differ_unless_the_run_is_the_same() {
        let fixture =
            || -> RunRecord { serde_json::from_str(include_str!("../../fixtures/records/issue-2318.json")).unwrap() };
        let (one, mut other) = (fixture(), fixture());
        assert_eq!(machines(&one, &other), None);
        other.started_unix_s += 1.0;
        assert!(machines(&one, &other).is_some());
        let known = |mut record: RunRecord, id: &str| {
            record.machine.id = Some(id.to_owned());
            record
        };
        assert_eq!(machines(&known(one.clone(), "a"), &known(other.clone(), "a")), None);
        assert!(machines(&known(one.clone(), "a"), &known(other.clone(), "b")).is_some());
        assert!(machines(&one, &known(other.clone(), "a")).is_some());
        let mut faster = known(other, "a");
        faster.machine.cpu = Some("a faster one".to_owned());
        assert!(machines(&known(one, "a"), &faster).is_some_and(|it| it.candidate.contains("a faster one")));
    }
}
