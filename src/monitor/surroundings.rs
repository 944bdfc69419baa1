//! The clocks and the load around a transaction: when it began on the record's clock, and which requests were there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Sink;
use super::clock::{Clocks, ServerTime};
use crate::record::{Presence, SessionProcess, Spanning};

/// A time of the server on the record's clock, with its largest error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub(super) at_s: f64,
    pub(super) error_s: f64,
}

/// The monitor's knowledge of the server's clock and of the load.
pub(super) trait Surroundings {
    /// A time of the server on the record's clock.
    fn locate(&self, time: ServerTime) -> Located;

    /// Requests at a moment.
    fn present(&self, at: Located) -> BTreeMap<String, Presence>;

    /// Requests that were in flight when a transaction began and when it ended, between two times; `None` where the load is not
    /// ours.
    fn spanning(&self, began_s: f64, ended_s: (f64, f64)) -> Option<BTreeMap<String, Spanning>>;

    /// The process that has a session from this port.
    fn process(&self, client_port: u16) -> Option<SessionProcess>;
}

/// The clocks and the load around a transaction.
pub(super) struct Around<'a> {
    pub(super) clocks: &'a Clocks,
    pub(super) epoch: Instant,
    pub(super) sink: &'a dyn Sink,
}

impl Around<'_> {
    /// `None` before the record's clock began.
    fn instant(&self, at_s: f64) -> Option<Instant> {
        Duration::try_from_secs_f64(at_s).ok().map(|since| self.epoch + since)
    }
}

impl Surroundings for Around<'_> {
    fn locate(&self, time: ServerTime) -> Located {
        let (at_s, error_s) = self.clocks.located(time).unwrap_or_default();
        Located { at_s, error_s }
    }

    fn present(&self, at: Located) -> BTreeMap<String, Presence> {
        // Before the load began nobody was there.
        let instant = self.instant(at.at_s);
        instant.map(|it| self.sink.present_at(it, Duration::from_secs_f64(at.error_s))).unwrap_or_default()
    }

    fn spanning(&self, began_s: f64, (from_s, to_s): (f64, f64)) -> Option<BTreeMap<String, Spanning>> {
        self.sink.spanning(self.instant(began_s)?, (self.instant(from_s)?, self.instant(to_s)?))
    }

    fn process(&self, client_port: u16) -> Option<SessionProcess> {
        self.sink.process_of(client_port)
    }
}
