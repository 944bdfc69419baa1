//! A database URL, in either of libpq's forms: what it says of TLS, and the rest, for the driver to read.

use percent_encoding::percent_decode_str;

use super::error::UrlError;
use super::spelling::{self, Meaning};

/// TLS options of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsOptions {
    pub(super) mode: Option<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

impl TlsOptions {
    /// Takes an option, if it is one of these.
    fn take(&mut self, name: &str, value: &str) -> bool {
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => return false,
        };
        *place = Some(value.to_owned()).filter(|value| !value.is_empty());
        true
    }
}

/// The URL without what it says of TLS, and that.
pub(super) fn split(text: &str) -> Result<(String, TlsOptions), UrlError> {
    let text = text.trim().trim_matches(['"', '\'']);
    match spelling::rest_of_url(text)? {
        Some(rest) => split_url(&rest),
        None => split_words(text),
    }
}

/// `rest` is what follows `scheme://`.
fn split_url(rest: &str) -> Result<(String, TlsOptions), UrlError> {
    let mut options = TlsOptions::default();
    let (base, query) = spelling::base_and_query(rest);
    let mut others: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match spelling::meaning(name, &percent_decode_str(value).decode_utf8_lossy())? {
            Meaning::Tls(name, value) => _ = options.take(name, &value),
            // The driver looks for the `@` that ends a name and a password.
            Meaning::Kept => others.push(pair.replace('@', "%40")),
            Meaning::OfNobody => {}
        }
    }
    let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    Ok((format!("postgresql://{}{query}", spelling::escaped(base)), options))
}

/// `key=value` pairs; a value may stand in single quotes, and `\` takes the next character as it is.
fn split_words(text: &str) -> Result<(String, TlsOptions), UrlError> {
    let mut options = TlsOptions::default();
    let mut others = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let unreadable = || UrlError::Unreadable("it is neither a URL nor a list of key=value".to_owned());
        let (name, after) = rest.split_once('=').ok_or_else(unreadable)?;
        let after = after.trim_start();
        let (value, length) = word(after).ok_or_else(unreadable)?;
        if !options.take(name.trim(), &value) {
            others.extend([name.trim(), " = ", &after[..length], " "]);
        }
        rest = after[length..].trim_start();
    }
    Ok((others.trim_end().to_owned(), options))
}

/// A value, and how many bytes it takes as it is written.
fn word(text: &str) -> Option<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?.1),
            '\'' if quoted => return Some((value, at + 1)),
            letter if !quoted && letter.is_whitespace() => return Some((value, at)),
            letter => value.push(letter),
        }
    }
    (!quoted).then_some((value, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> (String, [String; 4]) {
        let (rest, TlsOptions { mode, root, certificate, key }) = split(text).unwrap();
        (rest, [mode, root, certificate, key].map(Option::unwrap_or_default))
    }

    #[test]
    fn what_is_stated_of_tls_is_taken_out_of_either_form() {
        let (rest, tls) = options(
            "postgresql+asyncpg://a:b@h:5433/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fa%20b%2Fca.pem",
        );
        assert_eq!(rest, "postgresql://a:b@h:5433/d?application_name=x");
        assert_eq!(tls, ["verify-full", "/a b/ca.pem", "", ""]);
        let (rest, tls) = options(r"host=h sslmode = require password='it\'s = a' sslcert=/c sslkey='/k e y' user=me");
        assert_eq!(rest, r"host = h password = 'it\'s = a' user = me");
        assert_eq!(tls, ["require", "", "/c", "/k e y"]);
        assert_eq!(options("postgres://h").0, "postgresql://h");
    }

    #[test]
    fn nonsense_is_refused_and_not_repeated() {
        for text in ["s3cret", "host='s3cret", "host=a s3cret", r"password=s3cret\"] {
            assert!(!split(text).unwrap_err().to_string().contains("s3cret"), "{text}");
        }
    }
}
