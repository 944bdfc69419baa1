//! The routes of a draft, each completed from what the service answers, and asked once.

use std::collections::HashMap;

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::Given;
use super::gaps::{self, names, open, parts, target, with};
use super::ids::{Known, lists, of_list};
use crate::init::DraftRoute;
use crate::run::{Answer, Asker};

/// Requests for the sake of one route, at most.
const MOST_REQUESTS: usize = 24;

/// Values of an outer parameter that are tried for an inner one.
const OUTER: usize = 5;

/// Requests with different values before a route is given up.
const TRIES: usize = 3;

/// What ids often are where nothing lists them.
const USUAL: [&str; 5] = ["1", "2", "3", "4", "5"];

/// A route that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub route: String,
    pub why: String,
    /// What would add it.
    pub cure: Option<String>,
    pub changes_data: bool,
    /// True if it is refused to who asks.
    pub needs_identity: bool,
}

impl LeftOut {
    fn of(route: &DraftRoute, why: String, cure: Option<String>) -> Self {
        Self { route: route.route.clone(), why, cure, changes_data: false, needs_identity: false }
    }
}

/// The routes that can be asked, and the others.
pub(super) struct Completed {
    pub(super) routes: Vec<DraftRoute>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Completes the routes; `login` is the one that logs in, which is not asked again.
pub(super) async fn complete(asker: &Asker, routes: Vec<DraftRoute>, given: &Given, login: Option<&str>) -> Completed {
    let (mut complete, mut left_out, mut changing) = (HashMap::new(), Vec::new(), Vec::new());
    let mut places: Vec<(usize, DraftRoute)> = Vec::new();
    for (place, route) in routes.into_iter().enumerate() {
        let route = with_given(route, &given.values);
        if login == Some(&route.route) {
            continue;
        }
        if !route.changes_data {
            places.push((place, route));
        } else if open(&route).is_empty() && !gaps::has_other_gaps(&route) {
            changing.push((place, route));
        } else {
            let why = "it changes data, and its values are not known".to_owned();
            left_out.push(LeftOut { changes_data: true, ..LeftOut::of(&route, why, None) });
        }
    }
    // What is complete first: its answers tell values of others. Then outer routes before inner ones.
    places.sort_by_key(|(place, route)| (open(route).len(), names(parts(route).1).len(), *place));
    let mut finder = Finder { asker, answers: HashMap::new(), known: Known::default(), lists: Vec::new(), left: 0 };
    for (place, route) in places {
        match finder.complete(&route).await {
            Ok(route) => {
                complete.insert(place, route);
            }
            Err(why) => left_out.push(why),
        }
    }
    complete.extend(changing);
    let mut routes: Vec<(usize, DraftRoute)> = complete.into_iter().collect();
    routes.sort_by_key(|(place, _)| *place);
    Completed { routes: routes.into_iter().map(|(_, route)| route).collect(), left_out }
}

/// The route with the values that the person gave.
fn with_given(route: DraftRoute, values: &[(String, Vec<String>)]) -> DraftRoute {
    let named: Vec<&(String, Vec<String>)> =
        values.iter().filter(|(name, _)| route.params.iter().any(|(known, _)| known == name)).collect();
    named.into_iter().fold(route, |route, (name, values)| with(&route, name, values))
}

/// Finds values, and asks.
struct Finder<'a> {
    asker: &'a Asker,
    /// By path and query.
    answers: HashMap<String, Result<Answer, String>>,
    known: Known,
    /// Routes that were answered with JSON.
    lists: Vec<DraftRoute>,
    /// Requests that are left for the route at hand.
    left: usize,
}

