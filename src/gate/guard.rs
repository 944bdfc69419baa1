//! Reasons to doubt the instrument itself, which make a verdict inconclusive.

use std::fmt;

use super::measure::Window;
use super::rule::Metric;
use crate::compare::Side;
use crate::record::{Sample, ScheduleRecord, Stamped};

/// More polls than this share may not be missing, or late.
const MOST_POLLS: f64 = 0.05;

/// More of the pools' gauges than this share may not be missing.
const MOST_GAUGES: f64 = 0.20;

/// The longest time without a sample, in polling intervals, and never less than [`SHORTEST_GAP_S`].
const LONGEST_GAP: f64 = 10.0;
const SHORTEST_GAP_S: f64 = 1.0;

/// Samples and the server's counter may differ by this share.
const MOST_DISAGREEMENT: f64 = 0.05;

/// Standard errors of the sampling that explain a difference.
const SAMPLING_ERRORS: f64 = 3.0;

/// More of an open workload's requests than this share may not have failed to begin.
const MOST_NOT_STARTED: f64 = 0.01;

/// Later than this, in milliseconds, no more than 1 % of an open workload's requests may begin.
const LONGEST_LAG_MS: f64 = 50.0;

/// Why what was measured is not to be trusted.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// The variant was cut short.
    CutShort,
    /// The load generator, or the monitor beside it, did not get the time that it needed.
    GeneratorLags {
        /// Polls that began late.
        late: u64,
        /// Of so many.
        polls: u64,
    },
    /// Requests of an open workload did not begin, because the most were in flight.
    NotStarted {
        /// So many.
        not_started: u64,
        /// Of so many that were due.
        due: u64,
    },
    /// Requests of an open workload began later than planned, for want of time on this machine.
    StartedLate {
        /// 99th percentile.
        lag_p99_ms: f64,
    },
    /// The load generator did not even look at its own figures for a long time.
    GeneratorStalled {
        /// How long, in the steady phase.
        seconds: f64,
    },
    /// There is not a single sample of the variant: a summary alone cannot be checked against anything.
    NoSamples,
    /// Lines of the samples could not be read.
    UnreadableSamples(u64),
    /// The disk was too slow for the samples.
    SamplesDropped(u64),
    /// Polls gave no sample.
    PollsMissed {
        /// So many.
        missed: u64,
        /// Of so many that were due.
        due: u64,
    },
    /// A long time without a sample in the steady phase.
    Gap {
        /// How long.
        seconds: f64,
    },
    /// The pools' gauges did not answer.
    GaugesSilent {
        /// So many times.
        silent: usize,
        /// Of so many.
        asked: usize,
    },
    /// Samples and the server's own counter disagree, and nothing explains it.
    Disagreement {
        /// From the samples, in session seconds.
        sampled_s: f64,
        /// From the counter.
        counted_s: f64,
    },
    /// Nothing loaded the gateway, or nothing came back.
    NoRequests,
}

impl Doubt {
    /// Whether it concerns figures of `metric`.
    pub fn concerns(&self, metric: Metric) -> bool {
        match self {
            // A scan looks by itself, and says so when it could not.
            Self::GeneratorLags { .. } => metric != Metric::Hold,
            Self::CutShort
            | Self::GeneratorStalled { .. }
            | Self::NotStarted { .. }
            | Self::StartedLate { .. }
            | Self::NoSamples
            | Self::NoRequests => true,
            Self::SamplesDropped(_) | Self::UnreadableSamples(_) => {
                metric.is_polled() || is_pool(metric) || metric == Metric::ReplicasHealthy
            }
            Self::PollsMissed { .. } | Self::Gap { .. } | Self::Disagreement { .. } => metric.is_polled(),
            Self::GaugesSilent { .. } => is_pool(metric),
        }
    }

    /// Whether a broken rule stays broken: what does not come back at all is no reason to forgive a limit that is
    /// exceeded.
    pub fn spares_failures(&self) -> bool {
        !matches!(self, Self::NoRequests)
    }
}

