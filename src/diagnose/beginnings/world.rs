//! A load whose truth is known: requests, and the transactions that they, or others, begin.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Beginning, Moment};
use crate::record::{Presence, Spanning};

/// A route: its weight in the mix and what its requests take, in seconds; and whether they hold.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) weight: f64,
    pub(super) takes_s: f64,
    pub(super) holds: Hold,
}

/// When a transaction begins, and how long it is idle.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Hold {
    None,
    /// From soon after the request's beginning, for so many response times.
    Responses(f64),
    /// The same in one of so many requests.
    OneIn(u32),
    /// From 20 ms after the response on, for so many seconds.
    Afterwards(f64),
}

/// Transactions whatever is asked for: so many batches a second, of so many one after the other, each idle for so long.
#[derive(Clone, Copy)]
pub(super) struct Jobs {
    pub(super) each_second: f64,
    pub(super) batch: u32,
    pub(super) idle_s: f64,
}

/// Who asks for what.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Users {
    /// Everybody for everything.
    Alike,
    /// Each for one route.
    OneRouteEach,
    /// As `Alike`, and for the third route whenever for the last.
    ThirdWithLast,
}

#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) users: u32,
    pub(super) ask: Users,
    pub(super) seconds: f64,
    pub(super) jobs: Option<Jobs>,
    /// Error of the clocks' comparison.
    pub(super) clock_s: f64,
    /// Share of the beginnings that no poll sees.
    pub(super) unseen: f64,
    /// Share of the clients that leave halfway; what they asked for goes on.
    pub(super) leave: f64,
    /// Every ten seconds the service stands still for so long: nothing begins, and nothing is answered.
    pub(super) frozen_s: f64,
    /// Sessions of the pool, where it is full: a transaction waits for one, as its request does.
    pub(super) pool: Option<usize>,
}

pub(super) const PLAIN: Load = Load {
    users: 20,
    ask: Users::Alike,
    seconds: 60.0,
    jobs: None,
    clock_s: 0.001,
    unseen: 0.0,
    leave: 0.0,
    frozen_s: 0.0,
    pool: None,
};

const FROZEN_EVERY_S: f64 = 10.0;

pub(super) const fn asked(weight: f64, takes_s: f64, holds: Hold) -> Asked {
    Asked { weight, takes_s, holds }
}

pub(super) struct World {
    pub(super) beginnings: Vec<Beginning>,
    pub(super) moments: Vec<Moment>,
    /// True shares of the idle seconds, by route; the last one is the jobs'.
    pub(super) shares: Vec<f64>,
}

/// Requests and transactions, by route: from when to when, and from when for how long.
#[derive(Default)]
struct Course {
    requests: Vec<(usize, f64, f64)>,
    held: Vec<(usize, f64, f64)>,
}

fn exponential(random: &mut SmallRng, mean: f64) -> f64 {
    -mean * (1.0 - random.random::<f64>()).ln()
}

impl Load {
    /// The first time from `at_s` on at which the service does not stand still.
    fn thawed(&self, at_s: f64) -> f64 {
        let since_s = at_s % FROZEN_EVERY_S;
        if since_s < self.frozen_s { at_s - since_s + self.frozen_s } else { at_s }
    }

    fn draw(&self, routes: &[Asked], user: u32, random: &mut SmallRng) -> usize {
        if self.ask == Users::OneRouteEach {
            return user as usize % routes.len();
        }
        let mut left = random.random_range(0.0..routes.iter().map(|it| it.weight).sum::<f64>());
        let found = routes.iter().position(|it| {
            left -= it.weight;
            left < 0.0
        });
        found.unwrap_or(0)
    }
}

