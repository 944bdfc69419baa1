//! A statement without what it says of its users.

/// The names of a comment's tags that stay: those by which drivers say where a statement comes from.
const TAGS: [&str; 9] =
    ["route", "http.route", "controller", "action", "framework", "application", "db_driver", "job", "http.method"];

/// A statement without what its literals say: a driver that puts values into the text itself writes tokens and session keys
/// there. Of a comment stay the tags that name a route (sqlcommenter's and Rails'): what else it says may be anything. Of a
/// literal or a comment that the server has cut, nothing stays that is not whole.
pub(crate) fn without_literals(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(at) = rest.find(['\'', '"', '-', '/', '$']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = token(from, ends_with_escape_prefix(before));
        let (token, behind) = from.split_at(length);
        match token.as_bytes() {
            [b'\'', ..] => out.push_str("'…'"),
            [b'$', _, ..] => out.push_str("$$…$$"),
            [b'-', b'-', ..] => out.push_str(if token.ends_with('\n') { "--\n" } else { "--" }),
            [b'/', b'*', ..] => out.push_str(&comment(token)),
            _ => out.push_str(token),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// True if a backslash in the literal that follows is one: `E'…'`, but not the end of a word, as in `else'…'`.
fn ends_with_escape_prefix(before: &str) -> bool {
    let Some(word) = before.strip_suffix(['e', 'E']) else { return false };
    !word.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$'))
}

/// A comment with the tags that stay.
fn comment(token: &str) -> String {
    let inside = token.trim_start_matches("/*");
    let (inside, is_whole) = inside.strip_suffix("*/").map_or((inside, false), |inside| (inside, true));
    let mut tags: Vec<&str> = inside.split(',').collect();
    if !is_whole {
        // The last one may be cut.
        tags.pop();
    }
    let stays = |tag: &&str| {
        let name = tag.split_once(['=', ':']).map(|(name, _)| name.trim());
        name.is_some_and(|name| TAGS.contains(&name))
    };
    let tags: Vec<&str> = tags.into_iter().filter(stays).map(str::trim).collect();
    if tags.is_empty() { "/*…*/".to_owned() } else { format!("/*{}*/", tags.join(",")) }
}

/// Length of the token that begins here: a literal, a name in quotes, a comment, or one character. `escapes`: whether a
/// backslash in a literal is one.
fn token(from: &str, escapes: bool) -> usize {
    let up_to = |begin: usize, end: &str| from[begin..].find(end).map_or(from.len(), |at| begin + at + end.len());
    match from.as_bytes() {
        [b'\'', ..] if escapes => literal_with_escapes(from),
        [b'\'', ..] => up_to(1, "'"),
        [b'"', ..] => up_to(1, "\""),
        [b'-', b'-', ..] => up_to(2, "\n"),
        [b'/', b'*', ..] => nested_comment(from),
        [b'$', ..] => {
            let tag = from[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(from.len(), |at| 1 + at);
            let opens = from[tag..].starts_with('$') && !from[1..].starts_with(|c: char| c.is_ascii_digit());
            if opens { up_to(tag + 1, &from[..=tag]) } else { 1 }
        }
        _ => 1,
    }
}

/// PostgreSQL's comments nest.
fn nested_comment(from: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = from[at..].find(['/', '*']) {
        let here = &from[at + found..];
        let (change, length) = if here.starts_with("/*") {
            (1_isize, 2)
        } else if here.starts_with("*/") {
            (-1, 2)
        } else {
            (0, 1)
        };
        at += found + length;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            return at;
        }
    }
    from.len()
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
    fn literals_and_comments_go_and_names_and_routes_stay() {
        for (statement, recorded) in [
            ("SELECT 1 FROM t WHERE key = 's3cret' AND n = 5", "SELECT 1 FROM t WHERE key = '…' AND n = 5"),
            ("SELECT 'a''s3cret', $1", "SELECT '…''…', $1"),
            ("SELECT E'a\\'s3cret' FROM t", "SELECT E'…' FROM t"),
            ("SELECT $$s3cret$$, $a$s3cret$x$a$, $2", "SELECT $$…$$, $$…$$, $2"),
            (
                "/*route='%2Ftools',token='s3cret'*/ SELECT \"it's\" -- it's s3cret\nFROM t",
                "/*route='%2Ftools'*/ SELECT \"it's\" --\nFROM t",
            ),
            ("SELECT /* a /* s3cret */ 's3cret */ 1", "SELECT /*…*/ 1"),
            ("/*controller:users,action:show,s3cret*/ SELECT 1", "/*controller:users,action:show*/ SELECT 1"),
            ("SELECT 1 /*route='/tools',token='s3c", "SELECT 1 /*route='/tools'*/"),
            ("CASE WHEN a THEN b else'a\\' || 's3cret' END", "CASE WHEN a THEN b else'…' || '…' END"),
            ("SELECT e'a\\'s3cret', U&'s3cret'", "SELECT e'…', U&'…'"),
            ("SELECT 1 WHERE key = 's3cr", "SELECT 1 WHERE key = '…'"),
            ("SELECT a / b - c", "SELECT a / b - c"),
            ("", ""),
        ] {
            assert_eq!(without_literals(statement), recorded, "{statement}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_tells_what_stands_in_a_literal(
            before in "[a-z =\\$/\"*-]{0,12}", inside in "[a-z]{8}", any in any::<String>()
        ) {
            without_literals(&any);
            let plain = !before.contains(['$', '"', '/', '-']) && !before.ends_with('e');
            let recorded = without_literals(&format!("{before}'{inside}'"));
            prop_assert!(!plain || !recorded.contains(&inside) || before.contains(&inside), "{recorded}");
        }
    }
}
