//! Whole documents, of both versions and both spellings.

use super::*;
use crate::init::BodyFormat;
use crate::init::file::{Written, write};
use crate::scenario::service::{Scalar, Values};
use crate::scenario::source::problems;

const LIBRARY: &str = include_str!("../../../fixtures/openapi/library-3.0.yaml");
const SHOP: &str = include_str!("../../../fixtures/openapi/shop-fastapi-3.1.json");

fn made(document: &str, target: Option<&str>) -> Draft {
    let target = target.map(|url| url.parse().unwrap());
    let source = OpenApiSource { origin: "`a`".to_owned(), target, ..OpenApiSource::default() };
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
    let source = OpenApiSource {
        origin: "`a`".to_owned(),
        target: target.map(url),
        found_at: found_at.map(url),
        ..OpenApiSource::default()
    };
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

fn of_fixture(name: &str, target: Option<&str>, wanted: Wanted) -> Draft {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/openapi").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let target = target.map(|url| url.parse().unwrap());
    draft(&text, &OpenApiSource { origin: name.to_owned(), target, wanted, ..OpenApiSource::default() })
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(draft: &Draft) -> Vec<&str> {
    draft.routes.iter().map(|it| it.route.as_str()).collect()
}

#[test]
fn swagger_2_is_read_with_its_bodies_and_its_base_path() {
    let draft = of_fixture("swagger-2.0.json", Some("http://127.0.0.1:8080"), Wanted::default());
    assert_eq!(
        names(&draft),
        ["GET /orders", "POST /orders", "GET /orders/{id}", "DELETE /orders/{id}", "POST /uploads"]
    );
    assert_eq!(draft.target.as_ref().unwrap().to_string(), "http://127.0.0.1:8080/api/v1");
    assert_eq!(draft.routes[2].params[0].1, Values::List(vec![Scalar::Number(7)]));
    assert_eq!(draft.routes[1].body, Some(BodyFormat::Json(serde_json::json!({"article": "tea"}))));
    assert_eq!(draft.identities[0].settings[0].0, "bearer_env");
}

#[test]
fn holes_are_called_by_their_parameter_whatever_a_framework_writes_around_it() {
    let draft = of_fixture("odd-names.json", None, Wanted::default());
    let values = |route: &str| {
        let route =
            draft.routes.iter().find(|it| it.route == route).unwrap_or_else(|| panic!("{route}: {:?}", names(&draft)));
        route.params.iter().map(|(name, values)| format!("{name} {values:?}")).collect::<Vec<_>>().join(" ")
    };
    for (route, value) in [
        ("GET /tags/{tagId}/update", "Number(3)"),
        ("GET /zip/{code}", "10115"),
        ("GET /static/{path}", "a/b.txt"),
        ("GET /optional/{id}", "Number(3)"),
        ("GET /files/{name}", "TODO"),
        ("GET /items/{id}:cancel", "Number(3)"),
        ("GET /a%20b/{id}", "Number(1)"),
    ] {
        assert!(values(route).contains(value), "{route}: {}", values(route));
    }
    assert_eq!(draft.routes.len(), 13);
    assert!(draft.notes.iter().any(|it| it.contains("has a regular expression in its path")), "{:?}", draft.notes);
}

#[test]
fn a_schema_that_has_itself_in_it_ends_where_it_comes_again() {
    let draft = of_fixture("circles.json", None, Wanted::default());
    assert_eq!(draft.routes.len(), 6, "{:?}", names(&draft));
    let body = |route: &str| match &draft.routes.iter().find(|it| it.route == route).unwrap().body {
        Some(BodyFormat::Json(body)) => body.clone(),
        other => panic!("{other:?}"),
    };
    // Its `parent` may be null, which a scenario leaves out.
    assert_eq!(body("POST /categories"), serde_json::json!({"name": "tea", "children": []}));
    assert!(body("POST /pairs").to_string().len() < 100, "{}", body("POST /pairs"));
}

#[test]
fn the_service_is_where_the_document_and_the_person_say() {
    let here = Some("http://127.0.0.1:9000");
    for (name, given, expected) in [
        ("variables", None, Some("http://localhost:9090/api/v3")),
        ("ghes", here, Some("http://127.0.0.1:9000/api/v3")),
        ("relative", here, Some("http://127.0.0.1:9000/api")),
        ("https-first", None, Some("http://localhost:8000/v2")),
        ("rswag", None, None),
        ("rswag", here, Some("http://127.0.0.1:9000")),
        ("no-servers", here, Some("http://127.0.0.1:9000")),
        ("by-path", None, Some("http://localhost:3000")),
        ("by-path", here, Some("http://127.0.0.1:9000")),
    ] {
        let draft = of_fixture(&format!("servers-{name}.json"), given, Wanted::default());
        assert_eq!(draft.target.as_ref().map(ToString::to_string).as_deref(), expected, "{name}");
        if name == "by-path" {
            assert_eq!(names(&draft), ["GET /internal/admin/stats", "GET /v1/orders/{id}"], "{name}");
        }
    }
}

#[test]
fn of_a_large_document_each_tag_has_its_turn_and_filters_choose() {
    let mut paths = serde_json::Map::new();
    for number in 0..400 {
        let tag = ["accounts", "billing", "zones"][number % 3];
        let operation = serde_json::json!({"tags": [tag]});
        paths.insert(
            format!("/{tag}/list{number:03}"),
            serde_json::json!({"get": operation, "post": operation, "query": {}}),
        );
    }
    let text = serde_json::json!({"openapi": "3.2.0", "paths": paths}).to_string();
    let of = |wanted: Wanted| draft(&text, &OpenApiSource { wanted, ..OpenApiSource::default() }).unwrap();
    let all = of(Wanted::default());
    let count = |draft: &Draft, what: &str| names(draft).iter().filter(|it| it.contains(what)).count();
    assert_eq!((all.routes.len(), count(&all, "POST")), (200, 0), "GET first");
    assert!(["accounts", "billing", "zones"].iter().all(|tag| count(&all, tag) >= 66), "{:?}", names(&all));
    for note in ["600 more routes: 200 are written", "400 operations with the method QUERY"] {
        assert!(all.notes.iter().any(|it| it.contains(note)), "{note}: {:?}", all.notes);
    }
    let wanted = Wanted {
        tags: vec!["Zones".to_owned()],
        methods: vec!["post".to_owned()],
        limit: Some(5),
        ..Wanted::default()
    };
    let some = of(wanted);
    assert_eq!((some.routes.len(), count(&some, "POST /zones/")), (5, 5), "{:?}", names(&some));
    let by_path = of(Wanted { paths: vec!["/billing/list00".to_owned()], ..Wanted::default() });
    assert!(by_path.routes.len() == 6 && count(&by_path, "/billing/list00") == 6, "{:?}", names(&by_path));
}
