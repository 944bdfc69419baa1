//! State of the view at this moment, folded from samples and polls.
//!
//! Pure, and bounded: an hour of history, one poll, the last events.

use std::collections::{BTreeMap, VecDeque};

use super::groups::Arranged;
use super::history::WatchHistory;
use crate::monitor::sessions::{PollEvent, ServerLimits};
use crate::record::{ActivitySample, CountersSample, Event, PoolSample, Sample};

/// Events that are kept.
const HAPPENINGS: usize = 100;

/// Pools that are kept apart.
const POOLS: usize = 256;

/// Counts that are older give way to those of a poll.
const FRESH_S: f64 = 2.0;

/// A session that did nothing for so long in a transaction is worth a line when it goes on.
const LONG_EPISODE_S: f64 = 10.0;

/// Target of the watching, and its intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchTarget {
    /// The database's URL without its password.
    pub url: String,
    /// The pages of gauges, without credentials, in order.
    pub pools: Vec<String>,
    /// Seconds between two polls of the sessions.
    pub interval_s: f64,
    /// Seconds between two counts.
    pub counts_interval_s: f64,
    /// When watching began, seconds since 1970 UTC.
    pub started_unix_s: f64,
}

/// Everything that a view may show. Times are seconds since watching began.
#[derive(Clone, Debug)]
pub struct WatchModel {
    pub target: WatchTarget,
    /// The server; as it was last known while it does not answer.
    pub server: ServerLimits,
    pub now_s: f64,
    pub history: WatchHistory,
    /// The latest counts, and when they were taken.
    pub activity: Option<(f64, ActivitySample)>,
    /// The latest poll, and when it was taken.
    pub poll: Option<(f64, Arranged)>,
    /// Since when the server does not answer, and why; `None` while it does.
    pub lost: Option<(f64, String)>,
    /// The pools by number, counted from 1.
    pub pools: BTreeMap<u32, PoolView>,
    /// Increase of the server's counters since watching began.
    pub counters: Option<CountersSample>,
    /// Events, oldest first.
    pub happenings: VecDeque<(f64, String)>,
    /// The record that is kept, if one is.
    pub recording: Option<Recording>,
}

/// A pool as its gauges tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolView {
    /// When they were read last.
    pub at_s: f64,
    pub sample: PoolSample,
    /// Most connections out, as far as it was seen.
    pub peak: Option<u32>,
}

/// A record that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub folder: String,
    pub samples: u64,
}

impl WatchModel {
    /// Before anything was seen.
    pub fn new(target: WatchTarget, server: ServerLimits) -> Self {
        Self {
            history: WatchHistory::new(target.counts_interval_s),
            target,
            server,
            now_s: 0.0,
            activity: None,
            poll: None,
            lost: None,
            pools: BTreeMap::new(),
            counters: None,
            happenings: VecDeque::new(),
            recording: None,
        }
    }

    /// Lets time go on.
    pub fn advance(&mut self, now_s: f64) {
        if now_s.is_finite() {
            self.now_s = self.now_s.max(now_s);
            self.history.advance(self.now_s);
        }
    }

    /// Takes what the monitor saw.
    pub fn take(&mut self, at_s: f64, sample: &Sample) {
        match sample {
            Sample::Activity(activity) => {
                self.history.take(at_s, activity);
                self.activity = Some((at_s, *activity));
            }
            Sample::Pulse(pulse) => self.history.take_pulse(at_s, pulse),
            Sample::Pools(pools) => self.take_pools(at_s, pools),
            Sample::Event(event) => self.hear(at_s, event),
            Sample::Episode(episode) if episode.ended_s - episode.began_s >= LONG_EPISODE_S => {
                let statement = episode.statement.as_deref().unwrap_or("–");
                let lasted_s = episode.ended_s - episode.began_s;
                self.note(at_s, format!("process {} did nothing for {lasted_s:.1} s after {statement}", episode.pid));
            }
            Sample::Counters(counters) => self.counters = Some(*counters),
            // Breakdowns and roots are for the record: a poll says more. Nobody probes replicas or loads them here.
            _ => {}
        }
    }

