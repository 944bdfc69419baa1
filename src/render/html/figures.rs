//! Figures, before and after side by side; with many runs, a row for each.

use maud::{Markup, html};

use super::chart::mark;
use super::story::started;
use super::text::{NAME_MAX, plain};
use super::{ReportColumn, ReportedRun};
use crate::record::{Summary, VariantRecord};
use crate::render::numbers::{change, count, percent, seconds, seconds_of_ms, whole};
use crate::render::table::{INCIDENT_ROWS, counter_is_lower_bound, rows};
use crate::scenario::Reference;

const TREND_ROWS: usize = 200;

/// Meanings of the rows, in the order of the table.
const MEANINGS: [&str; 10] = [
    "requests that finished, a second, failed ones included, as Locust counts them",
    "of those: a status other than 2xx, no answer within the client timeout, and errors under status 200",
    "fewest replicas at one time that a health probe, on a fresh connection, calls up",
    "sessions in that state in pg_stat_get_activity at any poll, aborted transactions included",
    "clock_timestamp() − xact_start of the oldest, at any poll",
    "the same sessions, as a mean weighted by time",
    "percentiles of one HDR histogram of all finished requests, 3 digits",
    "connections that the pools had given out, of all that they may open",
    "upper bounds of the buckets, in the pools' own histogram, of the time that a checkout waited, those that waited for nothing or gave up included",
    "checkouts that gave up waiting, in the gateway's own count, over the whole load",
];

/// Each metric of each column, and by how much it changed when there are two.
pub(super) fn side_by_side(runs: &[ReportedRun<'_>], columns: &[ReportColumn<'_>]) -> Markup {
    let measured: Vec<(&ReportColumn<'_>, &VariantRecord)> =
        columns.iter().filter_map(|column| Some((column, column.variant?))).collect();
    if measured.is_empty() {
        return html! {};
    }
    let referenced = runs.iter().all(|run| run.record.scenario.reference() == Some(Reference::Issue2318));
    let compared = match measured.as_slice() {
        [(_, before), (_, after)] => Some((&before.summary, &after.summary)),
        _ => None,
    };
    html! {
        section aria-labelledby="h-figures" {
            h2 id="h-figures" { @if compared.is_some() { "Before and after" } @else { "Figures" } }
            div.scroll {
                table.figures.before {
                    thead { tr {
                        th scope="col" { span.visually-hidden { "figure" } }
                        @for (column, _) in &measured { th scope="col" class={ "hue" (column.hue % 6) } { (mark(column.hue)) " " (column.label) } }
                        @if compared.is_some() { th scope="col" { "change" } }
                        @if referenced { th scope="col" { "issue #2318, during → before" } }
                    } }
                    tbody {
                        @for (index, row) in rows(measured.iter().map(|(_, variant)| &variant.summary)) {
                            tr.ruled[index + 1 == INCIDENT_ROWS] {
                                th scope="row" { (row.label) }
                                @for (_, variant) in &measured { td { ((row.cell)(&variant.summary)) } }
                                @if let Some((before, after)) = compared { td { (change((row.ratio)(before), (row.ratio)(after))) } }
                                @if referenced { td.reference { (row.issue_2318) } }
                            }
                        }
                        tr {
                            th scope="row" { "idle time, sampled / counted" }
                            @for (_, variant) in &measured { td { (sampled_and_counted(variant)) } }
                            @if compared.is_some() { td {} }
                            @if referenced { td {} }
                        }
                    }
                }
            }
            p.note { "Over the steady phase, after the ramp, unless stated otherwise. Each figure is a field of record.json." }
            (meanings(measured.iter().map(|(_, variant)| &variant.summary)))
        }
    }
}

fn meanings<'a>(summaries: impl Iterator<Item = &'a Summary> + Clone) -> Markup {
    html! {
        details {
            summary { "What each row is" }
            dl {
                @for (index, row) in rows(summaries) { dt { (row.label) } dd { (MEANINGS[index]) } }
                dt { "idle time, sampled / counted" }
                dd {
                    "session seconds idle in transaction, over the whole load: from the samples, and from the server's own counter "
                    "(pg_stat_database.idle_in_transaction_time). ≥: sessions ended abnormally or were in a transaction at the end, and the server does not count their last episode"
                }
            }
        }
    }
}