/// Each user asks, waits for the answer, and thinks.
fn course(routes: &[Asked], load: &Load, random: &mut SmallRng) -> Course {
    let mut course = Course::default();
    // When each session of the pool is free, and each user thinks no longer.
    let mut free = vec![0.0_f64; load.pool.unwrap_or(0)];
    let mut ready: Vec<f64> = (0..load.users).map(|_| random.random_range(0.2..1.8)).collect();
    loop {
        let next = ready.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map(|(user, at_s)| (user, *at_s));
        let Some((user, now)) = next.filter(|(_, at_s)| *at_s < load.seconds) else { return course };
        let which = load.draw(routes, u32::try_from(user).expect("few users"), random);
        let takes = routes[which].takes_s * (0.5 + exponential(random, 0.5));
        let mut began = load.thawed(now + random.random_range(0.001..0.01));
        if let Some(session) =
            free.iter_mut().min_by(|a, b| a.total_cmp(b)).filter(|_| routes[which].holds != Hold::None)
        {
            began = began.max(*session);
            *session = began + takes;
        }
        let ended = load.thawed(began + takes);
        let seen = if random.random::<f64>() < load.leave { f64::midpoint(now, ended) } else { ended };
        course.requests.push((which, now, seen));
        if load.ask == Users::ThirdWithLast && which == routes.len() - 1 {
            course.requests.push((routes.len() - 2, now, seen));
        }
        let idle_s = load.thawed(began + takes) - began;
        match routes[which].holds {
            Hold::Responses(times) => course.held.push((which, began, idle_s * times)),
            Hold::OneIn(many) if random.random_range(0..many) == 0 => course.held.push((which, began, 5.0)),
            Hold::None | Hold::OneIn(_) => {}
            Hold::Afterwards(idle_s) => course.held.push((which, ended + 0.02, idle_s)),
        }
        ready[user] = seen + random.random_range(0.2..0.8);
    }
}

fn jobs(jobs: Jobs, load: &Load, owner: usize, random: &mut SmallRng) -> Vec<(usize, f64, f64)> {
    let (mut now, mut held) = (0.0, Vec::new());
    while now < load.seconds {
        now += exponential(random, 1.0 / jobs.each_second);
        let each = |number: u32| (owner, load.thawed(now + f64::from(number) * (jobs.idle_s + 0.02)), jobs.idle_s);
        held.extend((0..jobs.batch).map(each));
    }
    held
}

pub(super) fn simulate(routes: &[Asked], load: &Load, seed: u64) -> World {
    let mut random = SmallRng::seed_from_u64(seed);
    let Course { requests, mut held } = course(routes, load, &mut random);
    if let Some(of) = load.jobs {
        held.extend(jobs(of, load, routes.len(), &mut random));
    }
    let offset = random.random_range(-1.0..1.0) * load.clock_s;
    let present = |at_s: f64, error_s: f64| {
        let mut of = vec![Presence::default(); routes.len()];
        for (route, from, to) in &requests {
            if (*from..to + 2.0).contains(&at_s) || (from - at_s).abs() < 1.0 {
                of[*route].add(*from, *to, at_s, error_s);
            }
        }
        of
    };
    let mut shares = vec![0.0; routes.len() + 1];
    let mut beginnings = Vec::new();
    for (owner, began, idle_s) in held.iter().filter(|(_, began, _)| *began < load.seconds) {
        shares[*owner] += idle_s;
        if random.random::<f64>() >= load.unseen {
            let at_s = began + offset;
            let spanning = spanning(&requests, at_s, at_s + idle_s, routes.len());
            beginnings.push(Beginning {
                at_s,
                present: present(at_s, load.clock_s),
                spanning,
                statement: 0,
                process: None,
                idle_s: *idle_s,
                aged_s: *idle_s,
                weight: 1.0,
            });
        }
    }
    beginnings.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let total: f64 = shares.iter().sum();
    for share in &mut shares {
        *share /= total.max(f64::MIN_POSITIVE);
    }
    let moments = (0..600).map(|tick| 0.05 + load.seconds * f64::from(tick) / 600.0);
    let moments = moments.map(|at_s| Moment { at_s, present: present(at_s, 0.0) }).collect();
    World { beginnings, moments, shares }
}

/// Requests that end within 0.1 s around the end of a transaction, and at twelve other times.
fn spanning(requests: &[(usize, f64, f64)], began_s: f64, ended_s: f64, routes: usize) -> Vec<Spanning> {
    let mut counts = vec![[0_u32; 13]; routes];
    for (route, from, to) in requests {
        for (shift, count) in counts[*route].iter_mut().enumerate() {
            let earlier = 0.4 * shift as f64;
            let ends = (ended_s - earlier - 0.1..=ended_s - earlier + 0.1).contains(to);
            *count += u32::from(ends && *from <= began_s - earlier);
        }
    }
    let of = |counts: &[u32; 13]| {
        let others = counts[1..].iter().map(|count| f64::from(*count)).sum::<f64>();
        Spanning { ended_with_it: counts[0], throughout: counts[0], expected: (began_s > 5.0).then_some(others / 12.0) }
    };
    counts.iter().map(of).collect()
}
