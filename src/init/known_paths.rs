//! Paths that a document knows: it says which of their parts are ids, and no guess is needed.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::paths::{Split, hole};

/// Templates, by method and number of segments.
#[derive(Debug, Default)]
pub struct KnownPaths(HashMap<(String, usize), Vec<Vec<Segment>>>);

#[derive(Debug, PartialEq)]
enum Segment {
    Literal(String),
    /// A segment in which a parameter stands, alone or beside others.
    Hole,
}

impl KnownPaths {
    /// Of routes such as `GET /orders/{id}`.
    pub fn of(routes: impl IntoIterator<Item = String>) -> Self {
        let mut known = Self::default();
        for route in routes {
            let Some((method, path)) = route.split_once(' ') else { continue };
            let segment = |text: &str| if text.contains('{') { Segment::Hole } else { Segment::Literal(decoded(text)) };
            let segments: Vec<Segment> = path.split('/').map(segment).collect();
            known.0.entry((method.to_owned(), segments.len())).or_default().push(segments);
        }
        // `/orders/mine` before `/orders/{id}`: the first word that differs decides.
        for templates in known.0.values_mut() {
            templates.sort_by_key(|it| it.iter().map(|segment| *segment == Segment::Hole).collect::<Vec<_>>());
        }
        known
    }

    /// The template of a path and what stands in its holes; `None` where the document has none.
    pub(super) fn split(&self, method: &str, path: &str) -> Option<Split> {
        if self.0.is_empty() {
            return None;
        }
        let segments: Vec<String> = path.split('/').map(decoded).collect();
        let templates = self.0.get(&(method.to_owned(), segments.len()))?;
        let fits = |template: &&Vec<Segment>| {
            template.iter().zip(&segments).all(|(known, segment)| match known {
                Segment::Literal(word) => word == segment,
                Segment::Hole => !segment.is_empty(),
            })
        };
        let template = templates.iter().find(fits)?;
        let mut values = Vec::new();
        let written = template.iter().zip(path.split('/').zip(segments)).map(|(known, (raw, segment))| match known {
            Segment::Literal(_) => raw.replace('{', "%7B").replace('}', "%7D"),
            Segment::Hole => {
                values.push(segment);
                format!("{{{}}}", hole(values.len()))
            }
        });
        let template = written.collect::<Vec<_>>().join("/");
        Some(Split { template, values })
    }
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_is_an_id_and_what_is_a_word() {
        let known = ["GET /shops/{slug}", "GET /shops/mine", "GET /files/{name}.csv", "GET /v1/42/items"];
        let known = KnownPaths::of(known.map(str::to_owned));
        let split = |method: &str, path: &str| known.split(method, path).map(|it| (it.template, it.values));
        let some = |template: &str, values: &[&str]| {
            Some((template.to_owned(), values.iter().map(ToString::to_string).collect::<Vec<_>>()))
        };
        assert_eq!(split("GET", "/shops/corner"), some("/shops/{id}", &["corner"]));
        assert_eq!(split("GET", "/shops/mine"), some("/shops/mine", &[]));
        assert_eq!(split("GET", "/files/may%20be.csv"), some("/files/{id}", &["may be.csv"]));
        assert_eq!(split("GET", "/v1/42/items"), some("/v1/42/items", &[]));
        assert_eq!((split("POST", "/shops/mine"), split("GET", "/shops/"), split("GET", "/a")), (None, None, None));
    }
}
