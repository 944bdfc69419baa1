//! Requests of users: one request with holes, and the definition of a good answer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::route::{self, RouteName, Values};
use super::secret::holds_secret;
use super::syntax::check_header;
use crate::scenario::check::Problems;
use crate::scenario::schema;
use crate::units::{Count, Span};

/// Headers that hold secrets, and therefore belong to an identity.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// One thing that users do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRoute {
    /// Method and path template: `GET /reports/{id}`; what follows a second space only names it (`POST /rpc tools/call`).
    pub route: RouteName,
    /// Weight relative to the others.
    #[serde(default = "once")]
    pub weight: Count,
    /// Values for each `{name}` in path, query and body.
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
    /// The body as a form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, String>,
    /// The body as a file beside the scenario's, sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_file: Option<PathBuf>,
    /// The body as a call of an MCP tool, in a session that is opened first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpCall>,
    /// After this long a user gives it up, in place of the load's `client_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Its answer is a stream: it is read for so long, and left then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_for: Option<Span>,
    /// The pause before it, in place of the load's; of an open workload, between two steps of a journey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time: Option<[Span; 2]>,
    /// Values that later steps of a journey need of the answer: names, and JSON pointers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<String, String>,
    /// The statuses of a good answer; 200 to 299 by default.
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
    /// True if it changes data; to be stated of every method but `GET`, `HEAD` and `OPTIONS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_data: Option<bool>,
}

/// A call of an MCP tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpCall {
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

pub(super) const fn once() -> Count {
    Count::of(1)
}

/// Checks the route of this place.
pub(super) fn check_route(place: &str, route: &ServiceRoute, found: &mut Problems) {
    check_params(place, route, found);
    check_body(place, route, found);
    if let Some([shortest, longest]) = route.think_time.filter(|[shortest, longest]| longest < shortest) {
        let message = format!("is {shortest} to {longest}: the shorter one comes first");
        found.error(&["route", place, "think_time"], message);
    }
    if let Some(timeout) = route.timeout {
        found.refuse_zero(&["route", place, "timeout"], timeout);
    }
    if let Some(read_for) = route.read_for {
        found.refuse_zero(&["route", place, "read_for"], read_for);
    }
    for (name, value) in &route.headers {
        let key = ["route", place, "headers", name.as_str()];
        check_header(&key, Some(name), found);
        if SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str()) || holds_secret(name, value) {
            found.error(&key, "holds a secret: it belongs to an [[identity]], which names a variable");
        }
    }
    if let Some(status) = route.expect.iter().find(|status| !(100..=599).contains(*status)) {
        found.error(&["route", place, "expect"], format!("has {status}: expected statuses, 100 to 599"));
    }
    for (name, pointers) in [("must_have", &route.must_have), ("must_not_have", &route.must_not_have)] {
        if let Some(pointer) = pointers.iter().find(|pointer| !pointer.starts_with('/')) {
            let message = format!("has {pointer:?}: expected JSON pointers, such as \"/data/id\"");
            found.error(&["route", place, name], message);
        }
    }
    if route.changes_data.is_none() && !route.route.is_safe() {
        let message =
            format!("does not say whether it changes data: {} may, so `changes_data` is needed", route.route.method());
        found.error(&["route", place], message);
    }
}

fn check_body(place: &str, route: &ServiceRoute, found: &mut Problems) {
    let bodies = [
        ("text", route.text.is_some()),
        ("json", route.json.is_some()),
        ("form", !route.form.is_empty()),
        ("body_file", route.body_file.is_some()),
        ("mcp", route.mcp.is_some()),
    ];
    let given: Vec<&str> = bodies.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    for name in given.iter().skip(1) {
        found.error(&["route", place, name], format!("is beside `{}`: a request has one body", given[0]));
    }
    let Some(mcp) = &route.mcp else { return };
    if route.route.method() != "POST" {
        found.error(&["route", place, "mcp"], format!("is sent with POST, and the route has {}", route.route.method()));
    }
    if mcp.tool.is_empty() {
        found.error(&["route", place, "mcp", "tool"], "is empty: a tool's name is needed");
    }
}

fn check_params(place: &str, route: &ServiceRoute, found: &mut Problems) {
    let texts = texts(route);
    for (name, values) in &route.params {
        let key = ["route", place, "params", name.as_str()];
        match values {
            Values::List(list) if list.is_empty() => found.error(&key, "is empty: at least one value is needed"),
            Values::Range { from, to } if to < from => {
                found.error(&key, format!("is {from} to {to}: the smaller one comes first"));
            }
            _ => {}
        }
        let hole = format!("{{{name}}}");
        if !texts.iter().any(|text| text.contains(&hole)) {
            found
                .error(&key, format!("stands nowhere: `{{{name}}}` is in no path, query, header or body of the route"));
        }
    }
}

/// Everything of a route that may have holes.
pub(super) fn texts(route: &ServiceRoute) -> Vec<String> {
    let ServiceRoute { query, headers, form, text, json, mcp, .. } = route;
    let values = query.values().chain(headers.values()).chain(form.values()).chain(text).cloned();
    let json = json.as_ref().map(ToString::to_string);
    let arguments = mcp.iter().flat_map(|mcp| mcp.arguments.values()).map(ToString::to_string);
    values.chain(json).chain(arguments).chain([route.route.path().to_owned()]).collect()
}