const fn is_pool(metric: Metric) -> bool {
    matches!(metric, Metric::PoolCheckedOut | Metric::PoolPending | Metric::PoolTimeouts)
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort => f.write_str("the variant was cut short"),
            Self::GeneratorLags { late, polls } => {
                write!(f, "the load generator lagged: {late} of {polls} polls began late; the machine was too busy")
            }
            Self::GeneratorStalled { seconds } => {
                write!(f, "the load generator stood still for {seconds:.1} s of the steady phase")
            }
            Self::NotStarted { not_started, due } => write!(
                f,
                "{not_started} of {due} requests that were due did not begin, because `max_in_flight` were in flight"
            ),
            Self::StartedLate { lag_p99_ms } => write!(
                f,
                "the load generator fell behind its schedule: 1 % of the requests began {lag_p99_ms:.0} ms late or later"
            ),
            Self::NoSamples => f.write_str("there are no samples of the variant"),
            Self::UnreadableSamples(1) => f.write_str("a line of the samples could not be read"),
            Self::UnreadableSamples(lines) => write!(f, "{lines} lines of the samples could not be read"),
            Self::SamplesDropped(dropped) => write!(f, "{dropped} samples were dropped, because the disk was too slow"),
            Self::PollsMissed { missed, due } => {
                write!(f, "the samples have gaps: {missed} of {due} polls of the database gave none")
            }
            Self::Gap { seconds } => {
                write!(f, "the samples have a gap: {seconds:.1} s of the steady phase without a poll of the database")
            }
            Self::GaugesSilent { silent, asked } => {
                write!(f, "the pools' gauges did not answer {silent} of {asked} times")
            }
            Self::Disagreement { sampled_s, counted_s } => write!(
                f,
                "the samples make {sampled_s:.1} session seconds idle in transaction, the server counts \
                 {counted_s:.1}, and no lost session explains it"
            ),
            Self::NoRequests => f.write_str("no request finished in the steady phase"),
        }
    }
}

/// Every doubt about a variant, the gravest first.
pub fn doubts(side: Side<'_>) -> Vec<Doubt> {
    let measured = side.measured;
    let (polls, missed) = (measured.summary.polls, measured.summary.polls_missed);
    let late = measured.generator.polls_late;
    let dropped = measured.generator.samples_dropped;
    let due = polls + missed;
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    // Of a watched database the load is somebody else's, and nobody counts it.
    let loaded = side.record.scenario.pace().is_some();
    let found = [
        (!measured.complete).then_some(Doubt::CutShort),
        (share(late, polls) > MOST_POLLS).then_some(Doubt::GeneratorLags { late, polls }),
        measured.generator.schedule.and_then(not_started),
        measured.generator.schedule.and_then(started_late),
        none(side).then_some(Doubt::NoSamples),
        loaded.then(|| stalled(side)).flatten(),
        (share(missed, due) > MOST_POLLS).then_some(Doubt::PollsMissed { missed, due }),
        gap(side),
        (dropped > 0).then_some(Doubt::SamplesDropped(dropped)),
        (side.unreadable > 0).then_some(Doubt::UnreadableSamples(side.unreadable)),
        silent_gauges(side),
        disagreement(side),
        (loaded && measured.summary.requests == 0).then_some(Doubt::NoRequests),
    ];
    found.into_iter().flatten().collect()
}

fn not_started(schedule: ScheduleRecord) -> Option<Doubt> {
    let ScheduleRecord { started, not_started, .. } = schedule;
    let due = started + not_started;
    (not_started as f64 > MOST_NOT_STARTED * due as f64).then_some(Doubt::NotStarted { not_started, due })
}

fn started_late(schedule: ScheduleRecord) -> Option<Doubt> {
    let late = schedule.lag_p99_ms.filter(|lag| *lag > LONGEST_LAG_MS);
    late.map(|lag_p99_ms| Doubt::StartedLate { lag_p99_ms })
}

fn none(side: Side<'_>) -> bool {
    side.samples.iter().all(|it| it.variant != side.variant)
}

