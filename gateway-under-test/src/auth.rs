//! Authentication: HS256 bearer tokens, as ContextForge's.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::GatewayError;

pub mod denied;
pub mod password;

pub use denied::Denied;

pub const ISSUER: &str = "mcpgateway";
pub const AUDIENCE: &str = "mcpgateway-api";

/// Error text of a request without a token.
pub(crate) const NO_TOKEN: &str = "Authorization token required";

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
    pub jti: String,
    /// Teams that the token speaks for: `None` if it does not say, `Some(None)` for `null`. See [`Claims::team_scope`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub teams: Option<Option<Vec<String>>>,
    /// True if the token is an administrator's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_admin: bool,
    /// ContextForge's restrictions of a token; refused where they are any, since this gateway enforces none.
    #[serde(default, skip_serializing)]
    scopes: serde_json::Value,
}

#[expect(clippy::option_option, reason = "a token that says `null` is not one that says nothing")]
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<Vec<String>>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Claims {
    /// Teams that the token lets its bearer see, by ContextForge's rules since 1.0: a token that says nothing, or `null` without
    /// being an administrator, sees what is public.
    #[must_use]
    pub fn team_scope(&self) -> TeamScope {
        match &self.teams {
            Some(None) if self.is_admin => TeamScope::Unrestricted,
            Some(Some(teams)) if !teams.is_empty() => TeamScope::Teams(teams.clone()),
            _ => TeamScope::PublicOnly,
        }
    }
}

/// Which teams a token speaks for, and so which entities its bearer sees: public ones always, those of the teams, and,
/// unless the token is public-only, the bearer's own private ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TeamScope {
    /// Every team: an administrator whose token says `"teams": null`.
    Unrestricted,
    /// No team: a token with an empty list, or without one.
    PublicOnly,
    /// Ids of the teams, at least one; the first is the team context of a permission check.
    Teams(Vec<String>),
}

impl TeamScope {
    /// The teams that are named; empty when all or none are meant.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        match self {
            Self::Teams(teams) => teams,
            Self::Unrestricted | Self::PublicOnly => &[],
        }
    }

    /// Of the named teams those that are in `members`, in their order; without any of them, what is public.
    #[must_use]
    pub fn narrowed_to(self, members: &[String]) -> Self {
        let Self::Teams(mut teams) = self else { return self };
        teams.retain(|team| members.contains(team));
        if teams.is_empty() { Self::PublicOnly } else { Self::Teams(teams) }
    }
}

/// A signed token for `email` that speaks for `teams` (an administrator's, if for all of them), valid for `lifetime_s` seconds.
///
/// # Errors
/// When the signing library refuses the key.
pub fn issue_token(
    secret: &str,
    email: &str,
    jti: &str,
    teams: &TeamScope,
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
        teams: Some((*teams != TeamScope::Unrestricted).then(|| teams.ids().to_vec())),
        is_admin: *teams == TeamScope::Unrestricted,
        scopes: serde_json::Value::Null,
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
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        // The library's default lets a token live a minute longer; PyJWT's does not.
        validation.leeway = 0;
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation }
    }

    /// The claims of the request's bearer token.
    ///
    /// # Errors
    /// [`GatewayError::Unauthorized`] with ContextForge's texts; which route shows them is the guard's matter.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Claims, GatewayError> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(GatewayError::Unauthorized(NO_TOKEN))?;
        match decode::<Claims>(token, &self.key, &self.validation) {
            Ok(token) if restricts(&token.claims.scopes) => Err(GatewayError::Unauthorized("Invalid token")),
            Ok(token) => Ok(token.claims),
            Err(refused) if *refused.kind() == ErrorKind::ExpiredSignature => {
                Err(GatewayError::Unauthorized("Token has expired"))
            }
            Err(_) => Err(GatewayError::Unauthorized("Invalid token")),
        }
    }
}

