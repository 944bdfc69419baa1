//! What an entity can be made of: the bodies of `POST /tools`, `PUT /tools/{id}` and the like.
//!
//! Each kind has one set of fields, all optional: what a new entity must have is asked for when it is made, and what an
//! update does not name stays as it is. Keys are ContextForge's, in camel or in snake case. The fields end as a JSON
//! object by column, which PostgreSQL puts into the row.

use garde::Validate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::checks::{LONGEST_ADDRESS, one_of, plain, printable, slug, web_address};
use super::template;
use crate::error::GatewayError;

/// Values by column.
pub type Columns = Map<String, Value>;

const LONGEST_NAME: usize = 255;
const LONGEST_TEXT: usize = 8192;
const LARGEST_CONTENT: usize = 1024 * 1024;
const MOST_TAGS: usize = 50;
const MOST_ASSOCIATED: usize = 500;

/// The body of a kind.
pub trait Fields: DeserializeOwned + Validate<Context = ()> + ToSchema + Send + Sync {
    /// What all kinds have.
    fn shared(&self) -> &Shared;

    /// Columns of a new entity that never change afterwards.
    fn fixed(&self) -> Columns {
        Columns::new()
    }

    /// The columns that the body names.
    ///
    /// # Errors
    /// [`GatewayError::Invalid`] for what only shows when it is tried, such as a template.
    fn columns(&self) -> Result<Columns, GatewayError>;

    /// Columns that a new entity has unless its body says otherwise; null where it must say.
    fn defaults() -> Value;

    /// Ids of what a server offers: its tools, resources, prompts.
    fn associated(&self) -> [Option<&[String]>; 3] {
        [None; 3]
    }
}

/// What all kinds have.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shared {
    /// What it is for.
    #[garde(length(bytes, max = LONGEST_TEXT))]
    pub description: Option<String>,
    /// Words to find it by.
    #[garde(length(max = MOST_TAGS), inner(inner(length(bytes, min = 1, max = LONGEST_NAME))))]
    pub tags: Option<Vec<String>>,
    /// Who sees it: `public` (everybody), `team`, `private` (its owner).
    #[garde(custom(one_of(&["public", "team", "private"])))]
    pub visibility: Option<String>,
    /// The team that it belongs to.
    #[serde(alias = "team_id")]
    #[garde(length(bytes, max = LONGEST_NAME))]
    pub team_id: Option<String>,
}

/// A tool's fields.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolFields {
    /// Its name: letters, digits, `_`, `.`, `/` and `-`.
    #[garde(length(bytes, min = 1, max = LONGEST_NAME), pattern(r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$"))]
    pub name: Option<String>,
    /// Where it is called.
    #[garde(custom(web_address))]
    pub url: Option<String>,
    /// `REST`: tools of MCP servers come from there, and not from a request.
    #[serde(alias = "integration_type")]
    #[garde(custom(one_of(&["REST"])))]
    pub integration_type: Option<String>,
    /// How it is called.
    #[serde(alias = "request_type")]
    #[garde(custom(one_of(&["GET", "POST", "PUT", "DELETE", "PATCH", "SSE", "STDIO", "STREAMABLEHTTP"])))]
    pub request_type: Option<String>,
    /// Headers that go with each call.
    #[garde(skip)]
    #[schema(value_type = Option<Object>)]
    pub headers: Option<Map<String, Value>>,
    /// JSON schema of its arguments.
    #[serde(alias = "input_schema")]
    #[garde(skip)]
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Map<String, Value>>,
    /// JSON schema of its results.
    #[serde(alias = "output_schema")]
    #[garde(skip)]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Map<String, Value>>,
    /// Hints for clients.
    #[garde(skip)]
    #[schema(value_type = Option<Object>)]
    pub annotations: Option<Map<String, Value>>,
    /// What all kinds have.
    #[serde(flatten)]
    #[garde(dive)]
    pub shared: Shared,
}

