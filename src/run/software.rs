//! What a service is made of: the process at its port, and what its answers say of themselves.

use std::time::Duration;

use super::processes;
use crate::record::Software;
use crate::scenario::service::BaseUrl;

/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longer headers than this are cut.
const LONGEST: usize = 100;

/// What shows of the service; `None` where nothing does.
pub(super) async fn software_of(client: reqwest::ClientBuilder, url: &BaseUrl, path: &str) -> Option<Software> {
    let process = processes::listener(&[url.port()]);
    let answer = match client.timeout(TIMEOUT).build() {
        Ok(client) => client.get(url.with_path(path)).send().await.ok(),
        Err(_) => None,
    };
    let header = |name: &str| {
        let value = answer.as_ref()?.headers().get(name)?.to_str().ok()?;
        Some(value.chars().take(LONGEST).collect())
    };
    let found = Software { process, server: header("server"), powered_by: header("x-powered-by") };
    (found != Software::default()).then_some(found)
}
