//! Logins: requests, sent once before the load, whose answers hold tokens.

use std::collections::BTreeMap;
use std::fmt;

use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Url};

use super::ceiling::Ceiling;
use super::outcome::READ_MOST;
use super::template::filled_by_name;
use super::{Identity, SwarmError};
use crate::scenario::service::Login;
use crate::units::Rate;

/// Logins that go on at once: a service hashes each password for a while.
const AT_ONCE: usize = 4;

/// Credentials of a user.
#[derive(Clone, Debug)]
pub enum LoginCredentials {
    Known(Identity),
    Login(Box<LoginRequest>),
}

impl LoginCredentials {
    /// Secrets by which others could pose as them, as far as they are known before a login.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self {
            Self::Known(identity) => identity.secrets(),
            Self::Login(login) => login.values.get("password").into_iter().cloned().collect(),
        }
    }
}

/// The login of one user.
#[derive(Clone)]
pub struct LoginRequest {
    /// Owner, for messages: `identity[1], row 3`.
    pub who: String,
    /// Request with holes.
    pub login: Login,
    /// Values for the holes: a name, a password, columns.
    pub values: BTreeMap<String, String>,
    /// Values for holes in routes.
    pub columns: BTreeMap<String, String>,
}

impl fmt::Debug for LoginRequest {
    /// Without the values: a password is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the login of {} by {}", self.who, self.login.route)
    }
}

/// Lets everybody log in who must, at the service at `base`, under the ceiling of requests a second.
///
/// # Errors
/// [`SwarmError::Login`] for the first that fails.
pub async fn log_in(
    client: &Client,
    base: &Url,
    credentials: &[LoginCredentials],
    most: Option<Rate>,
) -> Result<Vec<Identity>, SwarmError> {
    let ceiling = most.map(|rate| Ceiling::of(rate.get()));
    let ceiling = ceiling.as_ref();
    let known = credentials.iter().map(|it| async move {
        match it {
            LoginCredentials::Known(identity) => Ok(identity.clone()),
            LoginCredentials::Login(request) => {
                if let Some(ceiling) = ceiling {
                    tokio::time::sleep_until(ceiling.next_place().into()).await;
                }
                request.send(client, base).await
            }
        }
    });
    stream::iter(known).buffered(AT_ONCE).try_collect().await
}

impl LoginRequest {
    async fn send(&self, client: &Client, base: &Url) -> Result<Identity, SwarmError> {
        let failed =
            |reason: String| SwarmError::Login { who: self.who.clone(), route: self.login.route.to_string(), reason };
        // The error of a client may hold the URL; its kind is enough.
        let unreached = |error: reqwest::Error| {
            let what = if error.is_timeout() { "no answer in time" } else { "no connection, or a broken one" };
            failed(what.to_owned())
        };
        let mut response = client.execute(self.request(base)).await.map_err(unreached)?;
        let status = response.status();
        if !status.is_success() {
            return Err(failed(format!("HTTP {}", status.as_u16())));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unreached)? {
            if body.len() + chunk.len() > READ_MOST {
                return Err(failed(format!("HTTP {}, and an answer longer than {READ_MOST} bytes", status.as_u16())));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let token = answer.as_ref().and_then(|it| it.pointer(&self.login.token)?.as_str());
        let Some(token) = token else {
            return Err(failed(format!("HTTP {}, without a text at `{}`", status.as_u16(), self.login.token)));
        };
        let header = HeaderName::from_bytes(self.login.header.as_bytes());
        let value = HeaderValue::from_str(&format!("{}{token}", self.login.prefix));
        let (Ok(header), Ok(value)) = (header, value) else {
            return Err(failed(format!("the token at `{}` cannot stand in a header", self.login.token)));
        };
        Ok(Identity::of([(header, value)]).with_columns(self.columns.clone()))
    }

    fn request(&self, base: &Url) -> Request {
        let values: Vec<(&str, &str)> =
            self.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // The scenario has been checked: its methods are methods.
        let method = Method::from_bytes(self.login.route.method().as_bytes()).unwrap_or(Method::POST);
        let mut url = base.clone();
        let path = filled_by_name(self.login.route.path(), &values, false);
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        let mut request = Request::new(method, url);
        let (body, content_type) = if let Some(json) = &self.login.json {
            (filled_by_name(&json.to_string(), &values, true), "application/json")
        } else {
            let mut form = base.clone();
            form.set_query(None);
            for (name, value) in &self.login.form {
                form.query_pairs_mut().append_pair(name, &filled_by_name(value, &values, false));
            }
            (form.query().unwrap_or_default().to_owned(), "application/x-www-form-urlencoded")
        };
        if !body.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            *request.body_mut() = Some(body.into());
        }
        request
    }
}
