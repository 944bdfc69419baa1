//! The panes as tables.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::theme::Theme;
use crate::watch::model::WatchModel;
use crate::watch::pane::Pane;
use crate::watch::panes::{columns, nothing, rows};
use crate::watch::ui::Ui;

/// Narrower than this the names of all panes do not fit in one line.
const NAMES_FROM: u16 = 76;

/// Lower than this a table has no heads, and lower than the next it does not say how many rows there are.
const HEADS_FROM: u16 = 3;
const COUNT_FROM: u16 = 4;

/// Least width of the text in the last column and the mark before the first one.
const TEXT: u16 = 14;

/// The panes by name, the chosen one marked.
pub(super) fn names(width: u16, ui: &Ui, theme: Theme) -> Line<'static> {
    let mut spans = Vec::new();
    for (index, pane) in Pane::ALL.into_iter().enumerate() {
        let chosen = pane == ui.pane;
        if width < NAMES_FROM && !chosen {
            continue;
        }
        let name = format!("{}{} {}", if chosen { '▸' } else { ' ' }, index + 1, pane.title());
        spans.push(Span::styled(name, if chosen { Theme::selected() } else { theme.dim() }));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

/// A pane with its title above.
pub(super) fn draw_titled(frame: &mut Frame<'_>, area: Rect, pane: Pane, model: &WatchModel, ui: &Ui, theme: Theme) {
    let [title, table] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let chosen = pane == ui.pane;
    let number = Pane::ALL.iter().position(|it| *it == pane).unwrap_or(0) + 1;
    let name = format!("{}{number} {} ", if chosen { '▸' } else { ' ' }, pane.title());
    let rule = "─".repeat(usize::from(area.width).saturating_sub(name.chars().count()));
    let line = Line::from(vec![
        Span::styled(name, if chosen { Theme::selected() } else { Theme::strong() }),
        Span::styled(rule, theme.dim()),
    ]);
    frame.render_widget(Paragraph::new(line), title);
    draw(frame, table, pane, model, ui, theme);
}

/// A pane: the heads of its columns, the rows around the selected one, and how many there are.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, pane: Pane, model: &WatchModel, ui: &Ui, theme: Theme) {
    if area.is_empty() {
        return;
    }
    let rows = rows(pane, model, ui.order(pane));
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(Line::styled(format!("  {}", nothing(pane, model)), theme.dim())), area);
        return;
    }
    let (heads, count) = (u16::from(area.height >= HEADS_FROM), u16::from(area.height >= COUNT_FROM));
    let fits = rows.len() <= usize::from(area.height.saturating_sub(heads));
    let count = if fits { 0 } else { count };
    let [table, bottom] = Layout::vertical([Constraint::Min(0), Constraint::Length(count)]).areas(area);
    let shown = usize::from(table.height.saturating_sub(heads));
    let selected = ui.selected(pane, rows.len());
    let first = (selected + 1).saturating_sub(shown);
    let columns = fitting(pane, area.width);
    let lines = rows.iter().enumerate().skip(first).take(shown).map(|(index, row)| {
        let marked = pane == ui.pane && index == selected;
        let style = if marked { Theme::selected() } else { theme.tone(row.tone()) };
        let mut cells = row.cells();
        let texts = columns.iter().map(|column| cell(column.head, std::mem::take(&mut cells[column.index])));
        Row::new(std::iter::once(Line::from(if marked { ">" } else { " " })).chain(texts)).style(style)
    });
    let widths = columns.iter().map(|column| column.width);
    let mut drawn = Table::new(lines, std::iter::once(Constraint::Length(1)).chain(widths)).column_spacing(1);
    if heads > 0 {
        let heads = columns.iter().map(|column| cell(column.head, column.head.to_owned()));
        drawn = drawn.header(Row::new(std::iter::once(Line::from(" ")).chain(heads)).style(Theme::strong()));
    }
    frame.render_widget(drawn, table);
    let order = pane.orders().get(ui.order(pane)).copied().unwrap_or_default();
    let text = format!("  {}–{} of {}, by {order}", first + 1, (first + shown).min(rows.len()), rows.len());
    frame.render_widget(Paragraph::new(Line::styled(text, theme.dim())), bottom);
}

/// A column that is shown.
struct TableColumn {
    index: usize,
    head: &'static str,
    width: Constraint,
}

/// The columns for which there is room beside the text in the last one.
fn fitting(pane: Pane, width: u16) -> Vec<TableColumn> {
    let mut left = width.saturating_sub(TEXT);
    let all = columns(pane).iter().enumerate();
    let fits = all.filter_map(|(index, (head, width))| {
        if *width == 0 {
            return Some(TableColumn { index, head, width: Constraint::Min(0) });
        }
        left = left.checked_sub(width + 1)?;
        Some(TableColumn { index, head, width: Constraint::Length(*width) })
    });
    fits.collect()
}

/// Figures to the right, texts to the left.
fn cell(head: &str, text: String) -> Line<'static> {
    let is_text = matches!(head, "state" | "application" | "last statement" | "statement" | "pool" | "what");
    // What stands behind a root is indented.
    if is_text || text.contains('└') { Line::from(text) } else { Line::from(text).right_aligned() }
}