/// A virtual server's fields.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerFields {
    /// Its name.
    #[garde(length(bytes, min = 1, max = LONGEST_NAME), custom(plain))]
    pub name: Option<String>,
    /// Address of its picture.
    #[garde(custom(web_address))]
    pub icon: Option<String>,
    /// Ids of the tools that it offers.
    #[serde(alias = "associated_tools")]
    #[garde(length(max = MOST_ASSOCIATED))]
    pub associated_tools: Option<Vec<String>>,
    /// Ids of the resources that it offers.
    #[serde(alias = "associated_resources")]
    #[garde(length(max = MOST_ASSOCIATED))]
    pub associated_resources: Option<Vec<String>>,
    /// Ids of the prompts that it offers.
    #[serde(alias = "associated_prompts")]
    #[garde(length(max = MOST_ASSOCIATED))]
    pub associated_prompts: Option<Vec<String>>,
    /// What all kinds have.
    #[serde(flatten)]
    #[garde(dive)]
    pub shared: Shared,
}

/// A resource's fields.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFields {
    /// What it is read by.
    #[garde(length(bytes, min = 1, max = LONGEST_ADDRESS), custom(printable))]
    pub uri: Option<String>,
    /// Its name.
    #[garde(length(bytes, min = 1, max = LONGEST_NAME), custom(plain))]
    pub name: Option<String>,
    /// What kind of text it is.
    #[serde(alias = "mime_type")]
    #[garde(length(bytes, max = LONGEST_NAME), pattern(r"^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+$"))]
    pub mime_type: Option<String>,
    /// The text.
    #[garde(length(bytes, max = LARGEST_CONTENT))]
    pub content: Option<String>,
    /// What all kinds have.
    #[serde(flatten)]
    #[garde(dive)]
    pub shared: Shared,
}

/// A prompt's fields.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromptFields {
    /// Its name.
    #[garde(length(bytes, min = 1, max = LONGEST_NAME), custom(plain))]
    pub name: Option<String>,
    /// The text, with `{{ argument }}` where an argument goes.
    #[garde(length(bytes, min = 1, max = LONGEST_TEXT))]
    pub template: Option<String>,
    /// What the template asks for.
    #[garde(length(max = MOST_TAGS), dive)]
    pub arguments: Option<Vec<PromptArgument>>,
    /// What all kinds have.
    #[serde(flatten)]
    #[garde(dive)]
    pub shared: Shared,
}

/// What a template asks for.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
pub struct PromptArgument {
    /// Its name in the template.
    #[garde(length(bytes, min = 1, max = LONGEST_NAME), pattern(r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    #[garde(length(bytes, max = LONGEST_TEXT))]
    pub description: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    #[garde(skip)]
    pub required: bool,
}

/// The fields of an MCP server behind the gateway.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayFields {
    /// Its name.
    #[garde(length(bytes, min = 1, max = LONGEST_NAME), custom(plain))]
    pub name: Option<String>,
    /// Where it is.
    #[garde(custom(web_address))]
    pub url: Option<String>,
    /// How it is spoken to.
    #[garde(custom(one_of(&["SSE", "HTTP", "STREAMABLEHTTP"])))]
    pub transport: Option<String>,
    /// What all kinds have.
    #[serde(flatten)]
    #[garde(dive)]
    pub shared: Shared,
}

impl Fields for ToolFields {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn columns(&self) -> Result<Columns, GatewayError> {
        let slug = self.name.as_deref().map(slug);
        Ok(named([
            ("name", json!(self.name)),
            ("custom_name", json!(self.name)),
            ("custom_name_slug", json!(slug)),
            ("url", json!(self.url)),
            ("integration_type", json!(self.integration_type)),
            ("request_type", json!(self.request_type)),
            ("headers", json!(self.headers)),
            ("input_schema", json!(self.input_schema)),
            ("output_schema", json!(self.output_schema)),
            ("annotations", json!(self.annotations)),
        ]))
    }

    /// A tool is known by its name here; its server knows it by its first one.
    fn fixed(&self) -> Columns {
        named([("original_name", json!(self.name))])
    }

    fn defaults() -> Value {
        json!({ "name": null, "url": null, "integration_type": "REST", "request_type": "SSE", "annotations": {},
            "input_schema": { "type": "object", "properties": {} } })
    }
}

