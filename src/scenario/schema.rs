//! The JSON schema of a scenario's file, for editors: it knows every key, says what it means, and underlines what no
//! scenario may say. What only makes sense as a whole (`check`) is beyond it.
//!
//! Each struct of a scenario derives `JsonSchema`, its comments being the descriptions; here is what has a form of its own.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::route::TaskRoute;
use super::service::metrics::GaugeName;
use super::service::route::{RouteName, Values};
use super::service::url::BaseUrl;
use super::{Scenario, ServiceScenario, SessionScope, VariantName};
use crate::units::{Count, Rate, Share, Span};

/// The schema of both kinds: a scenario of a service has a `[target]`, one of the reference gateway does not.
#[must_use]
pub fn schema() -> serde_json::Value {
    // Draft 7 is what editors' TOML plug-ins read.
    let mut generator = SchemaSettings::draft07().into_generator();
    let service = generator.subschema_for::<ServiceScenario>();
    let gateway = generator.subschema_for::<Scenario>();
    let definitions = generator.take_definitions(true);
    serde_json::json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A scenario of rbac-bench",
        "description": "What `rbac-bench run` runs: an external service (with a [target]), or the reference gateway.",
        "oneOf": [service, gateway],
        "definitions": definitions,
    })
}

/// Gives a type that is written as a text its schema.
macro_rules! written_as {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

written_as!(
    Span,
    "Span",
    json_schema!({
        "type": "string",
        "pattern": r"^\s*[0-9]*\.?[0-9]+(e[0-9]+)?\s*(ms|s|m|min|h)\s*$",
        "description": "A duration: \"250ms\", \"1.5s\", \"5m\", \"1h\".",
    })
);
written_as!(
    Count,
    "Count",
    json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX, "description": "How many; at least 1." })
);
written_as!(
    Share,
    "Share",
    json_schema!({ "type": "number", "minimum": 0, "maximum": 1, "description": "A part of a whole, 0 to 1." })
);
written_as!(
    Rate,
    "Rate",
    json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": Self::MAX, "description": "So many a second." })
);
written_as!(
    BaseUrl,
    "BaseUrl",
    json_schema!({
        "type": "string",
        "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^@?#]+$",
        "description": "A URL without name, password, `?` and `#`: \"http://127.0.0.1:8000\".",
    })
);
written_as!(
    RouteName,
    "RouteName",
    json_schema!({
        "type": "string",
        "pattern": r"^(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE) /([^{} ?#]|\{[A-Za-z0-9_]+\})*( .*)?$",
        "description": "Method and path template: \"GET /reports/{id}\". What follows a second space only names it.",
    })
);
written_as!(
    GaugeName,
    "GaugeName",
    json_schema!({
        "type": "string",
        "pattern": r"^\s*[A-Za-z0-9_:.]+\s*(\{[^=]*=.*\})?\s*$",
        "description": "The name of a metric, with one label where there are several: \"pool_connections{state=\\\"used\\\"}\".",
    })
);
written_as!(
    VariantName,
    "VariantName",
    json_schema!({
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
        "description": "The name of a variant.",
    })
);
written_as!(
    TaskRoute,
    "TaskRoute",
    json_schema!({
        "enum": Self::ALL.map(Self::name),
        "description": "A route of the reference gateway.",
    })
);
written_as!(
    Values,
    "Values",
    json_schema!({
        "description": "What may stand for a parameter: a list, a range of whole numbers, or a file with a value a line.",
        "oneOf": [
            { "type": "array", "minItems": 1, "items": { "type": ["integer", "string"] } },
            {
                "type": "object",
                "required": ["from", "to"],
                "properties": { "from": { "type": "integer" }, "to": { "type": "integer" } },
                "additionalProperties": false,
            },
            {
                "type": "object",
                "required": ["file"],
                "properties": { "file": { "type": "string" } },
                "additionalProperties": false,
            },
        ],
    })
);

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is asked for")]
pub(super) enum OneOrMore<T> {
    /// One.
    One(T),
    /// Several.
    More(Vec<T>),
}

/// The session scopes that are run: one, several, or `both`.
pub(super) struct Variants;

impl JsonSchema for Variants {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Variants")
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scope = generator.subschema_for::<SessionScope>();
        json_schema!({ "anyOf": [scope, { "const": "both" }, { "type": "array", "minItems": 1, "items": scope }] })
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