/// True if a `scopes` claim limits what its token is good for. ContextForge writes `{"permissions": ["*"], …}` with
/// nulls and empty lists into tokens that are good for everything.
fn restricts(scopes: &serde_json::Value) -> bool {
    use serde_json::Value;
    match scopes {
        Value::Null => false,
        Value::Object(scopes) => scopes.iter().any(|(key, value)| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(granted) => {
                let everything = key == "permissions" && granted.contains(&"*".into());
                !granted.is_empty() && !everything
            }
            Value::Object(_) => restricts(value),
            _ => true,
        }),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use jsonwebtoken::get_current_timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "a key of this test, long enough for HS256";
    const REFUSED: &str = "Invalid token";

    fn authenticate(authorization: &str) -> Result<Claims, String> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(authorization).map_err(|error| error.to_string())?;
        headers.insert(AUTHORIZATION, value);
        Authenticator::new(SECRET).authenticate(&headers).map_err(|error| error.to_string())
    }

    fn claims() -> Value {
        let now = get_current_timestamp();
        json!({ "sub": "user-1@example.com", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": "1" })
    }

    fn bearer(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let token = encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        format!("Bearer {token}")
    }

    fn with(key: &str, value: Value) -> Value {
        let mut changed = claims();
        changed[key] = value;
        changed
    }

    fn without(key: &str) -> Value {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove(key);
        changed
    }

    #[test]
    fn a_token_that_was_issued_here_says_who_is_asking_and_for_which_teams() {
        let teams = TeamScope::Teams(vec!["team".to_owned()]);
        let token = issue_token(SECRET, "user-1@example.com", "7", &teams, 60).unwrap();
        let claims = authenticate(&format!("Bearer {token}")).unwrap();
        assert_eq!((claims.sub.as_str(), claims.jti.as_str()), ("user-1@example.com", "7"));
        assert_eq!(claims.team_scope(), teams);
    }

    #[test]
    fn a_token_without_teams_sees_what_is_public_even_an_administrators() {
        let team = || TeamScope::Teams(vec!["team".to_owned()]);
        let cases = [
            (None, false, TeamScope::PublicOnly),
            (None, true, TeamScope::PublicOnly),
            (Some(json!(null)), false, TeamScope::PublicOnly),
            (Some(json!(null)), true, TeamScope::Unrestricted),
            (Some(json!([])), false, TeamScope::PublicOnly),
            (Some(json!([])), true, TeamScope::PublicOnly),
            (Some(json!(["team"])), false, team()),
            (Some(json!(["team"])), true, team()),
        ];
        for (teams, is_admin, wanted) in cases {
            let mut text_seen = with("is_admin", json!(is_admin));
            if let Some(teams) = &teams {
                text_seen["teams"] = teams.clone();
            }
            let claims = authenticate(&bearer(Algorithm::HS256, SECRET, &text_seen)).unwrap();
            assert_eq!(claims.team_scope(), wanted, "teams {teams:?}, is_admin {is_admin}");
            assert_eq!(serde_json::to_value(&claims).unwrap().get("teams"), teams.as_ref(), "kept as it came");
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_token_it_is_refused_and_only_its_age_is_named() {
        let now = get_current_timestamp();
        let signed = |claims: Value| bearer(Algorithm::HS256, SECRET, &claims);
        // {"alg":"none"} over our own claims, without a signature.
        let unsigned = |signature: &str| {
            let body = signed(claims());
            let body = body.split('.').nth(1).unwrap().to_owned();
            format!("Bearer eyJhbGciOiJub25lIn0.{body}.{signature}")
        };
        let cases = [
            ("an empty token", "Bearer ".to_owned()),
            ("no token at all", "Bearer a.b.c".to_owned()),
            ("no signature", unsigned("")),
            ("a signature that `none` does not need", unsigned("AAAA")),
            ("another key", bearer(Algorithm::HS256, "another key, as long as the one above", &claims())),
            ("another algorithm with the right key", bearer(Algorithm::HS512, SECRET, &claims())),
            ("no expiry", signed(without("exp"))),
            ("another issuer", signed(with("iss", json!("somebody")))),
            ("no issuer", signed(without("iss"))),
            ("another audience", signed(with("aud", json!("another-api")))),
            ("no audience", signed(without("aud"))),
            ("nobody", signed(without("sub"))),
            ("no id, which a revocation would need", signed(without("jti"))),
            ("teams that are no list", signed(with("teams", json!("team-1")))),
            ("one permission", signed(with("scopes", json!({ "permissions": ["tools.read"] })))),
            ("one server", signed(with("scopes", json!({ "server_id": "s1", "permissions": [] })))),
            ("office hours", signed(with("scopes", json!({ "time_restrictions": { "weekdays_only": true } })))),
            ("scopes that are no object", signed(with("scopes", json!("everything")))),
        ];
        for (what, authorization) in cases {
            assert_eq!(authenticate(&authorization).unwrap_err(), REFUSED, "{what}");
        }
        let a_second_ago = signed(with("exp", json!(now - 1)));
        assert_eq!(authenticate(&a_second_ago).unwrap_err(), "Token has expired");
    }

    #[test]
    fn a_token_with_scopes_that_restrict_nothing_is_accepted() {
        for scopes in [
            json!(null),
            json!({}),
            json!({ "permissions": ["*"], "server_id": null, "ip_restrictions": [], "time_restrictions": {} }),
        ] {
            let token = bearer(Algorithm::HS256, SECRET, &with("scopes", scopes.clone()));
            assert!(authenticate(&token).is_ok(), "{scopes}");
        }
    }

    #[test]
    fn without_a_bearer_token_one_is_asked_for() {
        for authorization in ["", "Basic dXNlcjpwYXNz", "bearer", "Token x"] {
            assert_eq!(authenticate(authorization).unwrap_err(), "Authorization token required", "`{authorization}`");
        }
    }

    proptest! {
        #[test]
        fn a_token_that_was_changed_anywhere_is_refused(position in 0_usize..4096, letter in "[A-Za-z0-9_.-]") {
            let token = issue_token(SECRET, "user-1@example.com", "7", &TeamScope::PublicOnly, 60).unwrap();
            let position = position % token.len();
            let mut changed = token.clone();
            changed.replace_range(position..=position, &letter);
            // The last letter of a signature has two bits that no byte takes; the library refuses them if set.
            if changed != token {
                let answer = authenticate(&format!("Bearer {changed}"));
                prop_assert!(answer.is_err());
            }
        }

        #[test]
        fn no_text_makes_the_token_parser_panic(text in "[ -~]{0,200}") {
            let answer = authenticate(&format!("Bearer {text}"));
            prop_assert!(answer.is_err());
        }
    }
}
