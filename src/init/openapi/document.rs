//! An OpenAPI document as a tree, walked leniently: what is not as it should be is as if it were not there.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::tree::list;
use crate::init::{InitError, short};

/// References that are followed from one place; more is a circle.
const MOST_HOPS: usize = 16;

/// Deepest nesting of schemas.
const DEEPEST: usize = 8;

static NOTHING: Value = Value::Null;

#[derive(Debug)]
pub(super) struct OpenApiDocument {
    pub(super) root: Value,
    /// `3.0.3`.
    pub(super) version: String,
}

impl OpenApiDocument {
    /// Reads JSON or YAML.
    pub(super) fn read(text: &str, origin: &str) -> Result<Self, InitError> {
        let no_document = |reason: String| InitError::NoDocument { origin: origin.to_owned(), reason };
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let root: Value = match text.chars().next() {
            None => return Err(no_document("it is empty".to_owned())),
            Some('<') => return Err(no_document("it is a page of HTML or XML".to_owned())),
            Some('{') => serde_json::from_str(text).map_err(|error| no_document(short(&error.to_string())))?,
            Some(_) => serde_saphyr::from_str(text).map_err(|error| no_document(short(&error.to_string())))?,
        };
        let version = root.get("openapi").map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        match version {
            Some(version) if version.starts_with("3.") => Ok(Self { root, version }),
            Some(seen) => {
                Err(InitError::Version { origin: origin.to_owned(), seen: format!("`openapi: {}`", short(&seen)) })
            }
            None if root.get("swagger").is_some() => {
                let version = "2.0, as Swagger".to_owned();
                Ok(Self { root: super::swagger2::converted(&root), version })
            }
            None => Err(no_document("it has no `openapi` at its top".to_owned())),
        }
    }

    /// Target of a `$ref`; nothing, when it points out of the document or in a circle.
    pub(super) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let mut value = value;
        for _ in 0..MOST_HOPS {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            let Some(pointer) = reference.strip_prefix('#') else { return &NOTHING };
            let pointer = percent_decode_str(pointer).decode_utf8_lossy();
            value = self.root.pointer(&pointer).unwrap_or(&NOTHING);
        }
        &NOTHING
    }

    /// The member of this name, resolved.
    pub(super) fn get<'a>(&'a self, value: &'a Value, name: &str) -> &'a Value {
        value.get(name).map_or(&NOTHING, |inner| self.resolve(inner))
    }

    /// A schema with everything that it is made of: `allOf` merged, of `anyOf` and `oneOf` the first that is not `null`.
    pub(super) fn flat(&self, schema: &Value, budget: &mut Budget) -> Map<String, Value> {
        self.flat_within(schema, DEEPEST, budget)
    }

    fn flat_within(&self, schema: &Value, depth: usize, budget: &mut Budget) -> Map<String, Value> {
        if depth == 0 || !budget.spend() {
            return Map::new();
        }
        let Value::Object(resolved) = self.resolve(schema) else { return Map::new() };
        let mut flat = Map::new();
        for part in list(resolved.get("allOf")) {
            merge(&mut flat, self.flat_within(part, depth - 1, budget));
        }
        for choice in ["anyOf", "oneOf"] {
            let chosen =
                list(resolved.get(choice)).iter().find(|it| self.resolve(it).get("type") != Some(&"null".into()));
            if let Some(chosen) = chosen {
                merge(&mut flat, self.flat_within(chosen, depth - 1, budget));
            }
        }
        let own = resolved.iter().filter(|(name, _)| !["allOf", "anyOf", "oneOf"].contains(&name.as_str()));
        merge(&mut flat, own.map(|(name, value)| (name.clone(), value.clone())).collect());
        // What stands beside a reference goes with it (3.1).
        if let Some(beside) = schema.as_object().filter(|it| it.contains_key("$ref")) {
            let beside = beside.iter().filter(|(name, _)| *name != "$ref");
            merge(&mut flat, beside.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        flat
    }
}

/// Limit on the work for one request: a document may describe a body that fills the disk.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn new() -> Self {
        Self(2_000)
    }

    /// True if there was some left.
    pub(super) const fn spend(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

/// The later one's members win; properties and required names are put together.
fn merge(flat: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (name.as_str(), flat.get_mut(&name), value) {
            ("properties", Some(Value::Object(known)), Value::Object(new)) => known.extend(new),
            ("required", Some(Value::Array(known)), Value::Array(new)) => known.extend(new),
            (_, _, value) => {
                flat.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> OpenApiDocument {
        OpenApiDocument::read(text, "a").unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn references_are_followed_inside_the_document_and_not_in_circles() {
        let document = document(
            r##"{"openapi": "3.1.0", "a~b/c": {"x": 1}, "to": {"$ref": "#/a~0b~1c"}, "round": {"$ref": "#/round"},
                "out": {"$ref": "other.yaml#/a"}, "gone": {"$ref": "#/nowhere"}}"##,
        );
        let at = |name: &str| document.get(&document.root, name);
        assert_eq!(at("to")["x"], 1);
        for name in ["round", "out", "gone", "absent"] {
            assert!(at(name).is_null(), "{name}");
        }
    }

    #[test]
    fn schemas_of_schemas_are_put_together() {
        let document = document(
            r##"{"openapi": "3.0.0", "base": {"properties": {"a": {}}, "required": ["a"]},
                "all": {"allOf": [{"$ref": "#/base"}, {"properties": {"b": {}}, "required": ["b"]}]},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "integer"}], "title": "T"},
                "endless": {"allOf": [{"$ref": "#/endless"}, {"$ref": "#/endless"}, {"$ref": "#/endless"}]}}"##,
        );
        let flat = |name: &str| document.flat(&document.root[name], &mut Budget::new());
        assert_eq!(flat("all")["required"], serde_json::json!(["a", "b"]));
        assert_eq!(flat("all")["properties"], serde_json::json!({"a": {}, "b": {}}));
        assert_eq!((&flat("maybe")["type"], &flat("maybe")["title"]), (&"integer".into(), &"T".into()));
        assert!(flat("endless").is_empty());
    }

    #[test]
    fn what_is_no_document_is_distinguished() {
        for (text, reported) in [
            ("", "it is empty"),
            ("<html>", "a page of HTML"),
            ("{", "EOF while parsing"),
            ("a: [", "is not an OpenAPI document"),
            ("{}", "has no `openapi`"),
            ("openapi: 4.0.0", "says `openapi: 4.0.0`: expected OpenAPI 3 or Swagger 2.0"),
            ("just words", "has no `openapi`"),
        ] {
            let error = OpenApiDocument::read(text, "`x`").expect_err(text).to_string();
            assert!(error.contains(reported), "{text}: {error}");
        }
    }

    #[test]
    fn yaml_is_read_with_its_anchors_and_numbers_as_names() {
        let yaml = "openapi: 3.0.3\nx: &it {type: string}\ny: *it\nresponses:\n  200: {description: ok}\nno: \"no\"\n";
        let document = document(yaml);
        assert_eq!(document.root["y"]["type"], "string");
        assert_eq!(document.root["responses"]["200"]["description"], "ok");
    }
}
