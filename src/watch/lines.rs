//! Without a terminal: a line now and then, or a page of everything.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use ratatui::crossterm::event::Event;

use super::document::WatchJson;
use super::figures::{age, clock, count};
use super::model::WatchModel;
use super::pane::Pane;
use super::panes::{PaneRow, columns, nothing, rows};
use super::plan::Display;
use super::ui::{Ui, UserAction};
use crate::render::text::plain;

/// Rows of each table of a page.
const PAGE_ROWS: usize = 10;

/// Default width of a page.
const WIDTH: usize = 120;

/// Format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A line for people.
    Line,
    /// A JSON document in a line.
    Document,
}

/// Writes what is known once an interval.
pub struct WatchLines<'a> {
    pub out: &'a mut dyn Write,
    pub interval: Duration,
    pub kind: LineKind,
}

impl Display for WatchLines<'_> {
    fn interval(&self) -> Duration {
        self.interval
    }

    fn show(&mut self, model: &WatchModel) -> io::Result<()> {
        if model.poll.is_none() && model.lost.is_none() {
            return Ok(());
        }
        match self.kind {
            LineKind::Line => writeln!(self.out, "{}", line(model))?,
            LineKind::Document => {
                serde_json::to_writer(&mut self.out, &WatchJson::of(model))?;
                writeln!(self.out)?;
            }
        }
        self.out.flush()
    }

    fn take(&mut self, _: &Event, _: &WatchModel) -> io::Result<UserAction> {
        Ok(UserAction::Nothing)
    }
}

/// The figures of this moment in a line.
pub fn line(model: &WatchModel) -> String {
    let time = clock(model.target.started_unix_s + model.now_s);
    if let Some((since_s, why)) = &model.lost {
        return format!("{time} UTC  no answer for {}: {}", age(Some(model.now_s - since_s)), plain(why));
    }
    let Some((_, poll)) = &model.poll else { return format!("{time} UTC  not polled yet") };
    let counts = poll.counts;
    let mut line = format!(
        "{time} UTC  {} idle in transaction · oldest {} · {} active · {} wait for a lock · {} sessions of {}",
        counts.idle_in_transaction_total(),
        age(poll.oldest_s()),
        counts.active,
        counts.waiting_for_lock,
        counts.sessions,
        count(Some(model.server.max_connections)),
    );
    if let Some(group) = poll.statements.first().filter(|group| group.idle_in_transaction > 0) {
        let _ = write!(line, " · {} × {}", group.sessions, plain(&group.statement));
    }
    line
}

/// Everything at one instant, as tables.
pub fn page(model: &WatchModel, width: Option<usize>) -> String {
    let width = width.unwrap_or(WIDTH).max(20);
    let ui = Ui::new(false);
    let mut page = format!(
        "{}  PostgreSQL {}\n{}\n",
        plain(&model.target.url),
        plain(&model.server.version),
        cut(&line(model), width)
    );
    for pane in [Pane::Transactions, Pane::Statements, Pane::Applications, Pane::Blocking, Pane::Pools] {
        let rows = rows(pane, model, ui.order(pane));
        if pane == Pane::Pools && rows.is_empty() {
            continue;
        }
        let _ = writeln!(page, "\n{}", pane.title());
        if rows.is_empty() {
            let _ = writeln!(page, "  {}", nothing(pane, model));
            continue;
        }
        let heads = columns(pane).iter().map(|(head, _)| (*head).to_owned()).collect();
        for cells in std::iter::once(heads).chain(rows.iter().take(PAGE_ROWS).map(PaneRow::cells)) {
            let _ = writeln!(page, "{}", cut(row(pane, &cells).trim_end(), width));
        }
        if rows.len() > PAGE_ROWS {
            let _ = writeln!(page, "  … and {} more", rows.len() - PAGE_ROWS);
        }
    }
    page
}

fn row(pane: Pane, cells: &[String]) -> String {
    let mut text = String::from(" ");
    for (cell, (head, width)) in cells.iter().zip(columns(pane)) {
        let width = usize::from(*width);
        let _ = match *head {
            "state" | "application" if width > 0 => write!(text, " {:<width$}", cut(cell, width)),
            _ if cell.contains('└') => write!(text, " {cell:<width$}"),
            _ if width > 0 => write!(text, " {cell:>width$}"),
            _ => write!(text, " {cell}"),
        };
    }
    text
}

/// At most so many characters, the last of them a sign that there was more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sessions::PollEvent;
    use crate::watch::simulated::model;

    #[test]
    fn a_page_has_every_table() {
        insta::assert_snapshot!(page(&model(50), Some(100)));
    }

    #[test]
    fn a_line_says_what_is_held_and_since_when_nobody_answers() {
        let mut model = model(50);
        let text_seen = line(&model);
        assert!(text_seen.starts_with("11:07:39 UTC  35 idle in transaction · oldest 12.5 s · "), "{text_seen}");
        assert!(text_seen.contains(" · 40 × SELECT role_id FROM user_roles WHERE user_email = ?"), "{text_seen}");
        model.see(60.0, PollEvent::Lost("gone\u{1b}[2J".to_owned()));
        model.advance(63.0);
        assert_eq!(line(&model), "11:07:43 UTC  no answer for 3.00 s: gone\\u{1b}[2J");
    }
}
