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

/// A column is broken before another one leaves, but not to fewer letters than this, nor through a word. On a wide terminal all columns
/// stay; on others one that is broken into many lines is harder to read than one that is not there.
const NARROWEST: usize = 26;
const NARROWEST_WHERE_WIDE: usize = 16;

/// Columns of a wide terminal.
const WIDE: usize = 100;

/// A longer word is no reason to let columns leave: it sticks out.
const LONGEST_WORD: usize = 30;

impl FittedTable {
    /// Its lines, none of them longer than the width where the words allow it.
    pub(super) fn text(self, width: Option<usize>) -> String {
        let all: Vec<usize> = (0..self.header.len()).collect();
        let Some(width) = width else { return self.of(&all, None) };
        let longest = self.cells(self.breaks).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let words = self.cells(self.breaks).flat_map(|cell| parts(cell));
        let word = words.map(|part| part.trim_end().chars().count()).max().unwrap_or(0);
        let narrowest = if width >= WIDE { NARROWEST_WHERE_WIDE } else { NARROWEST };
        let narrowest = narrowest.max(word.min(LONGEST_WORD) + 2).min(longest);
        for gone in 0..=self.leave.len() {
            let left: Vec<usize> = all.iter().copied().filter(|column| !self.leave[..gone].contains(column)).collect();
            let text = self.of(&left, None);
            let too_wide = widest(&text).saturating_sub(width);
            let room = longest.saturating_sub(too_wide);
            if too_wide == 0 {
                return text;
            }
            if room >= narrowest || gone == self.leave.len() {
                return self.of(&left, Some(room.max(narrowest)));
            }
        }
        self.of(&all, None)
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
                column.set_padding((1, 1)).set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string().lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}

/// Breaks a text into lines of so many letters, between words and the parts of a path.
fn broken(text: &str, room: usize) -> String {
    let mut lines = vec![String::new()];
    for part in parts(text) {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.chars().count() + part.trim_end().chars().count() > room {
            lines.push(format!("  {part}"));
        } else {
            line.push_str(&part);
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Words, with the blanks behind them, and parts of a path.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for letter in text.chars() {
        match parts.last_mut() {
            Some(part) if !matches!(letter, '/' | ' ') && !part.ends_with(' ') => part.push(letter),
            Some(part) if letter == ' ' => part.push(' '),
            _ => parts.push(letter.to_string()),
        }
    }
    parts
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
    fn a_cell_is_broken_between_words_before_a_column_leaves() {
        let whole = table().text(None);
        assert!(whole.contains("active") && widest(&whole) > 70, "{whole}");
        assert_eq!(table().text(Some(widest(&whole))), whole);
        let narrower = table().text(Some(widest(&whole) - 10));
        assert!(narrower.contains("active") && narrower.contains("\n   /{id}/photo"), "{narrower}");
        let narrow = table().text(Some(widest(&whole) - 11));
        assert!(widest(&narrow) < widest(&whole) - 10 && !narrow.contains("active"), "{narrow}");
        assert!(narrow.contains("GET /teams/{team}/members/{id}  holds"), "{narrow}");
    }
}
