//! Values from schemas: what is given as an example first, then what the form allows. What only the service knows
//! (which ids exist) is not made up.

use serde_json::{Map, Value};

use super::document::{Budget, OpenApiDocument};
use super::tree::{list, members};
use crate::init::{short, todo, todo_values};
use crate::scenario::service::{Scalar, Values};

/// Place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValuePlace {
    /// In the path, where it mostly names a thing that must exist.
    Path,
    /// In the query or a header.
    Beside,
}

/// Values for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Guess {
    /// From the document's examples, defaults or names.
    Given(Values),
    /// Made up so that the schema allows it.
    MadeUp(Values),
    /// Nobody knows; what is wanted, in words.
    Unknown(Values),
}

/// Values for a parameter, or a header.
pub(super) fn values(document: &OpenApiDocument, parameter: &Value, name: &str, place: ValuePlace) -> Guess {
    let content = members(document.get(parameter, "content")).next().map(|(_, content)| content);
    let schema = document
        .flat(parameter.get("schema").or_else(|| content?.get("schema")).unwrap_or(&Value::Null), &mut Budget::new());
    let mut examples = examples(document, parameter);
    examples.extend(content.into_iter().flat_map(|content| self::examples(document, content)));
    given(&examples)
        .or_else(|| of_schema(document, &schema, name, place))
        .unwrap_or_else(|| Guess::Unknown(todo_values(&wanted(document, parameter, &schema, name, place))))
}

fn given(values: &[Value]) -> Option<Guess> {
    let values: Vec<Scalar> = values.iter().filter_map(scalar).collect();
    (!values.is_empty()).then_some(Guess::Given(Values::List(values)))
}

fn of_schema(document: &OpenApiDocument, schema: &Map<String, Value>, name: &str, place: ValuePlace) -> Option<Guess> {
    given(&examples_of_schema(schema))
        .or_else(|| given(&schema.get("default").cloned().into_iter().collect::<Vec<_>>()))
        .or_else(|| given(&list(schema.get("enum")).iter().chain(schema.get("const")).cloned().collect::<Vec<_>>()))
        .or_else(|| by_form(document, schema, name, place))
}

/// In words: "id (integer), values that exist".
fn wanted(
    document: &OpenApiDocument,
    parameter: &Value,
    schema: &Map<String, Value>,
    name: &str,
    place: ValuePlace,
) -> String {
    let described = document.get(parameter, "description").as_str().or_else(|| schema.get("description")?.as_str());
    let kind = match (type_of(schema), schema.get("format").and_then(Value::as_str)) {
        (_, Some(format)) => format,
        (Some(kind), None) => kind,
        (None, None) => "text",
    };
    let exist = if place == ValuePlace::Path { ", values that exist" } else { "" };
    match described.map(short).filter(|text| !text.is_empty()) {
        Some(text) => format!("{name} ({kind}){exist}: {text}"),
        None => format!("{name} ({kind}){exist}"),
    }
}

/// `example`, and the values of `examples`.
fn examples(document: &OpenApiDocument, holder: &Value) -> Vec<Value> {
    let named =
        members(document.get(holder, "examples")).map(|(_, example)| document.get(document.resolve(example), "value"));
    holder.get("example").into_iter().chain(named).filter(|it| !it.is_null()).cloned().collect()
}

fn examples_of_schema(schema: &Map<String, Value>) -> Vec<Value> {
    let given = schema.get("example").into_iter().chain(list(schema.get("examples")));
    given.filter(|it| !it.is_null()).cloned().collect()
}

/// A value that can stand in a path; of a list the first.
fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::Number(number) => Some(number.as_i64().map_or_else(|| Scalar::Text(number.to_string()), Scalar::Number)),
        Value::String(text) => Some(Scalar::Text(text.clone())),
        Value::Bool(yes) => Some(Scalar::Text(yes.to_string())),
        Value::Array(items) => items.first().and_then(scalar),
        Value::Null | Value::Object(_) => None,
    }
}

