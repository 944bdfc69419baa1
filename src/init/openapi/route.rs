//! One operation of a document as a route.

use reqwest::header::HeaderName;
use serde_json::Value;

use super::document::OpenApiDocument;
use super::schema::{self, Guess, ValuePlace};
use super::security::{SECRET_HEADERS, header_identity};
use super::tree::{list, members, text};
use crate::init::{BodyFormat, DraftIdentity, DraftRoute, MOST_VALUES, short, todo, todo_values, with_cautions};
use crate::scenario::service::{RouteName, Values, is_secret_name, is_token};

/// A route, and an identity that a header of it asks for.
pub(super) struct Found {
    pub(super) route: DraftRoute,
    pub(super) identity: Option<DraftIdentity>,
}

/// The operation as a route; why it is none.
pub(super) fn route(
    document: &OpenApiDocument,
    service: &str,
    method: &str,
    path: &str,
    item: &Value,
    operation: &Value,
) -> Result<Found, String> {
    // As Django REST framework writes what it cannot: a piece of a regular expression.
    if path.contains("(P{") || path.contains("(?P") || path.contains("[-") {
        return Err("has a regular expression in its path".to_owned());
    }
    let path = path.replace(' ', "%20");
    let mut building = RouteBuilder {
        document,
        service,
        used: Vec::new(),
        route: DraftRoute::default(),
        optional: Vec::new(),
        identity: None,
    };
    let template = building.path(&path);
    building.route.route = format!("{method} {template}");
    building.route.weight = 1;
    building.route.streams = streams(document, operation);
    building.describe(operation);
    for parameter in parameters(document, item, operation) {
        building.parameter(parameter);
    }
    if !building.optional.is_empty() {
        building.comment(&format!("The query may also have {}.", building.optional.join(", ")));
    }
    building.unfilled_holes();
    if !matches!(method, "GET" | "DELETE") {
        building.body(document.get(operation, "requestBody"));
    }
    let RouteBuilder { route, identity, .. } = building;
    let read = route.route.parse::<RouteName>();
    read.map(|_| Found { route: with_cautions(route), identity })
        .map_err(|_refused| "has a path that cannot be written as a template".to_owned())
}

/// What stands in a hole, and behind it: a regular expression may have braces of its own.
fn end_of_hole(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    let end = text.char_indices().find(|(_, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.map(|(at, _)| (&text[..at], &text[at + 1..]))
}

/// The parameter's name in `tagId:\d+`, `*path`, `path...`, `id?`.
fn name_of(hole: &str) -> &str {
    let name = hole.trim_start_matches(['*', '+']).split(':').next().unwrap_or_default();
    name.trim_end_matches(['?', '*', '+']).trim_end_matches("...")
}

fn streams(document: &OpenApiDocument, operation: &Value) -> bool {
    let answers = members(document.get(operation, "responses")).map(|(_, answer)| document.resolve(answer));
    answers
        .flat_map(|answer| members(document.get(answer, "content")))
        .any(|(kind, _)| kind.starts_with("text/event-stream"))
}

/// The operation's own parameters, and those of its path that it does not replace.
fn parameters<'a>(document: &'a OpenApiDocument, item: &'a Value, operation: &'a Value) -> Vec<&'a Value> {
    let key =
        |parameter: &Value| (text(parameter, "in").map(str::to_owned), text(parameter, "name").map(str::to_owned));
    let own: Vec<&Value> = list(operation.get("parameters")).iter().map(|it| document.resolve(it)).collect();
    let shared = list(item.get("parameters")).iter().map(|it| document.resolve(it));
    let shared: Vec<&Value> = shared.filter(|it| own.iter().all(|own| key(own) != key(it))).collect();
    shared.into_iter().chain(own).collect()
}

struct RouteBuilder<'a> {
    document: &'a OpenApiDocument,
    service: &'a str,
    /// The document's name of each hole of the path, and the scenario's.
    used: Vec<(String, String)>,
    route: DraftRoute,
    /// Names in the query that may be left out.
    optional: Vec<String>,
    identity: Option<DraftIdentity>,
}

