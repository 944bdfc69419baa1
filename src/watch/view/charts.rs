//! Sessions by state over time: a line of bars for each state, each with its own scale, which is written beside it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, RenderDirection, Sparkline};

use super::theme::Theme;
use crate::record::ActivitySample;
use crate::watch::figures::{age, count};
use crate::watch::history::Bin;
use crate::watch::model::WatchModel;
use crate::watch::ui::Ui;

const LABEL: u16 = 20;
const VALUE: u16 = 8;
const MOST: u16 = 12;

/// A line of the charts: its name, the present figure, and the same of a column.
struct ChartSeries {
    name: &'static str,
    now: fn(&ActivitySample) -> String,
    of: fn(&Bin) -> f64,
    write: fn(f64) -> String,
    style: fn(Theme) -> Style,
}

/// The most important first: a low screen loses the rest.
const SERIES: [ChartSeries; 5] = [
    ChartSeries {
        name: "idle in transaction",
        now: |it| count(Some(it.idle_in_transaction_total())),
        of: |bin| f64::from(bin.idle_in_transaction),
        write: whole,
        style: Theme::holds,
    },
    ChartSeries {
        name: "oldest transaction",
        now: |it| age(it.oldest_transaction_s),
        of: |bin| bin.oldest_s,
        write: |seconds| age(Some(seconds)),
        style: Theme::bad,
    },
    ChartSeries {
        name: "waiting for a lock",
        now: |it| count(Some(it.waiting_for_lock)),
        of: |bin| f64::from(bin.waiting_for_lock),
        write: whole,
        style: Theme::waits,
    },
    ChartSeries {
        name: "active",
        now: |it| count(Some(it.active)),
        of: |bin| f64::from(bin.active),
        write: whole,
        style: Theme::works,
    },
    ChartSeries {
        name: "idle",
        now: |it| count(Some(it.idle)),
        of: |bin| f64::from(bin.idle),
        write: whole,
        style: Theme::dim,
    },
];

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// Height of the charts, at most `each` for a series: they leave most of the height to the tables.
pub(super) fn height(available: u16, each: u16) -> u16 {
    let all = u16::try_from(SERIES.len()).unwrap_or(0);
    if available >= 12 { (all * each).min(available / 2) } else { available.saturating_sub(4).min(2) }
}

/// Draws as many series as there is height for, evenly.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &WatchModel, ui: &Ui, theme: Theme) {
    let shown = usize::from(area.height).min(SERIES.len());
    let rows = Layout::vertical(vec![Constraint::Fill(1); shown]).split(area);
    for (series, row) in SERIES.iter().zip(rows.iter()) {
        draw_series(frame, *row, series, model, ui, theme);
    }
}

fn draw_series(frame: &mut Frame<'_>, area: Rect, series: &ChartSeries, model: &WatchModel, ui: &Ui, theme: Theme) {
    let most_width = if area.width >= 60 { MOST } else { 0 };
    let [label, value, _, bars, most] = Layout::horizontal([
        Constraint::Length(LABEL),
        Constraint::Length(VALUE),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(most_width),
    ])
    .areas(area);
    let style = (series.style)(theme);
    let now = match (&model.activity, &model.lost) {
        (Some((_, activity)), None) => (series.now)(activity),
        _ => "–".to_owned(),
    };
    frame.render_widget(Paragraph::new(Line::styled(series.name, style)), label);
    frame.render_widget(Paragraph::new(Line::styled(now, style).right_aligned()), value);
    let columns = model.history.columns(usize::from(bars.width), ui.bins_each());
    let values: Vec<Option<f64>> = columns.iter().map(|column| column.as_ref().map(series.of)).collect();
    let highest = values.iter().flatten().copied().reduce(f64::max);
    let line = Sparkline::default()
        .data(values.iter().map(|value| value.map(thousandths)))
        .max(highest.map_or(1, thousandths).max(1))
        .direction(RenderDirection::RightToLeft)
        .absent_value_symbol("·")
        .absent_value_style(theme.dim())
        .style(style);
    frame.render_widget(line, bars);
    if let Some(highest) = highest {
        let text = format!(" most {}", (series.write)(highest));
        frame.render_widget(Paragraph::new(Line::styled(text, theme.dim())), most);
    }
}

/// Bars are whole numbers; an age has fractions.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn thousandths(value: f64) -> u64 {
    (value * 1e3) as u64
}
