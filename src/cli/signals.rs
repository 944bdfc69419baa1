//! SIGINT, SIGTERM and SIGHUP: each ends the run in good order, and the exit code says which it was.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// Those of this process, once they are taken: nobody can take them twice.
static TAKEN: Mutex<Option<Signals>> = Mutex::new(None);

/// The root token of everything, cancelled by the first signal.
#[derive(Clone)]
pub(super) struct Signals {
    token: CancellationToken,
    /// The exit code of SIGTERM or SIGHUP, stored before the token is cancelled; 0 for SIGINT.
    code: Arc<AtomicU8>,
}

impl Signals {
    /// Takes the signals for this process; what was taken before is given again. To be called before goose, which would take
    /// Ctrl-C for itself.
    pub(super) fn take() -> io::Result<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        match &*taken {
            Some(signals) => Ok(signals.clone()),
            None => Ok(taken.insert(Self::first()?).clone()),
        }
    }

    fn first() -> io::Result<Self> {
        ctrlc::set_handler(|| {}).map_err(io::Error::other)?;
        let (token, code) = (CancellationToken::new(), Arc::new(AtomicU8::new(0)));
        let (cancel, seen) = (token.clone(), Arc::clone(&code));
        let mut signals = iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let listen = move || {
            for signal in &mut signals {
                if !cancel.is_cancelled() {
                    let exit = match signal {
                        SIGTERM => Exit::Terminated.code(),
                        SIGHUP => Exit::HungUp.code(),
                        _ => 0,
                    };
                    seen.store(exit, Ordering::Relaxed);
                    cancel.cancel();
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
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