/// `type`, or of several the first that is not `null` (3.1).
pub(super) fn type_of(schema: &Map<String, Value>) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn by_form(document: &OpenApiDocument, schema: &Map<String, Value>, name: &str, place: ValuePlace) -> Option<Guess> {
    let exists = place == ValuePlace::Path || names_a_thing(name);
    match type_of(schema)? {
        "integer" => match bounds(schema) {
            (Some(from), Some(to)) if from <= to => Some(Guess::MadeUp(Values::Range { from, to })),
            _ if exists => None,
            (from, to) => Some(Guess::MadeUp(Values::List(vec![Scalar::Number(within(from, to))]))),
        },
        "number" if !exists => {
            let (from, to) = bounds(schema);
            Some(Guess::MadeUp(Values::List(vec![Scalar::Number(within(from, to))])))
        }
        "boolean" => Some(Guess::MadeUp(Values::List(["true", "false"].map(|it| Scalar::Text(it.to_owned())).into()))),
        "array" => of_schema(document, &document.flat(schema.get("items")?, &mut Budget::new()), name, place),
        "string" => {
            let format = schema.get("format")?.as_str()?;
            // A made-up UUID names nothing; a day is there every year.
            let made_up = if exists && format == "uuid" { None } else { of_format(format) };
            made_up.map(|text| Guess::MadeUp(Values::List(vec![Scalar::Text(text.to_owned())])))
        }
        _ => None,
    }
}

/// True if a value of this name mostly has to exist: `id`, `user_id`, `orderId`.
fn names_a_thing(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["id", "uuid", "guid"].contains(&lower.as_str())
        || ["_id", "-id", "_uuid", "_ids"].iter().any(|end| lower.ends_with(end))
        || name.ends_with("Id")
        || name.ends_with("ID")
}

/// A text of a format, where any does.
fn of_format(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => "2026-01-15",
        "date-time" => "2026-01-15T12:00:00Z",
        "time" => "12:00:00Z",
        "duration" => "PT1H",
        "uuid" => "00000000-0000-4000-8000-000000000001",
        "email" | "idn-email" => "user@example.com",
        "ipv4" => "127.0.0.1",
        "ipv6" => "::1",
        _ => return None,
    })
}

/// The least and the most, of whole numbers.
fn bounds(schema: &Map<String, Value>) -> (Option<i64>, Option<i64>) {
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    // 3.0 says whether the limit itself is allowed, 3.1 gives another limit.
    let exclusive = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let lowest = number("minimum").map(|it| if exclusive("exclusiveMinimum") { it.floor() + 1.0 } else { it.ceil() });
    let highest = number("maximum").map(|it| if exclusive("exclusiveMaximum") { it.ceil() - 1.0 } else { it.floor() });
    let lowest = lowest.or_else(|| number("exclusiveMinimum").map(|it| it.floor() + 1.0));
    let highest = highest.or_else(|| number("exclusiveMaximum").map(|it| it.ceil() - 1.0));
    #[expect(clippy::cast_possible_truncation, reason = "what is too large becomes the largest")]
    let whole = |number: f64| number as i64;
    (lowest.map(whole), highest.map(whole))
}

/// A plain number between the two.
fn within(from: Option<i64>, to: Option<i64>) -> i64 {
    let least = from.unwrap_or(1);
    least.min(to.unwrap_or(least)).max(from.unwrap_or(i64::MIN))
}

/// A body of this schema. What is not known is marked where it stands.
pub(super) fn body(document: &OpenApiDocument, media: &Value) -> Value {
    let given = examples(document, media).into_iter().next();
    given.unwrap_or_else(|| {
        let mut sampling = Sampling { document, budget: Budget::new(), above: Vec::new() };
        sampling.sample(media.get("schema").unwrap_or(&Value::Null), "body", DEEPEST)
    })
}

const DEEPEST: usize = 8;

/// What a schema refers to, by itself or as its only part.
fn reference(schema: &Value) -> Option<&str> {
    let own = schema.get("$ref").and_then(Value::as_str);
    let of_parts = || {
        let mut parts = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|name| list(schema.get(name)));
        parts.find_map(|part| part.get("$ref")?.as_str())
    };
    own.or_else(of_parts)
}

/// A value that is being made up.
struct Sampling<'a> {
    document: &'a OpenApiDocument,
    budget: Budget,
    /// References within which it is: one that comes again is a circle.
    above: Vec<String>,
}

