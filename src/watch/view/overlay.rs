//! Overlays: the help, and the whole text of a row.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use crate::watch::panes::PaneDetail;

const HELP: &str = "\
q, Esc, Ctrl-C   quit
p, space         stand still, go on; a record goes on meanwhile
tab, ← →, 1–6    the next pane, or that one
↑ ↓, PgUp PgDn   another row; Home, End
Enter            the row's whole text
s                another order
+ −              charts of less, or more time
?                this

Idle in transaction: the client holds a transaction, and with
it a session and its locks, and does nothing. `age` is the
transaction's, `in state` how long it has done nothing.
Bars show the most within each column, each line by its own
scale; a dot is a time in which nothing could be seen.
This program only reads: it ends no session.";

/// The help, over everything.
pub(super) fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let width = HELP.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    let place = centred(area, width.saturating_add(4), height.saturating_add(2));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" keys ")), place);
}

/// A row's whole text, over the panes.
pub(super) fn draw_detail(frame: &mut Frame<'_>, area: Rect, detail: &PaneDetail) {
    let place = centred(area, area.width.saturating_sub(4), area.height.saturating_sub(2));
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(format!(" {} – Esc closes ", detail.title));
    frame.render_widget(Paragraph::new(detail.text.as_str()).wrap(Wrap { trim: false }).block(block), place);
}

fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}
