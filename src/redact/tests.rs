use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cr3t/Pa55 w&rd=42";

fn redactor() -> Redactor {
    Redactor::of(&[SECRET.to_owned()])
}

type Encode = fn(&str) -> String;

/// The ways to write a text, of which none may tell it.
fn encodings() -> Vec<(&'static str, Encode)> {
    fn each(text: &str, write: impl Fn(u8) -> String) -> String {
        text.bytes().map(write).collect()
    }
    fn percent(text: &str) -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    }
    fn json(text: &str) -> String {
        serde_json::Value::from(text).to_string().trim_matches('"').to_owned()
    }
    fn html(text: &str) -> String {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;")
    }
    vec![
        ("plain", str::to_owned),
        ("percent", percent),
        ("percent, lower case", |text| percent(text).to_lowercase().replace("pa55", "Pa55")),
        ("percent, each byte", |text| each(text, |byte| format!("%{byte:02x}"))),
        ("percent, twice", |text| percent(&percent(text))),
        ("form", |text| percent(text).replace("%20", "+")),
        ("json", json),
        ("json, twice", |text| json(&json(text))),
        ("json, slashes escaped", |text| text.replace('/', "\\/")),
        ("json, each character", |text| each(text, |byte| format!("\\u{byte:04x}"))),
        ("json, each character, upper case", |text| each(text, |byte| format!("\\u{byte:04X}"))),
        ("hex escapes", |text| each(text, |byte| format!("\\x{byte:02x}"))),
        ("html", html),
        ("html, decimal", |text| each(text, |byte| format!("&#{byte};"))),
        ("html, hexadecimal", |text| each(text, |byte| format!("&#x{byte:x};"))),
        ("html in json", |text| json(&html(text))),
        ("percent in json, each character", |text| each(&percent(text), |byte| format!("\\u{byte:04x}"))),
        ("base64", |text| STANDARD.encode(text)),
        ("base64 for URLs", |text| URL_SAFE_NO_PAD.encode(text)),
        ("base64 behind a name", |text| STANDARD.encode(format!("user:{text}"))),
        ("base64 within more", |text| STANDARD.encode(format!("a={text}&b=c"))),
        ("hex", |text| each(text, |byte| format!("{byte:02x}"))),
        ("hex, upper case with a prefix", |text| format!("0x{}", each(text, |byte| format!("{byte:02X}")))),
        ("base64 over lines", |text| {
            let encoded = STANDARD.encode(format!("{text}{text}"));
            encoded.as_bytes().chunks(20).map(|it| String::from_utf8_lossy(it) + "\r\n").collect()
        }),
        ("over lines", |text| format!("{}\n    {}\n  {}", &text[..5], &text[5..11], &text[11..])),
    ]
}

#[test]
fn a_secret_is_redacted_however_it_is_written_and_whatever_is_around_it() {
    type Around = fn(&str) -> String;
    let places: [Around; 5] = [
        str::to_owned,
        |it| format!("{{\"error\":\"wrong: {it}\",\"n\":1}}"),
        |it| format!("https://host/path?q={it}&r=s"),
        |it| format!("<p>{it}</p>"),
        |it| format!("postgresql%3A%2F%2Fapp%3A{it}%40host"),
    ];
    let redactor = redactor();
    for (name, encode) in encodings() {
        let written = encode(SECRET);
        for place in places {
            let text = place(&written);
            let redacted = redactor.redact(text.clone());
            assert!(!redacted.contains(&written), "{name}: {text} became {redacted}");
            assert!(redacted.contains(REDACTED), "{name}: {text} became {redacted}");
            // A piece of it that is long enough to be of use.
            for piece in written.as_bytes().chunks(12).filter(|piece| piece.len() == 12) {
                let piece = String::from_utf8_lossy(piece);
                assert!(!redacted.contains(&*piece), "{name}: {text} became {redacted}");
            }
        }
    }
}

#[test]
fn what_is_cut_off_at_an_end_is_redacted_and_known_to_be_unfinished() {
    let redactor = redactor();
    assert_eq!(redactor.redact_cut("using s3cr3t/Pa55".to_owned()), "using …");
    assert_eq!(redactor.redact_cut("Pa55 w&rd=42 was used".to_owned()), "… was used");
    assert_eq!(redactor.redact("using s3cr3t/Pa55".to_owned()), "using s3cr3t/Pa55", "a whole text");
    assert!(redactor.ends_within_secret("using s3cr3t%2FPa"));
    assert!(!redactor.ends_within_secret(SECRET) && !redactor.ends_within_secret("using s3"));
    assert_eq!(redactor.redact_cut("using s3cr".to_owned()), "using s3cr", "too little to be of use");
    assert_eq!(redactor.redact_cut("in the middle s3cr3t of it".to_owned()), "in the middle s3cr3t of it");
}

#[test]
fn an_escape_that_is_cut_off_hides_no_beginning() {
    let redactor = redactor();
    for (text, redacted) in [
        ("using s3cr3t%2FPa%3", "using …"),
        ("using s3cr3t\\/Pa\\u00", "using …"),
        ("using s3cr3t&#47;Pa&#x3", "using …"),
        ("nothing of it 100%", "nothing of it 100%"),
    ] {
        assert_eq!(redactor.redact_cut(text.to_owned()), redacted);
    }
}