impl Sampling<'_> {
    fn sample(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let Some(reference) = reference(schema).map(str::to_owned) else { return self.inner(schema, name, depth) };
        if self.above.contains(&reference) {
            return self.round(schema, name);
        }
        self.above.push(reference);
        let value = self.inner(schema, name, depth);
        self.above.pop();
        value
    }

    /// What ends a circle: nothing, where that is allowed.
    fn round(&mut self, schema: &Value, name: &str) -> Value {
        let flat = self.document.flat(schema, &mut self.budget);
        let is_null = |it: &Value| it == "null" || it.get("type") == Some(&"null".into());
        let choices = ["anyOf", "oneOf"].into_iter().flat_map(|name| list(schema.get(name)));
        let nullable = flat.get("nullable") == Some(&Value::Bool(true))
            || list(flat.get("type")).iter().chain(choices).any(is_null);
        if nullable { Value::Null } else { Value::String(todo(&format!("{name}, which has itself in it"))) }
    }

    fn inner(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let schema = self.document.flat(schema, &mut self.budget);
        let given = examples_of_schema(&schema).into_iter().next();
        let given = given.or_else(|| schema.get("default").filter(|it| !it.is_null()).cloned());
        let given = given.or_else(|| schema.get("const").or_else(|| list(schema.get("enum")).first()).cloned());
        if let Some(given) = given {
            return given;
        }
        let unknown = || {
            let what = schema.get("description").and_then(Value::as_str).map(short);
            let kind = schema.get("format").and_then(Value::as_str).or_else(|| type_of(&schema)).unwrap_or("value");
            Value::String(todo(
                &what.map_or_else(|| format!("{name} ({kind})"), |what| format!("{name} ({kind}): {what}")),
            ))
        };
        if depth == 0 || !self.budget.spend() {
            return unknown();
        }
        let kind = type_of(&schema).or_else(|| schema.contains_key("properties").then_some("object"));
        match kind {
            Some("object") => self.object(&schema, depth),
            Some("array") => self.array(&schema, name, depth),
            Some("boolean") => Value::Bool(false),
            Some("integer" | "number") if !names_a_thing(name) => whole_number(&schema).into(),
            Some("string") if !names_a_thing(name) => {
                let made_up = schema.get("format").and_then(Value::as_str).and_then(of_format);
                made_up.map_or_else(unknown, Value::from)
            }
            _ => unknown(),
        }
    }

    /// One item; none, where the item has the list in it.
    fn array(&mut self, schema: &Map<String, Value>, name: &str, depth: usize) -> Value {
        let items = schema
            .get("items")
            .filter(|items| reference(items).is_none_or(|reference| self.above.iter().all(|above| above != reference)));
        let item = items.map(|items| self.sample(items, name, depth - 1));
        Value::Array(item.into_iter().collect())
    }

    /// Required members of a schema, and nothing else.
    fn object(&mut self, schema: &Map<String, Value>, depth: usize) -> Value {
        let required: Vec<&str> = list(schema.get("required")).iter().filter_map(Value::as_str).collect();
        let properties = schema.get("properties").unwrap_or(&Value::Null);
        let document = self.document;
        let wanted = members(properties).filter(|(name, _)| required.contains(&name.as_str()));
        let wanted = wanted.filter(|(_, inner)| document.get(inner, "readOnly") != &Value::Bool(true));
        wanted.map(|(name, inner)| (name.clone(), self.sample(inner, name, depth - 1))).collect()
    }
}

