//! The health probe: a fresh connection each time, as a container's health check makes.
//!
//! A connection that is kept alive would see one worker of the replica only, and a frozen one would look like a frozen
//! replica.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Sink, replica_number};
use crate::record::{Event, HealthSample, Sample};
use crate::scenario::Health;

pub(super) fn client(health: &Health) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(health.timeout.duration()).pool_max_idle_per_host(0).no_proxy().build()
}

/// Probes one replica.
pub(super) struct Prober {
    index: usize,
    url: String,
    health: Health,
    client: reqwest::Client,
    state: State,
}

/// Up until so many probes in a row have failed; down until one is good.
#[derive(Debug, PartialEq, Eq)]
struct State {
    up: bool,
    failed_in_a_row: u32,
}

impl Prober {
    pub(super) fn new(index: usize, base_url: &str, health: Health, client: reqwest::Client) -> Self {
        let url = format!("{base_url}/health");
        Self { index, url, health, client, state: State { up: true, failed_in_a_row: 0 } }
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

    /// One probe: `None` when it was good, else what was wrong. The body is read, since the status lies.
    async fn probe(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Body {
            status: String,
            #[serde(default)]
            error: String,
        }
        let answer = async { self.client.get(&self.url).send().await?.error_for_status()?.json::<Body>().await };
        match answer.await {
            Ok(body) if body.status == "healthy" => None,
            Ok(body) => Some(format!("{}: {}", body.status, body.error)),
            Err(error) if error.is_timeout() => Some(format!("no answer within {}", self.health.timeout)),
            Err(error) => Some(error.without_url().to_string()),
        }
    }
}

impl State {
    fn note(&mut self, good: bool, retries: u32) {
        self.failed_in_a_row = if good { 0 } else { self.failed_in_a_row + 1 };
        self.up = good || (self.up && self.failed_in_a_row < retries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_down_after_enough_failures_in_a_row_and_up_after_one_good_probe() {
        let mut state = State { up: true, failed_in_a_row: 0 };
        let mut seen = Vec::new();
        for good in [false, false, true, false, false, false, false, true] {
            state.note(good, 3);
            seen.push(state.up);
        }
        assert_eq!(seen, [true, true, true, true, true, false, false, true]);
    }
}
