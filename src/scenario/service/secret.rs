//! Secrets, recognised by their names or by their form.

use super::route::holes;
use super::todo::MARK;
use crate::scenario::check::Problems;
use crate::scenario::key::KeyPath;

/// Words in the names of secrets.
const SECRET_WORDS: [&str; 8] =
    ["SECRET", "TOKEN", "PASSW", "APIKEY", "API_KEY", "CREDENTIAL", "PRIVATE_KEY", "ACCESS_KEY"];

/// True if something of this name, a variable, a key or a header, holds a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let plain = name.to_ascii_uppercase().replace('-', "_");
    // The shell's own are folders.
    if matches!(name, "PWD" | "OLDPWD") {
        return false;
    }
    let is_part = plain.split(['_', '.']).any(|part| matches!(part, "PWD" | "PASS" | "PASSPHRASE"));
    is_part || plain.ends_with("PWD") || SECRET_WORDS.iter().any(|word| plain.contains(word))
}

/// True if a text is a JSON Web Token, whatever it is called: two parts of an object in base64, and a signature.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let mut parts = text.trim().trim_start_matches("Bearer ").split('.');
    let (Some(head), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_base64 = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '='));
    head.starts_with("eyJ") && claims.len() >= 2 && [head, claims, signature].into_iter().all(is_base64)
}

/// True if this is a secret by its name, and written out.
pub(super) fn holds_secret(name: &str, value: &str) -> bool {
    is_secret_name(name) && is_literal(value) && !is_count(name, value) || is_token(value)
}

/// True if it counts the tokens of a language model: `max_tokens = 256`.
fn is_count(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.ends_with("tokens") || name.ends_with("token_limit")) && value.chars().all(|it| it.is_ascii_digit())
}

/// A text that is sent as it stands; what is still to be stated is not sent.
fn is_literal(text: &str) -> bool {
    !text.is_empty() && holes(text).next().is_none() && !text.trim_start().starts_with(MARK)
}

/// Advice in place of a secret, by the name of its key.
pub(super) type Cure<'a> = &'a dyn Fn(&str) -> String;

/// `secret`: whether a key on the way here says so.
pub(super) fn collect(key: &KeyPath, value: &serde_json::Value, secret: bool, cure: Cure<'_>, found: &mut Problems) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            map.iter()
                .for_each(|(name, it)| collect(&key.child(name), it, secret || is_secret_name(name), cure, found));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, it)| collect(&key.item(index), it, secret, cure, found));
        }
        Value::String(text) if secret && is_literal(text) || is_token(text) => refuse(key, &cure(key.last()), found),
        Value::Number(number) if secret && !is_count(key.last(), &number.to_string()) => {
            refuse(key, &cure(key.last()), found);
        }
        _ => {}
    }
}

/// The value is not repeated.
pub(super) fn refuse(key: &KeyPath, cure: &str, found: &mut Problems) {
    let names: Vec<&str> = key.names().iter().map(String::as_str).collect();
    found.error(&names, format!("holds a secret, which would be in every copy of the scenario: {cure}"));
}

/// Names a path whose query holds a secret: it is written out in every request, and in every copy of the scenario.
pub(super) fn check_query(key: &[&str], path: Option<&str>, found: &mut Problems) {
    let Some((_, query)) = path.and_then(|path| path.split_once('?')) else { return };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    if pairs.into_iter().any(|(name, value)| holds_secret(name, value)) {
        let cure = "use a path without credentials";
        refuse(&KeyPath::of(key.iter().copied()), cure, found);
    }
}

/// Finds words of a command that hold a secret: `--password X`, `--api-key=X`, `TOKEN=X`; but no name of a file with one.
pub(super) fn in_words(words: &[String]) -> Option<String> {
    let is_flag = |name: &str| {
        let plain = name.to_ascii_lowercase();
        is_secret_name(name) && !["file", "path", "env", "name"].iter().any(|end| plain.ends_with(end))
    };
    // A shell's script is one word with blanks in it.
    let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    words.iter().enumerate().find_map(|(index, word)| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (*word, words.get(index + 1).filter(|_| word.starts_with('-')).copied()),
        };
        // `$PASSWORD` is a shell's name of a variable: the secret stays outside.
        let written = value.is_some_and(|value| !value.is_empty() && !value.starts_with(['-', '$']));
        let secret = is_flag(name) && written && !value.is_some_and(|value| is_count(name, value));
        (secret || value.is_some_and(is_token))
            .then(|| name.trim_start_matches('-').to_ascii_uppercase().replace('-', "_"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_and_tokens_by_their_form() {
        for name in [
            "APP_PWD",
            "pwd",
            "DB_PASS",
            "pass",
            "SSH_PRIVATE_KEY",
            "db-password",
            "ACCESS_TOKEN",
            "x-api-key",
            "clientSecret",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["PWD", "OLDPWD", "PORT", "keyword", "passenger", "bypass", "compass"] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(is_token("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"));
        assert!(is_token("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"));
        for text in ["", "eyJ", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", "a.b.c", "1.2.3", "eyJa.b c.d"] {
            assert!(!is_token(text), "{text}");
        }
    }

    #[test]
    fn words_of_a_command_that_hold_a_secret_are_named_by_a_variable_for_it() {
        let words = |words: &[&str]| in_words(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["serve", "--db-password", "x"]).as_deref(), Some("DB_PASSWORD"));
        assert_eq!(words(&["serve", "--api-key=x"]).as_deref(), Some("API_KEY"));
        assert_eq!(words(&["env", "TOKEN=x", "serve"]).as_deref(), Some("TOKEN"));
        assert_eq!(words(&["sh", "-c", "exec serve --password x"]).as_deref(), Some("PASSWORD"));
        for fine in [
            &["serve", "--password-file", "/run/secret"][..],
            &["serve", "--token", "--verbose"],
            &["password", "x"],
            &["sh", "-c", "exec serve --password $DB_PASSWORD"],
            &["serve", "--max-tokens", "512"],
            &["serve", "--max-tokens=512"],
        ] {
            assert_eq!(words(fine), None, "{fine:?}");
        }
    }
}
