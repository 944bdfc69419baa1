//! A target that is started anew while something else waits for it to end.

use tokio::sync::{mpsc, oneshot};

/// Asks for the target to be started anew.
#[derive(Clone)]
pub(super) struct Restarts(mpsc::Sender<oneshot::Sender<bool>>);

/// Each with where to say whether it was done.
pub(super) type RestartOrders = mpsc::Receiver<oneshot::Sender<bool>>;

impl Restarts {
    pub(super) fn new() -> (Self, RestartOrders) {
        let (orders, taken) = mpsc::channel(1);
        (Self(orders), taken)
    }

    /// Waits until it is done; false where it cannot be.
    pub(super) async fn restart(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.0.send(done).await.is_ok() && answer.await.unwrap_or(false)
    }
}
