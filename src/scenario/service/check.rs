//! The scenario of a service as a whole: values that are fine one by one and are invalid together.

use std::collections::BTreeSet;

use super::identity::check_identity;
use super::journey::check_journeys;
use super::load::check_load;
use super::request::check_route;
use super::syntax::{check_path, check_variable};
use super::todo::check_todo;
use super::url::holds_password;
use super::{ServiceScenario, written_secrets};
use crate::scenario::VariantName;
use crate::scenario::check::{Problem, Problems, check_gate, check_health, check_monitor, check_name};
use crate::scenario::key::nearest;

/// Everything that is wrong with `scenario`, in the order of its keys.
pub(super) fn check(scenario: &ServiceScenario) -> Vec<Problem> {
    let mut found = Problems::default();
    check_name(&scenario.name, &mut found);
    check_run(scenario, &mut found);
    check_target(scenario, &mut found);
    check_database(scenario, &mut found);
    check_load(&scenario.load, &mut found);
    if scenario.target.health.is_some() {
        check_health(&scenario.health, &mut found);
    }
    check_monitor(&scenario.monitor, &mut found);
    for (index, identity) in scenario.identity.iter().enumerate() {
        check_identity(&place(index), identity, &mut found);
        written_secrets::check_identity(&place(index), identity, &mut found);
    }
    check_routes(scenario, &mut found);
    check_journeys(scenario, &mut found);
    check_variants(scenario, &mut found);
    let names = scenario.all_variant_names();
    let names: Vec<&str> = names.iter().map(VariantName::name).collect();
    check_gate(&scenario.gate, &names, &mut found);
    check_todo(scenario, &mut found);
    found.0
}

/// As [`KeyPath::item`](crate::scenario::key::KeyPath::item) names it.
fn place(index: usize) -> String {
    format!("[{}]", index + 1)
}

fn check_run(scenario: &ServiceScenario, found: &mut Problems) {
    let known: BTreeSet<&str> = scenario.variants.keys().map(VariantName::name).collect();
    let mut seen = BTreeSet::new();
    for name in &scenario.run {
        // Before the file's order is known, `both` stands for all of them.
        if !known.contains(name.name()) && (name.name() != "both" || scenario.run.len() > 1) {
            let allowed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let allowed = if known.is_empty() { "none, since there are no [variants]".to_owned() } else { allowed };
            found.error(&["run"], format!("names `{name}`, which is not a variant: expected one of {allowed}"));
            found.0.last_mut().expect("it has just been pushed").meant = nearest(name.name(), known).map(str::to_owned);
            return;
        }
        if !seen.insert(name) {
            found.error(&["run"], format!("names `{name}` twice: each variant runs once"));
        }
    }
}

fn check_target(scenario: &ServiceScenario, found: &mut Problems) {
    let target = &scenario.target;
    match (&target.url, target.urls.is_empty()) {
        (Some(_), false) => found.error(&["target", "urls"], "is beside `target.url`: one of them is needed"),
        (None, true) if scenario.variants.values().any(|it| it.url.is_none() && it.urls.is_empty()) => {
            found.error(&["target"], "has no `url`, and a variant has none either");
        }
        (None, true) if scenario.variants.is_empty() => {
            found.error(&["target"], "has no `url`: say where the service is, such as url = \"http://127.0.0.1:8000\"");
        }
        _ => {}
    }
    check_path(&["target", "health"], target.health.as_deref(), found);
    super::command::check(scenario, found);
    if let Some(metrics) = &target.metrics {
        super::metrics::check(metrics, found);
    }
    if let Some(files) = &target.tls {
        super::trust::check(files, found);
    }
}

fn check_database(scenario: &ServiceScenario, found: &mut Problems) {
    let database = &scenario.database;
    let given = [database.url.is_some(), database.url_env.is_some(), database.url_file.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        found.error(&["database"], "is given in more than one way: one of `url`, `url_env` and `url_file` is needed");
    }
    if database.url.as_deref().is_some_and(holds_password) {
        let message = "holds a password, which would be in every copy of the scenario: put the URL into an environment \
                       variable and name it with `url_env`, or into a file with `url_file`";
        found.error(&["database", "url"], message);
    }
    check_variable(&["database", "url_env"], database.url_env.as_deref(), found);
    let pgbouncer = scenario.pgbouncer.as_ref().map(|it| it.url_env.as_str());
    check_variable(&["pgbouncer", "url_env"], pgbouncer, found);
}

fn check_routes(scenario: &ServiceScenario, found: &mut Problems) {
    if scenario.route.is_empty() {
        found.error(&["route"], "is missing: at least one [[route]] is needed, such as route = \"GET /reports/{id}\"");
        return;
    }
    for (index, route) in scenario.route.iter().enumerate() {
        check_route(&place(index), route, found);
        written_secrets::check_route(&place(index), route, found);
    }
    if scenario.routes().next().is_none() {
        let message = "has only routes that change data: `allow_data_changes = true` under [load] asks for them, too";
        found.error(&["route"], message);
    }
}

fn check_variants(scenario: &ServiceScenario, found: &mut Problems) {
    for (name, variant) in &scenario.variants {
        if variant.url.is_some() && !variant.urls.is_empty() {
            found.error(&["variants", name.name(), "urls"], "is beside `url`: one of them is needed");
        }
        if name.name() == "both" {
            found.error(&["variants", "both"], "is a name that stands for all variants: take another");
        }
    }
}
