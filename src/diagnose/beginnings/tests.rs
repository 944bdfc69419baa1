//! Loads whose truth is known, from the requests and the beginnings of their transactions alone.

use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A route: its weight in the mix and what its requests take, in seconds; and whether they hold.
#[derive(Clone, Copy)]
struct Asked {
    weight: f64,
    takes_s: f64,
    holds: Hold,
}

/// When a transaction begins, and how long it is idle.
#[derive(Clone, Copy, PartialEq)]
enum Hold {
    None,
    /// From soon after the request's beginning, for so many response times.
    Responses(f64),
    /// The same in one of so many requests.
    OneIn(u32),
    /// From 20 ms after the response on, for so many seconds.
    Afterwards(f64),
}

/// Beginnings whatever is asked for: so many a second, idle for so long.
#[derive(Clone, Copy)]
struct Jobs {
    each_second: f64,
    idle_s: f64,
}

struct Load {
    users: u32,
    seconds: f64,
    jobs: Option<Jobs>,
    /// Error of the clocks' comparison.
    clock_s: f64,
    /// Share of the beginnings that no poll sees.
    unseen: f64,
}

const PLAIN: Load = Load { users: 20, seconds: 60.0, jobs: None, clock_s: 0.001, unseen: 0.0 };

const fn asked(weight: f64, takes_s: f64, holds: Hold) -> Asked {
    Asked { weight, takes_s, holds }
}

struct World {
    beginnings: Vec<Beginning>,
    moments: Vec<Moment>,
    /// True shares of the idle seconds, by route; the last one is the jobs'.
    shares: Vec<f64>,
}

fn exponential(random: &mut SmallRng, mean: f64) -> f64 {
    -mean * (1.0 - random.random::<f64>()).ln()
}

