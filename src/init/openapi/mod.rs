//! A draft from an OpenAPI document, 3.0 or 3.1, JSON or YAML.

mod document;
mod route;
mod schema;
mod security;

use serde_json::Value;

use super::{Draft, DraftRoute, InitError, MOST_ROUTES, name_from, short};
use crate::scenario::service::BaseUrl;
use document::{OpenApiDocument, list, members, text};

/// The methods that become routes. `HEAD`, `OPTIONS` and `TRACE` do nothing that a pool would notice.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Last words of paths that tell the service's health.
const HEALTH: [&str; 8] = ["health", "healthz", "health-check", "healthcheck", "readyz", "ready", "livez", "alive"];

/// Source of a document, and address of its service.
#[derive(Clone, Debug, Default)]
pub struct OpenApiSource {
    /// Its name in messages: "`shop.json`".
    pub origin: String,
    /// The service's base URL, when the person says it.
    pub target: Option<BaseUrl>,
    /// Scheme, host and port that gave the document.
    pub found_at: Option<BaseUrl>,
}

/// Makes a draft of a document.
///
/// # Errors
/// When the text is no such document, or has nothing that can be asked for.
pub fn draft(document: &str, source: &OpenApiSource) -> Result<Draft, InitError> {
    let document = OpenApiDocument::read(document, &source.origin)?;
    let title = text(document.get(&document.root, "info"), "title").map_or_else(String::new, short);
    let name = name_from(&title);
    let mut notes = Vec::new();
    let mut routes = Vec::new();
    let mut health: Option<String> = None;
    let mut asked = Vec::new();
    let mut from_headers = None;
    for (method, path, item, operation) in operations(&document) {
        let label = format!("{method} {}", short(path));
        if method == "GET" && health.is_none() && tells_health(path) {
            health = Some(path.to_owned());
            notes.push(format!("{label}: it is asked as the service's health"));
            continue;
        }
        match route::route(&document, &name, method, path, item, operation) {
            Ok(found) => {
                from_headers = from_headers.or(found.identity);
                asked.push(operation);
                routes.push(found.route);
            }
            Err(why) => notes.push(format!("{label}: it {why}")),
        }
    }
    cut(&mut routes, &mut notes);
    if routes.is_empty() {
        return Err(InitError::NoRoutes { origin: source.origin.clone(), notes });
    }
    let (mut identities, more) = security::identities(&document, &name, &asked);
    notes.extend(more);
    if identities.is_empty() {
        identities.extend(from_headers);
    }
    let (target, target_comments) = target(&document, source);
    let origin = format!("{} (OpenAPI {})", source.origin, short(&document.version));
    Ok(Draft { name, title, origin, target, target_comments, health, identities, routes, notes })
}

fn cut(routes: &mut Vec<DraftRoute>, notes: &mut Vec<String>) {
    if routes.len() > MOST_ROUTES {
        let more = routes.split_off(MOST_ROUTES);
        notes.push(format!("{} more routes: {MOST_ROUTES} are written, by their paths", more.len()));
    }
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

fn tells_health(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    HEALTH.contains(&last.as_str()) && !path.contains('{')
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
