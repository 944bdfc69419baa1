//! A draft from an OpenAPI document (3.0 to 3.2, or Swagger 2.0), JSON or YAML.

mod document;
mod route;
mod schema;
mod security;
mod swagger2;
mod tree;

use std::collections::VecDeque;

use serde_json::Value;

use super::paths::tells_health;
use super::{Draft, DraftRoute, InitError, MOST_ROUTES, name_from, short};
use crate::scenario::service::BaseUrl;
use document::OpenApiDocument;
use tree::{list, members, text};

/// The methods that become routes. `HEAD`, `OPTIONS` and `TRACE` do nothing that a pool would notice.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Source of a document, and address of its service.
#[derive(Clone, Debug, Default)]
pub struct OpenApiSource {
    /// Its name in messages: "`shop.json`".
    pub origin: String,
    /// The service's base URL, when the person says it.
    pub target: Option<BaseUrl>,
    /// Scheme, host and port that gave the document.
    pub found_at: Option<BaseUrl>,
    pub wanted: Wanted,
}

/// Operations that are asked for; all where nothing is named.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub tags: Vec<String>,
    /// Beginnings of paths.
    pub paths: Vec<String>,
    pub methods: Vec<String>,
    /// So many routes at most.
    pub limit: Option<usize>,
}

impl Wanted {
    fn has(&self, method: &str, path: &str, operation: &Value) -> bool {
        let tags = || list(operation.get("tags")).iter().filter_map(Value::as_str);
        (self.tags.is_empty() || tags().any(|tag| self.tags.iter().any(|it| it.eq_ignore_ascii_case(tag))))
            && (self.paths.is_empty() || self.paths.iter().any(|it| path.starts_with(it.as_str())))
            && (self.methods.is_empty() || self.methods.iter().any(|it| it.eq_ignore_ascii_case(method)))
    }
}

/// Makes a draft of a document.
///
/// # Errors
/// When the text is no such document, or has nothing that can be asked for.
pub fn draft(document: &str, source: &OpenApiSource) -> Result<Draft, InitError> {
    let document = OpenApiDocument::read(document, &source.origin)?;
    let title = text(document.get(&document.root, "info"), "title").map_or_else(String::new, short);
    let name = name_from(&title);
    let mut notes = unread(&document);
    let mut found = Vec::new();
    let mut health: Option<String> = None;
    let mut asked = Vec::new();
    let mut from_headers = None;
    let mut filtered = 0;
    for (method, path, item, operation) in operations(&document) {
        let label = format!("{method} {}", short(path));
        if method == "GET" && health.is_none() && tells_health(path) {
            health = Some(path.to_owned());
            notes.push(format!("{label}: it is asked as the service's health"));
            continue;
        }
        if !source.wanted.has(method, path, operation) {
            filtered += 1;
            continue;
        }
        match route::route(&document, &name, method, path, item, operation) {
            Ok(route::Found { route, identity }) => {
                from_headers = from_headers.or(identity);
                asked.push(operation);
                let tag = list(operation.get("tags")).first().and_then(Value::as_str).unwrap_or_default().to_owned();
                found.push(FoundRoute { route, base: own_base(item, operation), tag });
            }
            Err(why) => notes.push(format!("{label}: it {why}")),
        }
    }
    if filtered > 0 {
        notes.push(format!("{} that were not asked for", super::file::counted(filtered, "route")));
    }
    let (mut target, target_comments) = target(&document, source);
    if found.iter().any(|it| it.base.is_some()) {
        target = target.map(|target| by_full_paths(&target, &mut found, &mut health));
    }
    let routes = chosen(found, source.wanted.limit.unwrap_or(MOST_ROUTES).min(MOST_ROUTES), &mut notes);
    if routes.is_empty() {
        return Err(InitError::NoRoutes { origin: source.origin.clone(), notes });
    }
    let (mut identities, more) = security::identities(&document, &name, &asked);
    notes.extend(more);
    if identities.is_empty() {
        identities.extend(from_headers);
    }
    let origin = format!("{} (OpenAPI {})", source.origin, short(&document.version));
    Ok(Draft { name, title, origin, target, target_comments, health, identities, routes, notes })
}

/// True if a text is a document that can be read.
pub fn is_document(text: &str) -> bool {
    OpenApiDocument::read(text, "").is_ok()
}

/// The routes of a document, each as it is and behind the path of its server: an access log may have either.
///
/// # Errors
/// When the text is no such document.
pub fn routes(document: &str, origin: &str) -> Result<Vec<String>, InitError> {
    let document = OpenApiDocument::read(document, origin)?;
    let usual = list(document.root.get("servers")).iter().find_map(server_url).map(|url| path_of(&url));
    let mut routes = Vec::new();
    for (method, path, item, operation) in operations(&document) {
        routes.push(format!("{method} {path}"));
        let base = own_base(item, operation).or_else(|| usual.clone()).filter(|base| !base.is_empty());
        routes.extend(base.map(|base| format!("{method} {base}{path}")));
    }
    Ok(routes)
}

/// A route, the path of its own server, and its first tag.
struct FoundRoute {
    route: DraftRoute,
    base: Option<String>,
    tag: String,
}

