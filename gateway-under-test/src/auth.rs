//! Who is asking: HS256 bearer tokens, as ContextForge's.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::error::GatewayError;

/// Who issues the tokens.
pub const ISSUER: &str = "mcpgateway";
/// Whom they are for.
pub const AUDIENCE: &str = "mcpgateway-api";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// E-mail of the user.
    pub sub: String,
    /// [`ISSUER`].
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// Issued at, seconds since 1970.
    pub iat: u64,
    /// Expires at, seconds since 1970.
    pub exp: u64,
    /// Unique id.
    pub jti: String,
    /// Teams that the token speaks for; the first is the team context of a permission check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
}

/// A signed token for `email` that speaks for `teams`, valid for `lifetime_s` seconds.
///
/// # Errors
/// When the signing library refuses the key.
pub fn issue_token(
    secret: &str,
    email: &str,
    jti: &str,
    teams: &[String],
    lifetime_s: u64,
) -> Result<String, jsonwebtoken::errors::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = Claims {
        sub: email.to_owned(),
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: now,
        exp: now + lifetime_s,
        jti: jti.to_owned(),
        teams: teams.to_vec(),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
}

/// Checks tokens of one key.
pub struct Authenticator {
    key: DecodingKey,
    validation: Validation,
}

impl Authenticator {
    /// An authenticator of tokens signed with `secret`.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation }
    }

    /// The claims of the request's bearer token.
    ///
    /// # Errors
    /// [`GatewayError::Unauthorized`] with ContextForge's texts.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Claims, GatewayError> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(GatewayError::Unauthorized("Authorization token required"))?;
        decode::<Claims>(token, &self.key, &self.validation)
            .map(|token| token.claims)
            .map_err(|_refused| GatewayError::Unauthorized("Invalid authentication credentials"))
    }
}
