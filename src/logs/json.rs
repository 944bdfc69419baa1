//! Lines of JSON: one that wraps a line of somebody else's, as Docker and the journal keep it, or one that is an event.

use serde_json::Value;

use super::severity;

/// What a line of JSON has in it.
pub(super) enum Unwrapped {
    /// A line as a program has written it.
    Line { text: String, stream: String, goes_on: bool },
    /// An event: its texts, each behind the name of its field.
    Event { texts: String, is_ordinary: bool },
}

/// Fields of an event that say which error it is, as drivers name them: their values stay quoted, as in a program's own output.
const CODES: [&str; 6] = ["code", "sqlstate", "sqlState", "state_code", "sql_state_code", "pgcode"];

/// Deeper values are left out.
const DEEPEST: usize = 8;

/// Decodes a line; `None` where it is no object in JSON.
pub(super) fn unwrapped(line: &str) -> Option<Unwrapped> {
    let line = line.trim();
    if !line.starts_with('{') || !line.ends_with('}') {
        return None;
    }
    let Value::Object(fields) = serde_json::from_str::<Value>(line).ok()? else { return None };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    // Docker's json-file, and what collectors make of it.
    if let Some(log) = text("log").filter(|_| fields.contains_key("stream") || fields.contains_key("time")) {
        let whole = log.strip_suffix('\n');
        let goes_on = whole.is_none() && !log.is_empty();
        let stream = text("stream").unwrap_or_default().to_owned();
        let plain = whole.unwrap_or(log).trim_end_matches('\r').to_owned();
        return Some(Unwrapped::Line { text: plain, stream, goes_on });
    }
    // `journalctl -o json`; a message that is no UTF-8 is a list of bytes.
    if let Some(message) = fields.get("MESSAGE") {
        let message = match message {
            Value::String(text) => text.clone(),
            Value::Array(bytes) => {
                let bytes: Vec<u8> = bytes.iter().filter_map(|it| u8::try_from(it.as_u64()?).ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => return None,
        };
        let stream = text("_SYSTEMD_UNIT").or_else(|| text("SYSLOG_IDENTIFIER")).unwrap_or_default();
        let stream = format!("{stream}{}", text("_PID").unwrap_or_default());
        return Some(Unwrapped::Line { text: message, stream, goes_on: false });
    }
    let mut texts = String::new();
    fields.iter().for_each(|(name, value)| collect(name, value, 0, &mut texts));
    Some(Unwrapped::Event { texts, is_ordinary: severity::fields_are_ordinary(&fields) })
}

fn collect(name: &str, value: &Value, depth: usize, texts: &mut String) {
    if depth > DEEPEST {
        return;
    }
    match value {
        Value::String(text) => {
            let quote = if CODES.contains(&name) { "\"" } else { "" };
            for part in [name, ": ", quote, text, quote, "\n"] {
                texts.push_str(part);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(name, value, depth + 1, texts)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(name, value, depth + 1, texts)),
        // Numbers and flags say nothing of an error: drivers give SQLSTATEs as texts.
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
