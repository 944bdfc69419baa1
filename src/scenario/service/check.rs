//! The scenario of a service as a whole: values that are fine one by one and make no sense together.

use reqwest::header::HeaderName;

use super::{IdentitySource, ServiceLoad, ServiceRoute, ServiceScenario, Values, holds_password};
use crate::scenario::VariantName;
use crate::scenario::check::{Problem, Problems, check_gate, check_health, check_monitor, check_name};
use crate::scenario::key::nearest;

/// Headers that hold secrets, and therefore belong to an identity.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

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
    }
    check_routes(scenario, &mut found);
    check_variants(scenario, &mut found);
    let names = scenario.all_variant_names();
    let names: Vec<&str> = names.iter().map(VariantName::name).collect();
    check_gate(&scenario.gate, &names, &mut found);
    found.0
}

/// As [`KeyPath::item`](crate::scenario::key::KeyPath::item) names it.
fn place(index: usize) -> String {
    format!("[{}]", index + 1)
}

fn check_run(scenario: &ServiceScenario, found: &mut Problems) {
    for (index, name) in scenario.run.iter().enumerate() {
        let known: Vec<&str> = scenario.variants.keys().map(VariantName::name).collect();
        // Before the file's order is known, `both` stands for all of them.
        if known.contains(&name.name()) || (name.name() == "both" && scenario.run.len() == 1) {
            if scenario.run[..index].contains(name) {
                found.error(&["run"], format!("names `{name}` twice: each variant runs once"));
            }
            continue;
        }
        let allowed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let allowed = if known.is_empty() { "none, since there are no [variants]".to_owned() } else { allowed };
        found.error(&["run"], format!("names `{name}`, which is no variant: allowed are {allowed}"));
        found.0.last_mut().expect("it has just been pushed").meant = nearest(name.name(), known).map(str::to_owned);
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
}

pub(super) fn check_path(key: &[&str], path: Option<&str>, found: &mut Problems) {
    if let Some(path) = path.filter(|path| !path.starts_with('/')) {
        found.error(key, format!("is {path:?}: allowed is a path that starts with `/`"));
    }
}

fn check_database(scenario: &ServiceScenario, found: &mut Problems) {
    let database = &scenario.database;
    let said = [database.url.is_some(), database.url_env.is_some(), database.url_file.is_some()];
    if said.iter().filter(|said| **said).count() > 1 {
        found.error(&["database"], "is given in more than one way: one of `url`, `url_env` and `url_file` is needed");
    }
    if database.url.as_deref().is_some_and(holds_password) {
        let message = "holds a password, which would be in every copy of the scenario: put the URL into an environment \
                       variable and name it with `url_env`, or into a file with `url_file`";
        found.error(&["database", "url"], message);
    }
    check_variable(&["database", "url_env"], database.url_env.as_deref(), found);
}

/// A value in place of a name is a secret at the wrong place: it is not repeated.
fn check_variable(key: &[&str], name: Option<&str>, found: &mut Problems) {
    let is_name = |name: &str| {
        let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        letters && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())
    };
    if name.is_some_and(|name| !is_name(name)) {
        found.error(key, "is no name of a variable: allowed are letters, digits and `_`; the value stays outside");
    }
}

fn check_load(load: &ServiceLoad, found: &mut Problems) {
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

fn check_identity(place: &str, identity: &IdentitySource, found: &mut Problems) {
    let IdentitySource { bearer_env, user, password_env, header, value_env } = identity;
    let forms =
        [bearer_env.is_some(), user.is_some() || password_env.is_some(), header.is_some() || value_env.is_some()];
    let halves = user.is_some() != password_env.is_some() || header.is_some() != value_env.is_some();
    if forms.iter().filter(|said| **said).count() != 1 || halves {
        let message = "is not one of: `bearer_env`; `user` and `password_env`; `header` and `value_env`";
        found.error(&["identity", place], message);
    }
    for (name, value) in [("bearer_env", bearer_env), ("password_env", password_env), ("value_env", value_env)] {
        check_variable(&["identity", place, name], value.as_deref(), found);
    }
    check_header(&["identity", place, "header"], header.as_deref(), found);
}

fn check_header(key: &[&str], name: Option<&str>, found: &mut Problems) {
    if let Some(name) = name.filter(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
        found.error(key, format!("is {name:?}, which is no name of a header"));
    }
}

fn check_routes(scenario: &ServiceScenario, found: &mut Problems) {
    if scenario.route.is_empty() {
        found.error(&["route"], "is missing: at least one [[route]] is needed, such as route = \"GET /reports/{id}\"");
        return;
    }
    for (index, route) in scenario.route.iter().enumerate() {
        check_route(&place(index), route, found);
    }
    if scenario.routes().next().is_none() {
        let message = "has only routes that change data: `change_data = true` under [load] asks for them, too";
        found.error(&["route"], message);
    }
}

fn check_route(place: &str, route: &ServiceRoute, found: &mut Problems) {
    check_params(place, route, found);
    if route.text.is_some() && route.json.is_some() {
        found.error(&["route", place, "json"], "is beside `text`: a request has one body");
    }
    for name in route.headers.keys() {
        let key = ["route", place, "headers", name.as_str()];
        check_header(&key, Some(name), found);
        if SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            found.error(&key, "holds a secret: it belongs to an [[identity]], which names a variable");
        }
    }
    if let Some(status) = route.expect.iter().find(|status| !(100..=599).contains(*status)) {
        found.error(&["route", place, "expect"], format!("has {status}: allowed are statuses, 100 to 599"));
    }
    for (name, pointers) in [("must_have", &route.must_have), ("must_not_have", &route.must_not_have)] {
        if let Some(pointer) = pointers.iter().find(|pointer| !pointer.starts_with('/')) {
            let message = format!("has {pointer:?}: allowed are JSON pointers, such as \"/data/id\"");
            found.error(&["route", place, name], message);
        }
    }
    if route.changes_data.is_none() && !route.route.is_safe() {
        let message =
            format!("does not say whether it changes data: {} may, so `changes_data` is needed", route.route.method());
        found.error(&["route", place], message);
    }
}

fn check_params(place: &str, route: &ServiceRoute, found: &mut Problems) {
    for name in route.route.params() {
        if !route.params.contains_key(name) {
            let message = format!("has no values for `{{{name}}}`: params = {{ {name} = [1, 2] }} gives some");
            found.error(&["route", place], message);
        }
    }
    for (name, values) in &route.params {
        let key = ["route", place, "params", name.as_str()];
        match values {
            Values::List(list) if list.is_empty() => found.error(&key, "is empty: at least one value is needed"),
            Values::Range { from, to } if to < from => {
                found.error(&key, format!("is {from} to {to}: the smaller one comes first"));
            }
            _ => {}
        }
        if !uses(route, name) {
            found
                .error(&key, format!("stands nowhere: `{{{name}}}` is in no path, query, header or body of the route"));
        }
    }
}

fn uses(route: &ServiceRoute, name: &str) -> bool {
    let hole = format!("{{{name}}}");
    let json = route.json.as_ref().map(ToString::to_string);
    let texts = route.query.values().chain(route.headers.values()).chain(&route.text).chain(&json);
    route.route.params().contains(&name) || texts.into_iter().any(|text| text.contains(&hole))
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
