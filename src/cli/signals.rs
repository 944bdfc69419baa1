//! SIGINT, SIGTERM and SIGHUP: each ends the run in good order, and the exit code says which it was.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// The root token of everything, cancelled by the first signal.
pub(super) struct Signals {
    token: CancellationToken,
    /// The code of the exit; 0 for Ctrl-C's, of which nobody says so.
    code: Arc<AtomicU8>,
}

impl Signals {
    /// Takes the signals for this process. To be called before goose, which would take Ctrl-C for itself, and inside
    /// a Tokio runtime.
    pub(super) fn take() -> io::Result<Self> {
        let token = CancellationToken::new();
        let cancel = token.clone();
        ctrlc::set_handler(move || cancel.cancel()).map_err(io::Error::other)?;
        // That handler is not told which signal it was; these see one each.
        let code = Arc::new(AtomicU8::new(0));
        for (kind, exit) in [(SignalKind::terminate(), Exit::Terminated), (SignalKind::hangup(), Exit::HungUp)] {
            let (mut signals, seen, cancel) = (signal(kind)?, Arc::clone(&code), token.clone());
            tokio::spawn(async move {
                signals.recv().await;
                seen.store(exit.code(), Ordering::Relaxed);
                cancel.cancel();
            });
        }
        Ok(Self { token, code })
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The exit code of an interrupted program; `None` when no signal came.
    pub(super) fn exit(&self) -> Option<Exit> {
        let signalled = self.token.is_cancelled();
        signalled.then(|| match self.code.load(Ordering::Relaxed) {
            code if code == Exit::Terminated.code() => Exit::Terminated,
            code if code == Exit::HungUp.code() => Exit::HungUp,
            _ => Exit::Interrupted,
        })
    }
}
