//! What there is to do, prepared once: tasks with their bodies, classes with their weights.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;
use reqwest::Method;

use crate::scenario::route::TaskRoute;
use crate::scenario::{Load, UserClass};

/// The events of the fixtures' first server, whose id is the MD5 of its name.
const SERVER_STREAM: &str = "/servers/fa767f034cb523b80bf39cc29de32ea5/sse";

/// How long a stream is read before its reader has seen enough.
pub(super) const STREAM_READ: Duration = Duration::from_secs(1);

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// Which route it is.
    pub(super) route: TaskRoute,
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// The JSON body of a POST.
    pub(super) body: Option<Bytes>,
    /// How an answer with status 200 can still be a failure.
    pub(super) mask: Mask,
}

/// How an answer with status 200 can still be a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// It cannot.
    None,
    /// The body holds a JSON-RPC error.
    JsonRpc,
    /// The body says `"unhealthy"`.
    Health,
    /// The body has no end: it is read for [`STREAM_READ`], and must not be empty.
    Stream,
}

impl Task {
    fn new(route: TaskRoute) -> Self {
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
        Self { route, method, path, body, mask }
    }
}

fn rpc(method: &str, params: &str) -> (Method, &'static str, Option<Bytes>, Mask) {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    (Method::POST, "/rpc", Some(Bytes::from(body)), Mask::JsonRpc)
}

/// One kind of user.
#[derive(Clone, Debug)]
pub(super) struct Class {
    shortest_think: Duration,
    longest_think: Duration,
    tasks: Vec<Task>,
    /// Running sum of the tasks' weights.
    cumulative: Vec<u32>,
}

impl Class {
    fn new(class: &UserClass, think_scale: f64) -> Self {
        let [shortest, longest] = class.think_time.map(|span| span.duration().mul_f64(think_scale));
        let cumulative = class
            .tasks
            .values()
            .scan(0, |sum, weight| {
                *sum += weight.get();
                Some(*sum)
            })
            .collect();
        Self {
            shortest_think: shortest,
            longest_think: longest,
            tasks: class.tasks.keys().map(|route| Task::new(*route)).collect(),
            cumulative,
        }
    }

    /// The next think time.
    pub(super) fn think(&self, random: &mut SmallRng) -> Duration {
        random.random_range(self.shortest_think..=self.longest_think)
    }

    /// The next task.
    pub(super) fn pick(&self, random: &mut SmallRng) -> &Task {
        let total = self.cumulative.last().copied().unwrap_or(1);
        let drawn = random.random_range(0..total);
        let index = self.cumulative.partition_point(|sum| *sum <= drawn);
        &self.tasks[index.min(self.tasks.len() - 1)]
    }
}

/// A class's name and its share of the users.
#[derive(Clone, Debug)]
pub(super) struct ClassWeight {
    pub(super) name: String,
    pub(super) weight: usize,
}

/// All classes, in the order of their names.
pub(super) fn classes(load: &Load) -> (Vec<Class>, Vec<ClassWeight>) {
    load.classes
        .iter()
        .map(|(name, class)| {
            let weight = ClassWeight { name: name.clone(), weight: class.weight.as_usize() };
            (Class::new(class, load.think_scale), weight)
        })
        .unzip()
}
