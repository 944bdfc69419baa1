//! A figure with what it may be.

use serde::Serialize;

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HoldInterval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl HoldInterval {
    /// The same in another unit.
    pub(super) fn scaled(self, by: f64) -> Self {
        Self { value: self.value * by, low: self.low * by, high: self.high * by }
    }
}
