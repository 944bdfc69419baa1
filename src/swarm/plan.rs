//! What there is to do, prepared once: tasks by route, classes of users with their weights.
//!
//! A plan says what routes there are, once: whatever counts by route does so by a route's place among
//! [`Plan::labels`], so that no request needs its name. Who makes plans: [`gateway`](super::gateway) and
//! [`service`](super::service).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Url};

use super::judge::Mask;
use super::service::Drawn;

/// Everything that a load consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The routes as the record names them, without repetition.
    pub(super) labels: Arc<[String]>,
    pub(super) classes: Vec<Class>,
    /// Each class's name and share of the users, in the same order.
    pub(super) weights: Vec<ClassWeight>,
}

impl Plan {
    /// The routes as the record names them, without repetition.
    pub fn labels(&self) -> Arc<[String]> {
        Arc::clone(&self.labels)
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// Which route it is: its place among the plan's labels.
    pub(super) route: usize,
    pub(super) method: Method,
    pub(super) content: Content,
    /// How an answer with a good status can still be a failure.
    pub(super) mask: Mask,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// The same every time: a path, and the JSON body of a POST.
    Fixed {
        /// From the root.
        path: &'static str,
        body: Option<Bytes>,
    },
    /// Another one each time.
    Drawn(Arc<Drawn>),
}

impl Task {
    /// A request of it to the service at `base`.
    pub(super) fn request(&self, base: &Url, random: &mut SmallRng) -> Request {
        let mut request = Request::new(self.method.clone(), base.clone());
        match &self.content {
            Content::Fixed { path, body } => {
                request.url_mut().set_path(path);
                if let Some(body) = body {
                    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    *request.body_mut() = Some(body.clone().into());
                }
            }
            Content::Drawn(drawn) => drawn.fill(&mut request, random),
        }
        request
    }
}

/// One kind of user.
#[derive(Clone, Debug)]
pub(super) struct Class {
    think: [Duration; 2],
    tasks: Vec<Task>,
    /// Running sum of the tasks' weights.
    cumulative: Vec<u32>,
}

impl Class {
    /// Users who think for a time between the two, and then do one of the tasks, by their weights.
    pub(super) fn new(think: [Duration; 2], weighted: impl IntoIterator<Item = (Task, u32)>) -> Self {
        let mut sum = 0;
        let (tasks, cumulative) = weighted
            .into_iter()
            .map(|(task, weight)| {
                sum += weight;
                (task, sum)
            })
            .unzip();
        Self { think, tasks, cumulative }
    }

    /// The next think time.
    pub(super) fn think(&self, random: &mut SmallRng) -> Duration {
        let [shortest, longest] = self.think;
        random.random_range(shortest..=longest)
    }

    /// The tasks that ask for a route, with their weights.
    pub(super) fn tasks_of(&self, route: usize) -> impl Iterator<Item = (&Task, u32)> {
        let before = [0].into_iter().chain(self.cumulative.iter().copied());
        let weighted = self.tasks.iter().zip(&self.cumulative).zip(before);
        weighted.filter(move |((task, _), _)| task.route == route).map(|((task, sum), before)| (task, sum - before))
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
