//! Access logs: requests, whatever server or framework wrote them down.
//!
//! Each form has a reader in a file of its own. What a container or a collector put before a line is taken off first
//! ([`logs`](crate::logs)). The form that read the last line is asked first.

mod fields;
mod framework;
mod iis;
mod json;
mod own;
mod quoted;
mod rails;
mod request_line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use own::{LogFormat, LogFormatError};

use crate::logs::without_prefixes;

/// One request, as it was written down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub status: u16,
    /// When it ended or began, as the log has it, in seconds since 1970; `None` where it has none.
    pub at_s: Option<f64>,
    /// How long it took, in seconds; `None` where the log does not say.
    pub took_s: Option<f64>,
}

/// What a reader makes of a line.
enum Read {
    /// It is none of its own.
    Other,
    /// It is one of its own, and no request: a head, or the first half of one.
    Known,
    Request(AccessRequest),
}

impl From<Option<AccessRequest>> for Read {
    fn from(request: Option<AccessRequest>) -> Self {
        request.map_or(Self::Other, Self::Request)
    }
}

/// A form of access logs.
trait AccessForm {
    /// Its name, as in "uvicorn" or "combined".
    fn name(&self) -> &'static str;

    fn read(&mut self, line: &str) -> Read;
}

/// Reads the lines of a log, of whatever form.
pub struct AccessReader {
    forms: Vec<Box<dyn AccessForm>>,
    /// Lines by the name of their form.
    pub by_form: BTreeMap<&'static str, u64>,
}

/// A line that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessLine {
    Request(AccessRequest),
    /// It belongs to the log and is no request.
    NoRequest,
    Unknown,
}

/// The names of all forms, for messages.
pub const FORMS: &str = "common and combined (Apache, nginx, gunicorn, …), uvicorn, hypercorn, granian, daphne, werkzeug, Django, morgan, Gin, Rails, \
                         lograge, HAProxy, ALB, IIS, and JSON (Caddy, Traefik, Envoy, nginx, lograge)";

impl Default for AccessReader {
    fn default() -> Self {
        let forms: Vec<Box<dyn AccessForm>> = vec![
            Box::new(json::Json),
            Box::new(iis::Iis::default()),
            Box::new(quoted::Haproxy),
            Box::new(quoted::Alb),
            Box::new(framework::Gin),
            Box::new(rails::Rails::default()),
            Box::new(fields::Fields),
            Box::new(quoted::Quoted::default()),
            Box::new(framework::Morgan),
        ];
        Self { forms, by_form: BTreeMap::new() }
    }
}

impl AccessReader {
    /// Of one form alone, which the user has described.
    #[must_use]
    pub fn of(format: LogFormat) -> Self {
        Self { forms: vec![Box::new(format)], by_form: BTreeMap::new() }
    }

    /// Reads the next line.
    pub fn read(&mut self, line: &str) -> AccessLine {
        let line = line.trim_end_matches(['\n', '\r']);
        let plain = without_prefixes(line);
        let read = match self.read_plain(&plain) {
            // A time in front may be the log's own; what JSON wraps is the line.
            AccessLine::Unknown if plain != line && !line.starts_with('{') => self.read_plain(line),
            read => read,
        };
        match read {
            AccessLine::Request(request) if request.at_s.is_none() => {
                AccessLine::Request(AccessRequest { at_s: request_line::time(line), ..request })
            }
            read => read,
        }
    }

    fn read_plain(&mut self, line: &str) -> AccessLine {
        for place in 0..self.forms.len() {
            let read = self.forms[place].read(line);
            if matches!(read, Read::Other) {
                continue;
            }
            let form = self.forms.remove(place);
            *self.by_form.entry(form.name()).or_default() += 1;
            self.forms.insert(0, form);
            return match read {
                Read::Request(request) => AccessLine::Request(request),
                _ => AccessLine::NoRequest,
            };
        }
        AccessLine::Unknown
    }
}
