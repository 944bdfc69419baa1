//! A simulated load whose truth is known: users ask, requests hold sessions or do not, and polls look on.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::record::{
    ActivitySample, BreakdownSample, HoldGroup, LoadSample, Phases, RouteRecord, RunRecord, Sample, Stamped, Summary,
};
use crate::scenario::VariantName;

/// A route and what it does with a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimRoute {
    pub(super) name: &'static str,
    /// Weight relative to the others.
    pub(super) weight: f64,
    /// Response time: a constant part and the mean of an exponential one.
    pub(super) fixed_s: f64,
    pub(super) random_s: f64,
    /// Sessions held, and from and to which part of the response time.
    pub(super) sessions: u32,
    pub(super) held: (f64, f64),
    /// Part of the response time in which a statement runs.
    pub(super) active: f64,
    /// Last statements, separated by ` | `, of equally many of its sessions each.
    pub(super) statement: &'static str,
    pub(super) aborted: bool,
}

pub(super) const fn route(name: &'static str, weight: f64, fixed_s: f64, random_s: f64) -> SimRoute {
    let statement = "SELECT 1";
    SimRoute { name, weight, fixed_s, random_s, sessions: 0, held: (0.0, 0.0), active: 0.0, statement, aborted: false }
}

/// Output of a simulation.
pub(super) struct Simulated {
    pub(super) record: RunRecord,
    pub(super) samples: Vec<Stamped>,
    /// True idle seconds per request that was asked in the steady phase, by route.
    pub(super) truth: Vec<(&'static str, f64)>,
}

pub(super) const SCOPE: VariantName = VariantName::HELD;
const RAMP_S: f64 = 2.0;
const STEP_S: f64 = 0.1;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole(value: f64) -> usize {
    value as usize
}

/// Spans of time by which requests are counted at each poll.
#[derive(Default)]
struct Spans(Vec<(f64, f64)>);

impl Spans {
    /// Spans that cover each of the ticks `offset`, `offset` + 0.1 s, …
    fn counts(&self, offset: f64, ticks: usize) -> Vec<u32> {
        let mut change = vec![0_i64; ticks + 1];
        let tick = |at: f64| whole(((at - offset) / STEP_S).ceil()).min(ticks);
        for (from, to) in &self.0 {
            change[tick(*from)] += 1;
            change[tick(*to)] -= 1;
        }
        let mut now = 0;
        change[..ticks]
            .iter()
            .map(|it| {
                now += it;
                u32::try_from(now).expect("no span ends before it begins")
            })
            .collect()
    }
}

#[derive(Default)]
struct RouteSpans {
    flight: Spans,
    idle: Spans,
    active: Spans,
    finished: u64,
    /// Asked in the steady phase, whether they finished in it or not.
    asked: u64,
    held_s: f64,
    longest_s: f64,
}

/// Lets `users` ask for `seconds`, with think times from 0.3 to 1 s.
pub(super) fn simulate(routes: &[SimRoute], users: u32, seconds: f64, seed: u64) -> Simulated {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut spans: Vec<RouteSpans> = routes.iter().map(|_| RouteSpans::default()).collect();
    for user in 0..users {
        let mut now = RAMP_S * f64::from(user) / f64::from(users);
        while now < seconds {
            now += random.random_range(0.3..1.0);
            let which = draw(routes, &mut random);
            let takes = routes[which].fixed_s - routes[which].random_s * (1.0 - random.random::<f64>()).ln();
            ask(&routes[which], &mut spans[which], now, takes, seconds);
            now += takes;
        }
    }
    Simulated {
        record: record(routes, &spans, seconds),
        samples: samples(routes, &spans, users, seconds),
        truth: truth(routes, &spans),
    }
}

fn draw(routes: &[SimRoute], random: &mut SmallRng) -> usize {
    let mut left = random.random_range(0.0..routes.iter().map(|it| it.weight).sum::<f64>());
    routes
        .iter()
        .position(|it| {
            left -= it.weight;
            left < 0.0
        })
        .unwrap_or(0)
}

fn ask(route: &SimRoute, spans: &mut RouteSpans, now: f64, takes: f64, seconds: f64) {
    spans.flight.0.push((now, now + takes));
    let held = (now + route.held.0 * takes, now + route.held.1 * takes);
    (0..route.sessions).for_each(|_| spans.idle.0.push(held));
    if route.active > 0.0 {
        spans.active.0.push((now, now + route.active * takes));
    }
    if (RAMP_S..seconds).contains(&(now + takes)) {
        spans.finished += 1;
        spans.longest_s = spans.longest_s.max(takes);
    }
    if (RAMP_S..seconds).contains(&now) {
        spans.asked += 1;
        spans.held_s += (held.1 - held.0) * f64::from(route.sessions);
    }
}

fn truth(routes: &[SimRoute], spans: &[RouteSpans]) -> Vec<(&'static str, f64)> {
    let each = |spans: &RouteSpans| if spans.asked > 0 { spans.held_s / spans.asked as f64 } else { 0.0 };
    routes
        .iter()
        .zip(spans)
        .filter(|(route, _)| route.sessions > 0)
        .map(|(route, spans)| (route.name, each(spans)))
        .collect()
}

fn samples(routes: &[SimRoute], spans: &[RouteSpans], users: u32, seconds: f64) -> Vec<Stamped> {
    let ticks = whole(seconds / STEP_S);
    // Load and database are not looked at in the same moment.
    let (load_at, activity_at) = (0.02, 0.065);
    let flights: Vec<_> = spans.iter().map(|it| it.flight.counts(load_at, ticks)).collect();
    let idles: Vec<_> = spans.iter().map(|it| it.idle.counts(activity_at, ticks)).collect();
    let actives: Vec<_> = spans.iter().map(|it| it.active.counts(activity_at, ticks)).collect();
    let mut ends: Vec<f64> = spans.iter().flat_map(|it| it.flight.0.iter().map(|(_, to)| *to)).collect();
    ends.sort_by(f64::total_cmp);
    let mut samples = Vec::new();
    for tick in 0..ticks {
        let at = |offset: f64| offset + STEP_S * tick as f64;
        let in_flight = routes.iter().zip(&flights).filter(|(_, it)| it[tick] > 0);
        let in_flight = in_flight.map(|(route, it)| (route.name.to_owned(), it[tick])).collect();
        let finished = ends.partition_point(|end| *end <= at(load_at)) as u64;
        let load = LoadSample { users, finished, in_flight, ..LoadSample::default() };
        samples.push(Stamped { variant: SCOPE, at_s: at(load_at), sample: Sample::Load(load) });
        let sum = |wanted: bool| -> u32 {
            routes.iter().zip(&idles).filter(|(route, _)| route.aborted == wanted).map(|(_, it)| it[tick]).sum()
        };
        let activity = ActivitySample {
            idle_in_transaction: sum(false),
            idle_in_transaction_aborted: sum(true),
            active: actives.iter().map(|it| it[tick]).sum(),
            ..ActivitySample::default()
        };
        samples.push(Stamped { variant: SCOPE, at_s: at(activity_at), sample: Sample::Activity(activity) });
        if tick % 10 == 0 {
            let groups = routes.iter().zip(&idles).flat_map(|(route, idle)| groups(route, idle[tick])).collect();
            let breakdown = Sample::Breakdown(BreakdownSample { groups, left_out_s: None });
            samples.push(Stamped { variant: SCOPE, at_s: at(activity_at) + 0.001, sample: breakdown });
        }
    }
    samples
}

fn groups(route: &SimRoute, sessions: u32) -> Vec<HoldGroup> {
    let statements: Vec<&str> = route.statement.split(" | ").collect();
    let each = sessions / u32::try_from(statements.len()).expect("a few");
    let group = |statement: &&str| HoldGroup {
        statement: (*statement).to_owned(),
        application_name: "app".to_owned(),
        sessions: each,
        oldest_s: 0.5,
        idle_s: None,
        earlier: false,
    };
    statements.iter().map(group).filter(|group| group.sessions > 0).collect()
}

fn record(routes: &[SimRoute], spans: &[RouteSpans], seconds: f64) -> RunRecord {
    let text = include_str!("../../fixtures/records/issue-2318.json");
    let mut record: RunRecord = serde_json::from_str(text).expect("the fixture is a record of this version");
    record.variants.retain(|scope, _| *scope == SCOPE);
    let variant = record.variants.get_mut(&SCOPE).expect("the fixture has both variants");
    variant.phases = Phases { steady_from_s: RAMP_S, steady_to_s: seconds, ended_s: seconds };
    variant.errors.clear();
    let summary = Summary {
        pool_capacity: Some(10_000),
        pool_timeouts: Some(0),
        failure_ratio: Some(0.0),
        replicas: Some(1),
        ..Summary::default()
    };
    variant.summary = Summary { replicas_healthy_min: Some(1), polls: 100, ..summary };
    let one = |(route, spans): (&SimRoute, &RouteSpans)| RouteRecord {
        route: route.name.to_owned(),
        requests: spans.finished,
        failures: 0,
        latency_p50_ms: None,
        latency_p95_ms: None,
        latency_p99_ms: None,
        latency_max_ms: Some(spans.longest_s * 1e3),
    };
    variant.routes = routes.iter().zip(spans).map(one).collect();
    record
}
