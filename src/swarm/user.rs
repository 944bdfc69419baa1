//! One user: think, pick a task, send it to a replica, judge the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Response, StatusCode, Url};
use tokio_util::sync::CancellationToken;

use super::Clock;
use super::ceiling::Ceiling;
use super::fleet::Fleet;
use super::identity::Identity;
use super::judge::{Mask, STREAM_READ, judge};
use super::mcp::{self, McpSession};
use super::outcome::{FinishedRequest, READ_MOST, RequestFailure, RequestOutcome, RequestStatus};
use super::plan::{Capture, Class, Task};
use super::profile::Profile;
use super::recorder::Recorder;
use super::schedule::Schedule;
use crate::redact::Redactor;
use crate::scenario::Balance;
use crate::units::Span;

/// State that all users share.
pub(super) struct Shared {
    /// One client for all: identity travels in a header, and a client for each user costs 105 KB.
    pub(super) client: Client,
    pub(super) client_timeout: Span,
    pub(super) classes: Vec<Class>,
    /// Handed out in order; users beyond the last begin again.
    pub(super) identities: Vec<Identity>,
    pub(super) recorder: Recorder,
    pub(super) fleet: Arc<Fleet>,
    pub(super) profile: Profile,
    /// Schedule of an open workload.
    pub(super) schedule: Schedule,
    /// The most requests a second of a closed one.
    pub(super) ceiling: Option<Ceiling>,
    pub(super) seed: u64,
    pub(super) balance: Balance,
    /// Users that have a number.
    pub(super) assigned: AtomicU32,
    /// Users of a closed workload whose turn it is; of an open one, those with a request.
    pub(super) active: AtomicU32,
    /// The names of what users know.
    pub(super) known: Arc<[String]>,
    /// Secrets that a service may repeat in an answer, and no record may.
    pub(super) secrets: Redactor,
}

/// One user's own state. `Clone` because goose asks it of what it keeps for a user.
#[derive(Clone)]
pub(super) struct User {
    pub(super) index: u32,
    class: usize,
    identity: Identity,
    random: SmallRng,
    /// Rest of this turn: places of tasks, the next one last.
    ahead: Vec<usize>,
    /// Values for holes, by the place of their name: columns of the identity's, and captures of this turn.
    known: Vec<Option<Arc<str>>>,
    /// Sessions that are open, by the replica's place.
    sessions: BTreeMap<usize, McpSession>,
}

impl User {
    pub(super) fn new(shared: &Shared, index: u32, class: usize) -> Self {
        let identity = &shared.identities[index as usize % shared.identities.len()];
        Self {
            index,
            class,
            known: identity.known(&shared.known),
            identity: identity.clone(),
            random: SmallRng::seed_from_u64(shared.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(index)),
            ahead: Vec::new(),
            sessions: BTreeMap::new(),
        }
    }

