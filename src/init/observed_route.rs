//! Observations of one route, and the draft that it becomes.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::paths::{hole, is_email, is_secret_name, looks_secret};
use super::{DraftRoute, MOST_VALUES, todo, todo_values};
use crate::scenario::service::{RouteName, Scalar, Values, is_token};

/// The most names in the query of a route that are looked at.
const MOST_NAMES: usize = 40;

/// Observations of one route.
#[derive(Debug, Default)]
pub(super) struct ObservedRoute {
    /// Answers by the first figure of their status.
    pub(super) by_class: [u64; 6],
    /// Answers that point elsewhere.
    redirects: BTreeMap<u16, u64>,
    /// Values of each hole of the path, of good requests.
    path: Vec<Distinct>,
    /// Values by their names in the query, of good requests.
    query: BTreeMap<String, Distinct>,
    /// True if a name was there twice in one query, which a scenario cannot say.
    repeated: bool,
}

/// The first few values that were different, and how often there was any.
#[derive(Debug, Default)]
struct Distinct {
    values: Vec<String>,
    seen: u64,
}

impl Distinct {
    fn see(&mut self, value: &str) {
        self.seen += 1;
        if self.values.len() < MOST_VALUES && !self.values.iter().any(|known| known == value) {
            self.values.push(value.to_owned());
        }
    }
}

impl Distinct {
    fn take_in(&mut self, other: &Self) {
        other.values.iter().for_each(|value| self.see(value));
        // `see` has counted each value once.
        self.seen = self.seen.saturating_sub(other.values.len() as u64) + other.seen;
    }
}

impl ObservedRoute {
    /// Counts a request. Values are taken from those that were not refused: they are of things that exist, and those that failed may
    /// be the guilty ones.
    pub(super) fn see(&mut self, status: u16, values: &[String], query: &str) {
        self.by_class[usize::from(status / 100).min(5)] += 1;
        if (300..400).contains(&status) && status != 304 {
            *self.redirects.entry(status).or_default() += 1;
        }
        self.path.resize_with(values.len(), Distinct::default);
        if !(400..500).contains(&status) {
            values.iter().zip(&mut self.path).for_each(|(value, distinct)| distinct.see(value));
            self.see_query(query);
        }
    }

    /// Takes in a route that has `word` in its path where this one has a hole, behind `before` others.
    pub(super) fn take_in(&mut self, other: Self, before: usize, word: &str) {
        self.by_class.iter_mut().zip(other.by_class).for_each(|(mine, more)| *mine += more);
        other.redirects.iter().for_each(|(status, count)| *self.redirects.entry(*status).or_default() += count);
        let mut path = other.path;
        let good = path
            .first()
            .map_or(u64::from([1, 2, 3, 5].iter().any(|class| other.by_class[*class] > 0)), |first| first.seen);
        let values = if good > 0 { vec![word.to_owned()] } else { Vec::new() };
        path.insert(before.min(path.len()), Distinct { values, seen: good });
        self.path.resize_with(path.len(), Distinct::default);
        self.path.iter_mut().zip(&path).for_each(|(mine, more)| mine.take_in(more));
        for (name, distinct) in &other.query {
            self.query.entry(name.clone()).or_default().take_in(distinct);
        }
        self.repeated |= other.repeated;
    }

    fn see_query(&mut self, query: &str) {
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let mut names = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name);
            if names.contains(&name) {
                self.repeated = true;
                continue;
            }
            if self.query.len() < MOST_NAMES || self.query.contains_key(&name) {
                // A secret is not even remembered.
                let value = if is_secret_name(&name) { String::new() } else { decoded(value) };
                self.query.entry(name.clone()).or_default().see(&value);
            }
            names.push(name);
        }
    }

    /// Answers that count: what was refused says nothing of the route's weight.
    pub(super) fn count(&self) -> u64 {
        let [_, one, two, three, _, five] = self.by_class;
        one + two + three + five
    }

    fn good(&self) -> u64 {
        let [_, one, two, three, ..] = self.by_class;
        one + two + three
    }

    /// The route with the values that were seen; `None` when its path cannot be written as one.
    pub(super) fn route(&self, key: &str) -> Option<DraftRoute> {
        key.parse::<RouteName>().ok()?;
        let mut route = DraftRoute { route: key.to_owned(), weight: 1, ..DraftRoute::default() };
        for (index, distinct) in self.path.iter().enumerate() {
            let name = hole(index + 1);
            let secret = distinct.values.iter().any(|value| looks_secret(value) || is_token(value) || is_email(value));
            let values = if secret {
                route.comments.push(format!("What stood at `{{{name}}}` may be a secret: it was not copied."));
                todo_values(&format!("values of {name}"))
            } else {
                as_values(&distinct.values).unwrap_or_else(|| todo_values(&format!("{name}, values that exist")))
            };
            route.params.push((name, values));
        }
        if self.path.len() > 1 {
            route.comments.push("Each value is drawn by itself: give lists whose values all go together.".to_owned());
        }
        self.add_query(&mut route);
        let [_, _, two, ..] = self.by_class;
        if two == 0 && !self.redirects.is_empty() {
            route.expect = self.redirects.keys().copied().collect();
        }
        Some(route)
    }

    /// Adds the query members of at least half of the requests; the rest is stated.
    fn add_query(&self, route: &mut DraftRoute) {
        let mut sometimes = Vec::new();
        for (name, distinct) in &self.query {
            if distinct.seen * 2 < self.good() {
                sometimes.push(format!("`{name}`"));
                continue;
            }
            if is_secret_name(name)
                || distinct.values.iter().any(|value| looks_secret(value) || is_token(value) || is_email(value))
            {
                route.comments.push(format!("`{name}` may hold a secret: it was not copied."));
                route.query.push((name.clone(), todo(&format!("a value of {name}, or leave it out"))));
                continue;
            }
            match distinct.values.as_slice() {
                [only] => route.query.push((name.clone(), only.clone())),
                values => {
                    let hole = query_hole(name, route);
                    route.query.push((name.clone(), format!("{{{hole}}}")));
                    route.params.extend(as_values(values).map(|values| (hole, values)));
                }
            }
        }
        if !sometimes.is_empty() {
            route.comments.push(format!("Some requests also had {} in the query.", sometimes.join(", ")));
        }
        if self.repeated {
            route.comments.push("Some queries had a name twice: the first value is taken.".to_owned());
        }
    }
}

fn query_hole(name: &str, route: &DraftRoute) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let plain = if plain.trim_matches('_').is_empty() { "value".to_owned() } else { plain };
    let taken = |name: &str| route.params.iter().any(|(known, _)| known == name);
    let numbered = (2..).map(|number| format!("{plain}_{number}"));
    std::iter::once(plain.clone()).chain(numbered).find(|it| !taken(it)).unwrap_or(plain)
}

/// Values as they are written: numbers as numbers, where nothing is lost by that.
fn as_values(values: &[String]) -> Option<Values> {
    let number = |value: &String| value.parse::<i64>().ok().filter(|number| number.to_string() == *value);
    let scalar = |value: &String| number(value).map_or_else(|| Scalar::Text(value.clone()), Scalar::Number);
    (!values.is_empty()).then(|| Values::List(values.iter().map(scalar).collect()))
}
