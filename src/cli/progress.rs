//! Progress on stderr: one living line on a terminal, a line now and then without one.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::show_progress;
use super::route_lines::{RouteLog, RouteTable};
use crate::record::scan::{ScanRoute, ScanVerdict};
use crate::render::text::plain;
use crate::run::progress::{Live, Progress, RouteProgress, RunStage, Update};
use crate::scenario::{Experiment, Pace, VariantName, Workload};

/// Without a terminal, how often a line says that the run is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The progress that suits stderr.
pub(super) fn for_terminal(quiet: bool, experiment: &Experiment) -> Arc<dyn Progress> {
    let shown = ProgressTotals {
        pace: experiment.pace(),
        capacity: experiment.pool_capacity(),
        replicas: experiment.replicas(),
    };
    if quiet {
        Arc::new(NoProgress)
    } else if std::io::stderr().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb") {
        Arc::new(Bar::new(shown))
    } else {
        Arc::new(Heartbeat { shown, last: Mutex::new(None), routes: RouteLog::default() })
    }
}

struct NoProgress;

impl Progress for NoProgress {
    fn show(&self, _: &Update) {}
}

/// Totals that the live figures are shown against.
struct ProgressTotals {
    pace: Option<Pace>,
    capacity: Option<u32>,
    replicas: u32,
}

impl ProgressTotals {
    fn line(&self, update: &Update) -> String {
        let mut head = format!("{:<6} {}", update.variant.name(), update.stage.name());
        if let Some(detail) = &update.detail {
            head = format!("{head} {}", plain(detail));
        }
        let Some(live) = &update.live else { return head };
        let time = match update.left_s {
            Some(left_s) => format!("{:>3.0} s · about {left_s:.0} s left", update.elapsed_s),
            None => format!("{:>3.0}/{:.0} s", update.elapsed_s, update.total_s),
        };
        format!("{head} {time} · {}", self.figures(live))
    }

    /// `8/20 users`; of an open workload, where each request is somebody else's, `3 in flight`.
    fn crowd(&self, users: u32) -> String {
        match self.pace.as_ref().map(|pace| pace.workload) {
            Some(Workload::Closed { users: most }) => format!("{users}/{most} users"),
            Some(Workload::Open { rate, .. }) => format!("{users} in flight, {rate} a second due"),
            None => format!("{users} users"),
        }
    }

    fn figures(&self, live: &Live) -> String {
        let number = |value: Option<u32>| value.map_or_else(|| "–".to_owned(), |it| it.to_string());
        let age = live.oldest_transaction_s.map_or_else(|| "–".to_owned(), |age| format!("{age:.1} s"));
        format!(
            "{} · {:.0} rps · {} failed · {} idle in transaction · oldest {} · pool {}/{} · {}/{} up",
            self.crowd(live.users),
            live.rps,
            live.failed,
            number(live.idle_in_transaction),
            age,
            number(live.checked_out),
            number(self.capacity),
            number(live.replicas_up),
            self.replicas,
        )
    }
}

struct Bar {
    shown: ProgressTotals,
    line: ProgressBar,
    routes: RouteTable,
}

impl Bar {
    fn new(shown: ProgressTotals) -> Self {
        let lines = MultiProgress::new();
        let bar = lines.add(ProgressBar::new_spinner());
        bar.set_style(
            ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { shown, line: bar, routes: RouteTable::below(lines) }
    }
}

impl Progress for Bar {
    fn show(&self, update: &Update) {
        self.line.set_message(self.shown.line(update));
    }

    fn so_far(&self, variant: VariantName, named: &[ScanRoute]) {
        for line in so_far(variant, named) {
            self.line.println(line);
        }
    }

    fn routes(&self, _: VariantName, routes: &[RouteProgress]) {
        self.routes.show(routes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.routes.clear();
        self.line.finish_and_clear();
    }
}

/// A line now and then, and whenever the stage changes.
struct Heartbeat {
    shown: ProgressTotals,
    last: Mutex<Option<(RunStage, Instant)>>,
    routes: RouteLog,
}

impl Progress for Heartbeat {
    fn show(&self, update: &Update) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|(stage, at)| stage == update.stage && at.elapsed() < HEARTBEAT) {
            return;
        }
        *last = Some((update.stage, Instant::now()));
        show_progress(&self.shown.line(update));
    }

    fn so_far(&self, variant: VariantName, named: &[ScanRoute]) {
        for line in so_far(variant, named) {
            show_progress(&line);
        }
    }

    fn routes(&self, variant: VariantName, routes: &[RouteProgress]) {
        for line in self.routes.new_lines(variant, routes) {
            show_progress(&line);
        }
    }
}

/// `service so far: GET /reports/{id} holds its session, 0.31 s per request`; a line for each route.
fn so_far(variant: VariantName, named: &[ScanRoute]) -> Vec<String> {
    let lead = format!("{:<6} so far:", variant.name());
    if named.is_empty() {
        return vec![format!("{lead} no route holds a session across slow work")];
    }
    let line = |route: &ScanRoute| {
        let does = match (route.verdict, route.held_s_per_request) {
            (ScanVerdict::Leaks, _) => "leaves sessions in a transaction".to_owned(),
            (_, Some(held)) => format!("holds its session, {:.2} s per request", held.value),
            (_, None) => "holds its session".to_owned(),
        };
        format!("{lead} {} {does}", plain(&route.route))
    };
    named.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scan::Estimate;
    use crate::scan::report::unmeasured;

    #[test]
    fn what_a_scan_would_name_is_reported_route_by_route() {
        let held = Some(Estimate { value: 0.312, low: 0.3, high: 0.32 });
        let holds =
            ScanRoute { verdict: ScanVerdict::Holds, held_s_per_request: held, ..unmeasured("GET /reports/{id}", 1.0) };
        let leaks = ScanRoute { verdict: ScanVerdict::Leaks, ..unmeasured("GET /\u{1b}[2J", 1.0) };
        let reported = so_far(VariantName::HELD, &[holds, leaks]);
        assert_eq!(reported[0], "held   so far: GET /reports/{id} holds its session, 0.31 s per request");
        assert!(
            reported[1].ends_with("leaves sessions in a transaction") && !reported[1].contains('\u{1b}'),
            "{reported:?}"
        );
        assert_eq!(so_far(VariantName::HELD, &[]), ["held   so far: no route holds a session across slow work"]);
    }
}
