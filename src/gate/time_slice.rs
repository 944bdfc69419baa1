//! A part of a variant's time.

use crate::compare::Side;

/// A part of a variant's time, in seconds since its load began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeSlice {
    pub from_s: f64,
    pub to_s: f64,
}

impl TimeSlice {
    /// The steady phase.
    #[must_use]
    pub fn steady(side: Side<'_>) -> Self {
        Self { from_s: side.measured.phases.steady_from_s, to_s: side.measured.phases.steady_to_s }
    }

    pub(super) fn holds(self, at_s: f64) -> bool {
        (self.from_s..=self.to_s).contains(&at_s)
    }

    pub(super) fn seconds(self) -> f64 {
        self.to_s - self.from_s
    }
}
