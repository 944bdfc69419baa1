//! The body of a request, in the forms that a scenario has for it.

use serde_json::Value as Json;

/// Format of a request's body.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyFormat {
    /// A value, as JSON.
    Json(Json),
    /// A text of a type.
    Text {
        text: String,
        /// Its `Content-Type`.
        content_type: String,
    },
}

impl BodyFormat {
    /// A JSON body, in a form that TOML can hold: it has no `null` and no number above 2⁶³.
    pub(super) fn of_json(value: Json) -> Self {
        let value = without_null_members(value);
        if fits_toml(&value) {
            return Self::Json(value);
        }
        Self::Text { text: value.to_string(), content_type: "application/json".to_owned() }
    }
}

/// A member that is `null` says no more than one that is not there.
fn without_null_members(value: Json) -> Json {
    match value {
        Json::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(members.map(|(name, value)| (name, without_null_members(value))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(without_null_members).collect()),
        other => other,
    }
}

fn fits_toml(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Number(number) => number.is_i64() || number.is_f64(),
        Json::Array(items) => items.iter().all(fits_toml),
        Json::Object(members) => members.values().all(fits_toml),
        Json::Bool(_) | Json::String(_) => true,
    }
}

/// A value of JSON as TOML; `None` where TOML has none.
pub(super) fn as_toml(value: &Json) -> Option<toml_edit::Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(it) => (*it).into(),
        Json::String(it) => it.as_str().into(),
        Json::Number(it) => match it.as_i64() {
            Some(whole) => whole.into(),
            None => it.as_f64()?.into(),
        },
        Json::Array(items) => items.iter().map(as_toml).collect::<Option<toml_edit::Array>>()?.into(),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| Some((name.as_str(), as_toml(value)?)));
            members.collect::<Option<toml_edit::InlineTable>>()?.into()
        }
    })
}
