//! The three tiers on one connection: pulse, rows, counters; and the blockers, when somebody waits for a lock.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::activity::{ActivityPoll, Statements, poll};
use super::clock::{ClockReading, Clocks, ServerTime};
use super::connection::{Trouble, in_time};
use super::cost::thread_cpu_s;
use super::counters::{self, ServerCounters};
use super::episodes::{Longest, Tracker};
use super::figures::figures;
use super::holds::{GAP_S, Holds};
use super::interval::{PollTimes, Tier, skipped};
use super::pulse::{Pulse, feel};
use super::reconnecting::{ReconnectingClient, Restored};
use super::session_filter::Wanted;
use super::surroundings::Around;
use super::transactions::Transactions;
use super::working::Working;
use super::{MonitorError, Sink, Watch, blocking, count_of};
use crate::record::{
    BlockingSample, CountersSample, EpisodeEnd, Event, MonitorRecord, OtherSessions, PulseSample, Sample,
};
use crate::stats::LatencyHistogram;

/// Time for a turn that is under way once the watching is to end.
const LAST_TURN: Duration = Duration::from_millis(500);

/// Statistics of the polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollStats {
    /// Polls that gave a sample.
    pub taken: u64,
    /// Polls that were due and gave none: the tick was missed, or the query failed.
    pub missed: u64,
    /// Polls that began more than half an interval late.
    pub late: u64,
}

/// Result of monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MonitorResult {
    pub polls: PollStats,
    /// Achievement and cost.
    pub record: MonitorRecord,
}

/// Duration of polls, measured here.
#[derive(Default)]
struct Took {
    pulse: LatencyHistogram,
    rows: LatencyHistogram,
}

/// Watches the database.
pub(super) struct Watcher {
    watch: Watch,
    line: ReconnectingClient,
    counters_before: ServerCounters,
    clocks: Clocks,
    times: PollTimes,
    /// Time since which changes are reported.
    since: ServerTime,
    tracker: Tracker,
    longest: Longest,
    transactions: Transactions,
    holds: Holds,
    wanted: Wanted,
    seen_others: OtherSessions,
    no_clients: Vec<i32>,
    working: Working,
    waiters: Vec<i32>,
    took: Took,
    stats: PollStats,
    record: MonitorRecord,
}

impl Watcher {
    /// Connects, and polls what there is before the load begins.
    pub(super) async fn start(watch: Watch) -> Result<Self, MonitorError> {
        let line = ReconnectingClient::open(&watch.database, &watch.whose).await?;
        let Some(up) = line.link() else { return Err(MonitorError::Silent) };
        let failed = |what| move |source| MonitorError::Query { what, source };
        let counters_before = counters::read(&up.client, &up.counters).await.map_err(failed("pg_stat_database"))?;
        let wanted = watch.whose.wanted(&up.server.roles)?;
        let (pulse, rows) = if watch.whose.is_everybody() {
            (Some(watch.pulse), watch.interval)
        } else {
            (None, watch.pulse.min(watch.interval))
        };
        Ok(Self {
            wanted,
            times: PollTimes::new(Instant::now(), pulse, rows),
            longest: Longest::new(rows.as_secs_f64()),
            record: MonitorRecord {
                counts_idle_time: counters_before.idle_in_transaction_s.is_some(),
                ..MonitorRecord::default()
            },
            clocks: Clocks::default(),
            since: ServerTime::EVER,
            tracker: Tracker::default(),
            holds: Holds::default(),
            transactions: Transactions::default(),
            seen_others: OtherSessions::default(),
            no_clients: Vec::new(),
            working: Working::default(),
            waiters: Vec::new(),
            took: Took::default(),
            stats: PollStats::default(),
            counters_before,
            line,
            watch,
        })
    }

