//! Parameters of a draft's route that nobody has given a value, and paths with the values that were found.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::init::{BodyFormat, DraftRoute};
use crate::scenario::service::todo::MARK;
use crate::scenario::service::{Scalar, Values};

/// As a path keeps them.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Method and path template.
pub(super) fn parts(route: &DraftRoute) -> (&str, &str) {
    let mut words = route.route.split(' ');
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

/// The names in braces in a path, in order.
pub(super) fn names(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|piece| piece.split_once('}').map(|(name, _)| name)).collect()
}

/// Parameters without a value, those of the path first, in its order.
pub(super) fn open(route: &DraftRoute) -> Vec<String> {
    let is_open = |name: &str| {
        let values = route.params.iter().find(|(known, _)| known == name).map(|(_, values)| values);
        match values {
            Some(Values::List(list)) => list.is_empty() || list.iter().any(is_todo),
            Some(Values::Range { .. } | Values::File { .. }) => false,
            None => true,
        }
    };
    let path = names(parts(route).1);
    let beside = route.params.iter().map(|(name, _)| name.as_str()).filter(|name| !path.contains(name));
    path.iter().copied().chain(beside).filter(|name| is_open(name)).map(str::to_owned).collect()
}

fn is_todo(value: &Scalar) -> bool {
    matches!(value, Scalar::Text(text) if text.starts_with(MARK))
}

/// True if something beside its parameters is still to be filled in.
pub(super) fn has_other_gaps(route: &DraftRoute) -> bool {
    let texts = route.query.iter().chain(&route.headers).map(|(_, value)| value.as_str());
    let body = match &route.body {
        Some(BodyFormat::Json(value)) => value.to_string(),
        Some(BodyFormat::Text { text, .. }) => text.clone(),
        None => String::new(),
    };
    texts.chain([body.as_str()]).any(|text| text.contains(MARK))
}

/// The same route with these values for a parameter.
pub(super) fn with(route: &DraftRoute, name: &str, values: &[String]) -> DraftRoute {
    let list: Vec<Scalar> = values.iter().map(|value| scalar(value)).collect();
    let mut route = route.clone();
    match route.params.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = Values::List(list),
        None => route.params.push((name.to_owned(), Values::List(list))),
    }
    route
}

/// A number as one where it is written as a number is.
fn scalar(value: &str) -> Scalar {
    value
        .parse::<i64>()
        .ok()
        .filter(|number| number.to_string() == value)
        .map_or_else(|| Scalar::Text(value.to_owned()), Scalar::Number)
}

/// The value of a parameter for the request of this number: in turn.
pub(super) fn value(route: &DraftRoute, name: &str, number: usize) -> Option<String> {
    match route.params.iter().find(|(known, _)| known == name).map(|(_, values)| values)? {
        Values::List(list) => (!list.is_empty()).then(|| list[number % list.len()].to_string()),
        Values::Range { from, to } => {
            let count = to.saturating_sub(*from).saturating_add(1).max(1);
            Some((from + i64::try_from(number).unwrap_or(0) % count).to_string())
        }
        Values::File { .. } => None,
    }
}

/// Path and query of the request of this number; `None` where a value is missing.
pub(super) fn target(route: &DraftRoute, number: usize) -> Option<String> {
    let mut path = parts(route).1.to_owned();
    for name in names(parts(route).1) {
        let value = value(route, name, number)?;
        path = path.replace(&format!("{{{name}}}"), &utf8_percent_encode(&value, IN_PATH).to_string());
    }
    let mut query = Vec::new();
    for (name, text) in &route.query {
        query.push(format!("{}={}", encoded(name), encoded(&filled(route, text, number)?)));
    }
    Some(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

/// A text with the values of its holes.
pub(super) fn filled(route: &DraftRoute, text: &str, number: usize) -> Option<String> {
    let mut filled = text.to_owned();
    for (name, _) in &route.params {
        let hole = format!("{{{name}}}");
        if filled.contains(&hole) {
            filled = filled.replace(&hole, &value(route, name, number)?);
        }
    }
    Some(filled)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, params: &[(&str, Values)], query: &[(&str, &str)]) -> DraftRoute {
        DraftRoute {
            route: name.to_owned(),
            params: params.iter().map(|(name, values)| ((*name).to_owned(), values.clone())).collect(),
            query: query.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            ..DraftRoute::default()
        }
    }

    #[test]
    fn a_path_is_filled_from_its_outermost_parameter_on() {
        let todo = Values::List(vec![Scalar::Text("TODO: values that exist".to_owned())]);
        let members = route(
            "GET /teams/{team}/members/{id}",
            &[("id", todo.clone()), ("shop", todo), ("team", Values::List(Vec::new()))],
            &[("shop", "{shop}"), ("sort", "a b")],
        );
        assert_eq!(open(&members), ["team", "id", "shop"]);
        assert_eq!(target(&with(&members, "team", &[]), 0), None);
        let values = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filled = with(
            &with(&with(&members, "team", &values(&["a/b"])), "id", &values(&["7", "8"])),
            "shop",
            &values(&["07"]),
        );
        assert_eq!(open(&filled), Vec::<String>::new());
        assert_eq!(target(&filled, 1).as_deref(), Some("/teams/a%2Fb/members/8?shop=07&sort=a%20b"));
    }
}