/// The samples against the server's own count; `≥` where that is a lower bound.
pub(super) fn sampled_and_counted(variant: &VariantRecord) -> String {
    let bound = if counter_is_lower_bound(variant) { "≥ " } else { "" };
    let summary = &variant.summary;
    let counted = seconds(summary.idle_in_transaction_counted_s);
    format!("{} / {bound}{counted}", seconds(summary.idle_in_transaction_sampled_s))
}

/// A figure of a trend: its head, its text, and the number that is drawn beside it.
type TrendColumn = (&'static str, fn(&Summary) -> String, fn(&Summary) -> Option<f64>);

const TREND: [TrendColumn; 7] = [
    ("throughput (rps)", |it| whole(it.throughput_rps), |it| it.throughput_rps),
    ("failed", |it| percent(it.failure_ratio), |it| it.failure_ratio),
    (
        "idle in tx, peak",
        |it| count(it.idle_in_transaction_peak.map(u64::from)),
        |it| it.idle_in_transaction_peak.map(f64::from),
    ),
    (
        "idle in tx, mean",
        |it| it.idle_in_transaction_mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1}")),
        |it| it.idle_in_transaction_mean,
    ),
    ("oldest transaction", |it| seconds(it.transaction_age_max_s), |it| it.transaction_age_max_s),
    ("p95 (s)", |it| seconds_of_ms(it.latency_p95_ms), |it| it.latency_p95_ms),
    ("pool timeouts", |it| count(it.pool_timeouts), |it| it.pool_timeouts.map(|it| it as f64)),
];

/// A row for each variant of each run, in the order in which they were given.
pub(super) fn trend(columns: &[ReportColumn<'_>]) -> Markup {
    let measured: Vec<(&ReportColumn<'_>, &Summary)> =
        columns.iter().filter_map(|column| Some((column, &column.variant?.summary))).take(TREND_ROWS).collect();
    let largest = |of: fn(&Summary) -> Option<f64>| measured.iter().filter_map(|(_, it)| of(it)).fold(0.0, f64::max);
    html! {
        section aria-labelledby="h-trend" {
            h2 id="h-trend" { "Trend" }
            div.scroll {
                table.figures.sortable {
                    thead { tr {
                        th scope="col" { "run and variant" }
                        th.text scope="col" { "started" }
                        @for (head, _, _) in &TREND { th scope="col" { (head) } }
                    } }
                    tbody { @for (column, summary) in &measured { tr class={ "hue" (column.hue % 6) } {
                        th scope="row" { (mark(column.hue)) " " (column.label) small { (plain(column.run.name, NAME_MAX)) } }
                        td.text data-value=(column.run.record.started_unix_s) { (started(column.run.record)) }
                        @for (_, text, value) in &TREND {
                            td data-value=[value(summary)] { (text(summary)) (bar(value(summary), largest(*value))) }
                        }
                    } } }
                }
            }
            p.note { "A bar is a figure's part of the largest in its column. Over the steady phase, unless docs/FORMATS.md says otherwise." }
        }
    }
}

/// A bar as long as the value's share of the largest.
fn bar(value: Option<f64>, largest: f64) -> Markup {
    let share = value.map(|value| value / largest).filter(|share| share.is_finite());
    html! {
        @if let Some(share) = share {
            svg.bar width="100%" height="3" aria-hidden="true" { rect width=(format!("{:.1}%", share.clamp(0.0, 1.0) * 100.0)) height="3" {} }
        }
    }
}
