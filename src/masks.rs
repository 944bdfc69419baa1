//! Secrets that nobody is told.

use aho_corasick::AhoCorasick;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_repeated_of_secrets_is_masked_the_longer_first() {
        let masks = Masks::of(&["abcd".to_owned(), "abcdef".to_owned()]);
        assert_eq!(masks.mask("no abcdef, no abcd!".to_owned()), "no …, no …!");
        assert_eq!(Masks::of(&[]).mask("abcd".to_owned()), "abcd");
    }
}
