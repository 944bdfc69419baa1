//! The replicas as the swarm sees them: which are up, and how many requests each has in flight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::Url;

use super::SwarmError;
use super::request_log::{RequestLog, TransactionTimes};
use crate::record::{Presence, Spanning};
use crate::scenario::Balance;

/// Number of earlier times, and their distance, at which requests are looked up to estimate what chance would give.
const SHIFTS: u32 = 12;
const SHIFT: Duration = Duration::from_millis(400);

/// All replicas, and the requests in flight.
#[derive(Debug)]
pub struct Fleet {
    replicas: Vec<Replica>,
    /// Requests in flight, by the route's place among the plan's labels.
    in_flight: Vec<AtomicU32>,
    /// Their beginnings and ends, in the same order.
    logs: Vec<RequestLog>,
    labels: Arc<[String]>,
}

#[derive(Debug)]
struct Replica {
    url: Url,
    up: AtomicBool,
    in_flight: AtomicU32,
}

impl Fleet {
    /// A fleet of replicas at these base URLs, all up, for a plan of these routes.
    ///
    /// # Errors
    /// [`SwarmError::Url`].
    pub fn new(urls: &[String], labels: Arc<[String]>) -> Result<Self, SwarmError> {
        let target = |url: &String| {
            let parsed = Url::parse(url).map_err(|_unparsable| SwarmError::Url { url: url.clone() })?;
            Ok(Replica { url: parsed, up: AtomicBool::new(true), in_flight: AtomicU32::new(0) })
        };
        Ok(Self {
            replicas: urls.iter().map(target).collect::<Result<_, SwarmError>>()?,
            in_flight: labels.iter().map(|_| AtomicU32::new(0)).collect(),
            logs: labels.iter().map(|_| RequestLog::default()).collect(),
            labels,
        })
    }

    /// The routes, as the plan has them.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Says whether a replica (counted from 0) is up.
    pub fn set_up(&self, replica: usize, up: bool) {
        if let Some(target) = self.replicas.get(replica) {
            target.up.store(up, Ordering::Relaxed);
        }
    }