impl Finder<'_> {
    async fn complete(&mut self, route: &DraftRoute) -> Result<DraftRoute, LeftOut> {
        self.left = MOST_REQUESTS;
        if gaps::has_other_gaps(route) {
            return Err(LeftOut::of(route, "a value of its query or its headers is not known".to_owned(), None));
        }
        let mut missing = open(route);
        let mut last = None;
        if missing.is_empty() {
            match self.asked(route).await {
                Ok(()) => return Ok(route.clone()),
                Err(why) => last = Some(why),
            }
            // What its document gives as an example need not be there.
            missing = names(parts(route).1).into_iter().map(str::to_owned).collect();
            if missing.is_empty() || !last.as_ref().is_some_and(Refusal::is_of_values) {
                return Err(left_out(route, last.as_ref(), &missing));
            }
        }
        match self.filled(route, &missing, &mut last).await {
            Some(found) => Ok(found),
            None => Err(left_out(route, last.as_ref(), &missing)),
        }
    }

    /// The route with values for each of these parameters with which it is answered.
    async fn filled(
        &mut self,
        route: &DraftRoute,
        missing: &[String],
        last: &mut Option<Refusal>,
    ) -> Option<DraftRoute> {
        let Some((name, inner)) = missing.split_first() else {
            return match self.asked(route).await {
                Ok(()) => Some(route.clone()),
                Err(why) => {
                    *last = Some(why);
                    None
                }
            };
        };
        for values in self.candidates(route, name).await {
            // Of an outer one each alone: not every team has members.
            let sets: Vec<&[String]> =
                if inner.is_empty() { vec![&values] } else { values.chunks(1).take(OUTER).collect() };
            for set in sets {
                // Other values change nothing where it is refused to who asks.
                if self.left == 0 || last.as_ref().is_some_and(Refusal::is_of_identity) {
                    return None;
                }
                let next = with(route, name, set);
                if let Some(found) = Box::pin(self.filled(&next, inner, last)).await {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Lists of values that a parameter may have, the likeliest first.
    async fn candidates(&mut self, route: &DraftRoute, name: &str) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let path = parts(route).1.to_owned();
        let prefix = path.split_once(&format!("{{{name}}}")).map_or("", |(before, _)| before).to_owned();
        let known: Vec<DraftRoute> = self.lists.clone();
        let paths: Vec<&str> = known.iter().map(|route| parts(route).1).collect();
        for list in lists(&prefix, name, &paths) {
            let Some(list) = known.iter().find(|route| parts(route).1 == list) else { continue };
            let list = aligned(list, route);
            let Some(target) = target(&list, 0) else { continue };
            if let Ok(answer) = self.ask(&target, &list).await {
                found.extend(answer.json().map(|json| of_list(&json, name)));
            }
        }
        found.push(self.known.called(name));
        found.push(USUAL.map(str::to_owned).to_vec());
        let mut seen: Vec<Vec<String>> = Vec::new();
        for values in found.into_iter().filter(|values| !values.is_empty()) {
            if !seen.contains(&values) {
                seen.push(values);
            }
        }
        seen
    }

    /// Asks with different values until one answer is good.
    async fn asked(&mut self, route: &DraftRoute) -> Result<(), Refusal> {
        let mut refused = Refusal { status: None, why: "no value is known".to_owned() };
        let mut tried: Vec<String> = Vec::new();
        for number in 0..TRIES {
            let Some(target) = target(route, number) else { return Err(refused) };
            if tried.contains(&target) {
                break;
            }
            tried.push(target.clone());
            match self.ask(&target, route).await {
                Ok(answer) if answer.is_good() || route.expect.contains(&answer.status) => {
                    if let Some(json) = answer.json() {
                        self.known.learn(&json);
                        self.lists.push(route.clone());
                    }
                    return Ok(());
                }
                // A route that fails may be the one that holds.
                Ok(answer) if answer.status >= 500 => return Ok(()),
                Ok(answer) => {
                    refused = Refusal {
                        status: Some(answer.status),
                        why: format!("{target} answered {}", in_words(&answer)),
                    };
                }
                Err(why) => return Err(Refusal { status: None, why: format!("{target}: {why}") }),
            }
        }
        Err(refused)
    }

    /// Asks, once for each target.
    async fn ask(&mut self, target: &str, route: &DraftRoute) -> Result<Answer, String> {
        if let Some(known) = self.answers.get(target) {
            return known.clone();
        }
        if self.left == 0 {
            return Err("too many requests for its sake".to_owned());
        }
        self.left -= 1;
        let headers: Vec<(HeaderName, HeaderValue)> = route
            .headers
            .iter()
            .filter_map(|(name, text)| {
                Some((name.parse().ok()?, HeaderValue::try_from(gaps::filled(route, text, 0)?).ok()?))
            })
            .collect();
        let answer = self.asker.ask(Method::GET, target, &headers, None).await.map_err(|error| error.to_string());
        self.answers.insert(target.to_owned(), answer.clone());
        answer
    }
}

/// Why a route is not asked.
#[derive(Clone, Debug)]
struct Refusal {
    status: Option<u16>,
    why: String,
}

impl Refusal {
    /// True if it is refused to who asks, whatever the values.
    fn is_of_identity(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }

    /// True if other values may be answered.
    fn is_of_values(&self) -> bool {
        matches!(self.status, Some(400 | 404 | 410 | 422))
    }
}

/// A list's route with the values of the route that it is for, in the same places of their paths.
fn aligned(list: &DraftRoute, of: &DraftRoute) -> DraftRoute {
    let theirs = names(parts(of).1);
    let mut aligned = list.clone();
    for (place, name) in names(parts(list).1).into_iter().enumerate() {
        if let Some(value) = theirs.get(place).and_then(|theirs| gaps::value(of, theirs, 0)) {
            aligned = with(&aligned, name, &[value]);
        }
    }
    aligned
}

/// Status and the message of a refusal, in short.
fn in_words(answer: &Answer) -> String {
    const LONGEST: usize = 80;
    let message = answer.json().and_then(|json| {
        let members = ["detail", "message", "error", "title", "error_description"];
        members.into_iter().find_map(|name| json.get(name)?.as_str().map(str::to_owned))
    });
    match message {
        Some(text) => format!("{}: {}", answer.status, text.chars().take(LONGEST).collect::<String>()),
        None => answer.status.to_string(),
    }
}

fn left_out(route: &DraftRoute, refusal: Option<&Refusal>, missing: &[String]) -> LeftOut {
    let needs_identity = refusal.is_some_and(Refusal::is_of_identity);
    let cure = if needs_identity {
        Some("who asks: `--bearer-env`, `--header-env`, or `--user` and `--password-env`".to_owned())
    } else {
        let values = missing.iter().map(|name| format!("--param {name}=VALUE")).collect::<Vec<_>>().join(" ");
        Some(values).filter(|values| !values.is_empty())
    };
    let why = refusal.map_or_else(|| format!("no value was found for `{}`", missing.join("`, `")), |it| it.why.clone());
    LeftOut { needs_identity, ..LeftOut::of(route, why, cure) }
}