fn simulate(routes: &[Asked], load: &Load, seed: u64) -> World {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut requests: Vec<(usize, f64, f64)> = Vec::new();
    let mut held: Vec<(usize, f64, f64)> = Vec::new();
    let all: f64 = routes.iter().map(|it| it.weight).sum();
    for _ in 0..load.users {
        let mut now = random.random_range(0.0..1.0);
        while now < load.seconds {
            now += random.random_range(0.2..0.8);
            let mut left = random.random_range(0.0..all);
            let which = routes.iter().position(|it| {
                left -= it.weight;
                left < 0.0
            });
            let which = which.unwrap_or(0);
            let takes = routes[which].takes_s * (0.5 + exponential(&mut random, 0.5));
            requests.push((which, now, now + takes));
            let began = now + random.random_range(0.001..0.01);
            match routes[which].holds {
                Hold::Responses(times) => held.push((which, began, takes * times)),
                Hold::OneIn(many) if random.random_range(0..many) == 0 => held.push((which, began, 5.0)),
                Hold::None | Hold::OneIn(_) => {}
                Hold::Afterwards(idle_s) => held.push((which, now + takes + 0.02, idle_s)),
            }
            now += takes;
        }
    }
    if let Some(jobs) = load.jobs {
        let mut now = 0.0;
        while now < load.seconds {
            now += exponential(&mut random, 1.0 / jobs.each_second);
            held.push((routes.len(), now, jobs.idle_s));
        }
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
            let present = present(at_s, load.clock_s);
            let spanning = spanning(&requests, at_s, at_s + idle_s, routes.len());
            beginnings.push(Beginning {
                at_s,
                present,
                spanning,
                statement: 0,
                process: None,
                idle_s: *idle_s,
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

fn named(routes: &[Asked], load: &Load, seed: u64) -> (Vec<(usize, Role)>, World, ByBeginnings) {
    let world = simulate(routes, load, seed);
    let found = attribute(&world.beginnings, &world.moments, routes.len()).unwrap_or_default();
    (found.routes.iter().map(|it| (it.route, it.role)).collect(), world, found)
}

/// A slow innocent without a database, a fast one, a slow query; the culprit is the last.
fn mix(culprit: Asked) -> [Asked; 4] {
    [asked(3.0, 0.6, Hold::None), asked(4.0, 0.02, Hold::None), asked(2.0, 0.3, Hold::None), culprit]
}

const CULPRIT: (usize, Role) = (3, Role::During);

#[test]
fn a_hold_is_laid_to_its_route_however_long_it_outlives_the_response() {
    for times in [0.5, 0.95, 1.5, 10.0] {
        let routes = mix(asked(2.0, 0.1, Hold::Responses(times)));
        let (names, world, found) = named(&routes, &PLAIN, 7);
        assert_eq!(names, [CULPRIT], "{times}: {found:#?}");
        let share = found.routes[0].share;
        assert!((share.low..=share.high).contains(&world.shares[3]) || share.value > 0.9, "{times}: {share:?}");
        let Alibi { present, of, by_chance, .. } = found.routes[0].alibi;
        assert!(present > 0.99 * of && by_chance < 0.7 * of, "{times}: {:?}", found.routes[0].alibi);
    }
}

#[test]
fn a_job_is_laid_to_no_route_and_a_task_after_a_response_to_what_it_follows() {
    let innocent = mix(asked(2.0, 0.1, Hold::None));
    let jobs = Some(Jobs { each_second: 3.0, idle_s: 0.8 });
    let (names, _, found) = named(&innocent, &Load { jobs, ..PLAIN }, 7);
    assert_eq!((names, found.begun_by_none > 0.99), (vec![], true), "{found:#?}");
    let (names, _, found) = named(&mix(asked(2.0, 0.1, Hold::Afterwards(0.8))), &PLAIN, 7);
    assert_eq!(names, [(3, Role::After)], "{found:#?}");
}

#[test]
fn a_culprit_beside_a_job_is_named_with_its_own_share() {
    let jobs = Some(Jobs { each_second: 2.0, idle_s: 0.5 });
    let routes = mix(asked(2.0, 0.1, Hold::Responses(3.0)));
    let (names, world, found) = named(&routes, &Load { jobs, ..PLAIN }, 7);
    assert_eq!(names, [CULPRIT], "{found:#?}");
    assert!(
        (found.routes[0].share.value - world.shares[3]).abs() < 0.1,
        "{} of {:?}",
        found.routes[0].share.value,
        world.shares
    );
}

#[test]
fn a_leak_in_one_of_ten_answers_is_named_by_its_births() {
    let routes = mix(asked(2.0, 0.1, Hold::OneIn(10)));
    assert_eq!(named(&routes, &PLAIN, 7).0, [CULPRIT]);
}

#[test]
fn clocks_that_are_off_and_beginnings_that_are_unseen_name_nobody_else() {
    let routes = mix(asked(2.0, 0.1, Hold::Responses(2.0)));
    for load in [Load { clock_s: 0.05, ..PLAIN }, Load { unseen: 0.5, ..PLAIN }] {
        assert_eq!(named(&routes, &load, 7).0, [CULPRIT]);
    }
}

#[test]
fn too_few_beginnings_name_nobody() {
    let (names, _, found) = named(&mix(asked(2.0, 0.1, Hold::None)), &PLAIN, 7);
    assert_eq!((names, found.beginnings), (vec![], 0));
    assert_eq!(attribute(&[], &[], 4), None);
}

/// The plants of the bench, each by its name.
fn plants() -> Vec<(&'static str, [Asked; 4], Load)> {
    let held = |times| mix(asked(2.0, 0.1, Hold::Responses(times)));
    let jobs = Some(Jobs { each_second: 3.0, idle_s: 0.8 });
    vec![
        ("hold of 0.1 responses", mix(asked(2.0, 0.5, Hold::Responses(0.1))), PLAIN),
        ("hold of 0.95 responses", held(0.95), PLAIN),
        ("hold of 3 responses", held(3.0), PLAIN),
        ("hold of 10 responses", held(10.0), PLAIN),
        ("a task after the response", mix(asked(2.0, 0.1, Hold::Afterwards(0.8))), PLAIN),
        ("jobs alone", mix(asked(2.0, 0.1, Hold::None)), Load { jobs, ..PLAIN }),
        ("jobs beside a culprit", held(3.0), Load { jobs, ..PLAIN }),
        ("a leak in one of ten", mix(asked(2.0, 0.1, Hold::OneIn(10))), PLAIN),
        ("a culprit of three a minute", mix(asked(0.01, 0.1, Hold::Responses(50.0))), PLAIN),
        ("100 users", held(3.0), Load { users: 100, ..PLAIN }),
        ("clocks off by 50 ms", held(3.0), Load { clock_s: 0.05, ..PLAIN }),
        ("half unseen", held(3.0), Load { unseen: 0.5, ..PLAIN }),
    ]
}

#[test]
#[ignore = "200 loads of each of twelve plants"]
fn the_names_and_shares_of_every_plant_by_beginnings() {
    println!(
        "| plant | culprit named | innocents named, of route-runs | median error of the share | within its interval |"
    );
    println!("|---|---|---|---|---|");
    for (name, routes, load) in plants() {
        let (mut hits, mut innocents, mut errors, mut covered, mut telling) = (0, 0, Vec::new(), 0, 0);
        for seed in 0..200 {
            let (names, world, found) = named(&routes, &load, seed);
            let guilty = |it: &(usize, Role)| world.shares[it.0] > 0.0;
            innocents += names.iter().filter(|it| !guilty(it)).count();
            telling += u32::from(world.shares[3] > 0.0 && world.beginnings.len() >= 3);
            if let Some(begun) = found.routes.iter().find(|it| it.route == 3) {
                hits += 1;
                errors.push((begun.share.value / world.shares[3] - 1.0).abs());
                covered += u32::from((begun.share.low - 1e-9..=begun.share.high + 1e-9).contains(&world.shares[3]));
            }
        }
        errors.sort_by(f64::total_cmp);
        let median = errors.get(errors.len() / 2).map_or("–".to_owned(), |it| format!("{:.1} %", 100.0 * it));
        println!("| {name} | {hits} of {telling} | {innocents} of {} | {median} | {covered} of {hits} |", 200 * 3);
    }
}
