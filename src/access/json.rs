//! Access logs in JSON: Caddy, Traefik, Envoy, nginx, lograge, and others whose fields have the usual names.

use serde_json::Value;

use super::request_line::{is_method, parts, path_of, status, time};
use super::{AccessForm, AccessRequest, Read};

pub(super) struct Json;

const METHODS: [&str; 6] = ["method", "request_method", "RequestMethod", "http_method", "req_method", "verb"];
const TARGETS: [&str; 10] = [
    "uri",
    "request_uri",
    "RequestPath",
    "path",
    "url",
    "request_path",
    "http_path",
    "x_envoy_original_path",
    "target",
    "originalUrl",
];
const STATUSES: [&str; 8] =
    ["status", "DownstreamStatus", "response_code", "status_code", "statusCode", "http_status", "code", "OriginStatus"];
const TIMES: [&str; 9] =
    ["StartUTC", "start_time", "time_local", "time_iso8601", "time", "timestamp", "@timestamp", "ts", "time_local_iso"];

/// A duration's name, and the seconds of its unit.
const DURATIONS: [(&str, f64); 9] = [
    // Traefik writes nanoseconds, Caddy seconds under a name without a capital.
    ("Duration", 1e-9),
    ("request_time", 1.0),
    ("duration_ms", 1e-3),
    ("duration_s", 1.0),
    ("response_time_ms", 1e-3),
    ("latency_ms", 1e-3),
    ("responseTime", 1e-3),
    ("response-time", 1e-3),
    ("elapsed_ms", 1e-3),
];

impl AccessForm for Json {
    fn name(&self) -> &'static str {
        "JSON"
    }

    fn read(&mut self, line: &str) -> Read {
        let line = line.trim();
        if !line.starts_with('{') {
            return Read::Other;
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else { return Read::Other };
        // Lines of another kind are in the same file.
        request(&event).map_or(Read::Known, Read::Request)
    }
}

fn request(event: &Value) -> Option<AccessRequest> {
    // Caddy, pino-http and others have the request apart.
    let places: Vec<&Value> = [
        Some(event),
        event.get("request"),
        event.get("req"),
        event.get("http"),
        event.get("res"),
        event.get("response"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let text = |names: &[&str]| places.iter().find_map(|place| names.iter().find_map(|name| place.get(name)?.as_str()));
    let line = event.get("request").and_then(Value::as_str).and_then(parts);
    let (method, target) = match line {
        Some(line) => line,
        None => (text(&METHODS).filter(|it| is_method(it))?, path_of(text(&TARGETS)?)),
    };
    if !target.starts_with('/') {
        return None;
    }
    let number = |name: &str| places.iter().find_map(|place| number(place.get(name)?));
    let code = STATUSES.iter().find_map(|name| number(name)).and_then(|code| status(&format!("{code}")))?;
    let is_envoy = event.get("response_code").is_some();
    let took_s = DURATIONS.iter().find_map(|(name, unit)| number(name).map(|it| it * unit)).or_else(|| {
        // Caddy's in seconds, Envoy's and lograge's in milliseconds.
        let duration = number("duration")?;
        Some(if event.get("logger").is_some() && !is_envoy { duration } else { duration / 1e3 })
    });
    let at_s = TIMES.iter().find_map(|name| match event.get(name)? {
        Value::String(text) => time(text),
        Value::Number(since) => since.as_f64().map(|since| if since > 1e11 { since / 1e3 } else { since }),
        _ => None,
    });
    Some(AccessRequest { method: method.to_owned(), target: target.to_owned(), status: code, at_s, took_s })
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}
