//! What users ask of a service: one request with holes, and what a good answer to it is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::check_header;
use super::route::{self, RouteName, Values};
use crate::scenario::check::Problems;
use crate::scenario::schema;
use crate::units::Count;

/// Headers that hold secrets, and therefore belong to an identity.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// One thing that users do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRoute {
    /// Method and path template: `GET /reports/{id}`; what follows a second space only names it (`POST /rpc tools/call`).
    pub route: RouteName,
    /// How often, relative to the others.
    #[serde(default = "once")]
    pub weight: Count,
    /// What stands for each `{name}` in path, query and body.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Values>,
    /// The query's names and values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Headers that are no secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The body as a value, sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// The statuses of a good answer; 200 to 299 when nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<u16>,
    /// JSON pointers (`/data/id`) that a good answer has, or else it is a failure, whatever its status.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "route::one_or_more")]
    #[schemars(with = "schema::OneOrMore<String>")]
    pub must_have: Vec<String>,
    /// JSON pointers that only a failed answer has (`/error`).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "route::one_or_more")]
    #[schemars(with = "schema::OneOrMore<String>")]
    pub must_not_have: Vec<String>,
    /// Whether it changes data; to be said of every method but `GET`, `HEAD` and `OPTIONS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_data: Option<bool>,
}

const fn once() -> Count {
    Count::of(1)
}

/// What is wrong with the route of this place.
pub(super) fn check_route(place: &str, route: &ServiceRoute, found: &mut Problems) {
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