    /// Requests in flight by route; routes with none are left out.
    pub fn in_flight(&self) -> BTreeMap<String, u32> {
        let counts = self.labels.iter().zip(&self.in_flight);
        counts
            .map(|(label, count)| (label.clone(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Requests by route around a moment of the last seconds, which is known to within `error`; routes without any are left
    /// out.
    pub fn present_at(&self, at: Instant, error: Duration) -> BTreeMap<String, Presence> {
        let of = |log: &RequestLog| log.present_at(at, error);
        let all = self.labels.iter().zip(self.logs.iter().map(of));
        all.filter(|(_, presence)| !presence.is_empty()).map(|(label, presence)| (label.clone(), presence)).collect()
    }

    /// Requests by route that were in flight when a transaction of the last seconds `began` and when it `ended`, between two times;
    /// routes without any are left out.
    pub fn spanning(&self, began: Instant, ended: (Instant, Instant)) -> BTreeMap<String, Spanning> {
        let first = self.logs.iter().filter_map(RequestLog::first).min();
        let own = TransactionTimes { began, ended };
        let earlier = (1..=SHIFTS).filter_map(|shift| own.earlier(shift * SHIFT));
        // Times before the load tell nothing of chance.
        let others = earlier.filter(|it| first.is_some_and(|first| first < it.began));
        let times: Vec<TransactionTimes> = std::iter::once(own).chain(others).collect();
        let of = |log: &RequestLog| {
            let counts = log.ended_with(&times);
            let others = &counts[1..];
            let expected = others.iter().map(|count| f64::from(*count)).sum::<f64>() / others.len() as f64;
            let expected = (!others.is_empty()).then_some(expected);
            Spanning { ended_with_it: counts[0], throughout: log.throughout(&own), expected }
        };
        let all = self.labels.iter().zip(self.logs.iter().map(of));
        let any = |it: &Spanning| it.throughout > 0 || it.expected.is_some_and(|expected| expected > 0.0);
        all.filter(|(_, it)| any(it)).map(|(label, it)| (label.clone(), it)).collect()
    }

    /// Counts a request to the replica of this place, for the route of that one, as in flight until what is returned is
    /// dropped.
    pub(super) fn board(&self, replica: usize, route: usize) -> Boarded<'_> {
        let (target, by_route, log) = (&self.replicas[replica], &self.in_flight[route], &self.logs[route]);
        target.in_flight.fetch_add(1, Ordering::Relaxed);
        by_route.fetch_add(1, Ordering::Relaxed);
        Boarded { target, by_route, log, place: log.begin(Instant::now()) }
    }

    /// Chooses a replica for a request of the user whose own is `home`: among those that are up, all when none is, since a
    /// load balancer without a healthy backend still tries.
    pub(super) fn choose(&self, balance: Balance, home: usize) -> usize {
        let (count, home) = (self.replicas.len(), home % self.replicas.len());
        let any_up = self.replicas.iter().any(Replica::is_up);
        let usable = |place: &usize| !any_up || self.replicas[*place].is_up();
        // Starting at the user's own spreads ties evenly.
        let mut from_home = (0..count).map(|step| (home + step) % count).filter(usable);
        let chosen = match balance {
            Balance::Bound => from_home.next(),
            Balance::LeastConn => from_home.min_by_key(|place| self.replicas[*place].in_flight.load(Ordering::Relaxed)),
        };
        chosen.unwrap_or(home)
    }
}

impl Replica {
    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

/// A request in flight.
pub(super) struct Boarded<'a> {
    target: &'a Replica,
    by_route: &'a AtomicU32,
    log: &'a RequestLog,
    place: usize,
}

impl Boarded<'_> {
    /// The replica's base URL.
    pub(super) fn url(&self) -> &Url {
        &self.target.url
    }
}

impl Drop for Boarded<'_> {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.by_route.fetch_sub(1, Ordering::Relaxed);
        self.log.end(self.place, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"].map(str::to_owned);
        Fleet::new(&urls, ["GET /a", "GET /b"].map(str::to_owned).into()).unwrap()
    }

    /// A request of a user to a route.
    fn board(fleet: &Fleet, balance: Balance, home: usize, route: usize) -> Boarded<'_> {
        fleet.board(fleet.choose(balance, home), route)
    }

    fn port(boarded: &Boarded<'_>) -> u16 {
        boarded.url().port().unwrap()
    }

    #[test]
    fn least_conn_takes_the_replica_with_the_fewest_in_flight() {
        let fleet = fleet();
        let first = board(&fleet, Balance::LeastConn, 0, 0);
        let second = board(&fleet, Balance::LeastConn, 0, 0);
        let third = board(&fleet, Balance::LeastConn, 0, 0);
        assert_eq!([port(&first), port(&second), port(&third)], [1, 2, 3]);
        drop(second);
        assert_eq!(port(&board(&fleet, Balance::LeastConn, 0, 0)), 2);
    }

    #[test]
    fn a_bound_user_leaves_a_replica_only_while_it_is_down() {
        let fleet = fleet();
        assert_eq!(port(&board(&fleet, Balance::Bound, 1, 0)), 2);
        fleet.set_up(1, false);
        assert_eq!(port(&board(&fleet, Balance::Bound, 1, 0)), 3);
        fleet.set_up(1, true);
        assert_eq!(port(&board(&fleet, Balance::Bound, 1, 0)), 2);
    }

    #[test]
    fn with_every_replica_down_requests_still_go_somewhere() {
        let fleet = fleet();
        (0..3).for_each(|replica| fleet.set_up(replica, false));
        assert_eq!(port(&board(&fleet, Balance::LeastConn, 2, 0)), 3);
    }

    #[test]
    fn requests_in_flight_are_counted_by_route_and_only_while_they_are() {
        let fleet = fleet();
        let boarded = board(&fleet, Balance::LeastConn, 0, 1);
        assert_eq!(fleet.in_flight(), BTreeMap::from([("GET /b".to_owned(), 1)]));
        drop(boarded);
        assert_eq!(fleet.in_flight(), BTreeMap::new());
    }
}
