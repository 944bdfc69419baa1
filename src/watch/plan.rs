//! Plan, end, display and events of the watching.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::Event;
use tokio::sync::mpsc::Sender;

use super::model::{WatchModel, WatchTarget};
use super::ui::UserAction;
use crate::database::Database;
use crate::monitor::sessions::PollEvent;
use crate::monitor::{GaugeNames, MonitorError, SessionFilter};
use crate::record::Sample;
use crate::record::store::StoreError;

#[derive(Clone, Debug)]
pub struct WatchPlan {
    pub database: Database,
    /// The same as it is shown.
    pub target: WatchTarget,
    pub whose: SessionFilter,
    /// Pages of gauges, one for each pool or process.
    pub metrics: Vec<String>,
    /// Names of the gauges on them.
    pub gauge_names: GaugeNames,
    /// Time between two polls of the sessions.
    pub interval: Duration,
    /// Time between two counts of them.
    pub counts_interval: Duration,
    /// Watch for so long; `None` until somebody ends it.
    pub duration: Option<Duration>,
    /// Keep a record in this folder, which must not exist.
    pub record: Option<PathBuf>,
}

/// Errors that end the watching early.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{}` exists already: a record is kept in a new folder", .0.display())]
    Exists(PathBuf),
    #[error("cannot show what is seen")]
    Show(#[from] io::Error),
}

impl WatchError {
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Monitor(error) => error.hint(),
            _ => None,
        }
    }
}

/// Reason for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Somebody asked for it.
    Asked,
    /// The time was over.
    Elapsed,
    Stopped,
    /// The terminal hung up, or the reader of the output closed it.
    ReaderGone,
}

/// Whatever shows the model.
pub trait Display {
    /// Time between two pictures.
    fn interval(&self) -> Duration;

    /// Shows what is known.
    ///
    /// # Errors
    /// When there is nobody to show it to.
    fn show(&mut self, model: &WatchModel) -> io::Result<()>;

    /// Takes what the terminal reports, and shows what comes of it.
    ///
    /// # Errors
    /// When there is nobody to show it to.
    fn take(&mut self, event: &Event, model: &WatchModel) -> io::Result<UserAction>;
}

/// Events that come in.
pub(super) enum WatchEvent {
    Sample(Sample),
    Seen(PollEvent),
    Terminal(Event),
    TerminalGone,
}

/// The way in.
pub(super) type Happenings = Sender<(Instant, WatchEvent)>;
