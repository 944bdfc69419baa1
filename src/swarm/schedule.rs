//! Schedule of an open workload.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::record::ScheduleRecord;
use crate::stats::LatencyHistogram;

/// Schedule over the steady phase.
#[derive(Debug, Default)]
pub(super) struct Schedule(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    not_started: u64,
    /// Delay of the requests against the plan.
    lag: LatencyHistogram,
}

impl Schedule {
    pub(super) fn started(&self, steady: bool, lag: Duration) {
        if steady {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).lag.record(lag);
        }
    }

    pub(super) fn turned_away(&self, steady: bool) {
        if steady {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).not_started += 1;
        }
    }

    pub(super) fn record(&self) -> ScheduleRecord {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ScheduleRecord {
            started: kept.lag.len(),
            not_started: kept.not_started,
            lag_p99_ms: kept.lag.quantile_ms(0.99),
            lag_max_ms: kept.lag.max_ms(),
        }
    }
}
