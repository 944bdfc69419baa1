//! Identities from the security schemes of a document. Secrets are never in it, only the names of variables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::OpenApiDocument;
use super::tree::{list, members, text};
use crate::init::{DraftIdentity, DraftLogin, short, todo, variable_from};

/// Headers that hold a secret although no scheme says so.
pub(super) const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// The identity that most operations ask for, and what is to be stated of the others.
pub(super) fn identities(
    document: &OpenApiDocument,
    name: &str,
    operations: &[&Value],
) -> (Vec<DraftIdentity>, Vec<String>) {
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in operations {
        let requirements = operation.get("security").or_else(|| document.root.get("security"));
        let first = list(requirements).iter().find(|it| it.as_object().is_some_and(|it| !it.is_empty()));
        for (scheme, _) in first.into_iter().flat_map(members) {
            *asked.entry(scheme).or_default() += 1;
        }
    }
    let schemes = document.get(document.get(&document.root, "components"), "securitySchemes");
    let mut by_use: Vec<(&str, usize)> = asked.into_iter().collect();
    by_use.sort_by_key(|(_, uses)| std::cmp::Reverse(*uses));
    let mut notes = Vec::new();
    let mut identities = Vec::new();
    for (scheme, uses) in by_use {
        match identity(document.get(schemes, scheme), scheme, name) {
            Ok(identity) if identities.is_empty() => identities.push(identity),
            Ok(_) => notes
                .push(format!("the security scheme `{}` ({uses} routes): users have one identity each", short(scheme))),
            Err(why) => notes.push(format!("the security scheme `{}` ({uses} routes): {why}", short(scheme))),
        }
    }
    (identities, notes)
}

fn identity(scheme: &Value, called: &str, name: &str) -> Result<DraftIdentity, String> {
    let called = short(called);
    let kind = text(scheme, "type").unwrap_or_default();
    match (kind, text(scheme, "scheme").map(str::to_ascii_lowercase).as_deref(), text(scheme, "in")) {
        ("http", Some("basic"), _) => {
            Ok(by_password(name, None, format!("The document's `{called}`: a name and a password.")))
        }
        ("oauth2", ..) if password_path(scheme).is_some() => {
            let comment = format!("The document's `{called}`: each user logs in once, before the load.");
            Ok(by_password(name, password_path(scheme), comment))
        }
        ("http", Some("bearer"), _) | ("oauth2" | "openIdConnect", ..) => {
            let where_from =
                token_url(document_flows(scheme)).map_or_else(String::new, |url| format!(", as `{url}` gives it"));
            Ok(bearer(name, format!("The document's `{called}`: a bearer token{where_from}.")))
        }
        ("apiKey", _, Some("header")) => {
            let header = text(scheme, "name").unwrap_or("X-API-Key");
            Ok(header_identity(
                name,
                header,
                format!("The document's `{called}`: a key in the header `{}`.", short(header)),
            ))
        }
        ("apiKey", _, Some("cookie")) => {
            let cookie = short(text(scheme, "name").unwrap_or("session"));
            let comment = format!("The document's `{called}`: a cookie. The variable holds `{cookie}=…`.");
            Ok(header_identity(name, "Cookie", comment))
        }
        ("apiKey", _, Some("query")) => Err("a key in the query is not sent".to_owned()),
        (other, ..) => Err(format!("`{}` is not spoken", short(other))),
    }
}

fn document_flows(scheme: &Value) -> &Value {
    scheme.get("flows").unwrap_or(&Value::Null)
}

fn token_url(flows: &Value) -> Option<String> {
    members(flows).find_map(|(_, flow)| text(flow, "tokenUrl")).map(short)
}