    pub(super) fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }

    /// True if the turn that was begun goes on.
    pub(super) fn goes_on(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The pause before the next task, as far as the task itself asks for one.
    pub(super) fn own_think(&mut self, shared: &Shared) -> Duration {
        let task = self.next(shared);
        shared.classes[self.class].own_think(task, &mut self.random)
    }

    /// The next task; begins a turn when the last one is over.
    fn next(&mut self, shared: &Shared) -> usize {
        if self.ahead.is_empty() {
            self.ahead = shared.classes[self.class].pick(&mut self.random).iter().rev().copied().collect();
            self.known = self.identity.known(&shared.known);
        }
        self.ahead.last().copied().unwrap_or_default()
    }

    /// A think time and a request of a closed workload; cut short by `stop`.
    pub(super) async fn turn(&mut self, shared: &Shared, clock: Clock, stop: &CancellationToken) {
        let task = self.next(shared);
        let think = shared.classes[self.class].think(task, &mut self.random);
        let ready = async {
            tokio::time::sleep(think).await;
            self.place(shared, task).await;
        };
        if stop.run_until_cancelled(ready).await.is_some() {
            self.step(shared, clock, None, stop).await;
        }
    }

    /// Waits for the turn of a task under the ceiling: of what opens a session, for the last of its two requests.
    pub(super) async fn place(&self, shared: &Shared, task: usize) {
        let Some(ceiling) = &shared.ceiling else { return };
        if self.needs_session(shared, task) {
            ceiling.next_place();
        }
        tokio::time::sleep_until(ceiling.next_place().into()).await;
    }

    /// The next request: of the next task, or what opens the session that the task needs. Its latency counts from `planned`,
    /// or else from the moment in which it is sent.
    pub(super) async fn step(
        &mut self,
        shared: &Shared,
        clock: Clock,
        planned: Option<Instant>,
        stop: &CancellationToken,
    ) -> FinishedRequest {
        let place = self.next(shared);
        let task = shared.classes[self.class].task(place);
        let replica = shared.fleet.choose(shared.balance, self.index as usize);
        let opening = task.opening.filter(|_| !self.sessions.contains_key(&replica));
        let route = opening.unwrap_or(task.route);
        let boarded = shared.fleet.board(replica, route);
        let sent = Instant::now();
        let asking = async {
            match opening {
                Some(_) => self.open(shared, task, boarded.url(), replica).await,
                None => self.ask(shared, task, boarded.url(), replica).await,
            }
        };
        let outcome = match stop.run_until_cancelled(asking).await {
            Some(Ok(())) => RequestOutcome::Success,
            Some(Err(RequestFailure::Failed(text))) => {
                RequestOutcome::Failure(beginning_of(shared.secrets.redact_cut(text)))
            }
            Some(Err(RequestFailure::NoAnswer(text))) => RequestOutcome::NoAnswer(text),
            None => RequestOutcome::CutOff,
        };
        drop(boarded);
        let done = Instant::now();
        match (&outcome, opening) {
            (RequestOutcome::Success, Some(_)) => {}
            (RequestOutcome::Success, None) => drop(self.ahead.pop()),
            // What comes after a failed step would fail for no fault of its own.
            _ => self.ahead.clear(),
        }
        let failure = outcome.failure().map(str::to_owned);
        let asked = FinishedRequest { sent, done, status: RequestStatus::of(&outcome), failure };
        shared.recorder.record(self.index, route, clock.phase(done), done - planned.unwrap_or(sent), outcome);
        asked
    }

    /// Has this task, and nothing else, ahead, with what was captured before.
    pub(super) fn plan(&mut self, task: usize) {
        self.ahead = vec![task];
    }

    /// Opens its sessions anew when it needs them.
    pub(super) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }

    /// True if everything is there that the task needs: a session.
    pub(super) fn needs_session(&self, shared: &Shared, task: usize) -> bool {
        let replica = shared.fleet.choose(shared.balance, self.index as usize);
        shared.classes[self.class].task(task).opening.is_some() && !self.sessions.contains_key(&replica)
    }

    async fn open(&mut self, shared: &Shared, task: &Task, base: &Url, replica: usize) -> Result<(), RequestFailure> {
        // The task's own request says where.
        let url = task.request(base, &mut self.random, &self.known)?.url().clone();
        let mut request = mcp::initialize(url.clone());
        self.identity.sign(request.headers_mut());
        let answer = exchange(shared, task, request).await?;
        let session = match judge(&Mask::None, answer.status, &answer.headers, &answer.body) {
            RequestOutcome::Failure(text) => return Err(text.into()),
            _ => McpSession::opened(&answer.headers, &answer.body)?,
        };
        let mut request = mcp::initialized(url, &session);
        self.identity.sign(request.headers_mut());
        let answer = exchange(shared, task, request).await?;
        if let RequestOutcome::Failure(text) = judge(&Mask::None, answer.status, &answer.headers, &answer.body) {
            return Err(text.into());
        }
        self.sessions.insert(replica, session);
        Ok(())
    }

    async fn ask(&mut self, shared: &Shared, task: &Task, base: &Url, replica: usize) -> Result<(), RequestFailure> {
        let mut request = task.request(base, &mut self.random, &self.known)?;
        self.identity.sign(request.headers_mut());
        if let Some(session) = self.sessions.get(&replica).filter(|_| task.opening.is_some()) {
            session.join(request.headers_mut());
        }
        let answer = exchange(shared, task, request).await?;
        if task.opening.is_some() && McpSession::is_gone(answer.status) {
            self.sessions.remove(&replica);
        }
        match judge(&task.mask, answer.status, &answer.headers, &answer.body) {
            RequestOutcome::Failure(text) => Err(text.into()),
            _ => Ok(self.capture(task, &answer.body)?),
        }
    }

    fn capture(&mut self, task: &Task, body: &[u8]) -> Result<(), String> {
        if task.captures.is_empty() {
            return Ok(());
        }
        let answer: serde_json::Value = serde_json::from_slice(body)
            .map_err(|error| format!("nothing to capture: the answer is not JSON: {error}"))?;
        for Capture { name, place, pointer } in &task.captures {
            let found = answer.pointer(pointer);
            let value = match found {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value.to_string(),
                Some(_) => {
                    return Err(format!(
                        "nothing to capture as `{name}`: `{pointer}` is neither a string nor a number"
                    ));
                }
                None => return Err(format!("nothing to capture as `{name}`: the answer has no `{pointer}`")),
            };
            if value.len() > LONGEST_CAPTURE {
                return Err(format!(
                    "nothing to capture as `{name}`: `{pointer}` is longer than {LONGEST_CAPTURE} bytes"
                ));
            }
            self.known[*place] = Some(value.into());
        }
        Ok(())
    }
}

