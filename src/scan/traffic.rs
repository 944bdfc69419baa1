//! Harm of a hold: seconds per request × requests a second are sessions (Little's law).

use crate::record::scan::{ScanRoute, ScanVerdict};

/// The traffic that harm is reckoned for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Traffic {
    /// So many requests a second.
    Rate(f64),
    /// Users who think for so many seconds after each answer.
    Users {
        users: u32,
        /// Seconds, at the mean over the requests.
        think_s: f64,
        /// The most requests a second, of all of them.
        most_rps: Option<f64>,
    },
}

impl Traffic {
    /// Requests a second; `None` when a response time is not known.
    fn rps(self, routes: &[ScanRoute]) -> Option<f64> {
        match self {
            Self::Rate(rps) => Some(rps),
            Self::Users { users, think_s, most_rps } => {
                let answers = routes.iter().map(|it| Some(it.traffic_share * it.response_s?));
                let each_s = think_s + answers.sum::<Option<f64>>()?;
                let wanted = (each_s > 0.0).then(|| f64::from(users) / each_s)?;
                Some(most_rps.map_or(wanted, |most| wanted.min(most)))
            }
        }
    }
}

/// The whole traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MixForecast {
    pub rps: Option<f64>,
    /// Requests a second of this mix at which the pools are full, at most.
    pub pool_full_at_rps: Option<f64>,
}

/// Fills in what each route does to the pools, and sorts them, most harmful first.
pub fn reckon(routes: &mut [ScanRoute], traffic: Option<Traffic>, capacity: Option<u32>) -> MixForecast {
    let rps = traffic.and_then(|traffic| traffic.rps(routes));
    let full_at = |busy_s: f64| capacity.map(f64::from).filter(|_| busy_s > 0.0).map(|sessions| sessions / busy_s);
    for route in &mut *routes {
        route.sessions_held = rps.zip(held_s(route)).map(|(rps, held_s)| rps * route.traffic_share * held_s);
        route.pool_full_at_rps = busy_s(route).and_then(full_at);
    }
    let per_request = routes.iter().map(|route| Some(route.traffic_share * busy_s(route)?)).sum::<Option<f64>>();
    let harm = |route: &ScanRoute| {
        let held_s = held_s(route).unwrap_or(0.0);
        (rank(route), route.sessions_held.unwrap_or(held_s * route.traffic_share))
    };
    routes.sort_by(|a, b| {
        let ((rank_a, harm_a), (rank_b, harm_b)) = (harm(a), harm(b));
        rank_a.cmp(&rank_b).then(harm_b.total_cmp(&harm_a)).then_with(|| a.route.cmp(&b.route))
    });
    MixForecast { rps, pool_full_at_rps: per_request.and_then(full_at) }
}

/// Rank of a route: named ones first, and those that leave sessions behind before all, since that ends with no request.
fn rank(route: &ScanRoute) -> u8 {
    use ScanVerdict::{Fine, Holds, Leaks, Unknown};
    match route.verdict {
        Leaks => 0,
        Holds => 1,
        Unknown => 2,
        Fine => 3,
    }
}

/// Idle seconds per request under the traffic: in the concurrent phase, where that is more. What leaks holds without an end.
fn held_s(route: &ScanRoute) -> Option<f64> {
    if route.verdict == ScanVerdict::Leaks {
        return None;
    }
    let concurrent_hold = route.held_concurrent_s_per_request.filter(|_| route.only_concurrent);
    concurrent_hold.or(route.held_s_per_request).map(|held| held.value)
}

/// Seconds that a request keeps a session, by its transaction.
fn busy_s(route: &ScanRoute) -> Option<f64> {
    Some(held_s(route)? + route.active_s_per_request? + route.lock_wait_s_per_request?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scan::Estimate;
    use crate::scan::report::unmeasured;

    fn route(name: &str, share: f64, held_s: f64, response_s: f64, verdict: ScanVerdict) -> ScanRoute {
        ScanRoute {
            held_s_per_request: Some(Estimate { value: held_s, low: held_s, high: held_s }),
            active_s_per_request: Some(0.01),
            lock_wait_s_per_request: Some(0.0),
            response_s: Some(response_s),
            verdict,
            ..unmeasured(name, share)
        }
    }

    #[test]
    fn harm_is_seconds_times_rate_and_a_pool_is_full_by_littles_law() {
        let mut routes = [
            route("GET /fine", 0.5, 0.0, 0.1, ScanVerdict::Fine),
            route("GET /rare", 0.1, 0.9, 1.0, ScanVerdict::Holds),
            route("GET /often", 0.4, 0.29, 0.5, ScanVerdict::Holds),
        ];
        let whole = reckon(&mut routes, Some(Traffic::Users { users: 20, think_s: 0.65, most_rps: None }), Some(30));
        // A turn takes 0.65 + 0.05 + 0.1 + 0.2 s.
        assert!((whole.rps.unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(routes.each_ref().map(|it| it.route.as_str()), ["GET /often", "GET /rare", "GET /fine"]);
        assert!((routes[0].sessions_held.unwrap() - 2.32).abs() < 1e-9);
        assert!((routes[0].pool_full_at_rps.unwrap() - 100.0).abs() < 1e-9);
        assert!((whole.pool_full_at_rps.unwrap() - 30.0 / 0.216).abs() < 1e-6);
    }

    #[test]
    fn no_more_is_asked_for_than_the_ceiling_allows() {
        let rps = |most_rps| {
            let mut routes = [route("GET /a", 1.0, 0.1, 0.5, ScanVerdict::Holds)];
            reckon(&mut routes, Some(Traffic::Users { users: 20, think_s: 0.5, most_rps }), None).rps
        };
        assert_eq!([None, Some(50.0), Some(5.0)].map(rps), [Some(20.0), Some(20.0), Some(5.0)]);
    }

    #[test]
    fn a_leak_comes_first_and_fills_the_pools_at_any_rate() {
        let fine = route("GET /fine", 0.5, 0.01, 0.1, ScanVerdict::Fine);
        let mut routes = [fine, route("GET /leak", 0.5, 0.1, 0.1, ScanVerdict::Leaks)];
        let whole = reckon(&mut routes, Some(Traffic::Rate(10.0)), Some(30));
        assert_eq!((routes[0].route.as_str(), routes[0].sessions_held), ("GET /leak", None));
        assert_eq!((routes[0].pool_full_at_rps, whole.pool_full_at_rps), (None, None));
    }

    #[test]
    fn what_is_not_known_stays_unknown() {
        let mut routes = [unmeasured("GET /a", 1.0)];
        let whole = reckon(&mut routes, Some(Traffic::Users { users: 2, think_s: 1.0, most_rps: Some(9.0) }), Some(30));
        assert_eq!((whole, routes[0].sessions_held), (MixForecast::default(), None));
        let mut routes = [route("GET /a", 1.0, 0.1, 0.2, ScanVerdict::Holds)];
        assert_eq!(reckon(&mut routes, None, None), MixForecast::default());
        assert_eq!(reckon(&mut routes, Some(Traffic::Rate(50.0)), None).rps, Some(50.0));
        assert!((routes[0].sessions_held.unwrap() - 5.0).abs() < 1e-9);
    }
}
