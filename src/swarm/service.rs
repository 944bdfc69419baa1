//! The plan for a service of one's own: requests from templates, answers judged as its scenario says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::RngExt;
use rand::rngs::SmallRng;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request};

use super::SwarmError;
use super::judge::{Expected, Mask};
use super::plan::{Class, ClassWeight, Content, Plan, Task};
use crate::scenario::ServiceScenario;
use crate::scenario::service::{ServiceRoute, Values};
use crate::units::Span;

/// What stands in a path as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The lines of each file that a scenario names, by its path as the scenario has it.
pub type Lines = BTreeMap<std::path::PathBuf, Vec<String>>;

impl Plan {
    /// What the users of a service do. `lines` are those of the files that the scenario names.
    ///
    /// # Errors
    /// [`SwarmError::Header`] when a header cannot be sent.
    pub fn of_service(scenario: &ServiceScenario, lines: &Lines) -> Result<Self, SwarmError> {
        let mut labels: Vec<String> = scenario.routes().map(|route| route.route.name().to_owned()).collect();
        labels.sort();
        labels.dedup();
        let tasks = scenario.routes().map(|route| {
            // The labels are those of these routes, so that each is there.
            let place = labels.iter().position(|label| label == route.route.name()).unwrap_or(0);
            Ok((task(route, place, lines)?, route.weight.get()))
        });
        let tasks = tasks.collect::<Result<Vec<_>, SwarmError>>()?;
        let think = scenario.load.think_time.map(Span::duration);
        Ok(Self {
            classes: vec![Class::new(think, tasks)],
            weights: vec![ClassWeight { name: "users".to_owned(), weight: 1 }],
            labels: labels.into(),
        })
    }
}

pub(super) fn task(route: &ServiceRoute, place: usize, lines: &Lines) -> Result<Task, SwarmError> {
    // The scenario has been checked: its methods are methods.
    let method = Method::from_bytes(route.route.method().as_bytes()).unwrap_or(Method::GET);
    let expected = Expected {
        statuses: route.expect.clone(),
        must_have: route.must_have.clone(),
        must_not_have: route.must_not_have.clone(),
    };
    Ok(Task {
        route: place,
        method,
        content: Content::Drawn(Arc::new(Drawn::new(route, lines)?)),
        mask: Mask::Answer(Arc::new(expected)),
    })
}

/// A request with holes, and what fills them.
#[derive(Debug)]
pub(super) struct Drawn {
    path: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    /// Whether the body is JSON, in which a value must be escaped.
    json: bool,
    values: Vec<Source>,
}

/// Where a parameter's values come from.
#[derive(Debug)]
enum Source {
    List(Vec<String>),
    Range(i64, i64),
}

/// A text with holes.
#[derive(Debug)]
struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    /// The parameter of this place.
    Hole(usize),
}

impl Drawn {
    fn new(route: &ServiceRoute, lines: &Lines) -> Result<Self, SwarmError> {
        let names: Vec<&str> = route.params.keys().map(String::as_str).collect();
        let template = |text: &str| Template::read(text, &names);
        let mut headers = Vec::new();
        let content_type = match (&route.text, &route.json) {
            (_, Some(_)) => Some("application/json"),
            (Some(_), None) => Some("text/plain; charset=utf-8"),
            (None, None) => None,
        };
        if let Some(content_type) = content_type {
            headers.push((CONTENT_TYPE, template(content_type)));
        }
        for (name, value) in &route.headers {
            let read = HeaderName::from_bytes(name.as_bytes());
            let read = read.map_err(|_refused| SwarmError::Header { name: name.clone() })?;
            headers.push((read, template(value)));
        }
        Ok(Self {
            path: template(route.route.path()),
            query: route.query.iter().map(|(name, value)| (name.clone(), template(value))).collect(),
            headers,
            body: route.json.as_ref().map(ToString::to_string).or_else(|| route.text.clone()).map(|it| template(&it)),
            json: route.json.is_some(),
            values: route.params.values().map(|values| Source::of(values, lines)).collect(),
        })
    }

