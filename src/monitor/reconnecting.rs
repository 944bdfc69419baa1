//! The line to the server, kept up: lost, tried again ever later, and back, perhaps to a server that was started anew.

use std::time::{Duration, Instant};

use super::MonitorError;
use super::clock::ServerTime;
use super::connection::{Link, POLL_TIMEOUT, Trouble, is_local};
use super::cost::BackendCpu;
use super::session_filter::SessionFilter;
use crate::database::Database;
use crate::record::Event;

/// A connection that may be down.
pub(super) struct ReconnectingClient {
    database: Database,
    whose: SessionFilter,
    link: Option<Link>,
    lost_at: Instant,
    retry: Retry,
    /// When the server that we know was started.
    started: ServerTime,
    backend: BackendCpu,
    /// Time without a connection, up to the last one.
    unwatched: Duration,
}

/// It is up again.
pub(super) struct Restored {
    /// Duration of the gap.
    pub(super) gap: Duration,
    /// True if the server was started again meanwhile.
    pub(super) restarted: bool,
}

/// Statistics of a connection.
pub(super) struct ConnectionStats {
    pub(super) unwatched_s: f64,
    /// CPU seconds of the server processes that answered; `None` when they do not run here.
    pub(super) backend_cpu_s: Option<f64>,
}

impl ReconnectingClient {
    pub(super) async fn open(database: &Database, whose: &SessionFilter) -> Result<Self, MonitorError> {
        let link = Link::open(database, whose).await?;
        let mut backend = BackendCpu::default();
        backend.connected(link.server.pid, is_local(database));
        Ok(Self {
            database: database.clone(),
            whose: whose.clone(),
            lost_at: Instant::now(),
            retry: Retry::new(),
            started: link.server.started,
            backend,
            unwatched: Duration::ZERO,
            link: Some(link),
        })
    }

    /// The connection; `None` while it is down.
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// A poll came to nothing: there is a gap. A connection that is of no more use is dropped.
    pub(super) async fn failed(&mut self, trouble: Trouble) -> Option<Event> {
        let Trouble { mut error, lost } = trouble;
        let link = self.link.take()?;
        if !lost && !link.client.is_closed() {
            self.link = Some(link);
            return Some(Event::PollFailed { error });
        }
        self.lost_at = Instant::now();
        self.retry = Retry::new();
        self.backend.disconnected();
        // Only the connection itself knows what it died of.
        if let Some(died) = link.close().await {
            error = died.as_db_error().map_or_else(|| died.to_string(), |it| it.message().to_owned());
        }
        Some(Event::ConnectionLost { error })
    }

    /// Tries to connect again when it is time to; `None` while that fails, or there is nothing to restore.
    pub(super) async fn restore(&mut self) -> Option<Restored> {
        if self.link.is_some() || !self.retry.is_due(Instant::now()) {
            return None;
        }
        let opened = tokio::time::timeout(POLL_TIMEOUT, Link::open(&self.database, &self.whose)).await;
        let link = match opened.map_err(|_elapsed| MonitorError::Silent).flatten() {
            Ok(link) => link,
            Err(error) => {
                tracing::debug!(%error, "the database cannot be watched yet");
                self.retry.failed(Instant::now());
                return None;
            }
        };
        let gap = self.lost_at.elapsed();
        self.unwatched += gap;
        self.backend.connected(link.server.pid, is_local(&self.database));
        let restarted = std::mem::replace(&mut self.started, link.server.started) != link.server.started;
        self.link = Some(link);
        Some(Restored { gap, restarted })
    }

    /// Takes down what the server process has cost so far: once it is gone nobody can.
    pub(super) fn note_cost(&mut self) {
        self.backend.update();
    }

    pub(super) async fn close(mut self) -> ConnectionStats {
        if self.link.is_none() {
            self.unwatched += self.lost_at.elapsed();
        }
        let backend_cpu_s = self.backend.total_s();
        if let Some(link) = self.link {
            link.close().await;
        }
        ConnectionStats { unwatched_s: self.unwatched.as_secs_f64(), backend_cpu_s }
    }
}

/// When to try again what fails: soon at first, then ever later.
#[derive(Debug)]
struct Retry {
    next: Instant,
    wait: Duration,
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self { next: Instant::now(), wait: Self::FIRST }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    fn failed(&mut self, now: Instant) {
        self.next = now + self.wait;
        self.wait = (self.wait * 2).min(Self::LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_ever_later() {
        let mut retry = Retry::new();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            retry.failed(now);
            waits.push((retry.next - now).as_millis());
            now = retry.next;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
