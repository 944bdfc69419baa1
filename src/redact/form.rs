//! Finds secrets by their form: passwords in URLs, bearer tokens, JSON Web Tokens.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

/// Forms, in each of which the first group is the secret.
pub(super) struct Forms(LazyLock<Vec<Regex>>);

/// A password in a URL, up to the last `@` before its path.
const IN_URL: &str = r"(?-u)[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#]*:([^\s/]+)@";

/// The same of a word of a command line, whose password may hold a `/` that is not encoded.
const IN_URL_OF_ARGUMENT: &str = r"(?-u)[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#]*:(\S+)@";

/// A token that the service issued at a login, so that it was unknown before.
const BEARER: &str = r"(?i-u)\bbearer +([\w.~+/=-]{8,})";

/// A JSON Web Token, wherever it stands.
const JWT: &str = r"(?-u)\b(eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)";

/// A parameter, a variable or a key that is called a secret, and its value up to where a word ends.
const CALLED_SECRET: &str = r#"(?i-u)[\w.-]*(?:secret|token|passw|pwd|api[_-]?key|apikey|credential)[\w.-]*["']?\s*[=:]\s*["']?([^\s"'`&;,{][^\s"'`&;,]*)"#;

/// A value of the environment that a command gets: whatever it is called.
const OF_ENVIRONMENT: &str = r#"(?-u)\benv\.[\w-]+\s*=\s*["']?([^\s"'`]+)"#;

pub(super) static IN_TEXT: Forms = Forms(LazyLock::new(|| compiled(&[IN_URL, BEARER, JWT])));

/// Nowhere.
pub(super) static NONE: Forms = Forms(LazyLock::new(Vec::new));

/// In words of a command line, and in what repeats them.
pub(super) static IN_ARGUMENTS: Forms =
    Forms(LazyLock::new(|| compiled(&[IN_URL_OF_ARGUMENT, BEARER, JWT, CALLED_SECRET, OF_ENVIRONMENT])));

static PASSWORDS: Forms = Forms(LazyLock::new(|| compiled(&[IN_URL_OF_ARGUMENT])));

/// Places of passwords in URLs.
pub(super) fn passwords_of_urls(text: &[u8]) -> Vec<Range<usize>> {
    PASSWORDS.find(text)
}

fn compiled(forms: &[&str]) -> Vec<Regex> {
    forms.iter().map(|form| Regex::new(form).expect("it is written here")).collect()
}

impl Forms {
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let all = self.0.iter().flat_map(|form| form.captures_iter(text));
        all.filter_map(|it| it.get(1).map(|secret| secret.range())).collect()
    }
}
