//! Journeys: requests of one user in a row.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::request::{once, texts};
use super::route::holes;
use super::{ServiceRoute, ServiceScenario};
use crate::scenario::check::Problems;
use crate::scenario::key::nearest;
use crate::units::Count;

/// Routes that one user asks for in a row. What a step captures of its answer is for later steps of the same journey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Journey {
    pub name: String,
    /// Weight relative to other journeys and to routes that are in none.
    #[serde(default = "once")]
    pub weight: Count,
    /// The routes, by name.
    pub steps: Vec<String>,
}

/// Checks the journeys, and what routes need of them.
pub(super) fn check_journeys(scenario: &ServiceScenario, found: &mut Problems) {
    let mut names = BTreeSet::new();
    for (index, journey) in scenario.journey.iter().enumerate() {
        let place = format!("[{}]", index + 1);
        if journey.name.trim().is_empty() {
            found.error(&["journey", &place, "name"], "is empty: a journey needs a name");
        }
        if !names.insert(&journey.name) {
            found.error(&["journey", &place, "name"], format!("is `{}`, as another one is", journey.name));
        }
        if journey.steps.is_empty() {
            found.error(&["journey", &place, "steps"], "is empty: at least one route is needed, by its name");
        }
        check_steps(scenario, journey, &place, found);
    }
    for (index, route) in scenario.route.iter().enumerate() {
        let place = format!("[{}]", index + 1);
        check_captures(scenario, route, &place, found);
        if !scenario.is_step(route) {
            check_alone(scenario, route, &place, found);
        }
    }
}

fn check_steps(scenario: &ServiceScenario, journey: &Journey, place: &str, found: &mut Problems) {
    let key = ["journey", place, "steps"];
    let mut captured: Vec<&str> = Vec::new();
    for step in &journey.steps {
        let named: Vec<&ServiceRoute> = scenario.route.iter().filter(|route| route.route.name() == step).collect();
        let [route] = named[..] else {
            let message = match named.len() {
                0 => format!("names `{step}`, which is not a [[route]]"),
                several => {
                    format!("names `{step}`, and {several} routes are called so: names after a second space differ")
                }
            };
            found.error(&key, message);
            if named.is_empty() {
                found.meant_last(nearest(step, scenario.route.iter().map(|route| route.route.name())));
            }
            continue;
        };
        for name in route.route.params().into_iter().filter(|name| !route.params.contains_key(*name)) {
            if !captured.contains(&name) && !scenario.has_columns() {
                let message = format!("has `{step}`, which needs `{{{name}}}`, and no step before it captures that");
                found.error(&key, message);
                found.meant_last(nearest(name, captured.iter().copied()));
            }
        }
        captured.extend(route.capture.keys().map(String::as_str));
    }
}

/// Captures are of use to a later step.
fn check_captures(scenario: &ServiceScenario, route: &ServiceRoute, place: &str, found: &mut Problems) {
    for (name, pointer) in &route.capture {
        let key = ["route", place, "capture", name.as_str()];
        if !pointer.starts_with('/') {
            found.error(&key, format!("is {pointer:?}: expected a JSON pointer, such as \"/data/id\""));
        }
        if !scenario.is_step(route) {
            found.error(&key, "is for later steps, and the route is in no [[journey]]");
        } else if !is_used(scenario, route, name) {
            found.error(&key, format!("stands nowhere: `{{{name}}}` is in no later step of a journey"));
        }
    }
}

fn is_used(scenario: &ServiceScenario, by: &ServiceRoute, name: &str) -> bool {
    let uses = |step: &String| {
        let route = scenario.route.iter().find(|route| route.route.name() == step);
        route.is_some_and(|route| texts(route).iter().any(|text| holes(text).any(|hole| hole == name)))
    };
    scenario.journey.iter().any(|journey| {
        let after = journey.steps.iter().skip_while(|step| *step != by.route.name()).skip(1);
        after.into_iter().any(uses)
    })
}

/// A route in no journey has nothing captured.
fn check_alone(scenario: &ServiceScenario, route: &ServiceRoute, place: &str, found: &mut Problems) {
    let open = route.route.params().into_iter().filter(|name| !route.params.contains_key(*name));
    for name in open.filter(|_| !scenario.has_columns()) {
        let message = format!("has no values for `{{{name}}}`: add some, such as params = {{ {name} = [1, 2] }}");
        found.error(&["route", place], message);
    }
}

impl ServiceScenario {
    /// True if a journey has it among its steps.
    pub fn is_step(&self, route: &ServiceRoute) -> bool {
        self.journey.iter().any(|journey| journey.steps.iter().any(|step| step == route.route.name()))
    }

    /// The journeys that are begun: without those that change data, unless the scenario says so.
    pub fn journeys(&self) -> impl Iterator<Item = &Journey> {
        self.journey.iter().filter(|journey| {
            let changes = |step: &String| {
                let mut named = self.route.iter().filter(|route| route.route.name() == step);
                named.any(|route| route.changes_data == Some(true))
            };
            self.load.allow_data_changes || !journey.steps.iter().any(changes)
        })
    }

    /// The routes that are asked for: without those that change data, unless the scenario says so, and without the steps of
    /// journeys that are not begun.
    pub fn routes(&self) -> impl Iterator<Item = &ServiceRoute> {
        let allowed = |route: &&ServiceRoute| self.load.allow_data_changes || route.changes_data != Some(true);
        let begun = |route: &&ServiceRoute| {
            let name = route.route.name();
            !self.is_step(route) || self.journeys().any(|journey| journey.steps.iter().any(|step| step == name))
        };
        self.route.iter().filter(allowed).filter(begun)
    }

    /// Share of each route by name: those of journeys once for each step.
    pub fn shares(&self) -> Vec<(&str, f64)> {
        let alone = self.routes().filter(|route| !self.is_step(route));
        let alone = alone.map(|route| (route.route.name(), f64::from(route.weight.get())));
        let steps = self
            .journeys()
            .flat_map(|journey| journey.steps.iter().map(|step| (step.as_str(), f64::from(journey.weight.get()))));
        alone.chain(steps).collect()
    }

    /// The names that answers fill, or columns of users, as far as they are known before their file is read.
    pub fn filled_by_users(&self) -> Vec<String> {
        let captured = self.route.iter().flat_map(|route| route.capture.keys().map(String::as_str));
        let open = self
            .route
            .iter()
            .flat_map(|route| route.route.params().into_iter().filter(|name| !route.params.contains_key(*name)));
        let names: BTreeSet<&str> = captured.chain(open).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// True if users have columns of a file, whose names are known when it is read.
    pub(super) fn has_columns(&self) -> bool {
        self.identity.iter().any(|identity| identity.file.is_some())
    }
}
