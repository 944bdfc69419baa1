//! Scheduler of a scan.
//!
//! ```text
//! warmup        a batch of each route: warms the service up; who leaves sessions behind is asked once more, and then no more
//! isolation     each route alone, batch after batch, in random order, a rest after each; one turn in which nothing is asked
//! concurrent    all of them, each switched on and off by itself
//! hang-up       a few requests of each route, whose clients leave before the answer
//! ```

mod breaks;
mod forecast;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::poll_log::PollLog;
use super::{ScanProgress, ScanTarget};
use crate::monitor::{ServerCounters, read_counters};
use crate::record::scan::{ScanRoute, ScanVerdict, TurnKind};
use crate::run::RunError;
use crate::run::progress::{RouteProgress, RunStage};
use crate::run::restarts::Restarts;
use crate::run::run_queue::RunQueue;
use crate::run::variant_run::VariantRun;
use crate::scan::THRESHOLDS;
use crate::scan::design;
use crate::scan::observation::{Batch, ConcurrentPhase, Failures, ServiceBreak, SessionPoll, Turn};
use crate::scan::report::{self, ScanInput};
use crate::scan::tally::{LEFT_ALONE_S, is_at_work, left_behind};
use crate::scan::verdict::is_settled;
use crate::swarm::{Clock, RequestStatus, ScanUser};
use forecast::{Forecast, batches};

/// Users of a batch begin within this time, so that they neither march in step with one another nor with the polls.
const JITTER: Duration = Duration::from_millis(30);

/// The shortest rest after a turn: what a service does after its answer is over by then.
const COOLDOWN: Duration = Duration::from_millis(400);

/// Interval of polls during a longer rest, for sessions that are still in a transaction.
const COOLDOWN_POLL: Duration = Duration::from_millis(50);

/// A state in which nothing is asked for.
const QUIET: Duration = Duration::from_millis(1500);

/// Parts of its mean response time after which clients leave: early and late.
const LEAVE_AFTER: [f64; 2] = [0.3, 0.7];

/// Think time in the mix, in milliseconds.
const THINK_MS: std::ops::Range<u64> = 20..120;

/// The shortest span of the mix: shorter ones say little of slow routes.
const SHORTEST_SPAN_S: f64 = 0.4;

/// Requests that the mix has in flight at most, about.
const CONCURRENT_MAX: usize = 40;

pub(super) struct ScanScheduler<'a> {
    arm: &'a VariantRun<'a>,
    target: &'a ScanTarget,
    polls: &'a PollLog,
    clock: Clock,
    progress: ScanProgress,
    restarts: Restarts,
}

/// Log of a scan's turns.
#[derive(Default)]
pub(super) struct ScanLog {
    pub(super) turns: Vec<Turn>,
    pub(super) breaks: Vec<ServiceBreak>,
    pub(super) failures: Failures,
    pub(super) concurrent: Option<ConcurrentPhase>,
    pub(super) counted_s: Option<f64>,
}

/// The users, and what they have left behind.
struct SchedulerState {
    users: Vec<ScanUser>,
    random: SmallRng,
    done: ScanLog,
    /// Routes that are asked for no more.
    leaking: BTreeSet<usize>,
    /// Routes that are no longer asked for alone: more requests would not change their verdicts.
    settled: BTreeSet<usize>,
    /// True if a route has left sessions behind, and the service was not started anew since.
    is_disturbed: bool,
    /// Turns before the service was last started anew.
    since_start: usize,
    counters: Option<ServerCounters>,
    run_queue: RunQueue,
    /// Routes of which was stated that they would be named by what was seen so far, each with its verdict.
    announced: BTreeSet<(String, &'static str)>,
}

/// The scan was interrupted.
struct Stopped;

/// Reasons why a step was not done.
enum Halt {
    Stopped,
    /// The service answers nothing any more.
    Broken,
    Failed(RunError),
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<RunError> for Halt {
    fn from(error: RunError) -> Self {
        Self::Failed(error)
    }
}

impl<'a> ScanScheduler<'a> {
    pub(super) fn new(
        arm: &'a VariantRun<'a>,
        target: &'a ScanTarget,
        polls: &'a PollLog,
        clock: Clock,
        progress: ScanProgress,
        restarts: Restarts,
    ) -> Self {
        Self { arm, target, polls, clock, progress, restarts }
    }

