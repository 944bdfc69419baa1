//! `method=GET path=/orders/7 format=json status=200 duration=12.30`: lograge's, and logfmt of others.

use std::collections::BTreeMap;

use super::quoted::end_of_quotes;
use super::request_line::{duration, is_method, path_of, status, time};
use super::{AccessForm, AccessRequest, Read};

pub(super) struct Fields;

impl AccessForm for Fields {
    fn name(&self) -> &'static str {
        "lograge"
    }

    fn read(&mut self, line: &str) -> Read {
        if !line.contains("method=") {
            return Read::Other;
        }
        let request = || {
            let fields = fields(line);
            let first = |names: &[&str]| names.iter().find_map(|name| fields.get(name).copied());
            let method = first(&["method"]).filter(|it| is_method(it))?;
            let target = path_of(first(&["path", "uri", "url"])?);
            let took_s = fields
                .get("duration")
                .and_then(|it| duration(it).or_else(|| it.parse::<f64>().ok().map(|ms| ms / 1e3)));
            target.starts_with('/').then_some(())?;
            Some(AccessRequest {
                method: method.to_owned(),
                target: target.to_owned(),
                status: status(first(&["status"])?)?,
                at_s: first(&["time", "ts", "at", "timestamp"]).and_then(time).or_else(|| time(line)),
                took_s,
            })
        };
        request().into()
    }
}

/// The fields of a line; a value with blanks stands between quotes.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    let mut fields = BTreeMap::new();
    let mut rest = line;
    while let Some(at) = rest.find('=') {
        let name = rest[..at].rsplit([' ', '[', ',']).next().unwrap_or_default();
        let after = &rest[at + 1..];
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => match end_of_quotes(quoted) {
                Some(end) => (&quoted[..end], &quoted[end + 1..]),
                None => (quoted, ""),
            },
            None => after.split_at(after.find(' ').unwrap_or(after.len())),
        };
        fields.entry(name).or_insert(value);
        rest = next;
    }
    fields
}