#[test]
fn a_password_that_is_a_word_is_no_secret_of_the_process() {
    for word in ["postgres", "test", "user", "verdict", "ADMIN"] {
        assert!(is_word(word), "{word}");
    }
    for secret in ["hunter22", "Postgres", "correcthorsebattery", "s3cret", "pass-word"] {
        assert!(!is_word(secret), "{secret}");
    }
}

#[test]
fn of_two_secrets_that_begin_alike_the_longer_one_goes_whole() {
    let redactor = Redactor::of(&["abcd".to_owned(), "abcdef".to_owned()]);
    assert_eq!(redactor.redact("no abcdef, no abcd!".to_owned()), "no …, no …!");
    assert_eq!(Redactor::of(&[]).redact("abcd".to_owned()), "abcd");
    assert_eq!(Redactor::of(&["abc".to_owned()]).redact("abc".to_owned()), "abc", "too short to be a secret");
}

#[test]
fn long_secrets_and_secrets_of_several_lines_go_whole() {
    let key = format!("-----BEGIN KEY-----\n{}\n{}\n-----END KEY-----", "Ab3".repeat(21), "xY9".repeat(21));
    let redactor = Redactor::of(std::slice::from_ref(&key));
    assert_eq!(redactor.redact(format!("key: {key}.")), "key: ….");
    assert_eq!(redactor.redact(format!("log | {}", "xY9".repeat(21))), "log | …");
}

#[test]
fn what_gives_itself_away_by_its_form_needs_not_be_known() {
    let redactor = Redactor::default();
    for (text, redacted) in [
        ("to postgresql://app:pa:s@s@127.0.0.1/shop, app", "to postgresql://app:…@127.0.0.1/shop, app"),
        ("http%3A%2F%2Fu%3Apa55%40h", "http%3A%2F%2Fu%3A…%40h"),
        ("Authorization: Bearer 0123456789abc", "Authorization: Bearer …"),
        ("{\"access_token\":\"eyJhbGciOiJI.eyJzdWIi.c2ln\"}", "{\"access_token\":\"…\"}"),
        ("bearer of news; token expired; password: wrong", "bearer of news; token expired; password: wrong"),
        ("http://host:8080/path a@b", "http://host:8080/path a@b"),
    ] {
        assert_eq!(redactor.redact(text.to_owned()), redacted);
    }
    for (text, redacted) in [
        ("--set target.env.X=pa55", "--set target.env.X=…"),
        ("`--set target.env.X=pa55`: no", "`--set target.env.X=…`: no"),
        ("'target.url=http://h/?token=pa55&a=b'", "'target.url=http://h/?token=…&a=b'"),
        ("--api-key=pa55 --users=3", "--api-key=… --users=3"),
        ("password = \"pa55\"", "password = \"…\""),
    ] {
        assert_eq!(redactor.redact_arguments(text.to_owned()), redacted);
    }
}

#[test]
fn a_document_keeps_its_numbers_and_its_shape() {
    let redactor = Redactor::of(&["12345678".to_owned(), "1234".to_owned()]);
    let document = serde_json::json!({ "n": 12_345_678, "t": ["a 12345678"], "k12345678": null, "m": "1234" });
    // Its keys are ours.
    let redacted = redact_document(&redactor, document);
    assert_eq!(redacted, serde_json::json!({ "n": 12_345_678, "t": ["a …"], "k12345678": null, "m": "1234" }));
}

#[test]
fn texts_that_are_keys_of_a_document_are_redacted_and_counted() {
    let redactor = Redactor::of(&["s3cr3t-one".to_owned(), "s3cr3t-two".to_owned()]);
    let document = serde_json::json!({ "pools": { "errors": { "no s3cr3t-one": 2, "no s3cr3t-two": 3, "plain": 1 } } });
    let redacted = redact_document(&redactor, document);
    assert_eq!(redacted, serde_json::json!({ "pools": { "errors": { "no …": 5, "plain": 1 } } }));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_nothing_else_is_changed(text in any::<String>(), secret in "[a-z%&\\\\é]{4,12}") {
        let redactor = Redactor::of(&[secret]);
        let redacted = redactor.redact(text.clone());
        prop_assert!(redacted == text || redacted.contains(REDACTED));
        redactor.redact_cut(text.clone());
        redactor.redact_arguments(text.clone());
        redactor.ends_within_secret(&text);
    }

    #[test]
    fn a_mix_of_encodings_tells_nothing(secret in "[ -~]{8,24}", ways in prop::collection::vec(0..6_u8, 24), before in "[ -~]{0,9}") {
        let written: String = secret.bytes().zip(&ways).map(|(byte, way)| match way {
            0 => format!("%{byte:02X}"),
            1 => format!("\\u{byte:04x}"),
            2 => format!("&#{byte};"),
            3 => format!("\\x{byte:02x}"),
            // What would begin an escape, if it stood there as it is.
            _ if matches!(byte, b'%' | b'\\' | b'&') => format!("%{byte:02x}"),
            _ => char::from(byte).to_string(),
        }).collect();
        let redacted = Redactor::of(std::slice::from_ref(&secret)).redact(format!("{before} {written}"));
        prop_assert!(!redacted.contains(&written), "{}", redacted);
        prop_assert!(!redacted.contains(&secret), "{}", redacted);
    }
}
