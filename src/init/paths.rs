//! Paths as they were asked for, and the templates behind them.

use percent_encoding::percent_decode_str;

/// Files that are served as they are, by the end of their name.
const STATIC_ENDINGS: [&str; 24] = [
    "css",
    "js",
    "mjs",
    "map",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "ico",
    "webp",
    "avif",
    "woff",
    "woff2",
    "ttf",
    "otf",
    "eot",
    "mp3",
    "mp4",
    "webm",
    "txt",
    "webmanifest",
    "wasm",
    "br",
];

/// Folders of such files, at the root.
const STATIC_FOLDERS: [&str; 4] = ["static", "assets", "_next", "favicon.ico"];

/// Last words of a path whose `GET` does something: asking for it would end a session, or lose data.
const ACTS: [&str; 8] = ["logout", "signout", "sign-out", "log-out", "delete", "remove", "reset", "unsubscribe"];

/// Last words of paths that tell the service's health.
const HEALTH: [&str; 8] = ["health", "healthz", "health-check", "healthcheck", "readyz", "ready", "livez", "alive"];

/// True if the path is the one that is asked whether the service is well.
pub(super) fn tells_health(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    HEALTH.contains(&last.as_str()) && !path.contains('{')
}

/// True if the last word of the path is a deed.
pub(super) fn says_that_it_acts(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    ACTS.contains(&last.as_str())
}

/// A path with holes, and what stood in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// `/users/{id}/orders/{id2}`.
    pub(super) template: String,
    /// The values of `id`, `id2`, …, decoded.
    pub(super) values: Vec<String>,
}

/// Finds the segments that look like ids.
pub(super) fn split(path: &str) -> Split {
    let mut values = Vec::new();
    let segments = path.split('/').map(|segment| {
        let decoded = percent_decode_str(segment).decode_utf8_lossy().into_owned();
        if !looks_like_id(&decoded) && !looks_secret(&decoded) {
            return literal(segment);
        }
        values.push(decoded);
        format!("{{{}}}", hole(values.len()))
    });
    let template = segments.collect::<Vec<_>>().join("/");
    Split { template, values }
}

/// The name of the hole of this number, from 1.
pub(super) fn hole(number: usize) -> String {
    if number == 1 { "id".to_owned() } else { format!("id{number}") }
}

/// A segment as it stands in a template: braces there are holes, so others are encoded.
fn literal(segment: &str) -> String {
    segment.replace('{', "%7B").replace('}', "%7D")
}

/// Shape of a part of a path: how surely it is an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An id, wherever it stands.
    Id,
    /// One where another such stands at the same place: `org_42`, `user-123`, `AB-1042`.
    Likely,
    /// One where several such stand: `k5`, `Mx9`.
    Short,
    /// One where others that are short stand beside it: `lejRej`, which may be a name in camel case.
    Weak,
    Word,
}

/// The shape of a part of a path.
pub(super) fn shape(segment: &str) -> Shape {
    if looks_like_id(segment) {
        return Shape::Id;
    }
    let has = |is: fn(char) -> bool| segment.contains(is);
    let (figure, lower, upper) =
        (has(|c| c.is_ascii_digit()), has(|c| c.is_ascii_lowercase()), has(|c| c.is_ascii_uppercase()));
    let is_version =
        segment.strip_prefix(['v', 'V']).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'));
    if !segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) || is_version {
        return Shape::Word;
    }
    // A name and a number: of a ticket, of an organisation, of a thing with a slug.
    let numbered = segment.rsplit_once(['-', '_']).is_some_and(|(name, number)| {
        name.contains(|c: char| c.is_ascii_alphabetic())
            && !number.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
    });
    if numbered {
        return Shape::Likely;
    }
    if segment.contains(['-', '_']) || segment.len() > 12 {
        return Shape::Word;
    }
    let is_camel =
        upper && lower && !figure && segment.split(|c: char| c.is_ascii_uppercase()).all(|part| part.len() != 1);
    match (figure && (lower || upper), upper && lower) {
        (true, _) => Shape::Short,
        // `Orders` and `listOrders` are names.
        (false, true) if segment[1..].contains(|c: char| c.is_ascii_uppercase()) => {
            if is_camel && segment.len() > 3 {
                Shape::Weak
            } else {
                Shape::Short
            }
        }
        _ => Shape::Word,
    }
}

/// A number, a UUID, a ULID, a cuid, a KSUID, a `TypeID`, an id behind its prefix (`cus_NffrFeUfNV2Hib`), an encoded one of Relay's, a date, an
/// e-mail address, or at least eight hexadecimal digits, one of which is a figure.
pub(super) fn looks_like_id(segment: &str) -> bool {
    let all = |is: fn(&char) -> bool| !segment.is_empty() && segment.chars().all(|c| is(&c));
    let figures = segment.chars().filter(char::is_ascii_digit).count();
    let hex = all(char::is_ascii_hexdigit) && figures > 0 && segment.len() >= 8;
    let lower = all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let cuid = lower
        && figures >= 3
        && ((segment.len() == 25 && segment.starts_with('c'))
            || (segment.len() == 24 && segment.starts_with(|c: char| c.is_ascii_lowercase())));
    let ksuid = segment.len() == 27 && all(char::is_ascii_alphanumeric) && figures > 0 && is_mixed(segment);
    all(char::is_ascii_digit)
        || hex
        || is_crockford(segment)
        || cuid
        || ksuid
        || is_prefixed(segment)
        || is_relay(segment)
        || is_uuid(segment)
        || is_date(segment)
        || is_email(segment)
}