/// So many of the routes: of each tag in turn, `GET` first, in the document's order.
fn chosen(mut found: Vec<FoundRoute>, most: usize, notes: &mut Vec<String>) -> Vec<DraftRoute> {
    if found.len() <= most {
        return found.into_iter().map(|it| it.route).collect();
    }
    let all = found.len();
    // A stable sort: the document's order within.
    found.sort_by_key(|it| !it.route.route.starts_with("GET "));
    let mut by_tag: Vec<(String, VecDeque<DraftRoute>)> = Vec::new();
    for FoundRoute { route, tag, .. } in found {
        match by_tag.iter_mut().find(|(known, _)| *known == tag) {
            Some((_, routes)) => routes.push_back(route),
            None => by_tag.push((tag, VecDeque::from([route]))),
        }
    }
    let mut routes = Vec::new();
    while routes.len() < most {
        for (_, left) in &mut by_tag {
            routes.extend(left.pop_front().filter(|_| routes.len() < most));
        }
    }
    notes.push(format!(
        "{} more routes: {most} are written, of each tag in turn, GET first; `--tag`, `--path`, `--method` and `--limit` choose others",
        all - most
    ));
    routes
}

/// What this program does not read of a newer document.
fn unread(document: &OpenApiDocument) -> Vec<String> {
    let items = members(document.get(&document.root, "paths")).map(|(_, item)| document.resolve(item));
    let (mut queries, mut more) = (0, 0);
    for item in items {
        queries += usize::from(item.get("query").is_some());
        more += members(item.get("additionalOperations").unwrap_or(&Value::Null)).count();
    }
    let note =
        |count: usize, what: &str| (count > 0).then(|| format!("{} {what}", super::file::counted(count, "operation")));
    let webhooks = members(document.root.get("webhooks").unwrap_or(&Value::Null)).count();
    [
        note(queries, "with the method QUERY, which a scenario cannot say"),
        note(more, "with methods of the document's own"),
        note(webhooks, "that the service asks of others (webhooks)"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Method, path, what the path's operations share, and each operation.
fn operations(document: &OpenApiDocument) -> impl Iterator<Item = (&'static str, &str, &Value, &Value)> {
    const NAMES: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let paths = members(document.get(&document.root, "paths")).filter(|(path, _)| path.starts_with('/'));
    paths.flat_map(|(path, item)| {
        let item = document.resolve(item);
        let of_method = move |(method, name)| Some((name, path.as_str(), item, item.get(method)?));
        METHODS.into_iter().zip(NAMES).filter_map(of_method)
    })
}

/// Address of the service: the person's own, else the host that gave the document, else a server of the document on
/// this machine. Another server is not written down: it may be the real one.
fn target(document: &OpenApiDocument, source: &OpenApiSource) -> (Option<BaseUrl>, Vec<String>) {
    let servers: Vec<String> = list(document.root.get("servers")).iter().filter_map(server_url).collect();
    let first = servers.first().map_or("", String::as_str);
    let base_path = path_of(first);
    let absolute: Vec<BaseUrl> = servers.iter().filter_map(|url| url.parse().ok()).collect();
    let here = absolute.iter().find(|url| is_this_machine(url.host()));
    let with_path = |url: &BaseUrl| {
        let plain = url.url().path() == "/";
        if plain { url.with_path(&base_path).parse().unwrap_or_else(|_| url.clone()) } else { url.clone() }
    };
    let target = source.target.as_ref().or(source.found_at.as_ref()).map(with_path).or_else(|| here.cloned());
    let mut comments = Vec::new();
    if target.as_ref().is_some_and(|url| url.url().path() == base_path) && base_path.len() > 1 {
        comments.push(format!("The path is that of the document's `servers`: {}", short(first)));
    }
    if target.is_none() && !absolute.is_empty() {
        comments.push(format!("The document names {}: load belongs on a copy of it.", short(first)));
    }
    (target, comments)
}

/// The path of the server that an operation, or its path, has of its own.
fn own_base(item: &Value, operation: &Value) -> Option<String> {
    let own = |value: &Value| list(value.get("servers")).iter().find_map(server_url).map(|url| path_of(&url));
    own(operation).or_else(|| own(item))
}

/// Where servers differ by path, the target is the machine alone, and each route has its server's path in front.
fn by_full_paths(target: &BaseUrl, found: &mut [FoundRoute], health: &mut Option<String>) -> BaseUrl {
    let usual = target.url().path().trim_end_matches('/').to_owned();
    let full = |base: Option<&String>, path: &str| format!("{}{path}", base.unwrap_or(&usual));
    for FoundRoute { route, base, .. } in found {
        if let Some((method, path)) = route.route.split_once(' ') {
            route.route = format!("{method} {}", full(base.as_ref(), path));
        }
    }
    *health = health.take().map(|path| full(None, &path));
    target.url().join("/").ok().and_then(|root| root.as_str().parse().ok()).unwrap_or_else(|| target.clone())
}

/// A server's URL, its variables at their defaults.
fn server_url(server: &Value) -> Option<String> {
    let url = text(server, "url")?.to_owned();
    let variables = members(server.get("variables").unwrap_or(&Value::Null));
    Some(variables.fold(url, |url, (name, variable)| {
        url.replace(&format!("{{{name}}}"), text(variable, "default").unwrap_or_default())
    }))
}

/// The path of an absolute or a relative URL, without the `/` at its end.
fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = rest.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    if path.is_empty() || path.contains(['{', '}']) { String::new() } else { format!("/{path}") }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
