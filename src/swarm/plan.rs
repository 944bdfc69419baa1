//! Load plan, prepared once: tasks by route, classes of users with their weights.
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
use super::template::{Drawn, HoleValues};
use crate::units::Span;

/// Everything that a load consists of.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The routes as the record names them, without repetition.
    pub(super) labels: Arc<[String]>,
    /// The names of what users know: columns of theirs, and what is captured.
    pub(super) known: Arc<[String]>,
    pub(super) classes: Vec<Class>,
    /// Each class's name and share of the users, in the same order.
    pub(super) weights: Vec<ClassWeight>,
}

impl LoadPlan {
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
    /// Failures that an answer with a good status can hide.
    pub(super) mask: Mask,
    /// Timeout in place of the load's client timeout.
    pub(super) timeout: Option<Span>,
    /// Of a stream, how long it is read; `None` waits for the whole answer.
    pub(super) read_for: Option<Duration>,
    /// The pause before it, in place of the class's.
    pub(super) think: Option<[Duration; 2]>,
    /// Values that later steps need of the answer.
    pub(super) captures: Vec<Capture>,
    /// Of a call in an MCP session, how opening one is called: its place among the plan's labels.
    pub(super) opening: Option<usize>,
}

/// Something that later steps need of an answer.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    pub(super) name: String,
    /// Its place among what users know.
    pub(super) place: usize,
    /// A JSON pointer.
    pub(super) pointer: String,
}

/// Content of a request.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// The same every time: a path, and the JSON body of a POST.
    Fixed { path: &'static str, body: Option<Bytes> },
    /// Another one each time.
    Drawn(Arc<Drawn>),
}

impl Task {
    /// A task without anything special.
    pub(super) fn plain(route: usize, method: Method, content: Content, mask: Mask) -> Self {
        Self {
            route,
            method,
            content,
            mask,
            timeout: None,
            read_for: None,
            think: None,
            captures: Vec::new(),
            opening: None,
        }
    }

    /// A request of it to the service at `base`, by a user who knows so much.
    ///
    /// # Errors
    /// Error in words, when it cannot be sent.
    pub(super) fn request(&self, base: &Url, random: &mut SmallRng, known: &HoleValues) -> Result<Request, String> {
        let mut request = Request::new(self.method.clone(), base.clone());
        match &self.content {
            Content::Fixed { path, body } => {
                request.url_mut().set_path(path);
                if let Some(body) = body {
                    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    *request.body_mut() = Some(body.clone().into());
                }
            }
            Content::Drawn(drawn) => drawn.fill(&mut request, random, known)?,
        }
        *request.timeout_mut() = self.timeout.map(Span::duration);
        Ok(request)
    }
}

/// One kind of user.
#[derive(Clone, Debug)]
pub(super) struct Class {
    think: [Duration; 2],
    tasks: Vec<Task>,
    /// Possible turns: places of tasks, in order.
    turns: Vec<Vec<usize>>,
    /// Running sum of the turns' weights.
    cumulative: Vec<u32>,
}

impl Class {
    /// Users who think for a time between the two, and then do one of the tasks, by their weights.
    pub(super) fn new(think: [Duration; 2], weighted: impl IntoIterator<Item = (Task, u32)>) -> Self {
        let (tasks, weights): (Vec<Task>, Vec<u32>) = weighted.into_iter().unzip();
        let turns: Vec<_> = weights.into_iter().enumerate().map(|(place, weight)| (vec![place], weight)).collect();
        Self::of(think, tasks, &turns)
    }

    /// Users who do several tasks in a row.
    pub(super) fn of(think: [Duration; 2], tasks: Vec<Task>, weighted: &[(Vec<usize>, u32)]) -> Self {
        let mut sum = 0;
        let (turns, cumulative) = weighted
            .iter()
            .map(|(turn, weight)| {
                sum += weight;
                (turn.clone(), sum)
            })
            .unzip();
        Self { think, tasks, turns, cumulative }
    }

    /// The time to think before a task.
    pub(super) fn think(&self, task: usize, random: &mut SmallRng) -> Duration {
        let [shortest, longest] = self.tasks[task].think.unwrap_or(self.think);
        random.random_range(shortest..=longest)
    }

    /// The same, where only the task itself says so.
    pub(super) fn own_think(&self, task: usize, random: &mut SmallRng) -> Duration {
        let think = self.tasks[task].think;
        think.map_or(Duration::ZERO, |[shortest, longest]| random.random_range(shortest..=longest))
    }

    /// The task of this place.
    pub(super) fn task(&self, place: usize) -> &Task {
        &self.tasks[place]
    }

    /// The tasks that ask for a route, by their places, with how often they are asked for.
    pub(super) fn tasks_of(&self, route: usize) -> Vec<(usize, u32)> {
        let places = (0..self.tasks.len()).filter(|place| self.tasks[*place].route == route);
        places.map(|place| (place, self.weight_of(place))).filter(|(_, weight)| *weight > 0).collect()
    }

    fn weight_of(&self, task: usize) -> u32 {
        let before = [0].into_iter().chain(self.cumulative.iter().copied());
        let weighted = self.turns.iter().zip(&self.cumulative).zip(before);
        weighted.map(|((turn, sum), before)| if turn.contains(&task) { sum - before } else { 0 }).sum()
    }

    /// A task that opens sessions of which opening one is called so.
    pub(super) fn task_that_opens(&self, route: usize) -> Option<usize> {
        self.tasks.iter().position(|task| task.opening == Some(route))
    }

    /// Steps of a turn before this task: their captures may be needed.
    pub(super) fn before(&self, task: usize) -> &[usize] {
        let with = self.turns.iter().find_map(|turn| Some(&turn[..turn.iter().position(|it| *it == task)?]));
        with.unwrap_or_default()
    }

    /// The next turn: places of tasks, in order.
    pub(super) fn pick(&self, random: &mut SmallRng) -> &[usize] {
        let total = self.cumulative.last().copied().unwrap_or(1);
        let drawn = random.random_range(0..total);
        let index = self.cumulative.partition_point(|sum| *sum <= drawn);
        &self.turns[index.min(self.turns.len() - 1)]
    }
}

/// A class's name and its share of the users.
#[derive(Clone, Debug)]
pub(super) struct ClassWeight {
    pub(super) name: String,
    pub(super) weight: usize,
}
