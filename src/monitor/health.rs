//! The health probe: a fresh connection each time, as a container's health check makes.
//!
//! A connection that is kept alive would see one worker of the replica only, and a frozen one would look like a frozen
//! replica.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Sink, replica_number};
use crate::record::{Event, HealthSample, Sample};
use crate::scenario::Health;
use crate::tls::{ClientTls, certificate_fault};

/// Health check of a replica.
#[derive(Clone, Debug)]
pub struct HealthProbe {
    /// The path, behind the base URL.
    pub path: String,
    /// Definition of a good answer.
    pub good: Good,
    /// Addresses of names: no probe of these goes anywhere else.
    pub resolved: Vec<(String, Vec<SocketAddr>)>,
    /// Certificates of your own.
    pub tls: ClientTls,
}

/// Definition of a good answer to a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    /// One whose body says `"healthy"`, since the status lies.
    Body,
    /// One whose status is of 200 to 299.
    Status,
}

impl Default for HealthProbe {
    /// As the reference gateway is asked.
    fn default() -> Self {
        Self { path: "/health".to_owned(), good: Good::Body, resolved: Vec::new(), tls: ClientTls::default() }
    }
}

pub(super) fn client(health: &Health, probe: &HealthProbe) -> reqwest::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .timeout(health.timeout.duration())
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none());
    probe.prepare(client).build()
}

impl HealthProbe {
    /// A client that goes where this one's probes may go, as they do.
    pub(super) fn prepare(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let client = client.user_agent(concat!("rbac-bench/", env!("CARGO_PKG_VERSION"))).no_proxy();
        // Nothing is asked for packed, and nothing unpacked: ten kilobytes may be ten megabytes.
        let client = client.no_gzip().no_brotli().no_deflate().no_zstd();
        let resolve = |client: reqwest::ClientBuilder, (name, addresses): &(String, Vec<SocketAddr>)| {
            client.resolve_to_addrs(name, addresses)
        };
        self.tls.apply(self.resolved.iter().fold(client, resolve))
    }
}

/// Probes one replica.
pub(super) struct Prober {
    index: usize,
    url: String,
    health: Health,
    client: reqwest::Client,
    good: Good,
    state: HealthState,
}

/// Up until so many probes in a row have failed; down until one is good.
#[derive(Debug, PartialEq, Eq)]
struct HealthState {
    up: bool,
    failed_in_a_row: u32,
}

impl Prober {
    pub(super) fn new(
        index: usize,
        base_url: &str,
        health: Health,
        probe: &HealthProbe,
        client: reqwest::Client,
    ) -> Self {
        let url = format!("{base_url}{}", probe.path);
        Self { index, url, health, client, good: probe.good, state: HealthState { up: true, failed_in_a_row: 0 } }
    }

    pub(super) async fn run(mut self, sink: Arc<dyn Sink>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.health.interval.duration());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(error) = stop.run_until_cancelled(self.probe()).await else { return };
            let now = Instant::now();
            let replica = replica_number(self.index);
            let was_up = self.state.up;
            self.state.note(error.is_none(), self.health.retries.get());
            let up = self.state.up;
            sink.take(now, Sample::Health(HealthSample { replica, up, error }));
            match (was_up, up) {
                (true, false) => sink.take(now, Sample::Event(Event::ReplicaDown { replica })),
                (false, true) => sink.take(now, Sample::Event(Event::ReplicaUp { replica })),
                _ => {}
            }
        }
    }

    /// One probe: `None` when it was good, else what was wrong.
    async fn probe(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct HealthBody {
            status: String,
            #[serde(default)]
            error: String,
        }
        if self.good == Good::Status {
            // `error_for_status` lets redirects pass, which are no answer.
            return match self.client.get(&self.url).send().await {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("HTTP {}", answer.status().as_u16())),
                Err(error) => Some(self.reported(error)),
            };
        }
        let answer = async { self.client.get(&self.url).send().await?.error_for_status()?.json::<HealthBody>().await };
        match answer.await {
            Ok(body) if body.status == "healthy" => None,
            Ok(body) => Some(format!("{}: {}", body.status, body.error)),
            Err(error) => Some(self.reported(error)),
        }
    }

    fn reported(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {}", self.health.timeout);
        }
        let fault = certificate_fault(&error);
        let reason = error.without_url().to_string();
        fault.map_or_else(|| reason.clone(), |fault| format!("{reason}: {fault}"))
    }
}

impl HealthState {
    fn note(&mut self, good: bool, retries: u32) {
        self.failed_in_a_row = if good { 0 } else { self.failed_in_a_row + 1 };
        self.up = good || (self.up && self.failed_in_a_row < retries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_down_after_some_failures_and_up_after_one_success() {
        let mut state = HealthState { up: true, failed_in_a_row: 0 };
        let mut seen = Vec::new();
        for good in [false, false, true, false, false, false, false, true] {
            state.note(good, 3);
            seen.push(state.up);
        }
        assert_eq!(seen, [true, true, true, true, true, false, false, true]);
    }
}
