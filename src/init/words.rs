//! Words that stand for things: `/products/red-shoes` and `/products/blue-hat` are one route, although no word of them
//! looks like an id. What tells it is how many there are at one place.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::observed_route::ObservedRoute;
use super::paths::hole;

/// More different words than this at one place of a path are values: nobody writes so many routes.
const MOST_WORDS: usize = 20;

/// Puts routes together that differ in one word alone, where there are many. The first word of a path is left alone.
pub(super) fn together(mut routes: BTreeMap<String, ObservedRoute>) -> BTreeMap<String, ObservedRoute> {
    let deepest = routes.keys().map(|key| key.matches('/').count()).max().unwrap_or_default();
    for position in 2..=deepest {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, _) in routes.iter().filter(|(_, seen)| seen.count() > 0) {
            if let Some(pattern) = without(key, position) {
                groups.entry(pattern).or_default().push(key.clone());
            }
        }
        for (pattern, keys) in groups.into_iter().filter(|(_, keys)| keys.len() > MOST_WORDS) {
            let before = pattern.split('/').take(position).filter(|segment| segment.contains('{')).count();
            for key in keys {
                let (Some(seen), Some(word)) = (routes.remove(&key), key.split('/').nth(position)) else { continue };
                let word = percent_decode_str(word).decode_utf8_lossy().into_owned();
                routes.entry(numbered(&pattern)).or_default().take_in(seen, before, &word);
            }
        }
    }
    routes
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