/// The load is sampled by the generator's own threads: when they stand still, so does the load.
fn stalled(side: Side<'_>) -> Option<Doubt> {
    let load = |stamped: &&Stamped| matches!(stamped.sample, Sample::Load(_));
    longest_gap(side, load).map(|seconds| Doubt::GeneratorStalled { seconds })
}

fn gap(side: Side<'_>) -> Option<Doubt> {
    let poll = |stamped: &&Stamped| matches!(stamped.sample, Sample::Activity(_));
    longest_gap(side, poll).map(|seconds| Doubt::Gap { seconds })
}

/// The longest time in the steady phase without a sample of a kind, its ends included; `None` when it is not too long. A
/// record without samples is [`Doubt::NoSamples`], and only that.
fn longest_gap(side: Side<'_>, kind: impl Fn(&&Stamped) -> bool) -> Option<f64> {
    if none(side) {
        return None;
    }
    let ours = || side.samples.iter().filter(|it| it.variant == side.variant);
    let Window { from_s, to_s } = Window::steady(side);
    let inside = ours().filter(kind).map(|it| it.at_s).filter(|at| (from_s..=to_s).contains(at));
    let times: Vec<f64> = std::iter::once(from_s).chain(inside).chain(std::iter::once(to_s)).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max_by(f64::total_cmp)?;
    let allowed = (LONGEST_GAP * side.record.scenario.interval().secs()).max(SHORTEST_GAP_S);
    (longest > allowed).then_some(longest)
}

fn silent_gauges(side: Side<'_>) -> Option<Doubt> {
    let answers = side.samples.iter().filter(|it| it.variant == side.variant).filter_map(|it| match &it.sample {
        Sample::Pools(pools) => Some(pools.checked_out.is_some()),
        _ => None,
    });
    let (mut asked, mut silent) = (0_usize, 0_usize);
    for answered in answers {
        asked += 1;
        silent += usize::from(!answered);
    }
    (silent as f64 > MOST_GAUGES * asked as f64).then_some(Doubt::GaugesSilent { silent, asked })
}

/// The samples against the server's own counter.
///
/// Three things explain a difference. A session that was lost in a transaction: the counter lacks its last episode, so
/// it may be smaller, and only smaller, by the longest age that a transaction reached at most. The ends of the load, which poll and counter do not see at the same instant: one
/// interval of the most sessions seen. And chance: episodes shorter than the interval are seen or not, so that the
/// number of sightings n scatters by √n at most.
fn disagreement(side: Side<'_>) -> Option<Doubt> {
    let summary = &side.measured.summary;
    let (sampled_s, counted_s) = (summary.idle_in_transaction_sampled_s?, summary.idle_in_transaction_counted_s?);
    let interval = side.record.scenario.interval().secs();
    let by_chance = SAMPLING_ERRORS * (sampled_s.max(counted_s) * interval).sqrt();
    let at_the_ends = interval * summary.idle_in_transaction_peak.map_or(0.0, f64::from);
    let allowed = MOST_DISAGREEMENT * sampled_s.max(counted_s) + by_chance + at_the_ends;
    let too_low = sampled_s - counted_s - lost_s(side);
    (too_low.max(counted_s - sampled_s) > allowed).then_some(Doubt::Disagreement { sampled_s, counted_s })
}

/// Session seconds that the counter may lack, because each lost session took its last episode with it. An episode is at
/// most as old as a transaction was in the steady phase, and what the load lasted beyond that. Where no loss is
/// recorded, it explains nothing.
fn lost_s(side: Side<'_>) -> f64 {
    let phases = side.measured.phases;
    let oldest_s = side.measured.summary.transaction_age_max_s;
    let longest_s = oldest_s.map_or(phases.ended_s, |oldest| oldest + (phases.ended_s - phases.steady_to_s).max(0.0));
    let lost = side.measured.sessions_lost.map_or(0, |lost| lost.total().max(0));
    lost as f64 * longest_s.min(phases.ended_s)
}
