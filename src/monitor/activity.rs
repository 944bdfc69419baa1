//! Sessions by state, several times a second, as cheaply as PostgreSQL allows.
//!
//! One prepared statement gives one row of counts. It reads `pg_stat_get_activity` directly: `pg_stat_activity` is the
//! same function joined with the databases and the roles, which costs as much again at hundreds of sessions.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Row, Statement};
use tokio_util::sync::CancellationToken;

use super::{APPLICATION_NAME, MonitorError, Sink, connect};
use crate::record::{ActivitySample, BreakdownSample, Event, HoldGroup, Sample};

/// Counts by state, and the age of the oldest transaction. An aborted transaction has no `xact_start`, so it is aged
/// by `state_change`; `clock_timestamp()`, because `now()` stands still within a statement and gives negative ages.
const COUNTS: &str = "\
SELECT count(*)::int8,
       count(*) FILTER (WHERE state = 'active')::int8,
       count(*) FILTER (WHERE state = 'idle')::int8,
       count(*) FILTER (WHERE state = 'idle in transaction')::int8,
       count(*) FILTER (WHERE state = 'idle in transaction (aborted)')::int8,
       count(*) FILTER (WHERE wait_event_type = 'Lock')::int8,
       extract(epoch FROM clock_timestamp() - min(coalesce(xact_start,
           CASE WHEN state = 'idle in transaction (aborted)' THEN state_change END)))::float8
FROM pg_stat_get_activity(NULL)
WHERE backend_type = 'client backend'
  AND datid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND application_name <> $1";

/// Who is idle in transaction: by last statement and, cut at the first `/`, application.
const BREAKDOWN: &str = "\
SELECT query, split_part(application_name, '/', 1), count(*)::int8,
       max(extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change)))::float8
FROM pg_stat_get_activity(NULL)
WHERE backend_type = 'client backend'
  AND datid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND application_name <> $1
  AND state LIKE 'idle in transaction%'
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10";

const BREAKDOWN_INTERVAL: Duration = Duration::from_secs(1);

/// A poll that takes longer is given up, and there is a gap.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// How the polls went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollStats {
    /// Polls that gave a sample.
    pub taken: u64,
    /// Polls that were due and gave none: the tick was missed, or the query failed.
    pub missed: u64,
    /// Polls that began more than half an interval late.
    pub late: u64,
}

/// The connection that polls.
pub(super) struct Poller {
    client: Client,
    counts: Statement,
    breakdown: Statement,
}

impl Poller {
    pub(super) async fn connect(database: &tokio_postgres::Config) -> Result<Self, MonitorError> {
        let client = connect(database).await?;
        let failed = |source| MonitorError::Query { what: "pg_stat_activity", source };
        let role = client
            .query_one("SELECT current_user::text, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')", &[])
            .await
            .map_err(failed)?;
        if !role.get::<_, bool>(1) {
            return Err(MonitorError::Blind { role: role.get(0) });
        }
        let counts = client.prepare(COUNTS).await.map_err(failed)?;
        let breakdown = client.prepare(BREAKDOWN).await.map_err(failed)?;
        Ok(Self { client, counts, breakdown })
    }

    /// Polls until `stop`.
    pub(super) async fn run(self, interval: Duration, sink: &dyn Sink, stop: &CancellationToken) -> PollStats {
        let mut stats = PollStats::default();
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last_tick = None;
        let mut breakdown_due = Instant::now();
        while let Some(tick) = stop.run_until_cancelled(ticks.tick()).await {
            let now = Instant::now();
            stats.missed += skipped(last_tick.replace(tick.into_std()), tick.into_std(), interval);
            stats.late += u64::from(now.duration_since(tick.into_std()) > interval / 2);
            match self.poll_counts().await {
                Ok(sample) => {
                    stats.taken += 1;
                    sink.take(now, Sample::Activity(sample));
                }
                Err(error) => {
                    stats.missed += 1;
                    sink.take(now, Sample::Event(Event::PollFailed { error }));
                }
            }
            if now >= breakdown_due {
                breakdown_due = now + BREAKDOWN_INTERVAL;
                sink.take(
                    now,
                    match self.poll_breakdown().await {
                        Ok(groups) => Sample::Breakdown(BreakdownSample { groups, left_out_s: None }),
                        Err(error) => Sample::Event(Event::PollFailed { error }),
                    },
                );
            }
        }
        stats
    }

    async fn poll_counts(&self) -> Result<ActivitySample, String> {
        let asked = Instant::now();
        let row = tokio::time::timeout(POLL_TIMEOUT, self.client.query_one(&self.counts, &[&APPLICATION_NAME]))
            .await
            .map_err(|_elapsed| no_answer())?
            .map_err(|error| error.to_string())?;
        Ok(ActivitySample {
            sessions: count(&row, 0),
            active: count(&row, 1),
            idle: count(&row, 2),
            idle_in_transaction: count(&row, 3),
            idle_in_transaction_aborted: count(&row, 4),
            waiting_for_lock: count(&row, 5),
            oldest_transaction_s: row.get::<_, Option<f64>>(6).map(|age| age.max(0.0)),
            poll_ms: asked.elapsed().as_secs_f64() * 1e3,
        })
    }

    async fn poll_breakdown(&self) -> Result<Vec<HoldGroup>, String> {
        let asked = self.client.query(&self.breakdown, &[&APPLICATION_NAME]);
        let rows = tokio::time::timeout(POLL_TIMEOUT, asked)
            .await
            .map_err(|_elapsed| no_answer())?
            .map_err(|error| error.to_string())?;
        let group = |row: &Row| HoldGroup {
            statement: row.get(0),
            application_name: row.get(1),
            sessions: count(row, 2),
            oldest_s: row.get::<_, f64>(3).max(0.0),
            idle_s: None,
        };
        Ok(rows.iter().map(group).collect())
    }
}

fn no_answer() -> String {
    format!("no answer within {} s", POLL_TIMEOUT.as_secs())
}

fn count(row: &Row, column: usize) -> u32 {
    u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX)
}

/// Ticks that lay between the last one and this one.
fn skipped(last: Option<Instant>, this: Instant, interval: Duration) -> u64 {
    let Some(last) = last else { return 0 };
    let intervals = this.duration_since(last).as_secs_f64() / interval.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let whole = intervals.round() as u64;
    whole.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_that_was_skipped_is_a_missed_poll() {
        let start = Instant::now();
        let interval = Duration::from_millis(100);
        assert_eq!(skipped(None, start, interval), 0);
        assert_eq!(skipped(Some(start), start + interval, interval), 0);
        assert_eq!(skipped(Some(start), start + 4 * interval, interval), 3);
    }
}