    /// Asks for everything; what was done before an interruption is kept.
    pub(super) async fn run(&self, users: Vec<ScanUser>) -> Result<ScanLog, RunError> {
        let mut state = SchedulerState {
            users,
            random: SmallRng::seed_from_u64(self.target.settings.plan.seed),
            done: ScanLog::default(),
            leaking: BTreeSet::new(),
            settled: BTreeSet::new(),
            is_disturbed: false,
            since_start: 0,
            counters: None,
            run_queue: RunQueue::of(&self.target.ports),
            announced: BTreeSet::new(),
        };
        match self.all(&mut state).await {
            Ok(()) | Err(Halt::Stopped | Halt::Broken) => Ok(state.done),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    async fn all(&self, state: &mut SchedulerState) -> Result<(), Halt> {
        let plan = self.target.settings.plan;
        let before = self.counters().await?;
        state.counters = before;
        self.pause(COOLDOWN).await?;
        for round in 0..=plan.rounds {
            for route in design::order(&self.asked(state), plan.seed, round) {
                let is_over = |route: &usize| state.leaking.contains(route) || state.settled.contains(route);
                if route.as_ref().is_some_and(is_over) {
                    continue;
                }
                self.show_turn(state, round, route);
                self.one(state, round, route).await?;
                if round > 0 {
                    self.announce(state, false);
                } else {
                    self.show_routes(state, &self.judged(state, &self.polls.so_far()));
                }
            }
            if (1..plan.rounds).contains(&round) {
                self.announce(state, true);
            }
        }
        state.done.counted_s = state.counters.zip(before).and_then(|(now, it)| now.since(&it).idle_in_transaction_s);
        if plan.concurrent_s > 0.0 && self.asked(state).len() > 1 {
            self.progress.set(RunStage::Concurrent, format!("{} routes", self.asked(state).len()));
            state.done.concurrent = Some(self.concurrent_phase(state).await?);
            self.pause(COOLDOWN).await?;
        }
        if plan.hang_up {
            // What the server counted meanwhile is no turn's.
            state.counters = self.counters().await?;
            self.hang_up_phase(state).await?;
        }
        Ok(())
    }

    /// Clients leave before the answer. Last of all: what they leave behind is in the way of everything.
    async fn hang_up_phase(&self, state: &mut SchedulerState) -> Result<(), Halt> {
        let plan = self.target.settings.plan;
        let routes: Vec<usize> =
            design::order(&self.asked(state), plan.seed, plan.rounds + 1).into_iter().flatten().collect();
        for (number, route) in routes.iter().enumerate() {
            let Some(response) = response(&state.done.turns, *route) else { continue };
            self.progress
                .set(RunStage::HangUp, format!("{}/{} {}", number + 1, routes.len(), self.target.routes[*route].0));
            for _ in 0..2 {
                let from_s = self.now_s();
                let batch = self.leaving(state, *route, response).await?;
                let left = self
                    .closed_turn(state, plan.rounds + 1, Some(*route), TurnKind::HangUp, from_s, vec![batch])
                    .await?;
                if !left {
                    break;
                }
            }
            self.show_left(state);
        }
        Ok(())
    }

    /// Says again how long it will take, by the turns alone.
    fn show_left(&self, state: &SchedulerState) {
        let SchedulerState { leaking, settled, done, .. } = state;
        let settled = &(0..self.target.routes.len()).chain(settled.iter().copied()).collect();
        let routes: Vec<ScanRoute> =
            self.target.routes.iter().map(|(name, share)| report::unmeasured(name, *share)).collect();
        let forecast =
            Forecast { plan: &self.target.settings.plan, turns: &done.turns, routes: &routes, leaking, settled };
        self.progress.set_left(forecast.left_s());
    }

    /// A few clients ask and leave.
    async fn leaving(&self, state: &mut SchedulerState, route: usize, response: Duration) -> Result<Batch, Stopped> {
        let mut batch = Batch { from_s: self.now_s(), ..Batch::default() };
        for part in LEAVE_AFTER {
            let Some(mut user) = state.users.pop() else { break };
            let asked = user.ask_and_leave(route, self.arm.stop, response.mul_f64(part)).await;
            state.users.insert(0, user);
            if self.arm.stop.is_cancelled() {
                return Err(Stopped);
            }
            batch.requests += 1;
            let status = asked.map(|it| it.status);
            batch.hung_up += u32::from(status.is_none_or(|it| it == RequestStatus::CutOff));
        }
        batch.to_s = self.now_s();
        Ok(batch)
    }

    /// The routes that are still asked for.
    fn asked(&self, state: &SchedulerState) -> Vec<usize> {
        (0..self.target.routes.len()).filter(|route| !state.leaking.contains(route)).collect()
    }

    fn show_turn(&self, state: &SchedulerState, round: u32, route: Option<usize>) {
        let name = route.map_or("nothing", |route| &self.target.routes[route].0);
        let turns = (self.target.settings.plan.rounds as usize + 1) * (self.target.routes.len() + 1);
        let number = state.done.turns.len() + 1;
        let phase = if round == 0 { RunStage::Warmup } else { RunStage::Isolation };
        self.progress.set(phase, format!("{number}/{} {name}", turns.max(number)));
    }

    /// Tells who would be named by what was seen so far, and was not reported yet; at the end of a round also that nobody would be. Routes
    /// whose verdict stands are settled.
    fn announce(&self, state: &mut SchedulerState, is_end_of_round: bool) {
        let polls = self.polls.so_far();
        // Where no session was seen at all, the routes may use another database than the one that is watched.
        let observed = polls.iter().any(|poll| !poll.sessions.is_empty());
        let routes = self.judged(state, &polls);
        let looks = self.target.settings.plan.rounds;
        state.settled.extend((0..routes.len()).filter(|route| is_settled(&routes[*route], looks)));
        self.show_routes(state, &routes);
        let guilty = |route: &ScanRoute| matches!(route.verdict, ScanVerdict::Holds | ScanVerdict::Leaks);
        let is_fine = |route: &ScanRoute| route.verdict == ScanVerdict::Fine;
        let is_all_fine = is_end_of_round && observed && routes.iter().all(is_fine);
        let named = routes.into_iter().filter(guilty);
        let new: Vec<ScanRoute> =
            named.filter(|route| state.announced.insert((route.route.clone(), route.verdict.name()))).collect();
        if is_all_fine || !new.is_empty() {
            self.arm.progress.so_far(self.arm.name, &new);
        }
    }

    /// The routes by what was seen so far, by their number.
    fn judged(&self, state: &SchedulerState, polls: &[SessionPoll]) -> Vec<ScanRoute> {
        let record = report::record(&ScanInput {
            plan: self.target.settings.plan,
            routes: &self.target.routes,
            polls,
            turns: &state.done.turns,
            breaks: &state.done.breaks,
            failures: &state.done.failures,
            concurrent: None,
            counted_s: None,
            traffic: None,
            pool_capacity: None,
        });
        let mut routes = record.routes;
        routes.sort_by_key(|route| self.target.routes.iter().position(|(name, _)| *name == route.route));
        routes
    }

    fn show_routes(&self, state: &SchedulerState, routes: &[ScanRoute]) {
        let plan = &self.target.settings.plan;
        let SchedulerState { leaking, settled, done, .. } = state;
        let forecast = Forecast { plan, turns: &done.turns, routes, leaking, settled };
        self.progress.set_left(forecast.left_s());
        let most = u64::from(plan.rounds * batches(plan) * plan.users);
        let one = |(number, route): (usize, &ScanRoute)| RouteProgress {
            route: route.route.clone(),
            verdict: route.verdict,
            is_settled: settled.contains(&number) || leaking.contains(&number),
            held_s: route.held_s_per_request.map(|held| held.value),
            requests: route.requests,
            most: most.max(route.requests),
        };
        self.arm.progress.routes(self.arm.name, &routes.iter().enumerate().map(one).collect::<Vec<_>>());
    }

    /// A route alone, and once more when it leaves sessions behind.
    async fn one(&self, state: &mut SchedulerState, round: u32, route: Option<usize>) -> Result<(), Halt> {
        let kind = match route {
            None => TurnKind::Quiet,
            Some(_) if round == 0 => TurnKind::Warmup,
            Some(_) => TurnKind::Isolated,
        };
        let left = self.turn(state, round, route, kind).await?;
        if let Some(route) = route.filter(|_| left)
            && self.turn(state, round, Some(route), TurnKind::Recheck).await?
        {
            state.leaking.insert(route);
            // What it left behind is in the way of the others.
            if self.restarted(state).await {
                state.since_start = state.done.turns.len();
            } else {
                state.is_disturbed = true;
            }
            return if self.arm.stop.is_cancelled() { Err(Halt::Stopped) } else { Ok(()) };
        }
        self.look_for_break(state).await
    }

    /// Starts the service anew, where that is possible; its users know nothing of it any more.
    async fn restarted(&self, state: &mut SchedulerState) -> bool {
        let restarted = self.restarts.restart().await;
        if restarted {
            state.users.iter_mut().for_each(ScanUser::begin_anew);
        }
        restarted
    }

    /// One turn and its rest; whether sessions were left behind.
    async fn turn(
        &self,
        state: &mut SchedulerState,
        round: u32,
        route: Option<usize>,
        kind: TurnKind,
    ) -> Result<bool, Halt> {
        let from_s = self.now_s();
        let batches = match route {
            Some(route) => self.batches(state, route, round).await?,
            None => vec![self.quiet(from_s).await?],
        };
        self.closed_turn(state, round, route, kind, from_s, batches).await
    }

    /// The rest after a turn; whether sessions were left behind.
    async fn closed_turn(
        &self,
        state: &mut SchedulerState,
        round: u32,
        route: Option<usize>,
        kind: TurnKind,
        from_s: f64,
        batches: Vec<Batch>,
    ) -> Result<bool, Halt> {
        let to_s = batches.iter().map(|batch| batch.to_s).fold(from_s, f64::max);
        let cooldown_end_s = to_s;
        let turn =
            Turn { route, round, kind, from_s, to_s, cooldown_end_s, batches, counted_s: None, cpu_wait_s: None };
        let response = route.and_then(|route| response(&state.done.turns, route));
        let left = self.cool_down(&turn, response.unwrap_or_default().as_secs_f64()).await?;
        let counters = self.counters().await?;
        let before = std::mem::replace(&mut state.counters, counters);
        let counted_s = counters.zip(before).and_then(|(now, it)| now.since(&it).idle_in_transaction_s);
        let cpu_wait_s = state.run_queue.since_last(&self.polls.backends_since(from_s));
        state.done.turns.push(Turn { cooldown_end_s: self.now_s(), counted_s, cpu_wait_s, ..turn });
        Ok(left)
    }

    async fn quiet(&self, from_s: f64) -> Result<Batch, Halt> {
        self.pause(QUIET).await?;
        Ok(Batch { from_s, to_s: self.now_s(), ..Batch::default() })
    }

    /// Batch after batch, until there are enough or it took too long; a single one in the first round.
    async fn batches(&self, state: &mut SchedulerState, route: usize, round: u32) -> Result<Vec<Batch>, Halt> {
        let plan = self.target.settings.plan;
        let enough = match round {
            0 => 1,
            _ => batches(&plan),
        };
        let began = Instant::now();
        let mut batches = Vec::new();
        for number in 0..enough {
            if number > 0 && began.elapsed().as_secs_f64() >= plan.seconds {
                break;
            }
            batches.push(self.batch(state, route).await?);
        }
        Ok(batches)
    }

    /// Each user asks once.
    async fn batch(&self, state: &mut SchedulerState, route: usize) -> Result<Batch, Stopped> {
        let mut batch = Batch { from_s: self.now_s(), ..Batch::default() };
        let mut asking = JoinSet::new();
        for mut user in state.users.drain(..) {
            let (later, stop) = (state.random.random_range(Duration::ZERO..JITTER), self.arm.stop.clone());
            asking.spawn(async move {
                stop.run_until_cancelled(tokio::time::sleep(later)).await;
                let asked = user.ask(route, &stop).await;
                (user, asked)
            });
        }
        while let Some(joined) = asking.join_next().await {
            let Ok((user, asked)) = joined else { continue };
            state.users.push(user);
            let Some(asked) = asked.filter(|it| it.status != RequestStatus::CutOff) else { return Err(Stopped) };
            batch.requests += 1;
            if let Some(text) = &asked.failure {
                *state.done.failures.entry(route).or_default().entry(text.clone()).or_default() += 1;
            }
            batch.failures += u32::from(asked.status != RequestStatus::Succeeded);
            batch.unanswered += u32::from(asked.status == RequestStatus::Unanswered);
            batch.response_s += (asked.done - asked.sent).as_secs_f64();
        }
        batch.to_s = self.now_s();
        Ok(batch)
    }

    /// Rests until no session of this turn is in a transaction, or is known to stay there; whether any does.
    async fn cool_down(&self, turn: &Turn, slowest_s: f64) -> Result<bool, Stopped> {
        self.pause(COOLDOWN).await?;
        // What a client did not wait for goes on for a while.
        let hung_up = turn.kind == TurnKind::HangUp;
        let patience_s = if hung_up { LEFT_ALONE_S.max(2.0 * slowest_s) } else { THRESHOLDS.left_behind_after_s };
        loop {
            // As many polls as a rest needs: the last one decides.
            let left = self.polls.latest_since(turn.to_s, |poll| left_behind(poll, turn)).unwrap_or(0);
            let at_work = || self.polls.latest_since(turn.to_s, |poll| is_at_work(poll, turn)).unwrap_or(true);
            let is_over = left == 0 && !(hung_up && at_work());
            if is_over || self.now_s() - turn.to_s > patience_s {
                return Ok(left > 0);
            }
            self.pause(COOLDOWN_POLL).await?;
        }
    }

    /// All routes together, each switched on and off by itself.
    async fn concurrent_phase(&self, state: &mut SchedulerState) -> Result<ConcurrentPhase, Halt> {
        let routes = self.asked(state);
        let plan = self.target.settings.plan;
        let mix = design::mix(routes.len(), plan.seed);
        let spans = mix.first().map_or(0, Vec::len);
        let span = forecast::span(&plan, spans);
        let each = (2 * CONCURRENT_MAX / routes.len().max(1)).clamp(1, plan.users as usize);
        let (began, from_s) = (Instant::now(), self.now_s());
        let Some(first) = state.users.first() else { return Ok(ConcurrentPhase::default()) };
        let mut asking = JoinSet::new();
        for (route, on) in routes.iter().zip(&mix) {
            for _ in 0..each {
                let number = u32::try_from(asking.len()).unwrap_or(u32::MAX);
                let seed = plan.seed ^ u64::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let member =
                    Member { route: *route, on: on.clone(), began, span, random: SmallRng::seed_from_u64(seed) };
                asking.spawn(member.live(first.another(number), self.arm.stop.clone()));
            }
        }
        let mut requests = Vec::new();
        while let Some(joined) = asking.join_next().await {
            requests.extend(joined.unwrap_or_default());
        }
        if self.arm.stop.is_cancelled() {
            return Err(Halt::Stopped);
        }
        let cpu_wait_s = state.run_queue.since_last(&self.polls.backends_since(from_s));
        let at_s = |(route, sent, done)| (route, self.polls.at_s(sent), self.polls.at_s(done));
        let requests = requests.into_iter().map(at_s).collect();
        Ok(ConcurrentPhase { from_s, to_s: self.now_s(), requests, cpu_wait_s })
    }

    /// The server's own count, beside what was seen; `None` when it gives none, as with all its connections taken.
    async fn counters(&self) -> Result<Option<ServerCounters>, Stopped> {
        let read = self.arm.stop.run_until_cancelled(read_counters(&self.target.database)).await.ok_or(Stopped)?;
        Ok(read.inspect_err(|error| tracing::debug!("the server's own count is missing: {error}")).ok())
    }

    async fn pause(&self, pause: Duration) -> Result<(), Stopped> {
        self.arm.stop.run_until_cancelled(tokio::time::sleep(pause)).await.ok_or(Stopped)
    }

    fn now_s(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }
}

/// Mean response time of a route alone; `None` where it was never answered.
fn response(turns: &[Turn], route: usize) -> Option<Duration> {
    let own = turns.iter().filter(|turn| turn.route == Some(route)).flat_map(|turn| &turn.batches);
    let (requests, seconds) = own
        .filter(|batch| batch.unanswered == 0)
        .fold((0, 0.0), |(requests, seconds), batch| (requests + batch.requests, seconds + batch.response_s));
    (requests > 0).then(|| Duration::try_from_secs_f64(seconds / f64::from(requests)).unwrap_or_default())
}

/// A user of the mix, who asks for one route in half of the spans.
struct Member {
    route: usize,
    on: Vec<bool>,
    began: Instant,
    span: Duration,
    random: SmallRng,
}

impl Member {
    async fn live(mut self, mut user: ScanUser, stop: CancellationToken) -> Vec<(usize, Instant, Instant)> {
        let mut asked = Vec::new();
        while let Some((on, ends)) = self.now() {
            let think = Duration::from_millis(self.random.random_range(THINK_MS));
            let until = if on { Instant::now() + think } else { ends };
            if stop.run_until_cancelled(tokio::time::sleep_until(until.into())).await.is_none() {
                break;
            }
            if on && let Some(it) = user.ask(self.route, &stop).await {
                asked.push((self.route, it.sent, it.done));
            }
        }
        asked
    }

    /// True while the route is on, and when its span ends; `None` when the mix is over.
    fn now(&self) -> Option<(bool, Instant)> {
        let number = u32::try_from(self.began.elapsed().as_micros() / self.span.as_micros()).ok()?;
        let on = *self.on.get(number as usize)?;
        Some((on, self.began + self.span * (number + 1)))
    }
}
