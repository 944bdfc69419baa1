//! Where services keep their API document, and their health.

use super::DiscoverError;
use crate::init::openapi::is_document;
use crate::run::Asker;
use crate::scenario::service::BaseUrl;

/// Usual places, of FastAPI and Litestar, Spring (springdoc), `NestJS`, Swagger 2.0's tools, DRF (drf-spectacular), ASP.NET, and by hand.
const DOCUMENTS: [&str; 16] = [
    "/openapi.json",
    "/v3/api-docs",
    "/api-json",
    "/swagger.json",
    "/api/schema/?format=json",
    "/swagger/v1/swagger.json",
    "/api/openapi.json",
    "/schema/openapi.json",
    "/openapi.yaml",
    "/openapi",
    "/api/swagger.json",
    "/swagger/doc.json",
    "/v2/api-docs",
    "/api-docs",
    "/docs/openapi.json",
    "/docs-json",
];

/// Pages that name a document, or hold one.
const PAGES: [&str; 8] = [
    "/docs",
    "/swagger-ui/index.html",
    "/swagger-ui/swagger-initializer.js",
    "/api-docs/swagger-ui-init.js",
    "/docs/swagger-ui-init.js",
    "/swagger",
    "/redoc",
    "/api/docs",
];

/// Usual paths of a health check.
const HEALTH: [&str; 6] = ["/health", "/healthz", "/actuator/health", "/api/health", "/readyz", "/up"];

/// A document, and where it was.
pub(super) struct FoundDocument {
    pub(super) text: String,
    pub(super) url: String,
}

/// Asks the usual places for a document.
pub(super) async fn find(asker: &Asker, url: &BaseUrl) -> Result<FoundDocument, DiscoverError> {
    let found = |text: String, path: &str| FoundDocument { text, url: url.with_path(path) };
    for path in DOCUMENTS {
        if let Some(text) = document(asker, url, path).await? {
            return Ok(found(text, path));
        }
    }
    for page in PAGES {
        let Ok(answer) = asker.get(page).await else { continue };
        if !answer.is_good() {
            continue;
        }
        let text = answer.text();
        if let Some(embedded) = embedded(&text) {
            return Ok(found(embedded, page));
        }
        for path in named(&text, page) {
            if let Some(text) = document(asker, url, &path).await? {
                return Ok(found(text, &path));
            }
        }
    }
    let tried = DOCUMENTS.iter().chain(&PAGES).map(ToString::to_string).collect();
    Err(DiscoverError::NoDocument { url: url.to_string(), tried })
}

/// The document at a path, if one is there.
async fn document(asker: &Asker, url: &BaseUrl, path: &str) -> Result<Option<String>, DiscoverError> {
    let failed = |source| DiscoverError::Ask { url: url.to_string(), source };
    let answer = asker.get(path).await.map_err(failed)?;
    Ok(Some(answer.text()).filter(|text| answer.is_good() && is_document(text)))
}

/// The first of the usual paths of a health check that answers well.
pub(super) async fn health(asker: &Asker) -> Option<String> {
    for path in HEALTH {
        if asker.get(path).await.is_ok_and(|answer| answer.is_good()) {
            return Some(path.to_owned());
        }
    }
    None
}

/// Paths of documents that a page for people names.
fn named(page: &str, at: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for key in ["url:", "\"url\":", "spec-url=", "specUrl:", "\"configUrl\":"] {
        for (place, _) in page.match_indices(key) {
            let after = page[place + key.len()..].trim_start();
            let Some(quote) = after.chars().next().filter(|it| matches!(it, '"' | '\'')) else { continue };
            let Some(value) = after[1..].split(quote).next() else { continue };
            if let Some(path) = path_of(value, at).filter(|path| !paths.contains(path)) {
                paths.push(path);
            }
        }
    }
    paths
}

/// The path of a link on a page; none of one that leads elsewhere.
fn path_of(link: &str, at: &str) -> Option<String> {
    let page = reqwest::Url::parse("http://here.invalid").ok()?.join(at).ok()?;
    let url = page.join(link).ok()?;
    let is_here = url.host_str() == Some("here.invalid") && url.scheme() == "http";
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    is_here.then(|| format!("{}{query}", url.path()))
}

/// The document that swagger-ui-express writes into its script.
fn embedded(page: &str) -> Option<String> {
    let (_, after) = page.split_once("\"swaggerDoc\":")?;
    let mut values = serde_json::Deserializer::from_str(after).into_iter::<serde_json::Value>();
    let text = values.next()?.ok()?.to_string();
    is_document(&text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_for_people_name_their_document() {
        let fastapi = "const ui = SwaggerUIBundle({\n    url: '/api/openapi.json',\n";
        assert_eq!(named(fastapi, "/docs"), ["/api/openapi.json"]);
        let redoc = "<redoc spec-url=\"openapi.json?v=1\"></redoc>";
        assert_eq!(named(redoc, "/help/redoc"), ["/help/openapi.json?v=1"]);
        let elsewhere = "url: 'https://petstore.swagger.io/v2/swagger.json'";
        assert!(named(elsewhere, "/docs").is_empty());
    }

    #[test]
    fn a_document_in_a_script_is_taken_out() {
        let script =
            "var options = {\n  \"swaggerDoc\": {\"openapi\": \"3.0.0\", \"paths\": {}},\n \"customOptions\": {}}";
        assert_eq!(embedded(script).as_deref(), Some("{\"openapi\":\"3.0.0\",\"paths\":{}}"));
        assert_eq!(embedded("\"swaggerDoc\": {\"open"), None);
    }
}
