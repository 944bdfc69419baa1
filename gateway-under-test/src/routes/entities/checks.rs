//! What a text may be, where a length or a pattern does not say it.

#![expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "garde calls them so")]

/// Addresses longer than this are refused, in bytes: the width of their column.
pub(super) const LONGEST_ADDRESS: usize = 767;

/// One of these words.
pub(super) fn one_of(allowed: &'static [&'static str]) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |value, ()| match value {
        Some(value) if !allowed.contains(&value.as_str()) => {
            Err(garde::Error::new(format!("not one of {}", allowed.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Nothing that a page, a terminal or a log could take for something else.
pub(super) fn plain(value: &Option<String>, context: &()) -> garde::Result {
    printable(value, context)?;
    let text = value.as_deref().unwrap_or_default();
    if text.contains(['<', '>', '"', '\'', '&', '`']) || text.trim() != text {
        return Err(garde::Error::new("quotes, `<`, `>`, `&`, and space around it are not allowed"));
    }
    Ok(())
}

/// No control characters.
pub(super) fn printable(value: &Option<String>, (): &()) -> garde::Result {
    if value.as_deref().is_some_and(|text| text.contains(char::is_control)) {
        return Err(garde::Error::new("control characters are not allowed"));
    }
    Ok(())
}

/// An address on the web.
pub(super) fn web_address(value: &Option<String>, (): &()) -> garde::Result {
    let Some(address) = value else { return Ok(()) };
    let parsed = reqwest::Url::parse(address).map_err(|error| garde::Error::new(error.to_string()))?;
    if address.len() > LONGEST_ADDRESS {
        return Err(garde::Error::new(format!("longer than {LONGEST_ADDRESS} bytes")));
    }
    if !["http", "https", "ws", "wss"].contains(&parsed.scheme()) {
        return Err(garde::Error::new("not an http, https, ws or wss address"));
    }
    Ok(())
}

/// A name as an address has it: `Team Nr. 1` is `team-nr-1`.
pub(crate) fn slug(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_lower_case_words() {
        assert_eq!(slug("Team Nr. 1"), "team-nr-1");
        assert_eq!(slug("--"), "");
    }

    #[test]
    fn an_address_is_one_of_the_web() {
        let check = |text: &str| web_address(&Some(text.to_owned()), &()).is_ok();
        assert!(check("http://127.0.0.1:9/a?b") && check("wss://example.com"));
        assert!(!check("ftp://example.com") && !check("/tools") && !check(&format!("http://a/{}", "x".repeat(800))));
        assert!(web_address(&None, &()).is_ok());
    }
}
