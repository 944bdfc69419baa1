//! From a key to its place in the text, so that a message can say file, line and column.

use std::ops::Range;

use serde::Serialize;
use toml_edit::{Item, TableLike};

use super::key::{KeyPath, place_in_list};

/// A place in a text, as editors count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SourcePosition {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl SourcePosition {
    /// The place of the byte `offset`, which may lie past the end.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let end = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// Part of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// The key: for a message on the name.
    Key,
    /// The value: for a message on what it is set to.
    Value,
}

/// Finds keys in one text.
#[derive(Debug)]
pub struct Locator<'a> {
    text: &'a str,
    document: toml_edit::Document<&'a str>,
}

impl<'a> Locator<'a> {
    /// A locator for `text`.
    ///
    /// # Errors
    /// When `text` is no TOML.
    pub fn new(text: &'a str) -> Result<Self, toml_edit::TomlError> {
        Ok(Self { text, document: toml_edit::Document::parse(text)? })
    }

    /// The place of `key`; of the nearest table around it when it is not in the text; the start when nothing is.
    #[must_use]
    pub fn place(&self, key: &KeyPath, part: PathPart) -> SourcePosition {
        SourcePosition::of(self.text, self.span(key, part).map_or(0, |span| span.start))
    }

    fn span(&self, key: &KeyPath, part: PathPart) -> Option<Range<usize>> {
        let mut table: &dyn TableLike = self.document.as_table();
        let mut list: Option<&Item> = None;
        let mut found = None;
        for (depth, name) in key.names().iter().enumerate() {
            if let Some(place) = place_in_list(name) {
                let Some((inner, span)) = list.and_then(|list| nth(list, place)) else { break };
                (table, found) = (inner, span.or(found));
                continue;
            }
            let Some((written, item)) = table.get_key_value(name) else { break };
            let part = if depth + 1 == key.names().len() { part } else { PathPart::Value };
            found = match part {
                PathPart::Key => written.span().or(item.span()),
                PathPart::Value => item_span(item).or(written.span()),
            }
            .or(found);
            list = Some(item);
            // A list has no keys; what follows is a place in it.
            let Some(inner) = item.as_table_like() else { continue };
            table = inner;
        }
        found
    }

    /// The names under a table of the document, in the order in which they are written.
    pub(super) fn names_under(&self, table: &str) -> Vec<String> {
        let inner = self.document.as_table().get(table).and_then(Item::as_table_like);
        let mut names: Vec<(usize, String)> = inner
            .into_iter()
            .flat_map(TableLike::iter)
            .map(|(name, item)| (item_span(item).map_or(0, |span| span.start), name.to_owned()))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// True if the document has this key at its root.
    pub(super) fn has(&self, name: &str) -> bool {
        self.document.as_table().contains_key(name)
    }
}

/// One table of a list of tables, and its span.
fn nth(list: &Item, place: usize) -> Option<(&dyn TableLike, Option<Range<usize>>)> {
    if let Some(tables) = list.as_array_of_tables() {
        return tables.get(place).map(|table| (table as &dyn TableLike, table.span()));
    }
    let value = list.as_array()?.get(place)?;
    Some((value.as_inline_table()?, value.span()))
}

/// An item's span; of a table that has no header of its own, its first entry's.
fn item_span(item: &Item) -> Option<Range<usize>> {
    let first_entry = || item.as_table_like()?.iter().find_map(|(_, inner)| item_span(inner));
    item.span().or_else(first_entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1 # é\n[b.c]\n\"ü\" = 2\n\"x y\" = { d = 4 }\n";

    fn at(names: &[&str], part: PathPart) -> (usize, usize) {
        let locator = Locator::new(TEXT).unwrap();
        let place = locator.place(&KeyPath::of(names.iter().copied()), part);
        (place.line, place.column)
    }

    #[test]
    fn keys_and_values_are_found_where_an_editor_shows_them() {
        assert_eq!(at(&["a"], PathPart::Key), (1, 1));
        assert_eq!(at(&["a"], PathPart::Value), (1, 5));
        assert_eq!(at(&["b", "c"], PathPart::Value), (2, 1));
        assert_eq!(at(&["b", "c", "x y", "d"], PathPart::Key), (4, 11));
        assert_eq!(at(&["b", "c", "x y", "d"], PathPart::Value), (4, 15));
    }

    #[test]
    fn one_of_a_list_of_tables_is_found_by_its_number() {
        let text = "[[r]]\na = 1\n[[r]]\na = 2\ns = [{ b = 1 }, { b = 2 }]\n";
        let locator = Locator::new(text).unwrap();
        let at = |key: KeyPath| {
            let place = locator.place(&key, PathPart::Value);
            (place.line, place.column)
        };
        let second = KeyPath::of(["r"]).item(1);
        assert_eq!(at(second.clone()), (3, 1));
        assert_eq!(at(second.child("a")), (4, 5));
        assert_eq!(at(second.child("gone")), (3, 1));
        assert_eq!(at(second.child("s").item(1).child("b")), (5, 23));
        assert_eq!(at(KeyPath::of(["r"]).item(7)), (1, 1));
    }

    #[test]
    fn what_is_not_there_is_placed_at_the_table_around_it() {
        assert_eq!(at(&["b", "c", "gone"], PathPart::Value), (2, 1));
        assert_eq!(at(&["gone"], PathPart::Value), (1, 1));
        assert_eq!(at(&[], PathPart::Key), (1, 1));
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_no_panic() {
        assert_eq!(SourcePosition::of("é", 1), SourcePosition { line: 1, column: 1 });
        assert_eq!(SourcePosition::of("é\n", 99), SourcePosition { line: 2, column: 1 });
    }
}
