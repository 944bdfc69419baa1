//! Sessions that nobody closed.

use std::time::Duration;

/// Keeps what nobody closed until the collector comes. Python's comes when it has counted enough allocations; this one
/// after a time.
#[derive(Debug)]
pub struct Garbage {
    after: Duration,
}

impl Garbage {
    /// Garbage that is collected `after` it was thrown away.
    #[must_use]
    pub const fn new(after: Duration) -> Self {
        Self { after }
    }

    /// Keeps something for as long as nobody looks for it. Must be called inside a runtime.
    pub fn keep(&self, something: impl Send + 'static) {
        let after = self.after;
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            drop(something);
        });
    }
}