    /// Watches until `stop`.
    pub(super) async fn run(mut self, sink: &dyn Sink, stop: &CancellationToken) -> MonitorResult {
        let (began, cpu_before) = (Instant::now(), thread_cpu_s());
        let (mut tick, mut last_rows) = (began, None);
        while stop.run_until_cancelled(tokio::time::sleep_until(tick.into())).await.is_some() {
            // A server that hangs holds nobody up who wants to end.
            let turn = self.turn(tick, &mut last_rows, sink);
            let patience = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_TURN).await;
            };
            tokio::select! {
                () = turn => {}
                () = patience => break,
            }
            self.times.somebody_waits(!self.waiters.is_empty());
            tick = self.times.next_tick(Instant::now());
        }
        let around = Around { clocks: &self.clocks, epoch: self.watch.epoch, sink };
        for transaction in self.transactions.rest(&around) {
            sink.take(Instant::now(), Sample::Transaction(transaction));
        }
        let still_open = self.tracker.end_all(EpisodeEnd::StillOpen);
        self.longest.add(still_open);
        self.tell_second(sink);
        self.watched(began.elapsed(), cpu_before).await
    }

    /// One tick: whatever is due.
    async fn turn(&mut self, tick: Instant, last_rows: &mut Option<Instant>, sink: &dyn Sink) {
        let interval = self.times.rows_interval();
        if self.times.take_due(Tier::Rows, tick) {
            self.stats.missed += skipped(last_rows.replace(tick), tick, interval);
            self.stats.late += u64::from(tick.elapsed() > interval / 2);
            self.poll_rows(sink).await;
        } else if self.times.take_due(Tier::Pulse, tick) {
            self.poll_pulse(sink).await;
        }
        if self.times.take_due(Tier::Second, tick) {
            self.poll_counters(sink).await;
            self.tell_second(sink);
        }
        if !self.waiters.is_empty() && self.times.take_due(Tier::Blocking, tick) {
            self.poll_blocking(sink).await;
        }
    }

    async fn watched(self, lasted: Duration, cpu_before: Option<f64>) -> MonitorResult {
        let client_cpu_s = cpu_before.zip(thread_cpu_s()).map(|(before, after)| after - before);
        let line = self.line.close().await;
        let seconds = lasted.as_secs_f64();
        let rate = |polls: u64| (seconds > 0.0).then(|| polls as f64 / seconds);
        let record = MonitorRecord {
            watched_s: seconds,
            pulse_rate_hz: rate(self.record.pulses),
            rows_rate_hz: rate(self.stats.taken),
            pulse_p95_ms: self.took.pulse.quantile_ms(0.95),
            rows_p95_ms: self.took.rows.quantile_ms(0.95),
            client_cpu_s,
            backend_cpu_s: line.backend_cpu_s,
            unwatched_s: line.unwatched_s,
            sessions_with_activity: self.working.sessions(),
            episodes: self.longest.ended,
            episodes_recorded: self.longest.recorded,
            ..self.record
        };
        MonitorResult { polls: self.stats, record }
    }

    /// Seconds of the record's clock.
    fn record_s(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.watch.epoch) {
            Some(since) => since.as_secs_f64(),
            None => -self.watch.epoch.duration_since(at).as_secs_f64(),
        }
    }

    async fn poll_rows(&mut self, sink: &dyn Sink) {
        if !self.is_connected(sink).await {
            self.stats.missed += 1;
            return;
        }
        let Some(link) = self.line.link() else { return };
        let (client, database) = (&link.client, link.server.database);
        let polling = poll(client, &link.rows, database, self.since, &self.wanted, Statements::OfNewHolds);
        match in_time(polling).await {
            Ok(seen) => self.saw_rows(seen, sink),
            Err(trouble) => {
                self.stats.missed += 1;
                self.failed(trouble, sink).await;
            }
        }
    }

    fn saw_rows(&mut self, seen: ActivityPoll, sink: &dyn Sink) {
        let at = seen.at();
        let now_s = self.record_s(at);
        let jumped = self.observe_clock(seen.now, seen.asked, sink);
        self.seen_others = OtherSessions {
            other_database: seen.other_database,
            replication: seen.replication,
            same_database: seen.other_sessions,
            idle_in_transaction: seen.other_sessions_idle,
        };
        self.working.take(&seen);
        self.stats.taken += 1;
        self.record.pulses += 1;
        self.took.rows.record(seen.answered - seen.asked);
        let (activity, pulse) = figures(&self.clocks, &seen);
        sink.take(at, Sample::Activity(activity));
        sink.take(at, Sample::Pulse(pulse));
        let eased = self.times.idle(now_s, pulse.idle_in_transaction);
        self.all_happened(eased, sink);
        if jumped {
            // What was asked for by the server's old clock is not what has changed.
            self.since = ServerTime::EVER;
            self.holds.interrupted();
            self.transactions.interrupted();
        } else {
            let clocks = &self.clocks;
            let ended = self.tracker.poll(now_s, &seen.rows, |time| now_s - clocks.age_s(seen.now, time));
            self.longest.add(ended);
            // Polls that were slowed down are no gaps.
            let gap_s = GAP_S.max(3.0 * self.times.rows_interval().as_secs_f64());
            self.holds.poll(now_s, &mut self.tracker, gap_s);
            self.followed(now_s, &seen, gap_s, sink);
            self.since = if self.tracker.lacks_statements() { ServerTime::EVER } else { seen.began };
        }
        self.waiters = seen.rows.iter().filter(|row| row.waits_for_lock()).map(|row| row.pid).collect();
        self.no_clients = seen.no_clients;
        let cost = self.times.cost(Tier::Rows, between(seen.began, seen.now));
        let sessions = self.times.sessions(seen.sessions);
        self.all_happened(cost.into_iter().chain(sessions), sink);
    }

    /// Follows the transactions; who was there at a beginning is asked as soon as it is known.
    fn followed(&mut self, now_s: f64, seen: &ActivityPoll, gap_s: f64, sink: &dyn Sink) {
        let around = Around { clocks: &self.clocks, epoch: self.watch.epoch, sink };
        for ended in self.transactions.poll(now_s, &seen.rows, gap_s, &around) {
            sink.take(Instant::now(), Sample::Transaction(ended));
        }
    }

    async fn poll_pulse(&mut self, sink: &dyn Sink) {
        if !self.is_connected(sink).await {
            return;
        }
        let Some(link) = self.line.link() else { return };
        match in_time(feel(&link.client, &link.pulse, link.server.database, &self.no_clients)).await {
            Ok(pulse) => self.felt(&pulse, sink),
            Err(trouble) => self.failed(trouble, sink).await,
        }
    }

    fn felt(&mut self, pulse: &Pulse, sink: &dyn Sink) {
        self.observe_clock(pulse.now, pulse.asked, sink);
        self.record.pulses += 1;
        self.took.pulse.record(pulse.answered - pulse.asked);
        let sample = PulseSample {
            in_transaction: pulse.in_transaction,
            idle_in_transaction: pulse.idle_in_transaction,
            oldest_transaction_s: pulse.oldest.map(|since| self.clocks.age_s(pulse.now, since)),
            poll_ms: (pulse.answered - pulse.asked).as_secs_f64() * 1e3,
        };
        let at = middle(pulse.asked, pulse.answered);
        sink.take(at, Sample::Pulse(sample));
        let mut eased = self.times.idle(self.record_s(at), pulse.idle_in_transaction);
        eased.extend(self.times.cost(Tier::Pulse, between(pulse.began, pulse.now)));
        self.all_happened(eased, sink);
    }

    async fn poll_counters(&mut self, sink: &dyn Sink) {
        if !self.is_connected(sink).await {
            return;
        }
        let Some(link) = self.line.link() else { return };
        match in_time(counters::read(&link.client, &link.counters)).await {
            Ok(now) => {
                let since = now.since(&self.counters_before);
                let opened = now.sessions.zip(self.counters_before.sessions).map(|(now, before)| now - before);
                self.record.sessions_opened = opened.and_then(|count| u64::try_from(count).ok());
                let sample = CountersSample {
                    idle_in_transaction_counted_s: since.idle_in_transaction_s,
                    sessions_lost: since.lost.map(|lost| lost.total()),
                    prepared_transactions: Some(now.prepared_transactions),
                    prepared_oldest_s: now.prepared_oldest_s,
                    others: self.seen_others,
                };
                sink.take(Instant::now(), Sample::Counters(sample));
                self.line.note_cost();
            }
            Err(trouble) => self.failed(trouble, sink).await,
        }
    }

    async fn poll_blocking(&mut self, sink: &dyn Sink) {
        let waiting = count_of(self.waiters.len());
        let waiters = std::mem::take(&mut self.waiters);
        let Some(link) = self.line.link() else { return };
        match in_time(blocking::walk(&link.client, (&link.blockers, &link.root_details), &waiters)).await {
            Ok(mut walked) => {
                for root in &mut walked.roots {
                    root.age_s = walked.since.get(&root.pid).map(|(now, since)| self.clocks.age_s(*now, *since));
                }
                // Anyone who waited may have gone on meanwhile.
                if !walked.roots.is_empty() {
                    sink.take(walked.asked, Sample::Blocking(BlockingSample { roots: walked.roots, waiting }));
                }
            }
            Err(trouble) => self.failed(trouble, sink).await,
        }
    }

    /// Reports once a second.
    fn tell_second(&mut self, sink: &dyn Sink) {
        let eased = self.times.every_second();
        self.all_happened(eased, sink);
        let now = Instant::now();
        if self.line.link().is_some() {
            sink.take(now, Sample::Breakdown(self.holds.take()));
        }
        for mut ended in self.longest.take() {
            ended.sample.user = self.line.link().and_then(|link| link.server.roles.get(&ended.user)).cloned();
            sink.take(now, Sample::Episode(ended.sample));
        }
    }

    /// True if the server's clock has jumped.
    fn observe_clock(&mut self, server: ServerTime, asked: Instant, sink: &dyn Sink) -> bool {
        let events = self.clocks.observe(ClockReading::now(server, self.watch.epoch, asked));
        let jumped = events.iter().any(|event| matches!(event, Event::ClockJumped { clock, .. } if clock == "server"));
        for event in events {
            self.happened(event, sink);
        }
        jumped
    }

    fn happened(&mut self, event: Event, sink: &dyn Sink) {
        match &event {
            Event::ConnectionLost { .. } => self.record.connections_lost += 1,
            Event::ServerRestarted => self.record.server_restarts += 1,
            Event::ClockJumped { .. } => self.record.clock_jumps += 1,
            Event::BackedOff { .. } => self.record.pace_changes += 1,
            _ => {}
        }
        sink.take(Instant::now(), Sample::Event(event));
    }

    /// A poll came to nothing.
    async fn failed(&mut self, trouble: Trouble, sink: &dyn Sink) {
        self.holds.interrupted();
        self.transactions.interrupted();
        self.times.interrupted();
        let event = self.line.failed(trouble).await;
        if self.line.link().is_none() {
            self.waiters.clear();
        }
        if let Some(event) = event {
            self.happened(event, sink);
        }
    }

    /// True if there is a connection; tries to make one when it is time to.
    async fn is_connected(&mut self, sink: &dyn Sink) -> bool {
        if let Some(Restored { gap, restarted }) = self.line.restore().await {
            self.since = ServerTime::EVER;
            let after_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
            self.happened(Event::Reconnected { after_ms }, sink);
            if restarted {
                let gone = self.tracker.end_all(EpisodeEnd::SessionGone);
                // Of the old server's nothing more is known.
                self.transactions = Transactions::default();
                self.longest.add(gone);
                self.happened(Event::ServerRestarted, sink);
            }
        }
        self.line.link().is_some()
    }

    fn all_happened(&mut self, events: impl IntoIterator<Item = Event>, sink: &dyn Sink) {
        for event in events {
            self.happened(event, sink);
        }
    }
}

/// The answer is about some instant between question and answer.
fn middle(asked: Instant, answered: Instant) -> Instant {
    asked + (answered - asked) / 2
}

/// Time that the server worked on it.
fn between(began: ServerTime, ended: ServerTime) -> Duration {
    Duration::from_micros(u64::try_from(ended.0.saturating_sub(began.0)).unwrap_or(0))
}
