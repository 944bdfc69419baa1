//! Finds the quality issues of a variant.

use super::gaps::{self, longest_gap};
use super::{QualityIssue, failing};
use crate::compare::Side;
use crate::record::{Sample, ScheduleRecord, Stamped};
use crate::scenario::Workload;

/// More polls than this share may not be missing, or late.
const MOST_POLLS: f64 = 0.05;

/// Samples and the server's counter may differ by this share.
const MOST_DISAGREEMENT: f64 = 0.05;

/// Standard errors of the sampling that explain a difference.
const SAMPLING_ERRORS: f64 = 3.0;

/// More of an open workload's requests than this share may not have failed to begin.
const MOST_NOT_STARTED: f64 = 0.01;

/// Later than this, in milliseconds, no more than 1 % of an open workload's requests may begin.
const LONGEST_LAG_MS: f64 = 50.0;

/// Requests that the end of the load cut off are a doubt when they are more than this share of all.
const MOST_CUT_OFF: f64 = 0.01;

/// Or when they are more than this share of the users of a closed workload, who ask for nothing while they wait.
const MOST_USERS_CUT_OFF: f64 = 0.10;

/// Every quality issue of a variant, the gravest first.
pub fn quality_issues(side: Side<'_>) -> Vec<QualityIssue> {
    let measured = side.measured;
    let (polls, missed) = (measured.summary.polls, measured.summary.polls_missed);
    let late = measured.generator.polls_late;
    let dropped = measured.generator.samples_dropped;
    let due = polls + missed;
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    // Of a watched database the load is somebody else's, and nobody counts it.
    let loaded = side.record.scenario.pace().is_some();
    let single = [
        (!measured.complete).then_some(QualityIssue::CutShort),
        (share(late, polls) > MOST_POLLS).then_some(QualityIssue::GeneratorLags { late, polls }),
        measured.generator.schedule.and_then(not_started),
        measured.generator.schedule.and_then(started_late),
        gaps::has_no_samples(side).then_some(QualityIssue::NoSamples),
        side.record.not_observed(measured).map(QualityIssue::NotObserved),
        loaded.then(|| stalled(side)).flatten(),
        (share(missed, due) > MOST_POLLS).then_some(QualityIssue::PollsMissed { missed, due }),
        gap(side),
        (dropped > 0).then_some(QualityIssue::SamplesDropped(dropped)),
        (side.unreadable > 0).then_some(QualityIssue::UnreadableSamples(side.unreadable)),
        disagreement(side),
        cut_off(side),
        (loaded && measured.summary.requests == 0).then_some(QualityIssue::NoRequests),
        measured.machine_load.filter(|it| it.is_limit()).map(|it| QualityIssue::CpuLimited {
            busy_ratio: it.busy_ratio,
            run_queue_delay_ms: it.run_queue_delay_ms,
        }),
    ];
    let mut found: Vec<QualityIssue> = single.into_iter().flatten().collect();
    found.extend(gaps::of_gauges(side));
    found.extend(failing::issues(side));
    found
}

fn not_started(schedule: ScheduleRecord) -> Option<QualityIssue> {
    let ScheduleRecord { started, not_started, .. } = schedule;
    let due = started + not_started;
    (not_started as f64 > MOST_NOT_STARTED * due as f64).then_some(QualityIssue::NotStarted { not_started, due })
}

fn started_late(schedule: ScheduleRecord) -> Option<QualityIssue> {
    let late = schedule.lag_p99_ms.filter(|lag| *lag > LONGEST_LAG_MS);
    late.map(|lag_p99_ms| QualityIssue::StartedLate { lag_p99_ms })
}

/// Requests in flight when the load ends are neither successes nor failures, nor in the latencies: a service that has hung
/// for a while has done so unseen.
fn cut_off(side: Side<'_>) -> Option<QualityIssue> {
    let requests = side.measured.summary.requests_cut_off;
    let all = requests + side.measured.summary.requests;
    let users = match side.record.scenario.pace()?.workload {
        Workload::Closed { users } => f64::from(users),
        Workload::Open { .. } => f64::INFINITY,
    };
    let many = (MOST_CUT_OFF * all as f64).min(MOST_USERS_CUT_OFF * users);
    let oldest_s = side.measured.generator.cut_off_oldest_s.filter(|oldest| *oldest > failing::explained_s(side))?;
    (requests as f64 > many).then_some(QualityIssue::CutOff { requests, oldest_s })
}

/// The load is sampled by the generator's own threads: when they stand still, so does the load.
fn stalled(side: Side<'_>) -> Option<QualityIssue> {
    let load = |stamped: &&Stamped| matches!(stamped.sample, Sample::Load(_));
    longest_gap(side, load).map(|seconds| QualityIssue::GeneratorStalled { seconds })
}

fn gap(side: Side<'_>) -> Option<QualityIssue> {
    let poll = |stamped: &&Stamped| matches!(stamped.sample, Sample::Activity(_));
    longest_gap(side, poll).map(|seconds| QualityIssue::Gap { seconds })
}

/// The samples against the server's own counter.
///
/// Three things explain a difference. A session that was lost in a transaction: the counter lacks its last episode, so
/// it may be smaller, and only smaller, by the longest age that a transaction reached at most. The ends of the load, which poll and counter do not see at the same instant: one
/// interval of the most sessions seen. And chance: episodes shorter than the interval are seen or not, so that the
/// number of sightings n scatters by √n at most.
fn disagreement(side: Side<'_>) -> Option<QualityIssue> {
    let summary = &side.measured.summary;
    let (sampled_s, counted_s) = (summary.idle_in_transaction_sampled_s?, summary.idle_in_transaction_counted_s?);
    let interval = side.record.scenario.interval().secs();
    let by_chance = SAMPLING_ERRORS * (sampled_s.max(counted_s) * interval).sqrt();
    let at_the_ends = interval * summary.idle_in_transaction_peak.map_or(0.0, f64::from);
    let allowed = MOST_DISAGREEMENT * sampled_s.max(counted_s) + by_chance + at_the_ends;
    let too_low = sampled_s - counted_s - lost_s(side);
    (too_low.max(counted_s - sampled_s) > allowed).then_some(QualityIssue::Disagreement { sampled_s, counted_s })
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