impl Fields for ServerFields {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn columns(&self) -> Result<Columns, GatewayError> {
        Ok(named([("name", json!(self.name)), ("icon", json!(self.icon))]))
    }

    fn defaults() -> Value {
        json!({ "name": null })
    }

    fn associated(&self) -> [Option<&[String]>; 3] {
        [&self.associated_tools, &self.associated_resources, &self.associated_prompts].map(Option::as_deref)
    }
}

impl Fields for ResourceFields {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn columns(&self) -> Result<Columns, GatewayError> {
        Ok(named([
            ("uri", json!(self.uri)),
            ("name", json!(self.name)),
            ("mime_type", json!(self.mime_type)),
            ("text_content", json!(self.content)),
            ("size", json!(self.content.as_ref().map(String::len))),
        ]))
    }

    fn defaults() -> Value {
        json!({ "uri": null, "name": null, "text_content": null, "mime_type": "text/plain" })
    }
}

impl Fields for PromptFields {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn columns(&self) -> Result<Columns, GatewayError> {
        if let Some(text) = &self.template {
            template::check(text)?;
        }
        let schema = self.arguments.as_deref().map(argument_schema);
        Ok(named([("name", json!(self.name)), ("template", json!(self.template)), ("argument_schema", json!(schema))]))
    }

    fn defaults() -> Value {
        json!({ "name": null, "template": null, "argument_schema": argument_schema(&[]) })
    }
}

impl Fields for GatewayFields {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn columns(&self) -> Result<Columns, GatewayError> {
        let slug = self.name.as_deref().map(slug);
        Ok(named([
            ("name", json!(self.name)),
            ("slug", json!(slug)),
            ("url", json!(self.url)),
            ("transport", json!(self.transport)),
        ]))
    }

    fn defaults() -> Value {
        // Reachable is what was reached, and this gateway asks nobody but the service that it was started with.
        json!({ "name": null, "url": null, "transport": "SSE", "capabilities": {}, "reachable": false })
    }
}

/// Those columns that have a value.
fn named<const N: usize>(columns: [(&str, Value); N]) -> Columns {
    let given = columns.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(column, value)| (column.to_owned(), value)).collect()
}

fn argument_schema(arguments: &[PromptArgument]) -> Value {
    let property = |argument: &PromptArgument| {
        (argument.name.clone(), json!({ "type": "string", "description": argument.description }))
    };
    let properties: Map<String, Value> = arguments.iter().map(property).collect();
    let required: Vec<&str> = arguments.iter().filter(|it| it.required).map(|it| it.name.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(body: Value) -> Result<ToolFields, String> {
        let fields: ToolFields = serde_json::from_value(body).map_err(|error| error.to_string())?;
        fields.validate().map_err(|report| report.to_string())?;
        Ok(fields)
    }

    #[test]
    fn keys_come_in_camel_and_in_snake_case() {
        for key in ["integrationType", "integration_type"] {
            let fields = tool(json!({ "name": "a", key: "REST", "description": "d" })).unwrap();
            assert_eq!(fields.integration_type.as_deref(), Some("REST"));
            assert_eq!(fields.shared.description.as_deref(), Some("d"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        for (body, wanted) in [
            (json!({ "name": "a b" }), "name"),
            (json!({ "name": "" }), "name"),
            (json!({ "url": "file:///etc/passwd" }), "http"),
            (json!({ "url": "no address" }), "url"),
            (json!({ "requestType": "BREW" }), "PATCH"),
            (json!({ "visibility": "secret" }), "private"),
            (json!({ "tags": [""] }), "tags"),
            (json!({ "description": "x".repeat(9000) }), "description"),
        ] {
            let error = tool(body.clone()).unwrap_err();
            assert!(error.contains(wanted), "{body}: {error}");
        }
    }

    #[test]
    fn what_an_update_does_not_name_is_no_column() {
        let fields = tool(json!({ "url": "http://127.0.0.1:9/" })).unwrap();
        assert_eq!(Value::from(fields.columns().unwrap()), json!({ "url": "http://127.0.0.1:9/" }));
    }
}
