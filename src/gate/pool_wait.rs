//! Judgement of a wait for the pool: a histogram tells the bucket of a percentile, and the whole bucket decides.

use super::Verdict;
use super::missing::Missing;
use super::rule::{Aggregate, Metric, Rule};
use super::time_slice::TimeSlice;
use crate::compare::Side;
use crate::record::pool_wait::{PoolWaits, WaitBounds};
use crate::record::{Sample, Stamped};

/// The bucket of the rule's percentile, over the steady phase; from the summary, where there are no samples.
///
/// # Errors
/// [`Missing`] when no histogram was recorded.
pub(super) fn measure(rule: &Rule, side: Side<'_>) -> Result<WaitBounds, Missing> {
    let ours: Vec<Stamped> = side.samples.iter().filter(|it| it.variant == side.variant).cloned().collect();
    if ours.is_empty() {
        return from_summary(rule, side).ok_or(Missing::NotRecorded(rule.metric));
    }
    let pages = ours.iter().filter_map(|it| match &it.sample {
        Sample::Pools(pools) => Some(pools.replica),
        _ => None,
    });
    let window = TimeSlice::steady(side);
    let waits = PoolWaits::between(&ours, pages.max().unwrap_or(0), window.from_s, window.to_s);
    let waits = waits.ok_or(Missing::NotRecorded(rule.metric))?;
    waits.quantile(share(rule)).ok_or(Missing::NoSamples(Metric::PoolWait))
}

fn share(rule: &Rule) -> f64 {
    match rule.aggregate {
        Some(Aggregate::P50) => 0.50,
        Some(Aggregate::P95) => 0.95,
        Some(Aggregate::P99) => 0.99,
        _ => 1.0,
    }
}

/// The summary has the upper bounds alone.
fn from_summary(rule: &Rule, side: Side<'_>) -> Option<WaitBounds> {
    let summary = &side.measured.summary;
    let high_ms = match rule.aggregate? {
        Aggregate::P50 => summary.pool_wait_p50_ms,
        Aggregate::P95 => summary.pool_wait_p95_ms,
        Aggregate::P99 => summary.pool_wait_p99_ms,
        _ => summary.pool_wait_max_ms,
    };
    high_ms.map(|high_ms| WaitBounds { low_ms: 0.0, high_ms: Some(high_ms) })
}

/// The verdict on a bucket, whose lower bound is none of it; and a word on it where it needs one.
pub(super) fn judge(rule: &Rule, bucket: WaitBounds, limit_ms: f64) -> (Verdict, Option<String>) {
    let WaitBounds { low_ms, high_ms } = bucket;
    // The wait is above the lower bound, however little.
    let lowest = if low_ms > 0.0 { low_ms.next_up() } else { low_ms };
    let holds = |wait_ms: f64| rule.op.holds(wait_ms, limit_ms);
    match (holds(lowest), holds(high_ms.unwrap_or(f64::INFINITY))) {
        (true, true) => (Verdict::Passed, None),
        (false, false) => (Verdict::Failed, None),
        _ => {
            let upper = high_ms.map_or_else(|| "no bound".to_owned(), |high_ms| format!("{high_ms} ms"));
            let reason = format!("the histogram's bucket, {low_ms} ms to {upper}, holds the limit");
            (Verdict::Inconclusive, Some(reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_inside_a_bucket_is_inconclusive_and_at_its_bounds_decided() {
        let rule = |text: &str| -> Rule { text.parse().expect("a rule") };
        let bucket = WaitBounds { low_ms: 10.0, high_ms: Some(25.0) };
        for (text, limit, verdict) in [
            ("pool_wait.p99<=25ms", 25.0, Verdict::Passed),
            ("pool_wait.p99<25ms", 25.0, Verdict::Inconclusive),
            ("pool_wait.p99<=10ms", 10.0, Verdict::Failed),
            ("pool_wait.p99<20ms", 20.0, Verdict::Inconclusive),
            ("pool_wait.p99<50ms", 50.0, Verdict::Passed),
        ] {
            assert_eq!(judge(&rule(text), bucket, limit).0, verdict, "{text}");
        }
        let last = WaitBounds { low_ms: 60_000.0, high_ms: None };
        assert_eq!(judge(&rule("pool_wait.max<30s"), last, 30_000.0).0, Verdict::Failed);
        assert_eq!(judge(&rule("pool_wait.max<90s"), last, 90_000.0).0, Verdict::Inconclusive);
        let first = WaitBounds { low_ms: 0.0, high_ms: Some(1.0) };
        assert_eq!(judge(&rule("pool_wait.p50<=1ms"), first, 1.0).0, Verdict::Passed);
    }
}
