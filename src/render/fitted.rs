//! Tables that fit a width: columns leave in a stated order; what is still too wide is broken between words.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table as it is before it is fitted.
pub(super) struct FittedTable {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// Columns of figures, which stand at the right.
    pub(super) figures: std::ops::Range<usize>,
    /// Columns that leave where there is no room, in this order.
    pub(super) leave: &'static [usize],
    /// The column that is broken where all of them are not enough.
    pub(super) breaks: usize,
}

/// The narrowest that a column is broken to.
const NARROWEST: usize = 16;

impl FittedTable {
    /// Its lines, none of them longer than the width where the words allow it.
    pub(super) fn text(self, width: Option<usize>) -> String {
        let all: Vec<usize> = (0..self.header.len()).collect();
        let Some(width) = width else { return self.of(&all, None) };
        for gone in 0..=self.leave.len() {
            let left: Vec<usize> = all.iter().copied().filter(|column| !self.leave[..gone].contains(column)).collect();
            let text = self.of(&left, None);
            if widest(&text) <= width || gone == self.leave.len() {
                return if widest(&text) <= width { text } else { self.broken(&left, &text, width) };
            }
        }
        self.of(&all, None)
    }

    fn broken(&self, columns: &[usize], text: &str, width: usize) -> String {
        let longest = self.cells(self.breaks).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let room = longest.saturating_sub(widest(text) - width).max(NARROWEST);
        self.of(columns, Some(room))
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &String> {
        self.rows.iter().chain([&self.header]).filter_map(move |row| row.get(column))
    }

    /// The table of these columns, the one that breaks with so many letters.
    fn of(&self, columns: &[usize], room: Option<usize>) -> String {
        let cell = |row: &[String], column: usize| {
            let text = row.get(column).cloned().unwrap_or_default();
            match room {
                Some(room) if column == self.breaks => broken(&text, room),
                _ => text,
            }
        };
        let of = |row: &[String]| columns.iter().map(|column| cell(row, *column)).collect::<Vec<_>>();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(of(&self.header));
        for row in &self.rows {
            table.add_row(of(row));
        }
        for (place, _) in columns.iter().enumerate().filter(|(_, column)| self.figures.contains(column)) {
            if let Some(column) = table.column_mut(place) {
                column.set_padding((2, 1)).set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string().lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}

/// Breaks a text into lines of so many letters, between words and the parts of a path.
fn broken(text: &str, room: usize) -> String {
    let mut lines = vec![String::new()];
    let mut parts: Vec<String> = Vec::new();
    for letter in text.chars() {
        match parts.last_mut() {
            Some(part) if !matches!(letter, '/' | ' ') && !part.ends_with(' ') => part.push(letter),
            Some(part) if letter == ' ' => part.push(' '),
            _ => parts.push(letter.to_string()),
        }
    }
    for part in parts {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.chars().count() + part.trim_end().chars().count() > room {
            lines.push(format!("  {part}"));
        } else {
            line.push_str(&part);
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Columns of the widest line.
pub(super) fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> FittedTable {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        FittedTable {
            header: row(["route", "verdict", "held", "active"]),
            rows: vec![row(["GET /teams/{team}/members/{id}/photo", "holds", "0.301 s (0.299–0.302)", "12 ms"])],
            figures: 2..4,
            leave: &[3],
            breaks: 0,
        }
    }

    #[test]
    fn columns_leave_before_a_cell_is_broken() {
        let whole = table().text(None);
        assert!(whole.contains("active") && widest(&whole) > 70, "{whole}");
        assert_eq!(table().text(Some(widest(&whole))), whole);
        let narrower = table().text(Some(widest(&whole) - 1));
        assert!(!narrower.contains("active") && narrower.contains("/members/{id}/photo"), "{narrower}");
        let narrow = table().text(Some(60));
        assert!(widest(&narrow) <= 60, "{narrow}");
        assert!(narrow.contains("GET /teams/{team}/members  holds") && narrow.contains("\n   /{id}/photo"), "{narrow}");
    }
}
