//! From figures to a verdict.

use super::THRESHOLDS;
use super::estimate::wider_for;
use crate::record::scan::{Estimate, ScanRoute, ScanThresholds, ScanVerdict};

/// Evidence on a route.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteEvidence {
    /// Requests, those that failed, and those without an answer.
    pub requests: u64,
    pub failures: u64,
    pub unanswered: u64,
    /// Idle seconds beyond pauses per request, alone; `None` when there were too few requests, or nobody polled.
    pub beyond_s: Option<Estimate>,
    /// The same in the concurrent phase; `None` when it is not named there.
    pub concurrent_s: Option<Estimate>,
    /// Seconds for which threads of the service and of its backends waited for a core, per request, alone; `None` when nobody knows.
    pub cpu_wait_s: Option<f64>,
    /// The same in the concurrent phase, per request of any route.
    pub concurrent_cpu_wait_s: Option<f64>,
    /// True if nobody knows what others did.
    pub other_sessions_unseen: bool,
    /// True if a session was left in a transaction while nothing was asked for.
    pub other_sessions_leak: bool,
    /// Turns after which sessions were left behind.
    pub turns_with_leak: u64,
    /// Turns of which it is known whether.
    pub turns_judged: u64,
    /// Turns after which sessions were left behind by clients that had left before the answer.
    pub turns_with_client_leak: u64,
}

/// A verdict, and a word on it where it needs one.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteVerdict {
    pub verdict: ScanVerdict,
    /// True if it holds in the concurrent phase and not alone.
    pub only_concurrent: bool,
    pub reason: Option<String>,
}

impl RouteVerdict {
    fn plain(verdict: ScanVerdict) -> Self {
        Self { verdict, only_concurrent: false, reason: None }
    }

    fn unknown(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::plain(ScanVerdict::Unknown) }
    }
}

/// Advice on a leak that only clients show which leave.
const CLIENT_LEAVES: &str = "what the request began is neither committed nor rolled back when its client leaves: give the session back in \
                             a `finally` (or its like), which also runs when the request is cancelled";

/// Judges a route.
#[must_use]
pub fn judge(known: &RouteEvidence, thresholds: &ScanThresholds) -> RouteVerdict {
    if known.turns_with_leak >= 2 && !known.other_sessions_leak {
        return RouteVerdict::plain(ScanVerdict::Leaks);
    }
    if known.turns_with_leak + known.turns_with_client_leak >= 2 && !known.other_sessions_leak {
        return RouteVerdict { reason: Some(CLIENT_LEAVES.to_owned()), ..RouteVerdict::plain(ScanVerdict::Leaks) };
    }
    let holds = |held: Option<Estimate>| held.is_some_and(|held| held.low >= thresholds.held_s);
    if known.other_sessions_unseen && (holds(known.beyond_s) || holds(known.concurrent_s)) {
        return RouteVerdict::unknown("other sessions may be the cause: no quiet turn was observed");
    }
    let waits = |held: Option<Estimate>, wait_s: Option<f64>| {
        let rest_s = held.zip(wait_s).map(|(held, wait_s)| held.low - wait_s);
        wait_s.filter(|_| rest_s.is_some_and(|rest_s| rest_s < thresholds.held_s))
    };
    if holds(known.beyond_s) {
        return match waits(known.beyond_s, known.cpu_wait_s) {
            Some(seconds) => RouteVerdict::unknown(waits_for_cpu(seconds)),
            None => RouteVerdict::plain(ScanVerdict::Holds),
        };
    }
    if holds(known.concurrent_s) && waits(known.concurrent_s, known.concurrent_cpu_wait_s).is_none() {
        let reason = "it holds in the concurrent phase only".to_owned();
        return RouteVerdict { only_concurrent: true, reason: Some(reason), ..RouteVerdict::plain(ScanVerdict::Holds) };
    }
    not_named(known, thresholds)
}

/// Requests without which `fine` is not settled: a leak in one of ten is seen by then in 96 of 100 cases.
pub const FEWEST_FOR_FINE: u64 = 30;

