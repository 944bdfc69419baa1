//! `GET /openapi.json`: the routes as a document of `OpenAPI` 3.1, made from the table that serves them.

use std::sync::LazyLock;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, RefOr, Required,
    ResponseBuilder, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::entities::kind::Entity;
use super::entities::{Gateways, Prompts, Resources, Servers, Tools};
use super::{Route, table};
use crate::rbac::Guard;

/// Name of the way to say who one is.
const BEARER: &str = "bearer";

/// A schema and its name.
type Named = (String, RefOr<Schema>);

/// The JSON that a route reads.
#[derive(Clone, Copy)]
pub struct Body {
    name: fn() -> std::borrow::Cow<'static, str>,
    schema: fn() -> RefOr<Schema>,
    others: fn(&mut Vec<Named>),
    /// The key that it is under, where it is not the whole body.
    under: Option<&'static str>,
}

impl Body {
    pub(super) fn of<T: ToSchema>(under: Option<&'static str>) -> Self {
        Self { name: T::name, schema: <T as PartialSchema>::schema, others: T::schemas, under }
    }

    fn reference(&self) -> RefOr<Schema> {
        RefOr::Ref(utoipa::openapi::Ref::from_schema_name((self.name)()))
    }

    fn request(&self) -> RequestBody {
        let schema = match self.under {
            None => self.reference(),
            Some(key) => {
                let text = || Object::with_type(Type::String);
                let whole = ObjectBuilder::new().property(key, self.reference()).required(key);
                RefOr::T(whole.property("team_id", text()).property("visibility", text()).into())
            }
        };
        let content = ContentBuilder::new().schema(Some(schema)).build();
        RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build()
    }

    fn schemas(&self) -> Vec<Named> {
        let mut schemas = vec![((self.name)().into_owned(), (self.schema)())];
        (self.others)(&mut schemas);
        schemas
    }
}

/// The document, made once.
static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| of(&table()).to_json().unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string()));

/// `GET /openapi.json`.
pub async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

fn of(routes: &[Route]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new();
    for route in routes {
        paths = paths.path(route.path, PathItem::new(method(route), operation(route)));
        for (name, schema) in route.body.iter().flat_map(Body::schemas) {
            components = components.schema(name, schema);
        }
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let info = InfoBuilder::new()
        .title("rbac-bench reference gateway")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A specimen of IBM ContextForge's routes, on PostgreSQL."));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.security_scheme(BEARER, SecurityScheme::Http(bearer)).build()))
        .build()
}

fn method(route: &Route) -> HttpMethod {
    match route.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> utoipa::openapi::path::Operation {
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .tag(route.path.split('/').nth(1).unwrap_or_default())
        .operation_id(Some(operation_id(route)))
        .request_body(route.body.as_ref().map(Body::request))
        .response("200", ResponseBuilder::new().description("What was asked for").build());
    for name in placeholders(route.path) {
        operation = operation.parameter(parameter(name, ParameterIn::Path, Type::String));
    }
    for (name, kind) in asked_for(route) {
        operation = operation.parameter(parameter(name, ParameterIn::Query, kind.clone()));
    }
    let denied = |text: &str| ResponseBuilder::new().description(text).build();
    for (status, text) in refusals(route) {
        operation = operation.response(status, denied(text));
    }
    match route.guard {
        Guard::Public => {}
        Guard::Token | Guard::EachMethod => operation = operation.response("401", denied("No good token")),
        Guard::Permission(permission) => {
            let needed = format!("Permission needed: `{permission}`");
            operation = operation
                .description(Some(needed))
                .response("401", denied("No good token"))
                .response("403", denied("Not with this token, or not this user"));
        }
        Guard::AnyPermission(permissions) => {
            let needed = format!("Permission needed: one of `{}`", permissions.join("`, `"));
            operation = operation
                .description(Some(needed))
                .response("401", denied("No good token"))
                .response("403", denied("Not with this token, or not this user"));
        }
        Guard::Admin => {
            operation = operation
                .description(Some("For administrators"))
                .response("401", denied("No good token"))
                .response("403", denied("Not an administrator"));
        }
    }
    if route.guard != Guard::Public {
        operation = operation.security(SecurityRequirement::new(BEARER, [""; 0]));
    }
    operation.build()
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

fn parameter(name: &str, place: ParameterIn, kind: Type) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    let schema = Object::with_type(kind);
    ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(schema)).build()
}

/// What a list of entities, or an entity's switch, can be asked for.
fn asked_for(route: &Route) -> &'static [(&'static str, Type)] {
    const LIST: &[(&str, Type)] = &[
        ("limit", Type::Integer),
        ("cursor", Type::String),
        ("include_pagination", Type::Boolean),
        ("include_inactive", Type::Boolean),
        ("tags", Type::String),
        ("team_id", Type::String),
        ("visibility", Type::String),
    ];
    let lists = [Tools::KIND, Servers::KIND, Resources::KIND, Prompts::KIND, Gateways::KIND].map(|kind| kind.list_path);
    if route.method == Method::GET && lists.contains(&route.path) {
        LIST
    } else if route.path.ends_with("/state") {
        &[("activate", Type::Boolean)]
    } else {
        &[]
    }
}

/// What may be wrong with a request of a caller who may.
fn refusals(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut refusals = Vec::new();
    if route.path.contains('{') {
        refusals.push(("404", "No such thing, or none that the caller may know of"));
    }
    let is_switch = route.path.ends_with("/state");
    if (route.body.is_some() || is_switch) && route.guard != Guard::Public {
        refusals.push(("409", "There is one already, or somebody else is changing it"));
    }
    if route.body.is_some() {
        refusals.push(("413", "The body is too large"));
        refusals.push(("415", "The body is no JSON"));
    }
    if route.body.is_some() || !asked_for(route).is_empty() {
        refusals.push(("422", "What is wrong, and what is allowed"));
    }
    refusals
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_has_every_route_and_each_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        let described: usize =
            document["paths"].as_object().unwrap().values().map(|it| it.as_object().unwrap().len()).sum();
        assert_eq!(described, table().len());
        let schemas = &document["components"]["schemas"];
        let text = DOCUMENT.as_str();
        let referred: BTreeSet<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(referred.contains("ToolFields"), "{referred:?}");
        for name in referred {
            assert!(schemas[name].is_object(), "{name} of {schemas}");
        }
        let ids: Vec<String> = table().iter().map(operation_id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn a_route_says_what_it_takes() {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        let create = &document["paths"]["/tools"]["post"];
        assert!(create["description"].as_str().unwrap().contains("tools.create"), "{create}");
        assert_eq!(create["requestBody"]["content"]["application/json"]["schema"]["required"], json!(["tool"]));
        assert_eq!(document["paths"]["/health"]["get"]["security"], Value::Null);
        let one = &document["paths"]["/tools/{id}"]["get"];
        assert_eq!(one["parameters"][0]["name"], "id");
        let names = |operation: &Value| {
            let statuses = operation["responses"].as_object().unwrap().keys().cloned();
            statuses.collect::<Vec<_>>().join(" ")
        };
        assert_eq!((names(create).as_str(), names(one).as_str()), ("200 401 403 409 413 415 422", "200 401 403 404"));
        assert_eq!(names(&document["paths"]["/auth/email/login"]["post"]), "200 413 415 422");
        let list = &document["paths"]["/prompts"]["get"]["parameters"];
        assert_eq!((list.as_array().unwrap().len(), &list[0]["schema"]["type"]), (7, &json!("integer")), "{list}");
    }
}