/// Path at which the service itself gives a token for a name and a password. A whole URL may be another machine's, and with a
/// fragment or braces it is none that is known.
fn password_path(scheme: &Value) -> Option<String> {
    let url = text(document_flows(scheme).get("password")?, "tokenUrl")?;
    let is_path = !url.is_empty() && !url.contains(|it: char| "?#{}\\".contains(it) || it.is_whitespace());
    (is_path && !url.contains("//")).then(|| format!("/{}", url.trim_start_matches("./").trim_start_matches('/')))
}

fn by_password(name: &str, login: Option<String>, comment: String) -> DraftIdentity {
    let variable = variable_from(name, "PASSWORD");
    let settings = vec![("user", todo("the name of a user")), ("password_env", variable.clone())];
    let login = login.map(DraftLogin::by_password_flow);
    DraftIdentity { settings, login, variable, comments: vec![comment] }
}

fn bearer(name: &str, comment: String) -> DraftIdentity {
    let variable = variable_from(name, "TOKEN");
    DraftIdentity { settings: vec![("bearer_env", variable.clone())], login: None, variable, comments: vec![comment] }
}

/// An identity whose secret stands in a header.
pub(super) fn header_identity(name: &str, header: &str, comment: String) -> DraftIdentity {
    if header.eq_ignore_ascii_case("authorization") {
        return bearer(name, comment);
    }
    let variable = variable_from(name, if header.eq_ignore_ascii_case("cookie") { "COOKIE" } else { "KEY" });
    let settings = vec![("header", header.to_owned()), ("value_env", variable.clone())];
    DraftIdentity { settings, login: None, variable, comments: vec![comment] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(scheme: &Value) -> Result<Vec<(&'static str, String)>, String> {
        identity(scheme, "login", "shop").map(|identity| identity.settings)
    }

    #[test]
    fn a_password_flow_of_the_service_itself_is_a_login() {
        let login = |url: &str| {
            let scheme = json!({"type": "oauth2", "flows": {"password": {"tokenUrl": url, "scopes": {}}}});
            identity(&scheme, "login", "shop").map(|it| (it.login.map(|login| login.path), it.variable)).unwrap()
        };
        for url in ["token", "/token", "./token"] {
            assert_eq!(login(url), (Some("/token".to_owned()), "SHOP_PASSWORD".to_owned()));
        }
        for url in ["https://login.example/token", "//login.example/token", "/{tenant}/token", ""] {
            assert_eq!(login(url), (None, "SHOP_TOKEN".to_owned()), "{url}");
        }
    }

    #[test]
    fn each_scheme_names_a_variable_and_holds_no_secret() {
        let bearer = Ok(vec![("bearer_env", "SHOP_TOKEN".to_owned())]);
        assert_eq!(settings(&json!({"type": "http", "scheme": "Bearer"})), bearer);
        let flows = json!({"clientCredentials": {"tokenUrl": "/token", "scopes": {}}});
        assert_eq!(settings(&json!({"type": "oauth2", "flows": flows})), bearer);
        assert_eq!(settings(&json!({"type": "apiKey", "in": "header", "name": "Authorization"})), bearer);
        let key = vec![("header", "X-Key".to_owned()), ("value_env", "SHOP_KEY".to_owned())];
        assert_eq!(settings(&json!({"type": "apiKey", "in": "header", "name": "X-Key"})), Ok(key));
        let cookie = vec![("header", "Cookie".to_owned()), ("value_env", "SHOP_COOKIE".to_owned())];
        assert_eq!(settings(&json!({"type": "apiKey", "in": "cookie", "name": "sid"})), Ok(cookie));
        let basic = vec![("user", "TODO: the name of a user".to_owned()), ("password_env", "SHOP_PASSWORD".to_owned())];
        assert_eq!(settings(&json!({"type": "http", "scheme": "basic"})), Ok(basic));
        for scheme in [json!({"type": "mutualTLS"}), json!({"type": "apiKey", "in": "query", "name": "k"}), json!(null)]
        {
            assert!(settings(&scheme).is_err(), "{scheme}");
        }
    }
}
