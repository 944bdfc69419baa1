//! The plan for an external service: requests from templates, answers judged as its scenario says, journeys of both.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::Method;

use super::SwarmError;
use super::files::Files;
use super::judge::{Expected, Mask};
use super::plan::{Capture, Class, ClassWeight, Content, LoadPlan, Task};
use super::template::Drawn;
use crate::scenario::ServiceScenario;
use crate::scenario::service::ServiceRoute;
use crate::units::Span;

impl LoadPlan {
    /// Load plan for users of a service.
    ///
    /// # Errors
    /// [`SwarmError::Header`] when a header cannot be sent.
    pub fn of_service(scenario: &ServiceScenario, files: &Files) -> Result<Self, SwarmError> {
        let routes: Vec<&ServiceRoute> = scenario.routes().collect();
        let names = routes.iter().map(|route| route.route.name().to_owned());
        let openings = routes.iter().filter(|route| route.mcp.is_some()).map(|route| opening(route));
        let labels: BTreeSet<String> = names.chain(openings).collect();
        let labels: Vec<String> = labels.into_iter().collect();
        let captured = routes.iter().flat_map(|route| route.capture.keys());
        let known: BTreeSet<&String> = captured.chain(&files.columns).collect();
        let known: Vec<String> = known.into_iter().cloned().collect();
        let tasks = routes.iter().map(|route| task(route, &labels, &known, files)).collect::<Result<Vec<_>, _>>()?;
        let think = scenario.load.think_time.map(Span::duration);
        Ok(Self {
            classes: vec![Class::of(think, tasks, &turns(scenario, &routes))],
            weights: vec![ClassWeight { name: "users".to_owned(), weight: 1 }],
            labels: labels.into(),
            known: known.into(),
        })
    }
}

/// Turns of users, as places among the routes, with weights: a route alone, or the steps of a journey.
fn turns(scenario: &ServiceScenario, routes: &[&ServiceRoute]) -> Vec<(Vec<usize>, u32)> {
    let place = |step: &str| routes.iter().position(|route| route.route.name() == step);
    let alone = routes.iter().enumerate().filter(|(_, route)| !scenario.is_step(route));
    let alone = alone.map(|(place, route)| (vec![place], route.weight.get()));
    let journeys = scenario.journeys().map(|journey| {
        let steps = journey.steps.iter().filter_map(|step| place(step)).collect();
        (steps, journey.weight.get())
    });
    alone.chain(journeys).collect()
}

/// Label of the opening of a session.
fn opening(route: &ServiceRoute) -> String {
    format!("{} {} initialize", route.route.method(), route.route.path())
}

