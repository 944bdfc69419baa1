//! An open workload: requests begin when the clock says, whatever became of those before.
//!
//! Each request has a slot of its own, as long as the rate makes it, and begins at a random moment of it, drawn by the
//! seed. So the rate is met in every second, as with equal distances, and the requests never fall into step with the
//! monitor's polls, or with the service's own clock, as equal distances do.
//!
//! The schedule is kept by a thread: Tokio's timers have a grain of a millisecond, which would be in every latency. A
//! request's latency counts from the moment for which it was planned, so that neither a stalled service nor a busy
//! generator hides its waiting.
//!
//! A request is made by a user: one who has nothing to do, or else a new one. There are as many as requests are in
//! flight, and at least one for each identity.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::profile::Profile;
use super::user::{Shared, User};
use super::{Clock, Phase, SwarmError};

pub(super) async fn run(
    shared: &Arc<Shared>,
    max_in_flight: u32,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), SwarmError> {
    let ended = stop.child_token();
    let crowd = Arc::new(Crowd {
        shared: Arc::clone(shared),
        max_in_flight,
        clock,
        ended: ended.clone(),
        requests: TaskTracker::new(),
        runtime: Handle::current(),
        idle: Mutex::default(),
    });
    let (keep_on, stop) = channel();
    let supervisor = Arc::clone(&crowd);
    let thread = std::thread::Builder::new().name("schedule".to_owned());
    let thread = thread.spawn(move || supervisor.keep_schedule(&stop)).map_err(SwarmError::Schedule)?;
    tokio::select! {
        () = tokio::time::sleep_until(clock.steady_to.into()) => ended.cancel(),
        () = ended.cancelled() => {}
    }
    drop::<Sender<()>>(keep_on);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    crowd.requests.close();
    crowd.requests.wait().await;
    match joined {
        Ok(Ok(())) => Ok(()),
        _ => Err(SwarmError::ScheduleCrashed),
    }
}

/// All users, and what they wait for.
struct Crowd {
    shared: Arc<Shared>,
    max_in_flight: u32,
    clock: Clock,
    ended: CancellationToken,
    requests: TaskTracker,
    runtime: Handle,
    idle: Mutex<Idle>,
}

/// Users without a request.
#[derive(Default)]
struct Idle {
    /// Users in the order of their idle time, the longest first.
    users: VecDeque<User>,
    /// Those in the middle of something; they go on before anything is begun.
    waiting: VecDeque<User>,
    /// Users that there are, idle or not.
    in_all: u32,
}

impl Crowd {
    /// Begins one request after the other until the plan ends, or anyone who holds the other end lets go of it.
    fn keep_schedule(self: &Arc<Self>, stop: &Receiver<()>) {
        for moment in moments(&self.shared.profile, self.shared.seed) {
            let planned = self.clock.started + Duration::from_secs_f64(moment);
            let wait = planned.saturating_duration_since(Instant::now());
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => self.begin(planned),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn begin(self: &Arc<Self>, planned: Instant) {
        let steady = self.clock.phase(planned) == Phase::Steady;
        // Nobody else adds to them.
        if self.shared.active.load(Ordering::Relaxed) >= self.max_in_flight {
            return self.shared.schedule.turned_away(steady);
        }
        self.shared.active.fetch_add(1, Ordering::Relaxed);
        let mut user = self.whoever_is_free();
        let crowd = Arc::clone(self);
        let request = async move {
            let Crowd { shared, clock, ended, .. } = &*crowd;
            if !ended.is_cancelled() {
                shared.schedule.started(steady, planned.elapsed());
                user.step(shared, *clock, Some(planned), ended).await;
            }
            shared.active.fetch_sub(1, Ordering::Relaxed);
            if user.goes_on() {
                let pause = user.own_think(shared);
                if ended.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                    crowd.idle.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back(user);
                }
            } else {
                crowd.idle.lock().unwrap_or_else(PoisonError::into_inner).users.push_back(user);
            }
        };
        drop(self.requests.spawn_on(request, &self.runtime));
    }

    fn whoever_is_free(&self) -> User {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = idle.waiting.pop_front() {
            return user;
        }
        let everybody_is_there = idle.in_all as usize >= self.shared.identities.len();
        if everybody_is_there && let Some(user) = idle.users.pop_front() {
            return user;
        }
        idle.in_all += 1;
        User::new(&self.shared, idle.in_all - 1, 0)
    }
}

/// When the requests begin, in seconds: each at a random moment of its slot.
fn moments(profile: &Profile, seed: u64) -> impl Iterator<Item = f64> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x0A11_1FA1_5EED);
    (0_u32..).map_while(move |slot| profile.moment_of(f64::from(slot) + random.random::<f64>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Experiment, Pace};

    fn pace(load: &str) -> Pace {
        let text = format!(
            "name = \"x\"\n[target]\nurl = \"http://127.0.0.1:1\"\n[load]\n{load}\n[[route]]\nroute = \"GET /\"\n"
        );
        Experiment::from_text("x.toml", &text, &[]).unwrap().pace().unwrap()
    }

    #[test]
    fn each_request_begins_in_its_own_slot_by_the_seed() {
        let profile = Profile::of(&pace("arrival_rate = 50\nramp_up = \"0s\"\nduration = \"10s\""));
        let begun: Vec<f64> = moments(&profile, 1).collect();
        assert_eq!(begun.len(), 500);
        assert!(begun.iter().enumerate().all(|(slot, at)| (slot as f64 / 50.0..(slot + 1) as f64 / 50.0).contains(at)));
        assert_eq!(begun, moments(&profile, 1).collect::<Vec<_>>());
        assert_ne!(begun, moments(&profile, 2).collect::<Vec<_>>());
    }
}
