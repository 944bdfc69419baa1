//! `GET /openapi.json`: the routes as a document of `OpenAPI` 3.1, made from the table that serves them.

use std::sync::LazyLock;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::entities::kind::Entity;
use super::entities::{Gateways, Prompts, Resources, Servers, Tools};
use super::{Route, table};
use crate::rbac::Guard;

/// The document, made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| of(&table()).to_string());

/// `GET /openapi.json`.
pub async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

fn of(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "rbac-bench reference gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The read routes, JSON-RPC and MCP of IBM ContextForge, on PostgreSQL.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = placeholders(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = asked_for(route)
        .iter()
        .map(|(name, kind)| json!({ "name": name, "in": "query", "required": false, "schema": { "type": kind } }));
    let mut operation = json!({
        "summary": route.summary,
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "operationId": operation_id(route),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": responses(route),
    });
    if let Some(schema) = route.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema() } } });
    }
    match route.guard {
        Guard::Permission(permission) => operation["description"] = json!(format!("Permission: `{permission}`")),
        Guard::AnyPermission(permissions) => {
            operation["description"] = json!(format!("Permission: one of `{}`", permissions.join("`, `")));
        }
        Guard::Public | Guard::Token | Guard::EachMethod => {}
    }
    if route.guard != Guard::Public {
        operation["security"] = json!([{ "bearer": [] }]);
    }
    operation
}

/// `get_tools_id` for `GET /tools/{id}`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    format!("{}_{}", route.method.as_str().to_ascii_lowercase(), words.join("_"))
}

fn placeholders(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Query parameters of a list of entities, with their JSON types.
fn asked_for(route: &Route) -> &'static [(&'static str, &'static str)] {
    const LIST: &[(&str, &str)] = &[
        ("limit", "integer"),
        ("cursor", "string"),
        ("include_pagination", "boolean"),
        ("include_inactive", "boolean"),
        ("tags", "string"),
        ("team_id", "string"),
        ("visibility", "string"),
    ];
    let lists = [Tools::KIND, Servers::KIND, Resources::KIND, Prompts::KIND, Gateways::KIND].map(|kind| kind.list_path);
    if route.method == Method::GET && lists.contains(&route.path) { LIST } else { &[] }
}

/// Descriptions of the answers by status.
fn responses(route: &Route) -> Map<String, Value> {
    let mut texts = vec![("200", "What was asked for")];
    if route.guard != Guard::Public {
        texts.push(("401", "No valid token"));
    }
    if matches!(route.guard, Guard::Permission(_) | Guard::AnyPermission(_)) {
        texts.push(("403", "The user lacks the permission"));
    }
    if route.path.contains('{') {
        texts.push(("404", "Not there, or not visible to this user"));
    }
    if route.body.is_some() {
        texts.push(("413", "The body is too large"));
        texts.push(("415", "The body is no JSON"));
    }
    if route.body.is_some() || !asked_for(route).is_empty() {
        texts.push(("422", "What is wrong, and what is allowed"));
    }
    texts.into_iter().map(|(status, text)| (status.to_owned(), json!({ "description": text }))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_under_an_id_of_its_own() {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        let described: usize =
            document["paths"].as_object().unwrap().values().map(|it| it.as_object().unwrap().len()).sum();
        assert_eq!(described, table().len());
        let ids: Vec<String> = table().iter().map(operation_id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn a_route_says_what_it_takes() {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        let login = &document["paths"]["/auth/email/login"]["post"];
        let schema = &login["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["required"], json!(["email", "password"]));
        assert_eq!(document["paths"]["/health"]["get"]["security"], Value::Null);
        let one = &document["paths"]["/tools/{id}"]["get"];
        assert_eq!(one["parameters"][0]["name"], "id");
        let names = |operation: &Value| {
            let statuses = operation["responses"].as_object().unwrap().keys().cloned();
            statuses.collect::<Vec<_>>().join(" ")
        };
        assert!(one["description"].as_str().unwrap().contains("tools.read"), "{one}");
        assert_eq!((names(one).as_str(), names(login).as_str()), ("200 401 403 404", "200 413 415 422"));
        let list = &document["paths"]["/prompts"]["get"]["parameters"];
        assert_eq!((list.as_array().unwrap().len(), &list[0]["schema"]["type"]), (7, &json!("integer")), "{list}");
    }
}
