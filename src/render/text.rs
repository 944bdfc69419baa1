//! Text of others, made harmless.
//!
//! Error bodies, route names, `application_name`s, a scenario's notes: whatever came from outside passes through here
//! before it reaches a terminal, markdown, or a line that a CI system reads commands from.

use std::fmt::Write;

/// More characters than this of one text tell nobody anything; the whole is in the record.
const LONGEST: usize = 2_000;

/// One line of text for a terminal: control characters and those that turn the direction of writing are written out,
/// line breaks too, and a very long text is cut.
///
/// Beginnings of GitHub's older commands (`##[`) are broken up: they are obeyed anywhere in a line.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().min(LONGEST));
    for (index, c) in text.chars().enumerate() {
        if index == LONGEST {
            safe.push('…');
            break;
        }
        match c {
            c if is_unsafe(c) => safe.extend(c.escape_default()),
            '[' if safe.ends_with("##") => safe.push_str("\\["),
            c => safe.push(c),
        }
    }
    safe
}

/// True if a character does something other than to be seen: control characters, separators of lines, marks that turn the
/// direction of writing or take no place, and what is no character at all.
pub(super) fn is_unsafe(c: char) -> bool {
    // XML has no place for the last two characters of each plane.
    let is_no_character = u32::from(c) & 0xfffe == 0xfffe;
    c.is_control()
        || is_no_character
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text in markdown, also in a cell of a table: whatever could be markup, HTML, a link or a mention is written as a
/// character reference, which GitHub and GitLab show as the character and never interpret.
#[must_use]
pub fn markdown(text: &str) -> String {
    let mut safe = String::new();
    for c in plain(text).chars() {
        if c.is_ascii_punctuation() && !matches!(c, ',' | '.' | ';' | '%' | '/' | '?' | '=' | '-' | '+') {
            // Writing to a `String` cannot fail.
            let _ = write!(safe, "&#{};", u32::from(c));
        } else if c == '.' && ends_with_www(&safe) {
            // GitHub makes a link of it without any markup.
            safe.push_str("&#46;");
        } else {
            safe.push(c);
        }
    }
    // A dot or a sign begins a list only at the start of a line.
    if safe.starts_with(['-', '+', '=']) || safe.starts_with(|c: char| c.is_ascii_digit()) {
        safe.insert_str(0, "&#8203;");
    }
    safe
}

fn ends_with_www(text: &str) -> bool {
    text.len().checked_sub(3).and_then(|from| text.get(from..)).is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

/// The message of a GitHub workflow command. `plain` has taken the line breaks; the per cent sign is what is left.
#[must_use]
pub fn annotation(text: &str) -> String {
    plain(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a GitHub workflow command, such as its title.
#[must_use]
pub fn annotation_property(text: &str) -> String {
    annotation(text).replace(':', "%3A").replace(',', "%2C")
}

/// A word for a POSIX shell, quoted where it needs it.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '=' | ':' | ',' | '+' | '@');
    if !word.is_empty() && word.chars().all(harmless) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_and_line_breaks_are_written_out() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\r\nnext\u{9b}2J"), "\\u{1b}[31mred\\u{1b}[0m\\r\\nnext\\u{9b}2J");
        assert_eq!(plain("a\u{61c}b"), "a\\u{61c}b");
        assert_eq!(plain("\u{fffe}\u{ffff}\u{1ffff}\u{fffd}"), "\\u{fffe}\\u{ffff}\\u{1ffff}\u{fffd}");
        assert_eq!(plain("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(plain("QueuePool limit of size 20 – × ÷ é"), "QueuePool limit of size 20 – × ÷ é");
        assert_eq!(plain("x ##[error]y"), "x ##\\[error]y");
    }

    #[test]
    fn ten_megabytes_are_cut() {
        assert_eq!(plain(&"é".repeat(5_000_000)).chars().count(), LONGEST + 1);
        assert_eq!(markdown(&"<".repeat(5_000_000)).len(), "&#60;".len() * LONGEST + "…".len());
    }

    #[test]
    fn markup_is_shown_and_not_obeyed() {
        assert_eq!(markdown("<script>"), "&#60;script&#62;");
        assert_eq!(markdown("a|b `c` [d](e) @f #1"), "a&#124;b &#96;c&#96; &#91;d&#93;&#40;e&#41; &#64;f &#35;1");
        assert_eq!(markdown("www.x.y Www.z"), "www&#46;x.y Www&#46;z");
        assert_eq!(markdown("https://x.y"), "https&#58;//x.y");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["plain", "a b", "it's", "$(reboot)", "", "x;y", "`z`", "idle_in_transaction.max<60"] {
            let echo = format!("printf %s {}", shell_word(word));
            let output = std::process::Command::new("sh").args(["-c", &echo]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    proptest! {
        #[test]
        fn no_text_moves_the_cursor_or_breaks_the_line(text in any::<String>()) {
            prop_assert!(!plain(&text).chars().any(is_unsafe));
            prop_assert!(!plain(&text).contains("##["));
        }

        #[test]
        fn no_text_is_markup(text in any::<String>()) {
            let safe = markdown(&text);
            prop_assert!(!safe.contains(['<', '>', '|', '`', '*', '_', '[', ']', '@', '~', '\\', '!', ':', '\n', '\r']), "{}", safe);
            // Every ampersand and number sign is our own.
            for rest in safe.split('&').skip(1) {
                prop_assert!(rest.starts_with('#'), "{}", safe);
            }
            prop_assert_eq!(safe.matches('#').count(), safe.matches("&#").count());
        }

        #[test]
        fn no_text_begins_or_ends_a_command(text in any::<String>()) {
            let safe = annotation_property(&text);
            prop_assert!(!safe.contains([':', ',', '\n', '\r']), "{}", safe);
            prop_assert!(!annotation(&text).contains(['\n', '\r']));
        }
    }
}
