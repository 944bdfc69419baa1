//! Ctrl-C and SIGTERM: both end the run in good order, and the exit code says which it was.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// The root token of everything, cancelled by the first signal.
pub(super) struct Signals {
    token: CancellationToken,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals for this process. To be called before goose, which would take Ctrl-C for itself, and inside
    /// a Tokio runtime.
    pub(super) fn take() -> io::Result<Self> {
        let token = CancellationToken::new();
        let cancel = token.clone();
        ctrlc::set_handler(move || cancel.cancel()).map_err(io::Error::other)?;
        // That handler is not told which signal it was; this one sees SIGTERM only.
        let terminated = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&terminated);
        let mut sigterm = signal(SignalKind::terminate())?;
        let cancel = token.clone();
        tokio::spawn(async move {
            sigterm.recv().await;
            seen.store(true, Ordering::Relaxed);
            cancel.cancel();
        });
        Ok(Self { token, terminated })
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The exit code of an interrupted program; `None` when no signal came.
    pub(super) fn exit(&self) -> Option<Exit> {
        match (self.token.is_cancelled(), self.terminated.load(Ordering::Relaxed)) {
            (false, _) => None,
            (true, false) => Some(Exit::Interrupted),
            (true, true) => Some(Exit::Terminated),
        }
    }
}
