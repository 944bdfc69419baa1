//! Values of parameters, from the answers of a service.
//!
//! A list of `/orders` tells the ids of `/orders/{order_id}`; any answer tells what it calls by the parameter's own name.

use std::collections::BTreeMap;

use serde_json::Value;

/// The most values of one parameter.
const MOST: usize = 30;

/// The longest text that is taken for a value.
const LONGEST: usize = 120;

/// Members under which answers keep a list.
const LISTS: [&str; 14] = [
    "items",
    "data",
    "results",
    "content",
    "rows",
    "records",
    "list",
    "entries",
    "objects",
    "values",
    "nodes",
    "edges",
    "_embedded",
    "hits",
];

/// Deepest nesting in which a list, or a value, is looked for.
const DEEPEST: usize = 4;

/// The values that a list answer has for a parameter of this name.
pub(super) fn of_list(answer: &Value, name: &str) -> Vec<String> {
    let Some(items) = list(answer, DEEPEST) else { return Vec::new() };
    for key in keys(name) {
        let found =
            unique(items.iter().filter_map(|item| member(item.get("node").unwrap_or(item), &key)).filter_map(plain));
        if !found.is_empty() {
            return found;
        }
    }
    // A list of the values themselves.
    unique(items.iter().filter_map(plain))
}

/// The list of an answer: itself, or under a usual name, or else the first that is there.
fn list(answer: &Value, depth: usize) -> Option<&Vec<Value>> {
    match answer {
        Value::Array(items) => Some(items).filter(|items| !items.is_empty()),
        Value::Object(members) if depth > 0 => {
            let usual = LISTS.iter().filter_map(|name| members.get(*name));
            usual.chain(members.values()).find_map(|inner| list(inner, depth - 1))
        }
        _ => None,
    }
}

/// Members that may hold the parameter's value, the likeliest first.
fn keys(name: &str) -> Vec<String> {
    let mut keys = vec![name.to_owned()];
    keys.extend(["id", "uuid", "guid", "slug", "key", "code", "number", "_id", "name", "username"].map(str::to_owned));
    keys
}

/// A member whose name means the same: `orderId` for `order_id`.
fn member<'a>(item: &'a Value, name: &str) -> Option<&'a Value> {
    let members = item.as_object()?;
    let bare = bare(name);
    members.get(name).or_else(|| members.iter().find(|(known, _)| self::bare(known) == bare).map(|(_, value)| value))
}

/// A name without what differs between spellings.
fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|it| it.to_ascii_lowercase()).collect()
}

fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let fits = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
    // An access token is no id, whatever it is called.
    (fits && !crate::scenario::service::is_token(&text)).then_some(text)
}

fn unique(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if seen.len() < MOST && !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// What answers call by which name.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, Vec<String>>);

impl Known {
    /// Takes in the members of an answer.
    pub(super) fn learn(&mut self, answer: &Value) {
        self.learn_within(answer, "", DEEPEST);
    }

    fn learn_within(&mut self, value: &Value, name: &str, depth: usize) {
        match value {
            Value::Object(members) if depth > 0 => {
                // `"order": {"id": 7}` tells an order's id.
                if let Some(id) = members.get("id").filter(|_| !name.is_empty()) {
                    self.learn_within(id, &format!("{name}_id"), depth - 1);
                }
                members.iter().for_each(|(name, inner)| self.learn_within(inner, name, depth - 1));
            }
            Value::Array(items) if depth > 0 => {
                items.iter().take(MOST).for_each(|item| self.learn_within(item, name, depth - 1));
            }
            other => {
                let Some(text) = plain(other).filter(|_| !name.is_empty()) else { return };
                let known = self.0.entry(bare(name)).or_default();
                if known.len() < MOST && !known.contains(&text) {
                    known.push(text);
                }
            }
        }
    }

    /// The values of this name; of `id` nobody knows whose.
    pub(super) fn called(&self, name: &str) -> Vec<String> {
        let bare = bare(name);
        if bare == "id" { Vec::new() } else { self.0.get(&bare).cloned().unwrap_or_default() }
    }
}

/// How far the template of a list's path is that of a parameter's: with the parameter at the end of `prefix`, these routes may list it,
/// the likeliest first. `prefix` is the path before the parameter: `/teams/{team}/members`.
pub(super) fn lists<'a>(prefix: &str, name: &str, paths: &[&'a str]) -> Vec<&'a str> {
    let prefix = prefix.trim_end_matches('/');
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let stem = stem(name);
    let resource = last(prefix);
    let rank = |path: &str| {
        if same_form(path, prefix) {
            return Some(0);
        }
        let word = last(path);
        if !word.is_empty() && is_plural(&word, &stem) {
            return Some(1);
        }
        (!word.is_empty() && word == resource).then_some(2)
    };
    let mut found: Vec<(usize, &str)> = paths.iter().filter_map(|path| Some((rank(path)?, *path))).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, path)| path).collect()
}

/// True if two templates differ in the names of their parameters at most.
fn same_form(a: &str, b: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (a.trim_matches('/').split('/').collect(), b.trim_matches('/').split('/').collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || (a.contains('{') && b.contains('{')))
}

/// `order` of `order_id`, `orderId`, `orderUuid`.
fn stem(name: &str) -> String {
    let bare = bare(name);
    let ends = ["uuid", "guid", "id", "slug", "key", "code", "number", "name"];
    ends.iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(&bare).to_owned()
}

/// True if a path's word names things of this kind: `orders`, `categories`, `order-items` for `orderitem`.
fn is_plural(word: &str, stem: &str) -> bool {
    let word = bare(word);
    !stem.is_empty()
        && (word == stem
            || word == format!("{stem}s")
            || word == format!("{stem}es")
            || stem.strip_suffix('y').is_some_and(|stem| word == format!("{stem}ies")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_list_of_an_answer_is_found_wherever_frameworks_put_it() {
        for answer in [
            json!([{"id": 7}, {"id": 8}]),
            json!({"count": 2, "results": [{"id": 7}, {"id": 8}]}),
            json!({"data": {"items": [{"order_id": 7, "id": 1}, {"order_id": 8, "id": 2}]}}),
            json!({"_embedded": {"orders": [{"orderId": 7}, {"orderId": 8}]}, "page": {"size": 20}}),
            json!({"orders": {"edges": [{"node": {"id": 7}}, {"node": {"id": 8}}]}}),
            json!([7, 8, 7]),
        ] {
            assert_eq!(of_list(&answer, "order_id"), ["7", "8"], "{answer}");
        }
        assert!(of_list(&json!({"error": "none"}), "id").is_empty());
        assert!(of_list(&json!([{"size": 1}]), "id").is_empty());
    }

    #[test]
    fn lists_of_the_same_resource_come_first() {
        let paths = ["/teams", "/teams/{id}/members", "/members", "/categories", "/search"];
        assert_eq!(lists("/teams/{team}/members", "member_id", &paths), ["/teams/{id}/members", "/members"]);
        assert_eq!(lists("/shop/by", "categoryId", &paths), ["/categories"]);
        assert!(lists("/reports", "id", &paths).is_empty());
    }

    #[test]
    fn answers_tell_what_they_call_by_a_name() {
        let mut known = Known::default();
        known.learn(&json!({"order": {"id": 7, "customer_id": "c-1"}}));
        known.learn(&json!([{"customerId": "c-2"}]));
        assert_eq!(known.called("order_id"), ["7"]);
        assert_eq!(known.called("customer_id"), ["c-1", "c-2"]);
        assert!(known.called("id").is_empty() && known.called("tea").is_empty());
    }
}