/// Half of an interval, relative to its value, from which on the seconds of a route that holds are precise enough.
const PRECISE: f64 = 0.1;

/// True if a verdict on a route alone stands, however much longer it is asked for: with 95 % in all of so many looks.
#[must_use]
pub fn is_settled(route: &ScanRoute, looks: u32) -> bool {
    let Some(held) = route.held_beyond_pauses_s else { return false };
    let wider = wider_for(looks);
    match route.verdict {
        ScanVerdict::Holds => {
            let half_s = wider * (held.value - held.low);
            held.value - half_s >= THRESHOLDS.held_s && half_s <= PRECISE * held.value
        }
        ScanVerdict::Fine => {
            route.requests >= FEWEST_FOR_FINE
                && route.failures == 0
                && held.value + wider * (held.high - held.value) < THRESHOLDS.held_s
        }
        ScanVerdict::Leaks | ScanVerdict::Unknown => false,
    }
}

fn waits_for_cpu(wait_s: f64) -> String {
    format!(
        "what it holds may be a wait for a CPU: per request, the service and PostgreSQL waited {wait_s:.3} s for one; scan again \
         while the CPUs are free"
    )
}

/// How a reason ends that is behind what follows it: the requests' own.
pub(super) const FAILED: &str = "requests failed";

/// More of a route's requests than this share may not fail: what fails does not do the work that is measured.
const MOST_FAILED: f64 = 0.05;

