//! Quality issues of a variant, a sentence each.

use super::numbers::{count, percent, quantity, seconds};
use crate::record::{MachineLoad, MonitorRecord, ScheduleRecord, VariantRecord};
use crate::units::Unit;

/// A lag that is worth a sentence.
const WORTH_SAYING_MS: f64 = 10.0;

/// The sentences.
pub(super) fn doubts(variant: &VariantRecord) -> Vec<String> {
    let of_monitor = variant.monitor.iter().flat_map(|monitor| of_monitor(monitor, variant));
    let of_machine = variant.machine_load.iter().filter(|load| load.is_limit()).map(of_machine);
    of_monitor.chain(of_machine).chain(variant.generator.schedule.iter().flat_map(of_schedule)).collect()
}

fn of_machine(load: &MachineLoad) -> String {
    let waited =
        load.run_queue_delay_ms.map_or_else(String::new, |delay| format!(", and threads waited {delay:.1} ms for one"));
    format!(
        "this machine was the limit: its cores were {} busy{waited}. Throughput, latency and health (*) are the machine's \
         rather than the service's: pass fewer `--users`.",
        percent(Some(load.busy_ratio)),
    )
}

fn of_monitor(monitor: &MonitorRecord, variant: &VariantRecord) -> Vec<String> {
    let mut lines = Vec::new();
    if !monitor.counts_idle_time {
        let version = &variant.postgres_version;
        lines.push(format!(
            "PostgreSQL {version} does not count idle-in-transaction time (14 and later do): the samples stand alone."
        ));
    }
    if monitor.server_restarts > 0 {
        lines.push("the server was restarted, which resets its counter.".to_owned());
    }
    if monitor.unwatched_s > 0.0 {
        let unwatched = seconds(Some(monitor.unwatched_s));
        lines.push(format!("the monitor was disconnected for {unwatched}; figures exclude that time."));
    }
    if monitor.clock_jumps > 0 {
        lines.push("a clock was set; ages were corrected.".to_owned());
    }
    lines
}

fn of_schedule(schedule: &ScheduleRecord) -> Vec<String> {
    let mut lines = Vec::new();
    if schedule.not_started > 0 {
        let due = schedule.started + schedule.not_started;
        lines.push(format!(
            "{} of {} scheduled requests were not sent (`max_in_flight` reached); latency excludes them.",
            count(Some(schedule.not_started)),
            count(Some(due)),
        ));
    }
    // Less is in the noise of a busy machine.
    if let Some(lag) = schedule.lag_p99_ms.filter(|lag| *lag >= WORTH_SAYING_MS) {
        let lag = quantity(Some(lag), Unit::Milliseconds);
        lines.push(format!(
            "the load generator fell behind: 1 % of the requests began {lag} later than planned or more, which is in \
             their latency."
        ));
    }
    lines
}
