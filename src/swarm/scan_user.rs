//! Users who ask on command, for anyone who decides what is asked for and when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::outcome::{FinishedRequest, RequestStatus};
use super::user::{Shared, User};
use super::{Clock, Swarm};
use crate::scenario::Workload;

/// A user of a swarm that does not run by itself.
#[derive(Clone)]
pub struct ScanUser {
    shared: Arc<Shared>,
    user: User,
    clock: Clock,
    /// Tasks for which everything has been done, and went well, that comes before them.
    prepared: BTreeSet<usize>,
}

impl Swarm {
    /// All users, asked by somebody else; what they do is counted as ever.
    pub fn scan_users(self, clock: Clock) -> Vec<ScanUser> {
        let shared = self.shared;
        // A user that asks on command is no part of an open workload.
        let Workload::Closed { users } = self.workload else { return Vec::new() };
        shared.active.store(users, Ordering::Relaxed);
        let one = |index| ScanUser {
            user: User::new(&shared, index, 0),
            shared: Arc::clone(&shared),
            clock,
            prepared: BTreeSet::new(),
        };
        (0..users).map(one).collect()
    }
}

impl ScanUser {
    /// Another user of the same swarm, of this number.
    #[must_use]
    pub fn another(&self, index: u32) -> Self {
        Self { user: User::new(&self.shared, index, 0), prepared: BTreeSet::new(), ..self.clone() }
    }

    /// Asks once for the route of this place among the plan's labels; `None` when nothing of the plan does that, or when it
    /// was asked to stop before. What must come before it (the steps of a journey whose answers it needs, the opening of a
    /// session) is asked for at the first time, and anew after a failure.
    pub async fn ask(&mut self, route: usize, stop: &CancellationToken) -> Option<FinishedRequest> {
        let shared = Arc::clone(&self.shared);
        if let Some(asked) = self.open_session(&shared, route, stop).await {
            return Some(asked);
        }
        let task = self.prepare(&shared, route, stop).await?;
        self.send(&shared, task, stop).await
    }

    /// The same, but leaves after so long, answered or not: then it is [`RequestStatus::CutOff`]. What must come before it is waited for.
    pub async fn ask_and_leave(
        &mut self,
        route: usize,
        stop: &CancellationToken,
        after: Duration,
    ) -> Option<FinishedRequest> {
        let shared = Arc::clone(&self.shared);
        let task = match shared.classes[0].task_that_opens(route) {
            Some(task) => {
                self.user.forget_sessions();
                task
            }
            None => self.prepare(&shared, route, stop).await?,
        };
        let (leave, timer) = (stop.child_token(), stop.child_token());
        let _ends = timer.clone().drop_guard();
        tokio::spawn({
            let leave = leave.clone();
            async move {
                if timer.run_until_cancelled(tokio::time::sleep(after)).await.is_some() {
                    leave.cancel();
                }
            }
        });
        self.send(&shared, task, &leave).await
    }

    /// Nothing of what was prepared is there any more, as the service was started anew.
    pub fn begin_anew(&mut self) {
        self.prepared.clear();
        self.user.forget_sessions();
    }

    /// Asks for what must come before, and gives the task that asks for the route.
    async fn prepare(&mut self, shared: &Shared, route: usize, stop: &CancellationToken) -> Option<usize> {
        let class = &shared.classes[0];
        let tasks = class.tasks_of(route);
        let total: u32 = tasks.iter().map(|(_, weight)| weight).sum();
        let mut left = if total > 0 { self.user.random().random_range(0..total) } else { 0 };
        let drawn = tasks.iter().find(|(_, weight)| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        let (task, _) = *drawn?;
        if !self.prepared.contains(&task) {
            let mut all_good = true;
            for before in class.before(task) {
                all_good &= self.go(shared, *before, stop).await?.status == RequestStatus::Succeeded;
            }
            if all_good {
                self.prepared.insert(task);
            }
        }
        if self.user.needs_session(shared, task) {
            self.go(shared, task, stop).await?;
        }
        Some(task)
    }

    async fn send(&mut self, shared: &Shared, task: usize, stop: &CancellationToken) -> Option<FinishedRequest> {
        let asked = self.go(shared, task, stop).await?;
        if asked.status != RequestStatus::Succeeded {
            // What was captured may be used up.
            self.prepared.remove(&task);
        }
        Some(asked)
    }

    /// Opens a session once more, where that is what is asked for.
    async fn open_session(
        &mut self,
        shared: &Shared,
        route: usize,
        stop: &CancellationToken,
    ) -> Option<FinishedRequest> {
        let task = shared.classes[0].task_that_opens(route)?;
        self.user.forget_sessions();
        self.go(shared, task, stop).await
    }

    async fn go(&mut self, shared: &Shared, task: usize, stop: &CancellationToken) -> Option<FinishedRequest> {
        stop.run_until_cancelled(self.user.place(shared, task)).await?;
        self.user.plan(task);
        Some(self.user.step(shared, self.clock, None, stop).await)
    }
}