/// A longer value is no identifier.
const LONGEST_CAPTURE: usize = 8192;

/// An answer, as far as it is kept.
struct KeptAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Sends a request and waits for the whole answer.
async fn exchange(shared: &Shared, task: &Task, request: Request) -> Result<KeptAnswer, RequestFailure> {
    let answer = async {
        let mut response = shared.client.execute(request).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let read_for = task.read_for.or_else(|| matches!(task.mask, Mask::Stream).then_some(STREAM_READ));
        let body = match (&task.mask, read_for.filter(|_| status.is_success())) {
            (_, Some(read_for)) => opening_of(response, read_for).await?,
            (Mask::Tool(_), None) => mcp::message(response, &headers).await?,
            (Mask::Answer(_), None) => {
                let most = if task.captures.is_empty() { task.mask.read_most(status) } else { READ_MOST };
                bounded(response, most).await?
            }
            _ => response.bytes().await?,
        };
        Ok(KeptAnswer { status, headers, body })
    };
    answer.await.map_err(|error| transport_error(&error, task.timeout.unwrap_or(shared.client_timeout)))
}

/// The whole answer is waited for, and its beginning kept: a server may send anything.
async fn bounded(mut response: Response, most: usize) -> reqwest::Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = most.saturating_sub(read.len());
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(read.freeze())
}

/// Beginning of a stream.
async fn opening_of(mut response: Response, read_for: Duration) -> reqwest::Result<Bytes> {
    let until = tokio::time::Instant::now() + read_for;
    let mut read = BytesMut::new();
    while let Ok(chunk) = tokio::time::timeout_at(until, response.chunk()).await {
        match chunk? {
            Some(chunk) => {
                let room = READ_MOST.saturating_sub(read.len());
                read.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            None => break,
        }
    }
    Ok(read.freeze())
}

/// So much of a failure's text is reported.
const SHOWN: usize = 400;

/// A text that is not too long to be reported, or its beginning.
fn beginning_of(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// A transport error without the address, which differs from request to request.
fn transport_error(error: &reqwest::Error, timeout: Span) -> RequestFailure {
    if error.is_timeout() {
        return RequestFailure::NoAnswer(format!("no answer within {timeout} (client timeout)"));
    }
    let root = crate::tls::cause(error);
    let what = if error.is_connect() { "connection failed" } else { "connection broken" };
    RequestFailure::Failed(format!("{what}: {root}"))
}
