//! The sessions polled so often that a hold of a few hundredths of a second is measured: for a scan, in which there are
//! few of them.
//!
//! On a connection of its own, beside the monitor's tiers, and by the same query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::activity::{ActivityPoll, Statements, poll};
use super::clock::{ClockReading, Clocks, ServerTime};
use super::connection::{Link, POLL_TIMEOUT};
use super::session_filter::Wanted;
use super::{MonitorError, SessionFilter};
use crate::database::Database;

/// The connection that polls.
pub struct ScanPoller {
    link: Link,
    wanted: Wanted,
}

impl ScanPoller {
    /// Connects, to poll the sessions of `whose`.
    ///
    /// # Errors
    /// [`MonitorError`] when there is no connection, or it would show nothing.
    pub async fn connect(database: &Database, whose: &SessionFilter) -> Result<Self, MonitorError> {
        let connecting = async {
            let link = Link::open(database, whose).await?;
            let wanted = whose.wanted(&link.server.roles)?;
            Ok(Self { link, wanted })
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
        take: Arc<dyn Fn(ActivityPoll) + Send + Sync>,
    ) -> Result<(), MonitorError> {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut ended, mut since) = (Ok(()), ServerTime::EVER);
        let (epoch, mut clocks) = (Instant::now(), Clocks::default());
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match tokio::time::timeout(POLL_TIMEOUT, self.poll(since)).await {
                Ok(Ok(mut poll)) => {
                    since = poll.began;
                    clocks.observe(ClockReading::now(poll.now, epoch, poll.asked));
                    poll.locate(&clocks, epoch);
                    take(poll);
                }
                Ok(Err(source)) => ended = Err(MonitorError::Query { what: "pg_stat_activity", source }),
                Err(_elapsed) => ended = Err(MonitorError::Silent),
            }
            if ended.is_err() {
                break;
            }
        }
        self.link.close().await;
        ended
    }

    async fn poll(&self, since: ServerTime) -> Result<ActivityPoll, tokio_postgres::Error> {
        let Link { client, rows, server, .. } = &self.link;
        poll(client, rows, server.database, since, &self.wanted, Statements::OfAllAtWork).await
    }
}
