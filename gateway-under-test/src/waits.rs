//! Waits of slow work, beside what it does: a moderation service, a slow template.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

/// Something that a piece of work waits for.
///
/// The scenario gives a time. A test gives a gate of its own, so that it can look at the gateway while the work stands
/// still, and opens it by hand.
#[derive(Clone)]
pub struct Wait(Option<Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>>);

impl Wait {
    /// A wait for a time; for none, if it is zero.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        if time.is_zero() { Self(None) } else { Self::until(move || Box::pin(tokio::time::sleep(time))) }
    }

    /// A wait for whatever `until` gives.
    #[must_use]
    pub fn until(until: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(until)))
    }

    /// True if there is anything to wait for.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Waits.
    pub async fn pass(&self) {
        if let Some(until) = &self.0 {
            until().await;
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_none() { "Wait(none)" } else { "Wait(…)" })
    }
}