fn is_mixed(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_lowercase()) && text.contains(|c: char| c.is_ascii_uppercase())
}

/// 26 of Crockford's digits, in one case: a ULID.
fn is_crockford(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_alphanumeric() && !"iloILOuU".contains(c);
    text.len() == 26
        && text.starts_with(|c: char| ('0'..='7').contains(&c))
        && text.chars().all(is_digit)
        && text.contains(|c: char| c.is_ascii_digit())
        && !is_mixed(text)
}

/// `cus_NffrFeUfNV2Hib`, `user_01h2xcejqtf2nbrexx3vqjhp41`: a short prefix, and what is no word.
fn is_prefixed(segment: &str) -> bool {
    let Some((prefix, id)) = segment.rsplit_once('_') else { return false };
    let is_prefix = (1..=20).contains(&prefix.len()) && prefix.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let figures = id.chars().filter(char::is_ascii_digit).count();
    let is_id = id.len() >= 8
        && id.chars().all(|c| c.is_ascii_alphanumeric())
        && (figures >= 2 || (figures > 0 && is_mixed(id)) || is_scattered(id));
    is_prefix && is_id
}

/// Capitals in the middle of what is no name in camel case.
fn is_scattered(text: &str) -> bool {
    let runs = text.split(|c: char| c.is_ascii_lowercase()).filter(|run| run.len() >= 2).count();
    is_mixed(text) && runs >= 1
}

/// Relay encodes `User:1` in base64.
fn is_relay(segment: &str) -> bool {
    use base64::Engine;
    let plain = segment.trim_end_matches('=');
    let Ok(bytes) = base64::engine::general_purpose::STANDARD_NO_PAD.decode(plain) else { return false };
    let Ok(text) = String::from_utf8(bytes) else { return false };
    let Some((kind, id)) = text.split_once(':') else { return false };
    plain.len() >= 6
        && !kind.is_empty()
        && kind.chars().all(|c| c.is_ascii_alphabetic())
        && !id.is_empty()
        && !id.contains(char::is_control)
}

/// A person's: it is never copied.
pub(super) fn is_email(segment: &str) -> bool {
    segment.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}

fn is_uuid(segment: &str) -> bool {
    let groups: Vec<&str> = segment.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

fn is_date(segment: &str) -> bool {
    let groups: Vec<&str> = segment.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    (lengths == [4, 2, 2] || lengths == [4, 2]) && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_digit()))
}

/// A long mixture of figures and letters, such as the token of a link that was mailed.
pub(super) fn looks_secret(segment: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+' | '~');
    let mixed = segment.contains(|c: char| c.is_ascii_digit())
        && segment.contains(|c: char| c.is_ascii_lowercase())
        && segment.contains(|c: char| c.is_ascii_uppercase());
    segment.len() >= 20 && segment.chars().all(letters) && mixed && !is_uuid(segment) && !looks_like_id(segment)
}

/// True if a parameter of this name holds a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 13] = [
        "token",
        "secret",
        "passw",
        "apikey",
        "api_key",
        "api-key",
        "signature",
        "session",
        "credential",
        "jwt",
        "auth",
        "otp",
        "pwd",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word)) || ["key", "sig", "code", "sid"].contains(&name.as_str())
}

/// True if the path is of a file that is served as it is: no route of a service.
pub(super) fn is_static(path: &str) -> bool {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let first = segments.clone().next().unwrap_or_default();
    let last = segments.next_back().unwrap_or_default();
    let ending = last.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    STATIC_FOLDERS.contains(&first) || ending.is_some_and(|ending| STATIC_ENDINGS.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_id_becomes_a_hole() {
        for (path, template, values) in [
            ("/users/7/orders/1234", "/users/{id}/orders/{id2}", &["7", "1234"][..]),
            ("/a/550e8400-e29b-41d4-a716-446655440000", "/a/{id}", &["550e8400-e29b-41d4-a716-446655440000"]),
            ("/commit/deadbeef0", "/commit/{id}", &["deadbeef0"]),
            ("/day/2026-11-25/", "/day/{id}/", &["2026-11-25"]),
            ("/x/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/x/{id}", &["01ARZ3NDEKTSV4RRFFQ69G5FAV"]),
            ("/v1/facade/deadbeef", "/v1/facade/deadbeef", &[]),
            ("/a%20b/%37", "/a%20b/{id}", &["7"]),
            ("/{weird}", "/%7Bweird%7D", &[]),
            ("/", "/", &[]),
        ] {
            let split = split(path);
            assert_eq!(
                (split.template.as_str(), split.values.as_slice().to_vec()),
                (template, values.iter().map(ToString::to_string).collect::<Vec<_>>())
            );
        }
    }

    #[test]
    fn secrets_and_static_files_are_recognised() {
        assert!(looks_secret("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0"));
        assert!(!looks_secret("an-article-with-a-long-name-2"));
        for name in ["access_token", "X-Api-Key", "password", "sig", "key"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["q", "page", "keyword", "sort"] {
            assert!(!is_secret_name(name), "{name}");
        }
        for path in ["/static/x", "/app.JS", "/favicon.ico", "/img/a.png"] {
            assert!(is_static(path), "{path}");
        }
        for path in ["/", "/report.pdf", "/v1.2/users", "/statics"] {
            assert!(!is_static(path), "{path}");
        }
    }
}