fn whole_number(schema: &Map<String, Value>) -> i64 {
    let (from, to) = bounds(schema);
    let step = schema.get("multipleOf").and_then(Value::as_i64).filter(|step| *step > 0);
    match step {
        Some(step) => within(from, to).checked_add(step - 1).map_or(step, |it| it / step * step),
        None => within(from, to),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn guess(parameter: &Value, name: &str, place: ValuePlace) -> Guess {
        let document = OpenApiDocument { root: json!({}), version: "3.1.0".to_owned() };
        values(&document, parameter, name, place)
    }

    fn numbers(numbers: &[i64]) -> Values {
        Values::List(numbers.iter().copied().map(Scalar::Number).collect())
    }

    fn texts(texts: &[&str]) -> Values {
        Values::List(texts.iter().map(|text| Scalar::Text((*text).to_owned())).collect())
    }

    #[test]
    fn examples_come_before_defaults_before_names_before_forms() {
        use ValuePlace::{Beside, Path};
        let given = |values| Guess::Given(values);
        let made_up = |values| Guess::MadeUp(values);
        for (parameter, name, place, expected) in [
            (json!({"example": 7, "schema": {"type": "integer", "default": 8}}), "id", Path, given(numbers(&[7]))),
            (json!({"examples": {"a": {"value": "x"}, "b": {"value": "y"}}}), "id", Path, given(texts(&["x", "y"]))),
            (json!({"schema": {"examples": [1, 2]}}), "id", Path, given(numbers(&[1, 2]))),
            (json!({"schema": {"default": true}}), "full", Beside, given(texts(&["true"]))),
            (json!({"schema": {"enum": ["a", null, "b"]}}), "sort", Beside, given(texts(&["a", "b"]))),
            (json!({"schema": {"const": 3}}), "v", Beside, given(numbers(&[3]))),
            (
                json!({"schema": {"type": "integer", "minimum": 1, "maximum": 9}}),
                "id",
                Path,
                made_up(Values::Range { from: 1, to: 9 }),
            ),
            (
                json!({"schema": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9}}),
                "id",
                Path,
                made_up(Values::Range { from: 1, to: 9 }),
            ),
            (
                json!({"schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}),
                "page",
                Beside,
                made_up(numbers(&[1])),
            ),
            (
                json!({"schema": {"type": ["null", "string"], "format": "date"}}),
                "day",
                Path,
                made_up(texts(&["2026-01-15"])),
            ),
            (json!({"schema": {"type": "boolean"}}), "full", Path, made_up(texts(&["true", "false"]))),
            (json!({"schema": {"type": "array", "items": {"enum": ["x"]}}}), "tags", Beside, given(texts(&["x"]))),
            (
                json!({"schema": {"type": "array", "items": {"type": "integer"}}}),
                "sizes",
                Beside,
                made_up(numbers(&[1])),
            ),
            (
                json!({"content": {"application/json": {"schema": {"type": "integer"}, "example": 5}}}),
                "n",
                Beside,
                given(numbers(&[5])),
            ),
        ] {
            assert_eq!(guess(&parameter, name, place), expected, "{parameter}");
        }
    }

    #[test]
    fn ids_and_words_are_not_made_up() {
        for (schema, name, place) in [
            (json!({"type": "integer"}), "id", ValuePlace::Path),
            (json!({"type": "integer", "minimum": 1}), "id", ValuePlace::Path),
            (json!({"type": "string", "format": "uuid"}), "order", ValuePlace::Path),
            (json!({"type": "string", "format": "uuid"}), "user_id", ValuePlace::Beside),
            (json!({"type": "integer"}), "userId", ValuePlace::Beside),
            (json!({"type": "string"}), "q", ValuePlace::Beside),
            (json!({}), "anything", ValuePlace::Beside),
        ] {
            let guess = guess(&json!({"schema": schema}), name, place);
            assert!(matches!(guess, Guess::Unknown(_)), "{schema}: {guess:?}");
        }
    }

    #[test]
    fn a_body_has_what_is_required_and_marks_what_is_not_known() {
        let root = json!({"openapi": "3.1.0", "Order": {"type": "object", "required": ["article", "count", "day", "self", "owner_id", "id"],
            "properties": {"article": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "multipleOf": 5}, "note": {"type": "string"},
                "day": {"type": "string", "format": "date"}, "self": {"anyOf": [{"type": "null"}, {"$ref": "#/Small"}]},
                "owner_id": {"type": "integer"}, "id": {"type": "integer", "readOnly": true}}},
            "Small": {"required": ["ok", "lines"], "properties": {"ok": {"type": "boolean"}, "lines": {"type": "array", "items": {"enum": ["x"]}}}}});
        let document = OpenApiDocument { root, version: "3.1.0".to_owned() };
        let body = body(&document, &json!({"schema": {"$ref": "#/Order"}}));
        let expected = json!({"article": "TODO: article (string)", "count": 5, "day": "2026-01-15",
            "self": {"ok": false, "lines": ["x"]}, "owner_id": "TODO: owner_id (integer)"});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_schema_without_an_end_ends() {
        let root = json!({"openapi": "3.1.0", "Tree": {"type": "object", "required": ["a", "b", "c"], "properties": {
            "a": {"$ref": "#/Tree"}, "b": {"$ref": "#/Tree"}, "c": {"$ref": "#/Tree"}}}});
        let document = OpenApiDocument { root, version: "3.1.0".to_owned() };
        let body = body(&document, &json!({"schema": {"$ref": "#/Tree"}}));
        assert!(body.to_string().len() < 200_000, "{}", body.to_string().len());
    }
}
