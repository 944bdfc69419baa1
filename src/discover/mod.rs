//! Discovery of a service by its URL: its API document, its login, and existing ids.
//!
//! `GET` requests alone are sent, one at a time, but for one login where the person gave a name and a password. What was
//! found becomes a draft of a scenario (`init`), whose routes have all been answered once; what could not be completed is
//! left out with its reason.

mod gaps;
mod ids;
mod login;
mod places;
mod routes;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::init::openapi::{self, OpenApiSource};
use crate::init::{Draft, InitError};
use crate::run::{AskError, Asker};
use crate::scenario::service::{BaseUrl, RouteName};
pub use login::LoginFailure;
pub use routes::LeftOut;

/// Settings beside the URL: document, identity, values, hosts.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// A document that the person has, with its name; else the usual places are asked.
    pub document: Option<(String, String)>,
    pub who: Who,
    /// Values of parameters, by name.
    pub values: Vec<(String, Vec<String>)>,
    pub allow_remote: Vec<String>,
}

/// Who asks. A secret is there with the variable that holds it.
#[derive(Clone, Default)]
pub enum Who {
    #[default]
    Nobody,
    Bearer {
        variable: String,
        token: String,
    },
    Header {
        name: HeaderName,
        variable: String,
        value: String,
    },
    Password {
        user: String,
        variable: String,
        password: String,
        /// The route that logs in; else it is looked for in the document.
        login: Option<RouteName>,
    },
}

impl std::fmt::Debug for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody",
            Self::Bearer { .. } => "a bearer token",
            Self::Header { .. } => "a header",
            Self::Password { .. } => "a name and a password",
        })
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// Its routes are those that can be asked, and those that change data.
    pub draft: Draft,
    pub left_out: Vec<LeftOut>,
    /// The route that logs in; `None` where nobody logs in.
    pub login: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("cannot ask `{url}`")]
    Ask {
        url: String,
        #[source]
        source: AskError,
    },
    #[error(transparent)]
    Document(#[from] InitError),
    #[error("found no API document at `{url}`: tried {}", tried.join(", "))]
    NoDocument { url: String, tried: Vec<String> },
    #[error("cannot log in")]
    Login(#[from] LoginFailure),
    #[error("the value of the variable `{variable}` cannot be a header's: expected visible ASCII")]
    Header { variable: String },
    #[error("no route of `{url}` can be asked{}", reasons(left_out))]
    NoRoutes {
        url: String,
        left_out: Vec<LeftOut>,
        /// The route that would log in.
        login: Option<String>,
    },
}

/// The first reason, and how many more there are.
fn reasons(left_out: &[LeftOut]) -> String {
    let [first, more @ ..] = left_out else { return String::new() };
    let more = if more.is_empty() { String::new() } else { format!(", and {} more routes", more.len()) };
    format!(": {}: {}{more}", first.route, first.why)
}

impl DiscoverError {
    /// True if the request made no sense, or something is missing that only the person has.
    pub fn is_bad_request(&self) -> bool {
        match self {
            Self::Ask { source, .. } => source.is_bad_request(),
            Self::Document(_) | Self::NoDocument { .. } | Self::Header { .. } => true,
            Self::Login(failure) => failure.is_bad_request(),
            Self::NoRoutes { .. } => false,
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ask { source, .. } => {
                source.hint().or_else(|| Some("start the service, or give the URL at which it answers".to_owned()))
            }
            Self::NoDocument { .. } => Some(
                "`--openapi FILE` names a document; without one, `rbac-bench init --access-log FILE` or `--url URL…` makes a \
                 scenario of what was asked before"
                    .to_owned(),
            ),
            Self::NoRoutes { login: Some(login), .. } => {
                Some(format!("`--user NAME --password-env VARIABLE` logs in with {login}; `--bearer-env VARIABLE` has a token"))
            }
            Self::NoRoutes { left_out, .. } => left_out.iter().find_map(|it| it.cure.clone()),
            Self::Login(failure) => failure.hint(),
            Self::Document(_) | Self::Header { .. } => None,
        }
    }
}

/// Finds out what a service has.
///
/// # Errors
/// When it does not answer, or has no document or no route that can be asked.
pub async fn discover(url: &BaseUrl, given: &Given) -> Result<Discovered, DiscoverError> {
    let failed = |source| DiscoverError::Ask { url: url.to_string(), source };
    let mut asker = Asker::new(url, &given.allow_remote).await.map_err(failed)?;
    let (text, origin, found_at) = if let Some((text, origin)) = &given.document {
        (text.clone(), origin.clone(), None)
    } else {
        let found = places::find(&asker, url).await?;
        (found.text, format!("`{}`", found.url), Some(url.clone()))
    };
    let target = given.document.is_some().then(|| url.clone());
    let mut draft = openapi::draft(&text, &OpenApiSource { origin, target, found_at, ..OpenApiSource::default() })?;
    if let Some(base) = draft.target.clone().filter(|base| base != url) {
        // Its paths are behind those of the document's server.
        asker = Asker::new(&base, &given.allow_remote).await.map_err(failed)?;
    }
    let logs_in = login::route_of(&draft);
    let login = identify(&mut draft, &mut asker, &given.who).await?;
    let routes = std::mem::take(&mut draft.routes);
    let completed = routes::complete(&asker, routes, given, login.as_deref()).await;
    draft.routes = completed.routes;
    draft.notes.extend(completed.left_out.iter().map(|it| format!("{}: {}", it.route, it.why)));
    if draft.health.is_none() {
        draft.health = places::health(&asker).await;
    }
    if !draft.routes.iter().any(|route| !route.changes_data) {
        let left_out: Vec<LeftOut> = completed.left_out.into_iter().filter(|it| !it.changes_data).collect();
        let needs_identity = left_out.iter().any(|it| it.needs_identity) && matches!(given.who, Who::Nobody);
        let login = logs_in.filter(|_| needs_identity);
        return Err(DiscoverError::NoRoutes { url: url.to_string(), left_out, login });
    }
    Ok(Discovered { draft, left_out: completed.left_out, login })
}

/// Gives draft and asker the identity of who asks; the route that logs in, if one does.
async fn identify(draft: &mut Draft, asker: &mut Asker, who: &Who) -> Result<Option<String>, DiscoverError> {
    let header = |text: String, variable: &String| {
        let mut value =
            HeaderValue::try_from(text).map_err(|_invalid| DiscoverError::Header { variable: variable.clone() })?;
        value.set_sensitive(true);
        Ok::<_, DiscoverError>(value)
    };
    match who {
        Who::Nobody => draft.identities.clear(),
        Who::Bearer { variable, token } => {
            asker.identify(AUTHORIZATION, header(format!("Bearer {}", token.trim()), variable)?);
            draft.identities = vec![login::of_variable("bearer_env", variable, None)];
        }
        Who::Header { name, variable, value } => {
            asker.identify(name.clone(), header(value.trim().to_owned(), variable)?);
            draft.identities = vec![login::of_variable("value_env", variable, Some(name.as_str()))];
        }
        Who::Password { user, variable, password, login } => {
            let found = login::log_in(draft, asker, (user, variable, password), login.as_ref()).await?;
            asker.identify(found.header, header(found.value, variable)?);
            draft.identities = vec![found.identity];
            return Ok(found.route);
        }
    }
    Ok(None)
}
