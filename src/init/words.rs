//! Words that stand for things: `/tenants/org_42` and `/tenants/org_43` are one route, and so are `/products/red-shoes` and
//! `/products/blue-hat`, although no word of them looks like an id. What tells it is what else stands at that place, and how often.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::observed_route::ObservedRoute;
use super::paths::{Shape, hole, shape};

/// More different words than this at one place of a path are values: nobody writes so many routes.
const MOST_WORDS: usize = 20;

/// So many of a kind at one place make each of them an id.
const LIKELY_FROM: usize = 2;
const SHORT_FROM: usize = 3;

/// A word that comes so many times as often as others at its place is a route of its own: `search` among products.
const AGAIN_AND_AGAIN: u64 = 10;

/// Puts routes together that differ in one word alone, where such words are values. The first word of a path is left alone.
pub(super) fn together(mut routes: BTreeMap<String, ObservedRoute>) -> BTreeMap<String, ObservedRoute> {
    let deepest = routes.keys().map(|key| key.matches('/').count()).max().unwrap_or_default();
    for position in 2..=deepest {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, _) in routes.iter().filter(|(_, seen)| seen.count() > 0) {
            if let Some(pattern) = without(key, position) {
                groups.entry(pattern).or_default().push(key.clone());
            }
        }
        for (pattern, keys) in groups {
            let before = pattern.split('/').take(position).filter(|segment| segment.contains('{')).count();
            for key in values(&routes, &pattern, keys, position) {
                let (Some(seen), Some(word)) = (routes.remove(&key), key.split('/').nth(position)) else { continue };
                let word = percent_decode_str(word).decode_utf8_lossy().into_owned();
                routes.entry(numbered(&pattern)).or_default().take_in(seen, before, &word);
            }
        }
    }
    routes
}

/// Those of the routes whose words at one place are values.
fn values(routes: &BTreeMap<String, ObservedRoute>, pattern: &str, keys: Vec<String>, position: usize) -> Vec<String> {
    let shape_of = |key: &String| {
        let mut segments = key.split('/').skip(position - 1);
        let (parent, word) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let word = percent_decode_str(word).decode_utf8_lossy();
        // `tenant-acme` among `tenants`.
        let of_parent = parent
            .strip_suffix('s')
            .and_then(|one| word.strip_prefix(one))
            .is_some_and(|rest| rest.starts_with(['-', '_']));
        if of_parent { Shape::Likely } else { shape(&word) }
    };
    let shapes: Vec<Shape> = keys.iter().map(shape_of).collect();
    let number = |wanted: Shape| shapes.iter().filter(|it| **it == wanted).count();
    let has_ids = routes.contains_key(&numbered(pattern));
    let likely = has_ids || number(Shape::Likely) >= LIKELY_FROM;
    let short = number(Shape::Short) >= SHORT_FROM || (has_ids && number(Shape::Short) >= LIKELY_FROM);
    let is_value = |shape: Shape| match shape {
        Shape::Id => true,
        Shape::Likely => likely,
        Shape::Short | Shape::Weak => short,
        Shape::Word => false,
    };
    if keys.len() <= MOST_WORDS {
        return keys.into_iter().zip(shapes).filter(|(_, shape)| is_value(*shape)).map(|(key, _)| key).collect();
    }
    let count = |key: &String| routes.get(key).map_or(0, ObservedRoute::count);
    let mut counts: Vec<u64> = keys.iter().map(count).collect();
    counts.sort_unstable();
    let usual = counts[counts.len() / 2].max(1);
    let is_route = |key: &String, shape: Shape| shape == Shape::Word && count(key) >= AGAIN_AND_AGAIN * usual;
    keys.into_iter().zip(shapes).filter(|(key, shape)| !is_route(key, *shape)).map(|(key, _)| key).collect()
}

/// The route with a hole in place of the word at `position`; `None` when there is no word.
fn without(key: &str, position: usize) -> Option<String> {
    let mut segments: Vec<&str> = key.split('/').collect();
    let word = segments.get_mut(position).filter(|word| !word.is_empty() && !word.contains('{'))?;
    *word = "{}";
    Some(segments.join("/"))
}

/// The holes with their names, in order.
fn numbered(pattern: &str) -> String {
    let mut holes = 0;
    let segments = pattern.split('/').map(|segment| {
        if !segment.contains('{') {
            return segment.to_owned();
        }
        holes += 1;
        format!("{{{}}}", hole(holes))
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_named_in_order() {
        assert_eq!(without("GET /a/b/{id}", 2).as_deref(), Some("GET /a/{}/{id}"));
        assert_eq!(numbered("GET /a/{}/{id}/c"), "GET /a/{id}/{id2}/c");
        assert_eq!((without("GET /a/{id}", 2), without("GET /a/", 2), without("GET /a", 2)), (None, None, None));
    }
}
