//! Secrets that nobody is told.

use aho_corasick::AhoCorasick;

/// Anything shorter is no secret, and would mask half a sentence.
pub(crate) const SHORTEST_SECRET: usize = 4;

/// Masks secrets in texts, however many there are.
#[derive(Default)]
pub(crate) struct Masks(Option<AhoCorasick>);

impl Masks {
    /// Masks these.
    pub(crate) fn of(secrets: &[String]) -> Self {
        // The longest first: of two that begin alike, none of the longer one may stay.
        let build =
            aho_corasick::AhoCorasickBuilder::new().match_kind(aho_corasick::MatchKind::LeftmostLongest).build(secrets);
        // Only more text than fits into memory makes this fail; then there is no telling what a text repeats.
        Self((!secrets.is_empty()).then(|| build.expect("the secrets fit into memory")))
    }

    /// The text without them.
    pub(crate) fn mask(&self, text: String) -> String {
        let Some(secrets) = self.0.as_ref().filter(|secrets| secrets.is_match(&text)) else { return text };
        let mut masked = String::new();
        secrets.replace_all_with(&text, &mut masked, |_, _, masked| {
            masked.push('…');
            true
        });
        masked
    }
}

/// A statement without what its literals say: a driver that puts values into the text itself writes tokens and session keys
/// there. Comments stay: they name routes. Of a literal that the server has cut, nothing stays.
pub(crate) fn without_literals(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(at) = rest.find(['\'', '"', '-', '/', '$']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = token(from, before.ends_with(['e', 'E']));
        let (token, behind) = from.split_at(length);
        if token.starts_with('\'') {
            out.push_str("'…'");
        } else if token.len() > 1 && token.starts_with('$') {
            out.push_str("$$…$$");
        } else {
            out.push_str(token);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// How long the token is that begins here: a literal, a name in quotes, a comment, or one character. `escapes`: whether a
/// backslash in a literal is one.
fn token(from: &str, escapes: bool) -> usize {
    let up_to = |begin: usize, end: &str| from[begin..].find(end).map_or(from.len(), |at| begin + at + end.len());
    match from.as_bytes() {
        [b'\'', ..] if escapes => literal_with_escapes(from),
        [b'\'', ..] => up_to(1, "'"),
        [b'"', ..] => up_to(1, "\""),
        [b'-', b'-', ..] => up_to(2, "\n"),
        [b'/', b'*', ..] => up_to(2, "*/"),
        [b'$', ..] => {
            let tag = from[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(from.len(), |at| 1 + at);
            let opens = from[tag..].starts_with('$') && !from[1..].starts_with(|c: char| c.is_ascii_digit());
            if opens { up_to(tag + 1, &from[..=tag]) } else { 1 }
        }
        _ => 1,
    }
}

fn literal_with_escapes(from: &str) -> usize {
    let mut escaped = false;
    for (at, c) in from.char_indices().skip(1) {
        if c == '\'' && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    from.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_is_repeated_of_secrets_is_masked_the_longer_first() {
        let masks = Masks::of(&["abcd".to_owned(), "abcdef".to_owned()]);
        assert_eq!(masks.mask("no abcdef, no abcd!".to_owned()), "no …, no …!");
        assert_eq!(Masks::of(&[]).mask("abcd".to_owned()), "abcd");
    }

    #[test]
    fn what_literals_say_is_dropped_and_comments_and_names_stay() {
        for (statement, told) in [
            ("SELECT 1 FROM t WHERE key = 's3cret' AND n = 5", "SELECT 1 FROM t WHERE key = '…' AND n = 5"),
            ("SELECT 'a''s3cret', $1", "SELECT '…''…', $1"),
            ("SELECT E'a\\'s3cret' FROM t", "SELECT E'…' FROM t"),
            ("SELECT $$s3cret$$, $a$s3cret$x$a$, $2", "SELECT $$…$$, $$…$$, $2"),
            (
                "/*route='%2Ftools'*/ SELECT \"it's\" -- it's\nFROM t",
                "/*route='%2Ftools'*/ SELECT \"it's\" -- it's\nFROM t",
            ),
            ("SELECT 1 WHERE key = 's3cr", "SELECT 1 WHERE key = '…'"),
            ("SELECT a / b - c", "SELECT a / b - c"),
            ("", ""),
        ] {
            assert_eq!(without_literals(statement), told, "{statement}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_tells_what_stands_in_a_literal(
            before in "[a-z =\\$/\"*-]{0,12}", inside in "[a-z]{8}", any in any::<String>()
        ) {
            without_literals(&any);
            let plain = !before.contains(['$', '"', '/', '-']) && !before.ends_with('e');
            let told = without_literals(&format!("{before}'{inside}'"));
            prop_assert!(!plain || !told.contains(&inside) || before.contains(&inside), "{told}");
        }
    }
}
