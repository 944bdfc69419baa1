//! Loads whose truth is known, from the requests and the beginnings of their transactions alone.

use super::world::{Asked, Hold, Jobs, Load, PLAIN, Users, World, asked, simulate};
use super::*;
use crate::diagnose::spanning::{self, WholeTransaction};

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
    let jobs = Some(Jobs { each_second: 3.0, batch: 1, idle_s: 0.8 });
    let (names, _, found) = named(&innocent, &Load { jobs, ..PLAIN }, 7);
    assert_eq!((names, found.begun_by_none > 0.99), (vec![], true), "{found:#?}");
    let (names, _, found) = named(&mix(asked(2.0, 0.1, Hold::Afterwards(0.8))), &PLAIN, 7);
    assert_eq!(names, [(3, Role::After)], "{found:#?}");
}

#[test]
fn a_culprit_beside_a_job_is_named_with_its_own_share() {
    let jobs = Some(Jobs { each_second: 2.0, batch: 1, idle_s: 0.5 });
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

/// Who is named where the pool is full: by what lies within requests.
fn named_in_full_pool(world: &World, routes: usize) -> Option<usize> {
    let whole = |it: &Beginning| WholeTransaction {
        spanning: it.spanning.clone(),
        has_ended: true,
        ended_s: it.at_s + it.idle_s,
        idle_s: it.idle_s,
    };
    let whole: Vec<WholeTransaction> = world.beginnings.iter().map(whole).collect();
    spanning::compare(&whole, routes)?.named.map(|it| it.route)
}

/// The plants of the bench, each by its name.
fn plants() -> Vec<(&'static str, [Asked; 4], Load)> {
    let held = |times| mix(asked(2.0, 0.1, Hold::Responses(times)));
    let innocent = mix(asked(2.0, 0.1, Hold::None));
    let jobs = Some(Jobs { each_second: 3.0, batch: 1, idle_s: 0.8 });
    let batches = Some(Jobs { each_second: 0.1, batch: 20, idle_s: 0.2 });
    // Its hold is part of its response, as it is in a full pool.
    let in_full_pool = mix(asked(4.0, 0.4, Hold::Responses(1.0)));
    vec![
        ("hold of 0.1 responses", mix(asked(2.0, 0.5, Hold::Responses(0.1))), PLAIN),
        ("hold of 0.95 responses", held(0.95), PLAIN),
        ("hold of 3 responses", held(3.0), PLAIN),
        ("hold of 10 responses", held(10.0), PLAIN),
        ("a task after the response", mix(asked(2.0, 0.1, Hold::Afterwards(0.8))), PLAIN),
        ("jobs alone", innocent, Load { jobs, ..PLAIN }),
        ("a worker's batches alone", innocent, Load { jobs: batches, ..PLAIN }),
        ("jobs alone, in a service that stands still", innocent, Load { jobs, frozen_s: 0.8, ..PLAIN }),
        ("jobs beside a culprit", held(3.0), Load { jobs, ..PLAIN }),
        ("batches beside a culprit", held(3.0), Load { jobs: batches, ..PLAIN }),
        ("a leak in one of ten", mix(asked(2.0, 0.1, Hold::OneIn(10))), PLAIN),
        ("a culprit of three a minute", mix(asked(0.01, 0.1, Hold::Responses(50.0))), PLAIN),
        ("100 users", held(3.0), Load { users: 100, ..PLAIN }),
        ("one route for each user", held(3.0), Load { ask: Users::OneRouteEach, ..PLAIN }),
        ("a route that is always asked with it", held(3.0), Load { ask: Users::ThirdWithLast, ..PLAIN }),
        ("half of the clients leave", held(3.0), Load { leave: 0.5, ..PLAIN }),
        ("a service that stands still", held(0.95), Load { frozen_s: 0.8, ..PLAIN }),
        ("a pool full from the start", in_full_pool, Load { pool: Some(3), ..PLAIN }),
        ("clocks off by 50 ms", held(3.0), Load { clock_s: 0.05, ..PLAIN }),
        ("half unseen", held(3.0), Load { unseen: 0.5, ..PLAIN }),
    ]
}

/// What came of 200 loads.
#[derive(Default)]
struct Tally {
    /// Loads in which the culprit could be named, and in which it was.
    telling: u32,
    hits: u32,
    /// Innocents that were named, and those that were named as routes that may be meant instead of nobody.
    innocents: usize,
    errors: Vec<f64>,
    covered: u32,
}

impl Tally {
    fn add(&mut self, names: &[usize], world: &World, found: &ByBeginnings) {
        self.innocents += names.iter().filter(|route| world.shares[**route] == 0.0).count();
        self.telling += u32::from(world.shares[3] > 0.0 && world.beginnings.len() >= 3);
        self.hits += u32::from(names.contains(&3));
        if let Some(begun) = found.routes.iter().find(|it| it.route == 3) {
            self.errors.push((begun.share.value / world.shares[3] - 1.0).abs());
            self.covered += u32::from((begun.share.low - 1e-9..=begun.share.high + 1e-9).contains(&world.shares[3]));
        }
    }

    fn row(mut self, name: &str) -> String {
        self.errors.sort_by(f64::total_cmp);
        let median =
            self.errors.get(self.errors.len() / 2).map_or("–".to_owned(), |it| format!("{:.1} %", 100.0 * it));
        let Self { telling, hits, innocents, covered, .. } = self;
        let with_share = self.errors.len();
        format!("| {name} | {hits} of {telling} | {innocents} of {} | {median} | {covered} of {with_share} |", 200 * 3)
    }
}

#[test]
#[ignore = "200 loads of each of twenty plants"]
fn the_names_and_shares_of_every_plant_by_beginnings() {
    println!(
        "| plant | culprit named | innocents named, of route-runs | median error of the share | within its interval |"
    );
    println!("|---|---|---|---|---|");
    for (name, routes, load) in plants() {
        let mut tally = Tally::default();
        for seed in 0..200 {
            if load.pool.is_some() {
                let world = simulate(&routes, &load, seed);
                let names: Vec<usize> = named_in_full_pool(&world, routes.len()).into_iter().collect();
                tally.add(&names, &world, &ByBeginnings::default());
            } else {
                let (names, world, found) = named(&routes, &load, seed);
                let names: Vec<usize> = names.iter().map(|it| it.0).collect();
                tally.add(&names, &world, &found);
            }
        }
        println!("{}", tally.row(name));
    }
}
