//! The routes of a scan while it goes on: a living table on a terminal, a line for each that is settled without one.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::record::scan::ScanVerdict;
use crate::render::text::plain;
use crate::run::progress::RouteProgress;
use crate::scenario::VariantName;

/// Lines of the terminal that are left for all else.
const OTHER_LINES: usize = 6;

/// Rows where the terminal does not say how many it has.
const ROWS: usize = 18;

/// Letters of a route that are shown.
const ROUTE_MAX: usize = 44;

/// The living table.
pub(super) struct RouteTable {
    above: MultiProgress,
    rows: Mutex<Vec<ProgressBar>>,
}

impl RouteTable {
    /// Below the lines of `above`.
    pub(super) fn below(above: MultiProgress) -> Self {
        Self { above, rows: Mutex::new(Vec::new()) }
    }

    pub(super) fn show(&self, routes: &[RouteProgress]) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let height = terminal_size::terminal_size().map_or(ROWS, |(_, height)| usize::from(height.0));
        let lines = lines(routes, height.saturating_sub(OTHER_LINES).max(1));
        while rows.len() < lines.len() {
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            rows.push(self.above.add(ProgressBar::no_length().with_style(style)));
        }
        for (row, line) in rows.iter().zip(lines.into_iter().chain(std::iter::repeat(String::new()))) {
            row.set_message(line);
        }
    }

    pub(super) fn clear(&self) {
        for row in self.rows.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            row.finish_and_clear();
        }
    }
}

/// The lines of the table, guilty routes first where there is no room for all.
fn lines(routes: &[RouteProgress], most: usize) -> Vec<String> {
    let mut shown: Vec<&RouteProgress> = routes.iter().collect();
    let rank = |it: &RouteProgress| match it.verdict {
        ScanVerdict::Leaks | ScanVerdict::Holds => 0,
        ScanVerdict::Unknown => 1,
        ScanVerdict::Fine => 2,
    };
    if shown.len() > most {
        shown.sort_by_key(|it| rank(it));
    }
    let hidden = shown.len().saturating_sub(most);
    shown.truncate(if hidden > 0 { most.saturating_sub(1).max(1) } else { most });
    let left_out = routes.len() - shown.len();
    let width = shown.iter().map(|it| name(it).chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = shown.into_iter().map(|it| line(it, width)).collect();
    if left_out > 0 {
        lines.push(format!("  … and {left_out} more"));
    }
    lines
}

fn name(route: &RouteProgress) -> String {
    let name = plain(&route.route);
    if name.chars().count() <= ROUTE_MAX {
        return name;
    }
    name.chars().take(ROUTE_MAX - 1).chain(['…']).collect()
}

/// `  GET /orders/{id}  holds          0.407 s  21 of 63`
fn line(route: &RouteProgress, width: usize) -> String {
    let held = route.held_s.map_or_else(|| "–".to_owned(), |held| format!("{held:.3} s"));
    format!("  {:<width$}  {:<12} {held:>8}  {} of {}", name(route), verdict(route), route.requests, route.most)
}

/// A verdict that may still change says so.
fn verdict(route: &RouteProgress) -> &'static str {
    match (route.verdict, route.is_settled) {
        (ScanVerdict::Fine, false) => "fine so far",
        // Asked with others, it may yet hold.
        (ScanVerdict::Fine, true) => "fine alone",
        (ScanVerdict::Unknown, _) => "not yet",
        (verdict, _) => verdict.name(),
    }
}

/// Lines for a log: each route of a variant that is fine alone, once that is settled.
#[derive(Default)]
pub(super) struct RouteLog(Mutex<BTreeSet<(VariantName, String)>>);

impl RouteLog {
    pub(super) fn new_lines(&self, variant: VariantName, routes: &[RouteProgress]) -> Vec<String> {
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |it: &&RouteProgress| {
            it.verdict == ScanVerdict::Fine && it.is_settled && printed.insert((variant, it.route.clone()))
        };
        let new: Vec<&RouteProgress> = routes.iter().filter(is_new).collect();
        new.into_iter().map(|it| format!("{:<6} so far: {} is fine alone", variant.name(), plain(&it.route))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, verdict: ScanVerdict, is_settled: bool) -> RouteProgress {
        RouteProgress { route: name.to_owned(), verdict, is_settled, held_s: Some(0.4), requests: 21, most: 63 }
    }

    #[test]
    fn a_verdict_that_may_change_is_not_shown_as_one() {
        let routes = [
            route("GET /orders/{id}", ScanVerdict::Holds, true),
            route("GET /a", ScanVerdict::Fine, false),
            route("GET /b", ScanVerdict::Unknown, false),
        ];
        assert_eq!(
            lines(&routes, 9),
            [
                "  GET /orders/{id}  holds         0.400 s  21 of 63",
                "  GET /a            fine so far   0.400 s  21 of 63",
                "  GET /b            not yet       0.400 s  21 of 63",
            ]
        );
    }

    #[test]
    fn a_low_terminal_shows_the_guilty_and_counts_the_rest() {
        let mut routes: Vec<RouteProgress> =
            (0..40).map(|it| route(&format!("GET /{it}"), ScanVerdict::Fine, true)).collect();
        routes.push(route("GET /guilty/\u{1b}[2J", ScanVerdict::Holds, true));
        let lines = lines(&routes, 5);
        assert_eq!(lines.len(), 5);
        assert!(lines[0].contains("GET /guilty/") && !lines[0].contains('\u{1b}'), "{lines:?}");
        assert_eq!(lines[4], "  … and 37 more");
    }

    #[test]
    fn a_log_has_a_line_for_each_route_that_is_settled_and_only_one() {
        let log = RouteLog::default();
        let fine = [route("GET /a", ScanVerdict::Fine, true), route("GET /b", ScanVerdict::Fine, false)];
        assert_eq!(log.new_lines(VariantName::HELD, &fine), ["held   so far: GET /a is fine alone"]);
        assert!(log.new_lines(VariantName::HELD, &fine).is_empty());
        assert_eq!(log.new_lines(VariantName::SCOPED, &fine).len(), 1, "of another variant");
    }
}