/// Fine, if that is known.
fn not_named(known: &RouteEvidence, thresholds: &ScanThresholds) -> RouteVerdict {
    if known.requests == 0 {
        return RouteVerdict::unknown("no request was sent");
    }
    if known.failures as f64 > MOST_FAILED * known.requests as f64 {
        return RouteVerdict::unknown(format!("{} of {} {FAILED}", known.failures, known.requests));
    }
    if known.turns_with_leak + known.turns_with_client_leak >= 1 && known.other_sessions_leak {
        return RouteVerdict::unknown(
            "sessions stay in a transaction after it and after quiet turns, too: set `[database] applications` to \
             those of the service",
        );
    }
    if known.turns_with_leak + known.turns_with_client_leak >= 1 {
        return RouteVerdict::unknown("a session was left in a transaction once, and not again");
    }
    let Some(beyond_s) = known.beyond_s else {
        return RouteVerdict::unknown("too few requests, or a gap between polls");
    };
    if beyond_s.high >= thresholds.held_s {
        let (low, high) = (beyond_s.low, beyond_s.high);
        let limit = thresholds.held_s;
        return RouteVerdict::unknown(format!(
            "{low:.3} to {high:.3} s per request is too wide to tell from {limit:.3} s"
        ));
    }
    if known.turns_judged == 0 {
        return RouteVerdict::unknown(format!(
            "{} requests had no answer, so that a leak cannot be ruled out",
            known.unanswered
        ));
    }
    RouteVerdict::plain(ScanVerdict::Fine)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_route_is_settled_once_more_requests_would_not_change_its_verdict() {
        let route = |verdict, value: f64, half: f64, requests| ScanRoute {
            requests,
            verdict,
            held_beyond_pauses_s: Some(Estimate { value, low: value - half, high: value + half }),
            ..crate::scan::report::unmeasured("GET /x", 1.0)
        };
        let settled = |verdict, value, half, requests| is_settled(&route(verdict, value, half, requests), 3);
        assert!(settled(ScanVerdict::Holds, 0.4, 0.03, 20));
        assert!(!settled(ScanVerdict::Holds, 0.4, 0.035, 20), "less precise than a tenth, at three looks");
        assert!(settled(ScanVerdict::Fine, 0.001, 0.005, 30));
        assert!(!settled(ScanVerdict::Fine, 0.001, 0.005, 29), "a leak may be seldom");
        assert!(!settled(ScanVerdict::Fine, 0.001, 0.017, 60));
        assert!(!settled(ScanVerdict::Unknown, 0.0, 0.0, 60) && !settled(ScanVerdict::Leaks, 1.0, 0.0, 60));
    }

    use super::*;
    use crate::scan::THRESHOLDS;

    fn between(low: f64, high: f64) -> Estimate {
        Estimate { value: f64::midpoint(low, high), low, high }
    }

    fn verdict(known: RouteEvidence) -> (ScanVerdict, bool) {
        let judged = judge(&known, &THRESHOLDS);
        let needs_a_word = judged.verdict == ScanVerdict::Unknown || judged.only_concurrent;
        assert_eq!(judged.reason.is_some(), needs_a_word || known.turns_with_client_leak > 0);
        (judged.verdict, judged.only_concurrent)
    }

    #[test]
    fn a_verdict_needs_figures_that_are_sure() {
        let fine = RouteEvidence {
            requests: 60,
            beyond_s: Some(between(0.0, 0.001)),
            turns_judged: 3,
            ..RouteEvidence::default()
        };
        assert_eq!(verdict(fine), (ScanVerdict::Fine, false));
        let holds = RouteEvidence { beyond_s: Some(between(0.14, 0.16)), ..fine };
        assert_eq!(verdict(holds), (ScanVerdict::Holds, false));
        assert_eq!(verdict(RouteEvidence { other_sessions_unseen: true, ..fine }), (ScanVerdict::Fine, false));
        assert_eq!(verdict(RouteEvidence { turns_with_leak: 2, ..holds }), (ScanVerdict::Leaks, false));
        assert_eq!(verdict(RouteEvidence { turns_with_client_leak: 2, ..fine }), (ScanVerdict::Leaks, false));
        assert_eq!(
            verdict(RouteEvidence { concurrent_s: Some(between(0.1, 0.3)), ..fine }),
            (ScanVerdict::Holds, true)
        );
        assert_eq!(
            verdict(RouteEvidence { concurrent_s: Some(between(0.01, 0.3)), ..fine }),
            (ScanVerdict::Fine, false)
        );
        assert_eq!(verdict(RouteEvidence { cpu_wait_s: Some(0.1), ..holds }), (ScanVerdict::Holds, false));
        assert_eq!(verdict(RouteEvidence { cpu_wait_s: Some(0.1), ..fine }), (ScanVerdict::Fine, false));
        let concurrent = RouteEvidence { concurrent_s: Some(between(0.1, 0.3)), ..fine };
        assert_eq!(
            verdict(RouteEvidence { concurrent_cpu_wait_s: Some(0.09), ..concurrent }),
            (ScanVerdict::Fine, false),
            "alone it is fine, and together the CPUs were busy"
        );
        for unknown in [
            RouteEvidence { beyond_s: Some(between(0.01, 0.06)), ..fine },
            RouteEvidence { cpu_wait_s: Some(0.13), ..holds },
            RouteEvidence { beyond_s: None, ..fine },
            RouteEvidence { other_sessions_unseen: true, ..holds },
            RouteEvidence { other_sessions_unseen: true, concurrent_s: Some(between(0.1, 0.3)), ..fine },
            RouteEvidence { failures: 40, ..fine },
            RouteEvidence { turns_with_leak: 1, ..fine },
            RouteEvidence { turns_with_client_leak: 1, ..fine },
            RouteEvidence { turns_with_leak: 3, other_sessions_leak: true, ..fine },
            RouteEvidence { turns_judged: 0, unanswered: 3, ..fine },
            RouteEvidence { turns_judged: 3, ..RouteEvidence::default() },
        ] {
            assert_eq!(verdict(unknown).0, ScanVerdict::Unknown, "{unknown:?}");
        }
        assert_eq!(
            verdict(RouteEvidence { turns_with_leak: 3, other_sessions_leak: true, ..holds }),
            (ScanVerdict::Holds, false)
        );
        let failing = RouteEvidence { failures: 60, ..holds };
        assert_eq!(verdict(failing).0, ScanVerdict::Holds, "what fails and holds, holds");
    }
}