impl RouteBuilder<'_> {
    fn describe(&mut self, operation: &Value) {
        let summary = text(operation, "summary").or_else(|| text(operation, "description"));
        self.route.comments.extend(summary.map(short).filter(|it| !it.is_empty()));
        if operation.get("deprecated") == Some(&Value::Bool(true)) {
            self.comment("Deprecated.");
        }
    }

    fn comment(&mut self, text: &str) {
        self.route.comments.push(text.to_owned());
    }

    /// The path with names that a scenario may have.
    fn path(&mut self, path: &str) -> String {
        let mut template = String::new();
        let mut rest = path;
        while let Some((before, (hole, after))) =
            rest.split_once('{').and_then(|(before, after)| Some((before, end_of_hole(after)?)))
        {
            template.push_str(before);
            let name = name_of(hole);
            let ours = self.name(name);
            template.extend(["{", &ours, "}"]);
            self.used.push((name.to_owned(), ours));
            rest = after;
        }
        template + rest
    }

    /// A name for a parameter that no other one has.
    fn name(&self, theirs: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        let name: String = theirs.trim().chars().map(plain).collect();
        let name = if name.trim_matches('_').is_empty() { "value" } else { name.trim_matches('_') }.to_owned();
        let taken = |name: &str| {
            self.used.iter().any(|(_, used)| used == name) || self.route.params.iter().any(|(used, _)| used == name)
        };
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|it| !taken(it)).unwrap_or(name)
    }

    fn parameter(&mut self, parameter: &Value) {
        let Some(name) = text(parameter, "name") else { return };
        let required = parameter.get("required") == Some(&Value::Bool(true));
        match text(parameter, "in") {
            Some("path") => {
                let ours = self.used.iter().find(|(theirs, _)| theirs == name).map(|(_, ours)| ours.clone());
                if let Some(ours) = ours {
                    let values = self.guessed(parameter, name, ValuePlace::Path);
                    self.route.params.push((ours, values));
                }
            }
            Some("query") if required => {
                let value = self.value(parameter, name);
                self.route.query.push((name.to_owned(), value));
            }
            Some("header") if required && is_secret_header(name) => {
                let comment = format!("Some routes ask for the header `{}`.", short(name));
                self.identity.get_or_insert(header_identity(self.service, name, comment));
            }
            // These are no parameters, says the standard.
            Some("header") if ["accept", "content-type"].contains(&name.to_ascii_lowercase().as_str()) => {}
            Some("header") if required && HeaderName::from_bytes(name.as_bytes()).is_err() => {
                self.comment(&format!("Asks for the header {name:?}, which cannot be sent."));
            }
            Some("header") if required => {
                let value = self.value(parameter, name);
                self.route.headers.push((name.to_owned(), value));
            }
            Some("cookie") if required => {
                self.comment(&format!(
                    "Asks for the cookie `{}`: an [[identity]] with header = \"Cookie\" sends one.",
                    short(name)
                ));
            }
            Some("query") => self.optional.push(format!("`{}`", short(name))),
            _ => {}
        }
    }

    /// A text for query or header: the value itself where there is one, else a hole.
    fn value(&mut self, parameter: &Value, name: &str) -> String {
        let values = self.guessed(parameter, name, ValuePlace::Beside);
        if let Values::List(list) = &values
            && let [only] = list.as_slice()
            && !only.to_string().starts_with(crate::scenario::service::todo::MARK)
        {
            return only.to_string();
        }
        let ours = self.name(name);
        self.route.params.push((ours.clone(), values));
        format!("{{{ours}}}")
    }

    fn guessed(&mut self, parameter: &Value, name: &str, place: ValuePlace) -> Values {
        if is_secret_name(name) {
            // An example of it may be somebody's.
            return todo_values(&format!("{name}: {{ file = \"…\" }} keeps it out of the scenario"));
        }
        let values = match schema::values(self.document, parameter, name, place) {
            Guess::Given(values) | Guess::Unknown(values) => values,
            Guess::MadeUp(values) => {
                self.comment(&format!("`{}` is made up from its schema.", short(name)));
                values
            }
        };
        match values {
            Values::List(list) if list.iter().any(|value| is_token(&value.to_string())) => {
                todo_values(&format!("{name}: {{ file = \"…\" }} keeps it out of the scenario"))
            }
            Values::List(mut list) => {
                list.truncate(MOST_VALUES);
                Values::List(list)
            }
            other => other,
        }
    }

    /// Holes of the path that no parameter describes.
    fn unfilled_holes(&mut self) {
        for (theirs, ours) in self.used.clone() {
            if self.route.params.iter().all(|(name, _)| *name != ours) {
                let values = todo_values(&format!("{theirs}, values that exist"));
                self.route.params.push((ours, values));
            }
        }
    }

    fn body(&mut self, body: &Value) {
        let content = self.document.get(body, "content");
        let kind = |wanted: fn(&str) -> bool| members(content).find(|(kind, _)| wanted(kind));
        let found = kind(|it| it.starts_with("application/json"))
            .or_else(|| kind(|it| it.contains("json") && !it.contains("patch")))
            .or_else(|| kind(|it| it.contains("x-www-form-urlencoded")))
            .or_else(|| kind(|it| it.starts_with("text/")))
            .or_else(|| kind(|_| true));
        let Some((kind, media)) = found else { return };
        let media = self.document.resolve(media);
        let mut body = schema::body(self.document, media);
        without_secrets(&mut body);
        let text = |text: String| BodyFormat::Text { text, content_type: short(kind) };
        self.route.body = Some(if kind.starts_with("application/json") {
            BodyFormat::of_json(body)
        } else if kind.contains("json") {
            text(body.to_string())
        } else if kind.contains("x-www-form-urlencoded") {
            text(form(&body))
        } else {
            text(body.as_str().map_or_else(|| todo(&format!("the body ({kind})")), str::to_owned))
        });
    }
}

fn is_secret_header(name: &str) -> bool {
    is_secret_name(name) || SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Marks what is secret by its name, whatever the document has as an example.
fn without_secrets(body: &mut Value) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Object(_) | Value::Array(_) => without_secrets(value),
                    Value::String(_) | Value::Number(_) if is_secret_name(name) => *value = todo(name).into(),
                    Value::String(text) if is_token(text) => *value = todo(name).into(),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_secrets),
        Value::String(text) if is_token(text) => *body = todo("a token").into(),
        _ => {}
    }
}

/// A form's text; marked as a whole where a field is.
fn form(body: &Value) -> String {
    let written = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields: Vec<(&String, String)> = members(body).map(|(name, value)| (name, written(value))).collect();
    let known = |text: &str| !text.contains(crate::scenario::service::todo::MARK);
    if fields.is_empty() || !fields.iter().all(|(_, text)| known(text)) {
        let names: Vec<String> = fields.iter().map(|(name, _)| format!("{name}=…")).collect();
        return todo(&format!("the form: {}", names.join("&")));
    }
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let fields = fields.iter().map(|(name, text)| format!("{}={}", encoded(name), encoded(text)));
    fields.collect::<Vec<_>>().join("&")
}
