//! Logging in: the route that gives a token for a name and a password, and where its answer has it.

use reqwest::header::{AUTHORIZATION, HeaderName};
use reqwest::{Method, header};
use serde_json::Value;

use crate::init::{BodyFormat, Draft, DraftIdentity, DraftLogin, DraftRoute, LoginBody};
use crate::run::{AskError, AskedBody, Asker};
use crate::scenario::service::{RouteName, is_secret_name};

/// Last words of a path that logs in.
const LOGIN: [&str; 12] = [
    "login",
    "signin",
    "sign-in",
    "log-in",
    "token",
    "tokens",
    "authenticate",
    "auth",
    "session",
    "sessions",
    "access-token",
    "jwt",
];

/// Fields of a body that say who logs in, without what differs between spellings.
const USER: [&str; 9] = ["username", "user", "email", "login", "name", "identifier", "useremail", "userid", "account"];

/// Members of an answer that hold its token, in the same way, the likeliest first.
const TOKEN: [&str; 8] = ["accesstoken", "token", "jwt", "authtoken", "idtoken", "access", "bearer", "key"];

/// Deepest nesting in which a token is looked for.
const DEEPEST: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum LoginFailure {
    #[error("no route of the document takes a name and a password: expected `--login 'POST /…'`")]
    NoRoute,
    #[error("`{route}` gave no answer")]
    Ask {
        route: String,
        #[source]
        source: AskError,
    },
    #[error("`{route}` answered {status} for `{user}`")]
    Refused { route: String, status: u16, user: String },
    #[error("the answer of `{route}` has no token in a member such as `access_token` or `token`")]
    NoToken { route: String },
}

impl LoginFailure {
    pub(super) fn is_bad_request(&self) -> bool {
        matches!(self, Self::NoRoute)
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::NoToken { .. } => Some("`--bearer-env NAME` takes a token that you have".to_owned()),
            Self::Refused { .. } => Some("is the password in the variable that `--password-env` names?".to_owned()),
            Self::NoRoute | Self::Ask { .. } => None,
        }
    }
}

/// An identity, and the header by which it is known from now on.
pub(super) struct LoggedIn {
    pub(super) identity: DraftIdentity,
    pub(super) header: HeaderName,
    pub(super) value: String,
    /// The route that logs in; `None` where each request has name and password.
    pub(super) route: Option<String>,
}

/// An identity of which a variable holds the secret.
pub(super) fn of_variable(key: &'static str, variable: &str, header: Option<&str>) -> DraftIdentity {
    let name = header.map(|name| ("header", name.to_owned()));
    DraftIdentity {
        settings: name.into_iter().chain([(key, variable.to_owned())]).collect(),
        login: None,
        variable: variable.to_owned(),
        comments: Vec::new(),
    }
}

/// Logs in with a name and a password, the way the document says, or by a route that takes both.
pub(super) async fn log_in(
    draft: &Draft,
    asker: &Asker,
    (user, variable, password): (&str, &str, &str),
    route: Option<&RouteName>,
) -> Result<LoggedIn, LoginFailure> {
    let settings = vec![("user", user.to_owned()), ("password_env", variable.to_owned())];
    let identity = |login| DraftIdentity {
        settings: settings.clone(),
        login,
        variable: variable.to_owned(),
        comments: Vec::new(),
    };
    let documented = draft.identities.first();
    if route.is_none()
        && documented.is_some_and(|it| it.login.is_none() && it.settings.iter().any(|(key, _)| *key == "user"))
    {
        let value = basic(user, password);
        return Ok(LoggedIn { identity: identity(None), header: AUTHORIZATION, value, route: None });
    }
    let mut login = match route {
        Some(route) => of_route(draft, route.path()),
        None => {
            documented.and_then(|it| it.login.clone()).or_else(|| find(&draft.routes)).ok_or(LoginFailure::NoRoute)?
        }
    };
    let name = format!("POST {}", login.path);
    let body = match &login.body {
        LoginBody::Form(fields) => {
            let filled = fields.iter().map(|(name, text)| (name.clone(), fill(text, user, password)));
            AskedBody::Form(filled.collect())
        }
        LoginBody::Json(value) => AskedBody::Json(fill_json(value, user, password)),
    };
    let answer = asker
        .ask(
            Method::POST,
            &login.path,
            &[(header::ACCEPT, header::HeaderValue::from_static("application/json"))],
            Some(&body),
        )
        .await;
    let answer = answer.map_err(|source| LoginFailure::Ask { route: name.clone(), source })?;
    if !answer.is_good() {
        return Err(LoginFailure::Refused { route: name, status: answer.status, user: user.to_owned() });
    }
    let json = answer.json().unwrap_or_default();
    let (pointer, token) = token(&json).ok_or_else(|| LoginFailure::NoToken { route: name.clone() })?;
    login.token = pointer;
    crate::redact::learn(std::slice::from_ref(&token));
    Ok(LoggedIn {
        identity: identity(Some(login)),
        header: AUTHORIZATION,
        value: format!("Bearer {token}"),
        route: Some(name),
    })
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

/// The route that would log in, as the document has it or by its body.
pub(super) fn route_of(draft: &Draft) -> Option<String> {
    let documented = draft.identities.first().and_then(|it| it.login.clone());
    documented.or_else(|| find(&draft.routes)).map(|login| format!("POST {}", login.path))
}

/// The route that takes a name and a password, by its path and its body.
fn find(routes: &[DraftRoute]) -> Option<DraftLogin> {
    let mut found: Vec<(usize, DraftLogin)> = routes
        .iter()
        .filter_map(|route| {
            let path = route.route.strip_prefix("POST ")?;
            let last = path.trim_end_matches('/').rsplit('/').next()?.to_ascii_lowercase();
            let rank = LOGIN.iter().position(|word| *word == last)?;
            Some((rank, DraftLogin { path: path.to_owned(), body: body(route)?, token: String::new() }))
        })
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, login)| login).next()
}

