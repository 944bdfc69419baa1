//! Every session in a transaction, polled so often that a hold of a few hundredths of a second is measured: for a scan,
//! in which there are few of them.
//!
//! On a connection of its own, beside the monitor's tiers. As everywhere, it is outside any transaction, and our own
//! sessions are left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Row, Statement};
use tokio_util::sync::CancellationToken;

use super::connection::{POLL_TIMEOUT, close, connect};
use super::sessions::SessionState;
use super::{APPLICATION_NAME, MonitorError, SessionFilter};
use crate::database::{Database, Ending};

/// $1: our own name; $2, $3: whose sessions are wanted, users and patterns of applications. An aborted transaction has no `xact_start`, and is as old as its state.
const CLOSEUP: &str = "\
SELECT array_agg(pid), array_agg(state), array_agg(wait_event_type = 'Lock'),
       array_agg(extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change))::float8),
       array_agg(extract(epoch FROM clock_timestamp() - state_change)::float8),
       array_agg(CASE WHEN state LIKE 'idle in transaction%' THEN left(query, 1100) END)
FROM pg_stat_get_activity(NULL)
WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND backend_type = 'client backend'
  AND application_name IS DISTINCT FROM $1 AND state <> 'idle' AND state_change IS NOT NULL
  AND ($2::text[] IS NULL OR pg_get_userbyid(usesysid)::text = ANY ($2))
  AND ($3::text[] IS NULL OR application_name LIKE ANY ($3))";

/// One session that is in a transaction, or runs a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct CloseSession {
    pub pid: i32,
    /// Its state: never idle.
    pub state: SessionState,
    /// True if its statement waits for a lock.
    pub waits_for_lock: bool,
    /// Age of its transaction in seconds; of an aborted one, since it was aborted.
    pub transaction_s: f64,
    /// Seconds in this state.
    pub state_s: f64,
    /// The last statement of an idle one.
    pub statement: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanPoll {
    pub at: Instant,
    pub sessions: Vec<CloseSession>,
}

/// The connection that polls.
pub struct ScanPoller {
    client: Client,
    ending: Ending,
    query: Statement,
    whose: SessionFilter,
}

impl ScanPoller {
    /// Connects, to poll the sessions of `whose`. The monitor checks that the role sees them.
    ///
    /// # Errors
    /// [`MonitorError`] when there is no connection.
    pub async fn connect(database: &Database, whose: &SessionFilter) -> Result<Self, MonitorError> {
        let connecting = async {
            let (client, ending) = connect(database).await?;
            let failed = |source| MonitorError::Query { what: "pg_stat_activity", source };
            client
                .batch_execute("SET plan_cache_mode = force_generic_plan; SET jit = off; SET statement_timeout = 5000")
                .await
                .map_err(failed)?;
            let query = client.prepare(CLOSEUP).await.map_err(failed)?;
            Ok(Self { client, ending, query, whose: whose.clone() })
        };
        tokio::time::timeout(POLL_TIMEOUT, connecting).await.map_err(|_elapsed| MonitorError::Silent)?
    }

    /// Polls every `interval` until `stop`, and hands each poll to `take`.
    ///
    /// # Errors
    /// [`MonitorError`] when the server does not answer: what would be missing cannot be had again.
    pub async fn run(
        self,
        interval: Duration,
        stop: CancellationToken,
        take: Arc<dyn Fn(ScanPoll) + Send + Sync>,
    ) -> Result<(), MonitorError> {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ended = Ok(());
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match tokio::time::timeout(POLL_TIMEOUT, self.poll()).await {
                Ok(Ok(poll)) => take(poll),
                Ok(Err(source)) => ended = Err(MonitorError::Query { what: "pg_stat_activity", source }),
                Err(_elapsed) => ended = Err(MonitorError::Silent),
            }
            if ended.is_err() {
                break;
            }
        }
        close(self.client, self.ending).await;
        ended
    }

    async fn poll(&self) -> Result<ScanPoll, tokio_postgres::Error> {
        let asked = Instant::now();
        let (users, applications) = (self.whose.names(), self.whose.patterns());
        let row = self.client.query_one(&self.query, &[&APPLICATION_NAME, &users, &applications]).await?;
        Ok(ScanPoll { at: asked + asked.elapsed() / 2, sessions: sessions(&row)? })
    }
}

fn sessions(row: &Row) -> Result<Vec<CloseSession>, tokio_postgres::Error> {
    let Some(pids) = row.try_get::<_, Option<Vec<i32>>>(0)? else { return Ok(Vec::new()) };
    let doing: Vec<Option<String>> = row.try_get(1)?;
    let locks: Vec<Option<bool>> = row.try_get(2)?;
    let in_transaction: Vec<f64> = row.try_get(3)?;
    let in_state: Vec<f64> = row.try_get(4)?;
    let statements: Vec<Option<String>> = row.try_get(5)?;
    // The arrays are of one query: each has an entry for each process.
    let session = |(index, pid): (usize, i32)| {
        Some(CloseSession {
            pid,
            state: SessionState::of(doing.get(index)?.as_deref()),
            waits_for_lock: *locks.get(index)? == Some(true),
            transaction_s: in_transaction.get(index)?.max(0.0),
            state_s: in_state.get(index)?.max(0.0),
            statement: statements.get(index)?.clone(),
        })
    };
    Ok(pids.into_iter().enumerate().filter_map(session).collect())
}
