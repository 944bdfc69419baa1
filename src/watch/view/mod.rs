//! The screen, drawn from the model. Pure: no clock, no terminal; whatever the size, it draws what fits.

mod charts;
mod overlay;
mod tables;
#[cfg(test)]
mod tests;
mod theme;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::figures::{age, clock, count};
use super::model::WatchModel;
use super::pane::Pane;
use super::ui::Ui;
use crate::render::text::plain;
use theme::Theme;

/// From this size on all panes are shown at once.
const WIDE: (u16, u16) = (140, 40);

/// Lower than this there is no footer, and below the next no chart.
const FOOTER_FROM: u16 = 6;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &WatchModel, ui: &Ui) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let theme = Theme::of(ui.color);
    let footer = u16::from(area.height >= FOOTER_FROM);
    let head_height = area.height.min(2);
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(head_height), Constraint::Min(0), Constraint::Length(footer)]).areas(area);
    draw_head(frame, head, model, ui, theme);
    if (area.width, area.height) >= WIDE && area.height >= WIDE.1 {
        draw_all(frame, body, model, ui, theme);
    } else {
        draw_one(frame, body, model, ui, theme);
    }
    draw_foot(frame, foot, model, ui, theme);
    if let Some(detail) = &ui.detail {
        overlay::draw_detail(frame, body, detail);
    }
    if ui.help {
        overlay::draw_help(frame, area);
    }
}

/// Charts above the pane that is chosen.
fn draw_one(frame: &mut Frame<'_>, area: Rect, model: &WatchModel, ui: &Ui, theme: Theme) {
    let charts = charts::height(area.height, 1);
    let tabs = u16::from(area.height > charts);
    let [above, names, below] =
        Layout::vertical([Constraint::Length(charts), Constraint::Length(tabs), Constraint::Min(0)]).areas(area);
    charts::draw(frame, above, model, ui, theme);
    frame.render_widget(Paragraph::new(tables::names(names.width, ui, theme)), names);
    tables::draw(frame, below, ui.pane, model, ui, theme);
}

/// Everything at once.
fn draw_all(frame: &mut Frame<'_>, area: Rect, model: &WatchModel, ui: &Ui, theme: Theme) {
    let charts = charts::height(area.height, if area.height >= 50 { 3 } else { 2 });
    let [above, middle, below] =
        Layout::vertical([Constraint::Length(charts), Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
    charts::draw(frame, above, model, ui, theme);
    let two = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2);
    let [left, right] = two.areas(middle);
    tables::draw_titled(frame, left, Pane::Transactions, model, ui, theme);
    tables::draw_titled(frame, right, Pane::Statements, model, ui, theme);
    let [left, right] = two.areas(below);
    tables::draw_titled(frame, left, Pane::Blocking, model, ui, theme);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Fill(2), Constraint::Fill(1), Constraint::Fill(1)]).areas(right);
    tables::draw_titled(frame, top, Pane::Applications, model, ui, theme);
    tables::draw_titled(frame, middle, Pane::Pools, model, ui, theme);
    tables::draw_titled(frame, bottom, Pane::Events, model, ui, theme);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &WatchModel, ui: &Ui, theme: Theme) {
    let (status, style) = match (&model.lost, ui.paused) {
        (Some(_), _) => ("LOST".to_owned(), theme.alarm()),
        (None, true) => ("paused".to_owned(), Theme::strong()),
        (None, false) => (format!("live {}", age(Some(model.now_s))), theme.works()),
    };
    let status = Line::styled(format!(" {status} "), style);
    let width = u16::try_from(status.width()).unwrap_or(u16::MAX).min(area.width);
    let [first, second] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let [title, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(first);
    let name = Line::from(vec![
        Span::styled(plain(&model.target.url), Theme::strong()),
        Span::styled(format!("  PostgreSQL {}", plain(&model.server.version)), theme.dim()),
    ]);
    frame.render_widget(Paragraph::new(name), title);
    frame.render_widget(Paragraph::new(status), right);
    let line = match &model.lost {
        Some((since_s, why)) => Line::styled(lost(model, *since_s, why), theme.bad()),
        None => figures(model, theme),
    };
    frame.render_widget(Paragraph::new(line), second);
}

fn lost(model: &WatchModel, since_s: f64, why: &str) -> String {
    let at = clock(model.target.started_unix_s + since_s);
    let gone = age(Some(model.now_s - since_s));
    format!("no answer since {at} UTC ({gone}), trying again; all below is older. {}", plain(why))
}

/// The most important first: a narrow screen loses the rest.
fn figures(model: &WatchModel, theme: Theme) -> Line<'static> {
    let Some((_, activity)) = &model.activity else { return Line::from("waiting for the first counts …") };
    let aborted = activity.idle_in_transaction_aborted;
    let mut spans =
        vec![Span::styled(format!("{} idle in transaction", activity.idle_in_transaction_total()), theme.holds())];
    if aborted > 0 {
        spans.push(Span::styled(format!(" ({aborted} aborted)"), theme.bad()));
    }
    spans.push(Span::raw(format!(" · oldest {}", age(activity.oldest_transaction_s))));
    let of = count(Some(model.server.max_connections));
    spans.push(Span::raw(format!(" · {} sessions of {of}", activity.sessions)));
    if activity.waiting_for_lock > 0 {
        spans.push(Span::styled(format!(" · {} wait for a lock", activity.waiting_for_lock), theme.waits()));
    }
    let prepared = model.counters.as_ref().and_then(|counters| counters.prepared_transactions);
    if let Some(prepared) = prepared.filter(|prepared| *prepared > 0) {
        spans.push(Span::styled(format!(" · {prepared} prepared transactions"), theme.bad()));
    }
    Line::from(spans)
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, model: &WatchModel, ui: &Ui, theme: Theme) {
    if area.is_empty() {
        return;
    }
    let pause = if ui.paused { "p go on" } else { "p pause" };
    let keys = format!("q quit  {pause}  tab pane  ↑↓ row  enter whole text  s sort  ? help");
    let keys = if model.recording.is_some() { keys.replace("  enter whole text", "") } else { keys };
    let recording = model.recording.as_ref().map_or_else(String::new, |recording| {
        format!("recording {} ({})", plain(&recording.folder), recording.samples)
    });
    let right = Line::styled(recording, Theme::strong());
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width / 2);
    let [left, end] = Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(area);
    frame.render_widget(Paragraph::new(Line::styled(keys, theme.dim())), left);
    frame.render_widget(Paragraph::new(right), end);
}