/// The body of a route that the person names.
fn of_route(draft: &Draft, path: &str) -> DraftLogin {
    let known = draft.routes.iter().find(|route| route.route == format!("POST {path}")).and_then(body);
    let usual = || LoginBody::Json(serde_json::json!({ "username": "{user}", "password": "{password}" }));
    DraftLogin { path: path.to_owned(), body: known.unwrap_or_else(usual), token: String::new() }
}

/// The body with the places of name and password; `None` where it has not both.
fn body(route: &DraftRoute) -> Option<LoginBody> {
    match route.body.as_ref()? {
        BodyFormat::Json(Value::Object(members)) => {
            let password = members.keys().find(|name| is_secret_name(name))?;
            let user = USER.iter().find_map(|user| members.keys().find(|name| bare(name) == *user))?;
            let mut filled = members.clone();
            filled.insert(password.clone(), "{password}".into());
            filled.insert(user.clone(), "{user}".into());
            Some(LoginBody::Json(Value::Object(filled)))
        }
        // A form with a password in it is marked as a whole, with the names of its fields.
        BodyFormat::Text { text, content_type } if content_type.contains("x-www-form-urlencoded") => {
            let fields = text.split("form: ").last()?.split('&').filter_map(|field| field.split_once('='));
            let names: Vec<&str> = fields.map(|(name, _)| name).collect();
            let password = names.iter().find(|name| is_secret_name(name) && bare(name).contains("pass"))?;
            let user = USER.iter().find_map(|user| names.iter().find(|name| bare(name) == *user))?;
            let fields = [(*user, "{user}"), (*password, "{password}")];
            Some(LoginBody::Form(fields.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()))
        }
        BodyFormat::Json(_) | BodyFormat::Text { .. } => None,
    }
}

fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|it| it.to_ascii_lowercase()).collect()
}

fn fill(text: &str, user: &str, password: &str) -> String {
    match text {
        "{user}" => user.to_owned(),
        "{password}" => password.to_owned(),
        other => other.to_owned(),
    }
}

fn fill_json(value: &Value, user: &str, password: &str) -> Value {
    match value {
        Value::String(text) => fill(text, user, password).into(),
        Value::Object(members) => {
            let filled = members.iter().map(|(name, value)| (name.clone(), fill_json(value, user, password)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

/// JSON pointer and text of an answer's token.
fn token(answer: &Value) -> Option<(String, String)> {
    let mut found = Vec::new();
    collect(answer, "", DEEPEST, &mut found);
    found.sort_by_key(|(rank, ..)| *rank);
    found.into_iter().map(|(_, pointer, text)| (pointer, text)).next()
}

fn collect(value: &Value, pointer: &str, depth: usize, found: &mut Vec<(usize, String, String)>) {
    let Value::Object(members) = value else { return };
    for (name, inner) in members {
        let here = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match inner {
            Value::String(text) if !text.is_empty() => {
                let rank = TOKEN.iter().position(|token| *token == bare(name));
                found.extend(rank.map(|rank| (rank, here, text.clone())));
            }
            inner if depth > 1 => collect(inner, &here, depth - 1, found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn post(path: &str, body: Value) -> DraftRoute {
        DraftRoute { route: format!("POST {path}"), body: Some(BodyFormat::Json(body)), ..DraftRoute::default() }
    }

    #[test]
    fn the_route_that_takes_a_name_and_a_password_logs_in() {
        let routes = [
            post("/users", json!({"email": "a@example.com", "password": "TODO: password"})),
            post("/auth/login", json!({"email": "a@example.com", "password": "TODO: password", "remember": true})),
        ];
        let login = find(&routes).unwrap();
        assert_eq!(login.path, "/auth/login");
        let filled = json!({"email": "{user}", "password": "{password}", "remember": true});
        assert_eq!(login.body, LoginBody::Json(filled));
        assert_eq!(find(&[post("/auth/login", json!({"code": 7}))]), None);
        assert_eq!(find(&routes[..1]), None, "it makes a user");
    }

    #[test]
    fn a_token_is_found_in_an_answer_of_any_form() {
        for (answer, pointer) in [
            (json!({"access_token": "x", "token_type": "bearer"}), "/access_token"),
            (json!({"data": {"user": {"name": "a"}, "accessToken": "x"}}), "/data/accessToken"),
            (json!({"refresh": "y", "access": "x"}), "/access"),
        ] {
            assert_eq!(token(&answer), Some((pointer.to_owned(), "x".to_owned())), "{answer}");
        }
        assert_eq!(token(&json!({"ok": true})), None);
    }
}
