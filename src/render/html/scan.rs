//! Table of a scan.

use maud::{Markup, html};

use super::ReportColumn;
use super::chart::mark;
use super::text::{ERROR_MAX, NAME_MAX, plain};
use crate::record::scan::{ScanRecord, ScanRoute};
use crate::render::numbers::{count, percent};
use crate::render::scan::{held, left_behind, millis, per_second, remarks, skipped};

/// Rows of the table.
const ROWS_SHOWN: usize = 200;

/// The routes, as a table that sorts; nothing where nothing was scanned.
pub(super) fn section(columns: &[ReportColumn<'_>]) -> Markup {
    let scans: Vec<(&ReportColumn<'_>, &ScanRecord)> =
        columns.iter().filter_map(|column| Some((column, column.variant?.scan.as_ref()?))).collect();
    if scans.is_empty() {
        return html! {};
    }
    let rows = scans.iter().flat_map(|(column, scan)| scan.routes.iter().map(move |route| (*column, route)));
    html! {
        section aria-labelledby="h-scan" {
            h2 id="h-scan" { "Scan by route" }
            div.scroll {
                table.figures.sortable {
                    thead { tr {
                        th scope="col" { "route" }
                        th.text scope="col" { "variant" }
                        th.text scope="col" { "verdict" }
                        th scope="col" { "held per request (95 %)" }
                        th scope="col" { "hold ratio" }
                        th scope="col" { "active" }
                        th scope="col" { "lock wait" }
                        th scope="col" { "leaked" }
                        th scope="col" { "sessions held" }
                        th scope="col" { "full at (req/s)" }
                        th.text scope="col" { "last statement" }
                    } }
                    tbody { @for (column, route) in rows.take(ROWS_SHOWN) { (row(column, route)) } }
                }
            }
            @for (column, scan) in &scans {
                @if scans.len() > 1 { p.note { (column.label) } }
                @for line in remarks(scan) { p.note { (plain(&line, ERROR_MAX)) } }
                @if let Some(line) = skipped(&column.run.record.scenario) { p.note { (plain(&line, ERROR_MAX)) } }
            }
        }
    }
}

fn row(column: &ReportColumn<'_>, route: &ScanRoute) -> Markup {
    let seen = route.held_s_per_request.map(|it| it.value);
    html! {
        tr {
            th scope="row" { code { (plain(&route.route, NAME_MAX)) } }
            td class={ "text hue" (column.hue % 6) } { (mark(column.hue)) " " (column.label) }
            td.text { (route.verdict.name()) @if route.only_concurrent { " (concurrent)" } }
            td data-value=[seen] { (held(route)) }
            td data-value=[route.hold_ratio] { (percent(route.hold_ratio)) }
            td data-value=[route.active_s_per_request] { (millis(route.active_s_per_request)) }
            td data-value=[route.lock_wait_s_per_request] { (millis(route.lock_wait_s_per_request)) }
            td data-value=[left_behind(route)] { (count(left_behind(route))) }
            td data-value=[route.sessions_held] { (per_second(route.sessions_held)) }
            td data-value=[route.pool_full_at_rps] { (per_second(route.pool_full_at_rps)) }
            td.text { @if let Some(statement) = &route.statement { code { (plain(statement, ERROR_MAX)) } } }
        }
    }
}
