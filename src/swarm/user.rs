//! One user: think, pick a task, send it to a replica, judge the answer.

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use reqwest::{Client, Request, Response};
use tokio_util::sync::CancellationToken;

use super::ceiling::Ceiling;
use super::fleet::Fleet;
use super::judge::{Mask, READ_MOST, STREAM_READ, judge};
use super::open::Schedule;
use super::plan::{Class, Task};
use super::profile::Profile;
use super::recorder::{Recorder, RequestOutcome};
use super::solo::{Asked, Ended, NO_ANSWER};
use super::{Clock, Identity};
use crate::scenario::Balance;
use crate::units::Span;

/// What all users share.
pub(super) struct Shared {
    /// One client for all: identity travels in a header, and a client for each user costs 105 KB.
    pub(super) client: Client,
    pub(super) client_timeout: Span,
    pub(super) classes: Vec<Class>,
    /// Handed out in order; users beyond the last begin again.
    pub(super) identities: Vec<Identity>,
    pub(super) recorder: Recorder,
    pub(super) fleet: std::sync::Arc<Fleet>,
    pub(super) profile: Profile,
    /// How the schedule of an open workload was kept.
    pub(super) schedule: Schedule,
    /// The most requests a second of a closed one.
    pub(super) ceiling: Option<Ceiling>,
    pub(super) seed: u64,
    pub(super) balance: Balance,
    /// Users that have a number.
    pub(super) assigned: AtomicU32,
    /// Users of a closed workload whose turn it is; of an open one, those with a request.
    pub(super) active: AtomicU32,
    /// What a service may repeat in an answer, and no record may.
    pub(super) secrets: Vec<String>,
}

impl Shared {
    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), "…") } else { text }
        })
    }
}

/// One user's own state. `Clone` because goose asks it of what it keeps for a user.
#[derive(Clone)]
pub(super) struct User {
    pub(super) index: u32,
    class: usize,
    identity: Identity,
    random: SmallRng,
}

impl User {
    pub(super) fn new(shared: &Shared, index: u32, class: usize) -> Self {
        let identity = &shared.identities[index as usize % shared.identities.len()];
        Self {
            index,
            class,
            identity: identity.clone(),
            random: SmallRng::seed_from_u64(shared.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(index)),
        }
    }

    pub(super) fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }

    /// One turn of a closed workload: a think time and a request; cut short by `stop`.
    pub(super) async fn turn(&mut self, shared: &Shared, clock: Clock, stop: &CancellationToken) {
        let think = shared.classes[self.class].think(&mut self.random);
        let ready = async {
            tokio::time::sleep(think).await;
            if let Some(ceiling) = &shared.ceiling {
                tokio::time::sleep_until(ceiling.next_place().into()).await;
            }
        };
        if stop.run_until_cancelled(ready).await.is_some() {
            let task = shared.classes[self.class].pick(&mut self.random);
            self.ask(shared, clock, task, None, stop).await;
        }
    }

    /// One request; cut short by `stop`. Its latency counts from `planned`, or else from the moment in which it is sent.
    pub(super) async fn ask(
        &mut self,
        shared: &Shared,
        clock: Clock,
        task: &Task,
        planned: Option<Instant>,
        stop: &CancellationToken,
    ) -> Asked {
        let boarded = shared.fleet.board(shared.balance, self.index as usize, task.route);
        let mut request = task.request(boarded.url(), &mut self.random);
        self.identity.sign(request.headers_mut());
        let sent = Instant::now();
        let outcome = match stop.run_until_cancelled(send(shared, task, request)).await {
            Some(RequestOutcome::Failure(text)) => RequestOutcome::Failure(shared.without_secrets(text)),
            Some(outcome) => outcome,
            None => RequestOutcome::CutOff,
        };
        drop(boarded);
        let done = Instant::now();
        let asked = Asked { sent, done, ended: Ended::of(&outcome) };
        shared.recorder.record(self.index, task.route, clock.phase(done), done - planned.unwrap_or(sent), outcome);
        asked
    }
}

/// Sends a request and waits for the whole answer.
async fn send(shared: &Shared, task: &Task, request: Request) -> RequestOutcome {
    let answer = async {
        let response = shared.client.execute(request).await?;
        let status = response.status();
        let body = match &task.mask {
            Mask::Stream if status.is_success() => beginning(response).await?,
            Mask::Answer(_) => bounded(response).await?,
            _ => response.bytes().await?,
        };
        Ok((status, body))
    };
    match answer.await {
        Ok((status, body)) => judge(&task.mask, status, &body),
        Err(error) => RequestOutcome::Failure(transport_error(&error, shared.client_timeout)),
    }
}

/// The whole answer is waited for, and its beginning kept: whoever answers may be anybody.
async fn bounded(mut response: Response) -> reqwest::Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = READ_MOST.saturating_sub(read.len());
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(read.freeze())
}

/// What comes of a stream while it is read.
async fn beginning(mut response: Response) -> reqwest::Result<Bytes> {
    let until = tokio::time::Instant::now() + STREAM_READ;
    let mut read = BytesMut::new();
    while let Ok(chunk) = tokio::time::timeout_at(until, response.chunk()).await {
        match chunk? {
            Some(chunk) => read.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(read.freeze())
}

/// A transport error without the address, which differs from request to request.
fn transport_error(error: &reqwest::Error, timeout: Span) -> String {
    if error.is_timeout() {
        return format!("{NO_ANSWER} {timeout} (client timeout)");
    }
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    let what = if error.is_connect() { "connection failed" } else { "connection broken" };
    format!("{what}: {root}")
}
