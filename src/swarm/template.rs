//! Requests with holes, and what fills them.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::RngExt;
use rand::rngs::SmallRng;
use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};

use super::files::Files;
use super::{SwarmError, mcp};
use crate::scenario::service::{ServiceRoute, Values};

/// Characters that stand in a path as they are.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Values for holes, by the place of each name among the plan's.
pub(super) type HoleValues = [Option<Arc<str>>];

/// A request with holes, and what fills them.
#[derive(Debug)]
pub(super) struct Drawn {
    path: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(HeaderName, Template)>,
    body: BodyTemplate,
    values: Vec<ValueSource>,
}

#[derive(Debug)]
enum BodyTemplate {
    None,
    /// A value must be escaped in it.
    Json(Template),
    Form(Vec<(String, Template)>),
    Text(Template),
    /// Sent as it is.
    File(Bytes),
}

/// Source of a parameter's values.
#[derive(Debug)]
enum ValueSource {
    List(Vec<String>),
    Range(i64, i64),
    /// The user knows it: its name, and its place.
    User(String, usize),
}

/// A text with holes.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// The value of this place.
    Hole(usize),
}

impl Drawn {
    /// The request of a route, for users who know values of these names.
    pub(super) fn new(route: &ServiceRoute, files: &Files, known: &[String]) -> Result<Self, SwarmError> {
        let own = route.params.keys().map(String::as_str);
        let of_users = known.iter().map(String::as_str).filter(|name| !route.params.contains_key(*name));
        let names: Vec<&str> = own.chain(of_users).collect();
        let template = |text: &str| Template::read(text, &names);
        let values = names.iter().map(|name| match route.params.get(*name) {
            Some(values) => ValueSource::of(values, files),
            None => ValueSource::User((*name).to_owned(), known.iter().position(|it| it == name).unwrap_or(0)),
        });
        let (body, content_type) = BodyTemplate::of(route, files, template);
        let headers = content_type.map(|it| ("Content-Type", it)).into_iter().chain(mcp::accepts(route));
        let headers = headers.chain(route.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let headers = headers.map(|(name, value)| {
            let read = HeaderName::from_bytes(name.as_bytes());
            let read = read.map_err(|_refused| SwarmError::Header { name: name.to_owned() })?;
            Ok((read, template(value)))
        });
        Ok(Self {
            path: template(route.route.path()),
            query: route.query.iter().map(|(name, value)| (name.clone(), template(value))).collect(),
            headers: headers.collect::<Result<_, SwarmError>>()?,
            body,
            values: values.collect(),
        })
    }

    /// Fills the holes, each name with one value for the whole request.
    ///
    /// # Errors
    /// Error in words, when it cannot be sent.
    pub(super) fn fill(&self, request: &mut Request, random: &mut SmallRng, known: &HoleValues) -> Result<(), String> {
        let drawn: Vec<Option<Cow<'_, str>>> = self.values.iter().map(|source| source.draw(random, known)).collect();
        let filled = |template: &Template, written: fn(&str) -> String| {
            let unknown = |place: usize| match &self.values[place] {
                ValueSource::User(name, _) => format!("not sent: nothing fills `{{{name}}}`"),
                _ => "not sent: a hole has no value".to_owned(),
            };
            template.filled(&drawn, written).map_err(unknown)
        };
        let path = filled(&self.path, |value| utf8_percent_encode(value, IN_PATH).to_string())?;
        let url = request.url_mut();
        // The base may have a path of its own.
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        for (name, value) in &self.query {
            url.query_pairs_mut().append_pair(name, &filled(value, str::to_owned)?);
        }
        for (name, value) in &self.headers {
            let text = filled(value, str::to_owned)?;
            let refused = |_| format!("not sent: the value of the header `{name}` cannot stand in one");
            let value = HeaderValue::from_str(&text).map_err(refused)?;
            request.headers_mut().insert(name, value);
        }
        let body = match &self.body {
            BodyTemplate::None => return Ok(()),
            BodyTemplate::Json(body) => filled(body, in_json)?.into(),
            BodyTemplate::Text(body) => filled(body, str::to_owned)?.into(),
            BodyTemplate::File(bytes) => bytes.clone(),
            BodyTemplate::Form(pairs) => {
                let mut form = reqwest::Url::parse("form:").map_err(|error| error.to_string())?;
                for (name, value) in pairs {
                    form.query_pairs_mut().append_pair(name, &filled(value, str::to_owned)?);
                }
                form.query().unwrap_or_default().to_owned().into()
            }
        };
        *request.body_mut() = Some(body.into());
        Ok(())
    }
}

impl BodyTemplate {
    fn of(route: &ServiceRoute, files: &Files, template: impl Fn(&str) -> Template) -> (Self, Option<&'static str>) {
        if let Some(call) = &route.mcp {
            return (Self::Json(template(&mcp::call(call).to_string())), Some("application/json"));
        }
        if let Some(json) = &route.json {
            return (Self::Json(template(&json.to_string())), Some("application/json"));
        }
        if let Some(text) = &route.text {
            return (Self::Text(template(text)), Some("text/plain; charset=utf-8"));
        }
        if let Some(file) = &route.body_file {
            return (Self::File(files.bodies.get(file).cloned().unwrap_or_default()), Some("application/octet-stream"));
        }
        if route.form.is_empty() {
            return (Self::None, None);
        }
        let pairs = route.form.iter().map(|(name, value)| (name.clone(), template(value))).collect();
        (Self::Form(pairs), Some("application/x-www-form-urlencoded"))
    }
}

/// A value as it stands between the quotes of a JSON string.
fn in_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl ValueSource {
    fn of(values: &Values, files: &Files) -> Self {
        let lines = |file: &PathBuf| files.lines.get(file).cloned().unwrap_or_default();
        match values {
            Values::List(list) => Self::List(list.iter().map(ToString::to_string).collect()),
            Values::Range { from, to } => Self::Range(*from, *to),
            Values::File { file } => Self::List(lines(file)),
        }
    }

    fn draw<'a>(&'a self, random: &mut SmallRng, known: &'a HoleValues) -> Option<Cow<'a, str>> {
        match self {
            Self::List(list) if list.is_empty() => None,
            Self::List(list) => Some(Cow::Borrowed(&list[random.random_range(0..list.len())])),
            Self::Range(from, to) => Some(Cow::Owned(random.random_range(*from..=*to).to_string())),
            Self::User(_, place) => known.get(*place)?.as_deref().map(Cow::Borrowed),
        }
    }
}

impl Template {
    /// A hole is a name in braces; braces around anything else stay as they are.
    pub(super) fn read(text: &str, names: &[&str]) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let hole = rest[at + 1..].split_once('}');
            let place = hole.and_then(|(name, _)| names.iter().position(|known| *known == name));
            let Some((place, (_, after))) = place.zip(hole) else {
                plain.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            };
            plain.push_str(&rest[..at]);
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Hole(place));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Self(pieces)
    }

    /// The text with its holes filled, or the place of a value that is not there.
    fn filled(&self, values: &[Option<Cow<'_, str>>], written: impl Fn(&str) -> String) -> Result<String, usize> {
        self.0.iter().try_fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Hole(place) => text.push_str(&written(values[*place].as_deref().ok_or(*place)?)),
            }
            Ok(text)
        })
    }
}

/// A text whose holes are filled by name, in JSON's strings or as it is; a hole that nothing fills stays.
pub(super) fn filled_by_name(text: &str, values: &[(&str, &str)], json: bool) -> String {
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = values.iter().map(|(_, value)| Some(Cow::Borrowed(*value))).collect();
    let written = if json { in_json } else { |value: &str| value.to_owned() };
    Template::read(text, &names).filled(&values, written).unwrap_or_default()
}
