//! A first scenario for an external service, from what there is: an OpenAPI document, a list of URLs, an access log.
//!
//! Pure: texts go in, a [`Draft`] comes out, and [`mod@file`] writes it as a commented scenario. Nothing is made up where a
//! wrong value would only be answered with 404 or 422: such a place is marked ([`todo`](crate::scenario::service::todo)),
//! and `scenario check` names it. Secrets are never copied.

pub mod access_log;
mod body;
pub mod file;
#[cfg(test)]
mod ids_tests;
pub mod known_paths;
mod observed_route;
pub mod openapi;
mod paths;
mod traffic;
pub mod urls;
mod words;

use crate::scenario::service::todo::MARK;
use crate::scenario::service::{BaseUrl, Scalar, Values};

pub use body::BodyFormat;

/// The most routes that a draft has: beyond that nobody reads the file.
pub const MOST_ROUTES: usize = 200;

/// The most values that are written for one parameter.
const MOST_VALUES: usize = 30;

/// A scenario to be, with what its reader should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub name: String,
    pub title: String,
    /// Source of the draft: "`shop.json` (OpenAPI 3.1.0)".
    pub origin: String,
    /// Address of the service; `None` when nothing states it.
    pub target: Option<BaseUrl>,
    /// Comments on the target.
    pub target_comments: Vec<String>,
    /// The path of its health check.
    pub health: Option<String>,
    pub identities: Vec<DraftIdentity>,
    pub routes: Vec<DraftRoute>,
    /// Left out parts, with reasons.
    pub notes: Vec<String>,
}

/// Credentials of users, to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftIdentity {
    /// Keys and values, in order.
    pub settings: Vec<(&'static str, String)>,
    /// The request that gives a token for name and password.
    pub login: Option<DraftLogin>,
    /// The variable that has to be set.
    pub variable: String,
    /// Comments on it.
    pub comments: Vec<String>,
}

/// A request that gives a token: `POST` to a path, with `{user}` and `{password}` in its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftLogin {
    pub path: String,
    pub body: LoginBody,
    /// JSON pointer of the token in its answer.
    pub token: String,
}

impl DraftLogin {
    /// As OAuth 2 has it (RFC 6749, 4.3).
    fn by_password_flow(path: String) -> Self {
        let fields = [("grant_type", "password"), ("username", "{user}"), ("password", "{password}")];
        let fields = fields.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self { path, body: LoginBody::Form(fields.to_vec()), token: "/access_token".to_owned() }
    }
}

/// Body of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginBody {
    Form(Vec<(String, String)>),
    Json(serde_json::Value),
}

/// One thing that users do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftRoute {
    /// Method and path template.
    pub route: String,
    /// Weight; 1 is not written.
    pub weight: u32,
    /// Values of each parameter.
    pub params: Vec<(String, Values)>,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Option<BodyFormat>,
    /// True if its answer is a stream, which is read for a while.
    pub streams: bool,
    /// Statuses of a good answer, where they are not 200 to 299.
    pub expect: Vec<u16>,
    /// True if it is switched off until data may change.
    pub changes_data: bool,
    /// Comments on it.
    pub comments: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{origin} is not an OpenAPI document: {reason}")]
    NoDocument { origin: String, reason: String },
    #[error("{origin} says {seen}: expected OpenAPI 3 or Swagger 2.0")]
    Version {
        origin: String,
        /// The version that it states.
        seen: String,
    },
    #[error("`--url`: {0}")]
    Url(String),
    #[error("`--url` names `{first}` and `{other}`: one service at a time")]
    TwoServices { first: String, other: String },
    #[error("cannot read {origin}")]
    Log {
        origin: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{origin} has no line of a known access log; its first is {first:?}. Known are {}; another is described with `--log-format`",
        crate::access::FORMS
    )]
    NoLog {
        origin: String,
        /// Its first line, cut.
        first: String,
    },
    #[error("{origin} has no route that can be asked for{}", because(notes))]
    NoRoutes {
        /// The source that had none.
        origin: String,
        /// Left out parts.
        notes: Vec<String>,
    },
}

fn because(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; ")) }
}

/// Switches off what may change data: other methods than `GET`, and paths whose last word says that something is done.
fn with_cautions(mut route: DraftRoute) -> DraftRoute {
    let path = route.route.split(' ').nth(1).unwrap_or_default();
    if !route.route.starts_with("GET ") {
        route.changes_data = true;
    } else if paths::says_that_it_acts(path) {
        route.changes_data = true;
        route.comments.push("Its name says that it does something: switched off.".to_owned());
    }
    route
}

/// Values that somebody has to give, with what they are.
fn todo_values(what: &str) -> Values {
    Values::List(vec![Scalar::Text(todo(what))])
}

/// A text that stands where somebody has to give one.
fn todo(what: &str) -> String {
    format!("{MARK} {}", short(what))
}

/// A few words of what others wrote, in one line.
fn short(text: &str) -> String {
    const LONGEST: usize = 100;
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = line.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A name for the scenario, and its folders, from what others call the service.
fn name_from(text: &str) -> String {
    const LONGEST: usize = 40;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    let name: String = name.chars().take(LONGEST).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "my-service".to_owned() } else { name.to_owned() }
}

/// A variable's name: `SHOP_TOKEN`.
fn variable_from(name: &str, what: &str) -> String {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let first = name.starts_with(|c: char| c.is_ascii_digit());
    format!("{}{name}_{what}", if first { "SERVICE_" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_whatever_the_service_is_called() {
        for (text, name) in [
            ("Shop API", "shop-api"),
            ("  ", "my-service"),
            ("Ünïcode & Söhne v1.2", "n-code-s-hne-v1-2"),
            ("-- 7 --", "7"),
            (&"long ".repeat(50), "long-long-long-long-long-long-long-long"),
        ] {
            assert_eq!(name_from(text), name, "{text:?}");
        }
        assert_eq!(variable_from("shop-api", "TOKEN"), "SHOP_API_TOKEN");
        assert_eq!(variable_from("7", "TOKEN"), "SERVICE_7_TOKEN");
    }

    #[test]
    fn words_of_others_are_one_short_line() {
        assert_eq!(short(" a\n\tb\u{7} c "), "a b c");
        assert_eq!(short(&"ä".repeat(200)).chars().count(), 101);
    }
}
