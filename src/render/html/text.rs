//! Text that others wrote: bounded, and nothing in it acts. Escaping for HTML is maud's.

/// Characters of a name: a route, a folder, a title.
pub(super) const NAME_MAX: usize = 200;
/// Characters of an error's text.
pub(super) const ERROR_MAX: usize = 1_000;
/// Characters of a scenario.
pub(super) const SCENARIO_MAX: usize = 60_000;

/// The text with its control characters made visible, at most `max` characters of it; what is left out is stated.
pub(super) fn plain(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    let mut characters = text.chars();
    shown.extend(characters.by_ref().take(max).map(visible));
    // Counting to the end reads all of a long text once, and keeps none of it.
    let left_out = characters.count();
    if left_out > 0 {
        shown.extend([" … (", &left_out.to_string(), " more characters)"]);
    }
    shown
}

/// Controls as their pictures; what turns or hides text (bidirectional controls, zero-width characters) as a box. Lines
/// and tabs are kept.
fn visible(character: char) -> char {
    match character {
        '\n' | '\t' => character,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_become_visible_and_do_nothing() {
        assert_eq!(plain("\u{1b}[31mred\u{7f}\u{202e}\u{61c}\u{e0041}", 99), "␛[31mred␡\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(plain("two\nlines\tand a tab", 99), "two\nlines\tand a tab");
    }

    #[test]
    fn what_is_left_out_is_stated() {
        assert_eq!(plain(&"x".repeat(10_000_000), 3), "xxx … (9999997 more characters)");
        assert_eq!(plain("äöü", 3), "äöü");
    }

    proptest! {
        #[test]
        fn no_control_character_is_left_and_nothing_is_unbounded(text in any::<String>(), max in 0..50usize) {
            let shown = plain(&text, max);
            prop_assert!(shown.chars().all(|it| !it.is_control() || it == '\n' || it == '\t'));
            prop_assert!(shown.chars().count() <= max + 40);
        }
    }
}
