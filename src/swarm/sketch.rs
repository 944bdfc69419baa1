//! Sketch of a load's requests, which nobody sends.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use reqwest::Url;

use super::SwarmError;
use super::files::Files;
use super::service::task;
use crate::scenario::service::ServiceRoute;

/// A request as it would be sent, without who the user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    pub method: String,
    pub url: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, where there is one; what is no text is replaced.
    pub body: Option<String>,
}

/// Draws `count` requests of a route to the service at `base`. `known` are names that users or answers fill.
///
/// # Errors
/// [`SwarmError::Header`] when a header cannot be sent.
pub fn sketch(
    route: &ServiceRoute,
    files: &Files,
    known: &[String],
    base: &Url,
    seed: u64,
    count: usize,
) -> Result<Vec<Sketch>, SwarmError> {
    let task = task(route, &[], known, files)?;
    let mut random = SmallRng::seed_from_u64(seed);
    // What only a user knows, or an answer, stays a hole.
    let holes: Vec<Option<Arc<str>>> = known.iter().map(|name| Some(format!("{{{name}}}").into())).collect();
    let requests = std::iter::repeat_with(|| task.request(base, &mut random, &holes)).take(count).flatten();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(requests
        .map(|request| Sketch {
            method: request.method().to_string(),
            url: request.url().as_str().replace("%7B", "{").replace("%7D", "}"),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), lossy(value.as_bytes())))
                .collect(),
            body: request.body().map(|body| lossy(body.as_bytes().unwrap_or_default())),
        })
        .collect())
}
