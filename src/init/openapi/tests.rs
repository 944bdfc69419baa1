//! Whole documents, of both versions and both spellings.

use super::*;
use crate::init::file::{Written, write};
use crate::scenario::source::problems;

const LIBRARY: &str = include_str!("../../../fixtures/openapi/library-3.0.yaml");
const SHOP: &str = include_str!("../../../fixtures/openapi/shop-fastapi-3.1.json");

fn made(document: &str, target: Option<&str>) -> Draft {
    let target = target.map(|url| url.parse().unwrap());
    let source = OpenApiSource { origin: "`a`".to_owned(), target, found_at: None };
    draft(document, &source).unwrap_or_else(|error| panic!("{error}"))
}

/// The file, after a look at it: it is a scenario of which nothing is wrong but what is marked.
fn written(draft: &Draft) -> Written {
    let written = write(draft, "a.toml");
    let found = problems("a.toml", &written.text, &[]).unwrap_or_else(|error| panic!("{error}\n{}", written.text));
    for located in &found {
        assert!(located.problem.message.starts_with("is still TODO: "), "{located}\n{}", written.text);
    }
    for gap in &written.gaps {
        let line = written.text.lines().nth(gap.line - 1).unwrap();
        assert!(line.contains("TODO") || line.contains("todo.invalid"), "{gap:?}: {line}");
    }
    assert_eq!(written.gaps.len(), found.len());
    written
}

#[test]
fn a_document_of_version_3_0_in_yaml_becomes_a_scenario() {
    insta::assert_snapshot!(written(&made(LIBRARY, Some("http://127.0.0.1:8000"))).text);
}

#[test]
fn the_document_of_a_fastapi_application_becomes_a_scenario() {
    insta::assert_snapshot!(written(&made(SHOP, None)).text);
}

#[test]
fn routes_that_change_data_are_fine_too_once_they_are_switched_on() {
    for document in [LIBRARY, SHOP] {
        let text = write(&made(document, Some("http://127.0.0.1:8000")), "a.toml").text;
        let set = crate::scenario::overrides::Override::from_set("load.allow_data_changes=true").unwrap();
        let found = problems("a.toml", &text, &[set]).unwrap();
        assert!(
            !found.is_empty() && found.iter().all(|it| it.problem.message.starts_with("is still TODO: ")),
            "{found:?}"
        );
    }
}

fn with_servers(servers: &str, target: Option<&str>, found_at: Option<&str>) -> (Option<String>, String) {
    let text = format!(r#"{{"openapi": "3.1.0", "servers": {servers}, "paths": {{"/a": {{"get": {{}}}}}}}}"#);
    let url = |text: &str| text.parse::<BaseUrl>().unwrap();
    let source = OpenApiSource { origin: "`a`".to_owned(), target: target.map(url), found_at: found_at.map(url) };
    let draft = draft(&text, &source).unwrap();
    (draft.target.map(|url| url.to_string()), draft.target_comments.join("\n"))
}

#[test]
fn load_is_never_pointed_at_a_server_that_only_the_document_names() {
    let public = r#"[{"url": "https://api.example.com/v2/"}]"#;
    let (target, comment) = with_servers(public, None, None);
    assert_eq!(
        (target, comment.as_str()),
        (None, "The document names https://api.example.com/v2/: load belongs on a copy of it.")
    );
    for (servers, target, found_at, expected) in [
        (public, Some("http://127.0.0.1:1"), None, Some("http://127.0.0.1:1/v2")),
        (public, Some("http://127.0.0.1:1/other"), None, Some("http://127.0.0.1:1/other")),
        (public, None, Some("http://localhost:8000"), Some("http://localhost:8000/v2")),
        (r#"[{"url": "/api"}]"#, None, Some("http://localhost:8000"), Some("http://localhost:8000/api")),
        (r#"[{"url": "/"}]"#, None, Some("http://localhost:8000"), Some("http://localhost:8000")),
        (r#"[{"url": "https://a.example.com"}, {"url": "http://[::1]:7/x"}]"#, None, None, Some("http://[::1]:7/x")),
        (
            r#"[{"url": "http://{host}/", "variables": {"host": {"default": "localhost"}}}]"#,
            None,
            None,
            Some("http://localhost"),
        ),
        ("7", None, None, None),
    ] {
        assert_eq!(with_servers(servers, target, found_at).0.as_deref(), expected, "{servers}");
    }
}

#[test]
fn what_is_not_as_it_should_be_is_as_if_it_were_not_there() {
    for paths in [
        r#"{"/a": {"get": 7}}"#,
        r#"{"/a": {"get": {"parameters": [7, {}, {"in": "path"}, {"in": "query", "name": 7}]}}}"#,
        r#"{"/a": {"get": {"parameters": {"a": 1}, "security": "x", "responses": []}}}"#,
        r##"{"/a": {"get": {"parameters": [{"$ref": "#/nowhere"}]}}}"##,
        r#"{"/{}": {"get": {}}, "/{a}{b}": {"get": {}}, "/{a b}/{a-b}": {"get": {}}, "/a{": {"get": {}}, "/a}?b#c": {"get": {}}}"#,
        "{\"/a\\nb\": {\"get\": {}}, \"/a\": {\"get\": {\"summary\": \"x\\n[target]\\nurl = 1\\u2028\\u0000\"}}}",
        r#"{"/a": {"post": {"requestBody": {"content": {"application/json": {"example": [null, 18446744073709551615, {"a b": 1.5}]}}}}}, "/b": {"get": {}}}"#,
        r#"{"/a": {"get": {"parameters": [{"in": "header", "name": "a b", "required": true, "example": "x\ny"}]}}}"#,
    ] {
        let text = format!(r#"{{"openapi": "3.1.0", "info": {{"title": "\"\n#"}}, "paths": {paths}}}"#);
        let draft = draft(&text, &OpenApiSource::default()).unwrap_or_else(|error| panic!("{paths}: {error}"));
        written(&draft);
    }
}

#[test]
fn a_document_without_a_route_says_what_was_left_out() {
    let text = r#"{"openapi": "3.0.0", "paths": {"/health": {"get": {}}, "/x": {"options": {}}}}"#;
    let error =
        draft(text, &OpenApiSource { origin: "`a`".to_owned(), ..OpenApiSource::default() }).unwrap_err().to_string();
    assert_eq!(error, "`a` has no route that can be asked for: GET /health: it is asked as the service's health");
}
