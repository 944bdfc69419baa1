//! The plan for the reference gateway: its routes, from a scenario's classes of users.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;

use super::judge::Mask;
use super::plan::{Class, ClassWeight, Content, LoadPlan, Task};
use crate::scenario::route::TaskRoute;
use crate::scenario::{Load, UserClass};

/// The events of the fixtures' first server, whose id is the MD5 of its name.
const SERVER_STREAM: &str = "/servers/fa767f034cb523b80bf39cc29de32ea5/sse";

impl LoadPlan {
    /// Load plan for users of the reference gateway.
    #[must_use]
    pub fn of_gateway(load: &Load) -> Self {
        let (classes, weights) = load
            .classes
            .iter()
            .map(|(name, class)| {
                let weight = ClassWeight { name: name.clone(), weight: class.weight.as_usize() };
                (class_of(class, load.think_scale), weight)
            })
            .unzip();
        Self { labels: labels().into_iter().map(str::to_owned).collect(), known: Arc::default(), classes, weights }
    }
}

/// The names of all routes, without repetition: a tool's call has the name of every tool's.
fn labels() -> Vec<&'static str> {
    let mut labels: Vec<_> = TaskRoute::ALL.iter().map(|route| route.label()).collect();
    labels.dedup();
    labels
}

fn class_of(class: &UserClass, think_scale: f64) -> Class {
    let think = class.think_time.map(|span| span.duration().mul_f64(think_scale));
    Class::new(think, class.tasks.iter().map(|(route, weight)| (task(*route), weight.get())))
}

fn task(route: TaskRoute) -> Task {
    let get = |path| (Method::GET, path, None, Mask::None);
    let (method, path, body, mask) = match route {
        TaskRoute::Health => (Method::GET, "/health", None, Mask::Health),
        TaskRoute::Ready => get("/ready"),
        TaskRoute::Tools => get("/tools"),
        TaskRoute::Servers => get("/servers"),
        TaskRoute::Admin => get("/admin/"),
        TaskRoute::ServerStream => (Method::GET, SERVER_STREAM, None, Mask::Stream),
        TaskRoute::Metrics => get("/metrics/prometheus"),
        TaskRoute::RpcToolsList => rpc("tools/list", "{}"),
        TaskRoute::RpcPing => rpc("ping", "{}"),
        TaskRoute::RpcToolsCall(tool) => {
            rpc("tools/call", &format!(r#"{{"name":"{}","arguments":{}}}"#, tool.name(), tool.arguments()))
        }
    };
    let place = labels().iter().position(|label| *label == route.label());
    Task::plain(place.expect("the labels are those of all routes"), method, Content::Fixed { path, body }, mask)
}

fn rpc(method: &str, params: &str) -> (Method, &'static str, Option<Bytes>, Mask) {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    (Method::POST, "/rpc", Some(Bytes::from(body)), Mask::JsonRpc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_the_place_of_its_label() {
        let labels = labels();
        assert_eq!(labels.len(), 10);
        for route in TaskRoute::ALL {
            assert_eq!(labels[task(route).route], route.label());
        }
    }
}
