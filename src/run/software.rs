//! What a service is made of: the process at its port, and what its answers say of themselves.

use std::net::SocketAddr;
use std::time::Duration;

use super::processes;
use super::remote_guard::on_loopback;
use crate::record::Software;
use crate::scenario::service::BaseUrl;

/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Longer headers than this are cut.
const LONGEST: usize = 100;

/// What shows of the service; `None` where nothing does. A request is made where it has a health path, which takes many.
pub(super) async fn software_of(
    client: reqwest::ClientBuilder,
    url: &BaseUrl,
    health: Option<&str>,
) -> Option<Software> {
    let process = on_loopback(url.host()).and_then(|ip| processes::listener(SocketAddr::new(ip, url.port())));
    let answer = match (client.timeout(TIMEOUT).build(), health) {
        (Ok(client), Some(path)) => client.get(url.with_path(path)).send().await.ok(),
        _ => None,
    };
    let header = |name: &str| {
        let value = answer.as_ref()?.headers().get(name)?.to_str().ok()?;
        Some(value.chars().take(LONGEST).collect())
    };
    let found = Software { process, server: header("server"), powered_by: header("x-powered-by") };
    (found != Software::default()).then_some(found)
}