pub(super) fn task(
    route: &ServiceRoute,
    labels: &[String],
    known: &[String],
    files: &Files,
) -> Result<Task, SwarmError> {
    // The labels are made of these routes, so that each is there.
    let place = |name: &str| labels.iter().position(|label| label == name).unwrap_or(0);
    let captures = route.capture.iter().map(|(name, pointer)| Capture {
        name: name.clone(),
        place: known.iter().position(|it| it == name).unwrap_or(0),
        pointer: pointer.clone(),
    });
    let expected = Expected {
        statuses: route.expect.clone(),
        must_have: route.must_have.clone(),
        must_not_have: route.must_not_have.clone(),
    };
    let expected = Arc::new(expected);
    Ok(Task {
        route: place(route.route.name()),
        // The scenario has been checked: its methods are methods.
        method: Method::from_bytes(route.route.method().as_bytes()).unwrap_or(Method::GET),
        content: Content::Drawn(Arc::new(Drawn::new(route, files, known)?)),
        mask: if route.mcp.is_some() { Mask::Tool(expected) } else { Mask::Answer(expected) },
        timeout: route.timeout,
        read_for: route.read_for.map(Span::duration),
        think: route.think_time.map(|times| times.map(Span::duration)),
        captures: captures.collect(),
        opening: route.mcp.as_ref().map(|_| place(&opening(route))),
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use reqwest::Request;
    use reqwest::header::CONTENT_TYPE;

    use std::collections::BTreeMap;

    use super::*;
    use bytes::Bytes;

    fn plan(rest: &str, base: &str) -> (ServiceScenario, LoadPlan) {
        let text = format!("name = \"x\"\n[target]\nurl = \"{base}\"\n[load]\nchange_data = true\n{rest}");
        let scenario = ServiceScenario::from_text("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
        let files = Files {
            lines: BTreeMap::from([("ids.txt".into(), vec!["seven".to_owned()])]),
            bodies: BTreeMap::from([("order.bin".into(), Bytes::from_static(b"\x00\xff{id}"))]),
            ..Files::default()
        };
        let plan = LoadPlan::of_service(&scenario, &files).unwrap();
        (scenario, plan)
    }

    fn request(route: &str, base: &str) -> Request {
        let (scenario, plan) = plan(&format!("[[route]]\n{route}"), base);
        let url = scenario.target.url.as_ref().unwrap().url();
        plan.classes[0].task(0).request(url, &mut SmallRng::seed_from_u64(1), &[]).unwrap()
    }

    fn body(request: &Request) -> &[u8] {
        request.body().and_then(|body| body.as_bytes()).unwrap_or_default()
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
        let body: serde_json::Value = serde_json::from_slice(body(&request)).unwrap();
        assert_eq!(body, serde_json::json!({ "id": "x/y \"z", "n": "5", "keep": "{other}" }));
    }

    #[test]
    fn lines_of_a_file_and_texts_are_sent_as_they_are() {
        let route = "route = \"PUT /a\"\nparams = { id = { file = \"ids.txt\" } }\ntext = \"<{id}>{\"\n\
                     headers = { content-type = \"text/xml\" }\nchanges_data = false\n";
        let request = request(route, "http://127.0.0.1:1");
        assert_eq!((body(&request), request.url().path()), (&b"<seven>{"[..], "/a"));
        assert_eq!(request.headers()[CONTENT_TYPE], "text/xml");
    }

    #[test]
    fn forms_are_encoded_and_files_are_not_touched() {
        let route = "route = \"POST /a\"\nform = { b = \"{id}\", a = \"1\" }\nparams = { id = [\"x &\"] }\n\
                     changes_data = false\ntimeout = \"2s\"\n";
        let form = request(route, "http://127.0.0.1:1");
        assert_eq!(body(&form), b"a=1&b=x+%26");
        assert_eq!(form.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(form.timeout().map(std::time::Duration::as_secs), Some(2));
        let file = "route = \"POST /a\"\nbody_file = \"order.bin\"\nchanges_data = false\n";
        assert_eq!(body(&request(file, "http://127.0.0.1:1")), b"\x00\xff{id}");
    }

    #[test]
    fn what_users_know_fills_holes_and_what_they_do_not_is_stated() {
        let rest = "[[route]]\nroute = \"POST /orders\"\nchanges_data = true\ncapture = { order = \"/id\" }\n\
                    [[route]]\nroute = \"GET /orders/{order}\"\n[[route]]\nroute = \"GET /\"\nweight = 3\n\
                    [[journey]]\nname = \"buy\"\nweight = 2\nsteps = [\"POST /orders\", \"GET /orders/{order}\"]\n";
        let (scenario, plan) = plan(rest, "http://127.0.0.1:1");
        assert_eq!(*plan.known, ["order"]);
        let class = &plan.classes[0];
        let url = scenario.target.url.as_ref().unwrap().url();
        let mut random = SmallRng::seed_from_u64(1);
        let sent = class.task(1).request(url, &mut random, &[Some("a b".into())]).unwrap();
        assert_eq!(sent.url().path(), "/orders/a%20b");
        let refused = class.task(1).request(url, &mut random, &[None]).unwrap_err();
        assert_eq!(refused, "not sent: nothing fills `{order}`");
        // Two of five turns are the journey, and its first step comes before the second.
        let picks: Vec<&[usize]> = (0..5000).map(|_| class.pick(&mut random)).collect();
        let journeys = picks.iter().filter(|turn| ***turn == [0, 1]).count();
        assert!((1800..2200).contains(&journeys), "{journeys}");
        assert!(picks.iter().all(|turn| [&[0, 1][..], &[2]].contains(turn)));
        assert_eq!((class.before(1), class.before(2)), (&[0][..], &[][..]));
        assert_eq!((class.tasks_of(0), class.tasks_of(2)), (vec![(2, 3)], vec![(0, 2)]));
    }
}
