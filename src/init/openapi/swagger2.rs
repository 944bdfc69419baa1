//! A document in Swagger 2.0, as the same in OpenAPI 3.

use serde_json::{Map, Value, json};

use super::tree::{list, members, text};

/// Members of a parameter that are its schema's.
const OF_SCHEMA: [&str; 20] = [
    "type",
    "format",
    "items",
    "default",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "multipleOf",
    "x-example",
    "x-nullable",
    "x-enum-varnames",
    "title",
];

/// References deeper than this go in a circle.
const MOST_HOPS: usize = 16;

/// Converts a document. Definitions stay where they are: references to them stay true.
pub(super) fn converted(root: &Value) -> Value {
    let mut converted = root.clone();
    let Some(fields) = converted.as_object_mut() else { return converted };
    let paths: Map<String, Value> = members(root.get("paths").unwrap_or(&Value::Null))
        .map(|(path, item)| (path.clone(), path_item(root, resolved(root, item))))
        .collect();
    fields.insert("openapi".to_owned(), "3.0.3".into());
    fields.insert("servers".to_owned(), servers(root));
    fields.insert("paths".to_owned(), paths.into());
    let schemes: Map<String, Value> = members(root.get("securityDefinitions").unwrap_or(&Value::Null))
        .map(|(name, scheme)| (name.clone(), security_scheme(scheme)))
        .collect();
    fields.insert("components".to_owned(), json!({ "securitySchemes": schemes }));
    converted
}

/// What a reference points at.
fn resolved<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    for _ in 0..MOST_HOPS {
        let Some(pointer) = text(value, "$ref").and_then(|it| it.strip_prefix('#')) else { break };
        value = root.pointer(pointer).unwrap_or(&Value::Null);
    }
    value
}

fn servers(root: &Value) -> Value {
    let path = text(root, "basePath").unwrap_or_default();
    match text(root, "host").filter(|host| !host.is_empty()) {
        Some(host) => {
            let schemes: Vec<&str> = list(root.get("schemes")).iter().filter_map(Value::as_str).collect();
            let schemes = if schemes.is_empty() { vec!["http"] } else { schemes };
            schemes.into_iter().map(|scheme| json!({ "url": format!("{scheme}://{host}{path}") })).collect()
        }
        None if path.is_empty() => json!([]),
        None => json!([{ "url": path }]),
    }
}

fn path_item(root: &Value, item: &Value) -> Value {
    let (shared, shared_body) = parameters(root, item, list(root.get("consumes")));
    let mut converted = Map::new();
    for (name, value) in members(item) {
        let value = match name.as_str() {
            "parameters" => shared.clone().into(),
            "get" | "put" | "post" | "delete" | "options" | "head" | "patch" => operation(root, value, &shared_body),
            _ => value.clone(),
        };
        converted.insert(name.clone(), value);
    }
    converted.into()
}

fn operation(root: &Value, operation: &Value, shared_body: &Value) -> Value {
    let mut converted = operation.clone();
    let Some(fields) = converted.as_object_mut() else { return converted };
    let kinds = |name: &str| list(operation.get(name).or_else(|| root.get(name))).to_vec();
    let (own, body) = parameters(root, operation, &kinds("consumes"));
    fields.insert("parameters".to_owned(), own.into());
    let body = if body.is_null() { shared_body.clone() } else { body };
    if !body.is_null() {
        fields.insert("requestBody".to_owned(), body);
    }
    let produces = kinds("produces");
    let answers: Map<String, Value> = members(operation.get("responses").unwrap_or(&Value::Null))
        .map(|(status, answer)| {
            let schema = resolved(root, answer).get("schema").cloned().unwrap_or(Value::Null);
            let content: Map<String, Value> = produces
                .iter()
                .filter_map(Value::as_str)
                .map(|kind| (kind.to_owned(), json!({ "schema": schema })))
                .collect();
            (status.clone(), json!({ "content": content }))
        })
        .collect();
    fields.insert("responses".to_owned(), answers.into());
    converted
}

/// The parameters beside the body, and the body.
fn parameters(root: &Value, of: &Value, consumes: &[Value]) -> (Vec<Value>, Value) {
    let (mut beside, mut form, mut body) = (Vec::new(), Vec::new(), Value::Null);
    for parameter in list(of.get("parameters")).iter().map(|it| resolved(root, it)) {
        match text(parameter, "in") {
            Some("body") => {
                let kind = consumes
                    .iter()
                    .filter_map(Value::as_str)
                    .find(|it| it.contains("json"))
                    .or(consumes.first().and_then(Value::as_str));
                let schema = parameter.get("schema").cloned().unwrap_or_else(|| json!({}));
                body = json!({ "required": parameter.get("required"), "content": { (kind.unwrap_or("application/json")): { "schema": schema } } });
            }
            Some("formData") => form.push(parameter),
            _ => beside.push(with_schema(parameter)),
        }
    }
    if body.is_null() && !form.is_empty() {
        body = form_body(&form, consumes);
    }
    (beside, body)
}

fn form_body(form: &[&Value], consumes: &[Value]) -> Value {
    let is_upload = form.iter().any(|it| text(it, "type") == Some("file"));
    let asked = consumes.iter().filter_map(Value::as_str).find(|it| it.contains("form"));
    let kind = asked.unwrap_or(if is_upload { "multipart/form-data" } else { "application/x-www-form-urlencoded" });
    let name = |it: &&&Value| text(it, "name").map(str::to_owned);
    let properties: Map<String, Value> = form.iter().filter_map(|it| Some((name(&it)?, schema(it)))).collect();
    let required: Vec<String> =
        form.iter().filter(|it| it.get("required") == Some(&true.into())).filter_map(|it| name(&it)).collect();
    json!({ "content": { (kind): { "schema": { "type": "object", "properties": properties, "required": required } } } })
}

/// A parameter whose type stands in a schema, as OpenAPI 3 has it.
fn with_schema(parameter: &Value) -> Value {
    let rest = members(parameter).filter(|(name, _)| !OF_SCHEMA.contains(&name.as_str()));
    let mut converted: Map<String, Value> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
    converted.insert("schema".to_owned(), schema(parameter));
    if let Some(example) = parameter.get("x-example") {
        converted.insert("example".to_owned(), example.clone());
    }
    converted.into()
}

fn schema(parameter: &Value) -> Value {
    if text(parameter, "type") == Some("file") {
        return json!({ "type": "string", "format": "binary" });
    }
    let own = members(parameter).filter(|(name, _)| OF_SCHEMA.contains(&name.as_str()));
    Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn security_scheme(scheme: &Value) -> Value {
    match text(scheme, "type") {
        Some("basic") => json!({ "type": "http", "scheme": "basic" }),
        Some("oauth2") => {
            let flow = match text(scheme, "flow") {
                Some("accessCode") => "authorizationCode",
                Some("application") => "clientCredentials",
                Some(other) => other,
                None => "implicit",
            };
            json!({ "type": "oauth2", "flows": { (flow): { "tokenUrl": scheme.get("tokenUrl"), "scopes": {} } } })
        }
        _ => scheme.clone(),
    }
}
