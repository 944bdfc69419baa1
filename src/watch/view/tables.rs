//! The panes as tables.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::theme::Theme;
use crate::watch::model::Model;
use crate::watch::panes::{columns, nothing, rows};
use crate::watch::ui::{Pane, Ui};

/// Narrower than this the names of all panes do not fit in one line.
const NAMES_FROM: u16 = 76;

/// The panes by name, the chosen one marked.
pub(super) fn names(width: u16, ui: &Ui, theme: Theme) -> Line<'static> {
    let mut spans = Vec::new();
    for (index, pane) in Pane::ALL.into_iter().enumerate() {
        let chosen = pane == ui.pane;
        if width < NAMES_FROM && !chosen {
            continue;
        }
        let name = format!("{}{} {}", if chosen { '▸' } else { ' ' }, index + 1, pane.title());
        spans.push(Span::styled(name, if chosen { theme.selected() } else { theme.dim() }));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

/// A pane with its title above.
pub(super) fn draw_titled(frame: &mut Frame<'_>, area: Rect, pane: Pane, model: &Model, ui: &Ui, theme: Theme) {
    let [title, table] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let chosen = pane == ui.pane;
    let number = Pane::ALL.iter().position(|it| *it == pane).unwrap_or(0) + 1;
    let name = format!("{}{number} {} ", if chosen { '▸' } else { ' ' }, pane.title());
    let rule = "─".repeat(usize::from(area.width).saturating_sub(name.chars().count()));
    let line = Line::from(vec![
        Span::styled(name, if chosen { theme.selected() } else { theme.strong() }),
        Span::styled(rule, theme.dim()),
    ]);
    frame.render_widget(Paragraph::new(line), title);
    draw(frame, table, pane, model, ui, theme);
}

/// A pane: the heads of its columns, the rows around the selected one, and how many there are.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, pane: Pane, model: &Model, ui: &Ui, theme: Theme) {
    if area.is_empty() {
        return;
    }
    let rows = rows(pane, model, ui);
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(Line::styled(format!("  {}", nothing(pane, model)), theme.dim())), area);
        return;
    }
    // One line for the heads, and one for the count when not all rows fit.
    let room = usize::from(area.height.saturating_sub(1));
    let fits = rows.len() <= room;
    let shown = if fits { room } else { room.saturating_sub(1) };
    let selected = ui.selected(pane, rows.len());
    let first = (selected + 1).saturating_sub(shown);
    let chosen = pane == ui.pane;
    let columns = columns(pane);
    let lines = rows.iter().enumerate().skip(first).take(shown).map(|(index, row)| {
        let marked = chosen && index == selected;
        let style = if marked { theme.selected() } else { theme.tone(row.tone()) };
        let texts = row.cells().into_iter().zip(columns).map(|(text, (head, _))| cell(head, text));
        let mark = if marked { ">" } else { " " };
        Row::new(std::iter::once(Line::from(mark)).chain(texts)).style(style)
    });
    let heads = columns.iter().map(|(head, _)| cell(head, (*head).to_owned()));
    let widths = columns.iter().map(|(_, width)| match width {
        0 => Constraint::Min(0),
        width => Constraint::Length(*width),
    });
    let table = Table::new(lines, std::iter::once(Constraint::Length(1)).chain(widths))
        .header(Row::new(std::iter::once(Line::from(" ")).chain(heads)).style(heads_style(theme)))
        .column_spacing(1);
    frame.render_widget(table, area);
    if !fits && area.height > 1 {
        let order = pane.orders().get(ui.order(pane)).copied().unwrap_or_default();
        let text = format!("  {}–{} of {}, by {order}", first + 1, (first + shown).min(rows.len()), rows.len());
        let bottom = Rect { y: area.bottom() - 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(Line::styled(text, theme.dim())), bottom);
    }
}

/// Figures to the right, texts to the left.
fn cell(head: &str, text: String) -> Line<'static> {
    let is_text = matches!(head, "state" | "application" | "last statement" | "statement" | "pool" | "what");
    // What stands behind a root is indented.
    if is_text || text.contains('└') { Line::from(text) } else { Line::from(text).right_aligned() }
}

fn heads_style(theme: Theme) -> Style {
    theme.strong()
}