    /// Fills the holes, each parameter with one value for the whole request.
    pub(super) fn fill(&self, request: &mut Request, random: &mut SmallRng) {
        let drawn: Vec<Cow<'_, str>> = self.values.iter().map(|source| source.draw(random)).collect();
        let plain = |value: &str| value.to_owned();
        let path = self.path.filled(&drawn, |value| utf8_percent_encode(value, IN_PATH).to_string());
        let url = request.url_mut();
        // The base may have a path of its own.
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if !self.query.is_empty() {
            let pairs = self.query.iter().map(|(name, value)| (name, value.filled(&drawn, plain)));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        for (name, value) in &self.headers {
            // What cannot stand in a header is left out: no value of the scenario's own is like that.
            if let Ok(value) = HeaderValue::from_str(&value.filled(&drawn, plain)) {
                request.headers_mut().insert(name, value);
            }
        }
        if let Some(body) = &self.body {
            let body = if self.json { body.filled(&drawn, in_json) } else { body.filled(&drawn, plain) };
            *request.body_mut() = Some(Bytes::from(body).into());
        }
    }
}

/// A value as it stands between the quotes of a JSON string.
fn in_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl Source {
    fn of(values: &Values, lines: &Lines) -> Self {
        match values {
            Values::List(list) => Self::List(list.iter().map(ToString::to_string).collect()),
            Values::Range { from, to } => Self::Range(*from, *to),
            Values::File { file } => Self::List(lines.get(file).cloned().unwrap_or_default()),
        }
    }

    fn draw(&self, random: &mut SmallRng) -> Cow<'_, str> {
        match self {
            Self::List(list) if list.is_empty() => Cow::Borrowed(""),
            Self::List(list) => Cow::Borrowed(&list[random.random_range(0..list.len())]),
            Self::Range(from, to) => Cow::Owned(random.random_range(*from..=*to).to_string()),
        }
    }
}

impl Template {
    /// A hole is a name in braces; braces around anything else stay as they are.
    fn read(text: &str, names: &[&str]) -> Self {
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

    fn filled(&self, values: &[Cow<'_, str>], written: impl Fn(&str) -> String) -> String {
        self.0.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Hole(place) => text.push_str(&written(&values[*place])),
            }
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn request(route: &str, base: &str) -> Request {
        let text = format!("name = \"x\"\n[target]\nurl = \"{base}\"\n[load]\nchange_data = true\n[[route]]\n{route}");
        let scenario = ServiceScenario::from_text("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
        let lines = Lines::from([("ids.txt".into(), vec!["seven".to_owned()])]);
        let task = task(&scenario.route[0], 0, &lines).unwrap();
        task.request(scenario.target.url.as_ref().unwrap().url(), &mut SmallRng::seed_from_u64(1))
    }

    fn body(request: &Request) -> &str {
        str::from_utf8(request.body().and_then(|body| body.as_bytes()).unwrap_or_default()).unwrap()
    }

    #[test]
    fn holes_are_filled_in_path_query_headers_and_body_with_one_value_each() {
        let route = "route = \"POST /a/{id}\"\nparams = { id = [\"x/y \\\"z\"], n = { from = 5, to = 5 } }\n\
                     query = { q = \"{id}&\", none = \"{other}\" }\nheaders = { X-N = \"n{n}\" }\n\
                     json = { id = \"{id}\", n = \"{n}\", keep = \"{other}\" }\nchanges_data = true\n";
        let request = request(route, "http://127.0.0.1:1/base/");
        assert_eq!(request.url().as_str(), "http://127.0.0.1:1/base/a/x%2Fy%20%22z?none=%7Bother%7D&q=x%2Fy+%22z%26");
        assert_eq!(request.headers()["x-n"], "n5");
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        let body: serde_json::Value = serde_json::from_str(body(&request)).unwrap();
        assert_eq!(body, serde_json::json!({ "id": "x/y \"z", "n": "5", "keep": "{other}" }));
    }

    #[test]
    fn lines_of_a_file_and_texts_are_sent_as_they_are() {
        let route = "route = \"PUT /a\"\nparams = { id = { file = \"ids.txt\" } }\ntext = \"<{id}>{\"\n\
                     headers = { content-type = \"text/xml\" }\nchanges_data = false\n";
        let request = request(route, "http://127.0.0.1:1");
        assert_eq!((body(&request), request.url().path()), ("<seven>{", "/a"));
        assert_eq!(request.headers()[CONTENT_TYPE], "text/xml");
    }
}