    /// Takes what came of a poll.
    pub fn see(&mut self, at_s: f64, seen: PollEvent) {
        match seen {
            PollEvent::Poll(poll) => {
                let took_ms = poll.took_ms;
                let arranged = Arranged::of(poll);
                // A poll counts too, where the monitor's connection is not back yet.
                self.history.take(at_s, &arranged.as_sample(took_ms));
                if self.activity.is_none_or(|(last_s, _)| at_s - last_s > FRESH_S) {
                    self.activity = Some((at_s, arranged.as_sample(took_ms)));
                }
                self.poll = Some((at_s, arranged));
            }
            PollEvent::Lost(why) => {
                self.note(at_s, format!("the server does not answer: {why}"));
                self.lost = Some((at_s, why));
            }
            PollEvent::Back(server) => {
                let gone_s = self.lost.take().map_or(0.0, |(since_s, _)| at_s - since_s);
                self.note(at_s, format!("the server answers again after {gone_s:.1} s"));
                self.server = server;
            }
        }
    }

    /// The connection's end and return are reported by the polls.
    fn hear(&mut self, at_s: f64, event: &Event) {
        match event {
            Event::PollFailed { error } => self.note(at_s, format!("a poll failed: {error}")),
            Event::ServerRestarted => self.note(at_s, "the server was started again".to_owned()),
            Event::ClockJumped { clock, by_ms } => self.note(at_s, format!("the {clock} clock jumped by {by_ms} ms")),
            Event::BackedOff { tier, interval_ms, .. } => {
                self.note(at_s, format!("{tier}: polled every {interval_ms} ms from now on"));
            }
            Event::ReplicaDown { .. }
            | Event::ReplicaUp { .. }
            | Event::ConnectionLost { .. }
            | Event::Reconnected { .. } => {}
        }
    }

    fn take_pools(&mut self, at_s: f64, sample: &PoolSample) {
        if self.pools.len() >= POOLS && !self.pools.contains_key(&sample.replica) {
            return;
        }
        let before = self.pools.get(&sample.replica).and_then(|pool| pool.peak);
        let peak = before.max(sample.checked_out);
        self.pools.insert(sample.replica, PoolView { at_s, sample: sample.clone(), peak });
    }

    /// A failing poll says the same each time: it is kept once.
    fn note(&mut self, at_s: f64, text: String) {
        if self.happenings.back().is_some_and(|(_, last)| *last == text) {
            return;
        }
        self.happenings.push_back((at_s, text));
        if self.happenings.len() > HAPPENINGS {
            self.happenings.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::simulated::{model, poll};

    #[test]
    fn a_lost_server_is_lost_since_the_first_failure_and_until_it_answers() {
        let mut model = model(0);
        model.see(3.0, PollEvent::Lost("connection closed".to_owned()));
        model.advance(9.0);
        assert_eq!(model.lost, Some((3.0, "connection closed".to_owned())));
        let server = ServerLimits { version: "16.1".to_owned(), ..model.server.clone() };
        model.see(10.0, PollEvent::Back(server));
        model.see(10.1, PollEvent::Poll(poll(4)));
        assert_eq!((model.lost.clone(), model.server.version.as_str()), (None, "16.1"));
        let text_seen: Vec<&str> = model.happenings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            text_seen,
            ["the server does not answer: connection closed", "the server answers again after 7.0 s"]
        );
    }

    #[test]
    fn nothing_grows_with_time() {
        let mut model = model(0);
        for index in 0..10_000_u32 {
            let at_s = f64::from(index);
            model.take(at_s, &Sample::Event(Event::PollFailed { error: index.to_string() }));
            model.take_pools(at_s, &crate::watch::simulated::pool(index + 1, None));
        }
        assert_eq!((model.happenings.len(), model.pools.len()), (HAPPENINGS, POOLS));
    }

    #[test]
    fn gauges_that_do_not_answer_are_unknown_and_their_peak_stays() {
        let mut model = model(0);
        for out in [Some(3), Some(9), None] {
            model.take(1.0, &Sample::Pools(crate::watch::simulated::pool(1, out)));
        }
        assert_eq!((model.pools[&1].sample.checked_out, model.pools[&1].peak), (None, Some(30)), "30 at first");
    }
}
